"""The interval of any function of a sample of units, by the studentized bootstrap with a bootstrap inside for the
spread of each resample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from lens.stats.means import EQUAL, NONE, SEVERAL, TIES, widened
from lens.stats.samples import (
    Interval,
    StatisticsError,
    blocks,
    budget,
    check_count,
    check_open_unit,
    generator,
    groups_by_missing,
    unwrap,
)

NESTED = "Student's t and nested studentized bootstrap, the wider of both"
LEAST = 12  # units that a function needs
INNER = 25  # resamples of each resample, for its spread
FEW = f"{NONE}: fewer than {LEAST} units"


def functional(
    sample: np.ndarray, reduce: Callable, level: float, resamples: int, seed: int, memory_mb: float, name: str
) -> Interval:
    """Interval of `reduce(values, axis=...)` of a sample [n, ...cells], NaN where missing; `resamples` // 2 of them,
    with `INNER` of each.

    Below 12 units there is none. Where a resample has no spread it counts as infinitely far; where those reach the tail
    there is none either. Efron & Tibshirani 1993, section 12.5.
    """
    level = check_open_unit(level, "level")
    resamples = check_count(
        resamples,
        "resamples",
        int(np.ceil(round(2 / (1 - level), 6))),
        f"for level = {level:g} (each tail must hold one)",
    )
    generator(seed)
    shape, flat = sample.shape[1:], sample.reshape(sample.shape[0], -1)
    cells = flat.shape[1]
    n = (~np.isnan(flat)).sum(0)
    if n.max() < 2:
        raise StatisticsError(
            f"x has too few values for an interval: n = {int(n.max())}; expected at least 2 ({name} gets an interval"
            f" from {LEAST} on). Add units, or report the value without an interval."
        )
    estimate, low, high = (np.full(cells, np.nan) for _ in range(3))
    kind = np.full(cells, FEW, dtype=object)
    for rows, where in groups_by_missing(~np.isnan(flat)):
        if not rows.size:
            continue
        for part in blocks(where.size, budget(memory_mb) // (rows.size * INNER * 4)):
            some = where[part]
            data = flat[np.ix_(rows, some)]
            estimate[some] = _reduced(reduce, data[None], 1, some.size)[0]
            if rows.size >= LEAST:
                low[some], high[some], kind[some] = _bounds(
                    data, estimate[some], reduce, level, resamples, seed, memory_mb
                )
    kind = kind.astype(str)
    kinds = np.unique(kind)
    value, low, high = (unwrap(v, shape) for v in (estimate, low, high))
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


def _bounds(data, estimate, reduce, level, resamples, seed, memory_mb):
    n, cells = data.shape
    tail = widened((1 - level) / 2, n)
    outer = max(resamples // 2, int(np.ceil(4 / tail)))
    rng = generator(seed)
    first = rng.integers(n, size=(outer, n))
    places = rng.integers(n, size=(outer, INNER, n))
    drawn, scale = np.empty((outer, cells)), np.empty((outer, cells))
    for rows in blocks(outer, budget(memory_mb) // (INNER * n * cells)):
        drawn[rows] = _reduced(reduce, data[first[rows]], rows.stop - rows.start, cells)
        again = np.take_along_axis(np.repeat(first[rows, None], INNER, 1), places[rows], axis=2).reshape(-1, n)
        scale[rows] = _reduced(reduce, data[again], len(again), cells).reshape(-1, INNER, cells).std(axis=1)
    spread = drawn.std(axis=0)
    gap, still = drawn - estimate, scale <= 1e-9 * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(
            still, np.where(np.abs(gap) <= 1e-9 * spread, 0.0, np.sign(gap) * np.inf), gap / np.where(still, 1.0, scale)
        )
    place = tail * (outer - 1)
    down, up = int(np.floor(place)), int(np.ceil(outer - 1 - place))
    t.partition((down, up), axis=0)
    half = special.stdtrit(n - 1, (1 + level) / 2) * np.sqrt(n / (n - 1))
    with np.errstate(invalid="ignore"):
        low, high = estimate - np.maximum(t[up], half) * spread, estimate - np.minimum(t[down], -half) * spread
    flat = spread <= 1e-12 * np.maximum(np.abs(estimate), np.finfo(float).tiny)
    there = np.isfinite(low) & np.isfinite(high) & ~flat
    return (
        np.where(there, low, np.nan),
        np.where(there, high, np.nan),
        np.where(flat, EQUAL, np.where(there, NESTED, TIES)),
    )


def _reduced(reduce, values, count, cells):
    """`reduce` over the units of [draws, n, cells]."""
    reduced = np.asarray(reduce(values, axis=1), dtype=float)
    if reduced.shape != (count, cells):
        raise StatisticsError(
            f"statistic returned shape {reduced.shape} for values of shape {values.shape} and axis=1; expected"
            f" {(count, cells)}. It must reduce the axis it is given."
        )
    return reduced
