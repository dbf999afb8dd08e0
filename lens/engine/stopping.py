"""What a `stop` function answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arguments import truth
from ..errors import Error


class StopError(Error, TypeError):
    """A `stop` function that answers neither yes nor no."""


def says_stop(stop: Callable[[], Any] | None) -> bool:
    """Whether work is to end: what `stop` answers; False where there is none.

    Raises: StopError: an answer that is neither true nor false, such as an array of several values.
    """
    return stop is not None and truth(stop(), "stop", StopError)


class Stopped(Exception):
    """A walk was asked to stop; nothing of it is to be used."""
