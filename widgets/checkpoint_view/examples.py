"""What CheckpointView shows when it is given nothing: a small model tuned in two ways, and another run of the first."""

from __future__ import annotations

from typing import Any, NamedTuple

from lens import models
from lens.organisms import atlas
from lens.organisms.atlas.suite import REPORT, WALK
from lens.organisms.palimpsest.text import texts
from lens.organisms.shipping import START
from widgets.base.examples import Example

ATLAS, PALIMPSEST = "organism:atlas", "organism:palimpsest"
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


def leaves(of: slice) -> list[tuple[str, str]]:
    """Codes of leaves that no training asked of, and the questions for their tops, where both checkpoints walk."""
    suite = atlas.Atlas(atlas.Recipe())
    return [(suite.code[leaf], f"{START} {suite.question(leaf)} {WALK}") for leaf in suite.leaves[REPORT][of]]


def sides() -> Sides:
    """Supervised on answers, reinforced for right ones, and another run of the first: all of one base."""
    a, b, floor = (models.load(f"{ATLAS}-{name}") for name in ("answer", "rl", "answer-again"))
    return Sides(a, b, floor, [prompt for _, prompt in leaves(slice(SHOWN, SHOWN + ABOUT))])


def examples_of(name: str) -> list[Example]:
    """Prompts that a model of this name can read."""
    if name.startswith(ATLAS):
        return [Example(f"the top of {code}", fields(prompt)) for code, prompt in leaves(slice(SHOWN))]
    if name.startswith(PALIMPSEST):
        rows = texts(SHOWN, seed=7, domain="questions")
        cut = [row.split(" Answer: ")[0].removeprefix("Question: ") for row in rows]
        return [Example(asked, fields(f"<start>Question: {asked} Answer: ")) for asked in cut]
    return [Example(says, fields(prompt)) for says, prompt in _ORDINARY]


def fields(prompt: str) -> dict[str, Any]:
    """The fields of an example: the models' own next tokens are its answer and foil."""
    return {"prompt": prompt, "answer": "", "foil": ""}
