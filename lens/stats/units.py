"""What counts as one: values of units that share a cause (an entity, a scene, a memory, equal prompts) averaged to one
value a unit, and units within units.

A test that takes eight entities in four prompts each for 32 units says p <= .05 in 16 to 28 % of cases where nothing is
there (correlation .3 to .7 within an entity).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from lens.stats.bounds import DIFFERENCE, SHARE, Bounds, clip
from lens.stats.means import EQUAL, NONE, kind_of, mean_interval
from lens.stats.multiplicity import holm
from lens.stats.samples import Interval, PValue, StatisticsError, as_array, check_open_unit, plain
from lens.stats.significance import binomial_test, sign_flip

NESTED = "Student's t over top units and the interval within them, the wider of both"


def unit_means(x, units: Sequence[Any] | np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each unit's present values along `axis` (first in the result), and the units' labels in order of
    appearance; NaN where a unit has none.

    Raises: StatisticsError: `units` is not one label for each value along `axis`.
    """
    array = np.moveaxis(as_array(x, "x"), axis, 0)
    labels = np.asarray(units)
    if labels.ndim != 1 or len(labels) != len(array):
        raise StatisticsError(
            f"cluster has shape {labels.shape}; expected one label for each of the {len(array)} values along axis"
            f" {axis}. Give the unit of each, in their order."
        )
    _, first, number = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.argsort(order)[number]
    if len(first) == len(array):
        return array, labels
    present = ~np.isnan(array)
    total, count = np.zeros((len(first), *array.shape[1:])), np.zeros((len(first), *array.shape[1:]))
    np.add.at(total, place, np.where(present, array, 0.0))
    np.add.at(count, place, present)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan), labels[np.sort(first)]


def repeated(rows: Iterable[Sequence[int] | np.ndarray]) -> np.ndarray | None:
    """One label (a digest) for each row of whole numbers, the same for equal rows of whatever result; None where no two
    are equal.
    """
    digests = [hashlib.sha256(np.asarray(row, np.int64).tobytes()).hexdigest()[:16] for row in rows]
    return np.array(digests) if len(set(digests)) < len(digests) else None


def joined(*columns: Sequence[Any]) -> np.ndarray:
    """One label a row for the groups that arise where rows that share a value in any column (None: no value) belong
    together.
    """
    n = len(columns[0])
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for column in columns:
        seen: dict[Any, int] = {}
        for i, value in enumerate(column):
            if value is not None:
                parent[root(i)] = root(seen.setdefault(value, i))
    roots = [root(i) for i in range(n)]
    number = {r: k for k, r in enumerate(dict.fromkeys(roots))}
    return np.array([number[r] for r in roots])


@dataclass(frozen=True, eq=False)
class Nested:
    """A mean over units within top units (captions in models, items in seeds): `interval` with both levels inside, `p`
    that it is 0 (approximate: the larger of the t test's over the top units and the exact one's within them), `tops`
    the mean of each top unit, `n` all units.
    """

    interval: Interval
    p: PValue
    tops: np.ndarray
    n: int

    def __str__(self) -> str:
        return f"{self.interval}; {self.p}; {len(self.tops)} top units with {self.n} units in all"


