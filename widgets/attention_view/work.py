"""Attention patterns as the view wants them: one text or a pair's difference, labels, thumbnails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr


@dataclass
class Request:
    """What is shown of which texts, and how far it is; `texts` by name, `done` of them are computed."""

    which: str
    texts: dict[str, str]
    done: int = 0
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0

    def layers_done(self) -> list[int]:
        return [] if self.dataset is None else labels(self.dataset["pattern"], "layer")

    def complete(self) -> bool:
        return self.dataset is not None


def labels(array: xr.DataArray, dim: str) -> list[int]:
    """The labels of an axis as ints."""
    return [int(x) for x in array[dim].values]


def token_labels(dataset: xr.Dataset) -> list[str]:
    """The tokens of the text, one for each query position."""
    for name in ("token", "token_query", "token_key"):
        if name in dataset.variables:
            return [str(t) for t in dataset[name].values]
    return [str(i) for i in range(dataset.sizes["query"])]


def pooled(values: np.ndarray, size: int) -> np.ndarray:
    """(..., T, T) reduced to at most (..., size, size): of each block the entry of largest magnitude, so that thin
    stripes stay visible.
    """
    length = values.shape[-1]
    if length <= size:
        return values
    edges = np.linspace(0, length, size + 1).astype(int)[:-1]
    for axis in (-1, -2):
        high, low = np.maximum.reduceat(values, edges, axis=axis), np.minimum.reduceat(values, edges, axis=axis)
        values = np.where(high >= -low, high, low)
    return values
