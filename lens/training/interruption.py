"""Ctrl-C while a training is under way: it waits for the end of the step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from ..engine.interrupts import own_handler, replace


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Put Ctrl-C off to the end of the step under way; yields whether it was pressed. A second press ends at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread() or own_handler() is not signal.default_int_handler:
        yield pressed.is_set
        return

    def put_off(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = replace(put_off)
    try:
        yield pressed.is_set
    finally:
        replace(before)
