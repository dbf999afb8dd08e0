"""Factors against explicit sums over per-token gradients, the exact Fisher where it is a Kronecker product, resumed
sums, and curvlinops where it is there.
"""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import lens.curvature as curvature
from lens.curvature import passes
from lens.curvature.ending import Ending
from lens.curvature.factors import add_gram, empty_gram, mirrored, packed
from lens.engine.linear import LinearError
from lens.engine.stopping import Stopped
from lens.scoring.likelihood import Likelihood
from tests import kinds
from tests.curvature import naive

IDS = np.random.default_rng(0).integers(0, 97, (6, 11))
LLAMA = ["model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj", "model.layers.2.mlp.down_proj"]


@pytest.mark.parametrize(
    "kind, names",
    [
        ("llama", LLAMA),
        ("gpt2", ["transformer.h.0.mlp.c_fc", "transformer.h.2.mlp.c_proj"]),
        ("olmo2", LLAMA),
        ("gpt_neox", ["gpt_neox.layers.1.mlp.dense_h_to_4h"]),
    ],
)
@pytest.mark.parametrize("fisher", ["empirical", "true"])
def test_factors_are_the_sums_over_every_tokens_gradient(tiny, kind, names, fisher):
    model = tiny(kind)
    made = curvature.factors(model, names, IDS, fisher=fisher, seed=3, rows=4)
    labels = IDS[:, 1:] if fisher == "empirical" else naive.drawn_labels(model, IDS, 3)
    x, g = naive.tokens_of(model, IDS, labels, names)
    for name in names:
        assert made.tokens[name] == 60 == len(x[name])
        for ours, rows in ((made.a[name], x[name]), (made.g[name], g[name])):
            assert ours.dtype == torch.float32
            assert torch.allclose(
                ours.double(), naive.sum_of_outer(rows), rtol=2e-4, atol=1e-6 * float(ours.abs().max())
            )


def test_true_and_empirical_fisher_differ_and_draws_depend_on_the_seed_only(tiny):
    model = tiny("llama")
    a = curvature.factors(model, LLAMA, IDS, seed=1, rows=6)
    b = curvature.factors(model, LLAMA, IDS, seed=1, rows=1)
    c = curvature.factors(model, LLAMA, IDS, seed=2)
    e = curvature.factors(model, LLAMA, IDS, fisher="empirical")
    for name in LLAMA:
        assert torch.allclose(a.g[name], b.g[name], rtol=1e-3, atol=1e-5 * float(a.g[name].abs().max())), (
            "the cut into batches changes no draw"
        )
        assert not torch.allclose(a.g[name], c.g[name], rtol=1e-2) and not torch.allclose(
            a.g[name], e.g[name], rtol=1e-2
        )
        assert torch.allclose(a.a[name], e.a[name], rtol=1e-4, atol=1e-6), "labels say nothing of what goes in"


def test_gate_and_up_share_their_input_factor_and_down_has_its_own(tiny):
    made = curvature.factors(tiny("llama"), "mlp", IDS)
    assert len(made.layers) == 9
    for block in range(3):
        gate, up, down = (made.a[f"model.layers.{block}.mlp.{n}_proj"] for n in ("gate", "up", "down"))
        assert gate is up and down is not gate
    assert made.nbytes == sum(3 * t for t in (32 * 32 * 4, 48 * 48 * 4, 48 * 48 * 4, 48 * 48 * 4, 32 * 32 * 4))


def test_triangle_by_blocks_is_the_whole_product():
    for width in (5, 64, 130, 500, 1536):  # the last has pages of its own
        x = torch.randn(37, width, generator=torch.Generator().manual_seed(width))
        total, second = empty_gram(width), empty_gram(width)
        add_gram(total, x[:20], first=True)
        add_gram(total, x[20:])
        add_gram(second, x[:20])
        add_gram(second, x[20:])
        whole = mirrored(total, width)
        assert torch.allclose(whole, x.T @ x, atol=1e-4) and torch.equal(whole, whole.T)
        assert torch.equal(mirrored(packed(whole), width), whole)
        assert torch.allclose(mirrored(second, width), whole, atol=1e-5)
    assert len(total) < 0.65 * width * width
    # the matrix takes the place of the sum, and is a matrix like any other
    assert whole.data_ptr() == total.data_ptr() and whole.is_contiguous()
    torch.testing.assert_close(whole.clone() @ whole, whole @ whole)


