"""A tiny model behind a server, and rows to ask about."""

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.server import Server


@pytest.fixture(scope="module")
def model():
    """On one thread: tiny models gain nothing from a second one and lose much where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny("llama", 1)
    torch.set_num_threads(before)


@pytest.fixture
def server(model):
    with Server(model) as running:
        yield running


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return [rng.integers(1, 97, length) for length in (9, 3, 1, 0, 14, 9, 6, 2, 11, 5)]
