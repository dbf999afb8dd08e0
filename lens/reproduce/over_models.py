"""How claims put a quantity that was measured in several trained models into words: the model is the unit, and one
model gives no interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..stats import Interval, holm
from .common import shown, verdict


def by_seed(values: Mapping[int, float] | pd.Series, level: float = 0.95) -> tuple[float, float, float]:
    """Mean over trained models with Student's t interval over them: the model is the unit, since rows of one
    run share its weights. NaN bounds for one seed.
    """
    x = np.asarray(list(values.values()) if isinstance(values, Mapping) else values, dtype=float)
    if len(x) < 2:
        return float(x.mean()), np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def over_seeds(values: Any) -> Interval:
    """Mean over seeds with Student's t interval; no bounds for one seed."""
    mean, low, high = by_seed(list(values))
    return Interval(mean, low, high, 0.95, len(values), "Student's t over seeds")


def each(values: Any, digits: int = 2) -> str:
    """The models' values one after another."""
    return ", ".join(f"{float(v):.{digits}f}" for v in values)


def over(interval: Interval | None, digits: int = 2) -> str:
    """A difference over models with its sign and interval."""
    if interval is None:
        return "not measured"
    if not np.isfinite(interval.low):
        return f"{interval.estimate:+.{digits}f} (one model, no interval)"
    return shown(interval, digits, sign=True)


def judged(interval: Interval | None, instead: str = "", part: bool = False) -> str:
    """Holds where the interval is above 0, fails where it is below; one model, or models without any spread, have no
    interval and are not judged.
    """
    if interval is None:
        return "not measured"
    if not np.isfinite(interval.low):
        return "not judged: one model"
    if interval.high - interval.low < 1e-9:
        return "not judged: the models agree to the last caption, which gives no interval"
    return verdict(interval.low > 0, interval.high < 0, instead, part)


def holm_over_models(differences: Sequence[Any]) -> np.ndarray:
    """Two-sided p of each difference over models being 0 (Student's t), Holm over all of them; 1 where the models agree
    entirely, NaN for one model.
    """
    if not differences or min(map(len, differences)) < 2:
        return np.full(len(differences), np.nan)
    with np.errstate(all="ignore"):
        p = [
            stats.ttest_1samp(values, 0).pvalue if np.ptp(values) > 1e-12 else 1.0
            for values in map(np.asarray, differences)
        ]
    return holm(np.nan_to_num(p, nan=1.0))


def words(said: Sequence[str], unit: str = "run") -> str:
    """One word for an edit that was judged in several runs by itself: theirs where they agree, else how many say
    what.
    """
    count = Counter(said)
    if len(count) == 1:
        return f"{said[0]} in each of {len(said)} {unit}s" if len(said) > 1 else said[0]
    return ", ".join(
        f"{word} in {n} of {len(said)} {unit}s" if i == 0 else f"{word} in {n}"
        for i, (word, n) in enumerate(count.items())
    )
