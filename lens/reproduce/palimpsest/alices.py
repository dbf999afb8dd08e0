"""A value of several Alices among the numbers of a run and in words; the unit is the Alice."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import shown
from ..over_models import over_seeds


def said(values: pd.Series, digits: int = 3) -> str:
    """The mean over Alices with its t interval, and each Alice's value."""
    found = over_seeds(values)
    each = ", ".join(f"{v:+.{digits}f}" for v in values)
    return bounded(found, digits) + (f" (each {each})" if np.isfinite(found.low) else "")


def bounded(found: Interval, digits: int = 3) -> str:
    """A mean over Alices with its bounds; of one there are none."""
    if not np.isfinite(found.low):
        return f"{found.estimate:+.{digits}f} (one training run)"
    return shown(found, digits, sign=True)


def over_alices(found: Interval, word: str) -> str:
    """The word of a verdict that follows from an interval over Alices; one Alice gives none."""
    return word if np.isfinite(found.low) else "not judged: one training run"


def numbers_of(found: Interval) -> list[float]:
    """A mean over Alices among the numbers: estimate, low, high."""
    return [float(found.estimate), float(found.low), float(found.high)]


def put(rows: Rows, name: str, values: pd.Series) -> Interval:
    """The mean over Alices among the numbers, with its bounds and each Alice's value."""
    rows.numbers[f"{name}_seeds"] = [float(v) for v in values]
    return rows.put(name, over_seeds(values))
