"""The record of a result of this family: the U-Net as it is now, and all parts of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ..results import dataset as results
from ..results.record import Plainly, record_of
from .pipeline import Pipeline


def stamp(
    ds: xr.Dataset,
    pipeline: Pipeline,
    kind: str,
    call: Mapping[str, Any],
    seed: int | None = None,
    status: str = "complete",
) -> xr.Dataset:
    """The result with its record: the U-Net as it is now (an edit in force is in its hash), the hash of all parts of
    the pipeline, the call and the seed.
    """
    plainly = Plainly(pipeline.unet, pipeline.dtype, pipeline.device)
    record = record_of(pipeline.unet, plainly, kind, call, seed=seed, status=status)
    return results.stamp(ds, record | {"model": record["model"] | {"pipeline": pipeline.hash}})
