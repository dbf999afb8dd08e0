"""The edit against full sorts and closed forms; exact restoring; what it refuses."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

import lens.curvature as curvature
from lens.curvature.edit import keep_set
from lens.engine.weights import WeightError
from tests.curvature import naive
from tests.curvature.made import decomposition, layer, orthogonal

RHOS = (0.05, 0.3, 0.5, 0.6, 0.8, 0.95, 0.999)
IDS = np.random.default_rng(0).integers(0, 97, (12, 17))


def real(model, ids=IDS, layers="mlp", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return curvature.decompose(model, curvature.factors(model, layers, ids), **options)


def pairs(stay):
    return {tuple(map(int, p)) for p in stay.nonzero()}


@pytest.mark.parametrize("shape", [(7, 9), (12, 3), (1, 6), (20, 20)])
@pytest.mark.parametrize("rho", RHOS)
def test_keep_set_is_that_of_sorting_all_products(shape, rho):
    one = layer(shape, seed=sum(shape))
    expected = naive.kept_by_sorting(one.lam, one.mu, rho)
    assert pairs(keep_set(one, rho)) == expected
    # the path that sorts a table (EKFAC) on the table of products
    assert pairs(keep_set(dataclasses.replace(one, moments=one.mass()), rho, "ekfac")) == expected


@pytest.mark.parametrize("by", ["kfac", "ekfac", "a", "g"])
def test_keep_sets_are_nested_and_reach_their_mass(by):
    one = layer((11, 8), moments=torch.rand(11, 8, generator=torch.Generator().manual_seed(5)))
    sets = [keep_set(one, rho, by) for rho in np.linspace(0.01, 1, 60)]
    mass = one.mass(by)
    for rho, small, large in zip(np.linspace(0.01, 1, 60), sets, sets[1:]):
        assert not (small & ~large).any()
        assert float(mass[small].sum()) >= rho * float(mass.sum()) * (1 - 1e-9)
        # without its smallest members it falls short
        least = mass[small].min()
        assert float(mass[small & (mass > least * (1 + 1e-6))].sum()) < rho * float(mass.sum())
    assert bool(sets[-1].all())


def test_mass_is_accounted_for():
    one = layer()
    assert torch.allclose(one.mass().sum(), one.lam.sum() * one.mu.sum())
    edit = curvature.keep(decomposition(one), 0.6)
    kept = sum(float(one.lam[i] * one.mu[j]) for i, j in pairs(keep_set(one, 0.6)))
    assert edit.mass["layer"] == pytest.approx(kept / float(one.lam.sum() * one.mu.sum())) and edit.mass["layer"] >= 0.6
    assert edit.kept == len(pairs(keep_set(one, 0.6))) / 63
    # what went is orthogonal to what stayed
    assert edit.removed**2 + float(edit.new["layer"].norm()) ** 2 == pytest.approx(
        float(one.weight.norm()) ** 2, rel=1e-5
    )
    table = edit.summary()
    assert (
        table.kept.item() == edit.kept
        and table.removed.item() == edit.removed
        and table.norm.item() == pytest.approx(float(one.weight.norm()))
    )


def test_the_edit_is_the_projection_written_out():
    one = layer((5, 6))
    c = one.u_g.double().T @ one.weight.double() @ one.u_a.double()
    expected = torch.zeros(5, 6, dtype=torch.float64)
    for i, j in naive.kept_by_sorting(one.lam, one.mu, 0.7):
        expected += c[i, j] * torch.outer(one.u_g[:, i].double(), one.u_a[:, j].double())
    assert torch.allclose(curvature.keep(decomposition(one), 0.7).new["layer"].double(), expected, atol=1e-5)


@pytest.mark.parametrize("by", ["kfac", "a", "g"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rho_1_gives_the_weight_back_bit_equal(by, dtype):
    one = layer()
    one = dataclasses.replace(one, weight=one.weight.to(dtype))
    edit = curvature.keep(decomposition(one), 1.0, by=by)
    assert torch.equal(edit.new["layer"], one.weight) and edit.kept == 1 and edit.removed == 0
    assert curvature.keep(decomposition(one), 0.5).new["layer"].dtype == dtype


def test_no_curvature_on_the_gradients_side_gives_principal_component_truncation():
    one = layer((6, 8), lam=np.ones(6))
    for rho in (0.4, 0.7, 0.95):
        share = one.mu.cumsum(0) / one.mu.sum()
        k = int((share < rho).sum()) + 1
        v = one.u_a[:, :k].double()
        expected = one.weight.double() @ v @ v.T
        assert torch.allclose(curvature.keep(decomposition(one), rho).new["layer"].double(), expected, atol=1e-5)
        assert torch.allclose(
            curvature.keep(decomposition(layer((6, 8))), rho, by="a").new["layer"].double(), expected, atol=1e-5
        )


def test_signs_and_turns_within_one_eigenvalue_change_nothing():
    lam, mu = [4.0, 2.0, 2.0, 2.0, 0.5], [3.0, 1.0, 1.0, 0.25]
    one = layer((5, 4), lam=lam, mu=mu)
    turned_g, turned_a = one.u_g.clone(), one.u_a.clone()
    turned_g[:, 1:4] = turned_g[:, 1:4] @ orthogonal(3, 11)
    turned_a[:, 1:3] = turned_a[:, 1:3] @ orthogonal(2, 12)
    turned_g[:, 0] *= -1
    turned_a[:, 3] *= -1
    other = dataclasses.replace(one, u_g=turned_g, u_a=turned_a)
    for rho in RHOS:
        a, b = (curvature.keep(decomposition(x), rho).new["layer"] for x in (one, other))
        assert torch.allclose(a, b, atol=1e-5), rho


# -- the eigendecomposition -------------------------------------------------------------------------------------------


def test_eigenvectors_take_the_factors_apart_and_the_shared_one_once(tiny, monkeypatch, tmp_path):
    model = tiny("llama")
    factors = curvature.factors(model, "model.layers.1.mlp.*", IDS)
    calls = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: (calls.append(len(m)), eigh(m))[1])
    made = curvature.decompose(model, factors, folder=tmp_path)
    # gate and up share A: of six factors five are distinct
    assert len(calls) == 5 and len(list(tmp_path.iterdir())) == 5
    for name, one in made.items():
        for factor, values, vectors in ((factors.a[name], one.mu, one.u_a), (factors.g[name], one.lam, one.u_g)):
            assert torch.allclose(
                (vectors * values) @ vectors.double().T, factor.double(), atol=1e-6 * float(values[0])
            )
            assert torch.allclose(vectors.T @ vectors, torch.eye(len(values)), atol=1e-5)
            assert (values.diff() <= 0).all() and (values >= 0).all()
    again = curvature.decompose(model, factors, folder=tmp_path)
    assert len(calls) == 5, "found on disk"
    assert all(torch.equal(a.u_a, again[n].u_a) and torch.equal(a.lam, again[n].lam) for n, a in made.items())
    path = next(tmp_path.iterdir())
    path.write_bytes(b"x")
    with pytest.warns(UserWarning, match="computed anew"):
        curvature.decompose(model, factors, folder=tmp_path)
    assert len(calls) == 6


def test_factors_over_fewer_tokens_than_dimensions(tiny):
    model = tiny("llama")
    factors = curvature.factors(model, "model.layers.1.mlp.*", IDS[:2, :11])
    with pytest.warns(
        UserWarning,
        match=r"A \[32, 32\] and G \[48, 48\] of model.layers.1.mlp.gate_proj .*rank 20 at most.*at least 48 tokens",
    ):
        short = curvature.decompose(model, factors)
    one = short["model.layers.1.mlp.gate_proj"]
    assert one.deficient == ["a", "g"] and one.rank("a") == 20 and (one.mu[20:] == 0).all() and (one.mu[:20] > 0).all()
    with pytest.raises(curvature.CurvatureError, match="rank 20 at most.*deficient='drop'.*deficient='keep'"):
        curvature.keep(short, 0.6)
    assert curvature.keep(short, 1.0).removed == 0
    dropped, kept = (curvature.keep(short, 0.9999999, deficient=d) for d in ("drop", "keep"))
    # dropped: nothing acts off the span of the tokens; kept: it acts there as before
    off = one.u_a[:, 25]
    assert float((dropped.new[one.name] @ off).norm()) < 1e-4
    assert torch.allclose(kept.new[one.name] @ off, one.weight @ off, atol=1e-5)
    with pytest.raises(curvature.CurvatureError, match="deficient='ignore'"):
        curvature.keep(short, 0.5, deficient="ignore")


# -- on a model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_applied_and_put_back_bit_equal_also_after_an_exception(tiny, kind):
    model = tiny(kind)
    before = {n: p.clone() for n, p in model.named_parameters()}
    ids = torch.tensor(IDS)
    logits = model(ids).logits
    edit = curvature.keep(real(model), 0.5)
    with edit.applied(model):
        changed = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
        assert changed == [n for n in before if ".mlp." in n and "weight" in n]
        assert not torch.allclose(model(ids).logits, logits, atol=1e-2)
        with pytest.raises(WeightError, match="applied twice"):
            with edit.applied(model):
                pass
        assert not torch.equal(model.get_parameter(changed[0]), before[changed[0]]), "the refusal undoes nothing"
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    with pytest.raises(ZeroDivisionError):
        with edit.applied(model):
            1 / 0
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters()) and torch.equal(
        model(ids).logits, logits
    )


def test_a_bridge_is_edited_as_its_plain_model(tiny_bridge):
    bridge, model = tiny_bridge("llama")
    edit = curvature.keep(real(bridge, layers="model.layers.1.mlp.down_proj"), 0.5)
    ids = torch.tensor(IDS)
    clean = bridge(ids)
    with edit.applied(bridge), edit.applied(model):
        assert torch.allclose(bridge(ids), model(ids).logits, atol=1e-4) and not torch.allclose(
            bridge(ids), clean, atol=1e-2
        )
    assert torch.equal(bridge(ids), clean)


def test_refused(tiny):
    model, other = tiny("llama"), tiny("llama", 1)
    made = real(model)
    edit = curvature.keep(made, 0.5)
    with pytest.raises(curvature.CurvatureError, match="is not the one that the edit kfac 0.5 was made from"):
        with edit.applied(other):
            pass
    with pytest.raises(curvature.CurvatureError, match="belongs to weights"):
        curvature.decompose(other, curvature.factors(model, "mlp", IDS))
    with edit.applied(model), pytest.raises(curvature.CurvatureError, match="leave the edit that is in force"):
        curvature.second_moments(model, made, IDS)
    for rho in (0, -0.1, 1.01, True, "half", float("nan")):
        with pytest.raises(curvature.CurvatureError, match="above 0 and at most 1"):
            curvature.keep(made, rho)
    with pytest.raises(curvature.CurvatureError, match="by='svd'"):
        curvature.keep(made, 0.5, by="svd")
    with pytest.raises(curvature.CurvatureError, match="has no second moments"):
        curvature.keep(made, 0.5, by="ekfac")
    with pytest.raises(curvature.CurvatureError, match="matches none.*near ones.*mlp.up_proj"):
        made.select("model.layers.0.mlp.upp_proj")
    with pytest.raises(curvature.CurvatureError, match="near ones"):
        made["model.layers.0.mlp.up"]
    assert list(made.select("*.1.mlp.*_proj")) == [f"model.layers.1.mlp.{n}_proj" for n in ("gate", "up", "down")]
    factors = curvature.factors(model, "model.layers.1.mlp.up_proj", IDS)
    for value, words in ((float("nan"), "NaN"), (0.0, "zero throughout")):
        broken = dataclasses.replace(factors, g={n: torch.full_like(g, value) for n, g in factors.g.items()})
        with pytest.raises(curvature.CurvatureError, match=words):
            curvature.decompose(model, broken)
