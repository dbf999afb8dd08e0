"""Which part of a sweep goes to which worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.sweep_parts import Computed, Plan, Span
from .pool import Task


@dataclass(eq=False)
class _Batch:
    """A batch in work: what is known of it, its pieces that nobody has yet, and how many of each span are not back."""

    prompts: list[int]
    todo: list[Span]
    known: tuple[list[int], np.ndarray, np.ndarray, list[Any] | None] | None = None
    pieces: deque[tuple[Span, int]] = field(default_factory=deque)
    left: dict[Span, int] = field(default_factory=dict)


class SweepTasks:
    """The tasks of one sweep, see `pool.Tasks`.

    A worker stays with the batch whose unedited runs it has made, then begins another; where there is none left it
    helps with the one that has most to do, for which it makes the unedited runs too.

    Args: key: the sweep's, by which a worker knows it. content: a list with a reference to it as bytes.
    """

    def __init__(self, plan: Plan, key: str, content: list[Any]):
        self.plan, self.key, self.content = plan, key, content
        self.waiting = deque(plan.batches)
        self.open: list[_Batch] = []
        self.at: dict[int, _Batch] = {}
        self.beginning: set[int] = set()
        self.of: dict[int, tuple[_Batch, Span, int] | _Batch] = {}

    def next(self, worker: int) -> Task | None:
        """See `pool.Tasks.next`."""
        if worker in self.beginning:
            return None  # its next tasks are of that batch
        own = self.at.get(worker)
        if own is None or not own.pieces:
            if (begun := self._begin(worker)) is not None:
                return begun
            own = max(self.open, key=lambda b: len(b.pieces), default=None)
            if own is None or not own.pieces:
                return None
            self.at[worker] = own
        span, number = own.pieces.popleft()
        args = (self.key, self.content, own.prompts, self.plan.memory_mb, span, number)
        task = Task("compute", args, f"it computed layers {span[0]} to {span[1] - 1} of {_prompts(own.prompts)}")
        self.of[id(task)] = own, span, number
        return task

    def _begin(self, worker: int) -> Task | None:
        while self.waiting:
            prompts = self.waiting.popleft()
            todo = self.plan.todo(prompts)
            if not todo:
                continue
            batch = _Batch(prompts, todo)
            may_fail = self.plan.halves(prompts) is not None
            args = (self.key, self.content, prompts, self.plan.memory_mb, todo, may_fail)
            task = Task("begin", args, f"it made the unedited runs of {_prompts(prompts)}")
            self.of[id(task)] = self.at[worker] = batch
            self.beginning.add(worker)
            return task
        return None

    def gone(self, worker: int) -> None:
        """See `pool.Tasks.gone`."""
        self.at.pop(worker, None)
        self.beginning.discard(worker)

    def ended(self, task: Task, value: Any, worker: int) -> Iterator[Computed]:
        """What a task gave, for the sweep."""
        of = self.of.pop(id(task))
        if isinstance(of, _Batch):
            self.beginning.discard(worker)
            if value is None:  # no room for the unedited runs of all its prompts: half of them at a time
                halves = self.plan.halves(of.prompts)
                self.waiting.extendleft(reversed(halves or ()))
                return
            base, source, beside, counts = value
            of.known = (of.prompts, base, source, beside)
            of.left = dict(zip(of.todo, counts))
            of.pieces.extend((span, number) for span, count in of.left.items() for number in range(count))
            self.at[worker] = of
            self.open.append(of)
            yield Computed(*of.known, parts=len(of.todo))
            for span, count in of.left.items():
                if not count:
                    yield Computed(*of.known, span, last=True)
            return
        batch, span, _ = of
        assert batch.known is not None  # its pieces are given out when they are
        batch.left[span] -= 1
        cells, values = value
        yield Computed(*batch.known, span, cells, values, last=not batch.left[span])
        if not any(batch.left.values()):
            self.open.remove(batch)


def _prompts(numbers: list[int]) -> str:
    return f"prompt {numbers[0]}" if len(numbers) == 1 else f"the prompts {numbers[0]} to {numbers[-1]}"