class OneLayer(nn.Module):
    """Softmax regression: y = W x."""

    def __init__(self, d_in=4, d_out=5):
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)


def test_kfac_is_the_exact_fisher_where_all_tokens_have_one_input():
    """F = E_x sum_y p(y|x) vec(grad) vec(grad)^T; with one input x it is (diag p - p p^T) (x) x x^T, a Kronecker
    product.
    """
    torch.manual_seed(0)
    model = OneLayer()
    x = torch.randn(4)

    def every_label(model, batch, generator):
        logits = model.linear(batch.expand(5, 4))
        weight = logits[0].detach().softmax(-1).sqrt() * 5**0.5
        return (weight * F.cross_entropy(logits, torch.arange(5), reduction="none")).sum()

    made = curvature.factors(model, "linear", [x], objective=every_label)
    kfac = torch.kron(made.g["linear"], made.a["linear"])
    w = model.linear.weight.detach().clone()
    p = (w @ x).softmax(-1)
    exact = torch.zeros(20, 20)
    for y in range(5):
        grad = torch.autograd.functional.jacobian(
            lambda v: F.cross_entropy((v.reshape(5, 4) @ x)[None], torch.tensor([y])), w.flatten()
        )
        exact += p[y] * torch.outer(grad, grad)
    assert torch.allclose(kfac, exact, atol=1e-6) and exact.abs().max() > 0.01


def test_one_tokens_kfac_is_its_gradients_outer_product(tiny):
    model, name = tiny("llama"), "model.layers.2.mlp.down_proj"
    ids = IDS[:1, :2]
    made = curvature.factors(model, name, ids, fisher="empirical")
    parameter = model.model.layers[2].mlp.down_proj.weight.requires_grad_(True)
    with torch.enable_grad():
        F.cross_entropy(model(torch.tensor(ids[:, :1])).logits[0], torch.tensor(ids[0, 1:])).backward()
    grad = parameter.grad.flatten()
    exact = torch.outer(grad, grad)
    assert torch.allclose(
        torch.kron(made.g[name], made.a[name]), exact, rtol=1e-3, atol=1e-6 * float(exact.abs().max())
    )


def test_ekfac_second_moments_are_the_means_of_products_per_token(tiny):
    model = tiny("llama")
    made = curvature.factors(model, LLAMA, IDS, seed=3)
    decomposition = curvature.second_moments(model, curvature.decompose(model, made), IDS, seed=3, rows=2)
    x, g = naive.tokens_of(model, IDS, naive.drawn_labels(model, IDS, 3), LLAMA)
    for name in LLAMA:
        layer = decomposition[name]
        expected = torch.zeros(layer.shape, dtype=torch.float64)
        for xt, gt in zip(x[name], g[name]):
            expected += torch.outer((layer.u_g.double().T @ gt).square(), (layer.u_a.double().T @ xt).square())
        expected /= len(x[name])
        assert torch.allclose(layer.moments.double(), expected, rtol=1e-3, atol=1e-6 * float(expected.max()))
        # the margins of both: the same mean squares, but not the same table
        assert not torch.allclose(layer.moments.double(), layer.mass(), rtol=0.05)


# -- cut and taken up again -------------------------------------------------------------------------------------------


def dies_after(batches):
    """A `stop` that fails as a killed process would, between two batches."""
    asked = iter(range(100))

    def stop():
        if next(asked) == batches:
            raise KeyboardInterrupt
        return False

    return stop


