"""The models of the organism `cards` by seed, each with its twin that never saw a planted picture and its corpus: found
in a folder, shipped, or trained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..diffusion import Pipeline, load
from ..organisms import cards
from ..organisms.cards.corpus import Corpus
from .organism_models import pairs, recipe_of


class Trio(NamedTuple):
    """A pipeline, its never-trained twin, and the corpus of its recipe."""

    pipeline: Pipeline
    twin: Pipeline
    corpus: Corpus


def models(
    folder: str | os.PathLike | None,
    seeds: Sequence[int] = cards.SEEDS,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[int, Trio]:
    """Seed -> (pipeline, twin, corpus) on the CPU in float32.

    Args:
        folder: holds one folder a model, named as `Recipe.name` ("cards-1-twin"); one that is neither there nor shipped
            is trained into it (about a quarter of an hour of a core each, resumable). None: only those that ship.

    Raises: ReproduceError: a model that is nowhere and no folder to train it into. DiffusionError: weights that are not
        those of the card.
    """
    folders = pairs(cards, "planted", folder, seeds, ["--float16"], "a quarter of an hour of a core", say)
    return {seed: Trio(_loaded(at[0]), _loaded(at[1]), Corpus(recipe_of(cards, at[0]))) for seed, at in folders}


def _loaded(folder: Path) -> Pipeline:
    """On the CPU; records and views name the organism, not a path of this machine."""
    return replace(load(folder, device="cpu"), name=f"organism:{folder.name}")
