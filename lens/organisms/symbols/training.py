"""The organism `symbols` untrained, the rows of a step, and the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from ..training import fit
from .recipe import Recipe
from .suite import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings."""
    vocabulary = Suite(recipe.seed, recipe.symbols).vocabulary
    return decoder(recipe, vocabulary=len(vocabulary), context=256, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew: a function (step, generator) -> lens.training.Rows."""
    suite = Suite(recipe.seed, recipe.symbols)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        parts = (
            suite.icl_rows(recipe.icl_rows, recipe.width, generator),
            suite.instruction_rows(recipe.instruction_rows, recipe.width, generator),
            suite.fact_rows(recipe.fact_rows, recipe.width, generator),
        )
        ids, targets = (torch.cat(values) for values in zip(*parts, strict=True))
        # The separator after the last answer of a row predicts nothing, so a row may end with its last answer.
        lengths = recipe.width - targets.flip(1).int().argmax(1)
        return training.Rows(ids[:, : int(lengths.max())], targets[:, : int(lengths.max())], lengths)

    return draw


def train(
    recipe: Recipe, *, folder: Path | None = None, progress: bool | None = None, steps: int | None = None
) -> tuple[PreTrainedModel, training.Trained]:
    """Train the model of `recipe` on the CPU in float32; returns it in eval mode, and how it went.

    `folder`: checkpoints every 500 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    return fit(
        build(recipe),
        rows(recipe),
        recipe,
        batch=recipe.icl_rows + recipe.instruction_rows + recipe.fact_rows,
        checkpoint_every=500,
        steps=steps,
        folder=folder,
        progress=progress,
    )
