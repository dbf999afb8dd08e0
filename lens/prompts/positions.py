"""Positions of a text by name, number or slice, as token indexes."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index as as_index
from typing import Any, Protocol

from lens.arguments import shown
from lens.tokens import PromptError


class Positioned(Protocol):
    """A text of `len` tokens, some of whose positions have names: an `EncodedPair`, say."""

    @property
    def positions(self) -> Mapping[str, tuple[int, ...]]:
        """The token indexes of each name."""
        ...

    def __len__(self) -> int: ...


def resolve_positions(encoded: Positioned, spec: Any = None) -> list[tuple[str, tuple[int, ...]]]:
    """Names and token indexes (each >= 0) of the positions asked for; each entry is edited as one.

    `spec` is None (every token by itself), a name ("last", "subject", ...: its tokens together), an int (negative
    counts from the end), a slice or range (its tokens one by one), or a list of those; a tuple of ints inside a list
    is one group. Raises PromptError for a name or index that is not there, a repeat, and a choice of nothing.
    """
    length = len(encoded)
    if spec is None:
        spec = slice(None)
    groups: list[tuple[str, tuple[int, ...]]] = []
    for item in spec if isinstance(spec, list | tuple) else [spec]:
        if isinstance(item, str):
            if item not in encoded.positions:
                raise PromptError(
                    f"positions: {item!r} is not a named position of this pair; it has {', '.join(encoded.positions)} "
                    "(Pair.spans adds names)"
                )
            groups.append((item, tuple(encoded.positions[item])))
        elif isinstance(item, slice):
            try:
                chosen = range(length)[item]
            except (TypeError, ValueError) as error:
                raise PromptError(f"positions: {shown(item)} is not a slice of token indexes: {error}") from None
            groups += [(str(place), (place,)) for place in chosen]
        elif isinstance(item, range):
            groups += [(str(place), (place,)) for place in (_place(value, length) for value in item)]
        elif isinstance(item, tuple | list):
            together = tuple(_place(value, length) for value in item)
            if len(set(together)) != len(together):
                raise PromptError(f"positions: the group {shown(item)} holds a token twice ({length} tokens)")
            if together:
                groups.append(("+".join(map(str, together)), together))
        else:
            place = _place(item, length)
            groups.append((str(place), (place,)))
    if not groups:
        raise PromptError(f"positions: {shown(spec)} selects none of the {length} tokens; use None for all of them")
    names = [name for name, _ in groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PromptError(
            f"positions: {shown(spec)} asks for {twice!r} more than once ({length} tokens); give each once"
        )
    return groups


def _place(value: Any, length: int) -> int:
    try:
        place = as_index(value)
    except TypeError:
        place = None
    if place is None or isinstance(value, bool):
        raise PromptError(
            f"positions: expected None, a name, an int, a slice or a list of those, got {type(value).__name__}"
            f" {shown(value)}"
        )
    if not -length <= place < length:
        raise PromptError(f"positions: {place} is out of range for {length} tokens (from {-length} to {length - 1})")
    return place % length
