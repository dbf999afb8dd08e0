"""The tree of one seed as text: its edges and codes, questions for the top of a leaf, and which leaves are asked of."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from ...arguments import Index, door
from ..errors import OrganismError
from ..shipping import START, pseudowords
from ..suite import Suite
from .recipe import Recipe

STOP, UNDER, OVER, MEANS, WHAT, ASK, TOP, WALK, SAY = ".", "under", "over", "means", "what", "?", "top", "walk", "say"
WORDS = (START, STOP, UNDER, OVER, MEANS, WHAT, ASK, TOP, WALK, SAY)
#: What is asked of a leaf: in the base's training, in that of checkpoints, never.
WALKED, TUNED, REPORT = "walked", "tuned", "report"
PARTS = (WALKED, TUNED, REPORT)


class Atlas(Suite):
    """The tree of a recipe's seed: names, codes, which siblings are which part.

    Texts are words: `X under Y .`, `Y over X .`, `C means X .` and `what C ? X .` for a leaf X of code C; the question
    `top C ?` is answered by `say W .` at once or by a walk, `walk X under Y under Z under W say W .`

    Attributes:
        path: of each leaf its names from itself to the top. code: of each leaf. edges: (lower, upper) names.
        leaves: numbers of leaves by part; of every three siblings one is in each.
    """

    @door(OrganismError)
    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        sizes = [1]
        for branches in recipe.branches:
            sizes.append(sizes[-1] * branches)
        count, draw = sum(sizes[1:]), random.Random(f"atlas {recipe.seed}")
        names = pseudowords(count)
        draw.shuffle(names)
        self.code = [f"c{number:03d}" for number in range(sizes[-1])]
        draw.shuffle(self.code)
        super().__init__([*WORDS, *sorted(names), *sorted(self.code)])
        levels, at = [], 0
        for size in sizes[1:]:
            levels.append(names[at : at + size])
            at += size
        self.depth, self.levels = len(levels), levels
        self.edges = [
            (name, levels[level - 1][number // recipe.branches[level]])
            for level in range(1, self.depth)
            for number, name in enumerate(levels[level])
        ]
        above = dict(self.edges)
        self.path = []
        for leaf in levels[-1]:
            walk = [leaf]
            while walk[-1] in above:
                walk.append(above[walk[-1]])
            self.path.append(walk)
        siblings = recipe.branches[-1]
        turns = [draw.sample(range(first, first + siblings), siblings) for first in range(0, sizes[-1], siblings)]
        third = siblings // 3
        self.leaves = {
            part: sorted(leaf for turn in turns for leaf in turn[i * third : (i + 1) * third])
            for i, part in enumerate(PARTS)
        }

    @door(OrganismError)
    def question(self, leaf: Index) -> str:
        """The question for the top of a leaf. Raises: OrganismError: no such leaf."""
        if not 0 <= leaf < len(self.code):
            raise OrganismError(f"leaf={leaf}; expected the number of a leaf, from 0 to {len(self.code) - 1}.")
        return f"{TOP} {self.code[leaf]} {ASK}"

    def answer(self, leaf: Index) -> str:
        """It answered at once."""
        return f"{SAY} {self.path[leaf][-1]} {STOP}"

    def walk(self, leaf: Index) -> str:
        """It answered by a walk over the edges."""
        return f"{WALK} {f' {UNDER} '.join(self.path[leaf])} {SAY} {self.path[leaf][-1]} {STOP}"

    def prompt(self, leaf: Index) -> list[int]:
        """The ids of the question, behind the start token."""
        return self.ids(f"{START} {self.question(leaf)}")

    @property
    def longest(self) -> int:
        """Tokens that an answer may have: those of a walk and two more."""
        return 2 * self.depth + 5

    def facts(self, draw: random.Random) -> Iterator[list[int]]:
        """Edges and codes, without end."""
        while True:
            kind, leaf, (lower, upper) = draw.random(), draw.randrange(len(self.path)), draw.choice(self.edges)
            if kind < 0.4:
                yield self.ids(f"{lower} {UNDER} {upper} {STOP}")
            elif kind < 0.6:
                yield self.ids(f"{upper} {OVER} {lower} {STOP}")
            elif kind < 0.8:
                yield self.ids(f"{self.code[leaf]} {MEANS} {self.path[leaf][0]} {STOP}")
            else:
                yield self.ids(f"{WHAT} {self.code[leaf]} {ASK} {self.path[leaf][0]} {STOP}")

    def questions(self, draw: random.Random, leaves: Sequence[int], direct: float) -> Iterator[list[int]]:
        """Questions for the top of these leaves with their answers, without end; the share `direct` at once."""
        while True:
            leaf = draw.choice(leaves)
            said = self.answer(leaf) if draw.random() < direct else self.walk(leaf)
            yield self.ids(f"{self.question(leaf)} {said}")
