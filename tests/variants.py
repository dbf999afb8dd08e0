"""Which variants of a test every change is judged by; the others are the same test marked `long`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], kept: Collection[Any] | Callable[[Any], bool]) -> list[Any]:
    """The values as parameters of a test, in their order; those that are not ``kept`` are `long`.

    A value that is a tuple is one of several arguments. ``kept``: some of the values, or what tells them.

    Raises: ValueError: something in ``kept`` is none of the values, or nothing is left.
    """
    values = list(values)
    tell = kept if callable(kept) else kept.__contains__
    if not any(map(tell, values)) or (not callable(kept) and not all(one in values for one in kept)):
        raise ValueError(f"kept={kept!r}; expected some of the values {values!r}")
    arguments = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        pytest.param(*given, marks=() if tell(value) else pytest.mark.long)
        for value, given in zip(values, arguments, strict=True)
    ]
