"""When a curve first reaches a threshold, with an interval by inversion: the steps at which the threshold lies inside
the interval of the curve's mean.
"""

from __future__ import annotations

import numpy as np

from lens.stats.means import kind_of, mean_interval

INVERTED = "inversion of the intervals of the means"


def reached(curves: np.ndarray, steps: np.ndarray, threshold: float) -> np.ndarray:
    """The first step at which each of the curves [steps, ...] is at the threshold, interpolated from the look before;
    the last step where none is.
    """
    curves = np.asarray(curves, float)
    flat = curves.reshape(len(curves), -1)
    there, cells = flat >= threshold, np.arange(flat.shape[1])
    first = there.argmax(0)
    before = np.maximum(first - 1, 0)
    low, high = flat[before, cells], flat[first, cells]
    with np.errstate(invalid="ignore"):
        share = np.divide(threshold - low, high - low, out=np.ones_like(low), where=np.isfinite(low) & (high > low))
    steps_at = np.where(there.any(0), steps[before] + np.clip(share, 0, 1) * (steps[first] - steps[before]), steps[-1])
    return steps_at.astype(float).reshape(curves.shape[1:])


def crossing(
    values: np.ndarray, steps: np.ndarray, threshold: float, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float, str]:
    """The step at which the mean over units of `values` [look, unit] reaches the threshold, its bounds, and their kind.
    Looks without an interval bound nothing; both bounds are NaN where no look has one, and of one unit's numbers.
    """
    kind = kind_of(values)
    if kind == "number" and values.shape[1] < 2:
        return float(reached(values.mean(1), steps, threshold)), np.nan, np.nan, "none: one unit"
    interval = mean_interval(
        values,
        axis=1,
        level=level,
        values="share" if kind == "difference" and not (values < 0).any() else kind,
        seed=seed,
    )
    low, high = (np.atleast_1d(np.asarray(v, float)) for v in (interval.low, interval.high))
    step = float(reached(values.mean(1), steps, threshold))
    if np.isnan(low).all():
        return step, np.nan, np.nan, str(np.atleast_1d(interval.kind)[0])
    early, late = (
        float(reached(np.where(np.isnan(v), end, v), steps, threshold)) for v, end in ((high, np.inf), (low, -np.inf))
    )
    return step, early, late, INVERTED


def crossing_difference(
    first: np.ndarray, second: np.ndarray, steps: np.ndarray, threshold: float, level: float = 0.95, seed: int = 0
) -> dict[str, float | str]:
    """Steps that `first` [look, unit] needs less than `second` to reach the threshold: `edited` and `twin` (its two
    steps), `savings`, `low`, `high`, `interval_kind`.

    The bounds are the differences of each curve's own, so that they cover more than `level` for curves that are
    independent or move together.
    """
    own, own_low, own_high, kind = crossing(first, steps, threshold, level, seed)
    twin, low, high, other = crossing(second, steps, threshold, level, seed)
    return {
        "edited": own,
        "twin": twin,
        "savings": twin - own,
        "low": low - own_high,
        "high": high - own_low,
        "interval_kind": kind if kind != INVERTED else other,
    }
