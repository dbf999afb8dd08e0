"""How quantities over training runs are put into words: an estimate with its interval and each run's value, and the
word of a verdict that follows from intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...stats import holm
from ..common import several, verdict

NOT_MEASURED, ONE_RUN = "not measured", "not judged: one training run"


def text(found: Any, digits: int = 2, sign: bool = False, *, value: str = "estimate", runs: str = "seeds") -> str:
    """Estimate [low, high] (each seed's value); `value`, `runs`: where estimate and single runs stand."""

    def number(x):
        return f"{float(x):{'+' if sign else ''}.{digits}f}"

    each = ", ".join(number(s) for s in found[runs])
    bounds = f" [{number(found['low'])}, {number(found['high'])}]" if np.isfinite(found["low"]) else ""
    return f"{number(found[value])}{bounds} (seeds {each})"


def by_runs(found: Sequence[Any], holds: bool, fails: bool, instead: str = "", part: bool = False) -> str:
    """The word of a verdict that rests on these quantities, each over runs; of one run, or where all runs agree on one
    of them, there is no interval to follow.
    """
    if min(len(f["seeds"]) for f in found) < 2:
        return ONE_RUN
    word = verdict(holds, fails, instead, part)
    if word.startswith("not shown") and (same := sum(not np.isfinite(f["low"]) for f in found)):
        some = f" in {same} of {len(found)}" if len(found) > 1 else ""
        return f"not shown: the runs agree entirely{some}, which gives no interval"
    return word


def above(*found: Any) -> str:
    """The word of a claim that all of these are above 0."""
    return by_runs(found, all(f["low"] > 0 for f in found), all(f["high"] < 0 for f in found))


def below(*found: Any, instead: str = "", part: bool = False) -> str:
    """The word of a claim that all of these are below 0."""
    return by_runs(found, all(f["high"] < 0 for f in found), all(f["low"] > 0 for f in found), instead, part)


def each_below(found: Sequence[Any], level: float = 0.05) -> tuple[list[bool], list[bool]]:
    """Which of several differences lie below 0 by their own interval, and which by Holm's correction over all of them
    (two-sided t over runs).
    """
    alone = [bool(f["high"] < 0) for f in found]
    adjusted = holm(np.nan_to_num([f["p"] for f in found], nan=1.0))
    return alone, [bool(a and q <= level) for a, q in zip(alone, adjusted)]


def units(found: Any, unit: str = "sequences") -> str:
    """How many units and runs a quantity is over."""
    return f"{int(found['n'])} {unit}, {several(len(found['seeds']), 'seed')}"


def number_of(found: Any) -> dict[str, Any]:
    """A quantity as it stands among a run's numbers."""
    return {k: found[k] for k in ("estimate", "low", "high", "seeds", "n")}


def line(frame: pd.DataFrame, **at: Any) -> dict[str, Any]:
    """The first line of a table with these values."""
    return frame[np.logical_and.reduce([frame[k] == v for k, v in at.items()])].iloc[0].to_dict()
