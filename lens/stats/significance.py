"""Tests of an effect: sign flips, permutations, ranks and counts.

A Monte Carlo p-value here is (1 + b) / (1 + m), b of m random draws being at least as extreme as the data, so that it
is never zero and never too small (Phipson & Smyth 2010). Where all draws can be listed within the budget, they are, and
the p-value is exact.
"""

from __future__ import annotations

import math
import warnings
from itertools import combinations, islice

import numpy as np
from scipy import stats

from lens.arguments import Draws, Fraction, Positive, Seed, door
from lens.stats.samples import (
    ALTERNATIVES,
    PValue,
    StatisticsError,
    as_array,
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

SYMMETRIC = "effects are symmetric about 0 under the null"
SKEWED = "effects are seen to be skewed"
TIE = 1e-12  # sums of the same numbers in another order differ by less, relative to the sum of their sizes


@door(StatisticsError)
def sign_flip(
    x,
    axis: int = 0,
    alternative: str = "two-sided",
    resamples: Draws = 10_000,
    seed: Seed = 0,
    memory_mb: Positive = 200,
) -> PValue:
    """Sign-flip permutation test that paired effects are symmetric about zero, for every cell of the other axes at
    once.

    `x`: effects along `axis`, one a unit (prompt, seed), NaN where missing. The statistic is their mean. All 2^n sign
    patterns are counted when 2^n <= `resamples`, else `resamples` random ones; the same patterns serve every cell. A
    missing value takes no part. A cell without values gets NaN. Raises `StatisticsError`. Sources: Fisher 1935, The
    Design of Experiments, section 21; Phipson & Smyth 2010.

    Guaranteed if effects are symmetric about 0 under the null, as differences of exchangeable pairs are (`condition`).
    A mean of 0 alone is not enough: sign flips of exponential or lognormal (1.2) effects of mean 0 are at most .05 in
    .085 and .19 of cases at n = 12. One sample that is seen to be skewed (`skewed`) has a p that is approximate, with
    the reason.
    """
    flat, shape, n, resamples = _effects(x, axis, alternative, resamples)
    data = np.nan_to_num(flat)
    total, size = data.sum(axis=0), np.abs(data).sum(axis=0)
    exact, draws = _sign_draws(flat.shape[0], resamples)
    reached = np.zeros(data.shape[1])
    for signs in _signs(flat.shape[0], exact, draws, seed, data.shape[1], memory_mb):
        for cells in blocks(data.shape[1], budget(memory_mb) // signs.shape[0]):
            flipped = signs @ data[:, cells]
            reached[cells] += _at_least(flipped, total[cells], TIE * size[cells], alternative).sum(axis=0)
    p = reached / draws if exact else (1 + reached) / (1 + draws)
    p, mean = np.where(n == 0, np.nan, p), np.where(n == 0, np.nan, total / np.maximum(n, 1))
    sides = 2 if alternative == "two-sided" else 1
    floor = sides / draws if exact else 1 / (1 + draws)
    method = f"all {whole(draws)} sign flips" if exact else f"{whole(draws)} sign flips"
    kind = "exact" if exact else "monte carlo"
    result = PValue(
        unwrap(p, shape), kind, unwrap(n, shape), method, unwrap(mean, shape), alternative, min(1.0, floor), SYMMETRIC
    )
    return result.doubted(SKEWED) if not shape and skewed(flat)[0] else result


def skewed(flat: np.ndarray, alpha: float = 0.05) -> np.ndarray:
    """In which cells [n, cells] the values are seen to be skewed: D'Agostino's test, p <= `alpha`, of the present
    values; never below 8 of them, and never where all have one size (as differences of truth values, of which the signs
    alone count).
    """
    n, seen = (~np.isnan(flat)).sum(axis=0), np.zeros(flat.shape[1], bool)
    size = np.where(flat == 0, np.nan, np.abs(flat))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        several = np.nanmax(size, axis=0) > np.nanmin(size, axis=0) * (1 + TIE)
    enough = (
        (n >= 8)
        & several
        & (np.nan_to_num(flat, nan=-np.inf).max(axis=0) > np.nan_to_num(flat, nan=np.inf).min(axis=0))
    )
    if enough.any():
        some = flat[:, enough]
        with np.errstate(all="ignore"):
            p = stats.skewtest(some, axis=0, nan_policy="omit" if np.isnan(some).any() else "propagate").pvalue
        seen[enough] = np.asarray(p) <= alpha
    return seen


@door(StatisticsError)
def sign_flip_max(
    x,
    axis: int = 0,
    alternative: str = "two-sided",
    resamples: Draws = 10_000,
    seed: Seed = 0,
    memory_mb: Positive = 200,
) -> PValue:
    """Sign-flip test of every cell with family-wise error control: step-down max-statistic p-values.

    As `sign_flip`, but the returned p is adjusted for having looked at all cells, by the joint distribution of their
    maximum; where cells are correlated (layers, positions) it is stronger than Holm's. The statistic of a cell is
    sum(x) / sqrt(sum(x^2)), which has variance 1 under the null in every cell, so that noisy cells do not rule the
    maximum. Raises `StatisticsError`.
    Source: Westfall & Young 1993, Resampling-Based Multiple Testing, algorithm 4.1 (step-down maxT).
    """
    flat, shape, n, resamples = _effects(x, axis, alternative, resamples)
    tested = np.flatnonzero(n > 0)
    data = np.nan_to_num(flat[:, tested])
    norm = np.sqrt((data**2).sum(axis=0))
    data = data / np.where(norm > 0, norm, 1.0)
    observed = data.sum(axis=0)
    key = {"two-sided": np.abs, "greater": np.positive, "less": np.negative}[alternative]
    weakest_first = np.argsort(key(observed), kind="stable")
    data, ranked = data[:, weakest_first], key(observed)[weakest_first]
    tie = TIE * np.abs(data).sum(axis=0).max()
    exact, draws = _sign_draws(flat.shape[0], resamples)
    reached = np.zeros(tested.size)
    for signs in _signs(flat.shape[0], exact, draws, seed, tested.size, memory_mb, whole_rows=True):
        largest = np.maximum.accumulate(key(signs @ data), axis=1)
        reached += (largest >= ranked - tie).sum(axis=0)
    p = reached / draws if exact else (1 + reached) / (1 + draws)
    adjusted, statistic = np.full(flat.shape[1], np.nan), np.full(flat.shape[1], np.nan)
    adjusted[tested[weakest_first]] = np.maximum.accumulate(p[::-1])[::-1]
    statistic[tested] = observed
    floor = (2 if alternative == "two-sided" else 1) / draws if exact else 1 / (1 + draws)
    method = f"{'all ' if exact else ''}{whole(draws)} sign flips, step-down maximum over {whole(tested.size)} cells"
    kind = "exact" if exact else "monte carlo"
    return PValue(
        unwrap(adjusted, shape),
        kind,
        unwrap(n, shape),
        method,
        unwrap(statistic, shape),
        alternative,
        min(1.0, floor),
        SYMMETRIC,
    )


@door(StatisticsError)
def permutation(
    x,
    y,
    axis: int = 0,
    alternative: str = "two-sided",
    resamples: Draws = 10_000,
    seed: Seed = 0,
    statistic: str = "difference",
    memory_mb: Positive = 200,
) -> PValue:
    """Permutation test that two independent samples have one distribution, for every cell of the other axes at once.

    `statistic`: "difference" of means, or "welch" (difference over its standard error), which also keeps its size for
    large samples whose spreads differ. Two-sided: large absolute values. All splits are counted when there are at most
    `resamples`, else random ones. NaN values take no part. A cell with an empty sample gets NaN. Raises
    `StatisticsError`.
    Sources: Phipson & Smyth 2010; Janssen 1997 for the studentised statistic.
    """
    a, b = as_sample(x, "x", axis), as_sample(y, "y", axis)
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(statistic, "statistic", ("difference", "welch"))
    resamples = check_count(resamples, "resamples", 19, "to be able to reach p = 0.05")
    generator(seed)
    if a.shape[1:] != b.shape[1:]:
        raise StatisticsError(
            f"x has cells {a.shape[1:]} and y has cells {b.shape[1:]}; expected equal shapes away from axis {axis}."
        )
    shape = a.shape[1:]
    both = np.concatenate([a, b]).reshape(a.shape[0] + b.shape[0], -1)
    p, observed, floor = (np.full(both.shape[1], np.nan) for _ in range(3))
    n = (~np.isnan(both)).sum(axis=0)
    kinds, least = set(), 2 if statistic == "welch" else 1
    for rows, cells in groups_by_missing(~np.isnan(both)):
        nx = int((rows < a.shape[0]).sum())
        if min(nx, rows.size - nx) < least:
            continue
        count = math.comb(rows.size, nx)
        exact = count <= resamples
        draws = count if exact else resamples
        kinds.add("exact" if exact else "monte carlo")
        some = both[np.ix_(rows, cells)]
        centred = some - some.mean(axis=0)
        first = np.zeros((1, rows.size))
        first[0, :nx] = 1
        value, tie = _two_sample(first, centred, nx, statistic)
        reached = np.zeros(cells.size)
        for chosen in _splits(
            rows.size, nx, exact, draws, seed, budget(memory_mb) // (rows.size + min(cells.size, 2048))
        ):
            for part in blocks(cells.size, budget(memory_mb) // chosen.shape[0]):
                drawn, _ = _two_sample(chosen, centred[:, part], nx, statistic)
                reached[part] += _at_least(drawn, value[0, part], tie[part], alternative).sum(axis=0)
        p[cells] = reached / draws if exact else (1 + reached) / (1 + draws)
        floor[cells] = 1 / draws if exact else 1 / (1 + draws)
        observed[cells] = value[0]
    if not kinds:
        raise StatisticsError(
            f"x and y have no cell with at least {least} present value{'s' if least > 1 else ''} in each; "
            f"statistic = {statistic!r} needs that. Add units, or check the masks."
        )
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    sampled = f"{whole(resamples)} permutations"
    method = {"exact": "all splits", "monte carlo": sampled, "mixed": f"all splits or {sampled}"}[kind]
    return PValue(
        unwrap(p, shape), kind, unwrap(n, shape), method, unwrap(observed, shape), alternative, unwrap(floor, shape)
    )


@door(StatisticsError)
def wilcoxon(x, axis: int = 0, alternative: str = "two-sided") -> PValue:
    """Wilcoxon signed-rank test of paired effects, for every cell of the other axes at once (SciPy's, zeros dropped).

    Exact in a cell with at most 50 non-zero values and no ties among their sizes, else the normal approximation with
    tie correction; `kind` says which, "mixed" where cells differ. NaN values take no part; n counts the non-zero ones;
    a cell of zeros has p = 1. Raises `StatisticsError`.
    Source: Wilcoxon 1945; Pratt & Gibbons 1981 for zeros and ties.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    sample = as_sample(x, "x", axis)
    shape, flat = sample.shape[1:], sample.reshape(sample.shape[0], -1)
    p, statistic = np.full(flat.shape[1], np.nan), np.full(flat.shape[1], np.nan)
    n = ((flat != 0) & ~np.isnan(flat)).sum(axis=0)
    sizes = np.sort(np.where(flat == 0, np.nan, np.abs(flat)), axis=0)
    tied = (np.diff(sizes, axis=0) == 0).any(axis=0)
    exact = (n <= 50) & ~tied
    values = np.where(flat == 0, np.nan, flat)
    for method, chosen in (("exact", exact & (n > 0)), ("asymptotic", ~exact & (n > 0))):
        if chosen.any():
            result = stats.wilcoxon(
                values[:, chosen], alternative=alternative, method=method, nan_policy="omit", axis=0
            )
            p[chosen], statistic[chosen] = result.pvalue, result.statistic
    p[(n == 0) & ~np.isnan(flat).all(axis=0)] = 1.0
    used = {"exact" if e else "approximate" for e in exact[n > 0]} or {"exact"}
    sides = 2 if alternative == "two-sided" else 1
    floor = np.where(exact, np.minimum(1.0, sides * 0.5**n), 0.0)
    kind = used.pop() if len(used) == 1 else "mixed"
    p, n, statistic, floor = (unwrap(v, shape) for v in (p, n, statistic, floor))
    return PValue(
        p, kind, n, "Wilcoxon signed rank", statistic, alternative, floor, SYMMETRIC if kind == "exact" else ""
    )


@door(StatisticsError)
def binomial_test(successes, n, probability: Fraction = 0.5, alternative: str = "two-sided") -> PValue:
    """Exact test of a success probability from counts; arrays broadcast, NaN counts give NaN.

    Two-sided adds every outcome that is no likelier than the one seen. Raises `StatisticsError`. Source: Clopper &
    Pearson 1934.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    probability = check_open_unit(probability, "probability")
    k, n = np.broadcast_arrays(as_array(successes, "successes"), as_array(n, "n"))
    bad = (k < 0) | (k > n) | (n < 1) | ((k != np.floor(k)) & ~np.isnan(k)) | ((n != np.floor(n)) & ~np.isnan(n))
    if bad.any():
        raise StatisticsError(
            f"successes = {k[bad].flat[0]:g} of n = {n[bad].flat[0]:g}; "
            "expected whole numbers with 0 <= successes <= n and n >= 1."
        )
    p = np.full(k.size, np.nan)
    for cell in np.flatnonzero(~np.isnan(k + n)):
        p[cell] = stats.binomtest(int(k.flat[cell]), int(n.flat[cell]), probability, alternative).pvalue
    trials = np.nan_to_num(n).astype(int)
    return PValue(
        unwrap(p, k.shape),
        "exact",
        unwrap(trials, k.shape),
        f"binomial, null {probability:g}",
        unwrap(k / n, k.shape),
        alternative,
    )


@door(StatisticsError)
def fisher_exact(table, alternative: str = "two-sided", resamples: Draws = 10_000, seed: Seed = 0) -> PValue:
    """Fisher's test that the rows and columns of a table of counts are independent.

    A 2 x 2 table is exact and may be one-sided ("greater": odds ratio above 1); a larger one is judged by `resamples`
    random tables with the same margins, by their probability. Raises `StatisticsError`. Sources: Fisher 1935, The Logic
    of Inductive Inference; Patefield 1981 for the tables.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    counts = as_array(table, "table")
    whole_counts = (
        np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.floor(counts)).all() and counts.sum() > 0
    )
    if counts.ndim != 2 or min(counts.shape) < 2 or not whole_counts:
        raise StatisticsError(
            f"table = {counts.tolist()!r:.80}; expected whole counts of at least 0, "
            "not all 0, in at least 2 rows and 2 columns."
        )
    counts, total = counts.astype(np.int64), int(counts.sum())
    if counts.shape == (2, 2):
        result = stats.fisher_exact(counts, alternative=alternative)
        return PValue(float(result.pvalue), "exact", total, "Fisher, 2 x 2", float(result.statistic), alternative)
    if alternative != "two-sided":
        raise StatisticsError(
            f"alternative = {alternative!r} has no meaning for a {counts.shape[0]} x {counts.shape[1]} table; "
            "use 'two-sided'."
        )
    resamples = check_count(resamples, "resamples", 19, "to be able to reach p = 0.05")
    method = stats.MonteCarloMethod(n_resamples=resamples, rng=generator(seed))
    result = stats.fisher_exact(counts, method=method)
    text = f"{whole(resamples)} random {counts.shape[0]} x {counts.shape[1]} tables"
    return PValue(
        float(result.pvalue), "monte carlo", total, text, float(result.statistic), alternative, 1 / (1 + resamples)
    )


# ---- draws -------------------------------------------------------------------------------------------------------


def _effects(x, axis, alternative, resamples):
    check_choice(alternative, "alternative", ALTERNATIVES)
    resamples = check_count(resamples, "resamples", 19, "to be able to reach p = 0.05")
    sample = as_sample(x, "x", axis)
    flat = sample.reshape(sample.shape[0], -1)
    flat = flat[~np.isnan(flat).all(axis=1)]
    return flat, sample.shape[1:], (~np.isnan(flat)).sum(axis=0), resamples


def _sign_draws(n, resamples):
    return (True, 2**n) if n < 63 and 2**n <= resamples else (False, resamples)


def _signs(n, exact, draws, seed, cells, memory_mb, whole_rows=False):
    """Blocks of signs [block, n]; random ones come row by row from one stream, so that the block size changes
    nothing.
    """
    rng = generator(seed)
    for rows in blocks(draws, budget(memory_mb) // (n + (cells if whole_rows else min(cells, 2048)))):
        if exact:
            bits = (np.arange(rows.start, rows.stop)[:, None] >> np.arange(n)) & 1
            yield 1.0 - 2.0 * bits
        else:
            yield np.where(rng.random((rows.stop - rows.start, n)) < 0.5, -1.0, 1.0)


def _splits(total, size, exact, draws, seed, block):
    """Blocks of 0/1 rows [block, total], each with `size` ones."""
    rng, listed = generator(seed), combinations(range(total), size)
    for rows in blocks(draws, block):
        count = rows.stop - rows.start
        if exact:
            index = np.array(list(islice(listed, count)))
        else:
            index = np.argpartition(rng.random((count, total)), size - 1, axis=1)[:, :size]
        chosen = np.zeros((count, total))
        np.put_along_axis(chosen, index, 1.0, axis=1)
        yield chosen


def _two_sample(chosen, centred, nx, statistic):
    """Statistic [block, cells] of each split and the size of a tie [cells]; `centred` values sum to zero in each
    cell.
    """
    ny = centred.shape[0] - nx
    sums = chosen @ centred
    difference = sums / nx + sums / ny
    size = np.abs(centred).sum(axis=0)
    if statistic == "difference":
        return difference, TIE * size * (1 / nx + 1 / ny)
    squares = chosen @ centred**2
    total = (centred**2).sum(axis=0)
    spread_x = np.maximum(squares - sums**2 / nx, 0) / (nx - 1)
    spread_y = np.maximum(total - squares - sums**2 / ny, 0) / (ny - 1)
    variance = spread_x / nx + spread_y / ny
    moved = np.where(np.abs(difference) > TIE * size * (1 / nx + 1 / ny), difference, 0.0)
    # two constant samples that differ are as far apart as can be; a finite stand-in keeps the comparison defined
    flat = variance <= TIE * total
    return np.where(
        flat, np.sign(moved) * np.finfo(float).max, moved / np.sqrt(np.where(flat, 1.0, variance))
    ), np.full(centred.shape[1], 1e-9)


def _at_least(drawn, observed, tie, alternative):
    if alternative == "greater":
        return drawn >= observed - tie
    if alternative == "less":
        return drawn <= observed + tie
    return np.abs(drawn) >= np.abs(observed) - tie
