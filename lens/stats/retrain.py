"""One model trained in the true order among m retrained in fresh shuffles: does the text fit the true one better?

Under the null the m + 1 models are exchangeable, so the rank of the true one is all that is known exactly. The
published test puts the shuffles' own standard deviation under a normal curve; for m = 9 that rejects a true null at
nominal 0.05 in 9 % of cases, and at 1e-10 more than a million times too often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from lens.arguments import Count, Share, door
from lens.stats.planning_rows import require_level
from lens.stats.samples import (
    ALTERNATIVES,
    PValue,
    StatisticsError,
    as_array,
    check_choice,
    check_count,
    check_open_unit,
    short,
    whole,
)

FRESH = (
    "every retraining drew its own order as the true one was drawn, with the same code and data, and none was left out"
    " or handed in twice"
)
SPREADS = ("deviation", "difference")
TIE = 1e-12


@dataclass(frozen=True, eq=False)
class RetrainTest:
    """The true order's statistic among m shuffles': `rank` is guaranteed if all drew their orders alike, `t` exact for
    normal shuffles only, `published` not a p-value.

    `z` is the published ratio; `published_size` is how often it rejects a true null of normal shuffles at nominal 0.05.
    """

    observed: float
    mean: float
    deviation: float
    m: int
    rank: PValue
    t: PValue
    z: float
    published: PValue
    published_size: float

    @property
    def p(self) -> PValue:
        """The guaranteed one."""
        return self.rank

    def __str__(self) -> str:
        return (
            f"observed {short(self.observed)}, {whole(self.m)} shuffles {short(self.mean)} +- {short(self.deviation)};"
            f" rank {self.rank}: {self.rank.worth}; t {self.t}; published plug-in {self.published.p:.2g} is not a"
            f" p-value (size {short(self.published_size)} at 0.05)"
        )


@door(StatisticsError)
def one_of_many(
    observed, shuffled, *, alternative: str = "greater", spread: str = "deviation", alpha: Share | None = None
) -> RetrainTest:
    """Tests of one `observed` statistic (true order) against `shuffled` [m] (fresh shuffles): rank p, prediction t and
    the published plug-in normal.

    Rank p = (1 + number of shuffles at least as large) / (m + 1), exact for exchangeable models and never below 1 / (m
    + 1); two-sided: twice the smaller one. t_{m-1} = (T_0 - mean) / (s sqrt(1 + 1/m)). `spread`: what the published
    code divides by, the shuffles' "deviation" (over m, plus 1e-6) or, for m = 2, their absolute "difference". `alpha`:
    refuse too few shuffles for this level. One value m times is one retraining handed in m times and is refused; some
    equal values, unless whole numbers, make the rank p approximate. Raises `StatisticsError`, also for m < 2.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(spread, "spread", SPREADS)
    number, others = as_array(observed, "observed"), as_array(shuffled, "shuffled")
    if number.size != 1 or np.isnan(number).any():
        raise StatisticsError(
            f"observed = {observed!r}; expected one number. Pool several checkpoints with pool_checkpoints."
        )
    if others.ndim != 1 or others.size < 2:
        raise StatisticsError(
            f"shuffled has shape {others.shape}; expected the statistics of m >= 2 shuffled retrainings. Retrain on"
            " more."
        )
    if np.isnan(others).any():
        raise StatisticsError(
            f"shuffled is NaN at {np.flatnonzero(np.isnan(others)).tolist()}; a retraining may not be left out. Run it"
            " again."
        )
    value, m = float(number.ravel()[0]), others.size
    if others.min() == others.max():
        raise StatisticsError(
            f"shuffled is {others[0]:g} in all m = {m}: one retraining handed in {m} times would make p small in half"
            f" of all true nulls. Retrain on {m} fresh shuffles."
        )
    copies = others.size - np.unique(others).size
    if spread == "difference" and m != 2:
        raise StatisticsError(
            f"spread = 'difference' with m = {m}; the difference is of two shuffles. Use spread = 'deviation'."
        )
    tie = TIE * max(abs(value), float(np.abs(others).max()))
    above, below = (float((1 + int(hits.sum())) / (m + 1)) for hits in (others >= value - tie, others <= value + tie))
    rank = {"greater": above, "less": below, "two-sided": min(1.0, 2 * min(above, below))}[alternative]
    floor = (2 if alternative == "two-sided" else 1) / (m + 1)
    needed = math.ceil(round(floor * (m + 1) / alpha, 9)) - 1 if isinstance(alpha, float) and alpha > 0 else m
    require_level(min(1.0, floor), alpha, f"{m} shuffles", f"Retrain on at least {needed} shuffles.")
    mean, deviation = float(others.mean()), float(others.std(ddof=1))
    scale = abs(float(others[0] - others[1])) if spread == "difference" else float(others.std()) + 1e-6
    z = (value - mean) / scale if scale > 0 else math.nan
    t = (value - mean) / (deviation * math.sqrt(1 + 1 / m)) if deviation > 0 else math.nan
    size = float(published_size(0.05, m, spread=spread, alternative=alternative))
    note = f"plug-in normal as published, not a p-value: size {short(size)} at 0.05 for m = {m}"
    exact = PValue(rank, "exact", m + 1, f"rank among {m + 1}", value, alternative, min(1.0, floor), FRESH)
    if copies and (others != np.round(others)).any():
        exact = exact.doubted(f"{copies} of {m} retrainings have the value of another: handed in twice?")
    student = _tail(t, lambda x: special.stdtr(m - 1, -x), alternative)
    return RetrainTest(
        value,
        mean,
        deviation,
        m,
        exact,
        PValue(student, "approximate", m + 1, f"t with {m - 1} df, exact for normal shuffles", t, alternative),
        z,
        PValue(_tail(z, lambda x: special.ndtr(-x), alternative), "plug-in", m + 1, note, z, alternative),
        size,
    )


