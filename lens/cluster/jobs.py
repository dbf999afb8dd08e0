"""Independent jobs, dealt out to workers one after the other: seeds that are trained, steps of a study, draws of a
calibration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from .pool import Task

_Given = TypeVar("_Given")


class JobTasks:
    """The tasks of some jobs, see `pool.Tasks`. `contents`: each as bytes; `whats`: each in words."""

    def __init__(self, whats: Sequence[str], contents: Sequence[bytes]):
        self.waiting = deque(
            Task("do", (content,), what, number=number) for number, (what, content) in enumerate(zip(whats, contents))
        )

    def next(self, worker: int) -> Task | None:
        """The next job, for whichever worker."""
        return self.waiting.popleft() if self.waiting else None

    def gone(self, worker: int) -> None:
        """A worker knows nothing that another would miss."""


def run_jobs(
    jobs: Sequence[tuple[str, Callable[[], _Given]]],
    backend: Any = "local",
    workers: int = 2,
    *,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, _Given]]:
    """What independent jobs give, each with its number, as they end: here in their order, on Ray in any.

    Args:
        jobs: what each is, in words ("it trained seed 3"), and a function without arguments.
        backend, workers: as `lens.patch`. A job on Ray has one thread, or as many as its `Ray` says.

    Raises ClusterError: a job that cannot be sent, or of which workers die. Whatever a job raises is raised here.
    """
    from .ray import backend_of

    where: Any = backend_of(backend, workers)
    if where is None:
        yield from ((number, job()) for number, (_, job) in enumerate(jobs))
    else:
        yield from where.jobs(jobs, stop)
