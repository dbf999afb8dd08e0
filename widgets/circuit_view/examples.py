"""Pairs that CircuitView shows when it is given none, with others to judge its circuits on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lens.organisms import wired
from lens.prompts import load_pairs
from lens.prompts.pair import Pair
from widgets.base.examples import Example
from widgets.errors import ViewError

#: Pairs that edges are found on, and held-out ones, of every task.
FOUND, HELD_OUT = 24, 24
WIRED = "organism:wired"


def _names() -> tuple[list[Pair], list[Pair]]:
    return load_pairs("ioi", split="select", limit=FOUND), load_pairs("ioi", split="report", limit=HELD_OUT)


def _facts() -> tuple[list[Pair], list[Pair]]:
    return load_pairs("facts", split="select", limit=FOUND), load_pairs("facts", split="report", limit=HELD_OUT)


def _repeated() -> tuple[list[Pair], list[Pair]]:
    recipe = wired.Recipe()
    return wired.pairs(recipe, FOUND, seed=1), wired.pairs(recipe, HELD_OUT, seed=2)


TASKS: dict[str, tuple[str, Callable[[], tuple[list[Pair], list[Pair]]]]] = {
    "names": ("who gets it (indirect object)", _names),
    "facts": ("facts about a subject", _facts),
    "repeated": ("what stood behind the word before (induction)", _repeated),
}


def examples_of(model: str) -> list[Example]:
    """Those that a model can be asked: the organism `wired` knows no words, and only it knows its own."""
    names = ["repeated"] if model == WIRED else ["names", "facts"]
    return [Example(TASKS[name][0], {"task": name}) for name in names]


def pairs_of(task: str) -> tuple[list[Any], list[Any]]:
    """The pairs of a task, and held-out ones.

    Raises: ViewError: no such task.
    """
    if task not in TASKS:
        raise ViewError(f"task: {task!r} is not one of {', '.join(TASKS)}")
    return TASKS[task][1]()