@door(StatisticsError)
def published_size(
    alpha: Share | Sequence[Share], m: Count, *, spread: str = "deviation", alternative: str = "greater"
):
    """How often the published plug-in normal falls below `alpha` under a true null of m normal shuffles (closed form;
    number or array).

    Its ratio is sqrt((m + 1) / (m - 1)) times a t with m - 1 degrees of freedom, or for `spread` "difference" (m = 2)
    sqrt(3)/2 times a Cauchy. Raises `StatisticsError`.
    """
    check_choice(spread, "spread", SPREADS)
    check_choice(alternative, "alternative", ALTERNATIVES)
    m = check_count(m, "m", 2, "shuffled retrainings")
    levels = np.asarray(alpha, dtype=float)
    for level in levels.ravel():
        check_open_unit(float(level), "alpha")
    sides = 2 if alternative == "two-sided" else 1
    z = -special.ndtri(levels / sides)
    if spread == "difference":
        if m != 2:
            raise StatisticsError(
                f"spread = 'difference' with m = {m}; the difference is of two shuffles. Use spread = 'deviation'."
            )
        size = sides * np.arctan2(1.0, z / math.sqrt(0.75)) / math.pi
    else:
        size = sides * special.stdtr(m - 1, -z * math.sqrt((m - 1) / (m + 1)))
    return float(size) if levels.ndim == 0 else size


@door(StatisticsError)
def pool_checkpoints(observed, shuffled, *, alternative: str = "greater") -> tuple[float, np.ndarray]:
    """Largest standardised statistic over several checkpoints, for the true order and for each shuffle; give both to
    `one_of_many` (alternative "greater").

    `observed`: [checkpoints]; `shuffled`: [m, checkpoints]. Each checkpoint is standardised over all m + 1 models
    alike, so they stay exchangeable and the rank p stays exact (max-T; Westfall & Young 1993). "less" looks for small
    values, "two-sided" for absolute ones. Raises `StatisticsError`.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    value, others = as_array(observed, "observed"), as_array(shuffled, "shuffled")
    if value.ndim != 1 or others.ndim != 2 or others.shape[1:] != value.shape or others.shape[0] < 2 or value.size == 0:
        raise StatisticsError(
            f"observed has shape {value.shape}, shuffled {others.shape}; expected [checkpoints] and [m, checkpoints], m"
            " >= 2. Align them."
        )
    every = np.vstack([value, others])
    if np.isnan(every).any():
        raise StatisticsError(
            "observed or shuffled has NaN; expected a statistic of every model at every checkpoint. Leave that"
            " checkpoint out for all."
        )
    constant = every.min(axis=0) == every.max(axis=0)
    every = (every - every.mean(axis=0)) / np.where(constant, 1.0, every.std(axis=0))
    every[:, constant] = 0.0
    every = {"greater": every, "less": -every, "two-sided": np.abs(every)}[alternative].max(axis=1)
    return float(every[0]), every[1:]


def _tail(x, upper, alternative):
    if math.isnan(x):
        return math.nan
    if alternative == "two-sided":
        return float(2 * upper(abs(x)))
    return float(upper(x if alternative == "greater" else -x))
