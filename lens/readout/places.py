"""Which tokens of each prompt are read, and what they are called along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..prompts import resolve_positions
from .reading import Reading, ReadoutError


@dataclass(frozen=True)
class Places:
    """The tokens to read of every prompt, and what they are called.

    Attributes:
        at: per prompt, token indexes.
        position: labels along the axis: names, or token indexes where these agree over prompts, else 0, 1, ...
        scalar: one token a prompt, asked for by itself: the result has no position axis.
    """

    at: list[list[int]]
    position: np.ndarray
    scalar: bool

    @property
    def width(self) -> int:
        """How many positions are read of each row."""
        return len(self.position)

    def padded(self, rows: Sequence[Sequence[Any]], fill: Any) -> np.ndarray:
        """Per-prompt lists as one array ``[prompt, position]``."""
        return np.array([[*row, *[fill] * (self.width - len(row))] for row in rows])

    def coords(self, readings: Sequence[Reading]) -> dict[str, Any]:
        """``position``, the token there, and its index in the prompt (-1: the prompt has no such place)."""
        tokens = self.padded([[r.tokens[p] for p in at] for r, at in zip(readings, self.at)], "").astype(str)
        return {
            "position": self.position,
            "token": (("prompt", "position"), tokens),
            "token_index": (("prompt", "position"), self.padded(self.at, -1)),
        }


def places(readings: Sequence[Reading], spec: Any) -> Places:
    """Resolves positions in every prompt: None for all tokens, names, ints, slices or lists of them; groups are read
    token by token.

    Raises:
        PromptError: see ``lens.prompts.resolve_positions``. ReadoutError: names that mean another number of tokens in
            another prompt.
    """
    spec = None if isinstance(spec, str) and spec == "all" else spec
    at, names = [], []
    for r in readings:
        groups = resolve_positions(r, spec)
        at.append([p for _, group in groups for p in group])
        names.append([name if len(g) == 1 else f"{name}[{j}]" for name, g in groups for j in range(len(g))])
    scalar = spec is not None and not isinstance(spec, slice | list | tuple | range) and all(len(a) == 1 for a in at)
    width = max(map(len, at))
    if any(not n.lstrip("-").isdigit() for n in names[0]):
        if any(n != names[0] for n in names):
            raise ReadoutError(
                f"positions={spec!r} mean {names[0]} in one prompt and {next(n for n in names if n != names[0])} in"
                " another; use names that are as long in every prompt, such as 'last' or '<span>_last'."
            )
        return Places(at, np.array(names[0], dtype=str), scalar)
    same = all(a == at[0] for a in at)
    if scalar and not same:
        return Places(at, np.array([int(spec)]), scalar)
    return Places(at, np.array(at[0]) if same else np.arange(width), scalar)


def one_position(readings: Sequence[Reading], position: Any, argument: str = "position") -> list[int]:
    """The token index of one position in every prompt.

    Raises: as ``places``; ReadoutError where it is several tokens.
    """
    chosen = places(readings, position if position is not None else "last")
    if not chosen.scalar:
        raise ReadoutError(
            f"{argument}={position!r} is {len(chosen.at[0])} tokens; expected one: an int, 'last', or the name of one"
            " token."
        )
    return [a[0] for a in chosen.at]
