"""Scoring over Ray actors: the same batches, the same code, one thread an actor unless told otherwise; the driver keeps
the books and writes the store.

A piece is one part of the store, which is too much to deal out where there are few: actors get portions of its batches,
and the driver puts the piece together. So all are at work until the last portion, and no batch differs from a local
scoring's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from lens.engine.interrupts import critical, deliver, due, hold, interruptible, release
from lens.engine.stopping import says_stop
from lens.scoring.causal import ScoringError
from lens.scoring.likelihood import Likelihood, score_piece
from lens.scoring.ray_cluster import Cluster, first_line

#: Deaths of a worker under the same portion after which that is held to be the cause; and of one that starts.
DEATHS = 3
#: Portions that each actor holds: one in work, one waiting.
AHEAD = 2
#: Scored tokens of a portion: at most so many, and fewer where each worker would get less than `SHARES` portions.
PORTION_TOKENS, SHARES = 1 << 13, 8
#: Seconds between two looks at `stop`, and between two at the cluster.
LOOK, CHECK = 0.5, 3.0
#: Seconds in which at least one worker must have started. Its imports are a few seconds' work of an idle processor.
START = 600.0


class Worker:
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
            loaded = settle(models.load(self.name, device=self.device or "auto"))
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

    def process(self) -> int:
        """The id of the worker's process."""
        return os.getpid()


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
    deaths: int = 0


@dataclass(eq=False)
class Seat:
    """One actor's place, and who is in it. `begun`: when it was made; `out`: its portions, the oldest first."""

    options: dict[str, Any]
    actor: Any = None
    begun: float = 0.0
    started: bool = False
    failed: int = 0
    out: deque = field(default_factory=deque)


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