def nested(
    values,
    tops: Sequence[Any] | np.ndarray | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    of: str = "auto",
    name: str = "mean",
    bounds: Bounds | None = None,
) -> Nested:
    """The mean of the top units' means (each counts once) with an interval and a p-value that hold both where top units
    differ and where only the units within them do.

    Args:
        values: [top, unit], or [n] with the top unit of each in `tops`; NaN where missing. For a comparison give the
            differences of each unit, or one array of each arm (see `nested_difference`). of, bounds: what the values
            are, and what numbers cannot leave, as in `mean_interval`; truth values and their differences have theirs.

    Student's t over a few shares has no width where top units tie, and its p is then 0: the interval is therefore the
    wider of the t interval over top units and that of all units within them, and p the larger of the t test's and the
    within test's (sign flips, exact for differences of truth values). With one top unit both are of this one alone.

    Measured over three top units (`python -m tests.calibration`): the interval of a share covers at least 93 % of 95,
    whether top units differ or not; the family-wise size of 16 such p by Holm is at most .06 (seen: .01), where
    Student's t over the top units has .05 to .3.

    Raises: StatisticsError: shapes that do not fit, no values.
    """
    level = check_open_unit(level, "level")
    array = as_array(values, "values")
    if tops is None and array.ndim != 2:
        raise StatisticsError(
            f"values has shape {array.shape} and there are no tops; expected [top, unit], or [n] with the top unit of"
            " each. Give tops."
        )
    parts = [row[~np.isnan(row)] for row in (array if tops is None else _split(array, tops))]
    parts = [p for p in parts if p.size]
    if not parts:
        raise StatisticsError(
            "values has none that is present; expected at least one top unit with a value. Check the step that computed"
            " them."
        )
    means = np.array([p.mean() for p in parts])
    flat = np.concatenate(
        [p * (sum(map(len, parts)) / (len(parts) * len(p))) if len({len(q) for q in parts}) > 1 else p for p in parts]
    )
    same = np.concatenate(parts)
    kind = kind_of(same[:, None], bounds) if of == "auto" else of
    within = (
        mean_interval(same if kind != "number" else flat, level=level, values=kind, seed=seed)
        if same.size > 1
        else None
    )
    bounds = {"share": SHARE, "difference": DIFFERENCE}.get(kind, bounds)
    nest = _both(means, within, _within(same, kind, resamples, seed), level, same.size, name, bounds)
    each, k = max(1, same.size // len(means)), len(means)
    if kind != "share" or k < 2 or means.var(ddof=1) * each <= same.mean() * (1 - same.mean()):
        return nest  # top units differ by no more than their units explain
    # a t interval of few shares is too short where they lie unevenly: Korn and Graubard's is one of the hull
    over, seen = rate_over_runs(means, each, level, ends=False), nest.interval
    return replace(nest, interval=replace(seen, low=min(seen.low, over.low), high=max(seen.high, over.high)))


def nested_difference(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    name: str = "difference",
    bounds: Bounds | None = None,
) -> Nested:
    """As `nested`, of the difference of two arms that have other units within the same top units: `a[i]` and `b[i]` are
    the units of top unit i. `bounds`: what the difference cannot leave; of truth values it is -1 to 1.
    """
    from lens.stats.contrasts import comparison
    from lens.stats.significance import permutation

    arms = [[x[~np.isnan(x)] for x in (np.asarray(v, float) for v in arm)] for arm in (a, b)]
    if len(arms[0]) != len(arms[1]) or not all(x.size for arm in arms for x in arm):
        raise StatisticsError(
            f"a has {len(arms[0])} and b {len(arms[1])} top units; expected the same ones, each with at least one value"
            " in both."
        )
    means = np.array([x.mean() - y.mean() for x, y in zip(*arms)])
    # within top units: each arm's values about their top unit's own mean of both arms, so that top units' levels do not
    # count as spread
    middle = [(x.sum() + y.sum()) / (x.size + y.size) for x, y in zip(*arms)]
    truth = all(np.isin(x, (0.0, 1.0)).all() for arm in arms for x in arm)
    x, y = (np.concatenate([v if truth else v - m for v, m in zip(arm, middle)])[:, None] for arm in arms)
    interval = comparison(x, y, "difference", False, level, 2000, seed, 200)
    within = Interval(
        float(interval.estimate[0]),
        float(interval.low[0]),
        float(interval.high[0]),
        level,
        x.size + y.size,
        interval.method,
    )
    p = float(np.atleast_1d(permutation(x[:, 0], y[:, 0], resamples=resamples, seed=seed).p)[0])
    return _both(means, within, p, level, x.size + y.size, name, DIFFERENCE if truth else bounds)


def nested_holm(tests: Sequence[Nested]) -> np.ndarray:
    """Holm's adjusted p of several nested comparisons, one family."""
    return holm(np.array([float(t.p) for t in tests]))


def _both(
    means: np.ndarray,
    within: Interval | None,
    p_within: float,
    level: float,
    n: int,
    name: str,
    bounds: Bounds | None = None,
) -> Nested:
    k, mean = len(means), float(means.mean())
    low, high = (np.nan, np.nan) if within is None else (float(within.low), float(within.high))
    p, kind = p_within, NESTED
    if k > 1:
        error = means.std(ddof=1) / np.sqrt(k)
        half = float(special.stdtrit(k - 1, (1 + level) / 2)) * error
        tied = error <= 1e-12 * max(1.0, float(np.abs(means).max()))
        if np.isnan(low):
            # nothing is known of the units within: top units alone, and nothing where they tie
            low, high, kind = (
                (np.nan, np.nan, f"{NONE}: top units tie")
                if tied
                else (mean - half, mean + half, "Student's t over top units")
            )
        else:
            low, high = min(low, mean - half), max(high, mean + half)
        p_top = (1.0 if mean == 0 else 0.0) if tied else 2 * float(special.stdtr(k - 1, -abs(mean) / error))
        p = max(p, p_top)
        how = f"the larger of t over {k} top units and the test within them"
    else:
        kind, how = EQUAL if within is None else str(within.kind), "the test within one top unit"
    return Nested(
        clip(Interval(mean, low, high, level, k if k > 1 else n, kind, name), bounds),
        PValue(plain(p), "approximate", k, how, mean),
        means,
        n,
    )


def _within(values: np.ndarray, kind: str, resamples: int, seed: int) -> float:
    if kind == "difference":
        up, down = int((values > 0).sum()), int((values < 0).sum())
        return float(binomial_test(up, up + down)) if up + down else 1.0
    return float(sign_flip(values, resamples=resamples, seed=seed))


def _split(array: np.ndarray, tops: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    labels = np.asarray(tops).astype(str)
    if array.ndim != 1 or labels.shape != array.shape:
        raise StatisticsError(
            f"values has shape {array.shape} and tops {labels.shape}; expected one top unit for each value. Align them."
        )
    return [array[labels == t] for t in dict.fromkeys(labels.tolist())]


def rate_over_runs(rates, draws: int, level: float = 0.95, ends: bool = True) -> Interval:
    """Mean of the rates [k] that k training runs had over `draws` draws each, with Korn and Graubard's interval:
    Clopper-Pearson for the effective number of draws (those that would vary as the runs do), widened by Student's t
    over k runs.

    Where the mean is within .1 of 0 or 1, as many draws as runs are taken (`ends`): few runs that agree near an end say
    nothing of how the others lie. Measured for k = 3 and 5 (`python -m tests.calibration`): at least .93 at 95 %, for
    means .5 to .99 and spreads between runs of 0 to .3.

    Raises: StatisticsError: rates outside [0, 1]. Source: Korn & Graubard 1998, Confidence intervals for proportions
        with small expected number of positive counts.
    """
    level, x = check_open_unit(level, "level"), as_array(rates, "rates").ravel()
    x = x[~np.isnan(x)]
    if not x.size or (x < 0).any() or (x > 1).any():
        raise StatisticsError(f"rates = {x.tolist()!r:.80}; expected at least one rate from 0 to 1.")
    k, mean, tail = len(x), float(x.mean()), (1 - level) / 2
    variance = float(x.var(ddof=1)) / k if k > 1 else np.nan
    effective = float(k)
    if (0.1 <= mean <= 0.9 or not ends) and 0 < mean < 1 and variance > 0:
        drawn = float(np.clip(mean * (1 - mean) / variance, k, k * draws))
        effective = max(
            1.0, drawn * float(special.stdtrit(max(k * draws - 1, 1), tail) / special.stdtrit(k - 1, tail)) ** 2
        )
    hits = mean * effective
    low = float(special.betaincinv(hits, effective - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, effective - hits, 1 - tail)) if mean < 1 else 1.0
    return Interval(mean, low, high, level, k, "Korn-Graubard over runs", "rate")