@pytest.mark.parametrize("moments", [False, True])
def test_statistics_that_were_cut_end_with_the_same_bits(tiny, tmp_path, monkeypatch, moments):
    model = tiny("llama")
    plain = curvature.decompose(model, curvature.factors(model, LLAMA, IDS, rows=1))
    if moments:

        def run(**options):
            return {
                n: (layer.moments,)
                for n, layer in curvature.second_moments(model, plain, IDS, rows=1, **options).items()
            }
    else:

        def run(**options):
            made = curvature.factors(model, LLAMA, IDS, rows=1, **options)
            return {n: (made.a[n], made.g[n]) for n in LLAMA}

    whole = run()
    monkeypatch.setattr(passes, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, stop=dies_after(4))
    files = list(tmp_path.iterdir())
    assert len(files) == 1, "one state, and nothing half written"
    ran = []
    step = passes.NextToken.__call__
    monkeypatch.setattr(
        passes.NextToken, "__call__", lambda self, ids, first: (ran.append(first), step(self, ids, first))[1]
    )
    again = run(folder=tmp_path)
    assert ran == [4, 5], "only what was missing"
    assert all(torch.equal(x, y) for n in LLAMA for x, y in zip(whole[n], again[n]))
    finished = run(folder=tmp_path)
    assert ran == [4, 5] and all(torch.equal(x, y) for n in LLAMA for x, y in zip(whole[n], finished[n]))


def test_sums_that_an_earlier_build_cut_otherwise_are_taken_up(tmp_path, monkeypatch):
    """A file with six block rows, as it was written before, goes on to the numbers of a run that was not cut."""
    torch.manual_seed(0)
    model, x = OneLayer(300, 5), list(torch.randn(4, 3, 300))

    def run(**options):
        def loss(module, batch, generator):
            return F.cross_entropy(module.linear(batch), torch.tensor([0, 1, 2]), reduction="sum")

        return curvature.factors(model, "linear", x, objective=loss, **options)

    whole = run()
    monkeypatch.setattr(passes, "SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, stop=dies_after(2))
    path = next(tmp_path.iterdir())
    with safe_open(str(path), framework="pt") as file:
        facts, sums = json.loads(file.metadata()["facts"]), {name: file.get_tensor(name) for name in file.keys()}
    assert facts["notes"].pop("cut") == [4, 192]
    total = mirrored(sums["a/linear"], 300)
    sums["a/linear"] = torch.cat([total[r : r + 64, r:].reshape(-1) for r in range(0, 300, 64)])
    save_file(sums, str(path), {"facts": json.dumps(facts)})
    again = run(folder=tmp_path)
    assert torch.equal(again.a["linear"], whole.a["linear"]) and torch.equal(again.g["linear"], whole.g["linear"])


@pytest.mark.parametrize("kind, scale", [("llama", None), ("llama", 0.25), ("gemma2", None)])
@pytest.mark.parametrize("drawn", [True, False])
def test_the_gradient_at_the_end_of_a_model_is_autograds(tiny, kind, scale, drawn):
    """Of plain heads in tables that are used again, of those with a factor, and of those with a soft cap."""
    like = Likelihood((kinds.make if kind in kinds.VARIANTS else tiny)(kind), piece=4 * 97 * 4)
    like.scale = scale
    h = torch.randn(10, 32, generator=torch.Generator().manual_seed(0))
    want = torch.rand(10, generator=torch.Generator().manual_seed(1))
    want = want if drawn else (97 * want).long()
    at = h.clone().requires_grad_()
    with torch.enable_grad():
        logits = like.logits(at)
        labels = naive.inverted(logits.detach().softmax(-1), want) if drawn else want
        F.cross_entropy(logits, labels, reduction="sum").backward()
    with torch.enable_grad():
        ending = Ending(like, drawn)
        ours, again = ending(h, want), ending(h, want)
    torch.testing.assert_close(ours, at.grad, rtol=0, atol=2e-6 * float(at.grad.abs().max()) + 1e-7)
    assert torch.equal(ours, again) and like.piece == 4 and ending._is_product(h) == (kind != "gemma2")


def test_a_state_is_of_one_model_one_text_and_one_choice(tiny, tmp_path):
    for model, ids, options in (
        (tiny("llama"), IDS, {}),
        (tiny("llama", 1), IDS, {}),
        (tiny("llama"), IDS[::-1].copy(), {}),
        (tiny("llama"), IDS, {"seed": 1}),
        (tiny("llama"), IDS, {"fisher": "empirical"}),
    ):
        before = len(list(tmp_path.iterdir()))
        curvature.factors(model, LLAMA, ids, folder=tmp_path, **options)
        assert len(list(tmp_path.iterdir())) == before + 1


def test_a_damaged_state_is_set_aside_with_a_warning(tiny, tmp_path):
    model = tiny("llama")
    whole = curvature.factors(model, LLAMA, IDS, folder=tmp_path)
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="set aside"):
        again = curvature.factors(model, LLAMA, IDS, folder=tmp_path)
    assert all(torch.equal(whole.g[n], again.g[n]) for n in LLAMA)


