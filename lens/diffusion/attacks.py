"""Does a picture that an edit took away come back? Embeddings optimised towards it, prompts said otherwise, and
denoising that starts from the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Count, Draws, Filled, Fraction, Positive, Seed, Size, door, unfit
from ..engine.sessions import of_one_model
from .arguments import Guidance, Seeds
from .embeddings import optimise_embeddings
from .errors import DiffusionError
from .measures import Look, Measure
from .pairs import Pairs, digest, targets_and_control
from .pipeline import Pipeline
from .record import stamp


@door(DiffusionError)
@of_one_model
def attack(
    pipeline: Pipeline,
    targets: Pairs,
    control: Pairs,
    *,
    measure: Measure,
    start: Literal["caption", "empty", "random"] = "caption",
    steps: Draws = 50,
    at: Annotated[Sequence[Size], Filled()] | None = None,
    learning_rate: Positive = 0.1,
    batch: Count = 8,
    seed: Seed = 0,
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Optimise the embeddings of memorised and of never-memorised pictures with the same budget, and measure what they
    bring back from fresh noise.

    Args:
        targets: memorised pictures and their captions. control: pictures that the model never saw, with captions of the
            same kind.
        measure: called with the images of all captions, the targets' first. start: "caption" (each one's own), "empty"
            or "random".
        at: finished steps at which is measured (default 0, half of them and the last; 0 is the unattacked start). The
            rest: see `optimise_embeddings` and `denoise`.

    Returns: over `step, caption, seed`: `value`; over `caption, update`: `loss`; coordinates `set` ("target" or
        "control") and `prompt` of each caption.

    Raises: as `optimise_embeddings` and `denoise`; DiffusionError: a caption in both sets, a measure of another shape.

    Source: Kowalczuk et al. 2025, Finding DoRI.
    """
    pictures, captions, sets = targets_and_control(pipeline, targets, control)
    looks = sorted({0, int(steps) // 2, int(steps)} if at is None else {int(s) for s in at})
    embeddings = optimise_embeddings(
        pipeline,
        pictures,
        start=captions if start == "caption" else start,
        steps=steps,
        learning_rate=learning_rate,
        batch=batch,
        seed=seed,
        at=looks,
        progress=progress,
        stop=stop,
    )
    look = Look(pipeline, measure, seeds, denoising_steps, guidance, progress, stop)
    values = [look(embeddings=embeddings.states[step]) for step in looks]
    ds = xr.Dataset(
        {
            "value": (("step", "caption", "seed"), np.stack(values)),
            "loss": (("caption", "update"), embeddings.loss.double().numpy()),
        },
        {"step": looks, "seed": list(map(int, seeds)), "update": np.arange(steps), **_coords(captions, sets)},
    )
    call = {
        "start": start,
        "steps": steps,
        "learning_rate": learning_rate,
        "batch": batch,
        **look.call,
        "pictures": digest(pictures),
    }
    return stamp(ds, pipeline, "embedding attack", call, seed)


@door(DiffusionError)
@of_one_model
def noisy_start(
    pipeline: Pipeline,
    targets: Pairs,
    control: Pairs,
    *,
    measure: Measure,
    shares: Sequence[Fraction] = (0.25, 0.5, 0.75),
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Noise pictures to a share of the denoising steps, denoise them from there, and measure what comes back.

    The control (pictures that the model never saw) tells how much of a picture survives the noise anyway. Arguments and
    errors as `attack`; `shares`: of the steps that are run.

    Returns: over `share, caption, seed`: `value`; coordinates `set` and `prompt` of each caption.
    """
    pictures, captions, sets = targets_and_control(pipeline, targets, control)
    if not len(shares):
        raise DiffusionError("shares is empty; give at least one share of the steps, above 0 and at most 1.")
    if len(set(shares)) < len(shares):
        raise DiffusionError(unfit("shares", shares, "different shares of the steps"))
    look = Look(pipeline, measure, seeds, denoising_steps, guidance, progress, stop)
    latents = pipeline.encode(pictures)
    values = [look(captions, start=(latents, float(share))) for share in shares]
    ds = xr.Dataset(
        {"value": (("share", "caption", "seed"), np.stack(values))},
        {"share": list(map(float, shares)), "seed": list(map(int, seeds)), **_coords(captions, sets)},
    )
    return stamp(ds, pipeline, "noisy start", look.call | {"pictures": digest(pictures)})


@door(DiffusionError)
@of_one_model
def prompts(
    pipeline: Pipeline,
    variants: Mapping[str, Sequence[str]],
    *,
    measure: Measure,
    seeds: Seeds = (0, 1, 2, 3),
    denoising_steps: Count = 25,
    guidance: Guidance = 3.0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Measure what captions said in several ways bring back: as they are, in other words, in part, from seeds that were
    not used for locating.

    Args:
        variants: name -> captions, each of the same pictures in the same order. measure: called once for each variant.

    Returns: over `variant, caption, seed`: `value`; `prompt` over `variant, caption`. The control is a run of the same
        call on a twin that never saw the pictures.

    Raises: as `denoise`; DiffusionError: variants of different numbers of captions, a measure of another shape.
    """
    counts = {name: len(list(captions)) for name, captions in variants.items()}
    if not counts or len(set(counts.values())) > 1:
        raise DiffusionError(f"variants has {counts}; expected at least one, and the same number of captions in each.")
    look = Look(pipeline, measure, seeds, denoising_steps, guidance, progress, stop)
    values = [look(list(captions)) for captions in variants.values()]
    ds = xr.Dataset(
        {"value": (("variant", "caption", "seed"), np.stack(values))},
        {
            "variant": list(variants),
            "caption": np.arange(values[0].shape[0]),
            "seed": list(map(int, seeds)),
            "prompt": (("variant", "caption"), [list(captions) for captions in variants.values()]),
        },
    )
    return stamp(ds, pipeline, "prompt attacks", look.call)


def _coords(captions: Sequence[str], sets: Sequence[str]) -> dict[str, Any]:
    return {"caption": np.arange(len(captions)), "prompt": ("caption", list(captions)), "set": ("caption", list(sets))}
