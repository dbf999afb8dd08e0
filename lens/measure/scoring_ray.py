"""Scoring over Ray actors: the same pieces, the same code, one thread an actor unless told otherwise; the driver keeps the books and writes the store."""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from lens.measure.likelihood import Likelihood, ScoringError

#: Deaths of a worker under the same piece after which the piece is held to be the cause.
DEATHS = 3
#: Pieces that each actor holds: one in work, one waiting.
AHEAD = 2
#: Seconds between two looks at `stop`.
LOOK = 0.5


def engine() -> Any:
    """The package ray; ScoringError where it is absent."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ScoringError("backend='ray' needs the package ray: pip install 'mnemoscope[ray]'; or use backend='local'.") from error


class Worker:
    """What an actor holds: the model, loaded by name or received from the driver, and checked against the driver's weight hash."""

    def __init__(self, name: str | None, model: Any, expected: str, dtype: Any, device: str | None, moments: bool, threads: int):
        from lens import models
        from lens.measure.likelihood import cast, plain

        torch.set_num_threads(threads)
        if name is not None:
            loaded = models.load(name, device=device or "auto")
            if (found := models.weight_hash(loaded)) != expected:
                raise ScoringError(f"model {name!r} has other weights on the worker's machine (hash {found[:12]}, expected {expected[:12]}); pass the model itself.")
            model = cast(plain(loaded), dtype, None)
        self.likelihood = Likelihood(model, moments)

    def score(self, rows: list, batches: list[int], start: int | None, first: int) -> list:
        from lens.measure.scoring import score_piece

        return score_piece(self.likelihood, rows, batches, start, first)

    def process(self) -> int:
        return os.getpid()


class Pool:
    """Actors that score pieces; one that dies is replaced and its pieces are given out again.

    Starts a local Ray of `workers` processors where none is running, and ends that one again.
    """

    def __init__(self, source: Any, moments: bool, start: int | None, first: int, workers: int, threads: int):
        self.source, self.moments, self.start, self.first, self.workers, self.threads = source, moments, start, first, workers, threads
        self.actors: list[Any] = []

    def __enter__(self) -> "Pool":
        self.ray = ray = engine()
        self.owned = not ray.is_initialized()
        if self.owned:
            local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": self.workers * self.threads, "include_dashboard": False}
            ray.init(log_to_driver=False, logging_level="error", **local)
        source = self.source
        given = (source.name, None) if source.named else (None, ray.put(source.model))
        gpus = 1 if source.kind == "cuda" else 0
        actor = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_restarts=0)(Worker)
        self.make = lambda: actor.remote(*given, source.facts["hash"], source.dtype, source.device, self.moments, self.threads)
        self.actors = [self.make() for _ in range(self.workers)]
        return self

    def __exit__(self, *_: Any) -> None:
        for actor in self.actors:
            self.ray.kill(actor)
        if self.owned:
            self.ray.shutdown()

    def run(self, pieces: Iterable[Any], stop: Callable[[], bool] | None) -> Iterator[tuple[Any, list | None]]:
        """Every piece with its values, once, as they come; `(None, None)` at the end where it was stopped."""
        ray, again = self.ray, deque()
        more, jobs, deaths = iter(pieces), {}, {}
        load = [0] * len(self.actors)
        while True:
            while (slot := min(range(len(load)), key=load.__getitem__)) is not None and load[slot] < AHEAD:
                piece = again.popleft() if again else next(more, None)
                if piece is None:
                    break
                job = self.actors[slot].score.remote(piece.rows, piece.batches, self.start, self.first)
                jobs[job] = (piece, slot, self.actors[slot])
                load[slot] += 1
            if not jobs:
                return
            ready, _ = ray.wait(list(jobs), num_returns=1, timeout=LOOK)
            if stop is not None and stop():
                for job in jobs:
                    ray.cancel(job, force=False)
                yield None, None
                return
            for job in ready:
                piece, slot, actor = jobs[job]
                # an actor takes its pieces in order: the oldest is the one in work
                working = next(p for p, _, a in jobs.values() if a is actor)
                del jobs[job]
                load[slot] -= 1
                try:
                    values = ray.get(job)
                except ray.exceptions.RayActorError as error:
                    again.append(piece)
                    if self.actors[slot] is actor:
                        key = int(working.index[0])
                        deaths[key] = deaths.get(key, 0) + 1
                        if deaths[key] >= DEATHS:
                            raise ScoringError(f"the worker died {DEATHS} times while it scored the rows from {working.row_id[0]} on ({error}); is its memory enough? "
                                               "Lower batch_tokens or workers.") from error
                        self.actors[slot] = self.make()
                    continue
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause if isinstance(getattr(error, "cause", None), Exception) else error) from error
                yield piece, values
