"""By how much an edit acts at each step of a text that is being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..arguments import Number, shown

#: What is said of steps: a name, a function of the step, or factors.
Schedule = str | Callable[[int], float] | Sequence[float] | None


def factors(schedule: Any, steps: int, error: type[Exception]) -> Callable[[int], float]:
    """A schedule as a function of the step: "constant", "linear decay" (from 1 to 0 over `steps`), "first n", a
    function of the step, or factors (0 after the last).

    Raises: `error`: another name; a function, or a list, that gives no finite number.
    """
    if schedule is None:
        return lambda step: 1.0
    if isinstance(schedule, str):
        if schedule == "constant":
            return lambda step: 1.0
        words = schedule.split()
        if schedule == "linear decay":
            return lambda step: max(0.0, 1 - step / steps)
        if len(words) == 2 and words[0] == "first" and words[1].isdecimal() and len(words[1]) < 10:
            return lambda step: float(step < int(words[1]))
        raise error(
            f"schedule={shown(schedule)} is not known; expected 'constant', 'linear decay', 'first 5' (any number), a"
            " function of the step, or a list of factors."
        )
    if callable(schedule):
        return lambda step: _factor(schedule(step), f"schedule({step})", error)
    values = [_factor(value, f"schedule[{i}]", error) for i, value in enumerate(schedule)]
    return lambda step: values[step] if step < len(values) else 0.0


def _factor(value: Any, name: str, error: type[Exception]) -> float:
    return float(Number().of(value, name, error, "for example 1, 0.5 or -1"))
