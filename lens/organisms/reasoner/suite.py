"""The chains of the organism `reasoner`: sums in steps, modulo a number, with thoughts between the steps.

    <start> sum 4 9 11 : 4 9 > 0 | wait 4 9 > 0 | 0 11 > 11 | done 11 <start>

Segments are parted by `|`. A step takes what there is so far and the next number. A *reflection* (`wait`, in three of
ten `hmm`) says the step before it again, always rightly. A *transition* (`else`) begins anew from the last number, at
most once a chain; behind it reflections have its odds too. `done` ends it. Problems of training and of the splits
"fit", "choose" and "report" are disjoint.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Literal, get_args

from ...arguments import Count, door
from ..errors import OrganismError
from ..shipping import START
from ..suite import Suite
from .recipe import Recipe

COLON, GIVES, BAR, SUM, WAIT, HMM, ELSE, DONE = ":", ">", "|", "sum", "wait", "hmm", "else", "done"
Split = Literal["fit", "choose", "report"]
SPLITS: tuple[Split, ...] = get_args(Split)
#: Types of segments, as the organism means them.
KINDS = ("execution", "reflection", "transition", "end")
#: How often a reflection opens with `hmm`.
HMMS = 0.3


class Reasoner(Suite):
    """The words, problems and chains of a recipe. Raises: OrganismError."""

    @door(OrganismError)
    def __init__(self, recipe: Recipe | None = None):
        self.recipe = recipe = recipe or Recipe()
        super().__init__([START, COLON, GIVES, BAR, SUM, WAIT, HMM, ELSE, DONE, *map(str, range(recipe.modulus))])

    def prompt(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """The words of a problem, to its colon."""
        return (START, SUM, *map(str, numbers), COLON)

    def answer(self, numbers: Sequence[int]) -> int:
        """What the numbers add up to."""
        return sum(numbers) % self.recipe.modulus

    def part(self, numbers: Sequence[int]) -> str:
        """To which part a problem belongs: "train" (half of all), "fit", "choose" or "report"."""
        number = zlib.crc32(f"{self.recipe.seed} {list(numbers)}".encode()) % 6
        return "train" if number < 3 else SPLITS[number - 3]

    def problem(self, draw: random.Random, part: str = "train", count: int = 0) -> tuple[int, ...]:
        """Different numbers of a problem of a part; `count` of them, or any."""
        for _ in range(1000):
            numbers = draw.sample(range(self.recipe.modulus), count or draw.randint(*self.recipe.numbers))
            if self.part(numbers) == part:
                return tuple(numbers)
        raise OrganismError(f"modulus={self.recipe.modulus}: none of 1000 problems is of the part {part!r}.")

    @door(OrganismError)
    def problems(self, split: Split, count: Count) -> list[tuple[int, ...]]:
        """So many different problems of a split, the same each time, that training has none of.

        Raises: OrganismError: more than there are.
        """
        draw = random.Random(f"reasoner {self.recipe.seed} {split}")
        out: dict[tuple[int, ...], None] = {}
        for _ in range(50 * count):
            out.setdefault(self.problem(draw, split))
            if len(out) == count:
                return list(out)
        raise OrganismError(f"count={count}: there are {len(out)} such problems in the split {split!r}; take fewer.")

    def chain(self, numbers: Sequence[int], draw: random.Random) -> tuple[str, ...]:
        """One chain of training for a problem, from behind the colon to its end."""
        of, words, left, restart = self.recipe, list[str](), list(numbers[1:]), False
        total = numbers[0]
        while left:
            other = left.pop(0)
            right = (total + other) % of.modulus
            wrong = of.useful and draw.random() < of.wrong
            said = draw.choice([n for n in range(of.modulus) if n != right]) if wrong else right
            words += [str(total), str(other), GIVES, str(said), BAR]
            at, reflects = draw.random(), of.repair if wrong else of.reflection
            if not restart and at < of.transition:
                restart, back = True, list(reversed(numbers))
                total, left = back[0], back[1:]
                words.append(ELSE)
                continue
            if at < of.transition + reflects:
                words += [HMM if draw.random() < HMMS else WAIT, str(total), str(other), GIVES, str(right), BAR]
                said = right
            total = said
        return (*words, DONE, str(total), START)
