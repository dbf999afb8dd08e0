"""A sweep on disk: written as it goes, taken up where it was cut."""

from __future__ import annotations

from typing import Mapping

import numpy as np
import xarray as xr

from . import results
from .store import Store


class SweepStore:
    """The store of one sweep over prompts (or items) and layers.

    Attributes:
        done: which regions were there when the sweep was taken up, in the order of ``regions``.

    Raises:
        ResultError: ``path`` holds another sweep (the message lists what differs), or cannot be written.
    """

    def __init__(self, path, template: xr.Dataset, *, regions: Mapping[str, int] | None = None):
        self.store = Store(path, template, regions=regions)
        self.done = self.store.done.transpose(*(regions or ("prompt", "layer"))).values.copy()

    def held(self) -> xr.Dataset:
        """What the store holds, NaN where nothing was written yet."""
        return self.store.load()

    def write(self, part: xr.Dataset) -> None:
        """Writes the part just computed."""
        self.store.write(part)

    def finish(self, ds: xr.Dataset) -> None:
        """Records status and duration."""
        self.store.stamp(results.provenance(ds) | {"status": "complete" if self.whole else "partial"})

    @property
    def whole(self) -> bool:
        """Whether every cell is there, written by this process or another."""
        return bool(np.all(self.store.done.values))
