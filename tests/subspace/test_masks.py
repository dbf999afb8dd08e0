"""Masks as sets, on disk, and in force on a model: exact restoring, every refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lens import subspace
from lens.engine.weights import WeightError
from lens.subspace import Mask, Replacement, SubspaceError, chance_iou, random_like
from tests.models import tiny

DOWN = "model.layers.1.mlp.down_proj"


def some(model, name=DOWN, share=0.1, seed=0):
    weight = dict(model.named_modules())[name].weight
    return torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) < share


def bits(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def unchanged(model, before):
    return all(torch.equal(p.view(torch.int32), before[name].view(torch.int32)) for name, p in model.named_parameters())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_set_operations_against_truth_values(seed, p, q):
    g = torch.Generator().manual_seed(seed)
    a, b = ({"x": torch.rand(5, 7, generator=g) < s, "y": torch.rand(3, 2, generator=g) < s} for s in (p, q))
    m, n = Mask.of(a), Mask.of(b)
    for made, how in ((m | n, torch.logical_or), (m & n, torch.logical_and), (m - n, lambda x, y: x & ~y)):
        assert all(torch.equal(made.dense(k), how(a[k], b[k])) for k in a)
    shared, united = (sum(int(how(a[k], b[k]).sum()) for k in a) for how in (torch.logical_and, torch.logical_or))
    assert m.iou(n) == pytest.approx(shared / united, nan_ok=True) if united else np.isnan(m.iou(n))
    assert m.count == sum(int(x.sum()) for x in a.values()) and m.density == m.count / 41
    assert np.array_equal(m.csr("x").toarray(), a["x"].numpy()) and np.array_equal(m.columns("x"), a["x"].sum(0))


def test_iou_with_itself_is_one_and_by_chance_s_over_two_minus_s():
    s, made = 0.1, []
    for seed in range(2):
        scores = torch.rand(2000, 100, generator=torch.Generator().manual_seed(seed))
        made.append(Mask.of({"x": torch.zeros(2000, 100, dtype=torch.bool).scatter_(1, scores.topk(10).indices, True)}))
    assert made[0].iou(made[0]) == 1.0 and made[0].density == s
    # shared weights: hypergeometric in each row, mean s * 10, so that the IoU has a standard error below 0.001
    assert made[0].iou(made[1]) == pytest.approx(chance_iou(s), abs=0.004)
    assert chance_iou(s) == pytest.approx(s / (2 - s))
    for by in ("rows", "columns"):
        control = random_like(made[0], 5, by)
        assert np.array_equal(control.dense("x").sum(1), made[0].dense("x").sum(1)) and control.iou(
            made[0]
        ) == pytest.approx(chance_iou(s), abs=0.02)
    columns = Mask.of_columns({"x": [3, 5]}, {"x": (4, 9)})
    assert sorted(random_like(columns, 1, "columns").columns("x")) == sorted(columns.columns("x"))


@pytest.mark.parametrize("kind, name", [("llama", DOWN), ("gpt2", "transformer.h.1.mlp.c_proj")])
def test_in_force_the_chosen_weights_are_zero_and_after_it_all_bits_are_back(kind, name):
    model = tiny(kind)
    linear = subspace.output_layers(model, name)[name]
    with torch.no_grad():
        linear.weight[0, :3] = torch.tensor([-0.0, 1e-42, 3.0])
    before, choice = (
        bits(model),
        torch.rand(linear.d_out, linear.d_in, generator=torch.Generator().manual_seed(0)) < 0.2,
    )
    choice[0, :2] = True
    mask = Mask.of({name: choice}, subspace.magnitude(model, name).model)
    expected = linear.weight.detach().masked_fill(choice, 0.0).clone()
    with mask.applied(model) as same:
        assert same is model and torch.equal(linear.weight, expected)
    assert unchanged(model, before)
    with pytest.raises(RuntimeError, match="on purpose"), mask.applied(model):
        raise RuntimeError("on purpose")
    assert unchanged(model, before)
    undo = mask.apply(model)
    undo.undo(), undo.undo()
    assert unchanged(model, before)


def test_refused_on_use():
    model, other = tiny("llama"), tiny("llama", 1)
    digest = subspace.magnitude(model).model
    mask = Mask.of({DOWN: some(model)}, digest)
    first = Mask.of({"model.layers.0.mlp.up_proj": some(model, "model.layers.0.mlp.up_proj")}, digest)
    before = bits(model)
    with pytest.raises(SubspaceError, match="empty"):
        Mask.of({DOWN: torch.zeros(32, 48, dtype=torch.bool)}, digest).apply(model)
    with pytest.raises(SubspaceError, match="another model"):
        mask.apply(other)
    with mask.applied(other, strict=False):
        pass
    with pytest.raises(SubspaceError, match="another model"):
        Mask.of({DOWN: torch.ones(3, 3, dtype=torch.bool)}).apply(model)
    with pytest.raises(SubspaceError, match="near ones"):
        Mask.of({"model.layers.1.mlp.down": torch.ones(3, 3, dtype=torch.bool)}).apply(model)
    with mask.applied(model):
        with pytest.raises(WeightError, match="applied twice"):
            mask.apply(model)
        with first.applied(model):
            assert int((model.model.layers[0].mlp.up_proj.weight == 0).sum()) == first.count
    assert unchanged(model, before)


def test_refused_in_comparison():
    a = Mask.of({"x": torch.ones(2, 2, dtype=torch.bool)}, "one")
    for other in (
        Mask.of({"x": torch.ones(2, 2, dtype=torch.bool)}, "two"),
        Mask.of({"y": torch.ones(2, 2, dtype=torch.bool)}),
        Mask.of({"x": torch.ones(2, 3, dtype=torch.bool)}),
    ):
        with pytest.raises(SubspaceError, match="different"):
            a | other
        with pytest.raises(SubspaceError, match="different"):
            a.iou(other)
    with pytest.raises(SubspaceError, match="truth values"):
        Mask.of({"x": torch.ones(2, 2)})
    with pytest.raises(SubspaceError, match="columns 0 to 1"):
        Mask.of_columns({"x": [2]}, {"x": (2, 2)})
    with pytest.raises(SubspaceError, match="no layer 'z'"):
        a.dense("z")
    with pytest.raises(SubspaceError, match="by="):
        random_like(a, 0, "layers")


def test_a_part_of_a_mask_is_of_some_layers_only():
    mask = Mask.of(
        {
            "a": torch.eye(2, dtype=torch.bool),
            "b": torch.ones(2, 3, dtype=torch.bool),
            "c": torch.zeros(1, 2, dtype=torch.bool),
        },
        "0123",
    )
    part = mask.only(["b", "c"])
    assert list(part.shapes) == ["b", "c"] and part.count == 6 and part.model == "0123" and part.density == 6 / 8
    assert torch.equal(part.dense("b"), mask.dense("b")) and mask.count == 8
    with pytest.raises(SubspaceError, match="no layer 'd'"):
        mask.only(["d"])


def test_saved_and_loaded(tmp_path):
    model = tiny("llama")
    mask = subspace.magnitude(model).mask(0.05)
    loaded = Mask.load(mask.save(tmp_path / "m.npz"))
    assert (
        loaded.shapes == mask.shapes
        and loaded.model == mask.model
        and loaded.about == mask.about
        and loaded.iou(mask) == 1.0
    )
    assert loaded.nbytes < sum(a * b for a, b in mask.shapes.values())
    with pytest.raises(SubspaceError, match="does not exist"):
        Mask.load(tmp_path / "n.npz")
    (tmp_path / "m.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:-30])
    with pytest.raises(SubspaceError, match="no mask that can be read"):
        Mask.load(tmp_path / "m.npz")
    np.savez(tmp_path / "p.npz", about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SubspaceError, match="no mask"):
        Mask.load(tmp_path / "p.npz")
    with pytest.raises(OSError, match="npz"):
        mask.save(tmp_path / "m.pkl")


def test_a_replacement_restores_and_says_how_far_it_moved():
    model = tiny("gpt2")
    name = "transformer.h.0.mlp.c_fc"
    linear = subspace.output_layers(model, name)[name]
    before, new = bits(model), linear.weight.detach() * 1.5
    edit = Replacement({name: new}, subspace.magnitude(model).model)
    assert edit.change(model) == {name: pytest.approx(0.5)}
    with edit.applied(model):
        assert torch.equal(linear.weight, new)
        with pytest.raises(WeightError, match="twice"):
            edit.apply(model)
    assert unchanged(model, before)
    with pytest.raises(SubspaceError, match="another model"):
        edit.apply(tiny("gpt2", 2))
