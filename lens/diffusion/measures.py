"""What the captions of a pipeline bring back from fresh noise, by a measure of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..arguments import array
from .errors import DiffusionError
from .pipeline import Pipeline
from .sampling import denoise

#: images [caption, seed, 3, h, w] -> how much of its own training picture each holds, [caption, seed]: truth values,
#: shares or correlations. The captions' order is the caller's.
Measure = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Look:
    """A look at what a pipeline draws: how it samples, and the measure of what comes."""

    pipeline: Pipeline
    measure: Measure
    seeds: Sequence[int]
    steps: int
    guidance: float
    progress: bool | None = None
    stop: Callable[[], bool] | None = None

    def __call__(self, captions: Sequence[str] | None = None, **options: Any) -> Float[np.ndarray, "caption seed"]:
        """The measure of the pictures of captions; `options` of `denoise`. Raises as `denoise` and `values_of`."""
        samples = denoise(
            self.pipeline,
            captions,
            seeds=self.seeds,
            steps=self.steps,
            guidance=self.guidance,
            progress=self.progress,
            stop=self.stop,
            **options,
        )
        return values_of(self.measure, samples.images)

    @property
    def call(self) -> dict[str, Any]:
        """What a record tells of it beside the seeds, which are an axis of the result."""
        return {"denoising_steps": self.steps, "guidance": self.guidance}


def values_of(measure: Measure, images: Float[Tensor, "caption seed 3 h w"]) -> Float[np.ndarray, "caption seed"]:
    """What the caller's measure says, as numbers [caption, seed]. Raises DiffusionError: another shape, or a number
    that is not finite.
    """
    values = array(
        measure(images),
        "measure",
        f"a function that gives a number for each caption and seed, {tuple(images.shape[:2])}",
        DiffusionError,
        dtype=np.float64,
    )
    if values.shape != tuple(images.shape[:2]) or not np.isfinite(values).all():
        raise DiffusionError(
            f"measure gave numbers of shape {values.shape}, {int((~np.isfinite(values)).sum())} of them not finite;"
            f" expected one for each caption and seed, {tuple(images.shape[:2])}."
        )
    return values
