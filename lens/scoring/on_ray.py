"""Scoring over Ray actors: the same batches, the same code, one thread an actor unless told otherwise; the driver keeps
the books and writes the store.

A piece is one part of the store, which is too much to deal out where there are few: actors get portions of its batches,
and the driver puts the piece together. So all are at work until the last portion, and no batch differs from a local
scoring's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from lens.cluster import pool
from lens.scoring.causal import ScoringError
from lens.scoring.likelihood import Likelihood, score_piece

#: Scored tokens of a portion: at most so many, and fewer where each worker would get less than `SHARES` portions.
PORTION_TOKENS, SHARES = 1 << 13, 8


class Worker(pool.Process):
    """What an actor holds: the model, received from the driver, or loaded by name and compared with it by hash."""

    def __init__(
        self, name: str | None, model: Any, expected: str, dtype: Any, device: str | None, moments: bool, threads: int
    ):
        torch.set_num_threads(threads)
        self.name, self.model, self.expected = name, model, expected
        self.dtype, self.device, self.moments = dtype, device, moments
        self.likelihood: Likelihood | None = None

    def load(self) -> Likelihood:
        """Made once, by the first portion, so that what is wrong with the model is that portion's error."""
        from lens import models
        from lens.scoring.causal import settle
        from lens.scoring.likelihood import cast, plain

        if self.likelihood is not None:
            return self.likelihood
        if self.name is not None:
            loaded = settle(models.load(self.name, device=self.device or "auto", dtype=self.dtype or "float32"))
            if not models.same_weights(loaded, self.expected):
                raise ScoringError(
                    f"model {self.name!r} has other weights on the worker's machine (hash"
                    f" {models.weight_hash(loaded)[:12]}, "
                    f"expected {self.expected[:12]}); pass the model itself."
                )
            self.model = cast(plain(loaded), self.dtype, None)
        self.likelihood = Likelihood(self.model, self.moments)
        return self.likelihood

    def score(self, rows: list, batches: list[int], start: int | None, first: int) -> list | None:
        """Log-probabilities of a piece of rows, one array a row, in batches of `batches` rows."""
        return score_piece(self.load(), rows, batches, start, first)


@dataclass(eq=False)
class OpenPiece:
    """A piece in work: the values of its portions, by their number, and how many are out."""

    piece: Any
    values: list[list | None]
    left: int


@dataclass(eq=False)
class Portion:
    """Batches of one piece that are scored together."""

    of: OpenPiece
    number: int
    rows: list
    batches: list[int]
    row_id: int


def portions_of(piece: Any, tokens: int, first: int) -> list[Portion]:
    """A piece's batches, in order, in portions of at least `tokens` scored tokens (the last may have fewer)."""
    cuts, at, begin, size, batches = [], 0, 0, 0, []
    for batch in piece.batches:
        size += sum(len(row) - first for row in piece.rows[at : at + batch])
        at += batch
        batches.append(batch)
        if size >= tokens or at == len(piece.rows):
            cuts.append((begin, at, batches))
            begin, size, batches = at, 0, []
    of = OpenPiece(piece, [None] * len(cuts), len(cuts))
    return [Portion(of, i, piece.rows[a:b], batches, int(piece.row_id[a])) for i, (a, b, batches) in enumerate(cuts)]


class Portions:
    """The tasks of a scoring, see `lens.cluster.pool.Tasks`."""

    def __init__(self, portions: Iterator[Portion], start: int | None, first: int):
        self.portions, self.start, self.first = portions, start, first
        self.of: dict[int, Portion] = {}

    def next(self, worker: int) -> pool.Task | None:
        """The next portion, for whichever worker."""
        portion = next(self.portions, None)
        if portion is None:
            return None
        args = (portion.rows, portion.batches, self.start, self.first)
        task = pool.Task("score", args, f"it scored the rows from {portion.row_id} on")
        self.of[id(task)] = portion
        return task

    def gone(self, worker: int) -> None:
        """A worker knows nothing but the model."""


class Pool(pool.Pool):
    """Actors that score pieces; one that dies is replaced and what it held is given out again.

    Args:
        store: the store that the driver writes whole pieces to, or None: for the messages.
    """

    def __init__(
        self, source: Any, moments: bool, start: int | None, first: int, workers: int, threads: int, store: Any = None
    ):
        def arguments(ray: Any) -> tuple[Any, ...]:
            model = (source.name, None) if source.named else (None, ray.put(source.model))
            return (*model, source.facts["hash"], source.dtype, source.device, moments, threads)

        self.start, self.first = start, first
        super().__init__(
            Worker,
            arguments,
            workers,
            threads,
            1 if source.kind == "cuda" else 0,
            kept=None if store is None else f"store={str(store)!r}",
            lower="Lower batch_tokens or workers",
            error=ScoringError,
        )

    def score(
        self, pieces: Iterable[Any], stop: Callable[[], bool] | None, tokens: int | None = None
    ) -> Iterator[tuple[Any, list | None]]:
        """Every piece with its values, once, as they become whole; `(None, None)` at the end where it was stopped.

        Args:
            tokens: how many are to be scored at least; where they are few, they are dealt out in small portions.
        """
        size = PORTION_TOKENS if tokens is None else min(PORTION_TOKENS, tokens // (SHARES * len(self.seats)))
        tasks = Portions(
            (portion for piece in pieces for portion in portions_of(piece, size, self.first)), self.start, self.first
        )
        for task, values, _ in self.run(tasks, stop):
            if task is None:
                yield None, None
                return
            portion = tasks.of.pop(id(task))
            whole = portion.of
            whole.values[portion.number], whole.left = values, whole.left - 1
            if not whole.left:
                yield whole.piece, [row for part in whole.values if part is not None for row in part]
