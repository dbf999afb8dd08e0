"""One of many is drawn by inverting the sums of weights, whatever their number."""

import numpy as np
import pytest
import torch

from lens.engine.drawing import inverted
from tests.curvature import naive


@pytest.mark.parametrize("k", [1, 4, 255, 256, 257, 1000])
def test_the_index_is_that_of_the_running_sum(k):
    draw = torch.Generator().manual_seed(k)
    weights = torch.rand(500, k, generator=draw, dtype=torch.float64) * (torch.rand(500, k, generator=draw) < 0.7)
    weights[:, k // 2] += 1e-3
    u = torch.rand(500, generator=draw, dtype=torch.float64)
    found, total = inverted(weights, u)
    assert torch.equal(found, naive.inverted(weights, u))
    torch.testing.assert_close(total, weights.sum(-1))


def test_shares_are_those_of_the_weights_and_no_index_of_weight_nothing_is_drawn():
    weights = torch.tensor([3.0, 0.0, 1.2, 1.8]).repeat(40_000, 1)
    u = torch.from_numpy(np.random.default_rng(0).random(40_000, dtype=np.float32))
    share = torch.bincount(inverted(weights, u)[0], minlength=4) / 40_000
    assert share[1] == 0
    # four standard errors
    assert torch.allclose(share, weights[0] / 6, atol=4 * 0.5 / 200)


@pytest.mark.parametrize("at", [0, 3, 255, 256, 299])
def test_all_the_weight_at_one_place_is_that_place_at_both_ends(at):
    weights = torch.zeros(2, 300)
    weights[:, at] = 0.1
    assert inverted(weights, torch.tensor([0.0, np.nextafter(1, 0)]))[0].tolist() == [at, at]


def test_sums_that_are_no_numbers_are_told_and_break_nothing():
    weights = torch.tensor([[1.0, float("nan")], [float("inf"), 1.0], [0.0, 0.0]])
    found, total = inverted(weights, torch.full((3,), 0.5))
    assert ((0 <= found) & (found < 2)).all() and total.isfinite().tolist() == [False, False, True]
