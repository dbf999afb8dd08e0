"""The pipeline that the tests of this family run on: a random one of the organism's kind."""

import pytest

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
