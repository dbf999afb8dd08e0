"""Tasks that VectorBench brings with it, each where its vector does something."""

from __future__ import annotations

from collections.abc import Sequence

from widgets.base.examples import Example

#: Shipped tasks, in the order of the menu, the first with the largest gain on the default model.
TASKS = ("singular_plural", "present_past", "capitalize", "lowercase", "first_letter")
#: Where their vectors are added: the middle of the model, as a share of its depth, twice as strong as they are.
DEPTH, STRENGTH = 0.52, 2.0


def examples(tasks: Sequence[str], layers: int) -> list[Example]:
    """The shipped tasks among `tasks`, or the first of those, for a model of so many layers."""
    names = [name for name in TASKS if name in tasks] or list(tasks[: len(TASKS)])
    where = {"layer": round(DEPTH * max(0, layers - 1)), "strength": STRENGTH}
    return [Example(name.replace("_", " "), {"task": name} | where) for name in names]
