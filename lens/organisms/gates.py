"""What an organism must do before anything is measured on it: gates with their values, as its card says them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ..arguments import Filled, Name, door
from .errors import OrganismError


@door(OrganismError)
@dataclass(frozen=True)
class Gate:
    """One gate: `value` was measured on `n` items; it holds where the value is at least `least` and at most `most`.

    Raises: OrganismError: a gate without a bound, or whose bounds no value fits.
    """

    name: Name
    value: float
    least: float | None = None
    most: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        if self.least is None and self.most is None:
            raise OrganismError(f"gate {self.name!r} has neither least= nor most=; give one.")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise OrganismError(f"gate {self.name!r}: least={self.least} is above most={self.most}; no value fits.")

    @property
    def holds(self) -> bool:
        """Whether the value is within the bounds."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", self.least), ("at most", self.most))
            if bound is not None
        ]
        return f"{self.name} {self.value:.3f} ({' and '.join(bounds)}): {'holds' if self.holds else 'does not hold'}"


@door(OrganismError)
def of_card(gates: Annotated[Sequence[Gate], Filled()]) -> dict[str, Any]:
    """The gates as a card has them: by name the value, the bounds, how many items, and whether it holds.

    Raises: OrganismError: two gates of one name.
    """
    if len({gate.name for gate in gates}) < len(gates):
        raise OrganismError("gates: two have one name; give each its own.")
    return {
        gate.name: {
            "value": float(gate.value),
            **({} if gate.least is None else {"least": gate.least}),
            **({} if gate.most is None else {"most": gate.most}),
            **({} if gate.n is None else {"n": gate.n}),
            "holds": gate.holds,
        }
        for gate in gates
    }


@door(OrganismError)
def read_card(card: dict[str, Any]) -> list[Gate]:
    """The gates of a card, in their order. Raises: OrganismError: a card without gates."""
    if not isinstance(told := card.get("gates"), dict) or not told:
        raise OrganismError("card['gates'] is absent; expected the gates of an organism's card.")
    return [Gate(name, one["value"], one.get("least"), one.get("most"), one.get("n")) for name, one in told.items()]
