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
from .organism_models import found, recipe_of


class Trio(NamedTuple):
    """A pipeline, its never-trained twin, and the corpus of its recipe."""

    pipeline: Pipeline
    twin: Pipeline
    corpus: Corpus


def models(
    folder: str | os.PathLike | None,
    seeds: Sequence[int] = cards.SEEDS,
    *,
    small: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[int, Trio]:
    """Seed -> (pipeline, twin, corpus) on the CPU in float32.

    Args:
        folder: holds one folder a model, named as `Recipe.name` ("cards-1-twin"); one that is neither there nor shipped
            is trained into it (about a quarter of an hour of a core each, resumable). None: only those that ship.
            small: the models of `Recipe.small` (half a minute each), which never ship.

    Raises: ValueError: a model that is nowhere and no folder to train it into. DiffusionError: weights that are not
        those of the card.
    """
    place, made = None if folder is None else Path(folder), {}
    for seed in seeds:
        recipes = [
            (cards.Recipe.small if small else cards.Recipe)(seed=int(seed), planted=planted)
            for planted in (True, False)
        ]
        at = [
            found(
                cards,
                recipe,
                place,
                ["--float16"],
                twin=not recipe.planted,
                small=small,
                takes="a quarter of an hour of a core",
                say=say,
            )
            for recipe in recipes
        ]
        pipeline, twin = (_loaded(folder) for folder in at)
        made[int(seed)] = Trio(pipeline, twin, Corpus(recipe_of(cards, at[0])))
    return made


def _loaded(folder: Path) -> Pipeline:
    """On the CPU; records and views name the organism, not a path of this machine."""
    return replace(load(folder, device="cpu"), name=f"organism:{folder.name}")
