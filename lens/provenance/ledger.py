"""How often one suspect was looked at in one order: each p-value holds for a single look, and a ledger counts them.

Asking again with more rows, another statistic, other weights or another seed, and keeping the smallest p, makes p too
small: ten looks while rows come double it, fifteen seeds of 99 draws nearly so. A second look at a new suspect is none;
the same question asked again has the same answer and is none either.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arguments import Count, Name, door
from .arguments import array
from .errors import ProvenanceError
from .order import Order, mixed

SKETCH = 64  # rows by which an order, or a suspect, is known again
SHARED = 8  # of them that must agree
REMEMBERED = 256  # orders that the process remembers

_known: OrderedDict[int, tuple[Ledger, dict[int, float]]] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Look:
    """One question to one suspect: its `number` among those to this suspect (from 1), and the `factor` by which p is
    multiplied for all looks so far.
    """

    number: int
    factor: float
    question: str
    suspect: str
    values: dict[int, float] = field(repr=False)
    planned: int | None = None

    def adjusted(self, p: float) -> float:
        """P that holds for all looks together: P(any of them is at most a) is at most a."""
        return min(1.0, self.factor * float(p))


@door(ProvenanceError)
class Ledger:
    """The looks at one order: `planned` of them at each suspect, or any number.

    With `planned` looks each p is multiplied by their number (Bonferroni), and one look more is refused. Without, look
    k is multiplied by k (k + 1): the shares 1 / (k (k + 1)) sum to 1, so that the number of looks need not be fixed
    beforehand. By default a process keeps one for each transcript, and finds it again by its rows and positions; pass
    your own to `query` to say what was planned.
    """

    def __init__(self, planned: Count | None = None):
        self.planned = planned
        self.looks: list[Look] = []

    @door(ProvenanceError)
    def look(self, suspect: Name, row_id: Any, values: Any, question: str) -> Look:
        """Count one question to a suspect, known again by its name or by its scores [n] of the rows `row_id`. Raises
        ProvenanceError beyond `planned`.
        """
        row_id, values = (
            array(row_id, "row_id", "whole numbers, the ids of rows [n]", "iu"),
            array(values, "values", "a score for each row [n]"),
        )
        if row_id.ndim != 1 or row_id.shape != values.shape:
            raise ProvenanceError(
                f"row_id has shape {row_id.shape} and values {values.shape}; expected [n] in both, a score for each"
                " row id"
            )
        mine = _sketch(row_id, values)
        earlier = [one for one in self.looks if _same(one, suspect, mine)]
        for one in earlier:
            if one.question == question:
                return one
        number = len(earlier) + 1
        if self.planned is not None and number > self.planned:
            raise ProvenanceError(
                f"ledger: look {number} at {suspect!r}, and planned={self.planned}: refused, since p-values were to"
                f" be multiplied by {self.planned}. Plan"
                " more looks beforehand, or use Ledger() whose factor grows with their number"
            )
        look = Look(number, float(self.planned or number * (number + 1)), question, suspect, mine, self.planned)
        self.looks.append(look)
        return look

    def __len__(self) -> int:
        return len(self.looks)


def ledger_of(transcript: Order) -> Ledger:
    """The process's ledger of an order: the same for all transcripts that share many of their rows at the same
    positions.
    """
    if (own := transcript.__dict__.get("_ledger")) is not None:
        return own
    first = transcript.position if transcript.position.ndim == 1 else transcript.position[:, 0]
    mine, ledger_of_order = _sketch(transcript.row_id, first), None
    for key, (ledger, theirs) in _known.items():
        if len(mine.items() & theirs.items()) >= min(SHARED, len(mine)):
            ledger_of_order = ledger
            _known.move_to_end(key)
            break
    if ledger_of_order is None:
        ledger_of_order = Ledger()
        _known[id(ledger_of_order)] = (ledger_of_order, mine)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    transcript.__dict__["_ledger"] = ledger_of_order
    return ledger_of_order


def question_of(*parts: Any) -> str:
    """A short hash of what was asked: texts and arrays."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()


def _sketch(row_id: np.ndarray, values: np.ndarray) -> dict[int, float]:
    """The values of the `SKETCH` rows whose hashed row ids are smallest: nested choices of rows share many of them."""
    rows = np.argsort(mixed(np.asarray(row_id), 0), kind="stable")[:SKETCH]
    return {int(row): float(value) for row, value in zip(np.asarray(row_id)[rows], np.asarray(values)[rows])}


def _same(look: Look, name: str, values: dict[int, float]) -> bool:
    if look.suspect == name and name not in ("suspect", "text"):
        return True
    shared = [row for row in values if row in look.values]
    return len(shared) > 1 and all(look.values[row] == values[row] for row in shared)
