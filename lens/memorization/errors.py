"""The one error of this family, and the record that its results carry."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from ..engine import results
from ..engine.record import record_of


class MemorizationError(ValueError):
    """Sequences, a model or an argument of this family that cannot be used; the message names it, its value and the next step."""


def stamped(ds: xr.Dataset, model: Any, plain: nn.Module, kind: str, call: Mapping[str, Any], seed: int | None = None) -> xr.Dataset:
    """The result with its record: the model as it is now (an edit in force is in its weight hash), the call and the seed."""
    seen = SimpleNamespace(hf=plain, dtype=plain.dtype, device=plain.device)
    source = model if hasattr(model, "cfg") else plain
    return results.stamp(ds, record_of(source, seen, kind, call, seed=seed, status="complete", engine="plain"))


def labels(value: Any, n: int, name: str, of: str = "sequence") -> np.ndarray:
    """One label for each of n units: an array of them, or one for all."""
    array = np.asarray(value if not isinstance(value, (tuple, set)) else list(value))
    array = np.repeat(array[None], n, 0) if array.ndim == 0 else array
    if array.shape != (n,):
        raise MemorizationError(f"{name} has shape {array.shape}; expected one for each {of}, ({n},).")
    return array


def whole(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise MemorizationError(f"{name}={value!r}; expected a whole number of at least {least}.")
    return int(value)
