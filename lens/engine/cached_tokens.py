"""How many tokens a cache holds, and what is remembered of it: of a recurrent state alone this cannot be told later."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .steps import CACHES


@dataclass
class CachedText:
    """How many tokens a cache holds, how many of them it began with, and how much of each row is padding in front."""

    before: int
    first: int
    padding: Tensor | None
    alive: weakref.ref[Any]


#: by identity of a cache (of a recurrent state: of its first tensor)
_caches: dict[int, CachedText] = {}


def remember(cache: Any, before: int, padding: Tensor | None = None) -> None:
    """Notes how many tokens a cache holds: of a recurrent state alone this cannot be told later."""
    owner = _identity(cache)
    if owner is not None:
        number, known = id(owner), recall(cache)
        first = known.first if known is not None and known.before <= before else before
        _caches[number] = CachedText(before, first, padding, weakref.ref(owner, lambda _: _caches.pop(number, None)))


def recall(cache: Any) -> CachedText | None:
    """What was noted of a cache, or None."""
    owner = _identity(cache)
    text = None if owner is None else _caches.get(id(owner))
    return text if text is not None and text.alive() is owner else None


def _identity(cache: Any) -> Any:
    if not isinstance(cache, (list, tuple)):
        return cache
    return cache[0] if cache and isinstance(cache[0], Tensor) else None


def cached_tokens(cache: Any) -> int | None:
    """How many tokens a cache holds by its own account; None where it does not say."""
    if cache is None:
        return 0
    if isinstance(cache, (list, tuple)):
        return None if isinstance(cache[0], Tensor) else int(cache[0][0].shape[-2])
    count: int | None
    try:
        count = int(cache.get_seq_length())
        if not count:
            # that is the first layer's, and in some caches a layer without keys stands there
            counted = [c for c in getattr(cache, "layers", ()) if hasattr(c, "get_seq_length")]
            count = max((int(c.get_seq_length()) for c in counted), default=0)
    except (AttributeError, ValueError, StopIteration):
        count = 0 if hasattr(cache, "has_previous_state") else None
    return None if count == 0 and _recurrent(cache) else count


def _recurrent(cache: Any) -> bool:
    """Whether a cache that counts no tokens holds a recurrent state all the same."""
    if getattr(cache, "linear_cache", None):
        return True
    try:
        return bool(cache.has_previous_state())
    except (AttributeError, ValueError, StopIteration):
        return False


def caches_of(output: Any) -> list[Any]:
    """The caches in what a forward returns."""
    if isinstance(output, tuple):
        return [x for x in output if hasattr(x, "get_seq_length")]
    return [x for name in CACHES if (x := getattr(output, name, None)) is not None]