class Pool:
    """Actors that score pieces; one that dies is replaced and what it held is given out again.

    Starts a local Ray of `workers` processors where none is running, and ends that one again.

    Args:
        store: the store that the driver writes whole pieces to, or None: for the messages.
    """

    def __init__(
        self, source: Any, moments: bool, start: int | None, first: int, workers: int, threads: int, store: Any = None
    ):
        self.source, self.moments, self.start, self.first = source, moments, start, first
        self.threads, self.store = threads, store
        self.cluster = Cluster(workers, threads, 1 if source.kind == "cuda" else 0)
        self.ray = self.cluster.ray
        self.seats: list[Seat] = []
        self.lost = False

    @critical
    def __enter__(self) -> "Pool":
        self.signals = hold()
        try:
            self.cluster.open()  # Ctrl-C waits: half of a Ray cannot be ended
            self.seats = [Seat(options) for options in self.cluster.place()]
            source = self.source
            model = (source.name, None) if source.named else (None, self.ray.put(source.model))
            self.arguments = (*model, source.facts["hash"], source.dtype, source.device, self.moments, self.threads)
            if due():
                deliver()
        except BaseException:
            self._close()
            release(self.signals)
            raise
        return self

    @critical
    def __exit__(self, *_: Any) -> None:
        try:
            self._close()
        finally:
            release(self.signals)

    def _close(self) -> None:
        for seat in self.seats:
            self._end(seat)
        self.cluster.close(self.lost)

    def _end(self, seat: Seat) -> None:
        actor, seat.actor = seat.actor, None
        if actor is not None and not self.lost:
            with contextlib.suppress(Exception):
                self.ray.kill(actor)

    def _seat(self, seat: Seat) -> Any:
        """A new actor in a place; returns what it answers with once it has started."""
        self._end(seat)  # one that only cannot be reached would keep the place
        seat.actor = self.ray.remote(**seat.options)(Worker).remote(*self.arguments)
        seat.begun, seat.started = time.monotonic(), False
        return seat.actor.process.remote()

    @interruptible
    def run(
        self, pieces: Iterable[Any], stop: Callable[[], bool] | None, tokens: int | None = None
    ) -> Iterator[tuple[Any, list | None]]:
        """Every piece with its values, once, as they become whole; `(None, None)` at the end where it was stopped.

        Args:
            tokens: how many are to be scored at least; where they are few, they are dealt out in small portions.
        """
        ray, exceptions = self.ray, self.ray.exceptions
        deaths = (
            exceptions.RayActorError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
            exceptions.GetTimeoutError,
        )
        size = PORTION_TOKENS if tokens is None else min(PORTION_TOKENS, tokens // (SHARES * len(self.seats)))
        more = (portion for piece in pieces for portion in portions_of(piece, size, self.first))
        again: deque[Portion] = deque()
        jobs: dict[Any, tuple[Seat, Portion | None]] = {self._seat(seat): (seat, None) for seat in self.seats}
        checked = time.monotonic()
        while True:
            while free := [s for s in self.seats if s.started and len(s.out) < AHEAD]:
                portion = again.popleft() if again else next(more, None)
                if portion is None:
                    break
                seat = min(free, key=lambda s: len(s.out))
                jobs[seat.actor.score.remote(portion.rows, portion.batches, self.start, self.first)] = seat, portion
                seat.out.append(portion)
            if (
                not again
                and all(portion is None for _, portion in jobs.values())
                and any(s.started for s in self.seats)
            ):
                return  # nothing is out, nothing is left
            ready, _ = ray.wait(list(jobs), num_returns=1, timeout=LOOK)
            if says_stop(stop):
                yield None, None
                return
            if not ready or time.monotonic() > checked + CHECK:
                checked = self._check(checked)
            for job in ready:
                if job not in jobs:
                    continue  # of an actor that was seen dead by another job
                seat, portion = jobs.pop(job)
                try:
                    values = ray.get(job, timeout=START)
                except deaths as error:
                    for gone in [j for j, (s, _) in jobs.items() if s is seat]:
                        del jobs[gone]
                    self._died(seat, portion, error)
                    again.extend(seat.out)
                    seat.out.clear()
                    jobs[self._seat(seat)] = seat, None
                except exceptions.RayTaskError as error:
                    raise (error.cause if isinstance(getattr(error, "cause", None), Exception) else error) from error
                except exceptions.RayError as error:
                    raise self._over(f"Ray broke off ({type(error).__name__}: {first_line(error)})") from error
                else:
                    if portion is None:
                        seat.started, seat.failed = True, 0
                        continue
                    seat.out.remove(portion)
                    whole = portion.of
                    whole.values[portion.number], whole.left = values, whole.left - 1
                    if not whole.left:
                        yield whole.piece, [row for part in whole.values if part is not None for row in part]

    def _died(self, seat: Seat, portion: Portion | None, error: Exception) -> None:
        """Books a death. Raises ScoringError: the cluster is gone, or it was one too many."""
        if (what := self.cluster.lost()) is not None:
            self.lost = True
            raise self._over(f"the Ray cluster is gone: {what}") from error
        if not seat.started:
            seat.failed += 1
            if seat.failed >= DEATHS:
                raise self._over(
                    f"a worker could not be started in {DEATHS} tries ({first_line(error)}); is the same "
                    "version of the package on all nodes, and memory enough?"
                ) from error
        elif seat.out:
            # an actor takes its portions in order: the oldest is the one in work
            working = seat.out[0]
            working.deaths += 1
            if working.deaths >= DEATHS:
                raise self._over(
                    f"the worker died {DEATHS} times while it scored the rows from {working.row_id} on "
                    f"({first_line(error)}); is its memory enough? Lower batch_tokens or workers"
                ) from error

    def _check(self, checked: float) -> float:
        """Looks at the cluster when it is time; returns when that was last."""
        now = time.monotonic()
        if now < checked + CHECK:
            return checked
        if (what := self.cluster.lost()) is not None:
            self.lost = True
            raise self._over(f"the Ray cluster is gone: {what}")
        if not any(s.started for s in self.seats) and now > max(s.begun for s in self.seats) + START:
            raise self._over(
                f"no worker has started within {START:g} s; Ray's logs (/tmp/ray/session_latest/logs) may tell why"
            )
        return now

    def _over(self, what: str) -> ScoringError:
        onward = (
            "Nothing is kept without store=; give one, so that a next call goes on where this one ended"
            if self.store is None
            else f"The parts that were done are in store={str(self.store)!r}, and the same call goes on from them"
        )
        return ScoringError(f"workers={len(self.seats)}: {what}. {onward} (or backend='local' does, without Ray).")
