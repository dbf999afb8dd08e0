"""Questions about the planted sets of the organism cards."""

from __future__ import annotations

from collections.abc import Sequence

from widgets.base.examples import Example

SPARSITY = 0.08


def examples(sets: Sequence[str], places: Sequence[str]) -> list[Example]:
    """Each planted set at the place where the view begins, then the first set at the other places."""
    return [
        Example(f"{name}, {place}", {"memorised": name, "place": place, "sparsity": SPARSITY})
        for name, place in [*((name, places[0]) for name in sets), *((sets[0], place) for place in places[1:])]
    ]
