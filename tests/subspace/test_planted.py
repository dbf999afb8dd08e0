"""Memory injected at a known place, recall of locators, and the baselines that learn on weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lens import subspace
from lens.engine.linear import linears
from lens.results.dataset import provenance
from lens.subspace import SubspaceError, gradient_ascent, inject, output_layers, recall_at_k
from lens.subspace.data import losses, tokens_of
from tests.models import tiny

G = torch.Generator().manual_seed(2)
SEQUENCE = torch.randint(1, 97, (10,), generator=G)
MEM, CLEAN = torch.randint(1, 97, (4, 12), generator=G), torch.randint(1, 97, (6, 12), generator=G)


@pytest.fixture(scope="module")
def planted():
    return inject(tiny("gpt2"), SEQUENCE, share=0.1, seed=1, rate=0.05, threshold=0.2)


def test_injection_changes_the_drawn_columns_alone(planted):
    base = dict(tiny("gpt2").named_parameters())
    assert planted.count == 14 and planted.loss < 0.2 < planted.before
    layers = {f"{n}.weight": n for n in output_layers(planted.model)}
    for name, p in planted.model.named_parameters():
        if name not in layers:
            assert torch.equal(p, base[name]), name
        else:
            moved = (p != base[name]).any(1)  # Conv1D: a neuron is a row of the parameter
            assert torch.nonzero(moved).flatten().tolist() == planted.neurons[layers[name]].tolist()
    with torch.no_grad():
        logits = planted.model(SEQUENCE[None]).logits[0]
    assert float(F.cross_entropy(logits[:-1], SEQUENCE[1:])) == pytest.approx(planted.loss, abs=1e-4)
    assert torch.equal(logits[:-1].argmax(-1), SEQUENCE[1:])


def test_injection_is_decided_by_its_seed():
    a, b, c = (inject(tiny("gpt2"), SEQUENCE, share=0.1, seed=s, rate=0.05, threshold=2.0) for s in (1, 1, 2))
    assert all(np.array_equal(a.neurons[n], b.neurons[n]) for n in a.neurons) and any(
        not np.array_equal(a.neurons[n], c.neurons[n]) for n in a.neurons
    )
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters()))


def test_locators_find_planted_neurons_and_a_random_order_does_not(planted):
    model, ids = planted.model, SEQUENCE[None]
    found = {
        "zero-out": subspace.zero_out(model, ids),
        "integrated gradients": subspace.integrated_gradients(model, ids),
        "activation": subspace.activation(model, subspace.statistics(model, output_layers(model), ids, absolute=True)),
        "slimming": subspace.slimming(model, ids, steps=100, rate=0.04),
        "hard concrete": subspace.hard_concrete(model, ids, steps=100, rate=0.2),
    }
    for name, scores in found.items():
        report = recall_at_k(scores, planted, [0.1, 0.2])
        assert float(report.recall[1]) > 0.6 and float(report.p[1]) < 1e-4, name
    noise = recall_at_k(subspace.random(model, tuple(output_layers(model))), planted, [0.1, 0.2])
    assert float(noise.p.min()) > 0.01


def test_cutting_the_planted_neurons_removes_the_sequence(planted):
    model, tokens = planted.model, tokens_of([SEQUENCE], "ids")
    shapes = {n: (l.d_out, l.d_in) for n, l in output_layers(model).items()}
    mask = subspace.Mask.of_columns(planted.neurons, shapes)
    control = subspace.random_like(mask, 0, "columns")

    def loss():
        return float(losses(model, tokens)[0])

    with torch.no_grad():
        with mask.applied(model):
            cut = loss()
        with control.applied(model):
            other = loss()
        assert cut > 3 and other < cut - 1 and loss() == pytest.approx(planted.loss, abs=1e-4)


def test_recall_against_a_count_by_hand():
    scores = {"a": torch.tensor([9.0, 1, 8, 2]), "b": torch.tensor([7.0, 3, 6, 0, 5, 4])}
    made = recall_at_k(scores, {"a": [0, 3], "b": [2]}, [0.1, 0.2, 0.3, 0.4, 1.0])
    # order: a0 a2 b0 b2 b4 b5 b1 a3 a1 b3
    assert made.recall.values.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 1.0])
    assert made.chance.values.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.0]) and int(made.n) == 3
    # two or three of three planted among four looked at of ten
    assert float(made.p[3]) == pytest.approx((3 * 6 / 2 * 4 + 4) / 120 * 1.0)
    assert (
        (made.low <= made.recall).all()
        and (made.recall <= made.high).all()
        and provenance(made)["kind"] == "recall at k"
    )
    assert recall_at_k({"a": torch.zeros(10)}, {"a": [0]}, 0.5).recall.item() == 0, "equal scores are no find"


def test_refusals():
    model = tiny("gpt2")
    for text, call in (
        ("expected one", lambda: inject(model, MEM)),
        ("share=0", lambda: inject(model, SEQUENCE, share=0)),
        ("not below threshold", lambda: inject(model, SEQUENCE, steps=2)),
        ("no layer", lambda: recall_at_k({"a": [1.0]}, {"b": [0]})),
        ("at least one neuron", lambda: recall_at_k({"a": [1.0, 2.0]}, {"a": [0]}, 0.1)),
        ("NaN", lambda: recall_at_k({"a": [float("nan")]}, {"a": [0]}, 1.0)),
        ("memorised.0. with clean.2.", lambda: subspace.subnet(model, MEM, torch.cat([CLEAN[:2], MEM[:1]]))),
        ("ratio=", lambda: subspace.subnet(model, MEM, ratio=0)),
        ("memorised.1. with clean.0.", lambda: gradient_ascent(model, MEM, MEM[1:2])),
    ):
        with pytest.raises(SubspaceError, match=text):
            call()


def small(kind="llama"):
    return dict(prefix=4, steps=30, ratio=0.05), tiny(kind)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_subnet_removes_and_balanced_subnet_spares(kind):
    options, model = small(kind)
    before = {n: p.clone() for n, p in model.named_parameters()}
    alone, both = subspace.subnet(model, MEM, **options), subspace.subnet(model, MEM, CLEAN, **options)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.named_parameters())

    def loss(mask, ids, prefix):
        with torch.no_grad(), mask.applied(model):
            return float(losses(model, tokens_of(ids, "ids", prefix)).mean())

    masks = {
        "subnet": alone.mask(0.05),
        "balanced": both.mask(0.05),
        "random": subspace.random(model).mask(0.05, per="layer"),
    }
    assert all(m.count == masks["random"].count for m in masks.values())
    bad, good = ({n: loss(m, *of) for n, m in masks.items()} for of in ((MEM, 4), (CLEAN, 1)))
    assert bad["subnet"] > bad["random"] and bad["balanced"] > bad["random"] and good["balanced"] < good["subnet"]


def test_the_gradient_passes_straight_through_the_mask():
    """One step without momentum or decay: s moves by rate * dL/dW_eff * W * sign(s) of plain autograd."""
    model = tiny("llama")
    name = "model.layers.1.mlp.up_proj"
    layer = linears(model, name)[name].module
    start, end = (
        subspace.subnet(
            model, MEM, layers=name, prefix=4, steps=n, rate=0.5, momentum=0.0, weight_decay=0.0, ratio=0.1, seed=7
        )
        for n in (1, 2)
    )
    s0 = (torch.rand(48, 32, generator=torch.Generator().manual_seed(7)) * 2 - 1) / 32**0.5
    old = layer.weight.detach().clone()

    def step(s):
        kept = s.abs() > s.abs().flatten().sort().values[int(0.1 * s.numel()) - 1]
        layer.weight.data.copy_(old * kept)
        layer.weight.requires_grad_(True)
        ids = MEM
        loss = -F.cross_entropy(model(ids).logits[:, 3:-1].flatten(0, 1), ids[:, 4:].flatten())
        (g,) = torch.autograd.grad(loss, [layer.weight])
        layer.weight.requires_grad_(False)
        return s - 0.5 * g * old * s.sign()

    s1 = step(s0)
    torch.testing.assert_close(start.values[name], -s1.abs(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(end.values[name], -step(s1).abs(), rtol=1e-4, atol=1e-6)


def test_gradient_ascent_climbs_and_stops():
    model = tiny("llama")
    edit = gradient_ascent(model, MEM, CLEAN, prefix=4, steps=10, rate=1e-2)
    path = np.array(edit.about["path"], float)
    assert path[-1, 0] > path[0, 0] + 1 and len(path) == 10
    with torch.no_grad(), edit.applied(model):
        assert float(losses(model, tokens_of(MEM, "ids", 4)).mean()) > path[-2, 0]
    early = gradient_ascent(model, MEM, prefix=4, steps=50, rate=1e-2, until=path[3, 0])
    assert early.about["steps"] < 50 and early.about["path"][-1][0] >= path[3, 0]
