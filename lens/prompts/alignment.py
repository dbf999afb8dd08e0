"""Which tokens of a pair's two prompts stand for each other, where the prompts need not be equally long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lens.arguments import door
from lens.tokens import PromptError

from .encoding import EncodedPair
from .positions import resolve_positions

#: How prompts of unlike length are aligned.
Align = Literal["spans", "end"]


class Match(NamedTuple):
    """Tokens of both prompts that stand for each other, one for one, under a name."""

    name: str
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """One prompt of a pair by itself: its positions by name, and its length."""

    positions: Mapping[str, tuple[int, ...]]
    length: int

    @classmethod
    def of(cls, encoded: EncodedPair, prompt: str) -> Side:
        """The clean or the corrupted prompt of a pair."""
        if prompt == "clean":
            return cls(encoded.positions, len(encoded.clean_ids))
        return cls(encoded.corrupted_positions, len(encoded.corrupted_ids))

    def __len__(self) -> int:
        return self.length


@door(PromptError)
def matches(
    encoded: EncodedPair, align: Align, positions: Any = None, *, sides: tuple[Side, Side] | None = None
) -> list[Match]:
    """The tokens of a pair that stand for each other; or, of two `sides`, those of the first and of another pair's.

    ``end``: counted from the end of each prompt; `positions` are those of the clean prompt, each by itself where they
    are None, and tokens in front of the shorter prompt's first have no counterpart. ``spans``: the named spans, all
    where `positions` is None. A span of unlike numbers of tokens is aligned from its own end: the surplus tokens at the
    front of the longer one have no counterpart.

    Raises PromptError: a span without a counterpart in the corrupted prompt, a pair without spans, positions without a
    counterpart, or positions by number where spans are aligned.
    """
    if sides is None:
        sides = Side.of(encoded, "clean"), Side.of(encoded, "corrupted")
    return _by_spans(encoded, positions, *sides) if align == "spans" else _from_end(positions, *sides)


def _from_end(positions: Any, clean: Side, corrupted: Side) -> list[Match]:
    n, m = len(clean), len(corrupted)
    out = []
    for name, group in resolve_positions(clean, slice(max(0, n - m), None) if positions is None else positions):
        inside = tuple(p for p in group if p + m - n >= 0)
        if not inside or (len(inside) < len(group) and name not in clean.positions):
            raise PromptError(
                f"positions: {name} lies {n - group[0]} tokens from the end of its prompt, and the other has {m}; leave"
                " it out, or align by spans"
            )
        shown = str(group[0] - n) if name.isdigit() else name
        out.append(Match(shown, inside, tuple(p + m - n for p in inside)))
    return out


def _by_spans(encoded: EncodedPair, positions: Any, clean: Side, corrupted: Side) -> list[Match]:
    spans = [name for name in encoded.spans if name in clean.positions or positions is not None]
    if positions is None and not spans:
        raise PromptError(
            "spans: the pair has none, and align='spans' goes by them; name the parts that stand for each other, or use"
            " align='end'"
        )
    chosen = spans if positions is None else positions if isinstance(positions, list | tuple) else [positions]
    out = []
    for name in chosen:
        if not isinstance(name, str):
            raise PromptError(
                f"positions: {name!r} is not a name, but under align='spans' a position is named:"
                f" {', '.join(n for n in clean.positions if n in corrupted.positions)}"
            )
        if name not in clean.positions:
            resolve_positions(clean, name)  # says which there are
        if name not in corrupted.positions:
            raise PromptError(
                f"spans[{name!r}]: it has no counterpart in the other prompt"
                f" (`corrupted` is {encoded.pair.corrupted!r}); name it in corrupted_spans, or leave it out of"
                " positions"
            )
        mine, theirs = clean.positions[name], corrupted.positions[name]
        k = min(len(mine), len(theirs))
        out.append(Match(name, mine[-k:], theirs[-k:]))
    if len({m.name for m in out}) < len(out):
        raise PromptError(f"positions: {positions!r} names a span twice; give each once")
    return out
