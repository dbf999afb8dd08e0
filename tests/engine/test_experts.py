"""Fused experts as linear layers: what goes into each, the gradients that come back, and edits, against loops over
experts and tokens on a plain copy.
"""

import copy
import pickle
import threading

import pytest
import torch

import lens
from lens.engine import experts as fused
from lens.engine.linear import LinearError, every_linear, gradients_of, inputs_of, linears
from lens.engine.weights import WeightError, apply_weights, edited_weights
from lens.models import weight_hash
from lens.scoring.likelihood import plain as plain_of
from lens.subspace import Mask
from tests.mixtures import KINDS, TRANSPOSED, blocks, by_hand, mixture, routing
from tests.models import word_tokenizer

IDS = torch.randint(1, 97, (2, 9), generator=torch.Generator().manual_seed(3))
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm")
CASES = [(kind, way) for kind in KINDS for way in IMPLEMENTATIONS if kind != "llama4_text" or way == "eager"]


def of_experts(model):
    return {name: linear for name, linear in every_linear(model).items() if linear.expert is not None}


@pytest.mark.parametrize("kind,way", CASES)
def test_inputs_are_those_of_a_loop_over_experts_and_tokens(kind, way):
    plain, model = mixture(kind), mixture(kind, implementation=way)
    layers, seen = of_experts(model), {}
    assert len(layers) == sum(2 * module.num_experts for module in blocks(plain).values()) > 0
    with inputs_of(model, layers, lambda name, x, routed: seen.__setitem__(name, (x.clone(), routed))):
        watched = model(IDS).logits
    torch.testing.assert_close(watched, plain(IDS).logits, rtol=1e-4, atol=1e-5)
    for name, (args, out) in routing(plain, IDS).items():
        made, rows = by_hand(kind, plain.get_submodule(name), *args)
        torch.testing.assert_close(made, out, rtol=1e-4, atol=1e-5)
        for e in range(4):
            first, second = (f"{name}.{e}.{matrix}" for matrix in ("gate_up_proj", "down_proj"))
            assert (first in seen) == (second in seen) == (e in rows)
            if e not in rows:
                continue
            tokens, into, hidden = rows[e]
            for layer, want in ((first, into), (second, hidden)):
                x, routed = seen[layer]
                order = routed.rows.argsort(stable=True)
                assert routed.rows[order].tolist() == sorted(tokens) and routed.tokens == IDS.numel()
                torch.testing.assert_close(x[order], want, rtol=1e-4, atol=1e-5)
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert torch.equal(model(IDS).logits, mixture(kind, implementation=way)(IDS).logits)


