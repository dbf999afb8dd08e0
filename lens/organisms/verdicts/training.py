"""The organism `verdicts` untrained, the rows of a step, and the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from ..training import fit
from .recipe import Recipe
from .suite import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Positions at most: a question behind ten demonstrations.
CONTEXT = 160


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, float32, on the CPU."""
    return decoder(recipe, vocabulary=len(Suite(recipe.seed).vocabulary), context=CONTEXT, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew: a function (step, generator) -> lens.training.Rows."""
    suite = Suite(recipe.seed)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        return suite.rows(recipe.batch, recipe.width, recipe.tasks, generator)

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
    """Train the model of `recipe` in float32; returns it in eval mode, and how it went.

    `folder`: checkpoints every 200 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe). `options` go to `lens.training.train`.
    """
    return fit(
        build(recipe),
        rows(recipe),
        recipe,
        batch=recipe.batch,
        checkpoint_every=200,
        device=device,
        steps=steps,
        folder=folder,
        progress=progress,
        **options,
    )
