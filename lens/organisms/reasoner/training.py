"""The organism `reasoner` untrained, the rows of a step, and the training."""

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
from .suite import Reasoner

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Positions of the model: the longest chain of five numbers, and room to go on.
CONTEXT = 192


def suite_of(recipe: Recipe) -> Reasoner:
    """The words and chains of a recipe."""
    return Reasoner(recipe)


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, in float32 on the CPU."""
    return decoder(recipe, vocabulary=len(Reasoner(recipe).vocabulary), context=CONTEXT, seed=recipe.seed)


def rows(recipe: Recipe) -> Sampler:
    """The rows of a step, drawn anew, one chain each; all of a step have as many numbers. What is behind the colon
    counts.
    """
    suite = Reasoner(recipe)

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        of = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        count = of.randint(*recipe.numbers)
        pieces = []
        for _ in range(recipe.batch):
            numbers = suite.problem(of, count=count)
            pieces.append((suite.ids(suite.prompt(numbers)), suite.ids(suite.chain(numbers, of))))
        return training.Rows.of(pieces)

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

    `folder`: checkpoints every 400 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    return fit(
        build(recipe),
        rows(recipe),
        recipe,
        batch=recipe.batch,
        checkpoint_every=400,
        device=device,
        steps=steps,
        folder=folder,
        progress=progress,
    )
