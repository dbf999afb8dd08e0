"""Linear layers by name, what goes in and what gradients come back, and edits of weights that leave no trace."""

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import lens
from lens.engine.linear import LinearError, gradients_of, inputs_of, linears
from lens.engine.weights import WeightError, apply_weights, edited_weights
from lens.models import weight_hash
from lens.scoring.likelihood import plain
from tests.models import EACH, KINDS
from tests.variants import few

IDS = torch.arange(1, 13).reshape(2, 6)


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_a_bridge_and_its_plain_model_have_the_same_layers(tiny_bridge, kind):
    bridge, hf = tiny_bridge(kind)
    theirs, ours = linears(hf), linears(bridge)
    assert list(theirs) == list(ours) and len(theirs) >= 2 * hf.config.num_hidden_layers
    for name, linear in theirs.items():
        assert torch.equal(linear.weight, ours[name].weight) and "original_component" not in name
        assert linear.layer is not None and ".mlp." in name


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_inputs_and_gradients_are_those_of_autograd(tiny, kind):
    model = tiny(kind)
    layers = linears(model)
    seen, back = {}, {}
    model.requires_grad_(True)
    with (
        inputs_of(model, layers, lambda name, x: seen.__setitem__(name, x.clone())),
        gradients_of(model, layers, lambda name, x, g: back.__setitem__(name, (x, g))),
    ):
        model(IDS).logits.square().mean().backward()
    for name, linear in layers.items():
        grad = linear.module.weight.grad.T if linear.transposed else linear.module.weight.grad
        x, g = back[name]
        assert torch.equal(x, seen[name]) and x.shape == (IDS.numel(), linear.d_in)
        torch.testing.assert_close(g.T @ x, grad, rtol=1e-4, atol=1e-8)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_inputs_that_are_handed_over_in_the_forward_are_the_same_and_not_kept(tiny):
    model = tiny("llama").requires_grad_(False)
    layers = linears(model, "*.down_proj")
    both, apart, there = {}, {}, []

    def run():
        embedded = model.get_input_embeddings()(IDS).requires_grad_()
        model(inputs_embeds=embedded).logits.square().mean().backward()

    with gradients_of(model, layers, lambda name, x, g: both.__setitem__(name, (x, g))):
        run()

    def read(name, x):
        apart[name] = [x.clone()]
        there.append(StorageWeakRef(x.untyped_storage()))

    def back(name, g):
        apart[name].append(g)
        assert all(one.expired() for one in there)

    with gradients_of(model, layers, back, inputs=read):
        run()
    assert list(apart) == list(layers)
    for name, (x, g) in both.items():
        assert torch.equal(x, apart[name][0]) and torch.equal(g, apart[name][1])


def test_gradients_without_anything_that_asks_for_them_are_refused(tiny):
    model = tiny("llama").requires_grad_(False)
    with pytest.raises(LinearError, match="asks for gradients"), gradients_of(model, linears(model), lambda *_: None):
        model(IDS)


def test_a_name_that_matches_nothing_lists_near_ones(tiny):
    with pytest.raises(
        LinearError, match=r"model\.layers\.0\.mlp\.down_prj.*near ones: model\.layers\.0\.mlp\.down_proj"
    ):
        linears(tiny("llama"), "model.layers.0.mlp.down_prj")
    with pytest.raises(LinearError, match="without a linear layer"):
        linears(nn.ReLU())
    with pytest.raises(LinearError, match="which is empty"):
        linears(tiny("llama"), [])
    with (
        pytest.raises(LinearError, match="another model object"),
        inputs_of(tiny("llama"), linears(tiny("llama")), lambda *_: None),
    ):
        pass


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_edited_weights_act_on_a_bridge_and_leave_no_trace(tiny_bridge, kind):
    bridge, hf = tiny_bridge(kind)
    before, old = weight_hash(bridge), bridge(IDS)
    new = {name: linear.weight * 0.5 for name, linear in linears(hf).items()}
    with edited_weights(hf, new):
        expected = hf(IDS).logits
    shared = plain(bridge)
    with edited_weights(bridge, new):
        torch.testing.assert_close(bridge(IDS), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shared(IDS).logits, expected, rtol=1e-4, atol=1e-5)
        assert weight_hash(bridge) != before
    assert torch.equal(bridge(IDS), old) and weight_hash(bridge) == before


def test_an_exception_inside_restores_every_bit(tiny):
    model = tiny("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with (
        pytest.raises(ZeroDivisionError),
        edited_weights(model, {name: torch.randn_like(linear.weight) for name, linear in linears(model).items()}),
    ):
        1 / 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_edits_are_refused_and_nothing_is_written(tiny):
    model = tiny("llama")
    (name, linear), *_ = linears(model, "*.down_proj").items()
    before = linear.weight.clone()
    for new, message in (
        ({}, "new is empty"),
        ({"model.layers.0.mlp.down": before}, "near ones: model.layers.0.mlp.down_proj"),
        ({name: before[:-1]}, r"expected \[out, in\]"),
        ({name: torch.full_like(before, torch.nan)}, "not finite"),
    ):
        with pytest.raises(WeightError, match=message):
            apply_weights(model, new)
    undo = apply_weights(model, {name: before * 2})
    with pytest.raises(WeightError, match="applied twice"), edited_weights(model, {name: before * 3}):
        pass
    assert torch.equal(linear.weight, before * 2) and undo.in_force
    undo.undo(), undo.undo()
    assert torch.equal(linear.weight, before) and not undo.in_force
    with edited_weights(model, {name: before * 3}):
        assert torch.equal(linear.weight, before * 3)


def test_a_shipped_organism_is_edited_by_name():
    model = lens.load("organism:induction")
    names = [name for name in linears(model, "*") if name.endswith("o_proj")]
    assert names == [f"model.layers.{layer}.self_attn.o_proj" for layer in range(len(names))] and names


def test_a_known_hash_is_known_again_after_an_edit_unless_other_weights_moved(tiny, monkeypatch):
    model = tiny("llama")
    (name, linear), *_ = linears(model, "*.down_proj").items()
    before, edit = weight_hash(model), {name: linear.weight * 2}
    with edited_weights(model, edit):
        assert weight_hash(model) != before
    monkeypatch.setattr("lens.models.known.read", lambda *_: pytest.fail("read again"))
    assert weight_hash(model) == before
    monkeypatch.undo()
    with edited_weights(model, edit), torch.no_grad():
        model.lm_head.weight.mul_(2)
    assert weight_hash(model) != before
