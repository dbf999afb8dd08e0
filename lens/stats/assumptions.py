"""What data can show of a test's assumptions: checks that are tests themselves, each with its level.

A check can only take the word "guaranteed" away, or refuse: a data set that fails one counts as no rejection. So
P(guaranteed and p <= a) is at most P(p <= a), and no check makes a valid p-value invalid, whether or not it is
independent of the statistic. What it costs is honest data: at most its level. Two levels are used: `DOUBT`, from which
on a p-value is only approximate, and `REFUSAL`, from which on there is no result.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

DOUBT = 1e-3
REFUSAL = 1e-6
LEAST = 20  # rows below which a check has nothing to say


def spread_evenly(keys) -> float:
    """P that keys were drawn from U(0, 1): the smaller of Kolmogorov-Smirnov's (exact) and of a test of the variance,
    doubled. 1 below 20 keys.

    `keys`: [n], one epoch. The variance is looked at beside because it is what the tail bound rests on.
    """
    u = np.asarray(keys, dtype=float).ravel()
    if u.size < LEAST:
        return 1.0
    # mean 1, variance 4/5 for uniform keys; a gamma of these moments is more skewed, so its tail is the safe one
    squares = 12 * (u - 0.5) ** 2
    shape = u.size / 0.8
    too_wide = float(special.gammaincc(shape, shape * squares.mean()))
    ordered, n = np.sort(u.clip(0, 1)), u.size
    gap = max((np.arange(1, n + 1) / n - ordered).max(), (ordered - np.arange(n) / n).max())
    return min(1.0, 2 * min(float(stats.kstwo.sf(gap, n)), too_wide))


def epochs_alike(keys) -> tuple[float, bool]:
    """P that the columns of keys [n, epochs] are independent of each other (rank correlation of each pair,
    Bonferroni), and whether two are equal.
    """
    columns = np.asarray(keys, dtype=float)
    if columns.ndim == 1 or columns.shape[1] < 2:
        return 1.0, False
    ranks = stats.rankdata(columns, axis=0)
    ranks = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0).clip(1e-300)
    n, pairs = len(ranks), np.triu_indices(columns.shape[1], 1)
    rho = np.abs(((ranks.T @ ranks) / n)[pairs])
    equal = bool(rho.max() > 1 - 1e-9 and n > 3)
    if n < LEAST:
        return (0.0 if equal else 1.0), equal
    return min(1.0, 2 * len(rho) * float(stats.norm.sf(rho.max() * math.sqrt(n - 1)))), equal


def grid_step(keys) -> float:
    """The step of a grid on which all keys lie, as ranks divided by their number do; 0 for keys that lie on none.

    Euclid's algorithm on the gaps; numbers of a generator with 53 bits have no common step above 1e-7.
    """
    gaps = np.diff(np.unique(np.asarray(keys, dtype=float)))
    if len(gaps) < 4:
        return 0.0
    step = 0.0
    for gap in gaps[:64]:
        a, b = max(step, gap), min(step, gap)
        while b > 1e-9:
            a, b = b, abs(a - b * round(a / b))
        step = a
        if step < 1e-7:
            return 0.0
    off = gaps / step
    return float(step) if np.abs(off - np.round(off)).max() < 1e-3 else 0.0


def goes_with(score, position, group=None) -> float:
    """Standardised rank association of a score [n] with positions [n] or [n, epochs], within groups: mean 0 and
    variance 1 under the permutation null.
    """
    from lens.stats.randomization import grouped_moments

    ranks, n = stats.rankdata(score), len(score)
    columns = np.asarray(position, dtype=float).reshape(n, -1)
    label = stats.rankdata(columns, axis=0).mean(axis=1)
    names = np.zeros(n, int) if group is None else np.asarray(group)
    mean, variance = grouped_moments(ranks, label, names)
    return float((ranks @ label - mean) / math.sqrt(variance)) if variance > 0 else 0.0


def missing_by_position(position, missing, other=None) -> float:
    """P that scores are missing without regard to position: rank sum and Kolmogorov-Smirnov of the positions of
    missing and present rows, Bonferroni.

    `position`: [n]; `missing`: [n] booleans; `other`: [n] a score known for missing rows too (a reference's), whose
    association with position among the
    missing ones is looked at as well: rows may be lost where they are late *and* hard.
    """
    at, gone = np.asarray(position, dtype=float), np.asarray(missing, dtype=bool)
    few = min(int(gone.sum()), int((~gone).sum()))
    if few < 3:
        return 1.0
    p_values = [
        float(stats.mannwhitneyu(at[gone], at[~gone]).pvalue),
        float(stats.ks_2samp(at[gone], at[~gone]).pvalue),
    ]
    if other is not None:
        both = gone & np.isfinite(other)
        if both.sum() >= 8 and np.ptp(np.asarray(other)[both]) > 0 and np.ptp(at[both]) > 0:
            p_values.append(float(2 * stats.norm.sf(abs(goes_with(np.asarray(other)[both], at[both])))))
    return min(1.0, len(p_values) * min(p_values))


def follow_each_other(values, detrend: int = 4) -> float:
    """One-sided p that values, in the order given, are exchangeable: serial rank correlation at lag one after a
    polynomial in the place was taken away.

    Small where neighbours are alike, as the chunks of one document or copies of one row are. The polynomial takes a
    slow trend away, which an effect of the order would leave; residuals of exchangeable values are at most a little
    less alike than the values, so the test stays conservative.
    """
    x = stats.rankdata(np.asarray(values, dtype=float))
    if x.size < LEAST or np.ptp(x) == 0:
        return 1.0
    if detrend:
        place = np.linspace(-1, 1, x.size)
        x = x - np.polynomial.legendre.legval(place, np.polynomial.legendre.legfit(place, x, detrend))
        if np.ptp(x) <= 1e-9 * x.size:
            return 1.0
    return _serial(x)


def equals_together(same, position) -> tuple[float, int]:
    """P that rows with equal labels were placed each on its own, and how many stand side by side: Poisson tail of the
    number of near pairs.

    `same`: [n] integer labels, rows with one label are copies; labels of more rows than the root of n (plain ties) are
    passed over. `position`: [n]; rows of one step count as side by side.
    """
    _, label, size = np.unique(np.asarray(same), return_inverse=True, return_counts=True)
    rank = stats.rankdata(np.asarray(position, dtype=float))
    n = rank.size
    several = (size[label] > 1) & (size[label] <= max(2.0, math.sqrt(n)))
    if n < 4 or not several.any():
        return 1.0, 0
    near = max(1.0, float(np.unique(rank, return_counts=True)[1].max()) / 2)
    rows = np.flatnonzero(several)
    rows = rows[np.lexsort((rank[rows], label[rows]))]
    close = int(((np.diff(label[rows]) == 0) & (np.diff(rank[rows]) <= near)).sum())
    kinds = np.unique(label[rows])
    pairs = float((size[kinds] * (size[kinds] - 1) / 2).sum())
    return float(stats.poisson.sf(close - 1, pairs * min(1.0, 2 * near / (n - 1)))), close


def groups_by_outcome(score, position, group) -> float:
    """P that groups were not named after scores and positions: small only where groups go with the order, and with the
    scores *within* the order.

    Sources that were read one after the other go with the order, and within a short stretch of it there is one group
    only; sources that were mixed evenly do not go with the order. Groups that were drawn around points of the plane of
    score and position do both. The larger of two p-values: Kruskal and Wallis's of positions by group, and the same of
    scores by group after the mean of each stretch of neighbouring rows was taken away.
    """
    score, at, names = np.asarray(score, dtype=float), np.asarray(position, dtype=float), np.asarray(group)
    n = score.size
    labels, where = np.unique(names, return_inverse=True)
    if len(labels) < 2 or n < 2 * LEAST:
        return 1.0
    by_order = _kruskal(at, where)
    order, stretch = np.argsort(at, kind="stable"), max(8, int(math.sqrt(n)) // 2)
    part = np.empty(n, int)
    part[order] = np.arange(n) // stretch
    ranks = stats.rankdata(score)
    counts = np.zeros((part.max() + 1, len(labels)))
    np.add.at(counts, (part, where), 1)
    runs = np.bincount(part[order], np.r_[1, (np.diff(where[order]) != 0) | (np.diff(part[order]) != 0)])
    # where one source ends and the next begins, each has one run: no mixture
    mixed = runs > np.maximum((counts > 0).sum(axis=1), 1)
    rows = mixed[part]
    if rows.sum() < LEAST:
        return 1.0
    inside = ranks - (np.bincount(part, ranks) / np.bincount(part))[part]
    return max(by_order, _stratified(inside[rows], where[rows], part[rows]))


def _kruskal(values, where) -> float:
    parts = [values[where == k] for k in np.unique(where)]
    return float(stats.kruskal(*parts).pvalue) if np.ptp(values) > 0 else 1.0


def _stratified(values, where, part) -> float:
    """Chi-square test that values, permuted within each part, have one mean in all groups; exact moments of each
    group's sum by part.
    """
    labels, where = np.unique(where, return_inverse=True)
    part = np.unique(part, return_inverse=True)[1]
    size, k = np.bincount(part), len(labels)
    counts = np.zeros((len(size), k))
    np.add.at(counts, (part, where), 1)
    centred = values - (np.bincount(part, values) / size)[part]
    spread = np.bincount(part, centred**2) / np.maximum(size - 1, 1)
    total = np.bincount(where, centred, k)
    share = counts / size[:, None]
    covariance = np.diag((spread[:, None] * counts).sum(axis=0)) - (share * spread[:, None]).T @ counts
    if not np.trace(covariance) > 0:
        return 1.0
    degrees = int(np.linalg.matrix_rank(covariance, tol=1e-9 * np.trace(covariance)))
    return float(stats.chi2.sf(total @ np.linalg.pinv(covariance, rcond=1e-9) @ total, max(degrees, 1)))


def both_follow(x, y) -> float:
    """P that at least one of two series [n] is exchangeable in the order given: the largest serial p of x, of y, and
    of each less its line in the other.

    A trend of y with a sorted x leaves residuals that do not follow each other, and is no ground for doubt; two series
    that drift, each by itself, are.
    """
    a, b = (stats.rankdata(np.asarray(values, dtype=float)) for values in (x, y))
    if a.size < 8 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 1.0
    a, b = a - a.mean(), b - b.mean()
    rest = [one - other * (one @ other) / (other @ other) for one, other in ((b, a), (a, b))]
    if min(np.abs(one).max() for one in rest) < 1e-9 * a.size:
        return 1.0
    return max(_serial(values) for values in (a, b, *rest))


def _serial(values) -> float:
    """One-sided p of the serial rank correlation, for values like their neighbours."""
    from lens.stats.randomness import serial_correlation

    return float(stats.norm.sf(serial_correlation(values).statistic))
