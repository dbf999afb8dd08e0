"""Rank correlation with its permutation test and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Any

import numpy as np
from scipy import stats

from lens.measure.samples import (
    ALTERNATIVES,
    Interval,
    PValue,
    StatisticsError,
    as_sample,
    blocks,
    budget,
    check_choice,
    check_count,
    check_open_unit,
    generator,
    groups_by_missing,
    unwrap,
    whole,
)

TIE = 1e-10


@dataclass(frozen=True, eq=False)
class Correlation:
    """Spearman's rho with its interval and its test; arrays when many cells were given."""

    rho: Any
    interval: Interval
    test: PValue

    @property
    def p(self):
        """The p-value of `test`."""
        return self.test.p

    @property
    def z(self):
        """rho * sqrt(n - 1): mean 0 and variance 1 over all orders of y, exactly, ties or not; only its normal shape is approximate."""
        return self.rho * np.sqrt(np.asarray(self.test.n) - 1)

    def __str__(self) -> str:
        return f"{self.interval}; {self.test}"


def rank_correlation(
    x,
    y,
    axis: int = 0,
    alternative: str = "two-sided",
    test: str = "permutation",
    resamples: int = 10_000,
    interval: str = "fisher",
    level: float = 0.95,
    seed: int = 0,
    memory_mb: float = 200,
) -> Correlation:
    """Spearman's rank correlation of x and y along `axis`, for every cell of the other axes at once.

    `y` has the shape of `x`, or one axis that serves all cells. `test`: "permutation" (all n! orders when at most `resamples`, else random
    ones, the same for all cells) or "t" (Student's approximation; poor in far tails). `interval`: "fisher" (Fisher's z with the variance of Bonett &
    Wright 2000) or "bootstrap" (percentile, pairs resampled, ranks redone). A pair with a NaN takes no part; a constant cell gives NaN.
    At least 4 pairs. Raises `StatisticsError`. Sources: Spearman 1904; Phipson & Smyth 2010; Bonett & Wright 2000.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(test, "test", ("permutation", "t"))
    check_choice(interval, "interval", ("fisher", "bootstrap"))
    level = check_open_unit(level, "level")
    least = int(np.ceil(round(2 / (1 - level), 6))) if interval == "bootstrap" else 19
    resamples = check_count(resamples, "resamples", least, "to reach the tails")
    generator(seed)
    a, b = as_sample(x, "x", axis), as_sample(y, "y", 0 if np.ndim(y) == 1 else axis)
    if b.shape not in (a.shape, a.shape[:1]):
        raise StatisticsError(
            f"x has shape {np.shape(x)} and y has shape {np.shape(y)}; "
            f"expected equal shapes, or one axis of {a.shape[0]} for y."
        )
    shape = a.shape[1:]
    a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
    present = ~(np.isnan(a) | np.isnan(b))
    n = present.sum(axis=0)
    rho, p, low, high, floor = (np.full(a.shape[1], np.nan) for _ in range(5))
    kinds = set()
    for rows, cells in groups_by_missing(present):
        if rows.size < 4:
            continue
        pair = [v[np.ix_(rows, cells if v.shape[1] > 1 else [0])] for v in (a, b)]
        ranks = [_unit_ranks(v, axis=0) for v in pair]
        rho[cells] = np.clip((ranks[0] * ranks[1]).sum(axis=0), -1, 1)
        if test == "t":
            kinds.add("approximate")
            p[cells], floor[cells] = _student(rho[cells], rows.size, alternative), 0.0
        else:
            p[cells], floor[cells], kind = _permuted(ranks, rho[cells], alternative, resamples, seed, memory_mb)
            kinds.add(kind)
        if interval == "fisher":
            low[cells], high[cells] = _fisher_z(rho[cells], rows.size, level)
        else:
            for part in blocks(cells.size, budget(memory_mb) // resamples):
                some = [v[:, part] if v.shape[1] > 1 else v for v in pair]
                low[cells[part]], high[cells[part]] = _resampled(some, level, resamples, seed, memory_mb)
    if not kinds:
        raise StatisticsError(
            f"x and y share n = {int(n.max())} units at most; a rank correlation with an interval needs at least 4. "
            "Add units, or check that both are in the same order."
        )
    if not shape and np.isnan(rho[0]):
        raise StatisticsError("x or y is constant; a rank correlation needs values that differ. Check that the right column was given.")
    undefined = np.isnan(rho)
    p, low, high = (np.where(undefined, np.nan, v) for v in (p, low, high))
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    sampled = f"{whole(resamples)} permutations"
    method = {"approximate": "t distribution", "exact": "all orders", "monte carlo": sampled, "mixed": f"all orders or {sampled}"}[kind]
    rho, p, low, high, floor, n = (unwrap(v, shape) for v in (rho, p, low, high, floor, n))
    how = "Fisher z" if interval == "fisher" else "percentile bootstrap"
    return Correlation(rho, Interval(rho, low, high, level, n, how, "rho"), PValue(p, kind, n, method, rho, alternative, floor))


def _unit_ranks(values, axis):
    """Average ranks, centred and of length one along `axis`; NaN where constant."""
    ranks = stats.rankdata(values, axis=axis)
    ranks -= ranks.mean(axis=axis, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=axis, keepdims=True))
    return np.where(norm > 0, ranks / np.where(norm > 0, norm, 1.0), np.nan)


def _student(rho, n, alternative):
    with np.errstate(divide="ignore"):
        t = rho * np.sqrt((n - 2) / np.maximum(1 - rho**2, 0.0))
    if alternative == "two-sided":
        return 2 * stats.t.sf(np.abs(t), n - 2)
    return stats.t.sf(t if alternative == "greater" else -t, n - 2)


def _fisher_z(rho, n, level):
    half = stats.norm.isf((1 - level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):
        z = np.arctanh(rho)
    return np.tanh(z - half), np.tanh(z + half)


def _permuted(ranks, rho, alternative, resamples, seed, memory_mb):
    x, y = ranks
    n, cells = x.shape
    exact = n <= 20 and math.factorial(n) <= resamples
    draws = math.factorial(n) if exact else resamples
    rng, listed = generator(seed), permutations(range(n))
    reached = np.zeros(cells)
    for rows in blocks(draws, budget(memory_mb) // (n + min(cells, 2048))):
        count = rows.stop - rows.start
        order = np.array(list(islice(listed, count))) if exact else rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        if y.shape[1] == 1:
            size = budget(memory_mb) // count
        else:
            size = budget(memory_mb) // (count * n)
        for part in blocks(cells, size):
            drawn = y[:, 0][order] @ x[:, part] if y.shape[1] == 1 else np.einsum("bnc,nc->bc", y[:, part][order], x[:, part])
            if alternative == "two-sided":
                hit = np.abs(drawn) >= np.abs(rho[part]) - TIE
            else:
                hit = drawn >= rho[part] - TIE if alternative == "greater" else drawn <= rho[part] + TIE
            reached[part] += hit.sum(axis=0)
    if exact:
        return reached / draws, 1 / draws, "exact"
    return (1 + reached) / (1 + draws), 1 / (1 + draws), "monte carlo"


def _resampled(pair, level, resamples, seed, memory_mb):
    """Percentile bounds over resampled pairs; a resample in which one side is constant has no rho and is left out."""
    x, y = pair
    n, cells = x.shape
    rng = generator(seed)
    drawn = np.empty((resamples, cells))
    for rows in blocks(resamples, budget(memory_mb) // (n * cells)):
        index = rng.integers(n, size=(rows.stop - rows.start, n))
        drawn[rows] = (_unit_ranks(x[index], axis=1) * _unit_ranks(y[index], axis=1)).sum(axis=1)
    tail = (1 - level) / 2
    undefined = np.isnan(drawn).all(axis=0)
    drawn[:, undefined] = 0.0
    low, high = np.nanquantile(drawn, (tail, 1 - tail), axis=0)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)
