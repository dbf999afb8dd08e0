"""A patching sweep on disk: written as it goes, taken up where it was cut."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import xarray as xr

from ..engine import results
from ..engine.store import Store
from ..engine.sweeps import Values


class SweepStore:
    """The store of one sweep; it always has a ``prompt`` axis, also for a single pair.

    Raises:
        ResultError: ``path`` holds another sweep (the message lists what differs), or cannot be written.
    """

    def __init__(self, path, template: xr.Dataset):
        self.store = Store(path, template)
        #: ``[prompt, layer]``: what was there when the sweep was taken up
        self.done = self.store.done.transpose("prompt", "layer").values.copy()

    def values(self, empty: Values, direction: str) -> Values:
        """``empty`` filled with what the store holds."""
        held = self.store.load()
        base, source = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
        empty.value[...] = held.value.values
        empty.base[...], empty.source[...] = held[base].values, held[source].values
        return empty

    def write(self, so_far: xr.Dataset, prompts: Sequence[int], layers: tuple[int, int]) -> None:
        """Writes the part just computed."""
        self.store.write(so_far.isel(prompt=list(prompts), layer=slice(*layers)))

    def finish(self, ds: xr.Dataset) -> None:
        """Records status and duration."""
        self.store.stamp(results.provenance(ds) | {"status": "complete" if self.whole else "partial"})

    @property
    def whole(self) -> bool:
        """Whether every cell is there, written by this process or another."""
        return bool(np.all(self.store.done.values))
