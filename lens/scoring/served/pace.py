"""When the next request may go out: so many a second, and none while the server asks to wait."""

from __future__ import annotations

import random
import threading
import time

#: Seconds before the second try, and the longest between two tries where the server names none.
FIRST, LONGEST = 0.5, 30.0


class Clock:
    """Seconds, and waiting for them."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, seconds: float, halt: threading.Event) -> None:
        """Returns after so many seconds, or at once when `halt` is set."""
        halt.wait(seconds)


class Pace:
    """The requests of all threads to one server, one after the other.

    Args: rate: how many a second, tries again among them; None: as many as come.
    """

    def __init__(self, rate: float | None, clock: Clock | None = None):
        self.gap, self.clock = 0.0 if rate is None else 1.0 / rate, clock or Clock()
        self._free, self._lock = 0.0, threading.Lock()

    def turn(self, halt: threading.Event) -> None:
        """Waits until the caller's request may go out."""
        with self._lock:
            now = self.clock.now()
            at = max(now, self._free)
            self._free = at + self.gap
        if at > now:
            self.clock.wait(at - now, halt)

    def pause(self, seconds: float) -> None:
        """No request of any thread goes out for so many seconds from now."""
        with self._lock:
            self._free = max(self._free, self.clock.now() + seconds)

    def again(self, tries: int, halt: threading.Event) -> None:
        """Waits before a request is tried again: twice as long each time, and less by up to a quarter, so that threads
        that failed together do not come back together.
        """
        self.clock.wait(min(LONGEST, FIRST * 2 ** (tries - 1)) * (1 - 0.25 * random.random()), halt)
