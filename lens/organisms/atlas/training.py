"""The base of the organism `atlas` untrained, the rows of a step, and the training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from ..suite import packed
from ..training import fit
from .recipe import Recipe
from .suite import WALKED, Atlas

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained base, from the recipe's seed: a Llama-type decoder with tied embeddings."""
    return decoder(recipe, vocabulary=len(Atlas(recipe).vocabulary), context=128, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew: each of edges and codes, or of questions for the top of walked leaves."""
    suite = Atlas(recipe)
    share = recipe.walk_rows if recipe.walks else 0.0

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        drawn = random.Random(int(torch.randint(2**62, (), generator=generator)))
        ids = []
        for _ in range(recipe.rows):
            asks = drawn.random() < share
            pieces = suite.questions(drawn, suite.leaves[WALKED], recipe.direct) if asks else suite.facts(drawn)
            ids.append(packed(pieces, 1, recipe.width).ids)
        return training.Rows.full(torch.cat(ids))

    return draw


def facts(suite: Atlas, count: int) -> Sampler:
    """So many rows of edges and codes a step, drawn anew."""

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        drawn = random.Random(int(torch.randint(2**62, (), generator=generator)))
        return training.Rows.full(packed(suite.facts(drawn), count, suite.recipe.width).ids)

    return draw


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, training.Trained]:
    """Train the base of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 300 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    return fit(
        build(recipe),
        rows(recipe),
        recipe,
        batch=recipe.rows,
        checkpoint_every=300,
        device=device,
        steps=steps,
        folder=folder,
        progress=progress,
        **options,
    )
