"""The rules by which a claim of Function Vectors follows from intervals over tasks, and the rows that they fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ..claims import Rows
from ..common import EVERY, matching, shown, student, verdict
from . import tables as frames
from .claims import CLAIMS, MARGIN
from .draws import RANDOM
from .heads import UNIVERSAL
from .tables import NONE, Parts


def ruled(word: str, *intervals: Interval) -> str:
    """A verdict, where every interval that it follows from is there."""
    bounded = all(np.isfinite((i.low, i.high)).all() for i in intervals)
    return word if bounded else "not shown: no interval (too few units, or all alike)"


def above(*intervals: Interval) -> str:
    """The verdict of a claim that all of these are above 0."""
    return ruled(verdict(all(i.low > 0 for i in intervals), any(i.high < 0 for i in intervals)), *intervals)


def equal(difference: Interval, above: str, below: str) -> str:
    """The verdict of a claim that two accuracies are equal, and what to say where the difference is shown to be above
    or below zero by what may be more than `MARGIN`.
    """
    if -MARGIN < difference.low and difference.high < MARGIN:
        return f"holds: within {MARGIN:g}"
    beyond = f"not shown: the interval reaches beyond {MARGIN:g}"
    return ruled(above if difference.low > 0 else below if difference.high < 0 else beyond, difference)


def half_shared(common: Interval, k: int) -> str:
    """The verdict of a claim that fewer than half of k heads are shared."""
    word = verdict(common.high < k / 2, common.low > k / 2, otherwise="the interval holds one half")
    said = {"holds": "holds: fewer than half are shared", "does not hold": "does not hold: more than half are shared"}
    return ruled(said.get(word, word), common)


def by_seeds(values: Mapping[tuple[int, str], float]) -> pd.Series:
    """Values by seed and task as one a task, the mean over its seeds."""
    return pd.Series({key: float(v) for key, v in values.items()}).groupby(level=1, sort=False).mean()


class JudgedRows(Rows):
    """The rows, with what is judged: the steps by seed and task, and accuracies by vector and task."""

    def __init__(self, parts: Parts, depth: int, k: int):
        super().__init__(CLAIMS)
        self.parts, self.k = parts, k
        self.tasks, self.seeds = list(dict.fromkeys(t for _, t in parts)), len({s for s, _ in parts})
        self.numbers |= {"tasks": self.tasks, "seeds": self.seeds}
        self.report = frames.report(parts, depth)
        self.zero = self.by_vector("zero_shot")

    def by_vector(self, condition: str) -> dict[str, pd.Series]:
        """By vector, its accuracy by task."""
        rows = self.report[self.report.condition == condition]
        return {v: frames.by_task(rows, vector=v) for v in rows.vector.unique()}

    def effect(self, name: str, a: pd.Series, b: pd.Series) -> Interval:
        """The mean of a minus b over tasks, put among the numbers."""
        return self.put(name, student((a - b).reindex(self.tasks).values))

    def n(self, frame: pd.DataFrame, **where: Any) -> str:
        """How many tasks, questions (of the rows that match) and seeds."""
        return f"{len(self.tasks)} tasks, {int(matching(frame, **where).n.sum())} questions{self.of_seeds}"

    @property
    def of_seeds(self) -> str:
        """How many seeds, where there are several."""
        return f", {self.seeds} seeds" if self.seeds > 1 else ""

    def compared(self, key: str, name: str, a: str, b: str, here: str, judge: Callable = above, **names: Any) -> None:
        """One vector minus another, zero-shot; `a` and `b` are accuracies in the text, `gap` their difference."""
        gap = self.effect(name, self.zero[a], self.zero[b])
        text = here.format(a=self.zero[a].mean(), b=self.zero[b].mean(), gap=shown(gap, sign=True))
        n = self.n(self.report, condition="zero_shot", vector=a if b == UNIVERSAL else b)
        self.add(key, text, n, judge(gap), effects=name, **names)

    def restored(self, condition: str, key: str, names: tuple[str, str, str], what: str = "", **more: Any) -> None:
        """What the vector and a random one do where nothing else helps: both minus nothing, and one minus the other."""
        by = self.by_vector(condition)
        if not by:
            return
        own, none, random = by[UNIVERSAL], by[NONE], by[RANDOM]
        pairs = ((own, none), (random, none), (own, random))
        gain, chance, beyond = (self.effect(name, *pair) for name, pair in zip(names, pairs))
        self.add(
            key,
            f"{what}{none.mean():.2f} to {own.mean():.2f}: {shown(gain, sign=True)}; a random vector"
            f" {shown(chance, sign=True)}; minus it {shown(beyond, sign=True)}",
            self.n(self.report, condition=condition, vector=UNIVERSAL),
            above(gain, beyond),
            EVERY,
            effects=(names[0], names[2]),
            **more,
        )
