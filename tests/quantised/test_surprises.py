"""What the libraries of quantised weights do against a good guess, and what this package makes of it."""

import bitsandbytes
import pytest
import torch

import lens
from lens.engine.effective import weight_of
from lens.models import weight_hash
from lens.models.quantised_layers import quantised_layers

from .. import naive
from .making import CLEAN, CORRUPTED, PAIR, dequantised, layers, quantised, quiet, wrapped

PACKS = bool(bitsandbytes.functional.has_avx512bf16())
LAYER = "model.layers.1.mlp.down_proj"


@pytest.mark.skipif(not PACKS, reason="this processor has no bfloat16 products, for which the codes are packed")
def test_weights_of_four_bits_are_read_rightly_after_the_first_forward_where_their_own_library_does_not():
    with quiet():
        model, want = quantised("nf4"), layers(dequantised("nf4"))[LAYER].weight
        layer = layers(model)[LAYER]
        assert tuple(layer.weight.shape) == (64 * 128 // 2, 1) and torch.allclose(weight_of(layer), want)
        model(CLEAN[None])
        assert tuple(layer.weight.shape) == (64, 64)  # packed: [out, in / 2]
        theirs = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        assert float((theirs.reshape(64, 128).float() - want).abs().max()) > 0.1
        assert torch.allclose(weight_of(layer), want)


def test_an_int8_row_with_outliers_depends_on_its_batch_and_each_method_is_held_to_the_very_batch():
    """With a threshold a column with one large number leaves int8 for every row of the call; without one rows stand
    alone, so that a batch is its rows.
    """
    torch.manual_seed(0)
    x = torch.randn(6, 64)
    x[3, 5] = 50.0
    apart = {}
    with quiet():
        for method in ("bitsandbytes_int8", "bitsandbytes_int8_outliers"):
            layer = layers(quantised(method))["model.layers.0.self_attn.q_proj"]
            apart[method] = float((layer(x)[:3] - layer(x[:3])).abs().max())
        alone = lens.patch(wrapped("bitsandbytes_int8"), [PAIR], "resid_pre", progress=False).effect.values
        more = lens.patch(wrapped("bitsandbytes_int8"), [PAIR, PAIR], "resid_pre", progress=False).effect.values
    assert apart["bitsandbytes_int8"] == 0 < 1e-3 < apart["bitsandbytes_int8_outliers"]
    assert abs(more[0] - alone).max() <= 1e-5


def test_the_record_says_that_outliers_leave_int8():
    found = set(quantised_layers(quantised("bitsandbytes_int8_outliers")).values())
    assert found == {"bitsandbytes int8 with outliers above 6 in float16"}


def test_a_weight_set_through_data_on_quanto_changes_nothing_and_the_hash_says_so():
    with quiet():
        model = quantised("quanto_int8")
        before, was = weight_hash(model), model(CLEAN[None]).logits
        layer = layers(model)[LAYER]
        layer.weight.data = torch.zeros(64, 128)
        assert torch.equal(model(CLEAN[None]).logits, was) and weight_hash(model) == before
        with pytest.raises(lens.Error, match=r"is quantised \(quanto qint8\)"):
            lens.engine.weights.apply_weights(model, {LAYER: torch.zeros(64, 128)})


def test_hooks_set_before_quanto_replaces_modules_are_gone_and_ours_act_afterwards():
    from optimum import quanto

    from .making import plain

    with quiet():
        model, seen = plain(), []
        model.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda *_: seen.append(1))
        quanto.quantize(model, weights=quanto.qint8)
        quanto.freeze(model)
        model(CLEAN[None])
        assert not seen
        own = naive.forward(model, CORRUPTED, [("mlp_out", 1, lambda x: 0 * x)])
        with lens.edited(model, lens.Edit(lens.Site("mlp_out", 1), "zero")):
            assert torch.allclose(model(CORRUPTED[None]).logits[0], own, atol=1e-5)


def test_the_structure_notices_that_a_model_was_quantised_in_place():
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    from lens.models.state import State

    from .making import plain

    model = plain()
    before = State.of(model)
    with quiet():
        quantize_(model, Int8WeightOnlyConfig())
    assert State.of(model) is not before and len(quantised_layers(model)) == 22


@pytest.mark.parametrize("method", ["bitsandbytes_int8", "nf4"])
def test_gpt2_whose_layers_are_transposed_is_patched_and_read_when_quantised(method):
    with quiet():
        model, floats = wrapped(method, "gpt2"), dequantised_gpt2(method)
        got = lens.patch(model, PAIR, "mlp_out", progress=False).effect.values
        want = lens.patch(floats, PAIR, "mlp_out", progress=False).effect.values
        assert abs(got - want).max() <= 0.15 * abs(want).max()
        got = lens.direct_logit_attribution(model, PAIR).contribution.values
        want = lens.direct_logit_attribution(floats, PAIR).contribution.values
        assert abs(got - want).max() <= 0.15 * abs(want).max()


def dequantised_gpt2(method):
    from .making import plain, word_tokenizer

    source, out = quantised(method, "gpt2"), plain("gpt2")
    own = {name: m for name, m in out.named_modules() if type(m).__name__ == "Conv1D"}
    for name, layer in layers(source).items():
        if name in own:
            own[name].weight.copy_(weight_of(layer).T)
    out.tokenizer = word_tokenizer()
    return out
