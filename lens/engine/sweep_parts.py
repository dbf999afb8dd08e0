"""How a sweep is cut up, and what a part of it computes, wherever that is: here, or in another process.

A part is one batch of prompts over one span of layers; what is walked at once is a piece of a part. Batches, spans and
pieces follow from the sweep and its memory alone, so that a part has the same numbers to the bit, whoever computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import UnsupportedModel
from .memory import ERRORS, budget, out_of_memory
from .pieces import Batch, Cell, batches_of, pieces_of

if TYPE_CHECKING:
    from .sweep import Sweep

#: Layers ``[first, last)``.
Span = tuple[int, int]
#: ``(prompt, layer)`` cells that are there already.
Skip = Callable[[int, int], bool]


@dataclass(frozen=True)
class Plan:
    """How a sweep is cut.

    Attributes:
        batches: prompts whose unedited runs are made together. spans: of layers, the last first.
        skip: which cells are there already. multiple: batches hold a multiple of so many prompts.
        memory_mb: extra memory to stay under.
    """

    batches: list[list[int]]
    spans: list[Span]
    skip: Skip | None
    multiple: int
    memory_mb: float

    @classmethod
    def of(
        cls, sweep: Sweep, mine: Sequence[int], skip: Skip | None, layers: int, multiple: int, memory_mb: float
    ) -> Plan:
        """Batches of the prompts ``mine``, in spans of so many layers.

        Batches are those of a sweep from the beginning, so that one that goes on has the same numbers. Left out are
        prompts that are there already, unless those of a batch are its first: then a write was cut, and the batch is
        made again.
        """
        n_layers = sweep.shape[0]
        spans = [(max(0, last - layers), last) for last in range(n_layers, 0, -layers)]
        batches = []
        for batch in batches_of([sweep.bytes_at(i) for i in mine], budget(sweep.model, memory_mb).runs, multiple):
            prompts = [mine[k] for k in batch]
            wanted = [i for i in prompts if skip is None or not all(skip(i, l) for l in range(n_layers))]
            if wanted:
                batches.append(prompts if prompts[-len(wanted) :] == wanted else wanted)
        return cls(batches, spans, skip, multiple, memory_mb)

    def todo(self, batch: Sequence[int]) -> list[Span]:
        """The spans of a batch in which something is not there yet."""
        skip = self.skip
        return [s for s in self.spans if skip is None or not all(skip(i, l) for i in batch for l in range(*s))]

    def halves(self, batch: list[int]) -> tuple[list[int], list[int]] | None:
        """Two batches in place of one whose unedited runs do not fit the memory; None where it is the smallest."""
        if len(batch) <= self.multiple:
            return None
        half = -(-len(batch) // (2 * self.multiple)) * self.multiple
        return batch[:half], batch[half:]


@dataclass(frozen=True)
class Computed:
    """What was computed of a batch.

    Attributes:
        batch: the prompts. base, source: the metric of the unedited runs, ``[prompt of the batch, *scores]``.
        span: of which layers; None: the unedited runs alone, before anything else of the batch.
        cells: where in the grid each value belongs, as ``(prompt, *index)``. value: ``[cell, *scores]``.
        last: whether the span is whole with it. beside: what the sweep notes of each prompt, see `Sweep.beside`.
        parts: how many spans of the batch there were to compute when it was begun.
    """

    batch: list[int]
    base: np.ndarray
    source: np.ndarray
    beside: list[Any] | None = None
    span: Span | None = None
    cells: Sequence[tuple[int, ...]] = ()
    value: np.ndarray | None = None
    last: bool = False
    parts: int = 0


class Backend(Protocol):
    """Where the parts of a sweep are computed; `Here` is this process, `lens.cluster` has another.

    Attributes: on_device: how many processes compute on one GPU, where the model is on one.
    """

    on_device: int

    def parts(self, sweep: Sweep, plan: Plan, stop: Callable[[], bool] | None) -> Generator[Computed]:
        """Every piece of every part, those of a batch after its unedited runs, otherwise in any order.

        Raises Stopped: ``stop`` said so.
        """
        ...


class Opened:
    """A batch whose unedited runs are made: what its parts are computed from.

    Attributes: batch: the prompts. base, source, beside: as in `Computed`.
    """

    def __init__(self, sweep: Sweep, batch: list[int], memory_mb: float):
        self.batch = batch
        self.room, self.held = budget(sweep.model, memory_mb), sum(map(sweep.bytes_at, batch))
        self.runs = Batch(
            sweep.model,
            batch,
            sweep.encoded,
            sweep.lengths,
            sweep.make_runs,
            sweep.metric,
            sweep.clean_is_base,
            sweep.source_lengths,
            sweep.source_model,
        )
        self.base = self.runs.own
        # a sweep without a second prompt gives the same runs twice
        self.source = self.base if self.runs.alone else self.runs.score(self.runs.source)
        self.beside = None if sweep.beside is None else [sweep.beside(i) for i in batch]
        self.work = [list(sweep.cells(i, self.runs.source[0], k)) for k, i in enumerate(batch)]

    @classmethod
    def of(cls, sweep: Sweep, batch: list[int], memory_mb: float, *, may_fail: bool) -> Opened | None:
        """Some prompts' unedited runs; None where memory ran out and ``may_fail``."""
        try:
            return cls(sweep, batch, memory_mb)
        except UnsupportedModel as reason:
            # a text on which the written-out blocks are not the model's own: the next path takes all
            sweep.model.refuse(reason)
        except ERRORS as error:
            if not may_fail or not out_of_memory(error):
                raise
            return None
        return cls.of(sweep, batch, memory_mb, may_fail=may_fail)

    def pieces(self, span: Span) -> list[list[tuple[int, Cell]]]:
        """The edited runs of some layers in pieces that fit the memory.

        Prompt by prompt: a piece then holds rows of many layers, of which few join at once, and many of one prompt,
        which are scored together.
        """
        rows = [(k, c) for k, of_prompt in enumerate(self.work) for c in of_prompt if span[0] <= c.layer < span[1]]
        return list(pieces_of(rows, self.runs.row_bytes, self.room.rows(self.held)))

    def cells(self, piece: Sequence[tuple[int, Cell]]) -> list[tuple[int, ...]]:
        """Where in the grid the values of a piece belong, as ``(prompt, *index)``."""
        return [(self.batch[k], *c.index) for k, c in piece]

    def compute(self, piece: Sequence[tuple[int, Cell]], stop: Callable[[], bool] | None = None) -> np.ndarray:
        """The values of a piece, ``[cell, *scores]``. Raises Stopped: ``stop`` said so."""
        return self.runs.walk([(k, c.edits) for k, c in piece], self.room.chunk(self.held), stop)


class Here:
    """The parts of a sweep, one after the other in this process."""

    on_device = 1

    def parts(self, sweep: Sweep, plan: Plan, stop: Callable[[], bool] | None) -> Generator[Computed]:
        """See `Backend.parts`."""
        waiting = plan.batches[::-1]
        while waiting:
            batch = waiting.pop()
            todo, halves = plan.todo(batch), plan.halves(batch)
            if not todo:
                continue
            opened = Opened.of(sweep, batch, plan.memory_mb, may_fail=halves is not None)
            if opened is None and halves is not None:  # no room for those of all its prompts: half of them at a time
                waiting += halves[::-1]
                continue
            assert opened is not None
            known = (batch, opened.base, opened.source, opened.beside)
            yield Computed(*known, parts=len(todo))
            for span in todo:
                pieces = opened.pieces(span)
                for number, piece in enumerate(pieces):
                    value = opened.compute(piece, stop)
                    yield Computed(*known, span, opened.cells(piece), value, number == len(pieces) - 1)
                if not pieces:
                    yield Computed(*known, span, last=True)
