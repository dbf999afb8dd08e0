"""What of a run is held as it was while cotangents are carried back over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import Error


class ReverseError(Error, ValueError):
    """A reverse walk that cannot be made; the message names the argument, its value and what was expected."""


@dataclass(frozen=True)
class Rules:
    """How a reverse walk departs from the gradient; as it stands, not at all.

    Attributes:
        freeze_norms: the scale of every norm is a constant, those of queries and keys, those behind attention and MLP
            and the final one among them; a layer norm's centring stays.
        freeze_patterns: attention patterns are constants: nothing goes into queries and keys.
        temperature: the softmax's derivative is taken where the scores are divided by it, without the factor 1 /
            temperature that this would bring.
        into_qk, into_v: factors of what goes into queries and keys, and into values.

    Raises: ReverseError: a temperature that is not above zero, a number that is not finite.
    """

    freeze_norms: bool = False
    freeze_patterns: bool = False
    temperature: float = 1.0
    into_qk: float = 1.0
    into_v: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "into_qk", "into_v"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ReverseError(f"{name}={value!r} is not a finite number; 1.0 leaves the gradient as it is.")
        if self.temperature <= 0:
            raise ReverseError(f"temperature={self.temperature!r} is not above zero; 1.0 leaves the softmax as it is.")

    @property
    def plain(self) -> bool:
        """Whether this is the gradient."""
        return self == Rules()


#: Gradient interaction modifications (Edin et al. 2025, arXiv 2505.17630): softmax at temperature 2, factors 1/4 into
#: queries and keys and 1/2 into values, norm scales held.
GIM = Rules(freeze_norms=True, temperature=2.0, into_qk=0.25, into_v=0.5)
