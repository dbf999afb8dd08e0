"""How effects of the study are estimated: words are what counts, and seeds stand above them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from ...stats import Interval
from ...stats.units import Nested, nested
from ..common import verdict

#: Of an interval by resampled seeds, and words within them.
KIND = "percentile bootstrap over words within seeds"
#: A statistic of items, given by their numbers.
Statistic = Callable[[np.ndarray], float]


def by_word(frame: pd.DataFrame, column: str) -> pd.Series:
    """The mean of each word that has a value, by seed and word."""
    means: pd.Series = frame.dropna(subset=[column]).groupby(["seed", "word"])[column].mean()
    return means


def mean_over_words(values: pd.Series, seed: int, bounds: tuple[float, float] | None = None) -> Nested | None:
    """The mean of values by seed and word, each seed counting once; None without any."""
    values = values.dropna()
    if not len(values):
        return None
    return nested(values.to_numpy(float), values.index.get_level_values("seed").to_numpy(), seed=seed, bounds=bounds)


def over_words(
    frame: pd.DataFrame, statistic: Statistic, seed: int, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """A statistic of items with its interval by resampled seeds and, within them, words with all of their items.

    Fewer than twelve words have no interval, nor has a statistic that no resample changes; resamples in which it is
    not there are left out.
    """
    positions = np.arange(len(frame))
    groups = [
        [positions[(of & (frame.word == word)).to_numpy()] for word in frame.word[of].unique()]
        for of in (frame.seed == one for one in frame.seed.unique())
    ]
    estimate, n = float(statistic(positions)) if len(frame) else np.nan, sum(map(len, groups))
    if n < 12 or not np.isfinite(estimate):
        return Interval(estimate, np.nan, np.nan, level, n, "no interval of so few words")
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        tops = rng.integers(len(groups), size=len(groups))
        some = [groups[t][w] for t in tops for w in rng.integers(len(groups[t]), size=len(groups[t]))]
        drawn.append(float(statistic(np.concatenate(some))))
    kept = np.array(drawn)[np.isfinite(drawn)]
    if len(kept) < resamples / 2:
        return Interval(estimate, np.nan, np.nan, level, n, "no interval: most resamples lack one kind")
    if not np.ptp(kept) > 0:
        return Interval(estimate, np.nan, np.nan, level, n, "no interval: every resample says the same")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level, n, KIND)


def agree(spread: Interval, most: float = 2.0) -> str:
    """The word of the claim that a spread is at most so much, with its whole interval: a spread in layers often is just
    that.
    """
    if not np.isfinite(spread.high):
        return f"not shown: {spread.method}"
    return verdict(spread.high <= most, spread.low > most, otherwise=f"the interval reaches beyond {most:g}")


def auc(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The share of pairs of a wrong and a right item in which the wrong one scores higher, ties half; NaN without both
    kinds.
    """
    there = np.isfinite(scores)
    scores, wrong = scores[there], wrong[there]
    n, others = int(wrong.sum()), int((~wrong).sum())
    if not n or not others:
        return np.nan
    ranks = scipy_stats.rankdata(scores)
    return float((ranks[wrong].sum() - n * (n + 1) / 2) / (n * others))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one does not vary."""
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return np.nan
    return float(np.corrcoef(scipy_stats.rankdata(x), scipy_stats.rankdata(y))[0, 1])


def matched(values: np.ndarray, wrong: np.ndarray, strata: np.ndarray) -> float:
    """The mean difference of wrong and right items within strata, each weighted by how much it can tell; NaN without a
    stratum that has both.
    """
    total, weights = 0.0, 0.0
    for one in np.unique(strata):
        first, second = (values[(strata == one) & (wrong == kind)] for kind in (True, False))
        if len(first) and len(second):
            weight = len(first) * len(second) / (len(first) + len(second))
            total, weights = total + weight * (first.mean() - second.mean()), weights + weight
    return total / weights if weights else np.nan


def within(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """The correlation of x and y about the means of their groups; NaN where one does not vary there."""
    frame = pd.DataFrame({"x": x, "y": y, "g": groups}).dropna()
    about = frame[["x", "y"]] - frame.groupby("g")[["x", "y"]].transform("mean")
    if len(about) < 3 or not np.ptp(about.x) or not np.ptp(about.y):
        return np.nan
    return float(np.corrcoef(about.x, about.y)[0, 1])
