"""How well an estimate of effects agrees with the exact ones, over the cells of one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats

from ..engine.results import provenance


class AgreementError(ValueError):
    """Two results that cannot be compared cell by cell; the message says what differs."""


@dataclass(frozen=True)
class Agreement:
    """How an estimate agrees with the exact effects over the same cells.

    Attributes:
        pearson, spearman: correlation over cells, with a bootstrap interval over prompts where there are several.
        slope: least-squares slope of estimate on exact through the origin (1 is perfect).
        top: share of the ``k`` largest exact |effects| that are among the estimate's ``k`` largest.
        sign: share of those ``k`` cells on which the signs agree.
        n_cells, n_prompts, k: sizes.
    """

    pearson: float
    pearson_interval: tuple[float, float] | None
    spearman: float
    spearman_interval: tuple[float, float] | None
    slope: float
    top: float
    sign: float
    k: int
    n_cells: int
    n_prompts: int

    def __str__(self) -> str:
        bounds = lambda i: "" if i is None else f" [{i[0]:.2f}, {i[1]:.2f}]"
        return (f"Pearson {self.pearson:.2f}{bounds(self.pearson_interval)}, Spearman {self.spearman:.2f}{bounds(self.spearman_interval)}, slope {self.slope:.2f}, "
                f"top-{self.k} overlap {self.top:.0%}, same sign there {self.sign:.0%} ({self.n_cells} cells, {self.n_prompts} prompts)")


def compare(exact: xr.Dataset, estimate: xr.Dataset, *, same: Sequence[str] = ("metric",), magnitude: bool = False, k: int = 10, resamples: int = 1000, level: float = 0.95,
            seed: int = 0) -> Agreement:
    """Compares the ``effect`` of two results over the same grid, on its mean over prompts.

    Args:
        same: arguments of the two calls that must be equal.
        magnitude: the estimate is of |effect|: it is compared with the mean over prompts of the exact effects' absolute values.

    Raises:
        AgreementError: grids or calls that differ, or a grid without three finite cells in common.
    """
    for axis in ("layer", "head", "position"):
        if (axis in exact.coords) != (axis in estimate.coords) or axis in exact.coords and not np.array_equal(exact[axis], estimate[axis]):
            raise AgreementError(f"estimate and exact are not over the same grid: their {axis} axes differ; compare results over the same grid.")
    calls = [provenance(ds).get("call", {}) for ds in (exact, estimate)]
    for key in same:
        if calls[0].get(key) != calls[1].get(key):
            raise AgreementError(f"estimate has {key}={calls[1].get(key)!r}, exact {calls[0].get(key)!r}; compare estimates of the same thing.")
    a, b = (np.asarray(ds["effect"].transpose(*exact["effect"].dims).values, float) for ds in (exact, estimate))
    if a.shape != b.shape:
        raise AgreementError(f"estimate has the shape {b.shape}, exact {a.shape}; compare results over the same grid.")
    if magnitude:
        a = np.abs(a)
    if "prompt" not in exact.dims:
        a, b = a[None], b[None]
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    # keep cells that every prompt has: a mean over different prompts is not one effect
    cells = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    if cells.sum() < 3:
        raise AgreementError(f"exact and estimate share {int(cells.sum())} finite cells; at least 3 are needed for a correlation.")
    a, b = a[:, cells], b[:, cells]
    mean = lambda rows: (a[rows].mean(0), b[rows].mean(0))
    whole = mean(slice(None))
    correlate = lambda x, y: (stats.pearsonr(x, y)[0], stats.spearmanr(x, y)[0])
    pearson, spearman = correlate(*whole)
    intervals: list = [None, None]
    if len(a) > 1:
        rng = np.random.default_rng(seed)
        drawn = np.array([correlate(*mean(rng.integers(0, len(a), len(a)))) for _ in range(resamples)])
        tails = [(1 - level) / 2, 1 - (1 - level) / 2]
        intervals = [tuple(np.nanquantile(drawn[:, j], tails)) for j in (0, 1)]
    k = min(k, a.shape[1])
    top_exact, top_estimate = (np.argsort(-np.abs(x))[:k] for x in whole)
    return Agreement(float(pearson), intervals[0], float(spearman), intervals[1], float(whole[0] @ whole[1] / (whole[0] @ whole[0])),
                     float(np.isin(top_exact, top_estimate).mean()), float((np.sign(whole[0][top_exact]) == np.sign(whole[1][top_exact])).mean()),
                     k, int(a.shape[1]), len(a))
