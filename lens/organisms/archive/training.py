"""The organism `archive` untrained, the rows of a step, and the training."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from ..suite import packed
from ..training import fit
from .recipe import Recipe
from .suite import Archive

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings."""
    return decoder(recipe, vocabulary=len(Archive(recipe).vocabulary), context=4 * recipe.width, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew: a function (step, generator) -> lens.training.Rows."""
    archive = Archive(recipe)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        by = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        counts = recipe.question_rows, recipe.batch - recipe.question_rows
        # a row of questions begins with a relation of its own
        asked = [packed(archive.questions(by), 1, recipe.width) for _ in range(counts[0])]
        stated = [packed(archive.documents(by), counts[1], recipe.width)] if counts[1] else []
        return training.Rows.joined(list(itertools.chain(asked, stated)))

    return draw


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
) -> tuple[PreTrainedModel, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 500 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe). Cost: .13 million parameters, 1.8 million tokens.
    """
    return fit(
        build(recipe),
        rows(recipe),
        recipe,
        batch=recipe.batch,
        checkpoint_every=500,
        device=device,
        steps=steps,
        folder=folder,
        progress=progress,
    )
