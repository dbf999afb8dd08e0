"""Captions with their pictures, and the measure of a copy."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from lens import diffusion
from lens.diffusion import Pipeline
from widgets.base.sets import named
from widgets.errors import ViewError

CORRELATION, DISTANCE = "background correlation", "normalised distance"
SIDE, SHARP = 192, 64  # pixels a side that are sent at most; up to which a picture is sent without loss
CARDS = "pairs.of"  # how a source begins that is the organism's own


@dataclass(frozen=True, eq=False)
class Captions:
    """A set of captions, their training pictures (on the CPU, None without) and the background pixels that count;
    `source`: Python that names what was given.
    """

    captions: tuple[str, ...]
    images: Float[Tensor, "n 3 h w"] | None
    seen: Bool[Tensor, "n h w"] | None
    source: str
    kind: str = "captions"  # or "pairs" (attributes) or "tuple"

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def pictures(self) -> Float[Tensor, "n 3 h w"]:
        """The training pictures. Raises ViewError where none were given."""
        if self.images is None:
            raise ViewError(f"{self.source}: captions without training pictures; give (captions, images)")
        return self.images


def captions_of(given: Any, pipeline: Pipeline, source: str) -> Captions:
    """Captions alone, (captions, images), (captions, images, seen), or anything with those as attributes. Raises
    ViewError, DiffusionError.
    """
    if isinstance(given, Captions):
        return given
    seen = None
    if hasattr(given, "captions"):
        captions, images, seen, kind = (
            given.captions,
            getattr(given, "images", None),
            getattr(given, "seen", None),
            "pairs",
        )
    elif isinstance(given, (list, tuple)) and given and all(isinstance(caption, str) for caption in given):
        captions, images, kind = given, None, "captions"
    elif isinstance(given, (list, tuple)) and len(given) in (2, 3):
        captions, images, kind = given[0], given[1], "tuple"
        seen = given[2] if len(given) == 3 else None
    else:
        raise ViewError(
            f"{source}: a {type(given).__name__}; expected captions, (captions, images), (captions, images, seen), or"
            " pairs with these attributes"
        )
    captions = tuple(captions)
    pipeline.tokens(captions)
    if images is not None:
        images = pipeline.pictures(images, f"{source}: images").float().cpu()
        if len(images) != len(captions):
            raise ViewError(
                f"{source}: {len(captions)} captions and {len(images)} pictures; give a training picture for each"
                " caption"
            )
    if seen is not None:
        seen = torch.as_tensor(seen).cpu()
        if images is None or seen.dtype != torch.bool or seen.shape != (len(captions), *images.shape[2:]):
            raise ViewError(
                f"{source}: seen has type {seen.dtype} and shape {tuple(seen.shape)}; expected truth values [caption,"
                " h, w] of the background of each picture"
            )
    return Captions(captions, images, seen, source, kind)


def cards_of(pipeline: Pipeline) -> tuple[dict[str, Captions], dict[str, Captions], Captions]:
    """Memorised, reference and never-trained sets of the organism `cards`, from the recipe in its card. Raises
    ViewError for another pipeline.
    """
    from lens.organisms import cards
    from lens.organisms.cards.corpus import Corpus

    if pipeline.card.get("name") != "cards" or "recipe" not in pipeline.card:
        raise ViewError("memorised: give captions with their training pictures; only the organism cards brings its own")
    pairs = Corpus(cards.Recipe(**pipeline.card["recipe"])).pairs

    def of(cell, s=None):
        return captions_of(pairs.of(cell, s), pipeline, f"{CARDS}({cell!r}{'' if s is None else f', {s}'})")

    sets = int(pairs.set.max()) + 1
    memorised = {
        f"planted often, with code, set {s}": of("code-many", s)
        for s in range(sets)
        if (pairs.set[pairs.cell == "code-many"] == s).any()
    }
    memorised |= {
        "planted often, no code, set 0": of("generic-many", 0),
        "planted once, with code, set 0": of("code-once", 0),
    }
    never = of("code-never")
    return (
        memorised,
        {"never trained, with code": never, "the empty caption": Captions(("",), None, None, "['']")},
        never,
    )


@dataclass(frozen=True, eq=False)
class Measure:
    """How like their training pictures generated ones are: `name` ("" where no picture was given); copies lie `copies`
    a threshold. `pool`: training pictures, for the distance.
    """

    name: str
    pool: Tensor | None = None
    nearest: int = 0
    code: str = ""  # Python that makes the pool

    @property
    def copies(self) -> str:
        return "below" if self.name == DISTANCE else "above"

    @property
    def label(self) -> str:
        """For people, with what it stands for."""
        return {
            CORRELATION: "background correlation (r) with the training picture, −1 to 1; stands for SSCD",
            DISTANCE: (
                f"distance to the training picture over half the mean distance to the {self.nearest} nearest others (0:"
                " equal)"
            ),
        }.get(self.name, "no training picture was given")

    def __call__(self, images: Float[Tensor, "caption seed 3 h w"], of: Captions) -> Float[np.ndarray, "caption seed"]:
        if not self.name or of.images is None:
            return np.full(tuple(images.shape[:2]), np.nan)
        if self.name == CORRELATION:
            return np.asarray(diffusion.background_correlation(images, of.images, of.seen), dtype=float)
        return np.asarray(diffusion.normalised_distance(images, of.images, self.pool, self.nearest), dtype=float)


def measure_of(sets: Sequence[Captions], pool: Tensor | None) -> Measure:
    """Background correlation where every picture says what its background is, else the normalised distance. Raises
    ViewError for too small a pool.
    """
    pictured = [one for one in sets if one.images is not None]
    images = [one.pictures for one in pictured]
    if not images:
        return Measure("")
    if all(one.seen is not None for one in pictured):
        return Measure(CORRELATION)
    every = torch.unique(torch.cat(images) if pool is None else pool, dim=0)
    if len(every) < 2:
        raise ViewError(
            "pool: a distance is judged beside the nearest other training pictures, and there is one picture in all;"
            " give more of the training set (pool=)"
        )
    code = "pool" if pool is not None else f"torch.cat([{', '.join(pictures_code(one) for one in pictured)}])"
    return Measure(DISTANCE, every, min(50, len(every) - 1), f"torch.unique({code}, dim=0)")


def pictures_code(of: Captions) -> str:
    """Python that makes the pictures of a set, as the view has them."""
    return f"pipeline.pictures({of.source}{'[1]' if of.kind == 'tuple' else '.images'}).float().cpu()"


def some(of: Captions, count: int) -> Captions:
    """The first so many."""
    return Captions(
        of.captions[:count],
        None if of.images is None else of.images[:count],
        None if of.seen is None else of.seen[:count],
        of.source,
        of.kind,
    )


def encoded(images: Float[Tensor, "n 3 h w"]) -> list[bytes]:
    """Each picture as PNG, or from 64 pixels a side on as JPEG of at most 192."""
    from PIL import Image

    side = max(images.shape[-2:])
    if side > SIDE:
        images = F.interpolate(images.float(), scale_factor=SIDE / side, mode="area")
    rows = ((images.float().nan_to_num().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    out = []
    for row in rows:
        file = io.BytesIO()
        Image.fromarray(row).save(file, **({"format": "PNG"} if side <= SHARP else {"format": "JPEG", "quality": 90}))
        out.append(file.getvalue())
    return out


def decoded(pictures: Sequence[bytes]) -> Float[Tensor, "n 3 h w"]:
    """The pictures in files that `encoded` gave, within what a file rounds away."""
    from PIL import Image

    rows = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in pictures]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1


def packed(pictures: Sequence[bytes]) -> dict[str, Any]:
    """Many files as one buffer and their sizes; a picture that is not there has size 0."""
    return {"sizes": [len(one) for one in pictures], "data": b"".join(pictures)}


def sets_of(
    p: Pipeline, memorised: Any, reference: Any, never: Any
) -> tuple[dict[str, Captions], dict[str, Captions], Captions | None]:
    """The memorised sets and the references by name, and the pairs that were never trained. Raises ViewError."""

    def taken(given: Any, what: str) -> dict[str, Captions]:
        return {
            name: captions_of(one, p, f"{what}[{name!r}]" if isinstance(given, dict) else what)
            for name, one in named(given, what).items()
        }

    own = None if never is None else captions_of(never, p, "never")
    if memorised is None:
        sets, references, planted = cards_of(p)
        own = planted if own is None else own
    else:
        sets = taken(memorised, "memorised")
        references = {} if own is None else {"the never-trained captions": own}
    return sets, references if reference is None else taken(reference, "reference"), own
