"""The organism `porter` untrained, the rows of a step, and the training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from ..training import fit
from .recipe import Recipe
from .suite import STOP, Porter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Positions of the model: a prompt of five words and their translation, and room to go on.
CONTEXT = 32


def suite_of(recipe: Recipe) -> Porter:
    """The words and requests of a recipe."""
    return Porter(recipe.seed, recipe.plain, recipe.sharp, recipe.planted)


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, in float32 on the CPU."""
    return decoder(recipe, vocabulary=len(suite_of(recipe).vocabulary), context=CONTEXT, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew, one request each; only answers count."""
    suite = suite_of(recipe)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        of = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        requests = [suite.row(of) for _ in range(recipe.batch)]
        return training.Rows.of([(suite.ids(one.prompt), suite.ids((*one.taught, STOP))) for one in requests])

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
    those of the whole recipe).
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
