"""The models of the organism `canaries` by seed, each with its twin that never saw a canary and its corpus: found in a
folder, shipped, or trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..organisms import canaries
from ..organisms.canaries.corpus import Corpus
from .organism_models import loaded, pairs, recipe_of


class Trio(NamedTuple):
    """A model, its never-trained twin (None where it was not asked for), and the corpus of its recipe."""

    model: Any
    twin: Any
    corpus: Corpus


def models(
    folder: str | os.PathLike | None,
    seeds: Sequence[int] = canaries.SEEDS,
    *,
    twins: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> dict[int, Trio]:
    """Seed -> (model, twin, corpus), plain Hugging Face models in eval mode.

    Args:
        folder: holds one folder a model, named as `Recipe.name` ("canaries-1-twin"); one that is neither there nor
            shipped is trained into it (an hour of CPU each, resumable). None: only those that ship with the package.

    Raises: ReproduceError: a model that is nowhere and no folder to train it into, or one whose weights are not those
        of its card.
    """
    takes = "about an hour on a CPU"
    folders = pairs(canaries, "canaries", folder, seeds, ["--device", "cpu"], takes, say, twins)
    return {
        seed: Trio(loaded(at[0]), loaded(at[1]) if twins else None, Corpus(recipe_of(canaries, at[0])))
        for seed, at in folders
    }
