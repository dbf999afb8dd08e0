"""Permutation test of a score against a label that was assigned at random: training positions, membership, insertion.

The scores are held fixed and only the labels move, within their exchange groups, so the p-value is valid whatever made
the scores (Fisher 1935; Hoeffding 1952). Two ways to draw:

- "shuffle": uniform orders within each group.
- "cyclic": the rows of each group are laid into blocks of b = max(sqrt(n), n/64) rows by the seed alone, and a draw
  turns every block by its own uniformly random cyclic shift. These turns form a group of transformations under which
  the labels' distribution does not change, so (1 + reached) / (1 + draws) with draws from it is valid too (Hemerik &
  Goeman 2018). The sums of a block with its labels turned in every way come from one FFT; a draw then costs one look-up
  a block instead of one a row. The price: the label sums of blocks stay as they are, which hides a share of about 1/b
  of the effect and of the variance, as if one row in b were missing (0.06 % of 100 000 rows, 3 % of 1 000).

Where a group of transformations has no more members than draws were asked for, all are listed and p is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import fft, stats

from lens.arguments import Draws, Labels, Positive, Seed, Share, door
from lens.stats.planning_rows import require_level
from lens.stats.samples import (
    ALTERNATIVES,
    PValue,
    StatisticsError,
    as_array,
    blocks,
    budget,
    check_choice,
    check_count,
    generator,
    short,
    whole,
)

DRAWS = ("auto", "shuffle", "cyclic")
SHUFFLED_AT_MOST = 1e8  # rows x draws up to which "auto" shuffles: a few seconds
# no more blocks than this for "cyclic", save for small groups: b^64 turns are enough, and larger blocks hide less
BLOCKS = 64
ASSIGNED = (
    "the labels were assigned at random within groups, each arrangement as likely, and scores, statistic and seed"
    " chosen without them"
)
# statistics closer than this many standard deviations count as equal, so that rounding never makes p too small
TIE = 1e-9
TABLE = 4096  # look-up tables of small blocks are merged up to this size
CACHED = 2**18  # numbers shuffled at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Randomization:
    """A correlation between score and randomised label, with its permutation test.

    `statistic`: the correlation within exchange groups; `z`: its sum standardised by the exact permutation moments
    (mean 0, variance 1 under the null); `p`: guaranteed if labels were assigned at random; `null`: `statistic` over the
    draws (under "cyclic" centred at what the blocks' label sums fix, not at 0); `left_out`: rows without a score;
    `groups`: exchange groups; `idle`: rows that no draw can move, being alone in their group.
    """

    statistic: float
    z: float
    p: PValue
    null: np.ndarray
    method: str
    n: int
    left_out: int = 0
    groups: int = 1
    idle: int = 0

    def __str__(self) -> str:
        notes = "" if self.groups == 1 else f", {whole(self.groups)} exchange groups"
        notes += f", {whole(self.left_out)} rows without a score left out" if self.left_out else ""
        notes += f", {whole(self.idle)} rows alone in their group" if self.idle else ""
        return f"{self.method} {short(self.statistic)}, z = {self.z:.2f}{notes}; {self.p}: {self.p.worth}"


@door(StatisticsError)
def permutation_correlation(
    score,
    label,
    *,
    groups=None,
    statistic: str | Callable = "spearman",
    alternative: str = "less",
    resamples: Draws = 100_000,
    draws: str = "auto",
    seed: Seed = 0,
    memory_mb: Positive = 500,
    alpha: Share | None = None,
) -> Randomization:
    """Permutation test that `score` does not depend on `label`, which was assigned at random within exchange groups.

    `score`: [n], NaN where missing (left out before labels are looked at). `label`: [n], or [n, epochs] (a row's labels
    move together; the statistic is the mean over epochs). `groups`: [n] names of what was shuffled together.
    `statistic`: "spearman", "pearson", or a function, fixed before the data are seen, from label ranks / (n + 1) to
    weights, against score ranks. `draws`: "shuffle", "cyclic", or "auto" (shuffle up to 1e8 rows x draws). `alpha`:
    refuse a design that cannot reach this level. The seed must not be chosen by its result. Raises `StatisticsError`.
    Sources: Hoeffding 1952; Phipson & Smyth 2010; Hemerik & Goeman 2018.
    """
    if not callable(statistic):
        check_choice(statistic, "statistic", ("spearman", "pearson"))
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(draws, "draws", DRAWS)
    resamples = check_count(resamples, "resamples", 19, "to be able to reach p = 0.05")
    rng = generator(seed)
    scores, labels, group, left_out = _rows(score, label, groups)
    n = scores.size
    a = _unit(_within(stats.rankdata(scores) if statistic != "pearson" else scores, group))
    b = sum(_unit(_within(_label_weights(column, statistic), group)) for column in labels.T) / labels.shape[1]
    variance = _variance(a, b, group)
    if not variance > 0:
        raise StatisticsError(
            f"groups leaves nothing to permute: in each of {whole(group.max() + 1)} groups score or label is constant. "
            "Give the groups that were shuffled together, or none if all rows were."
        )
    size, sd = np.bincount(group), math.sqrt(variance)
    cyclic = draws == "cyclic" or (draws == "auto" and resamples * n > SHUFFLED_AT_MOST)
    null, exact, how = (_cyclic if cyclic else _shuffled)(a, b, group, resamples, rng, memory_mb)
    observed = float(a @ b)
    p, floor = _p_value(observed, null, TIE * sd, alternative, exact)
    unit = "rows" if size.size == 1 else f"rows in {whole(size.size)} exchange groups"
    require_level(floor, alpha, f"{whole(n)} {unit} and {how}", "Give more rows or more resamples.")
    name = {"spearman": "rank correlation", "pearson": "correlation"}.get(
        statistic if isinstance(statistic, str) else "", "weighted rank correlation"
    )
    name += "" if labels.shape[1] == 1 else f", mean of {labels.shape[1]} epochs,"
    value = PValue(p, "exact" if exact else "monte carlo", n, how, observed, alternative, floor, ASSIGNED)
    return Randomization(observed, observed / sd, value, null, name, n, left_out, size.size, int((size == 1).sum()))


@door(StatisticsError)
def grouped_moments(score, label, groups=None) -> tuple[float, float]:
    """Exact mean and variance of sum(score * label) when labels are permuted uniformly within each group.

    `score`, `label`: [n] without NaN. Mean: sum over groups of n * mean(score) * mean(label); variance: sum of S_score
    * S_label / (n - 1), S being sums of squared deviations. Raises `StatisticsError`.
    """
    scores, labels, group, left_out = _rows(score, label, groups, varied=False)
    if left_out:
        raise StatisticsError(
            f"score has {left_out} NaN; grouped_moments expects none. Leave those rows out of score, label and groups."
        )
    if labels.shape[1] != 1:
        raise StatisticsError(f"label has shape {np.shape(label)}; expected one label a row. Give one epoch.")
    y = labels[:, 0]
    size = np.bincount(group)
    mean = float((np.bincount(group, scores) * np.bincount(group, y) / size).sum())
    return mean, _variance(_within(scores, group), _within(y, group), group)


def group_numbers(groups, n: int) -> np.ndarray:
    """Whole numbers from 0 for `n` group names (numbers or text; all 0 for None). Raises `StatisticsError`."""
    if groups is None:
        return np.zeros(n, dtype=int)
    names = Labels().of(groups, "groups", StatisticsError)
    if names.shape != (n,):
        raise StatisticsError(
            f"groups has shape {names.shape} and there are {n} rows; expected one group for each row. Align them."
        )
    if names.dtype.kind not in "biuUSf" or (names.dtype.kind == "f" and not np.isfinite(names).all()):
        raise StatisticsError(
            "groups holds a missing value or mixed types; expected one number or text for each row. A row of unknown"
            " group must be left out."
        )
    return np.unique(names, return_inverse=True)[1].ravel()


# ---- the two sides of the sum ------------------------------------------------------------------------------------


def _rows(score, label, groups, varied=True):
    """Present scores, their labels [n, epochs], group numbers from 0, and how many rows had no score."""
    scores, labels = as_array(score, "score"), as_array(label, "label")
    if scores.ndim != 1 or scores.size < 2:
        raise StatisticsError(
            f"score has shape {scores.shape}; expected one number for each of at least 2 rows. Average tokens first."
        )
    if labels.ndim not in (1, 2) or labels.shape[0] != scores.size or labels.size == 0:
        raise StatisticsError(
            f"label has shape {labels.shape} and score has {scores.size} rows; expected [n] or [n, epochs]. Align them"
            " by row."
        )
    names = group_numbers(groups, scores.size)
    if np.isnan(labels).any():
        raise StatisticsError(
            f"label has {int(np.isnan(labels).sum())} NaN; expected a label for every row. A row without one was not"
            " randomised: take it out of the transcript."
        )
    present = ~np.isnan(scores)
    if present.sum() < 2:
        raise StatisticsError(
            f"score has {int(present.sum())} values that are not NaN; expected at least 2. Check the scorer."
        )
    scores, labels = scores[present], labels[present].reshape(int(present.sum()), -1)
    if varied and scores.min() == scores.max():
        raise StatisticsError(
            f"score is {scores[0]:g} in all {scores.size} rows; a correlation needs scores that differ. Is the suspect"
            " its own reference?"
        )
    if varied and (labels.min(axis=0) == labels.max(axis=0)).any():
        raise StatisticsError(
            f"label is the same in all {scores.size} rows; expected labels that differ. Check the order that was given."
        )
    return scores, labels, np.unique(names[present], return_inverse=True)[1].ravel(), int((~present).sum())


def _label_weights(column, statistic):
    if statistic == "pearson":
        return column
    ranks = stats.rankdata(column)
    if statistic == "spearman":
        return ranks
    weights = as_array(statistic(ranks / (ranks.size + 1)), "statistic")
    if weights.shape != ranks.shape or np.isnan(weights).any() or weights.min() == weights.max():
        raise StatisticsError(
            f"statistic returned an array of shape {weights.shape} for {ranks.size} ranks; "
            "expected one finite weight for each, not all equal. It gets ranks / (n + 1) as an array."
        )
    return weights


def _within(values, group):
    """Values minus their group's mean; exactly 0 in a group where they are all equal."""
    size = np.bincount(group)
    centred = values - (np.bincount(group, values) / size)[group]
    centred -= (np.bincount(group, centred) / size)[group]  # a second pass takes away the rounding of the first
    low, high = np.full(size.size, np.inf), np.full(size.size, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    return np.where((low == high)[group], 0.0, centred)


def _unit(values):
    """Values of length one, or all zero; no square can overflow on the way."""
    most = np.abs(values).max()
    values = values / most if most > 0 else values
    return values / np.sqrt(values @ values) if most > 0 else values


def _variance(a, b, group):
    size = np.bincount(group)
    spread = np.bincount(group, a * a) * np.bincount(group, b * b)
    return float((spread[size > 1] / (size[size > 1] - 1)).sum())


def _p_value(observed, null, tie, alternative, exact):
    """P and the smallest p that these values could have given; a draw within `tie` of the observed statistic has
    reached it.
    """
    if alternative == "two-sided":
        null, observed = np.abs(null), abs(observed)
    elif alternative == "less":
        null, observed = -null, -observed
    reached = int((null >= observed - tie).sum())
    if exact:
        return reached / null.size, float((null >= null.max() - tie).mean())
    return (1 + reached) / (1 + null.size), 1 / (1 + null.size)


# ---- draws -------------------------------------------------------------------------------------------------------


def _by_size(group) -> Iterator[np.ndarray]:
    """Row numbers [groups, size] of the groups of each size above 1."""
    order = np.argsort(group, kind="stable")
    size = np.bincount(group)
    start = np.cumsum(size) - size
    for s in np.unique(size[size > 1]):
        yield order[start[size == s][:, None] + np.arange(s)]


def _shuffled(a, b, group, resamples, rng, memory_mb):
    """Statistic over uniform orders within groups: all of them where they are few."""
    count = math.prod(math.factorial(int(s)) if s < 20 else resamples + 1 for s in np.bincount(group))
    if count <= resamples:
        tables = [
            (b[rows][np.array(list(permutations(range(rows.size)))).reshape(-1, rows.size)] @ a[rows])
            for many in _by_size(group)
            for rows in many
        ]
        return _all_sums(tables), True, f"all {whole(count)} orders"
    null = np.zeros(resamples)
    classes = list(_by_size(group))
    for rows, child in zip(classes, rng.spawn(len(classes))):
        x, y = a[rows].ravel(), b[rows]
        for part in blocks(resamples, min(CACHED, budget(memory_mb)) // y.size):
            drawn = np.broadcast_to(y, (part.stop - part.start, *y.shape)).copy()
            child.permuted(drawn, axis=-1, out=drawn)
            null[part] += drawn.reshape(-1, x.size) @ x
    return null, False, f"{whole(resamples)} permutations"


def _cyclic(a, b, group, resamples, rng, memory_mb):
    """Statistic over independent cyclic shifts of blocks: all of them where they are few."""
    layout = _blocks_of_rows(group, rng)
    tables = _merged([c for rows in _by_size(layout) for c in _turned(a[rows], b[rows])], min(TABLE, resamples))
    blocks_used = int((np.bincount(layout) > 1).sum())
    count = math.prod(min(table.size, resamples + 1) for table in tables)
    if count <= resamples:
        return _all_sums(tables), True, f"all {whole(count)} cyclic shifts of {whole(blocks_used)} blocks"
    null = np.zeros(resamples)
    for table in tables:
        null += table[rng.integers(table.size, size=resamples, dtype=np.uint16 if table.size <= 2**16 else np.int64)]
    return null, False, f"{whole(resamples)} cyclic shifts of {whole(blocks_used)} blocks"


def _blocks_of_rows(group, rng):
    """Block number of each row: groups cut at random into near-equal blocks; looks at the groups and the seed, never at
    scores or labels.
    """
    wanted = max(2.0, math.sqrt(group.size), group.size / BLOCKS)
    order = rng.permutation(group.size)
    order = order[np.argsort(group[order], kind="stable")]
    size = np.bincount(group)
    pieces = np.maximum(1, np.round(size / wanted).astype(int))
    place = np.arange(group.size) - np.repeat(np.cumsum(size) - size, size)
    block = np.empty(group.size, dtype=int)
    block[order] = np.repeat(np.cumsum(pieces) - pieces, size) + place * np.repeat(pieces, size) // np.repeat(
        size, size
    )
    return block


def _turned(a, b):
    """[blocks, shifts]: sum of a * b with b turned by each shift; `a`, `b` are [blocks, size]."""
    return fft.irfft(np.conj(fft.rfft(a)) * fft.rfft(b), n=a.shape[1])


def _merged(tables, most):
    """Tables with the sums of every combination of neighbours, so that a look-up serves several small blocks."""
    out = []
    for table in sorted(tables, key=len):
        if out and out[-1].size * table.size <= most:
            out[-1] = np.add.outer(out[-1], table).ravel()
        else:
            out.append(table)
    return out


def _all_sums(tables):
    total = np.zeros(1)
    for table in tables:
        total = np.add.outer(total, table).ravel()
    return total
