"""Confidence intervals: the bootstrap over one or two samples, and proportions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from lens.arguments import Draws, Positive, Seed, Share, door
from lens.stats.bounds import Bounds, clip
from lens.stats.contrasts import comparison
from lens.stats.functionals import functional
from lens.stats.means import mean_interval
from lens.stats.samples import (
    Interval,
    StatisticsError,
    as_array,
    as_sample,
    blocks,
    budget,
    check_choice,
    check_count,
    check_open_unit,
    check_same_shape,
    generator,
    groups_by_missing,
    unwrap,
)

AUTO = "auto"
METHODS = {"percentile": "percentile bootstrap", "bca": "BCa bootstrap", "studentized": "studentized bootstrap"}
STATISTICS = {"mean": None, "median": np.median}
COMPARISONS = {"difference": np.subtract, "ratio": np.divide}


@door(StatisticsError)
def bootstrap(
    x,
    axis: int = 0,
    statistic: str | Callable = "mean",
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    method: str = AUTO,
    memory_mb: Positive = 200,
    values: str = AUTO,
    bounds: Bounds | None = None,
) -> Interval:
    """Confidence interval of a statistic along `axis`, for every cell of the other axes at once.

    `x`: the sample along `axis` (for paired effects: the differences), NaN where missing. `statistic`: "mean", "median"
    or a function `f(values, axis=...)` that reduces that axis. `values`: what the values are, see `mean_interval`.
    `bounds`: what the statistic cannot leave, as (0, 1) of a share; the interval is cut there and its kind says so.
    Raises `StatisticsError`.

    `method`: "auto" is the one whose coverage at 95 % was measured to be at least 93 % (`python -m tests.calibration`):
    `mean_interval` for a mean (exact for truth values, else the wider of Student's t and the studentized bootstrap;
    none below 5 values), order statistics for a median (exact; none below 6 values), and for a function the same with
    the spread of each resample from resamples of it (`functional`; none below 12 values). What it could not give is
    NaN, and `kind` says why. By name: "percentile", "bca" (corrects bias and skew) or "studentized" (mean only).
    Measured of the mean of n = 5, 12, 30 values at 95 %: percentile and BCa cover .83, .91, .94 of normal and .73, .83,
    .89 of lognormal samples, studentized .94, .95, .95 and .89, .91, .93: all too short below about 30, BCa no less
    than percentile, and worse than it under heavy tails. Rare truth values are covered by none of the three. Cells that
    miss the same values share their resamples, so whole rows (prompts) are resampled.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 12 (studentized), 13 (percentile) and 14
        (BCa); Conover 1999 for the median.
    """
    sample = as_sample(x, "x", axis)
    if not callable(statistic):
        check_choice(statistic, "statistic", STATISTICS)
    name = statistic if isinstance(statistic, str) else getattr(statistic, "__name__", "statistic")
    reduce = statistic if callable(statistic) else STATISTICS[statistic]
    check_choice(method, "method", (AUTO, *METHODS))
    if method == AUTO and reduce is None:
        return mean_interval(
            x, axis, level, values=values, resamples=resamples, seed=seed, memory_mb=memory_mb, bounds=bounds
        )
    if method == AUTO and statistic == "median":
        return clip(_median(sample, level), bounds)
    if method == AUTO and reduce is not None:
        return clip(functional(sample, reduce, level, resamples, seed, memory_mb, name), bounds)
    if method == "studentized" and reduce is not None:
        raise StatisticsError(
            f"method = 'studentized' with statistic = {name!r}: "
            "its standard error is known for the mean only; use method = 'bca'."
        )
    flat = sample.reshape(sample.shape[0], -1)
    found = _intervals([flat], sample.shape[1:], _itself, reduce, True, level, resamples, seed, method, memory_mb, name)
    return clip(found, bounds)


@door(StatisticsError)
def bootstrap_comparison(
    x,
    y,
    axis: int = 0,
    statistic: str = "ratio",
    paired: bool = True,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    method: str = AUTO,
    memory_mb: Positive = 200,
    bounds: Bounds | None = None,
) -> Interval:
    """Confidence interval of mean(x) / mean(y) or mean(x) - mean(y), for every cell of the other axes at once.

    Paired (the default): x[i] and y[i] come from the same unit, are resampled together, and a pair that misses one
    value is left out. Unpaired: the two samples are resampled independently. A ratio whose denominator is not clearly
    away from zero at `level` has no bounded interval (Fieller 1954): its bounds are -inf and inf. `bounds`: what the
    difference or ratio cannot leave, as (-1, 1) of a difference of shares. Raises `StatisticsError`.

    `method`: "auto": a difference of truth values by exact bounds of gains and losses (`difference_bounds`), any other
    difference as the mean of paired differences or the wider of Welch's t and the studentized bootstrap, a ratio the
    wider of Fieller's t interval and the studentized bootstrap; none below 5 units in each sample. "percentile" and
    "bca" cover .83 and .86 of normal differences of 5 units at 95 %. Source: Efron & Tibshirani 1993, chapters 8, 12 to
    14; Fieller 1954.
    """
    a, b = as_sample(x, "x", axis), as_sample(y, "y", axis)
    check_choice(statistic, "statistic", COMPARISONS)
    check_choice(method, "method", (AUTO, "percentile", "bca"))
    if paired:
        check_same_shape(a, b, ("x", "y"), "Pairs need one y for each x; for two independent samples set paired=False.")
        missing = np.isnan(a) | np.isnan(b)
        if missing.all():
            raise StatisticsError(
                "x and y share no unit where both are present; a paired interval needs at least two. Check that they"
                " are in the same order."
            )
        a, b = np.where(missing, np.nan, a), np.where(missing, np.nan, b)
    elif a.shape[1:] != b.shape[1:]:
        raise StatisticsError(
            f"x has cells {a.shape[1:]} and y has cells {b.shape[1:]}; expected equal shapes away from axis {axis}."
        )
    if method == AUTO:
        level = check_open_unit(level, "level")
        resamples = check_count(
            resamples,
            "resamples",
            int(np.ceil(round(2 / (1 - level), 6))),
            f"for level = {level:g} (each tail must hold one)",
        )
        return clip(comparison(a, b, statistic, paired, level, resamples, seed, memory_mb), bounds)
    flat = [s.reshape(s.shape[0], -1) for s in (a, b)]
    name = f"{statistic} of means"
    found = _intervals(
        flat, a.shape[1:], COMPARISONS[statistic], None, paired, level, resamples, seed, method, memory_mb, name
    )
    return clip(found, bounds)


@door(StatisticsError)
def proportion(successes, n, level: Share = 0.95, method: str = "exact") -> Interval:
    """Confidence interval of a success probability from counts; arrays broadcast.

    `method`: "exact" (never covers less than `level`; Clopper & Pearson 1934) or "wilson" (shorter, right on average;
    Wilson 1927). NaN counts give NaN. Raises `StatisticsError`.
    """
    level = check_open_unit(level, "level")
    check_choice(method, "method", ("exact", "wilson"))
    k, n = np.broadcast_arrays(as_array(successes, "successes"), as_array(n, "n"))
    if (n < 1).any():
        raise StatisticsError(
            f"n = {n[n < 1].flat[0]:g}; a proportion needs at least one trial. Leave the empty cell out, or give NaN."
        )
    bad = (k < 0) | (k > n) | ((k != np.floor(k)) & ~np.isnan(k)) | ((n != np.floor(n)) & ~np.isnan(n))
    if bad.any():
        raise StatisticsError(
            f"successes = {k[bad].flat[0]:g} of n = {n[bad].flat[0]:g}; expected whole numbers with 0 <= successes"
            " <= n."
        )
    k = np.where(np.isnan(n), np.nan, k)
    tail = (1 - level) / 2
    share = k / n
    if method == "exact":
        low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail))
        high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail))
    else:
        z2 = stats.norm.isf(tail) ** 2
        centre = (k + z2 / 2) / (n + z2)
        half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n))) * np.sqrt(n) / (n + z2)
        low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
        low, high = np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)
    missing = np.isnan(share)
    low, high = np.where(missing, np.nan, low), np.where(missing, np.nan, high)
    trials = np.where(missing, 0, np.nan_to_num(n)).astype(int)
    text = {"exact": "Clopper-Pearson", "wilson": "Wilson"}[method]
    share, low, high = (unwrap(v, k.shape) for v in (share, low, high))
    return Interval(share, low, high, level, unwrap(trials, k.shape), text, "proportion")


def _itself(mean):
    return mean


def _median(sample, level) -> Interval:
    """Order statistics whose ranks a fair coin rarely leaves: exact for any distribution (conservative with ties);
    needs 6 values at 95 %.
    """
    level = check_open_unit(level, "level")
    flat = np.sort(sample.reshape(sample.shape[0], -1), axis=0)
    n = (~np.isnan(flat)).sum(axis=0)
    rank = stats.binom.ppf((1 - level) / 2, np.maximum(n, 1), 0.5).astype(
        int
    )  # P(fewer than rank heads) is below the tail
    there = (rank >= 1) & (n > 0)
    cells = np.arange(flat.shape[1])
    low, high = flat[np.maximum(rank - 1, 0), cells], flat[np.clip(n - rank, 0, len(flat) - 1), cells]
    with np.errstate(invalid="ignore"):
        estimate = np.array([np.median(flat[:k, c]) if k else np.nan for c, k in zip(cells, n)])
    value, low, high = (
        unwrap(v, sample.shape[1:]) for v in (estimate, np.where(there, low, np.nan), np.where(there, high, np.nan))
    )
    return Interval(value, low, high, level, unwrap(n, sample.shape[1:]), "order statistics", "median")


# ---- the bootstrap itself ----------------------------------------------------------------------------------------


def _intervals(samples, shape, combine, reduce, paired, level, resamples, seed, method, memory_mb, name) -> Interval:
    """`samples`: arrays [rows, cells]; `combine` maps their means to the statistic; `reduce`, if given, replaces the
    mean.
    """
    level = check_open_unit(level, "level")
    needed = int(np.ceil(round(2 / (1 - level), 6)))
    resamples = check_count(resamples, "resamples", needed, f"for level = {level:g} (each tail must hold one)")
    generator(seed)
    cells = samples[0].shape[1]
    estimate, low, high = (np.full(cells, np.nan) for _ in range(3))
    n = np.zeros(cells, dtype=int)
    enough = np.zeros(cells, dtype=bool)
    splits = np.cumsum([s.shape[0] for s in samples])[:-1]
    for rows, where in groups_by_missing(~np.isnan(np.concatenate(samples))):
        parts = np.split(rows, np.searchsorted(rows, splits))
        parts = [part - start for part, start in zip(parts, (0, *splits))]
        counts = [part.size for part in parts]
        n[where] = counts[0] if paired else sum(counts)
        enough[where] = min(counts) >= 2
        if min(counts) == 0:
            continue
        size = max(1, budget(memory_mb) // resamples)
        for cell_slice in blocks(where.size, size):
            some = where[cell_slice]
            data = [s[np.ix_(part, some)] for s, part in zip(samples, parts)]
            with np.errstate(divide="ignore", invalid="ignore"):
                estimate[some] = combine(*(_observed(d, reduce) for d in data))
            if min(counts) >= 2:
                low[some], high[some] = _bounds(
                    data, estimate[some], combine, reduce, paired, level, resamples, seed, method, memory_mb
                )
    if not enough.any():
        raise StatisticsError(
            f"{'x' if paired else 'x or y'} has too few values for an interval: n = {int(n.max())} at most; "
            "a bootstrap needs at least 2 units in each sample. Add units, or report the value without an interval."
        )
    value, low, high = (unwrap(v, shape) for v in (estimate, low, high))
    return Interval(value, low, high, level, unwrap(n, shape), METHODS[method], name)


def _observed(data, reduce):
    return data.mean(axis=0) if reduce is None else np.asarray(reduce(data, axis=0), dtype=float)


def _bounds(data, observed, combine, reduce, paired, level, resamples, seed, method, memory_mb):
    """Bounds for cells without missing values; `data`: arrays [rows, cells]."""
    cells = observed.size
    drawn = np.empty((resamples, cells))
    scale = np.empty((resamples, cells)) if method == "studentized" else None
    below_zero = np.zeros(cells)
    above_zero = np.zeros(cells)
    centred = data[0] - data[0].mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        for rows, indices in _resampled_rows(
            [d.shape[0] for d in data], paired, resamples, seed, reduce, cells, memory_mb
        ):
            if reduce is not None:
                values = np.asarray(reduce(data[0][indices[0]], axis=1), dtype=float)
                if values.shape != drawn[rows].shape:
                    raise StatisticsError(
                        f"statistic returned shape {values.shape} for values of shape {data[0][indices[0]].shape} and"
                        f" axis=1; expected {drawn[rows].shape}. It must reduce the axis it is given."
                    )
                drawn[rows] = values
                continue
            weights = [_shares(index, d.shape[0]) for index, d in zip(indices, data)]
            means = [w @ d for w, d in zip(weights, data)]
            drawn[rows] = combine(*means)
            if scale is not None:
                moved = weights[0] @ centred
                drawn[rows] = moved + observed
                scale[rows] = np.sqrt(np.maximum(weights[0] @ centred**2 - moved**2, 0.0))
            if combine is np.divide:
                below_zero += (means[1] <= 0).sum(axis=0)
                above_zero += (means[1] >= 0).sum(axis=0)
    tail = (1 - level) / 2
    if method == "studentized":
        return _studentized(drawn, scale, observed, np.sqrt((centred**2).mean(axis=0)), tail)
    tails = np.full(cells, tail), np.full(cells, 1 - tail)
    if method == "bca":
        tails = _bca_tails(drawn, observed, _leave_one_out(data, combine, reduce, paired, memory_mb), tail)
    undefined = np.isnan(drawn).any(axis=0) if combine is np.divide else False
    low, high = (
        _quantile(np.where(np.isnan(drawn), end, drawn) if np.any(undefined) else drawn, q)
        for q, end in zip(tails, (-np.inf, np.inf))
    )
    if combine is np.divide:
        unbounded = np.minimum(below_zero, above_zero) > tail * resamples
        low, high = np.where(unbounded, -np.inf, low), np.where(unbounded, np.inf, high)
    return low, high


def _resampled_rows(sizes, paired, resamples, seed, reduce, cells, memory_mb):
    """Blocks of row indices [block, n] for each sample; the numbers do not depend on the block size."""
    first = generator(seed)
    streams = [first] + [
        first if paired else np.random.Generator(np.random.PCG64(int(seed)).jumped(j)) for j in range(1, len(sizes))
    ]
    width = max(sizes) * (1 if reduce is None else cells)
    for rows in blocks(resamples, budget(memory_mb) // width):
        count = rows.stop - rows.start
        indices = [stream.integers(n, size=(count, n)) for stream, n in zip(streams[: 1 if paired else None], sizes)]
        yield rows, indices * len(sizes) if paired else indices


def _shares(index, n):
    """Row indices [block, n] as the share of each of the n units in each resample."""
    offset = np.arange(index.shape[0])[:, None] * n
    return np.bincount((index + offset).ravel(), minlength=index.shape[0] * n).reshape(-1, n) / n


def _leave_one_out(data, combine, reduce, paired, memory_mb):
    """Jackknife values, one array [n, cells] a sample (one array in all when paired)."""
    if reduce is not None:
        values, n = data[0], data[0].shape[0]
        keep = np.arange(n - 1)[None, :] + (np.arange(n - 1)[None, :] >= np.arange(n)[:, None])
        out = np.empty((n, values.shape[1]))
        for rows in blocks(n, budget(memory_mb) // (n * values.shape[1])):
            out[rows] = reduce(values[keep[rows]], axis=1)
        return [out]
    means = [d.mean(axis=0) for d in data]
    without = [(m * d.shape[0] - d) / (d.shape[0] - 1) for m, d in zip(means, data)]
    with np.errstate(divide="ignore", invalid="ignore"):
        if paired:
            return [combine(*without)]
        return [combine(*(without[i] if i == j else means[i] for i in range(len(data)))) for j in range(len(data))]


def _bca_tails(drawn, observed, jackknife, tail):
    """Bias-corrected and accelerated tail probabilities (Efron & Tibshirani 1993, equations 14.9 to 14.15)."""
    resamples = drawn.shape[0]
    tie = 1e-12 * np.maximum(np.abs(observed), np.abs(drawn).max(axis=0))
    below = ((drawn < observed - tie).sum(axis=0) + (drawn <= observed + tie).sum(axis=0)) / (2 * resamples)
    bias = special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    cubes, squares = 0.0, 0.0
    for values in jackknife:
        n = values.shape[0]
        influence = (n - 1) / n * (values.mean(axis=0) - values)
        cubes, squares = cubes + (influence**3).sum(axis=0), squares + (influence**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)
    return [special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))) for z in special.ndtri((tail, 1 - tail))]


def _quantile(drawn, q):
    """Linear-interpolation quantile with its own `q` for each cell; `drawn` is [resamples, cells] and is sorted in
    place.
    """
    drawn.sort(axis=0)
    place = np.nan_to_num(q) * (drawn.shape[0] - 1)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, drawn.shape[0] - 1)
    cells = np.arange(drawn.shape[1])
    left, right = drawn[lower, cells], drawn[upper, cells]
    with np.errstate(invalid="ignore"):
        between = left + (place - lower) * (right - left)
    # inf - inf has no interpolation: take the neighbour that makes the interval longer
    between = np.where(np.isinf(left) | np.isinf(right), np.where(np.asarray(q) < 0.5, left, right), between)
    return np.where(np.isnan(q), np.nan, between)


def _studentized(drawn, scale, observed, spread, tail):
    """Bootstrap-t bounds; a resample of one repeated value has no scale and counts as infinitely far (Efron &
    Tibshirani 1993, 12.5).
    """
    moved = drawn - observed
    flat = scale <= 1e-12 * np.maximum(spread, np.finfo(float).tiny)
    still = np.abs(moved) <= 1e-12 * np.maximum(np.abs(observed), spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(flat, np.where(still, 0.0, np.sign(moved) * np.inf), moved / scale)
        cells = observed.size
        bounds = (
            observed - _quantile(t, np.full(cells, 1 - tail)) * spread,
            observed - _quantile(t, np.full(cells, tail)) * spread,
        )
    return tuple(np.where(spread > 0, bound, observed) for bound in bounds)