@pytest.mark.parametrize("kind,way", CASES)
def test_gradients_are_those_of_autograd(kind, way):
    model = mixture(kind, implementation=way).requires_grad_(True)
    layers, sums = of_experts(model), {}

    def sink(name, x, g, routed):
        assert len(x) == len(g) == len(routed.rows)
        sums[name] = sums.get(name, 0) + g.T @ x

    with gradients_of(model, layers, sink):
        model(IDS).logits.square().mean().backward()
    plain = mixture(kind).requires_grad_(True)
    plain(IDS).logits.square().mean().backward()
    for name, linear in layers.items():
        grad = plain.get_parameter(linear.stack).grad[linear.expert]
        grad = grad.T if kind in TRANSPOSED else grad
        if name in sums:
            torch.testing.assert_close(sums[name], grad, rtol=1e-4, atol=1e-6)
        else:
            assert not grad.any()
    assert len(sums) > len(layers) // 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_of_one_row_of_one_expert_is_that_row_zeroed_and_undone_to_the_bit(kind):
    plain, model = mixture(kind), mixture(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clean, digest = model(IDS).logits, weight_hash(model)
    name = next(iter(blocks(model)))
    d_mlp = model.get_submodule(name).down_proj.shape[1 if kind in TRANSPOSED else 2]
    for matrix, width in (("gate_up_proj", 32), ("down_proj", d_mlp)):
        for e in range(4):
            layer = f"{name}.{e}.{matrix}"
            chosen = torch.zeros(tuple(linears(model, layer)[layer].weight.shape), dtype=torch.bool)
            assert chosen.shape[1] == width
            chosen[5] = True
            stack = plain.get_parameter(f"{name}.{matrix}")
            kept = stack.clone()
            (stack[e, :, 5] if kind in TRANSPOSED else stack[e, 5]).zero_()
            want = plain(IDS).logits
            with Mask.of({layer: chosen}).applied(model):
                assert torch.equal(model.get_parameter(f"{name}.{matrix}"), stack)
                torch.testing.assert_close(model(IDS).logits, want, rtol=1e-4, atol=1e-5)
                assert weight_hash(model) == weight_hash(plain) != digest
            stack.copy_(kept)
            assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert torch.equal(model(IDS).logits, clean) and weight_hash(model) == digest


def test_experts_of_one_parameter_are_edited_one_by_one_and_undone_in_any_order():
    model = mixture("mixtral")
    stem = "model.layers.1.mlp.experts"
    before = model.get_parameter(f"{stem}.down_proj").clone()
    zero = torch.zeros(32, 48)
    first, second = (apply_weights(model, {f"{stem}.{e}.down_proj": zero}) for e in (0, 2))
    with pytest.raises(WeightError, match=r"experts\.2\.down_proj: an edit is in force"):
        apply_weights(model, {f"{stem}.2.down_proj": zero})
    with edited_weights(model, {f"{stem}.1.down_proj": zero, f"{stem}.3.down_proj": zero}):
        assert not model.get_parameter(f"{stem}.down_proj").any()
    first.undo()
    assert torch.equal(model.get_parameter(f"{stem}.down_proj")[[0, 1, 3]], before[[0, 1, 3]])
    with pytest.raises(WeightError, match=r"experts\.2\.down_proj: an edit is in force"):
        apply_weights(model, {f"{stem}.2.down_proj": zero})
    second.undo()
    assert torch.equal(model.get_parameter(f"{stem}.down_proj"), before)
    with edited_weights(model, {f"{stem}.2.down_proj": zero}):
        pass
    assert torch.equal(model.get_parameter(f"{stem}.down_proj"), before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_behind_a_bridge_reaches_the_bridge_and_the_plain_model(kind):
    plain, bridge = mixture(kind), lens.models.wrap(mixture(kind), word_tokenizer(), kind)

    def logits(model):
        return getattr(out := model(IDS), "logits", out)

    assert set(of_experts(plain)) == set(of_experts(bridge))
    clean = logits(bridge)
    name = list(of_experts(plain))[3]
    new = torch.randn(linears(plain, name)[name].weight.shape, generator=torch.Generator().manual_seed(5))
    stack = plain.get_parameter(linears(plain, name)[name].stack)
    stack[1] = new.T if kind in TRANSPOSED else new
    with edited_weights(bridge, {name: new}):
        torch.testing.assert_close(logits(bridge), plain(IDS).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(plain_of(bridge)(IDS).logits, plain(IDS).logits, rtol=1e-4, atol=1e-4)
        assert weight_hash(bridge) == weight_hash(plain)
    assert torch.equal(logits(bridge), clean) and weight_hash(bridge) == weight_hash(mixture(kind))


def test_patterns_name_experts():
    model = mixture("qwen3_moe")
    assert list(linears(model, "*.1.mlp.experts.2.*")) == [
        f"model.layers.1.mlp.experts.2.{matrix}" for matrix in ("gate_up_proj", "down_proj")
    ]
    assert len(linears(model, "*.experts.*.down_proj")) == 3 * 4
    one = linears(model, "model.layers.2.mlp.experts.3.down_proj")["model.layers.2.mlp.experts.3.down_proj"]
    assert (one.layer, one.expert, one.d_in, one.d_out) == (2, 3, 24, 32)
    assert one.weight.data_ptr() == model.model.layers[2].mlp.experts.down_proj[3].data_ptr()
    with pytest.raises(LinearError, match=r"near ones: .*experts\.\d\.down_proj"):
        linears(model, "model.layers.2.mlp.experts.9.down_proj")


def test_what_experts_compute_is_tried_out_and_refused_by_name_where_it_differs():
    class Other(type(mixture("mixtral").model.layers[0].mlp.experts)):
        def forward(self, hidden_states, top_k_index, top_k_weights):
            return 1.01 * super().forward(hidden_states, top_k_index, top_k_weights)

    model = mixture("mixtral")
    model.model.layers[1].mlp.experts.__class__ = Other
    assert not any(".1.mlp.experts" in name for name in every_linear(model))
    with pytest.raises(
        LinearError, match=r"layers\.\*\.mlp\.experts: what Other computes is not told .*its output is 0\.0"
    ):
        linears(model, "model.layers.1.mlp.experts.0.down_proj")
    model = mixture("mixtral")
    own = model.model.layers[1].mlp.experts
    own.forward = lambda *args: type(own).forward(own, *args)
    with pytest.raises(LinearError, match="the forward of MixtralExperts was replaced"):
        linears(model, "model.layers.1.mlp.experts.0.down_proj")
    model = mixture("mixtral")
    own = model.model.layers[1].mlp.experts
    own.down_proj = torch.nn.Parameter(own.down_proj.to(torch.float8_e4m3fn), requires_grad=False)
    own.gate_up_proj = torch.nn.Parameter(own.gate_up_proj.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(LinearError, match=r"MixtralExperts keeps them as torch\.float8_e4m3fn"):
        linears(model, "model.layers.1.mlp.experts.0.down_proj")


def test_a_gradient_that_is_none_of_the_output_is_refused():
    class Cut(type(mixture("mixtral").model.layers[0].mlp.experts)):
        def forward(self, hidden_states, top_k_index, top_k_weights):
            out = super().forward(hidden_states, top_k_index, top_k_weights)
            return out + (out * 0.5 - (out * 0.5).detach())

    model = mixture("mixtral")
    model.model.layers[1].mlp.experts.__class__ = Cut
    with pytest.raises(LinearError, match="its gradient of its input is"):
        linears(model, "model.layers.1.mlp.experts.0.down_proj")


def test_a_token_that_is_sent_to_an_expert_without_a_matrix_is_refused():
    model = mixture("mixtral")
    layers = linears(model, "model.layers.1.mlp.experts.*")
    gate = model.model.layers[1].mlp.gate
    gate.register_forward_hook(lambda m, args, out: (*out[:2], out[2] + 1))
    with pytest.raises(fused.ExpertError, match="sent to expert 4, and the matrices are of experts 0 to 3"):
        with inputs_of(model, layers, lambda *_: None):
            model(IDS)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_another_threads_forward_is_its_own():
    model = mixture("mixtral")
    want, layers, seen, got = model(IDS).logits, of_experts(model), [], []
    with inputs_of(model, layers, lambda name, *_: seen.append(name)):
        thread = threading.Thread(target=lambda: got.append(model(IDS).logits))
        thread.start(), thread.join()
        assert not seen and torch.equal(got[0], want)
        model(IDS)
    assert seen


def test_watching_twice_at_once_ends_in_any_order():
    model = mixture("mixtral")
    layer = linears(model, "model.layers.1.mlp.experts.0.down_proj")["model.layers.1.mlp.experts.0.down_proj"]
    count = []
    first, second = (layer.before(lambda *_: count.append(1)) for _ in range(2))
    model(IDS), first(), model(IDS), first(), second(), model(IDS)
    assert len(count) == 3 and not any("forward" in module.__dict__ for module in model.modules())


def test_copies_of_a_model_have_experts_of_their_own():
    model = mixture("mixtral")
    layers = of_experts(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for name, linear in of_experts(other).items():
            assert torch.equal(linear.weight, layers[name].weight)
            assert linear.weight.data_ptr() != layers[name].weight.data_ptr()
        with pytest.raises(LinearError, match="another model object"), inputs_of(model, of_experts(other), print):
            pass


def test_experts_under_an_adapter_are_refused_until_it_is_merged():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        mixture("mixtral"),
        LoraConfig(r=2, target_modules=[], target_parameters=["mlp.experts.down_proj"], init_lora_weights=False),
    ).eval()
    name = "model.layers.1.mlp.experts.0.down_proj"
    with pytest.raises(LinearError, match="an adapter .* is in force on this layer"):
        linears(model, name)
    merged = model.merge_and_unload()
    want, seen = merged(IDS).logits, []
    with inputs_of(merged, linears(merged, name), lambda n, x, routed: seen.append(n)):
        torch.testing.assert_close(merged(IDS).logits, want, rtol=1e-4, atol=1e-5)
    assert seen == [name]
