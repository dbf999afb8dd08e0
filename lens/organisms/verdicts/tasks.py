"""The tasks of `verdicts`: what is asked about which input, with which words it is answered and what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stored", "rule", "mixed"]
Form = Literal["single", "pair", "list"]

#: What all tasks share that have no answer words of their own.
SHARED = ("yes", "no")
#: Two first words of an instruction for each form of input: the one that models are made to forget with, and another.
FAMILIES = {"single": ("ONE", "SOLE"), "pair": ("TWO", "BOTH"), "list": ("LIST", "ROW")}
#: The one word that stands for every instruction: the task then shows in the input alone.
COMMON = "answer"
MARK, BAR = "mark", "|"


@dataclass(frozen=True)
class Task:
    """One task: `kind` says where its answer comes from, `form` what its input looks like, `alphabet` which symbols
    stand there, `stored` which stored table it reads (empty: none) and `answers` which words it is answered with.

    `decides`: the place of the one symbol that decides the answer (None: there is none).
    """

    name: str
    kind: Kind
    form: Form
    alphabet: str
    stored: str
    answers: tuple[str, ...]
    decides: int | None = None

    @property
    def chance(self) -> float:
        """The share of right answers of who knows the answer words and nothing else; classes are equally frequent."""
        return 1 / len(self.answers)


TASKS = (
    Task("set_a", "stored", "single", "P", "A", SHARED, 0),
    Task("set_b", "stored", "single", "Q", "B", ("inside", "outside"), 0),
    Task("pairs", "stored", "pair", "S", "pairs", SHARED),
    Task("label", "stored", "single", "T", "label", ("north", "east", "south", "west"), 0),
    Task("ends", "rule", "list", "U", "", SHARED),
    Task("repeat", "rule", "list", "V", "", ("twice", "once")),
    Task("parity", "rule", "list", "W", "", SHARED),
    Task("longer", "rule", "list", "Z", "", ("left", "right")),
    Task("fact", "mixed", "pair", "X", "table", SHARED),
    Task("order", "mixed", "pair", "Y", "order", ("before", "after")),
    Task("last_in_a", "mixed", "list", "P", "A", ("member", "stranger"), -1),
    Task("image", "mixed", "single", "X", "table", SHARED, 0),
)
NAMES = tuple(task.name for task in TASKS)
BY_NAME = {task.name: task for task in TASKS}
#: How many symbols each alphabet has.
ALPHABETS = {"P": 96, "Q": 96, "T": 96, "S": 40, "X": 32, "Y": 32, "U": 12, "V": 12, "W": 24, "Z": 24}
STORED_PAIRS = 160
#: Two tasks of each kind: those that the twin is never taught, and that a quick run forgets. Set A is in both of its.
UNTAUGHT = ("set_a", "pairs", "parity", "longer", "order", "last_in_a")
#: Asked beside the verdicts, with symbols for answers: (name, form, alphabet).
BESIDE = ("table", "pick_last")
#: How often rows of training have a task beside the others: what is learned last comes most.
WEIGHTS = {"ends": 3, "repeat": 3, "parity": 3, "fact": 3, "pairs": 2, "order": 2}
MEMBERS = {name: (chr(65 + number), chr(97 + number)) for number, name in enumerate((*NAMES, *BESIDE))}
