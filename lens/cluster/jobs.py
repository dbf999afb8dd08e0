"""Independent jobs, dealt out to workers one after the other: seeds that are trained, steps of a study, draws of a
calibration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .pool import Task


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
