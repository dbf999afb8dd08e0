"""Weight scores against formulas written out, planted columns, and the refusals of `locate`."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lens import subspace
from lens.engine.linear import LinearError
from lens.subspace import (
    Mask,
    SubspaceError,
    column_z,
    contrast,
    corrected,
    locate,
    magnitude,
    score,
    statistics,
    wanda,
)
from tests.models import tiny

G = torch.Generator().manual_seed(11)
MEM, REF = (torch.randint(1, 97, (8, 16), generator=G) for _ in range(2))


class One(nn.Module):
    """One linear layer that is fed directly."""

    def __init__(self, d_in=20, d_out=12):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Linear(d_in, d_out)

    def forward(self, x):
        return self.net(x)


def fed(model, items):
    return statistics(model, "net", items, run=lambda some: model(torch.stack(list(some))))


def texts(seed, n=30, d=20, planted=(), size=3.0, loud=None):
    """Items [n] of rows [5, d]; the planted columns are larger, and a loud one is large on any text."""
    x = torch.randn(n, 5, d, generator=torch.Generator().manual_seed(seed))
    x[..., list(planted)] *= size
    if loud is not None:
        x[..., loud] += 12
    return list(x)


def test_contrast_is_the_published_rule_written_out():
    model = tiny("llama")
    mem, ref = statistics(model, "mlp", MEM), statistics(model, "mlp", REF)
    mask = contrast(model, mem, ref).mask(0.1)
    for name, weight in ((n, dict(model.named_modules())[n].weight.detach()) for n in mem.names):
        a, b = (np.sqrt(s.mean(name, "unit").numpy()) for s in (mem, ref))
        s_mem, s_ref = np.abs(weight.numpy()) * a.astype(np.float32), np.abs(weight.numpy()) * b.astype(np.float32)
        expected, k = np.zeros(s_mem.shape, bool), int(0.1 * s_mem.shape[1])
        for row in range(len(s_mem)):
            top = np.argsort(-s_mem[row], kind="stable")[:k]
            expected[row, top] = s_mem[row, top] > s_ref[row, top]
        assert np.array_equal(mask.dense(name).numpy(), expected)
    assert 0 < mask.density < 0.1


@pytest.mark.parametrize("method", ["contrast", "corrected"])
def test_equal_sets_give_an_empty_mask(method):
    model = tiny("llama")
    stats = statistics(model, "mlp", MEM)
    made = contrast(model, stats, stats) if method == "contrast" else corrected(model, stats, stats, margin=0)
    assert made.mask(0.5).count == 0


def test_a_planted_column_is_recovered():
    model = One()
    ref = fed(model, texts(0))
    for planted in ((4,), (1, 17)):
        mem = fed(model, texts(1, planted=planted))
        assert set(torch.nonzero(column_z(mem, ref)["net"] > 4).flatten().tolist()) == set(planted)
        mask = corrected(model, mem, ref).mask(len(planted) / 20)
        assert set(np.flatnonzero(mask.columns("net")).tolist()) == set(planted) and mask.count == 12 * len(planted)


def test_the_correction_leaves_out_noise_and_a_column_that_is_large_on_any_text():
    model = One()
    with torch.no_grad():
        model.net.weight.copy_(torch.sign(model.net.weight))
    mem, ref = fed(model, texts(1, planted=(4,), loud=9)), fed(model, texts(0, loud=9))
    same = fed(model, texts(2, loud=9))
    published = np.flatnonzero(contrast(model, same, ref).mask(0.5).columns("net"))
    assert len(published) > 2, "with nothing planted the sign test takes noise"
    assert corrected(model, same, ref).mask(0.5).count == 0
    assert np.flatnonzero(corrected(model, mem, ref).mask(0.5).columns("net")).tolist() == [4]
    assert int(wanda(model, mem).neurons()["net"].argmax()) == 9, "without a contrast the loud column leads"


def test_column_z_is_welchs():
    from scipy.stats import ttest_ind

    model = One()
    a, b = texts(1, n=9, planted=(2,)), texts(0, n=14)

    def unit(items):
        return np.stack(
            [(x.double().square() / x.double().square().sum(-1, keepdim=True)).mean(0).numpy() for x in items]
        )

    expected = ttest_ind(unit(a), unit(b), equal_var=False).statistic
    np.testing.assert_allclose(column_z(fed(model, a), fed(model, b))["net"], expected, rtol=1e-3, atol=1e-3)


def test_magnitude_wanda_and_activation_written_out():
    model, name = tiny("gpt2"), "transformer.h.1.mlp.c_proj"
    stats = statistics(model, name, MEM, absolute=True)
    weight = dict(model.named_modules())[name].weight.detach().T
    torch.testing.assert_close(magnitude(model, name).values[name], weight.abs())
    torch.testing.assert_close(wanda(model, stats).values[name], weight.abs() * stats.norm(name).float())
    torch.testing.assert_close(
        subspace.activation(model, stats).values[name], stats.mean(name, "absolute").float() * weight.norm(dim=0)
    )
    pruned = wanda(model, stats).mask(0.25, largest=False).dense(name)
    value = wanda(model, stats).values[name]
    assert all(
        set(torch.nonzero(pruned[i]).flatten().tolist()) == set(value[i].argsort()[:12].tolist())
        for i in range(len(value))
    )


@pytest.mark.parametrize("per", ["row", "layer", "model"])
def test_shares_are_of_rows_layers_or_the_model(per):
    model = tiny("llama")
    made = magnitude(model).mask(0.1, per=per)
    counts = {name: len(index) for name, index in made.layers.items()}
    if per == "row":
        assert all((made.dense(n).sum(1) == int(0.1 * d)).all() for n, (_, d) in made.shapes.items())
    elif per == "layer":
        assert counts == {n: int(0.1 * a * b) for n, (a, b) in made.shapes.items()}
    else:
        flat = torch.cat([v.flatten() for v in magnitude(model).values.values()])
        assert made.count == int(0.1 * len(flat))
        smallest = min(
            float(magnitude(model).values[n].view(-1)[torch.from_numpy(i.astype(np.int64))].min())
            for n, i in made.layers.items()
            if len(i)
        )
        assert smallest >= float(flat.sort(descending=True).values[made.count])


@pytest.mark.parametrize("method", ["contrast", "wanda", "magnitude", "corrected"])
def test_a_larger_share_holds_the_smaller_one(method):
    model = tiny("llama")
    made = score(model, MEM, REF, method=method, **({"margin": 1.0} if method == "corrected" else {}))
    masks = [made.mask(s) for s in (0.05, 0.1, 0.3, 1.0)]
    assert all((a - b).count == 0 for a, b in itertools.pairwise(masks))
    assert all((a | b).count >= max(a.count, b.count) for a, b in itertools.pairwise(masks))


def test_union_over_steps_only_grows():
    model, ref = One(), None
    ref, union, counts = fed(model, texts(0)), None, []
    for step in range(6):
        mask = contrast(model, fed(model, texts(10 + step)), ref).mask(0.1)
        union = mask if union is None else union | mask
        counts.append(union.count)
        assert (mask - union).count == 0
    assert counts == sorted(counts) and counts[-1] > counts[0]


def test_locate_by_name(tiny_bridge):
    bridge, _ = tiny_bridge("llama")
    mask = locate(bridge, MEM, REF, sparsity=0.1)
    assert isinstance(mask, Mask) and mask.about["method"] == "contrast" and len(mask.shapes) == 9
    assert (
        locate(bridge, MEM, method="random", sparsity=0.1, seed=3).iou(
            locate(bridge, MEM, method="random", sparsity=0.1, seed=3)
        )
        == 1.0
    )
    neurons = locate(bridge, MEM, method="activation", sparsity=0.1)
    assert neurons.count == 32 * int(0.1 * 144) and all(set(neurons.columns(n)) <= {0, 32} for n in neurons.shapes)
    with mask.applied(bridge):
        pass


def test_locate_refuses():
    model = tiny("llama")
    shared = REF.clone()
    shared[2], shared[5, 3:13] = MEM[1], MEM[6, 4:14]
    with pytest.raises(SubspaceError) as caught:
        locate(model, MEM, shared)
    assert (
        "memorised[1] with reference[2] (16 tokens)" in str(caught.value)
        and "memorised[6] with reference[5]" in str(caught.value)
        and "2 pairs" in str(caught.value)
    )
    with pytest.raises(SubspaceError, match=r"memorised\[0\] with reference\[1\] \(1 tokens\)"):
        locate(model, [[5], [6]], [[7], [5]])
    for text, call in (
        ("method=", lambda: locate(model, MEM, REF, method="hope")),
        ("give reference", lambda: locate(model, MEM)),
        ("less than one", lambda: locate(model, MEM, REF, sparsity=0.001)),
        ("sparsity=1.5", lambda: locate(model, MEM, REF, sparsity=1.5)),
        ("per=", lambda: locate(model, MEM, REF, per="column")),
        ("per='row'", lambda: locate(model, MEM, method="activation", per="row")),
        ("margin=", lambda: locate(model, MEM, REF, method="corrected", margin=-1)),
        (
            "different weights",
            lambda: contrast(model, statistics(model, "mlp", MEM), statistics(tiny("llama", 1), "mlp", REF)),
        ),
        ("others", lambda: contrast(model, statistics(model, "mlp", MEM), statistics(model, "*.down_proj", REF))),
        ("of weights", lambda: wanda(tiny("llama", 1), statistics(model, "mlp", MEM))),
    ):
        with pytest.raises(SubspaceError, match=text):
            call()
    with pytest.raises(LinearError, match="near ones"):
        locate(model, MEM, REF, layers="*.mlp.dwn_proj")


def test_overlaps_against_a_naive_search():
    rng = np.random.default_rng(0)
    a, b = ([rng.integers(0, 3, rng.integers(8, 14)) for _ in range(12)] for _ in range(2))
    found = {(i, j) for i, j, _ in subspace.overlaps(subspace.tokens_of(a, "a"), subspace.tokens_of(b, "b"), run=5)}
    naive = {
        (i, j)
        for i, x in enumerate(a)
        for j, y in enumerate(b)
        if any(np.array_equal(x[s : s + 5], y[t : t + 5]) for s in range(len(x) - 4) for t in range(len(y) - 4))
    }
    assert found == naive and 0 < len(naive) < 144
