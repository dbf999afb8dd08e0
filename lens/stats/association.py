"""Rank correlation with its permutation test and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice, permutations
from typing import Any

import numpy as np
from scipy import stats

from lens.arguments import Draws, Positive, Seed, Share, door
from lens.stats.assumptions import both_follow
from lens.stats.functionals import LEAST
from lens.stats.means import NONE, SEVERAL
from lens.stats.samples import (
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
# both series must look serial at this level: an order that means nothing does so in 1 of 400 cases, a sorted one in 1
# of 30
FOLLOW = 0.05
CELLS = 200  # of so many cells the series are looked at
DRAWS, MANY = 1000, 2000  # resamples of the interval, a fifth of them above so many pairs
FISHER = "Fisher z"
HULL = "Fisher z and bootstrap, the wider of both"
CONSTANT = f"{NONE}: a side is constant"


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
        """Rho * sqrt(n - 1): mean 0 and variance 1 over all orders of y, exactly, ties or not; only its normal shape is
        approximate.
        """
        return self.rho * np.sqrt(np.asarray(self.test.n) - 1)

    def __str__(self) -> str:
        return f"{self.interval}; {self.test}"


@door(StatisticsError)
def rank_correlation(
    x,
    y,
    axis: int = 0,
    alternative: str = "two-sided",
    test: str = "permutation",
    resamples: Draws = 10_000,
    interval: str = "bootstrap",
    level: Share = 0.95,
    seed: Seed = 0,
    memory_mb: Positive = 200,
    exchangeable: bool | None = None,
) -> Correlation:
    """Spearman's rank correlation of x and y along `axis`, for every cell of the other axes at once.

    `y` has the shape of `x`, or one axis that serves all cells. `test`: "permutation" (all n! orders when at most
    `resamples`, else random ones, the same for all cells) or "t" (Student's approximation; poor in far tails). A pair
    with a NaN takes no part; a constant cell gives NaN.

    `interval`: "bootstrap" (pairs resampled, ranks redone: Student's quantile times their spread on Fisher's z scale,
    or "fisher", the wider of both; none below 12 pairs) or "fisher" (Fisher's z with the variance of Bonett & Wright
    2000, for pairs that are near normal after a rising transformation of each). Measured at 95 % for n = 12 to 100
    (`python -m tests.calibration --correlations --draws 10000`): the first covers at least .93, whatever the pairs
    (normal with rho 0 to .98, five-point scales, uncorrelated but dependent, spread that grows, 15 % wild); "fisher"
    .94 of normal pairs with rho up to .9 and of scales, .90 of those with .98, .89 of dependent ones, and .78 to .84
    where spread grows or some are wild, at any n.

    The permutation p is guaranteed if the values of one of the two are exchangeable: two series that drift, each by
    itself, are correlated at .05 in half of all nulls. Where both follow themselves in the order given (serial
    correlations at .05; over cells by the smallest or the median, doubled) p is approximate; `exchangeable=True` says
    that one of them was drawn or shuffled, and that the order means nothing. At least 4 pairs. Raises
    `StatisticsError`. Sources: Spearman 1904; Phipson & Smyth 2010; Bonett & Wright 2000.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(test, "test", ("permutation", "t"))
    check_choice(interval, "interval", ("fisher", "bootstrap"))
    level = check_open_unit(level, "level")
    resamples = check_count(resamples, "resamples", 19, "to reach the tails")
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
        pair = [v[np.ix_(rows, cells if v.shape[1] > 1 else np.zeros(1, int))] for v in (a, b)]
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
        elif rows.size >= LEAST:
            draws = DRAWS if rows.size <= MANY else DRAWS // 5
            for part in blocks(cells.size, budget(memory_mb) // draws):
                some = [v[:, part] if v.shape[1] > 1 else v for v in pair]
                low[cells[part]], high[cells[part]] = _resampled(some, rho[cells[part]], level, draws, seed, memory_mb)
    if not kinds:
        raise StatisticsError(
            f"x and y share n = {int(n.max())} units at most; a rank correlation with an interval needs at least 4. "
            "Add units, or check that both are in the same order."
        )
    if not shape and np.isnan(rho[0]):
        raise StatisticsError(
            "x or y is constant; a rank correlation needs values that differ. Check that the right column was given."
        )
    undefined = np.isnan(rho)
    p, low, high = (np.where(undefined, np.nan, v) for v in (p, low, high))
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    sampled = f"{whole(resamples)} permutations"
    method = {
        "approximate": "t distribution",
        "exact": "all orders",
        "monte carlo": sampled,
        "mixed": f"all orders or {sampled}",
    }[kind]
    how = FISHER if interval == "fisher" else HULL
    least = 4 if interval == "fisher" else LEAST
    known = np.where(n < least, f"{NONE}: fewer than {least} pairs", np.where(undefined, CONSTANT, how))
    said = str(known[0]) if len(set(known.tolist())) == 1 else SEVERAL
    rho, p, low, high, floor, n, known = (unwrap(v, shape) for v in (rho, p, low, high, floor, n, known))
    value = PValue(p, kind, n, method, rho, alternative, floor)
    if test == "permutation":
        drifting = exchangeable is not True and _drift(a, b, present) < FOLLOW
        value = (
            value.doubted("both series follow themselves (serial correlation)")
            if drifting
            else value.given("the values of x or of y are exchangeable")
        )
    return Correlation(rho, Interval(rho, low, high, level, n, said, "rho", known), value)


def _drift(a, b, present) -> float:
    """P that in every cell one series is exchangeable: the smallest over cells (Bonferroni) or their median (Rueger's
    rule), twice the smaller of the two.
    """
    many = np.unique(np.linspace(0, a.shape[1] - 1, min(a.shape[1], CELLS)).astype(int))
    p_values = [both_follow(a[present[:, i], i], b[present[:, i], i if b.shape[1] > 1 else 0]) for i in many]
    return (
        p_values[0]
        if len(p_values) == 1
        else min(1.0, 2 * min(len(p_values) * min(p_values), 2 * float(np.median(p_values))))
    )


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
    return np.minimum(np.tanh(_z(rho, n) - half), rho), np.maximum(np.tanh(_z(rho, n) + half), rho)


def _permuted(ranks, rho, alternative, resamples, seed, memory_mb):
    x, y = ranks
    n, cells = x.shape
    exact = n <= 20 and math.factorial(n) <= resamples
    draws = math.factorial(n) if exact else resamples
    rng, listed = generator(seed), permutations(range(n))
    reached = np.zeros(cells)
    for rows in blocks(draws, budget(memory_mb) // (n + min(cells, 2048))):
        count = rows.stop - rows.start
        order = (
            np.array(list(islice(listed, count))) if exact else rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        )
        if y.shape[1] == 1:
            size = budget(memory_mb) // count
        else:
            size = budget(memory_mb) // (count * n)
        for part in blocks(cells, size):
            drawn = (
                y[:, 0][order] @ x[:, part]
                if y.shape[1] == 1
                else np.einsum("bnc,nc->bc", y[:, part][order], x[:, part])
            )
            if alternative == "two-sided":
                hit = np.abs(drawn) >= np.abs(rho[part]) - TIE
            else:
                hit = drawn >= rho[part] - TIE if alternative == "greater" else drawn <= rho[part] + TIE
            reached[part] += hit.sum(axis=0)
    if exact:
        return reached / draws, 1 / draws, "exact"
    return (1 + reached) / (1 + draws), 1 / (1 + draws), "monte carlo"


def _resampled(pair, rho, level, resamples, seed, memory_mb):
    """Bounds on Fisher's z scale: Student's quantile times the spread of resampled pairs' correlations there, or the
    interval by `_fisher_z`, the wider of both. A resample in which one side is constant has no rho and is left out.
    """
    x, y = pair
    n, cells = x.shape
    rng = generator(seed)
    drawn = np.empty((resamples, cells))
    for rows in blocks(resamples, budget(memory_mb) // (n * cells)):
        index = rng.integers(n, size=(rows.stop - rows.start, n))
        drawn[rows] = (_unit_ranks(x[index], axis=1) * _unit_ranks(y[index], axis=1)).sum(axis=1)
    drawn[:, np.isnan(drawn).all(axis=0)] = 0.0
    half = stats.t.isf((1 - level) / 2 * _narrower(n), n - 2) * np.nanstd(_z(drawn, n), axis=0)
    low, high = _fisher_z(rho, n, level)
    return np.minimum(low, np.tanh(_z(rho, n) - half)), np.maximum(high, np.tanh(_z(rho, n) + half))


def _narrower(n: int) -> float:
    """By how much the tail is cut for the bootstrap's spread, found by simulation for normal pairs of which 15 % are
    replaced by wild ones: few samples of 30 show how wild they are.
    """
    return 0.3 if 25 <= n < 60 else 0.5


def _z(rho, n):
    """Fisher's z of a rank correlation, finite: half a step of the ranks short of 1."""
    limit = 1 - 3 / (n * (n * n - 1))
    return np.arctanh(np.clip(rho, -limit, limit))
