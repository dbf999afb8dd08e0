"""Intervals of a difference or a ratio of two means: exact for truth values, else the wider of the t interval and the
studentized bootstrap, as `means` does for one mean.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from lens.stats.means import (
    EQUAL,
    EXACT_DIFFERENCE,
    FEW,
    HULL,
    LEAST,
    SEVERAL,
    TIES,
    difference_bounds,
    kind_of,
    mean_interval,
    widened,
)
from lens.stats.samples import Interval, StatisticsError, blocks, budget, generator, groups_by_missing, unwrap

FIELLER = "Fieller's t and studentized bootstrap, the wider of both"
UNBOUNDED = "unbounded: the denominator is not clearly away from 0"


def comparison(
    a: np.ndarray,
    b: np.ndarray,
    statistic: str,
    paired: bool,
    level: float,
    resamples: int,
    seed: int,
    memory_mb: float,
) -> Interval:
    """Interval of mean(a) - mean(b) or mean(a) / mean(b) of samples [rows, ...cells], NaN where missing in both
    (paired) or in either; checked by the caller.
    """
    name, shape = f"{statistic} of means", a.shape[1:]
    x, y = (s.reshape(s.shape[0], -1) for s in (a, b))
    truths = all(kind_of(s) != "number" and not (s < 0).any() for s in (x, y))
    if statistic == "difference" and paired:
        return mean_interval(
            a - b,
            0,
            level,
            values="difference" if truths else "number",
            resamples=resamples,
            seed=seed,
            memory_mb=memory_mb,
            name=name,
        )
    if statistic == "difference" and truths:
        (k, n), (l, m) = ((np.nansum(s, 0), (~np.isnan(s)).sum(0)) for s in (x, y))
        low, high = difference_bounds(k, l, n, m, tail=(1 - level) / 2)
        some = (n > 0) & (m > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            estimate = k / n - l / m
        value, low, high = (unwrap(np.where(some, v, np.nan), shape) for v in (estimate, low, high))
        return Interval(value, low, high, level, unwrap(n + m, shape), EXACT_DIFFERENCE, name)
    least = (~np.isnan(x) & ~np.isnan(y)).sum(0) if paired else np.minimum((~np.isnan(x)).sum(0), (~np.isnan(y)).sum(0))
    if least.max() < 2:
        raise StatisticsError(
            f"{'x' if paired else 'x or y'} has too few values for an interval: n = {int(least.max())} at most;"
            f" expected at least 2 units in each sample (an interval needs {LEAST}). Add units, or report the value"
            " without an interval."
        )
    cells = x.shape[1]
    estimate, low, high = (np.full(cells, np.nan) for _ in range(3))
    n, kind = np.zeros(cells, dtype=int), np.full(cells, FEW, dtype=object)
    both = np.concatenate([x, y])
    for rows, where in groups_by_missing(~np.isnan(both)):
        first, second = rows[rows < len(x)], rows[rows >= len(x)] - len(x)
        n[where] = first.size if paired else first.size + second.size
        if not first.size or not second.size:
            continue
        for part in blocks(where.size, budget(memory_mb) // (3 * resamples)):
            some = where[part]
            data = x[np.ix_(first, some)], y[np.ix_(second, some)]
            if min(first.size, second.size) >= LEAST:
                estimate[some], low[some], high[some], kind[some] = _hull(
                    *data, statistic == "ratio", paired, level, resamples, seed
                )
            else:
                with np.errstate(invalid="ignore", divide="ignore"):
                    estimate[some] = (
                        data[0].mean(0) / data[1].mean(0) if statistic == "ratio" else data[0].mean(0) - data[1].mean(0)
                    )
    value, low, high = (unwrap(v, shape) for v in (estimate, low, high))
    kind = kind.astype(str)
    kinds = np.unique(kind)
    return Interval(
        value,
        low,
        high,
        level,
        unwrap(n, shape),
        str(kinds[0]) if kinds.size == 1 else SEVERAL,
        name,
        unwrap(kind, shape),
    )


def _hull(x, y, ratio, paired, level, resamples, seed):
    """Estimate, bounds and kind of cells without missing values, [n, cells] and [m, cells]."""
    n, m, tail = len(x), len(y), (1 - level) / 2
    moments = _moments(x, y, paired)
    estimate, variance = _value(moments, n, m, ratio)
    index = _drawn(n, m, paired, max(resamples, int(np.ceil(4 / widened(tail, min(n, m))))), seed)
    centred = x - x.mean(0), y - y.mean(0)
    drawn, scale = _value(_resampled(*centred, *index, paired, x.mean(0), y.mean(0)), n, m, ratio)
    tiny = 1e-12 * np.maximum(variance, np.finfo(float).tiny)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = drawn - estimate
        t = np.where(
            scale <= tiny,
            np.where(np.abs(gap) <= 1e-9 * np.sqrt(variance), 0.0, np.sign(gap) * np.inf),
            gap / np.sqrt(np.where(scale <= tiny, 1.0, scale)),
        )
    t = np.where(np.isnan(t), np.inf, t)
    place = widened(tail, min(n, m)) * (len(t) - 1)
    first, last = int(np.floor(place)), int(np.ceil(len(t) - 1 - place))
    t.partition((first, last), axis=0)
    root = np.sqrt(variance)
    with np.errstate(invalid="ignore"):
        low, high = estimate - t[last] * root, estimate - t[first] * root
    t_low, t_high, unbounded = _by_t(moments, estimate, n, m, ratio, paired, tail)
    low, high = np.minimum(low, t_low), np.maximum(high, t_high)
    there = np.isfinite(low) & np.isfinite(high) & (variance > tiny)
    low, high = np.where(there, low, np.nan), np.where(there, high, np.nan)
    low, high = np.where(unbounded, -np.inf, low), np.where(unbounded, np.inf, high)
    kind = np.where(
        unbounded, UNBOUNDED, np.where(there, FIELLER if ratio else HULL, np.where(variance > tiny, TIES, EQUAL))
    )
    return estimate, low, high, kind


def _moments(x, y, paired):
    cross = ((x - x.mean(0)) * (y - y.mean(0))).mean(0) if paired else 0.0
    return x.mean(0), y.mean(0), x.var(0), y.var(0), cross


def _drawn(n, m, paired, resamples, seed):
    """Shares of the units in each resample, [resamples, n] and [resamples, m]."""
    streams = [
        generator(seed),
        generator(seed) if paired else np.random.Generator(np.random.PCG64(int(seed)).jumped(1)),
    ]
    shares = []
    for stream, size in zip(streams[: 1 if paired else 2], (n, m)):
        index = stream.integers(size, size=(resamples, size)) + np.arange(resamples)[:, None] * size
        shares.append(np.bincount(index.ravel(), minlength=resamples * size).reshape(-1, size) / size)
    return shares * 2 if paired else shares


def _resampled(x, y, first, second, paired, x_mean, y_mean):
    """The moments of resamples of centred values."""
    a, b = first @ x, second @ y
    cross = first @ (x * y) - a * b if paired else 0.0
    return a + x_mean, b + y_mean, np.maximum(first @ x**2 - a**2, 0.0), np.maximum(second @ y**2 - b**2, 0.0), cross


def _value(moments, n, m, ratio):
    """The statistic and its variance by linearisation."""
    a, b, va, vb, cross = moments
    if not ratio:
        return a - b, va / n + vb / m
    with np.errstate(divide="ignore", invalid="ignore"):
        value = a / b
        return value, np.maximum(va / n - 2 * value * cross / n + value**2 * vb / m, 0.0) / b**2


def _by_t(moments, estimate, n, m, ratio, paired, tail):
    """Welch's interval of a difference, Fieller's of a ratio; and where the denominator is not clearly away from 0."""
    a, b, va, vb, cross = moments
    sa, sb = va / (n - 1), vb / (m - 1)
    scale = np.abs(estimate) if ratio else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        df = (sa + scale**2 * sb) ** 2 / (sa**2 / (n - 1) + (scale**2 * sb) ** 2 / (m - 1))
    t = special.stdtrit(np.where(np.isfinite(df) & ~np.bool_(paired), df, min(n, m) - 1), 1 - tail)
    if not ratio:
        half = t * np.sqrt(sa + sb)
        return estimate - half, estimate + half, np.zeros(np.shape(estimate), bool)
    both = cross / (n - 1)
    square, linear, constant = b**2 - t**2 * sb, a * b - t**2 * both, a**2 - t**2 * sa
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(linear**2 - square * constant, 0.0))
        return (linear - root) / square, (linear + root) / square, ~(square > 0)
