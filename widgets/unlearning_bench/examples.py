"""What UnlearningBench shows when it is given nothing: verses planted in the organism `canaries`, half to go."""

from __future__ import annotations

from typing import Any, NamedTuple

from lens import models
from lens.memorization import Sequences
from lens.organisms.canaries.corpus import Corpus
from lens.organisms.canaries.recipe import Recipe
from lens.unlearning import Items
from widgets.base.examples import Example

ORGANISM, TWIN = "organism:canaries", "organism:canaries-twin"
#: Verses of each set, and how often training saw each.
ROWS, SEEN = 8, 64

#: Python that makes what the view is given.
SOURCE = """from widgets.unlearning_bench.examples import planted_sets

model, forget, retain, twin = planted_sets()"""

EXAMPLES = tuple(
    Example(says, {"method": method, "steps": 10, "rate": 3e-4})
    for says, method in (
        ("gradient ascent, held by the retain set", "gradient_difference"),
        ("gradient ascent alone", "gradient_ascent"),
        ("negative preference (NPO)", "npo"),
        ("answers drawn at random", "random_labels"),
    )
)


class PlantedSets(NamedTuple):
    """A model, verses that it is to forget and to keep, and the same model trained without any of them."""

    model: Any
    forget: Items
    retain: Items
    twin: Any


def planted_sets() -> PlantedSets:
    """The organism, eight of its planted verses to forget, eight to retain, and its twin, which never read them."""
    verses = Corpus(Recipe()).canaries("second")
    planted = Sequences.of(verses.where(verses.duplicates >= SEEN))

    def items(first: int) -> Items:
        some = planted.subset(range(first, len(planted), 2)[:ROWS])
        return Items(some.prefixes.tolist(), some.suffixes.tolist())

    return PlantedSets(models.load(ORGANISM), items(0), items(1), models.load(TWIN))
