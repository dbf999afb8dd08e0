"""Controls remove as much as the edit and by their own rule; trade-off curves reuse one decomposition and put the
weights back.
"""

import numpy as np
import pytest
import torch

import lens
import lens.curvature as curvature
from lens.curvature import controls
from lens.curvature.controls import random_orthogonal
from tests.curvature.made import decomposition, layer
from tests.curvature.test_edit import IDS, real

KINDS = list(curvature.CONTROLS)


def removed(edit, one):
    return one.weight.double() - edit.new[one.name].double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.97])
def test_a_control_removes_the_same_norm_to_the_nearest_component(kind, rho):
    one = layer((30, 40), seed=4)
    like = curvature.keep(decomposition(one), rho)
    made = curvature.control(decomposition(one), kind, like)
    units = {"svd": 30, "a": 40, "g": 30}.get(kind, 1200)
    # one component more or less carries at most its own share, a few times the average
    assert (
        abs(made.removed**2 - like.removed**2)
        <= 0.6 * (10 if units == 1200 else 5) * float(one.weight.norm()) ** 2 / units
    )
    assert removed(made, one).norm() == pytest.approx(made.removed) and not torch.allclose(
        made.new["layer"], like.new["layer"], atol=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_keeps_the_same_share(kind):
    one = layer((30, 40), seed=4)
    like = curvature.keep(decomposition(one), 0.7)
    made = curvature.control(decomposition(one), kind, like, match="count")
    units = {"svd": 30, "a": 40, "g": 30}.get(kind, 1200)
    assert abs(made.kept - like.kept) <= 0.5 / units + 1e-9


def test_each_kind_goes_by_its_own_rule():
    one = layer((12, 10), seed=3)
    whole = decomposition(one)
    like = curvature.keep(whole, 0.8)
    n = like.counts["layer"]
    of = {kind: curvature.control(whole, kind, like, match="count").new["layer"].double() for kind in KINDS}
    w = one.weight.double()
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    k = round(n / 120 * 10)
    assert torch.allclose(of["svd"], u[:, :k] @ torch.diag(s[:k]) @ vh[:k], atol=1e-5)
    cut = w.abs().flatten().sort(descending=True).values[n - 1]
    assert torch.allclose(of["magnitude"], torch.where(w.abs() >= cut, w, 0.0), atol=1e-6)
    v = one.u_a[:, : round(n / 120 * 10)].double()
    assert torch.allclose(of["a"], w @ v @ v.T, atol=1e-5)
    g = one.u_g[:, : round(n / 120 * 12)].double()
    assert torch.allclose(of["g"], g @ g.T @ w, atol=1e-5)

    def c(x):
        return one.u_g.double().T @ x @ one.u_a.double()

    stay = one.mass() <= one.mass().flatten().sort().values[n - 1]
    assert torch.allclose(c(of["bottom"]), c(w) * stay, atol=1e-5)
    assert int((c(of["shuffled"]).abs() > 1e-4).sum()) <= n and not torch.allclose(
        c(of["shuffled"]), c(like.new["layer"].double()), atol=1e-2
    )
    left, right = random_orthogonal(12, 0).double(), random_orthogonal(10, 1).double()
    pattern = one.mass() >= one.mass().flatten().sort(descending=True).values[n - 1]
    assert torch.allclose(of["random"], left @ ((left.T @ w @ right) * pattern) @ right.T, atol=1e-5)


def test_bottom_of_an_ekfac_edit_goes_by_its_moments():
    moments = torch.rand(12, 10, generator=torch.Generator().manual_seed(1))
    one = layer((12, 10), seed=3, moments=moments)
    like = curvature.keep(decomposition(one), 0.6, by="ekfac")
    made = curvature.control(decomposition(one), "bottom", like, match="count")
    c = one.u_g.T @ made.new["layer"] @ one.u_a
    assert torch.allclose(
        c, one.coefficients * (moments <= moments.flatten().sort().values[like.counts["layer"] - 1]), atol=1e-5
    )
    assert made.mass["layer"] < like.mass["layer"]


def test_draws_are_of_the_seed_and_orthogonal():
    q = random_orthogonal(40, 3)
    assert torch.allclose(q.T @ q, torch.eye(40), atol=1e-5) and not torch.equal(q, random_orthogonal(40, 4))
    # Haar: entries have mean 0 and variance 1 / n
    many = torch.stack([random_orthogonal(8, s) for s in range(400)])
    assert float(many.mean(0).abs().max()) < 4.5 * (1 / 8 / 400) ** 0.5
    one = layer()
    like = curvature.keep(decomposition(one), 0.5)
    for kind, drawn in curvature.CONTROLS.items():
        a, b, c = (curvature.control(decomposition(one), kind, like, seed=s).new["layer"] for s in (1, 1, 2))
        assert torch.equal(a, b) and torch.equal(a, c) != drawn


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_of_an_edit_that_removes_nothing_removes_nothing(kind):
    one = layer()
    like = curvature.keep(decomposition(one), 1.0)
    for match in controls.MATCHES:
        assert torch.equal(curvature.control(decomposition(one), kind, like, match=match).new["layer"], one.weight)


def test_refused():
    one, other = layer(), layer(seed=9)
    like = curvature.keep(decomposition(one), 0.5)
    with pytest.raises(curvature.CurvatureError, match="kind='pca'"):
        curvature.control(decomposition(one), "pca", like)
    with pytest.raises(curvature.CurvatureError, match="match='loss'"):
        curvature.control(decomposition(one), "svd", like, match="loss")
    with pytest.raises(curvature.CurvatureError, match="not of this decomposition"):
        curvature.control(decomposition(other), "svd", like)


# -- curves -----------------------------------------------------------------------------------------------------------


def evaluator(model):
    ids = torch.tensor(IDS)

    def evaluate(edited):
        loss = (
            torch.nn.functional.cross_entropy(
                edited(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            )
            .reshape(len(ids), -1)
            .mean(1)
        )
        return {"loss": float(loss.mean()), "by_row": loss}

    return evaluate


def test_a_curve_is_its_points_one_by_one_from_one_decomposition(tiny, monkeypatch):
    model = tiny("llama")
    made = real(model)
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: pytest.fail("the decomposition is reused"))
    before = {n: p.clone() for n, p in model.named_parameters()}
    ds = curvature.curve(
        model, made, (0.9, 0.5), evaluator(model), controls=("random", "svd", "bottom"), draws=2, seed=5
    )
    assert (
        list(ds.edit.values) == ["kfac", "random", "svd", "bottom"]
        and ds.loss.dims == ("edit", "rho", "draw")
        and ds.by_row.sizes["by_row_item"] == 12
    )
    evaluate = evaluator(model)
    assert float(ds.base_loss) == evaluate(model)["loss"]
    for rho in (0.9, 0.5):
        like = curvature.keep(made, rho)
        for method, seed, draw in (("kfac", 0, 0), ("random", 5, 0), ("random", 6, 1), ("svd", 0, 0), ("bottom", 0, 0)):
            edit = like if method == "kfac" else curvature.control(made, method, like, seed=seed)
            with edit.applied(model):
                expected = evaluate(model)
            here = ds.sel(edit=method, rho=rho, draw=draw)
            assert float(here.loss) == expected["loss"] and np.array_equal(
                here.by_row.values, expected["by_row"].double().numpy()
            )
            assert float(here.kept) == edit.kept and float(here.removed) == edit.removed and float(here.seconds) > 0
    assert ds.loss.sel(draw=1, edit=["kfac", "svd", "bottom"]).isnull().all() and ds.loss.sel(draw=0).notnull().all()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    record = lens.record(ds)
    assert (
        record["kind"] == "curvature curve"
        and record["status"] == "complete"
        and record["seed"] == 5
        and record["call"]["match"] == "norm"
    )


def test_a_curve_that_is_stopped_or_fails_leaves_the_weights_as_they_were(tiny, tmp_path):
    model = tiny("llama")
    made = real(model, layers="model.layers.1.mlp.*")
    before = {n: p.clone() for n, p in model.named_parameters()}
    asked, parts = iter(range(10)), []
    part = curvature.curve(
        model,
        made,
        (0.9, 0.5),
        evaluator(model),
        controls=("svd",),
        stop=lambda: next(asked) == 3,
        on_part=parts.append,
    )
    assert lens.record(part)["status"] == "partial" and int(part.loss.notnull().sum()) == 3 == len(parts)
    calls = iter(range(10))
    with pytest.raises(ZeroDivisionError):
        curvature.curve(model, made, (0.5,), lambda m: {"x": 1 / (2 - next(calls))})
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    lens.save(part, tmp_path / "curve.zarr")
    assert lens.open(tmp_path / "curve.zarr").loss.equals(part.loss)


def test_a_curve_refuses(tiny):
    model = tiny("llama")
    made = real(model, layers="model.layers.1.mlp.*")

    def run(rhos=(0.5,), evaluate=lambda m: {"x": 1.0}, **options):
        return curvature.curve(model, made, rhos, evaluate, **options)

    count = iter(range(9))
    for call, words in (
        (lambda: run(rhos=()), "at least one"),
        (lambda: run(rhos=(0.5, 0.5)), "different shares"),
        (lambda: run(rhos=(1.5,)), "above 0"),
        (lambda: run(by="x"), "by='x'"),
        (lambda: run(match="x"), "match='x'"),
        (lambda: run(controls=("pca",)), "'pca' is not known"),
        (lambda: run(by="a", controls=("a",)), "the edit itself"),
        (lambda: run(draws=0), "draws=0"),
        (lambda: run(evaluate=lambda m: 3.0), "expected a dictionary"),
        (lambda: run(evaluate=lambda m: {"x": np.ones((2, 2))}), "a number, or a list"),
        (lambda: run(evaluate=lambda m: {"kept": 1.0}), "uses itself"),
        (lambda: run(evaluate=lambda m: {"x": np.ones(1 + next(count))}), "the same ones every time"),
    ):
        with pytest.raises(curvature.CurvatureError, match=words):
            call()
