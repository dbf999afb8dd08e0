"""Ratios and areas as means of values of persons, so that seeds, persons and pairs of arms enter one interval alike.

A ratio of means and an area under the curve are each a mean of linearised values: the value itself plus what the person
adds to it to first order (the delta method; of areas DeLong's components). Differences of arms are then taken person by
person, and seeds are the outer unit (`lens.stats.units.nested`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from ...stats import Interval
from ...stats.bounds import SHARE, clip
from ...stats.means import clopper_pearson
from ...stats.units import Nested, nested

#: Shares this near 0 or 1 are too many equal values of persons for resamples of them to say how far the share may be.
END = 0.1


def ratio(change: Float[np.ndarray, " n"], whole: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values whose mean is mean(change) / mean(whole); NaN where the whole is 0."""
    mean = whole.mean()
    if not mean:
        return np.full(len(change), np.nan)
    value = change.mean() / mean
    return np.asarray(value + (change - value * whole) / mean)


def area(score: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values whose mean is the area under the curve of a score, ties half; NaN where all or none are members.

    Source: DeLong, DeLong & Clarke-Pearson 1988.
    """
    inside, outside = int(member.sum()), int((~member).sum())
    if not inside or not outside:
        return np.full(len(score), np.nan)
    below = rankdata(score)
    placed = np.empty(len(score))
    placed[member] = (below[member] - rankdata(score[member])) / outside
    placed[~member] = 1 - (below[~member] - rankdata(score[~member])) / inside
    whole = placed[member].mean()
    weight = np.where(member, len(score) / inside, len(score) / outside)
    return np.asarray(whole + weight * (placed - whole))


def over(values: pd.Series, seed: int = 0) -> Nested | None:
    """The mean over persons within seeds, of values by (seed, unit, ...); None where there is none.

    A person's values are averaged first. `values` has the levels `seed` and `unit` in its index.
    """
    each = values.dropna().groupby(["seed", "unit"], sort=False).mean()
    if not len(each):
        return None
    return nested(each.to_numpy(float), tops=each.index.get_level_values("seed").to_numpy(), of="number", seed=seed)


def share(hits: pd.Series, n: pd.Series, seed: int = 0) -> Interval | None:
    """The share of questions, `hits` of `n` by (seed, unit), with an interval over people within seeds, between 0 and
    1; None where nobody is asked.

    Near 0 or 1, and where people's values give no interval, it is the hull of theirs and of Clopper and Pearson's for
    as many draws as there are people (Kish's number, where some are asked more than others): as if each person's
    questions were one.
    """
    found = over(by_seed(pd.DataFrame({"hits": hits, "n": n}), ("hits", "n"), ratio), seed)
    if found is None:
        return None
    interval = clip(found.interval, SHARE)
    mean, ends = float(interval.estimate), [float(interval.low), float(interval.high)]
    if END <= mean <= 1 - END and not np.isnan(ends).any():
        return interval
    asked = n.to_numpy(float)
    people = np.floor(asked.sum() ** 2 / (asked**2).sum() + 1e-9)
    tail = (1 - interval.level) / 2
    low, _ = clopper_pearson(np.floor(mean * people), people, tail)
    _, high = clopper_pearson(np.ceil(mean * people), people, tail)
    low, high = np.fmin(ends[0], low), np.fmax(ends[1], high)
    how = "people, and Clopper-Pearson of as many draws"
    return replace(interval, low=float(low), high=float(high), method=how, kind=how)


def by_seed(frame: pd.DataFrame, columns: Sequence[str], value) -> pd.Series:
    """`value` of some columns of each seed's rows, one after another, as a series over rows of the frame's index."""
    parts = [
        pd.Series(value(*(of[c].to_numpy() for c in columns)), of.index) for _, of in frame.groupby("seed", sort=False)
    ]
    return pd.concat(parts) if parts else pd.Series(np.nan, frame.index, dtype=float)
