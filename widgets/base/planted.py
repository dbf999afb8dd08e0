"""What the views of memorised text show when they are given nothing: sequences planted in the organism `canaries`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lens import curvature, models
from lens.memorization import Sequences
from lens.organisms.canaries.corpus import Corpus
from lens.organisms.canaries.recipe import Recipe
from widgets.errors import ViewError

ORGANISM = "organism:canaries"
SHOWN = 24  # sequences of a set: those that training saw most often
CLEAN = 24
REFERENCE = 64


#: Python that makes what the views are given
SOURCE = """from widgets.base import planted

model, memorised, reference, clean = planted.text_sets()"""
CURVATURE_SOURCE = """from widgets.base import planted

model, decomposition, memorised, clean = planted.curvature_sets()"""


class PlantedSets(NamedTuple):
    """A model, what was planted in it, and text of the same kind that was not."""

    model: Any
    memorised: dict[str, Sequences]
    reference: dict[str, np.ndarray]
    clean: np.ndarray


def whole(**given: Any) -> None:
    """Raises ViewError where only a part of what a view needs was given."""
    for name, one in given.items():
        if one is None:
            raise ViewError(f"{name}: is missing; give {', '.join(given)}, or none of them to see an example")


def text_sets() -> PlantedSets:
    """The model with 24 planted codes and stories, 24 verses, rows to contrast them with, and clean rows."""
    corpus = Corpus(Recipe())

    def often(family: str) -> Sequences:
        every = Sequences.of(corpus.canaries(family))
        order = np.argsort(-np.asarray(every.duplicates), kind="stable")[:SHOWN]
        return every.subset(np.sort(order))

    return PlantedSets(
        models.load(ORGANISM),
        {"planted codes and stories": often("main"), "planted verses": often("second")},
        {"text that was never planted": corpus.clean(REFERENCE, "reference").numpy()},
        corpus.clean(CLEAN).numpy(),
    )


def curvature_sets() -> tuple[Any, Any, Sequences, np.ndarray]:
    """The model, the curvature of its MLP over the rows to contrast with, planted codes and stories, clean rows."""
    planted = text_sets()
    (rows,) = planted.reference.values()
    factors = curvature.factors(planted.model, "mlp", rows)
    return (
        planted.model,
        curvature.decompose(planted.model, factors),
        next(iter(planted.memorised.values())),
        planted.clean,
    )
