"""One thread for a widget's computations, so that the kernel keeps answering clicks and the stop button."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable


class Worker:
    """Runs tasks one at a time: quick ones (explain a cell) go before, and in the pauses of, long ones (a sweep).

    Everything that touches the model runs in this one thread, so a quick task never meets a sweep inside the model. The
    thread lives only while there is something to do. A task handles what the person's own functions raise, whatever
    that is (a cancelled task and SystemExit are no Exception); what comes through nevertheless goes to `failed`, and
    the next task begins.
    """

    def __init__(self, name: str, failed: Callable[[BaseException], None] | None = None) -> None:
        self._name, self._failed = name, failed
        self._lock = threading.Lock()
        self._quick: dict[str, Callable[[], None]] = {}
        self._long: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()

    def quick(self, key: str, task: Callable[[], None]) -> None:
        """Queue a short task; a waiting one with the same key is dropped, since only the latest answer is wanted."""
        with self._lock:
            self._quick.pop(key, None)
            self._quick[key] = task
            self._start()

    def long(self, task: Callable[[], None]) -> None:
        """Queue a long task; those that still wait are run first."""
        with self._lock:
            self._long.append(task)
            self._start()

    def pause(self) -> None:
        """Called from inside a long task between two of its steps: runs the quick tasks that wait."""
        while (task := self._next(quick_only=True)) is not None:
            self._do(task)

    def mine(self) -> bool:
        """Whether the calling thread is the one that runs the tasks."""
        return threading.current_thread() is self._thread

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; False when `timeout` seconds passed first."""
        return self._idle.wait(timeout)

    def _start(self) -> None:
        self._idle.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def _next(self, quick_only: bool = False) -> Callable[[], None] | None:
        with self._lock:
            if self._quick:
                return self._quick.pop(next(iter(self._quick)))
            if self._long and not quick_only:
                return self._long.pop(0)
            if not quick_only:
                self._thread = None
                self._idle.set()
            return None

    def _work(self) -> None:
        while (task := self._next()) is not None:
            self._do(task)

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
            )
            if self._failed is not None:
                with contextlib.suppress(Exception):
                    self._failed(error)
