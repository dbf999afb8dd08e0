"""Many batches of rows asked of one server at a time, and what was answered handed on however it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from ...engine.stopping import says_stop
from .client import Halted
from .errors import ServedError
from .model import Served

#: Tokens that are handed on, and written, together: what a process that is killed in the middle loses.
PART_TOKENS = 1 << 13
#: Seconds between two looks at `stop`.
LOOK = 0.5

_Tag = TypeVar("_Tag")
Rows = Sequence[Sequence[int]]


@dataclass
class Part(Generic[_Tag]):
    """Batches that were answered, by the tags under which they were given, and each row's log-probabilities."""

    answers: list[tuple[_Tag, list[np.ndarray]]] = field(default_factory=list)
    tokens: int = 0

    def add(self, tag: _Tag, logprobs: list[np.ndarray]) -> None:
        """One more batch."""
        self.answers.append((tag, logprobs))
        self.tokens += sum(map(len, logprobs))


class Asking(Generic[_Tag]):
    """One run of requests. `stopped`: it ended because `stop` said so.

    Args:
        stop: asked twice a second. kept: where answers are kept, in words, for the error; None: nowhere.
    """

    def __init__(self, served: Served, stop: Callable[[], bool] | None, kept: str | None):
        self.served, self.stop, self.kept, self.stopped = served, stop, kept, False
        self.rows = 0
        self._halt = threading.Event()
        self._working: dict[Future[list[np.ndarray]], _Tag] = {}
        self._part: Part[_Tag] = Part()

    def parts(self, batches: Iterable[tuple[_Tag, Rows]]) -> Iterator[Part[_Tag]]:
        """The batches as they are answered, some thousand tokens at a time.

        Where a request fails no other is begun; what was answered by then comes first, then the error.

        Raises: ServedError: the first failure, with how many rows are kept.
        """
        waiting, fault = iter(batches), None
        threads = ThreadPoolExecutor(self.served.concurrency, "served")
        try:
            while fault is None and not self.stopped and self._filled(threads, waiting):
                fault = self._collected(wait(self._working, LOOK, FIRST_COMPLETED).done)
                self.stopped = fault is None and says_stop(self.stop)
                if self._part.tokens >= PART_TOKENS:
                    yield self._taken()
            self._halt.set()
            threads.shutdown(cancel_futures=True)  # those on their way are waited for
        except KeyboardInterrupt as interrupt:
            fault = interrupt
        finally:
            self._halt.set()
            threads.shutdown(wait=False, cancel_futures=True)
        later = self._collected([one for one in self._working if one.done() and not one.cancelled()])
        if self._part.answers:
            yield self._taken()
        if (fault := fault or later) is not None:
            raise self._told(fault) from fault.__cause__

    def _filled(self, threads: ThreadPoolExecutor, waiting: Iterator[tuple[_Tag, Rows]]) -> bool:
        """Whether requests are on their way, as many as may be at a time."""
        while len(self._working) < self.served.concurrency and (batch := next(waiting, None)) is not None:
            tag, rows = batch
            self._working[threads.submit(self.served.logprobs, rows, self._halt)] = tag
        return bool(self._working)

    def _collected(self, done: Iterable[Future[list[np.ndarray]]]) -> BaseException | None:
        """Puts what was answered into the part; the first error where one failed."""
        fault: BaseException | None = None
        for future in done:
            tag, error = self._working.pop(future), future.exception()
            if error is None:
                self._part.add(tag, future.result())
            elif not isinstance(error, Halted):
                fault = fault or error
        return fault

    def _taken(self) -> Part[_Tag]:
        part, self._part = self._part, Part()
        self.rows += sum(len(logprobs) for _, logprobs in part.answers)
        return part

    def _told(self, fault: BaseException) -> BaseException:
        """The error of a server with what is kept and how to go on; any other as it is."""
        if not isinstance(fault, ServedError):
            return fault
        onward = (
            "Nothing is kept without store=; give one, so that a next call goes on where this one ended."
            if self.kept is None
            else f"{self.rows} rows that were answered are in {self.kept}, and the same call goes on from them."
        )
        return ServedError(f"{str(fault).rstrip('.')}. {onward}")
