"""What DiffusionBench computes without a browser: sets of captions with their pictures, the copy measure, watched
denoising, the edit and the attack on it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from lens import diffusion, subspace
from lens.diffusion import DiffusionError, Pipeline
from lens.diffusion.localisation import VARIANTS
from lens.diffusion.pipeline import CROSS_ATTENTION, FEED_FORWARD
from lens.diffusion.sampling import BATCH, timesteps
from lens.engine.linear import LinearError, linears
from widgets.errors import ViewError

METHODS = {
    "published": "contrast of activations, as published",
    "corrected": "contrast, captioned half, with a margin",
    "wanda": "weight × activation (Wanda), no reference",
}
METHODS = {name: METHODS.get(name, name) for name in VARIANTS}
STARTS = {"caption": "the caption's own embedding", "empty": "the empty caption", "random": "random noise"}
SPARSITIES = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.4, 0.6)
STATES = ("before", "after", "random", "attacked")
CORRELATION, DISTANCE = "background correlation", "normalised distance"
SIDE, SHARP = 192, 64  # pixels a side that are sent at most; up to which a picture is sent without loss
CARDS = "pairs.of"  # how a source begins that is the organism's own
FRAMES = 6  # pictures on the way that an autoencoder is asked for


# --- where is cut


@dataclass(frozen=True)
class Place:
    """Layers of the U-Net that are watched and cut: `label` for people, `layers` as `lens.diffusion.statistics` takes
    them, what one is called, and what its inputs are.

    `alike`: all of them read the same at every step, so that neither a layer nor a step differs from another.
    """

    label: str
    layers: str | tuple[str, ...]
    noun: str
    unit: str
    alike: bool = False


PLACES = {
    "feed-forward": Place("feed-forward, second layers", FEED_FORWARD, "feed-forward layer", "neurons"),
    "cross-attention": Place(
        "cross-attention, keys and values", CROSS_ATTENTION, "cross-attention layer", "inputs", alike=True
    ),
}


def layers_at(pipeline: Pipeline, place: str) -> int:
    """How many layers a pipeline has at a place. Raises ViewError for a place that is not known, DiffusionError where
    there are none.
    """
    if place not in PLACES:
        raise ViewError(
            f"place={place!r} is not one of {', '.join(PLACES)}; give one of them: the layers that are watched and cut"
        )
    try:
        return len(linears(pipeline.unet, PLACES[place].layers))
    except LinearError as error:
        raise DiffusionError(
            f"place={place!r}: {pipeline.name} has no such layers ({error}) Take another place, or a U-Net that has"
            " them, such as UNet2DConditionModel."
        ) from None


def places_of(pipeline: Pipeline) -> dict[str, int]:
    """The places that a pipeline has, with how many layers."""
    found = {}
    for place in PLACES:
        with contextlib.suppress(DiffusionError):
            found[place] = layers_at(pipeline, place)
    return found


# --- what was given


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
    from lens.organisms.cards_corpus import Corpus

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


# --- the copy measure


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


# --- pictures as they are sent


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


def packed(pictures: Sequence[bytes]) -> dict[str, Any]:
    """Many files as one buffer and their sizes; a picture that is not there has size 0."""
    return {"sizes": [len(one) for one in pictures], "data": b"".join(pictures)}


# --- watched denoising


@dataclass(eq=False)
class Drawn:
    """Pictures of captions x seeds as they came: `frames`: numbers of the steps after which they are kept, the last
    among them; `files` and `values` by frame.
    """

    frames: tuple[int, ...]
    files: list[list[bytes]]
    images: Float[Tensor, "caption seed 3 h w"] | None = None
    values: Float[np.ndarray, "frame caption seed"] | None = None

    @property
    def done(self) -> int:
        """Frames that hold a picture."""
        return sum(any(frame) for frame in self.files)

    @property
    def last(self) -> Float[np.ndarray, "caption seed"]:
        """The values of the last frame. Raises ViewError while pictures are being drawn."""
        if self.values is None:
            raise ViewError("values: the pictures are still being drawn; wait until they are there")
        return self.values[-1]

    @property
    def pictures(self) -> Float[Tensor, "caption seed 3 h w"]:
        """The last frame. Raises ViewError while pictures are being drawn."""
        if self.images is None:
            raise ViewError("images: the pictures are still being drawn; wait until they are there")
        return self.images


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn."""

    seeds: tuple[int, ...] = (10,)
    steps: int = 20
    guidance: float = 3.0
    batch: int = BATCH

    def frames(self, pipeline: Pipeline) -> tuple[int, ...]:
        """Steps after which pictures are kept: all where decoding costs nothing, else a few."""
        there = len(timesteps(pipeline, self.steps))
        few = there if pipeline.codec.__class__.__name__ == "Patches" else min(there, FRAMES)
        return tuple(dict.fromkeys(round(v) for v in np.linspace(there / few, there, few)))

    def options(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "steps": self.steps, "guidance": self.guidance}


