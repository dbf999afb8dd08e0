"""A quantity over training runs: the mean of the runs' values, Student's t interval over them, and each run's value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from ...memorization.tables import over_units
from ...stats import proportion
from ...stats.units import nested
from ..over_models import by_seed

#: the steps of each training run by name
Parts = Mapping[int, Mapping[str, xr.Dataset]]
#: of every bootstrap
RESAMPLES = 2000


def pooled(
    values: Sequence[np.ndarray], over: Sequence[np.ndarray] | None = None, *, of: str = "share", seed: int = 0
) -> dict[str, Any]:
    """Mean over training runs of the mean of one value a unit (of the ratio of sums, with `over`): `estimate`, `low`,
    `high`, `seeds` (each run's), `n` units, and `p` of its being 0.

    The run is the unit, since sequences of one run share its weights: Student's t over runs. Of truth values and their
    differences the sequences within runs are inside as well (`lens.stats.units.nested`, the wider of both), so that
    runs that agree by accident are not taken for certain; other quantities have no bounds where runs agree entirely. Of
    a single run the interval is over its units and speaks of this model only: `seeds` has one value then. `of`: whether
    truth values are a "share", or each a "difference" of two.
    """
    parts = [np.asarray(v) for v in values]
    weights = [np.ones(len(p)) for p in parts] if over is None else [np.asarray(v, float) for v in over]
    with np.errstate(divide="ignore", invalid="ignore"):
        seeds = np.array([p.astype(float).sum() / w.sum() for p, w in zip(parts, weights)])
    every = np.concatenate(parts).astype(float)
    if len(parts) == 1:
        low, high, p = _within(every, weights[0], over is None, seed)
    elif over is None and np.isin(every, (0, 1) if of == "share" else (-1, 0, 1)).all():
        found = nested(every, np.repeat(np.arange(len(parts)), list(map(len, parts))), seed=seed, of=of)
        low, high, p = float(found.interval.low), float(found.interval.high), float(found.p)
    else:
        low, high, p = over_runs(seeds)
    about = {"low": low, "high": high, "p": p, "seeds": [float(s) for s in seeds], "n": len(every)}
    return {"estimate": float(np.mean(seeds)), **about}


def over_runs(seeds: Any) -> tuple[float, float, float]:
    """Bounds of Student's t over runs and its two-sided p for a mean of 0; NaN for one run, and where the runs agree
    entirely.
    """
    values = np.asarray(seeds, float)
    if len(values) < 2 or not np.ptp(values) > 1e-12:
        return np.nan, np.nan, np.nan
    _, low, high = by_seed(values)
    return low, high, float(stats.ttest_1samp(values, 0).pvalue)


def _within(values: np.ndarray, weights: np.ndarray, plain: bool, seed: int) -> tuple[float, float, float]:
    """Bounds over the units of one run; no p."""

    def ratio(index):
        return np.take(values, index).sum(1) / np.maximum(np.take(weights, index).sum(1), 1e-300)

    n = len(values)
    if plain and len(set(values.tolist())) == 1 and np.isin(values, (0, 1)).all():
        found = proportion(int(values.sum()), n)
    elif n > 1:
        found = over_units(n, ratio, level=0.95, seed=seed, resamples=RESAMPLES)
    else:
        return np.nan, np.nan, np.nan
    return float(found.low), float(found.high), np.nan


def inside(ds: xr.Dataset, where: str, kind: str | None = None) -> np.ndarray:
    """Which sequences are of a set, and of a kind."""
    return np.flatnonzero((ds.set.values == where) & ((ds.kind.values == kind) if kind else True))
