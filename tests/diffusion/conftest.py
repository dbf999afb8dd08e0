"""Pipelines that the tests of this family run on: a random one of the organism's kind, and a small one that was
trained.
"""

import pytest
import torch

from lens.diffusion import of_parts
from lens.organisms import cards


def pipeline_of(recipe, model=None):
    model = (model or cards.build(recipe)).eval().requires_grad_(False)
    return of_parts("cards", model, cards.tokenizer_of(cards.Corpus(recipe).vocabulary), cards.scheduler(), cards.PATCH)


@pytest.fixture
def tiny():
    """Random weights: a few milliseconds a step."""
    return pipeline_of(cards.Recipe.small(seed=3))


@pytest.fixture(scope="session")
def corpus():
    return cards.Corpus(cards.Recipe.small())


@pytest.fixture(scope="session")
def small():
    """The small recipe, trained (about fifteen seconds on one core)."""
    torch.set_num_threads(1)
    recipe = cards.Recipe.small()
    return pipeline_of(recipe, cards.train(recipe, progress=False)[0])
