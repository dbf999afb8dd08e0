"""What DiffusionBench is asked: where is cut, what is drawn, the question and its run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens import diffusion, subspace
from lens.diffusion import DiffusionError, Pipeline
from lens.diffusion.localisation import VARIANTS
from lens.diffusion.pipeline import CROSS_ATTENTION, FEED_FORWARD
from lens.diffusion.sampling import BATCH, timesteps
from lens.engine.linear import LinearError, linears
from widgets.diffusion_bench.captions import CORRELATION, Captions, Measure, encoded
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


def where_of(p: Pipeline) -> dict[str, dict[str, Any]]:
    """What the view says of the layers at each place, and of the pipeline."""
    about = [str(p.device), str(p.dtype).removeprefix("torch."), f"{p.image_shape[2]} × {p.image_shape[1]} pixels"]
    layers = {name: f"{count} {PLACES[name].noun}{'' if count == 1 else 's'}" for name, count in places_of(p).items()}
    return {
        name: {
            "layers": words,
            "text": " · ".join([p.name, words, *about]),
            "unit": PLACES[name].unit,
            "alike": PLACES[name].alike,
        }
        for name, words in layers.items()
    }


# --- watched denoising


@dataclass(eq=False)
class Pictures:
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
    on_frame: Callable[[Pictures], None],
) -> Pictures:
    """Denoise captions (or embeddings) with the weights as they are, showing the pictures after each kept step. Raises
    Stopped, DiffusionError.
    """
    frames, width = sampling.frames(pipeline), len(sampling.seeds)
    pictures = Pictures(frames, [[b""] * (len(of) * width) for _ in frames])
    kept = [torch.zeros(0)] * len(frames)

    def each(step: Any) -> None:
        if step.number + 1 not in frames:
            return
        at, images = frames.index(step.number + 1), pipeline.decode(step.latents).cpu()
        if not len(kept[at]):
            kept[at] = torch.zeros(len(of), width, *images.shape[1:])
        kept[at][step.captions, step.seeds] = images
        for caption, seed, file in zip(step.captions.tolist(), step.seeds.tolist(), encoded(images)):
            pictures.files[at][caption * width + seed] = file
        on_frame(pictures)

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
    pictures.images, pictures.values = images, np.stack([*way, measure(images, of)])
    return pictures


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
    after: Pictures | None = None
    random: Pictures | None = None
    attacked: Pictures | None = None
    never: np.ndarray | None = None  # what the same attack draws of never-trained pictures, [caption, seed]
    attack: tuple[int, str] = (0, "")  # updates, start

    def complete(self, attack: tuple[int, str] | None = None) -> bool:
        return (
            self.after is not None
            and self.random is not None
            and (attack is None or (self.attacked is not None and self.attack == attack))
        )


@dataclass(eq=False)
class Drawing:
    """One request: the question, whether the edit is attacked as well, and what is there so far."""

    question: Question
    of: Captions
    reference: Captions | None
    attack: tuple[int, str] | None = None
    number: int = 0
    before: Pictures | None = None
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

    def states(self) -> dict[str, Pictures]:
        """Pictures that are whole, by state."""
        found = {"before": self.before} | {name: getattr(self.edit, name, None) for name in STATES[1:]}
        return {name: one for name, one in found.items() if one is not None and one.values is not None}
