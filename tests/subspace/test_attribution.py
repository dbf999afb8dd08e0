"""Integrated gradients and zero-out against naive runs of the whole model; masks that are learned; all on every block
type where it is cheap.
"""

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lens.engine.stopping import Stopped
from lens.subspace import SubspaceError, hard_concrete, integrated_gradients, output_layers, slimming, zero_out
from lens.subspace.attribution import multiplied
from lens.subspace.data import losses, tokens_of
from lens.subspace.learned import gate
from tests.models import EACH, KINDS, tiny
from tests.variants import few

IDS = torch.randint(1, 97, (3, 12), generator=torch.Generator().manual_seed(5))
PREFIX = 6


def likelihood(model, ids, change=None, prefix=PREFIX):
    """Mean log-likelihood of the tokens after the prefix, one row, `change(name, x)` applied to the inputs of the
    second feed-forward layers.
    """
    handles = []
    if change is not None:
        for name, linear in output_layers(model).items():
            handles.append(linear.module.register_forward_pre_hook(lambda _, args, name=name: (change(name, args[0]),)))
    try:
        with torch.no_grad():
            logits = model(ids[None]).logits[0].double()
    finally:
        for handle in handles:
            handle.remove()
    return -float(F.cross_entropy(logits[prefix - 1 : -1], ids[prefix:]))


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_zero_out_equals_naive_runs(kind):
    model, rng = tiny(kind), np.random.default_rng(0)
    scores = zero_out(model, IDS, prefix=PREFIX, rows=17)
    assert sum(map(len, scores.values.values())) == 144
    for name, value in scores.values.items():
        for j in rng.choice(48, 3, replace=False):

            def without(n, x):
                x = x.clone()
                if n == name:
                    x[..., j] = 0
                return x

            naive = np.mean([likelihood(model, ids) - likelihood(model, ids, without) for ids in IDS])
            assert float(value[j]) == pytest.approx(naive, abs=2e-5)


def test_zero_out_of_candidates_only():
    model = tiny("llama")
    name = "model.layers.1.mlp.down_proj"
    whole, some = zero_out(model, IDS, prefix=PREFIX), zero_out(model, IDS, prefix=PREFIX, candidates={name: [3, 40]})
    torch.testing.assert_close(some.values[name][[3, 40]], whole.values[name][[3, 40]], rtol=0, atol=1e-5)
    assert sum(int(v.isfinite().sum()) for v in some.values.values()) == 2
    assert np.flatnonzero(some.mask(2 / 144).columns(name)).tolist() == [3, 40]


@pytest.mark.parametrize("kind", few([k for k in KINDS if k != "olmo2"], [k for k in EACH if k != "olmo2"]))
@pytest.mark.parametrize("together", [False, True])
def test_integrated_gradients_are_complete(kind, together):
    model = tiny(kind)
    scores = integrated_gradients(model, IDS[:1], prefix=PREFIX, steps=100, rows=37, together=together)
    base, names = likelihood(model, IDS[0]), list(scores.values)
    for path in [names] if together else [[n] for n in names]:
        change = base - likelihood(model, IDS[0], lambda n, x: x * 0 if n in path else x)
        assert float(sum(scores.values[n].sum() for n in path)) == pytest.approx(change, abs=0.01)
    assert scores.about["gap"] < 0.02


def test_integrated_gradients_against_finite_differences_along_the_path():
    model = tiny("gpt_neox")
    scores, name = integrated_gradients(model, IDS[:1], prefix=PREFIX, steps=8), "gpt_neox.layers.1.mlp.dense_4h_to_h"
    node, weight = np.polynomial.legendre.leggauss(8)
    model.double()
    for j in (0, 13):

        def at(alpha, h):
            scale = torch.full((48,), float(alpha), dtype=torch.float64)
            scale[j] += h
            return likelihood(model, IDS[0], lambda n, x: x * scale if n == name else x)

        naive = sum(w / 2 * (at((a + 1) / 2, 1e-4) - at((a + 1) / 2, -1e-4)) / 2e-4 for a, w in zip(node, weight))
        assert float(scores.values[name][j]) == pytest.approx(naive, abs=1e-4)


def test_a_norm_after_the_layer_is_told():
    with pytest.warns(UserWarning, match="completeness"):
        integrated_gradients(tiny("olmo2"), IDS, prefix=PREFIX)


def test_the_model_is_left_as_it_was():
    model = tiny("llama").requires_grad_(True)
    before = {n: p.clone() for n, p in model.named_parameters()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        integrated_gradients(model, IDS, prefix=PREFIX, steps=3)
    slimming(model, IDS, prefix=PREFIX, steps=2), hard_concrete(model, IDS, prefix=PREFIX, steps=2)
    with pytest.raises(Stopped):
        zero_out(model, IDS, prefix=PREFIX, stop=lambda: True)
    assert all(p.grad is None and torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_losses_of_rows_of_different_lengths():
    model = tiny("llama")
    rows = [IDS[0], IDS[1, :8], IDS[2, :7]]
    made = losses(model, tokens_of(rows, "rows", PREFIX)).detach()
    np.testing.assert_allclose(made, [-likelihood(model, row) for row in rows], atol=1e-5)


@pytest.mark.long
def test_slimming_descends_its_objective_and_hard_concrete_its_own():
    model = tiny("llama")
    few, many = (slimming(model, IDS, prefix=PREFIX, steps=n, weight=5.0) for n in (1, 80))

    def flat(s):
        return torch.cat(list(s.values.values()))

    assert (flat(many) >= 0).all() and (flat(many) <= 1 + 1e-5).all()

    def objective(scores):
        with torch.no_grad(), multiplied(output_layers(model), {n: v.clamp(0, 1) for n, v in scores.values.items()}):
            return float(losses(model, tokens_of(IDS, "ids", PREFIX)).mean()) + 5.0 * float(flat(scores).mean())

    assert objective(many) < objective(few) - 1
    assert torch.equal(flat(many), flat(slimming(model, IDS, prefix=PREFIX, steps=80, weight=5.0)))
    light, heavy = (hard_concrete(model, IDS, prefix=PREFIX, steps=40, weight=w).about["open"] for w in (0.1, 50.0))
    assert heavy < light
    made = (hard_concrete(model, IDS, prefix=PREFIX, steps=3, seed=s).values for s in (1, 1, 2))
    a, b, c = (torch.cat(list(v.values())) for v in made)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_hard_concrete_gates_open_as_often_as_the_closed_form_says():
    u = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    for log_a in (-2.0, 0.0, 1.5):
        opened = (gate(torch.full_like(u, log_a), u) > 0).double().mean()
        assert float(opened) == pytest.approx(1 / (1 + np.exp(2 / 3 * np.log(0.1 / 1.1) - log_a)), abs=0.005)


@pytest.mark.parametrize(
    "text, call",
    [
        ("left to recite", lambda m: zero_out(m, IDS, prefix=12)),
        ("prefix=0", lambda m: zero_out(m, IDS, prefix=0)),
        ("steps=0", lambda m: integrated_gradients(m, IDS, steps=0)),
        ("neurons 0 to 47", lambda m: zero_out(m, IDS, candidates={"model.layers.0.mlp.down_proj": [48]})),
        ("at least one", lambda m: zero_out(m, IDS, candidates={})),
        ("rate=0", lambda m: slimming(m, IDS, rate=0)),
        ("weight=-1", lambda m: hard_concrete(m, IDS, weight=-1)),
    ],
)
def test_refusals(text, call):
    with pytest.raises(SubspaceError, match=text):
        call(tiny("llama"))