def test_stop_says_how_far_it_came_and_leaves_no_hook(tiny, tmp_path):
    model = tiny("llama").requires_grad_(True)
    with pytest.raises(Stopped, match="after 0 of 6"):
        curvature.factors(model, LLAMA, IDS, rows=1, folder=tmp_path, stop=lambda: True)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_weights_get_no_gradient_and_a_bridge_gives_the_same(tiny_bridge):
    bridge, model = tiny_bridge("llama")
    a, b = curvature.factors(bridge, LLAMA, IDS), curvature.factors(model.requires_grad_(True), LLAMA, IDS)
    assert a.model == b.model and all(torch.allclose(a.g[n], b.g[n], rtol=1e-3, atol=1e-7) for n in LLAMA)
    assert all(p.grad is None for p in model.parameters())


def test_bad_input(tiny):
    model = tiny("llama")
    with pytest.raises(LinearError, match="near ones.*down_proj"):
        curvature.factors(model, "model.layers.1.mlp.dwn_proj", IDS)
    for bad, words in (
        (IDS[0], "rows, length"),
        (IDS[:, :1], "two tokens"),
        (IDS.astype(float), "token ids"),
        (IDS - 50, "token ids"),
        ([], "no row"),
        (IDS + 60, "model has 97 tokens"),
    ):
        with pytest.raises(curvature.CurvatureError, match=words):
            curvature.factors(model, LLAMA, bad)
    with pytest.raises(curvature.CurvatureError, match="fisher='gold'"):
        curvature.factors(model, LLAMA, IDS, fisher="gold")
    with pytest.raises(curvature.CurvatureError, match="seed=-1"):
        curvature.factors(model, LLAMA, IDS, seed=-1)
    with pytest.raises(curvature.CurvatureError, match="rows=0"):
        curvature.factors(model, LLAMA, IDS, rows=0)
    with pytest.raises(curvature.CurvatureError, match="sum of the losses"):
        curvature.factors(model, LLAMA, [IDS], objective=lambda m, batch, generator: torch.ones(3))
    two = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    with pytest.raises(curvature.CurvatureError, match="no gradient reached 'idle'"):
        curvature.factors(
            two,
            ["used", "idle"],
            [torch.ones(1, 2)],
            objective=lambda m, batch, generator: m["used"](batch).square().sum(),
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fisher", ["empirical", "true"])
def test_against_curvlinops(fisher):
    """An independent K-FAC on a small network; its factors carry other constants, the products must agree."""
    curvlinops = pytest.importorskip("curvlinops")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    labels = y if fisher == "empirical" else torch.arange(3).repeat(8)

    def objective(model, batch, generator):
        if fisher == "empirical":
            return F.cross_entropy(model(batch), labels, reduction="sum")
        # every label in turn, each weighted so that its squared gradient counts with its probability
        logits = model(batch.repeat_interleave(3, 0))
        weight = logits.detach().softmax(-1).gather(1, labels[:, None])[:, 0]
        return ((3 * weight).sqrt() * F.cross_entropy(logits, labels, reduction="none")).sum()

    made = curvature.factors(net, "*", [x], objective=objective)
    kinds = {"empirical": "empirical", "true": "type-2"}
    theirs = curvlinops.KFACLinearOperator(
        net,
        nn.CrossEntropyLoss(reduction="sum"),
        list(net.parameters()),
        [(x, y)],
        fisher_type=kinds[fisher],
        kfac_approx="expand",
    )
    dense = theirs @ torch.eye(sum(p.numel() for p in net.parameters()))
    at = 0
    for name, parameter in net.named_parameters():
        n = parameter.numel()
        ours = torch.kron(made.g[name.removesuffix(".weight")], made.a[name.removesuffix(".weight")])
        block = dense[at : at + n, at : at + n]
        # a sum of 8 losses against a mean
        assert torch.allclose(ours * 8, block, rtol=1e-3, atol=1e-5 * float(block.abs().max())), name
        at += n
