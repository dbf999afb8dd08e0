"""What takes gradients says so under torch.inference_mode, and nothing else is blamed."""

import pytest
import torch

import lens
from lens.engine.sites import SiteError
from lens.training import Recipe, Rows, train
from lens.training.recipe import TrainingError
from tests import models as tiny_models

IDS = torch.randint(1, 97, (4, 12), generator=torch.Generator().manual_seed(0))
OTHER = torch.randint(1, 97, (4, 12), generator=torch.Generator().manual_seed(1))
CALLS = {
    "attribution": (
        SiteError,
        lambda m: lens.patch(
            m,
            lens.Pair("w5 w6 w7 w8", answer=" w20", foil=" w21", corrupted="w5 w9 w7 w8"),
            method="attribution",
            progress=False,
        ),
    ),
    "factors": (lens.curvature.CurvatureError, lambda m: lens.curvature.factors(m, "mlp", IDS, progress=False)),
    "integrated gradients": (
        lens.subspace.SubspaceError,
        lambda m: lens.subspace.integrated_gradients(m, IDS, progress=False),
    ),
    "hard concrete": (
        lens.subspace.SubspaceError,
        lambda m: lens.subspace.hard_concrete(m, IDS, steps=2, progress=False),
    ),
    "slimming": (lens.subspace.SubspaceError, lambda m: lens.subspace.slimming(m, IDS, steps=2, progress=False)),
    "subnet": (lens.subspace.SubspaceError, lambda m: lens.subspace.subnet(m, IDS, steps=2, progress=False)),
    "training": (
        TrainingError,
        lambda m: train(
            m.original_model,
            Rows(IDS, torch.arange(12).expand(4, 12) > 0, torch.full((4,), 12)),
            Recipe(steps=1, batch=2, learning_rate=1e-4),
            parameters=lambda name: True,
            progress=False,
        ),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_inference_mode_is_named(name):
    error, call = CALLS[name]
    model = lens.models.wrap(tiny_models.tiny("llama"), tiny_models.word_tokenizer(), "tiny")
    with torch.inference_mode(), pytest.raises(error, match="inference_mode"):
        call(model)
    with torch.no_grad():
        call(model)


def test_the_gradient_factor_is_of_the_summed_loss():
    model, plain, kept = tiny_models.tiny("llama"), tiny_models.tiny("llama"), {}
    factors = lens.curvature.factors(model, "mlp", IDS, fisher="empirical", progress=False)
    name = factors.layers[0]
    plain.get_submodule(name).weight.requires_grad_()
    plain.get_submodule(name).register_forward_hook(lambda m, args, out: kept.__setitem__("out", out))
    rows = []
    for row in IDS:
        loss = torch.nn.functional.cross_entropy(plain(row[None, :-1]).logits[0], row[1:], reduction="sum")
        rows.append(torch.autograd.grad(loss, kept["out"])[0].reshape(11, -1))
    rows = torch.cat(rows)
    torch.testing.assert_close(
        factors.g[name], rows.T @ rows / len(rows), rtol=1e-3, atol=1e-3 * float(factors.g[name].abs().max())
    )
    assert "summed over" in " ".join(type(factors).__doc__.split()) and "own loss" not in type(factors).__doc__
