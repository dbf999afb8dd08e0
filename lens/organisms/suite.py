"""What the suites of made-up words share: a vocabulary and its ids, splits by unit, and rows packed from pieces."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Annotated, TypeVar

import torch

from .. import training
from ..arguments import Count, Filled, Seed, door
from .errors import OrganismError
from .shipping import START

Unit = TypeVar("Unit", bound=Hashable)

#: One part chooses what another part does not see: nothing is reported on what it was fitted to or chosen by.
SHARES = {"fit": 0.5, "choose": 0.25, "report": 0.25}


class Suite:
    """The words of an organism, of which the first is the start token, and what its rows are made of.

    An organism's own suite derives from it, draws from its seed what it plants, and gives rows, items and splits.

    Raises: OrganismError: a word twice, a word with white space, a first word that is not the start token.
    """

    @door(OrganismError)
    def __init__(self, vocabulary: Annotated[Sequence[str], Filled()]):
        if vocabulary[0] != START:
            raise OrganismError(f"vocabulary[0]={vocabulary[0]!r}; expected {START!r}, which has id 0.")
        for word in vocabulary:
            if word.split() != [word]:
                raise OrganismError(f"vocabulary has {word!r}; expected words without white space.")
        if len(set(vocabulary)) < len(vocabulary):
            twice = next(word for word in vocabulary if list(vocabulary).count(word) > 1)
            raise OrganismError(f"vocabulary has {twice!r} twice; give every word once.")
        self.vocabulary = list(vocabulary)
        self.index = {word: number for number, word in enumerate(self.vocabulary)}

    @door(OrganismError)
    def ids(self, text: str | Sequence[str]) -> list[int]:
        """The ids of a text's words, without a start token; OrganismError for a word that is not in the vocabulary."""
        words = text.split() if isinstance(text, str) else text
        if unknown := [word for word in words if word not in self.index]:
            raise OrganismError(
                f"text has {unknown[0]!r}, no word of this suite; expected some of its {len(self.vocabulary)} words,"
                f" such as {', '.join(self.vocabulary[1:4])}"
            )
        return [self.index[word] for word in words]

    def text(self, ids: Iterable[int]) -> str:
        """The words of these ids, with a space between each two."""
        return " ".join(self.vocabulary[int(one)] for one in ids)


@door(OrganismError)
def split(
    units: Annotated[Sequence[Unit], Filled()], shares: Mapping[str, float] = SHARES, *, seed: Seed = 0
) -> dict[str, list[Unit]]:
    """Units (people, words, leaves), not items, drawn into parts of these shares; each unit is in one part.

    Raises: OrganismError: shares that do not add up to 1, a unit given twice, a part that no unit is left for.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) <= 0:
        raise OrganismError(f"shares={dict(shares)}; expected positive shares that add up to 1.")
    if len(set(units)) < len(units):
        raise OrganismError("units: one is there twice; give every unit once, a unit is in one part.")
    order = random.Random(seed).sample(list(units), len(units))
    ends, total = [], 0.0
    for share in shares.values():
        total += share
        ends.append(round(total * len(order)))
    parts = {name: order[start:end] for name, start, end in zip(shares, [0, *ends], ends, strict=False)}
    if empty := [name for name, part in parts.items() if not part]:
        raise OrganismError(f"units: {len(units)} are too few for shares={dict(shares)}: {empty[0]!r} would be empty.")
    return parts


@door(OrganismError)
def packed(
    pieces: Iterable[Sequence[int]], rows: Count, width: Count, *, whole: bool = False, start: int = 0
) -> training.Rows:
    """So many rows of `width` tokens behind the start token, cut from pieces that follow each other; all tokens count.

    Args:
        pieces: ids, without end or long enough; as many are taken as are needed.
        whole: no piece is cut: a row ends where the next piece has no room, and is shorter.

    Raises: OrganismError: pieces that end too early, or with `whole` one that no row has room for.
    """
    source = iter(pieces)
    made: list[list[int]] = []
    left: list[int] = []
    while len(made) < rows:
        row = [start]
        while len(row) < width + 1:
            piece = left or list(next(source, []))
            if not piece and whole and len(row) > 1:
                break
            if not piece:
                raise OrganismError(f"pieces: they ended at row {len(made)} of {rows}; give more.")
            if whole and len(row) + len(piece) > width + 1:
                if len(row) == 1:
                    raise OrganismError(f"pieces: one of {len(piece)} tokens; expected at most width={width}.")
                left = piece
                break
            row, left = [*row, *piece], []
        made.append(row[: width + 1])
    if not whole:
        return training.Rows.full(torch.tensor(made))
    return training.Rows.of([(row[:1], row[1:]) for row in made], pad=start)
