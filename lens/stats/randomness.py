"""Is a training order shuffled? Two tests of the positions, read in the order in which the rows stood before the
shuffle.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

from lens.arguments import door
from lens.stats.samples import PValue, StatisticsError, as_array


@door(StatisticsError)
def runs_test(positions) -> PValue:
    """Test that positions, in the order of the rows before the shuffle, are in random order; a small p says that they
    are not.

    `positions`: [n], ties allowed. p = twice the smaller p of the runs test about the median and of the serial rank
    correlation (Bonferroni), two-sided. A file stored in training order is sorted by position and fails by
    construction: give the rows' order before the shuffle. Raises `StatisticsError`.
    """
    runs, serial = runs_about_median(positions), serial_correlation(positions)
    p = min(1.0, 2 * float(np.nanmin([runs.p, serial.p])))
    return PValue(
        p, "approximate", serial.n, "runs about the median and serial rank correlation, Bonferroni", runs.statistic
    )


def runs_about_median(positions) -> PValue:
    """Wald-Wolfowitz test of the number of runs above and below the median (values equal to it left out), exact,
    two-sided by doubling.

    `statistic`: the number of runs less its expectation, in standard deviations; negative for a sorted or clustered
    order. NaN when fewer than two values lie
    on one of the sides. Raises `StatisticsError`. Source: Wald & Wolfowitz 1940.
    """
    values = _positions(positions)
    above = (values > np.median(values))[values != np.median(values)]
    high, low = int(above.sum()), int((~above).sum())
    if min(high, low) < 2:
        return PValue(math.nan, "exact", values.size, "runs about the median")
    runs = 1 + int((above[1:] != above[:-1]).sum())
    half = np.arange(1, min(high, low) + 1)
    log_even = math.log(2) + _log_choose(high - 1, half - 1) + _log_choose(low - 1, half - 1)
    half_odd = np.arange(1, min(high, low) + 1)  # 2 k + 1 runs
    log_odd = np.logaddexp(
        _log_choose(high - 1, half_odd) + _log_choose(low - 1, half_odd - 1),
        _log_choose(high - 1, half_odd - 1) + _log_choose(low - 1, half_odd),
    )
    counts = np.concatenate([2 * half, 2 * half_odd + 1])
    chance = np.exp(np.concatenate([log_even, log_odd]) - _log_choose(high + low, high))
    p = min(1.0, 2 * min(float(chance[counts <= runs].sum()), float(chance[counts >= runs].sum())))
    mean = 1 + 2 * high * low / (high + low)
    sd = math.sqrt((mean - 1) * (mean - 2) / (high + low - 1))
    return PValue(p, "exact", values.size, "runs about the median", (runs - mean) / sd)


def serial_correlation(positions) -> PValue:
    """Circular serial correlation of the ranks at lag one, standardised by its exact permutation moments; normal tail
    (approximate), two-sided.

    `statistic`: the standardised value, positive for a sorted or clustered order. Raises `StatisticsError`. Source:
    Wald & Wolfowitz 1943.
    """
    ranks = stats.rankdata(_positions(positions))
    ranks -= ranks.mean()
    ranks /= math.sqrt(ranks @ ranks)
    n, fourth = ranks.size, float((ranks**4).sum())
    mean = -1 / (n - 1)
    variance = (1 - fourth) / (n - 1) + (1 - 2 * fourth) / ((n - 1) * (n - 2)) - mean**2
    z = (float(ranks @ np.roll(ranks, -1)) - mean) / math.sqrt(variance) if variance > 1e-12 else 0.0
    return PValue(float(2 * stats.norm.sf(abs(z))), "approximate", n, "serial rank correlation, normal", z)


def _positions(positions):
    values = as_array(positions, "positions")
    if values.ndim != 1 or values.size < 5:
        raise StatisticsError(
            f"positions has shape {values.shape}; expected one number for each of at least 5 rows. Give one epoch."
        )
    if np.isnan(values).any():
        raise StatisticsError(
            f"positions has {int(np.isnan(values).sum())} NaN; expected a position for every row. Leave those rows out."
        )
    if values.min() == values.max():
        raise StatisticsError(
            f"positions is {values[0]:g} in all {values.size} rows; expected positions that differ. Check the order"
            " that was given."
        )
    return values


def _log_choose(n, k):
    with np.errstate(invalid="ignore"):
        value = special.gammaln(n + 1) - special.gammaln(np.asarray(k) + 1.0) - special.gammaln(n - np.asarray(k) + 1.0)
    return np.where((np.asarray(k) >= 0) & (np.asarray(k) <= n), value, -np.inf)
