"""One call of scoring: rows are planned into pieces, scored here or on Ray, and collected."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lens.scoring.likelihood import Likelihood, ScoringError, score_piece
from lens.scoring.scores import Scores, counts_of
from lens.scoring.store import Part, Store, row_key

from .served.asking import Asking
from .served.source import REQUEST_ROWS, ServedSource
from .source import Source

#: Rows that are sorted by length together.
BLOCK = 1 << 14
#: Scored tokens of a part, the unit that is written, resumed and distributed.
PART_TOKENS = 1 << 16


@dataclass(frozen=True)
class Piece:
    """Rows that are scored together and written as one part; `batches` are sizes that add up to their number."""

    index: np.ndarray
    row_id: np.ndarray
    key: np.ndarray
    rows: list[np.ndarray]
    batches: list[int]

    def each_batch(self, most: int) -> Iterator[Piece]:
        """A piece of its own for each batch, or for each `most` rows of it."""
        ends = np.cumsum(self.batches).tolist()
        for begin, end in zip([0, *ends], ends):
            for a in range(begin, end, most):
                b = min(a + most, end)
                yield Piece(self.index[a:b], self.row_id[a:b], self.key[a:b], self.rows[a:b], [b - a])

    @classmethod
    def joined(cls, pieces: list[Piece]) -> Piece:
        """One piece of several."""
        index, ids, keys = (
            np.concatenate([getattr(one, name) for one in pieces]) for name in ("index", "row_id", "key")
        )
        rows, batches = (list(itertools.chain(*(getattr(one, name) for one in pieces))) for name in ("rows", "batches"))
        return cls(index, ids, keys, rows, batches)


class Scoring:
    """One call of `score`: plans blocks of rows into pieces, has them scored, and collects the values by row."""

    def __init__(
        self, source: Source | ServedSource, store: Store | None, options: dict, start: int | None, first: int, stop
    ):
        self.source, self.store, self.options, self.start, self.first, self.stop = (
            source,
            store,
            options,
            start,
            first,
            stop,
        )
        self.values: dict[int, tuple[np.ndarray, ...]] = {}
        self.cut = self.cached = 0
        self.status, self.threads = "complete", options["threads"]

    def all(self, rows: Any, ids: np.ndarray, bar: Any) -> None:
        """Scores the rows that the store does not have."""
        planned = (self._plan(rows, ids, begin, bar) for begin in range(0, len(ids), BLOCK))
        block = next(filter(None, planned), None)
        if block is None:
            return
        # blocks follow on each other without a pause, so that no worker waits for the last of one
        pieces = (piece for pieces in itertools.chain([block], planned) for piece in pieces)
        with self._scorer(block, len(ids)) as scorer:
            for piece, values in scorer(pieces):
                if values is None:
                    self.status = "stopped"
                    return
                if self.store is not None:
                    self.store.write(Part(piece.row_id, piece.key, values))
                self.values.update(zip(piece.index.tolist(), values))
                bar.update(len(values))

    def _plan(self, rows: Any, ids: np.ndarray, begin: int, bar: Any) -> list[Piece]:
        """The pieces of one block that the store does not have. Its batches are those of the whole block, less what is
        there already.
        """
        index = np.arange(begin, min(begin + BLOCK, len(ids)))
        tokens = [self._row(rows, int(i)) for i in index]
        sizes = np.array([max(0, len(t) - self.first) for t in tokens])
        for i in index[sizes == 0]:
            self.values[int(i)] = (np.empty(0, np.float32),) * (3 if self.options["moments"] else 1)
        bar.update(int((sizes == 0).sum()))
        keys = (
            np.array([row_key(ids[i], t) for i, t in zip(index, tokens)], np.uint64)
            if self.store is not None
            else np.zeros(len(index), np.uint64)
        )
        there = self.store.fetch(keys[sizes > 0], sizes[sizes > 0]) if self.store is not None else {}
        width = np.array([len(t) for t in tokens])
        order = np.argsort(-width, kind="stable")
        order = order[sizes[order] > 0]
        budget = (self.options["batch_tokens"] or self.source.batch_tokens) if len(order) else 1
        pieces, batches, batch, size = [], [], [], 0
        for at, nxt in zip(order, [*order[1:], None]):
            batch.append(at)
            size += int(sizes[at])
            # the longest row comes first in its batch
            if nxt is None or (len(batch) + 1) * int(width[batch[0]]) > budget:
                batches.append(batch)
                batch = []
                if nxt is None or size >= PART_TOKENS:
                    pieces.append(batches)
                    batches, size = [], 0
        out = []
        for batches in pieces:
            for at in (a for b in batches for a in b):
                if self.store is not None and int(keys[at]) in there:
                    self.values[int(index[at])] = there[int(keys[at])]
                    self.cached += 1
                    bar.update(1)
            left = [b for b in ([a for a in batch if int(index[a]) not in self.values] for batch in batches) if b]
            if left:
                flat = np.array([a for b in left for a in b])
                out.append(
                    Piece(index[flat], ids[index[flat]], keys[flat], [tokens[a] for a in flat], [len(b) for b in left])
                )
        return out

    def _row(self, rows: Any, i: int) -> np.ndarray:
        """The tokens of a row up to the end of its window and of the model's context."""
        row, vocabulary, context = np.asarray(rows[i]), self.source.facts["vocabulary"], self.source.facts["context"]
        if row.size and (
            row.ndim != 1 or row.dtype.kind not in "iu" or int(row.min()) < 0 or int(row.max()) >= vocabulary
        ):
            what = (
                f"{row.dtype} of shape {row.shape}"
                if row.ndim != 1 or row.dtype.kind not in "iu"
                else f"tokens from {row.min()} to {row.max()}"
            )
            raise ScoringError(
                f"rows: row {i} holds {what}; expected token ids from 0 to {vocabulary - 1}. Tokenise it with the"
                " model's own tokenizer."
            )
        if self.options["window"] is not None:
            row = row[: self.options["prefix"] + self.options["window"]]
        # the last token is predicted, never read
        if context is not None and len(row) > (limit := context + 1 - (self.start is not None)):
            row, self.cut = row[:limit], self.cut + 1
        return row.reshape(-1)

    @contextlib.contextmanager
    def _scorer(
        self, block: list[Piece], rows: int
    ) -> Iterator[Callable[[Iterable[Piece]], Iterator[tuple[Piece, list | None]]]]:
        if self.options["backend"] == "ray":
            from lens.scoring.on_ray import Pool

            self.threads = self.options["threads"] or 1
            tokens = sum(len(row) - self.first for piece in block for row in piece.rows)
            folder = None if self.store is None else self.store.folder.parent
            workers = min(self.options["workers"], rows)
            with Pool(
                self.source, self.options["moments"], self.start, self.first, workers, self.threads, folder
            ) as pool:
                yield lambda pieces: pool.score(self._needed(pieces), self.stop, tokens)
            return
        if isinstance(source := self.source, ServedSource):
            yield lambda pieces: self._answered(source, self._needed(pieces))
            return
        before = torch.get_num_threads()
        self.threads = self.options["threads"] or before
        torch.set_num_threads(self.threads)
        try:
            likelihood = Likelihood(source.model, self.options["moments"])
            yield lambda pieces: (
                (p, score_piece(likelihood, p.rows, p.batches, self.start, self.first, self.stop))
                for p in self._needed(pieces)
            )
        finally:
            torch.set_num_threads(before)

    def _answered(self, source: ServedSource, pieces: Iterable[Piece]) -> Iterator[tuple[Any, list | None]]:
        """The rows of the pieces with what a server answers, in pieces of their own, as it comes."""
        source.asked()
        lead = [] if self.start is None else [self.start]
        kept = None if self.store is None else f"store={str(self.store.folder.parent)!r}"
        asking: Asking[Piece] = Asking(source.served, self.stop, kept)
        batches = (batch for piece in pieces for batch in piece.each_batch(REQUEST_ROWS))
        for part in asking.parts((batch, [[*lead, *row.tolist()] for row in batch.rows]) for batch in batches):
            values = [(row[len(lead) + self.first :].astype(np.float32),) for _, rows in part.answers for row in rows]
            yield Piece.joined([batch for batch, _ in part.answers]), values
        if asking.stopped:
            yield None, None

    def _needed(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces that no other process has written by the time that their turn comes."""
        for piece in pieces:
            part = None
            if self.store is not None and self.store.has(name := Part.name(piece.key)):
                part = self.store.read(
                    name, {int(key): len(row) - self.first for key, row in zip(piece.key, piece.rows)}
                )
            if part is None:
                yield piece
            else:
                self.cached += len(piece.index)
                self.values.update(zip(piece.index.tolist(), part.values))

    def scores(self, ids: np.ndarray) -> Scores:
        """The rows scored so far, in the order of their numbers."""
        at = np.array(sorted(self.values), np.int64)
        values = [self.values[i] for i in at.tolist()]
        sizes = np.array([len(v[0]) for v in values], np.int64)

        def column(i):
            return (
                np.concatenate([v[i] for v in values]).astype(np.float32, copy=False)
                if values
                else np.empty(0, np.float32)
            )

        moments = self.options["moments"]
        about = {
            "start": self.start,
            "first": self.first,
            "prefix": self.options["prefix"],
            "window": self.options["window"],
            "status": self.status,
            "cut": self.cut,
            "cached": self.cached,
            "backend": self.options["backend"],
            "threads": self.threads,
            "corrupt": [] if self.store is None else list(self.store.corrupt),
        }
        scores = Scores(
            ids[at],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            column(0),
            column(1) if moments else None,
            column(2) if moments else None,
            self.source.about,
            about,
        )
        about.update(counts_of(scores))
        return scores
