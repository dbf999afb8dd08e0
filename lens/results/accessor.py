"""``ds.mnemoscope``: what a result says of itself, on any ``xarray.Dataset`` that carries a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from ..arguments import FilePath
from .dataset import ATTRIBUTE, Peak, describe, peak, provenance, table


@xr.register_dataset_accessor(ATTRIBUTE)
class Accessor:
    """``ds.mnemoscope``: the record of a result, its peak, its table; ``ds.attrs["mnemoscope"]`` is the raw JSON."""

    def __init__(self, ds: xr.Dataset):
        self._ds = ds

    def describe(self) -> str:
        """What the result is, where its peak lies and how to plot it."""
        return describe(self._ds)

    @property
    def provenance(self) -> dict[str, Any]:
        """The record as a dictionary (``lens.record``)."""
        return provenance(self._ds)

    def peak(self, variable: str | None = None, *, average: tuple[str, ...] = ("prompt",)) -> Peak | None:
        """The cell of largest absolute effect with its labels; see ``lens.results.dataset.peak``."""
        return peak(self._ds, variable, average=average)

    def table(self) -> pd.DataFrame:
        """The result in long form, one row a cell, tokens included."""
        return table(self._ds)

    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Save as a Zarr folder; see ``lens.save``."""
        from .saving import save  # which loads Zarr

        return save(self._ds, path, overwrite=overwrite)

    def __repr__(self) -> str:
        return self.describe()
