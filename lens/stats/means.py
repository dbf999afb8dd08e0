"""The interval of a mean that every summary uses: the kind is chosen by what the values are and how many there are.

Chosen by simulation (`python -m tests.calibration` prints the coverage of each cell): at 95 % it covers at least 93 %
of normal, lognormal (sigma 1) and Student's t (3 degrees) samples of 5 and more, and of 0/1 data of any size. Where a
sample cannot give such an interval there is none (NaN), and `Interval.kind` says why.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from lens.arguments import Draws, Positive, Seed, Share, door
from lens.stats.bounds import Bounds, clip
from lens.stats.samples import (
    Interval,
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
)

LEAST = 5  # fewer values that are no shares have no interval
HULL = "Student's t and studentized bootstrap, the wider of both"
EXACT = "Clopper-Pearson"
EXACT_DIFFERENCE = "Clopper-Pearson of gains and losses"
NONE = "not available"
FEW = f"{NONE}: fewer than {LEAST} values"
EQUAL = f"{NONE}: all values are equal"
TIES = f"{NONE}: too many equal values"
MISSING = f"{NONE}: no values"
SEVERAL = "intervals of several kinds"
VALUES = ("auto", "number", "share", "difference")


@door(StatisticsError)
def mean_interval(
    x,
    axis: int = 0,
    level: Share = 0.95,
    *,
    values: str = "auto",
    resamples: Draws = 2000,
    seed: Seed = 0,
    memory_mb: Positive = 200,
    name: str = "mean",
    bounds: Bounds | None = None,
) -> Interval:
    """Confidence interval of the mean along `axis`, for every cell of the other axes at once, with the kind of each in
    `kind`.

    Args:
        x: one value a unit along `axis` (for paired effects: the differences), NaN where missing.
        values: what they are. "share": truth values (0 or 1), Clopper-Pearson at every n. "difference": differences of
            two truth values (-1, 0, 1), the bounds of gains and losses each by Clopper-Pearson at every n. "number":
            anything else, from 5 values on the hull of Student's t and the studentized bootstrap, the latter at a wider
            nominal level below 60 values (`widened`). "auto": by the whole array: truth values or their differences are
            taken as such, everything else as numbers, and so is all that `bounds` let go beyond -1 or 1; an array of
            zeros alone, which may be either, gets the bounds that hold for both. Say "difference" where no unit may
            have lost. Values between 0 and 1 that all lie at the ends (AUROCs of 1) may be taken as truth values: a
            coin of each one's own chance in its place has the same mean, and Clopper-Pearson holds for such coins.
            Numbers that can lie elsewhere (layers of 0 and 1) need `bounds` or "number".
        bounds: the least and the largest value that a number can have: (0, 1) of a share of a unit, (-1, 1) of a
            difference of two. What lies beyond is cut off, and `kind` says so (`lens.stats.bounds`).

    Numbers get no interval where all are equal, or where so many are that resamples of one repeated value reach the
    tail: NaN bounds, and `kind` says so.

    Raises: StatisticsError: no values, infinite ones, values that are not what `values` says, a bad level.

    Source: Efron & Tibshirani 1993, section 12.5 (studentized); Clopper & Pearson 1934.
    """
    level, values = check_open_unit(level, "level"), check_choice(values, "values", VALUES)
    resamples = check_count(
        resamples,
        "resamples",
        int(np.ceil(round(2 / (1 - level), 6))),
        f"for level = {level:g} (each tail must hold one)",
    )
    truth = getattr(x, "dtype", None) == bool  # noqa: E721 (a dtype is compared, which equals the type)
    sample = as_sample(x, "x", axis)
    shape, flat = sample.shape[1:], sample.reshape(sample.shape[0], -1)
    generator(seed)
    budget(memory_mb)
    n = (~np.isnan(flat)).sum(0)
    if values == "auto":
        values = "share" if truth else kind_of(flat, bounds) if n.max() > 1 else "number"
    allowed = {"share": (0.0, 1.0), "difference": (-1.0, 0.0, 1.0)}.get(values)
    if allowed and not (odd := np.isin(flat, allowed) | np.isnan(flat)).all():
        raise StatisticsError(
            f"x has the value {flat[~odd].flat[0]:g} and values = {values!r}; expected"
            f" {' or '.join(f'{v:g}' for v in allowed)}. Say values='number'."
        )
    if values == "number":
        if n.max() < 2:
            raise StatisticsError(
                f"x has too few values for an interval: n = {int(n.max())}; expected at least 2 (numbers get an"
                f" interval from {LEAST} on). Add units, or report the value without an interval."
            )
        mean, low, high, kind = _of_numbers(flat, n, level, resamples, seed, memory_mb)
    else:
        mean, low, high, kind = _of_truths(flat, n, level, values)
    kinds = np.unique(kind)
    method = str(kinds[0]) if kinds.size == 1 else SEVERAL
    mean, low, high = (unwrap(v, shape) for v in (mean, low, high))
    found = Interval(mean, low, high, level, unwrap(n, shape), method, name, unwrap(kind, shape))
    return clip(found, bounds)


def over_runs(values, level: float = 0.95, name: str = "mean", bounds: Bounds | None = None) -> Interval:
    """Mean of one value a training run (seed) with Student's t interval: right for values that are near normal over
    runs, whatever their number; NaN is left out.

    No bounds for fewer than two runs, and none where all are equal: shares of a few units tie by chance (in 43 % of
    cases for three runs of 16 units at a share of .98), and say nothing of the spread then. Where the units within runs
    are at hand use `lens.stats.units.nested`. `bounds`: what the mean cannot leave, see `mean_interval`.
    """
    x = np.asarray(values, float).ravel()
    x = x[np.isfinite(x)]
    mean = float(x.mean()) if x.size else np.nan
    if x.size < 2:
        return Interval(mean, np.nan, np.nan, level, x.size, "none: fewer than two values", name)
    if np.ptp(x) <= 1e-12 * max(np.abs(x).max(), np.finfo(float).tiny):
        return Interval(mean, np.nan, np.nan, level, x.size, "none: all runs are equal", name)
    half = float(special.stdtrit(x.size - 1, (1 + level) / 2)) * x.std(ddof=1) / np.sqrt(x.size)
    found = Interval(mean, mean - half, mean + half, level, x.size, "t interval over seeds", name)
    return clip(found, bounds)


def kind_of(flat: np.ndarray, bounds: Bounds | None = None) -> str:
    """What an array holds: "share" (0 and 1), "difference" (-1, 0, 1; also where all are 0), or "number", which it
    also is where `bounds` let values go beyond -1 or 1.
    """
    if bounds is not None and (bounds[0] < -1 or bounds[1] > 1):
        return "number"
    present = flat[~np.isnan(flat)]
    if not np.isin(present, (-1.0, 0.0, 1.0)).all():
        return "number"
    return "difference" if (present < 0).any() or not present.any() else "share"


def widened(tail: float, n: int) -> float:
    """The tail at which the studentized bootstrap of n values is read so that it covers what `tail` says, found by
    simulation for lognormal samples.
    """
    return tail * (0.4 if n <= 5 else 0.5 if n < 16 else 0.6 if n < 25 else 0.8 if n < 60 else 1.0)


def clopper_pearson(successes: np.ndarray, n: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact bounds of a probability, each missed with at most `tail`; arrays broadcast, n = 0 gives 0 and 1."""
    k, n = np.asarray(successes, float), np.asarray(n, float)
    low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1), np.maximum(n - k + 1, 1), tail))
    high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail))
    return low, high


