"""Ray actors that take one task after the other; one that dies is replaced, and what it held is given out again.

Tasks go only to actors that have answered, so that a cluster in which some never start does not hang. A death is
counted for the task that was in work: after a few it is held to be the cause, and the error says which task it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch

from lens.engine.interrupts import critical, deliver, due, hold, interruptible, release
from lens.engine.stopping import says_stop

from .connection import Cluster, first_line
from .errors import ClusterError

#: Deaths of a worker under the same task after which that is held to be the cause; and of one that starts.
DEATHS = 3
#: Tasks that each actor holds: one in work, one waiting.
AHEAD = 2
#: Seconds between two looks at `stop`, and between two at the cluster.
LOOK, CHECK = 0.5, 3.0
#: Seconds in which at least one worker must have started. Its imports are a few seconds' work of an idle processor.
START = 600.0


@dataclass(eq=False)
class Task:
    """A call of an actor's method. `what` it is, for messages: "it scored the rows from 7 on"; `number`: whoever gives
    it out may call it by one.
    """

    method: str
    args: tuple[Any, ...]
    what: str
    deaths: int = 0
    number: int = 0


@dataclass(eq=False)
class Seat:
    """One actor's place, and who is in it. `begun`: when it was made; `out`: its tasks, the oldest first."""

    options: dict[str, Any]
    number: int = 0
    actor: Any = None
    begun: float = 0.0
    started: bool = False
    failed: int = 0
    out: deque[Task] = field(default_factory=deque)


class Tasks(Protocol):
    """What there is to do, as a pool asks for it."""

    def next(self, worker: int) -> Task | None:
        """The next task for a worker, or None: nothing now; asked again whenever a task has ended."""
        ...

    def gone(self, worker: int) -> None:
        """A worker died: what it knew is lost, another takes its number. What it held comes back by itself."""
        ...


class Process:
    """What any actor answers."""

    def __init__(self, threads: int):
        torch.set_num_threads(threads)

    def process(self) -> int:
        """The id of the worker's process."""
        return os.getpid()

    def devices(self) -> str:
        """The GPUs that Ray gave it, as CUDA names them."""
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def do(self, content: bytes) -> Any:
        """A job of its own, as `transfer.packed_job` packed it."""
        from .transfer import unpacked_job

        return unpacked_job(content)()


