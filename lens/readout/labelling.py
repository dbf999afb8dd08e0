"""How results of read-outs are labelled: answers, units, axes of length one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from .reading import (
    labels,
)


def alone(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """A Dataset without an axis of length 1; what was labelled along it stays as scalar coordinates."""
    return ds.isel({dim: 0}).drop_vars(dim, errors="ignore")


def answer_coords(model: Any, readings: Sequence, wanted: Sequence[tuple[int | None, int | None]]) -> dict[str, Any]:
    """The coordinates ``answer_token`` and ``foil_token`` along ``prompt``, of those that are there."""
    coords = {}
    for n, name in enumerate(("answer", "foil")):
        if any(w[n] is not None for w in wanted):
            shown = labels(model, [w[n] if w[n] is not None else 0 for w in wanted])
            coords[f"{name}_token"] = (
                "prompt",
                np.array([s if w[n] is not None else "" for s, w in zip(shown, wanted)], dtype=str),
            )
    return coords


def set_units(ds: xr.Dataset, **units: str) -> None:
    """Gives variables their units, where the Dataset has them."""
    for name, unit in units.items():
        if name in ds:
            ds[name].attrs["units"] = unit
