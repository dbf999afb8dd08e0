"""What a chain of the organism `reasoner` says: its segments by type, which steps are wrong, which thoughts repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .suite import BAR, DONE, ELSE, GIVES, HMM, WAIT


@dataclass(frozen=True)
class Segment:
    """A piece between two separators: its type ("execution", "reflection", "transition", "end", or "none" of what has
    no form), its words, and whether its sum is right (None where it has none).
    """

    kind: str
    words: tuple[str, ...]
    right: bool | None


@dataclass(frozen=True)
class Chain:
    """A chain that was read: its `segments`, what it ends with (`said`, None where it does not end), its `tokens`."""

    segments: tuple[Segment, ...]
    said: int | None
    tokens: int

    def count(self, kind: str) -> int:
        """Segments of a type."""
        return sum(one.kind == kind for one in self.segments)

    @property
    def repairs(self) -> int:
        """Reflections that repair: a right one of the step before it, which was wrong."""
        return self._after(False)

    @property
    def idle(self) -> int:
        """Reflections on a step that was right."""
        return self._after(True)

    @property
    def wrong(self) -> int:
        """Steps that are wrong."""
        return sum(one.kind in ("execution", "transition") and one.right is False for one in self.segments)

    def _after(self, right: bool) -> int:
        pairs = zip(self.segments, self.segments[1:])
        return sum(two.kind == "reflection" and one.right is right for one, two in pairs)


def read(words: Sequence[str], modulus: int) -> Chain:
    """The chain that the words behind a colon say."""
    pieces: list[list[str]] = [[]]
    for word in words:
        if word == BAR:
            pieces.append([])
        else:
            pieces[-1].append(word)
    segments = tuple(_segment(tuple(piece), modulus) for piece in pieces if piece)
    last = segments[-1].words if segments else ()
    whole = len(last) >= 2 and last[0] == DONE and last[1].isdecimal()
    return Chain(segments, int(last[1]) if whole else None, len(words))


def _segment(words: tuple[str, ...], modulus: int) -> Segment:
    kind = {WAIT: "reflection", HMM: "reflection", ELSE: "transition", DONE: "end"}.get(words[0], "execution")
    if kind == "end":
        return Segment(kind, words, None)
    numbers = words if kind == "execution" else words[1:]
    if len(numbers) != 4 or numbers[2] != GIVES or not all(numbers[i].isdecimal() for i in (0, 1, 3)):
        return Segment("none", words, None)
    a, b, c = (int(numbers[i]) for i in (0, 1, 3))
    return Segment(kind, words, (a + b) % modulus == c)
