"""A walk never waits for its device: nothing inside its steps reads a tensor's numbers on the host, nor has a size that
depends on them.
"""

import pytest
import torch

import lens
from benchmarks.waits import Waits
from lens.engine.walk.rows import _Walk

PAIR = lens.Pair("w1 w2 w3 w4 w5 w6", "w1 w7 w3 w4 w8 w6", " w9", " w10")
THREE = torch.tensor([1, 2, 3])
GRIDS = {
    "stream": dict(site="resid_pre"),
    "heads": dict(site="z", over=("layer", "head")),
    "heads at positions": dict(site="z", over=("layer", "head", "position")),
    "MLPs": dict(site="mlp_out"),
    "keys": dict(site="k", over=("layer", "head")),
    "embedding": dict(site="embed", over=("layer", "position")),
    "patterns": dict(site="pattern", over=("layer", "head")),
}


@pytest.fixture
def waits(monkeypatch):
    """What inside the steps of walks waits."""
    counted = Waits()
    step = _Walk.step

    def watched(self, layer):
        with counted:
            step(self, layer)

    monkeypatch.setattr(_Walk, "step", watched)
    return counted


@pytest.mark.parametrize("grid", GRIDS)
def test_no_step_of_a_walk_waits(grid, waits, tiny_bridge):
    model, _ = tiny_bridge("llama")
    lens.patch(model, [PAIR, PAIR], **GRIDS[grid], progress=False)
    assert waits.operations > 100, "the steps were seen"
    assert waits.found == []


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0, 0]),
        lambda x: bool((x > 0).all()),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: torch.bincount(x.long().flatten().abs()),
        lambda x: x.repeat_interleave(THREE, 0),
        lambda x: torch.tensor([1.0, 2.0], device=x.device),
        lambda x: torch.as_tensor([1, 2], device=x.device),
    ],
    ids=range(15),
)
def test_what_waits_is_counted(waiting):
    x = torch.randn(3, 4)
    with Waits() as counted:
        x @ x.T
        assert counted.found == []
        waiting(x)
    assert len(counted.found) == 1


def test_what_does_not_wait_is_not_counted():
    x, at = torch.randn(3, 4), torch.tensor([2, 0])
    with Waits() as counted:
        x[at] = x[at] + torch.arange(4)
        torch.where(x > 0, x, 0).masked_fill(x > 1, 0.0).softmax(-1)
        torch.searchsorted(at.sort()[0], at)
    assert counted.found == [] and counted.operations > 5
