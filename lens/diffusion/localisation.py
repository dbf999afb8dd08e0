"""Masks of a U-Net's feed-forward weights: by step, and their union over the first steps; the scores and masks
themselves are `lens.subspace`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import xarray as xr

from ..arguments import Count, NonNegative, Number, Size, door
from ..subspace import scores as scored
from ..subspace.masks import Mask
from ..subspace.scores import Scores
from .activations import Half, StepStatistics
from .errors import DiffusionError
from .pipeline import Pipeline

#: "published": both halves of the guidance, rows at unit length, more than the reference or not; "corrected": the
#: captioned half, with a margin of standard errors over captions; "wanda": the captioned half without a reference.
Variant = Literal["published", "corrected", "wanda"]
VARIANTS = get_args(Variant)
#: Of a row's weights.
Sparsity = Annotated[float, Number(0, 1, above=True)]


@door(DiffusionError)
def scores(
    pipeline: Pipeline,
    memorised: StepStatistics,
    reference: StepStatistics | None,
    step: Size,
    *,
    variant: Variant = "corrected",
    half: Half | None = None,
    margin: NonNegative = 3.0,
) -> Scores:
    """Scores of the weights at one step. `half`: None is the variant's own ("both" as published, else "caption").

    Raises: DiffusionError: an unknown variant, no reference where one is needed, captions that are in both sets.
    """
    if reference is None and variant != "wanda":
        raise DiffusionError(f"variant={variant!r} compares with reference captions; give reference, or take 'wanda'.")
    _apart(memorised, reference)
    half = half or ("both" if variant == "published" else "caption")
    mem = memorised.at(step, half)
    if variant == "wanda":
        raw = scored.wanda(pipeline.unet, mem)
    else:
        assert reference is not None  # refused above
        ref = reference.at(step, half)
        raw = (
            scored.contrast(pipeline.unet, mem, ref)
            if variant == "published"
            else scored.corrected(pipeline.unet, mem, ref, margin=margin)
        )
    # in the order in which the layers run; the module has its middle block last
    return replace(
        raw,
        values={name: raw.values[name] for name in mem.names},
        shapes={name: raw.shapes[name] for name in mem.names},
    )


def _apart(memorised: StepStatistics, reference: StepStatistics | None) -> None:
    if reference is not None and (shared := sorted(set(memorised.captions) & set(reference.captions))):
        raise DiffusionError(
            f"memorised and reference overlap in {len(shared)} captions: {', '.join(map(repr, shared[:4]))}. A set"
            " cannot be its own control: take them out of one."
        )


@door(DiffusionError)
def masks(
    pipeline: Pipeline,
    memorised: StepStatistics,
    reference: StepStatistics | None,
    *,
    sparsity: Sparsity = 0.01,
    first: Count | None = None,
    **options,
) -> list[Mask]:
    """The mask of each of the first steps (None: of all that were run). Raises as `scores`, and DiffusionError for too
    many steps.
    """
    first = memorised.steps if first is None else first
    if first > memorised.steps:
        raise DiffusionError(
            f"first={first!r}; the statistics are of {memorised.steps} steps: give 1 to {memorised.steps}."
        )
    return [scores(pipeline, memorised, reference, step, **options).mask(sparsity) for step in range(first)]


@door(DiffusionError)
def union(by_step: Sequence[Mask], first: Count | None = None) -> Mask:
    """The weights that are in the mask of any of the first steps (Chavhan et al. 2024, code: select ratio 0)."""
    some = by_step[:first]
    if not some:
        raise DiffusionError("by_step is empty; give at least one mask.")
    whole = reduce(Mask.__or__, some)
    return Mask(whole.layers, whole.shapes, whole.model, dict(some[0].about) | {"steps": len(some)})


@door(DiffusionError)
def locate(
    pipeline: Pipeline,
    memorised: StepStatistics,
    reference: StepStatistics | None,
    *,
    sparsity: Sparsity = 0.01,
    first: Count = 10,
    variant: Variant = "corrected",
    **options,
) -> Mask:
    """The weights that hold the memorised pictures: the top share of each row's scores, any of the first steps.

    Args:
        memorised, reference: statistics of captions, see `statistics`. sparsity: share of a row. first: steps that are
            united (10 of 51 in the paper's code).
        options: `half`, `margin`.

    Returns: a mask for `lens.subspace`: `with lens.edited(pipeline.unet, mask): ...`; smaller than asked for where
        fewer weights pass the contrast.

    Raises: DiffusionError: see `scores` and `masks`. SubspaceError: statistics of other weights, a share of less than
        one weight.

    Source: Chavhan et al. 2024, section 4 and code.
    """
    return union(
        masks(
            pipeline,
            memorised,
            reference,
            sparsity=sparsity,
            first=min(first, memorised.steps),
            variant=variant,
            **options,
        )
    )


@door(DiffusionError)
def score_map(
    pipeline: Pipeline, memorised: StepStatistics, reference: StepStatistics, *, half: Half = "caption"
) -> xr.Dataset:
    """How far each layer tells the sets apart at each step: over `step, layer` the share of neurons whose mean energy
    differs by more than 3 standard errors ("share"), and the largest z ("largest"). By chance a share of about .0027
    lies beyond 3 (normal; with few captions Welch's z has heavier tails).
    """
    _apart(memorised, reference)
    share = np.zeros((memorised.steps, len(memorised.layers)))
    largest = np.zeros_like(share)
    for step in range(memorised.steps):
        z = scored.column_z(memorised.at(step, half), reference.at(step, half))
        for number, name in enumerate(memorised.layers):
            value = torch.nan_to_num(z[name].abs(), posinf=0.0)
            share[step, number], largest[step, number] = float((value > 3).double().mean()), float(value.max())
    return xr.Dataset(
        {"share": (("step", "layer"), share), "largest": (("step", "layer"), largest)},
        coords={"step": np.arange(memorised.steps), "layer": list(memorised.layers)},
        attrs={"memorised": len(memorised), "reference": len(reference)},
    )
