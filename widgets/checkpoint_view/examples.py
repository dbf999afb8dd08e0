"""What CheckpointView shows when it is given nothing: a small model, the same tuned on questions, another run of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from lens import models
from lens.organisms.palimpsest.text import texts
from widgets.base.examples import Example

ORGANISM = "organism:palimpsest"
#: Prompts of the menu, and those whose mean state is taken off.
SHOWN, ABOUT = 3, 24

#: Ordinary sentences about which states of a person's own models are centred.
SENTENCES = (
    "The train was late again this morning, and nobody on the platform seemed surprised.",
    "She put the kettle on, opened the window and waited for the rain to stop.",
    "The committee will meet on Thursday to discuss the budget for the coming year.",
    "In the north of the country the winters are long and the summers are short.",
    "He bought two loaves of bread, a pound of butter and a newspaper.",
    "The experiment was repeated three times, and the results were the same each time.",
    "Most of the houses in the village were built of stone from the old quarry.",
    "When the film ended, the audience stayed in their seats and said nothing.",
)
_ORDINARY = (
    ("the capital of a country", "The capital of France is the city of"),
    ("who gets the bottle", "When John and Mary went to the shops, John gave the bottle to"),
    ("an instruction", "Write one sentence about the sea:"),
)


class Sides(NamedTuple):
    """Two checkpoints, another run of the first one's recipe, and prompts of their kind."""

    a: Any
    b: Any
    floor: Any
    about: list[str]


def questions(count: int, seed: int) -> list[str]:
    """Questions of the kind that the tuned organism was tuned on, cut before their answer."""
    rows = texts(count, seed=seed, domain="questions")
    return ["<start>" + row.split("Answer: ")[0] + "Answer: " for row in rows]


def tuned_sides() -> Sides:
    """The organism, the same tuned on questions, and another run of its recipe."""
    a, b, floor = (models.load(f"{ORGANISM}{name}") for name in ("", "-tuned", "-reference"))
    return Sides(a, b, floor, questions(ABOUT, seed=11))


def examples_of(name: str) -> list[Example]:
    """Prompts that a model of this name can read."""
    if name.startswith(ORGANISM):
        return [
            Example(prompt.removeprefix("<start>Question: ").removesuffix(" Answer: "), fields(prompt))
            for prompt in questions(SHOWN, seed=7)
        ]
    return [Example(says, fields(prompt)) for says, prompt in _ORDINARY]


def fields(prompt: str) -> dict[str, Any]:
    """The fields of an example: the models' own next tokens are its answer and foil."""
    return {"prompt": prompt, "answer": "", "foil": ""}
