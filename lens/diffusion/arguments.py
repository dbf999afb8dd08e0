"""What arguments of this family hold: captions, seeds of the starting noise, guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from ..arguments import Check, Number, Unfit, Whole, tried
from ..arguments.kinds import is_sequence, items

#: Seeds of one call; each is a picture of every caption.
MOST_SEEDS = 10**5


class _Seeds(Check):
    """Seeds of the starting noise, no two alike: equal ones would be one picture that counts twice."""

    expected = "at least one seed, different whole numbers from 0, such as range(4)"
    _one = Whole(0, 2**63 - 1)

    def take(self, value: Any) -> Any:
        numbers = tried(self._listed, value)
        if numbers is None:
            raise Unfit(value, self.expected)
        seeds = items(numbers, self._one.take)
        if len(set(seeds)) < len(seeds):
            raise Unfit(value, self.expected)
        return value if isinstance(value, (list, tuple, range)) and seeds is numbers else tuple(seeds)

    @staticmethod
    def _listed(value: Any) -> list[Any] | None:
        if not is_sequence(value) or not 0 < len(value) <= MOST_SEEDS:
            return None
        return value.tolist() if hasattr(value, "tolist") else list(value)


Captions = str | Sequence[str]
Seeds = Annotated[Any, _Seeds()]
#: 1 is the caption alone.
Guidance = Annotated[float, Number(1)]


def texts_of(captions: Captions) -> list[str]:
    """Captions as a list; one text is one caption."""
    return [captions] if isinstance(captions, str) else list(captions)