def draw(
    pipeline: Pipeline,
    sampling: Sampling,
    of: Captions,
    measure: Measure,
    *,
    embeddings: Tensor | None = None,
    stop: Callable[[], bool],
    on_frame: Callable[[Drawn], None],
) -> Drawn:
    """Denoise captions (or embeddings) with the weights as they are, showing the pictures after each kept step. Raises
    Stopped, DiffusionError.
    """
    frames, width = sampling.frames(pipeline), len(sampling.seeds)
    made = Drawn(frames, [[b""] * (len(of) * width) for _ in frames])
    kept = [torch.zeros(0)] * len(frames)

    def each(step: Any) -> None:
        if step.number + 1 not in frames:
            return
        at, images = frames.index(step.number + 1), pipeline.decode(step.latents).cpu()
        if not len(kept[at]):
            kept[at] = torch.zeros(len(of), width, *images.shape[1:])
        kept[at][step.captions, step.seeds] = images
        for caption, seed, file in zip(step.captions.tolist(), step.seeds.tolist(), encoded(images)):
            made.files[at][caption * width + seed] = file
        on_frame(made)

    images = diffusion.denoise(
        pipeline,
        list(of.captions) if embeddings is None else None,
        embeddings=embeddings,
        **sampling.options(),
        batch=sampling.batch,
        each=each,
        progress=False,
        stop=stop,
    ).images
    # on the way only where it is cheap: a distance is to every picture of the pool
    way = [
        measure(some, of) if measure.name == CORRELATION else np.full((len(of), width), np.nan) for some in kept[:-1]
    ]
    made.images, made.values = images, np.stack([*way, measure(images, of)])
    return made


# --- the edit


@dataclass(frozen=True)
class Question:
    """What the fields ask for; everything but the first three is answered from statistics that are there."""

    memorised: str
    reference: str
    place: str
    method: str
    chosen: tuple[int, ...]
    sparsity: float
    first: int

    def fields(self) -> dict[str, Any]:
        return {
            "memorised": self.memorised,
            "reference": self.reference,
            "place": self.place,
            "method": self.method,
            "chosen": list(self.chosen),
            "sparsity": self.sparsity,
            "first": self.first,
        }

    def text(self) -> str:
        return (
            f"{self.place}, {self.method}, sparsity {self.sparsity:g}, first {self.first}"
            f" step{'' if self.first == 1 else 's'}"
        )


@dataclass(eq=False)
class Edit:
    """The answer to a question: the mask, its control of equal density, pictures with each, and the attack on it."""

    question: Question
    mask: subspace.Mask
    control: subspace.Mask
    after: Drawn | None = None
    random: Drawn | None = None
    attacked: Drawn | None = None
    never: np.ndarray | None = None  # what the same attack draws of never-trained pictures, [caption, seed]
    attack: tuple[int, str] = (0, "")  # updates, start

    def complete(self, attack: tuple[int, str] | None = None) -> bool:
        return (
            self.after is not None
            and self.random is not None
            and (attack is None or (self.attacked is not None and self.attack == attack))
        )


@dataclass(eq=False)
class Run:
    """One request: the question, whether the edit is attacked as well, and what is there so far."""

    question: Question
    of: Captions
    reference: Captions | None
    attack: tuple[int, str] | None = None
    number: int = 0
    before: Drawn | None = None
    edit: Edit | None = None
    map: Any = None
    dataset: Any = None
    status: str = "running"
    seconds: float = 0.0
    stage: str = ""
    done: int = 0
    total: int = 0
    hashes: tuple[str, str] = field(default=("", ""))

    @property
    def answer(self) -> Edit:
        """The edit that answers the question. Raises ViewError while there is none."""
        if self.edit is None:
            raise ViewError("edit: the weights are not located yet; wait until they are")
        return self.edit

    def complete(self) -> bool:
        return self.before is not None and self.edit is not None and self.edit.complete(self.attack)

    def states(self) -> dict[str, Drawn]:
        """Pictures that are whole, by state."""
        found = {"before": self.before} | {name: getattr(self.edit, name, None) for name in STATES[1:]}
        return {name: one for name, one in found.items() if one is not None and one.values is not None}
