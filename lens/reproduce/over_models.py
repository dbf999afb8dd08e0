"""How claims put a quantity that was measured in several trained models into words: the model is the unit, and one model gives no interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..measure.statistics import Interval
from .common import shown, verdict


def each(values: Any, digits: int = 2) -> str:
    """The models' values one after another."""
    return ", ".join(f"{float(v):.{digits}f}" for v in values)


def over(found: Interval | None, digits: int = 2) -> str:
    """A difference over models with its sign and interval."""
    if found is None:
        return "not measured"
    return shown(found, digits, sign=True) if np.isfinite(found.low) else f"{found.estimate:+.{digits}f} (one model, no interval)"


def judged(found: Interval | None, instead: str = "", part: bool = False) -> str:
    """Holds where the interval is above 0, fails where it is below; one model, or models without any spread, have no interval and are not judged."""
    if found is None:
        return "not measured"
    if not np.isfinite(found.low):
        return "not judged: one model"
    if found.high - found.low < 1e-9:
        return "not judged: the models agree to the last caption, which gives no interval"
    return verdict(found.low > 0, found.high < 0, instead, part)


def keep(numbers: dict, name: str, found: Interval | None) -> None:
    """The estimate and its bounds under a name, where there is one."""
    if found is not None:
        numbers |= {name: float(found.estimate), f"{name}_low": float(found.low), f"{name}_high": float(found.high)}
