"""The rules by which a claim about forgetting follows from effects over seeds, and the rows that they fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from ... import forgetting
from ..claims import Rows
from ..common import several, shown, verdict
from .claims import CLAIMS
from .tables import LEAST_UNITS, PLAIN, over, paired, pooled


@dataclass(frozen=True)
class Effect:
    """A mean over seeds or units: its interval, as text, n as text; `few` says why nothing follows from it, or ""; `p`
    of a t test over seeds (NaN for one).
    """

    low: float
    high: float
    text: str
    n: str
    few: str
    p: float


def judged(
    effects: Effect | tuple[Effect, ...],
    holds: bool,
    fails: bool,
    instead: str = "",
    part: bool = False,
    otherwise: str = "the interval holds 0",
) -> str:
    """The word of a verdict that follows from `effects`, or of what they are too few to show; `otherwise` is said where
    an interval holds the value in question.
    """
    every = (effects,) if isinstance(effects, Effect) else effects
    few = next((e.few for e in every if e.few), "")
    return f"not shown: {few}" if few else verdict(holds, fails, instead, part, otherwise)


def above(*effects: Effect, part: bool = False) -> str:
    """The verdict of a claim that all of these are above 0."""
    return judged(effects, all(e.low > 0 for e in effects), any(e.high < 0 for e in effects), part=part)


def below(*effects: Effect) -> str:
    """The verdict of a claim that all of these are below 0."""
    return judged(effects, all(e.high < 0 for e in effects), any(e.low > 0 for e in effects))


class JudgedRows(Rows):
    """The rows and numbers, with the units of all methods; `seed` is of resampling."""

    def __init__(self, units: pd.DataFrame | None = None, seed: int = 0):
        super().__init__(CLAIMS)
        self.units, self.seed = pd.DataFrame() if units is None else units, seed

    def minus(self, name: str, method: str, metric: str, other: str = PLAIN) -> Effect:
        """A metric of one method minus that of another, unit by unit."""
        return self.effect(name, paired(self.units, method, other, metric))

    def effect(self, name: str, values: pd.Series) -> Effect:
        """The mean of units with its interval over seeds, put among the numbers."""
        values = values.dropna()
        by = values.groupby(level="seed").mean() if len(values) else pd.Series(dtype=float)
        interval, units = over(values, self.seed), pooled(values, self.seed)
        n, seeds = len(values), len(by)
        same = seeds > 1 and not float(np.ptp(by)) > 1e-12
        few = ""
        if same:
            few = "the seeds agree entirely, which gives no interval"
        elif seeds < 2 and n < LEAST_UNITS:
            few = {0: "no unit", 1: "one unit"}.get(n, f"{n} units of one seed")
        numbers = {
            "": interval.estimate,
            "_low": interval.low,
            "_high": interval.high,
            "_n": n,
            "_seeds": seeds,
            "_pooled_low": units.low,
            "_pooled_high": units.high,
        }
        for part, value in numbers.items():
            self.numbers[name + part] = (
                value if isinstance(value, int) else float(value) if np.isfinite(value) else None
            )
        if seeds > 1:
            text = f"{shown(interval, sign=True)} (seeds {', '.join(f'{v:+.2f}' for v in by)}; {forgetting.signs(by)})"
        elif n < 2:
            text = f"{interval.estimate:+.2f} ({few})" if n else few
        elif few:
            text = f"{interval.estimate:+.2f} ({few}: {values.min():+.2f} to {values.max():+.2f})"
        else:
            text = f"{shown(interval, sign=True)} (over {n} units of one seed)"
        each, odd = divmod(n, max(1, seeds))
        p = 1.0 if same else np.nan
        if seeds > 1 and not same:
            p = float(2 * scipy_stats.t.sf(abs(by.mean()) / (float(by.std(ddof=1)) / seeds**0.5), seeds - 1))
        size = f"{n} tasks of {several(seeds, 'seed')}" if odd else f"{several(seeds, 'seed')} x {each} tasks"
        return Effect(float(interval.low), float(interval.high), text, size, few, p)
