"""A value of several Alices among the numbers of a run and in words; the unit is the Alice."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..over_models import by_seed, over_seeds


def said(values: pd.Series, digits: int = 3) -> str:
    """The mean over Alices with its t interval, and each Alice's value."""
    mean, low, high = by_seed(values)
    each = ", ".join(f"{v:+.{digits}f}" for v in values)
    return bounded(mean, low, high, digits) + (f" (each {each})" if np.isfinite(low) else "")


def bounded(mean: float, low: float, high: float, digits: int = 3) -> str:
    """A mean over Alices with its bounds; of one there are none."""
    if not np.isfinite(low):
        return f"{mean:+.{digits}f} (one training run)"
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def over_alices(bounds: tuple[float, ...], word: str) -> str:
    """The word of a verdict that follows from an interval over Alices; one Alice gives none."""
    return word if np.isfinite(bounds).all() else "not judged: one training run"


def put(rows: Rows, name: str, values: pd.Series) -> Interval:
    """The mean over Alices among the numbers, with its bounds and each Alice's value."""
    rows.numbers[f"{name}_seeds"] = [float(v) for v in values]
    return rows.put(name, over_seeds(values))