def difference_bounds(gains, losses, n, other=None, *, tail: float = 0.025) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of p(gain) - p(loss), each side missed with at most `tail`.

    Paired: `gains` and `losses` are how many of n units changed each way. Unpaired: successes among `n` and among
    `other`. The bounds are the differences of each share's own Clopper-Pearson bounds, so that they are monotone in
    either count. Counted over all outcomes for n = 5 to 100 and a grid of probabilities, a side is missed in at most
    `tail` and both in at most 4.5 % at 95 %.
    """
    (low, high), (other_low, other_high) = (
        clopper_pearson(gains, n, tail),
        clopper_pearson(losses, n if other is None else other, tail),
    )
    return low - other_high, high - other_low


def _of_truths(flat, n, level, values):
    tail, some = (1 - level) / 2, n > 0
    up, down = ((np.nan_to_num(flat) == v).sum(0) for v in (1.0, -1.0))
    mean = np.divide(np.nansum(flat, axis=0), n, out=np.full(n.shape, np.nan), where=some)
    low, high = clopper_pearson(up, n, tail) if values == "share" else difference_bounds(up, down, n, tail=tail)
    kind = np.where(some, EXACT if values == "share" else EXACT_DIFFERENCE, MISSING)
    return mean, np.where(some, low, np.nan), np.where(some, high, np.nan), kind


def _of_numbers(flat, n, level, resamples, seed, memory_mb):
    cells = flat.shape[1]
    mean, low, high = (np.full(cells, np.nan) for _ in range(3))
    kind = np.where(n == 0, MISSING, FEW).astype(object)
    for rows, where in groups_by_missing(~np.isnan(flat)):
        if not rows.size:
            continue
        for part in blocks(where.size, budget(memory_mb) // (2 * resamples)):
            some = where[part]
            data = flat[np.ix_(rows, some)]
            mean[some] = data.mean(0)
            if rows.size >= LEAST:
                low[some], high[some], kind[some] = _hull(data, level, resamples, seed)
    return mean, low, high, kind.astype(str)


def _hull(data: np.ndarray, level: float, resamples: int, seed: int):
    """Bounds of cells [n, cells] without missing values."""
    n, tail = len(data), (1 - level) / 2
    mean = data.mean(0)
    centred = data - mean
    spread = np.sqrt((centred**2).mean(0))
    flat = spread <= 1e-12 * np.maximum(np.abs(data).max(0), np.finfo(float).tiny)
    down, up = studentized(centred, resamples, widened(tail, n), seed)
    half = special.stdtrit(n - 1, 1 - tail) / np.sqrt(n - 1)
    with np.errstate(invalid="ignore"):
        low, high = mean - np.maximum(up, half) * spread, mean - np.minimum(down, -half) * spread
    there = np.isfinite(low) & np.isfinite(high) & ~flat
    kind = np.where(flat, EQUAL, np.where(there, HULL, TIES))
    return np.where(there, low, np.nan), np.where(there, high, np.nan), kind


def studentized(centred: np.ndarray, resamples: int, tail: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles at `tail` and 1 - `tail` of the resampled mean over its own spread, of cells [n, cells] centred at 0;
    infinite where resamples of one value reach them.
    """
    n, _cells = centred.shape
    resamples = max(resamples, int(np.ceil(4 / tail)))
    index = generator(seed).integers(n, size=(resamples, n))
    weight = (
        np.bincount((index + np.arange(resamples)[:, None] * n).ravel(), minlength=resamples * n).reshape(-1, n) / n
    )
    moved, square = weight @ centred, weight @ centred**2
    scale = np.sqrt(np.maximum(square - moved**2, 0.0))
    size = np.sqrt((centred**2).mean(0))
    still = scale <= 1e-6 * size
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(
            still,
            np.where(np.abs(moved) <= 1e-9 * size, 0.0, np.sign(moved) * np.inf),
            moved / np.where(still, 1.0, scale),
        )
    first, last = int(np.floor(tail * (resamples - 1))), int(np.ceil((1 - tail) * (resamples - 1)))
    t.partition((first, last), axis=0)
    return t[first], t[last]