class Pool:
    """`workers` actors of a class on Ray; used in a with block.

    Starts a local Ray of `workers` processors where none is running, and ends that one again.

    Args:
        actor: their class, a `Process`. arguments: of its making.
        threads, gpus: of each. kept: where results are kept, in words, or None: for messages.
        error: what is raised.
    """

    def __init__(
        self,
        actor: type,
        arguments: Callable[[Any], tuple[Any, ...]],
        workers: int,
        threads: int,
        gpus: float = 0,
        *,
        kept: str | None = None,
        lower: str = "Lower workers",
        error: type[Exception] = ClusterError,
    ):
        self.actor, self.arguments, self.kept, self.lower, self.error = actor, arguments, kept, lower, error
        self.cluster = Cluster(workers, threads, gpus, error)
        self.ray = self.cluster.ray
        self.seats: list[Seat] = []
        self.given: tuple[Any, ...] = ()
        self.lost = False

    @critical
    def __enter__(self) -> Self:
        self.signals = hold()
        try:
            self.cluster.open()  # Ctrl-C waits: half of a Ray cannot be ended
            self.seats = [Seat(options, number) for number, options in enumerate(self.cluster.place())]
            self.given = self.arguments(self.ray)
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
        seat.actor = self.ray.remote(**seat.options)(self.actor).remote(*self.given)
        seat.begun, seat.started = time.monotonic(), False
        return seat.actor.process.remote()

    def forget(self) -> None:
        """Ends all actors; the next `run` makes new ones, with arguments asked for anew."""
        for seat in self.seats:
            self._end(seat)
            seat.started = False
        self.given = self.arguments(self.ray)

    @interruptible
    def each(self, method: str, *args: Any) -> list[Any]:
        """What every actor answers, in the order of their numbers; made where they are not there. For looking at."""
        for seat in self.seats:
            if seat.actor is None:
                self._seat(seat)
        return list(self.ray.get([getattr(s.actor, method).remote(*args) for s in self.seats], timeout=START))

    @interruptible
    def run(self, tasks: Tasks, stop: Callable[[], bool] | None) -> Iterator[tuple[Task | None, Any, int]]:
        """Every task with what it gave and the worker's number, once, as they end; `(None, None, -1)` at the end where
        it was stopped. Actors that are there from an earlier run go on.
        """
        ray, exceptions = self.ray, self.ray.exceptions
        deaths = (
            exceptions.RayActorError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
            exceptions.GetTimeoutError,
        )
        again: deque[Task] = deque()
        jobs: dict[Any, tuple[Seat, Task | None]] = {}
        for seat in self.seats:
            seat.out.clear()  # of a run that was stopped; what it gives is nobody's any more
            if seat.actor is None:
                jobs[self._seat(seat)] = seat, None
            else:
                jobs[seat.actor.process.remote()] = seat, None
                seat.started = True
        checked = time.monotonic()
        while True:
            self._give(tasks, again, jobs)
            if not again and all(task is None for _, task in jobs.values()) and any(s.started for s in self.seats):
                return  # nothing is out, nothing is left
            ready, _ = ray.wait(list(jobs), num_returns=1, timeout=LOOK)
            if says_stop(stop):
                yield None, None, -1
                return
            if not ready or time.monotonic() > checked + CHECK:
                checked = self._check(checked)
            for job in ready:
                if job not in jobs:
                    continue  # of an actor that was seen dead by another job
                seat, task = jobs.pop(job)
                try:
                    value = ray.get(job, timeout=START)
                except deaths as error:
                    for gone in [j for j, (s, _) in jobs.items() if s is seat]:
                        del jobs[gone]
                    self._died(seat, error)
                    again.extend(seat.out)
                    seat.out.clear()
                    tasks.gone(seat.number)
                    jobs[self._seat(seat)] = seat, None
                except exceptions.RayTaskError as error:
                    raise (error.cause if isinstance(getattr(error, "cause", None), Exception) else error) from error
                except exceptions.RayError as error:
                    raise self.over(f"Ray broke off ({type(error).__name__}: {first_line(error)})") from error
                else:
                    if task is None:
                        seat.started, seat.failed = True, 0
                        continue
                    seat.out.remove(task)
                    yield task, value, seat.number

    def _give(self, tasks: Tasks, again: deque[Task], jobs: dict[Any, tuple[Seat, Task | None]]) -> None:
        """Tasks for whoever has started and has room; what a dead one held goes first."""
        idle: set[int] = set()
        while free := [s for s in self.seats if s.started and len(s.out) < AHEAD and s.number not in idle]:
            seat = min(free, key=lambda s: len(s.out))
            task = again.popleft() if again else tasks.next(seat.number)
            if task is None:
                idle.add(seat.number)
                continue
            jobs[getattr(seat.actor, task.method).remote(*task.args)] = seat, task
            seat.out.append(task)

    def _died(self, seat: Seat, error: Exception) -> None:
        """Books a death. Raises the pool's error: the cluster is gone, or it was one too many."""
        if (what := self.cluster.lost()) is not None:
            self.lost = True
            raise self.over(f"the Ray cluster is gone: {what}") from error
        if not seat.started:
            seat.failed += 1
            if seat.failed >= DEATHS:
                raise self.over(
                    f"a worker could not be started in {DEATHS} tries ({first_line(error)}); is the same "
                    "version of the package on all nodes, and memory enough?"
                ) from error
        elif seat.out:
            # an actor takes its tasks in order: the oldest is the one in work
            working = seat.out[0]
            working.deaths += 1
            if working.deaths >= DEATHS:
                raise self.over(
                    f"the worker died {DEATHS} times while {working.what} "
                    f"({first_line(error)}); is its memory enough? {self.lower}"
                ) from error

    def _check(self, checked: float) -> float:
        """Looks at the cluster when it is time; returns when that was last."""
        now = time.monotonic()
        if now < checked + CHECK:
            return checked
        if (what := self.cluster.lost()) is not None:
            self.lost = True
            raise self.over(f"the Ray cluster is gone: {what}")
        if not any(s.started for s in self.seats) and now > max(s.begun for s in self.seats) + START:
            raise self.over(
                f"no worker has started within {START:g} s; Ray's logs (/tmp/ray/session_latest/logs) may tell why"
            )
        return now

    def over(self, what: str) -> Exception:
        """The error that ends a run: what happened, what is kept, and the next step."""
        onward = (
            "Nothing is kept without store=; give one, so that a next call goes on where this one ended"
            if self.kept is None
            else f"The parts that were done are in {self.kept}, and the same call goes on from them"
        )
        return self.error(f"workers={len(self.seats)}: {what}. {onward} (or backend='local' does, without Ray).")
