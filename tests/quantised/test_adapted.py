"""Adapters on quantised layers are read as they are applied, and nothing is merged into codes."""

import peft
import pytest
import torch

import lens
from lens.engine.effective import linear_map, shape
from lens.engine.linear import LinearError, every_linear
from lens.engine.weights import WeightError, apply_weights
from lens.models import weight_hash

from ..models import word_tokenizer
from .making import CLEAN, PAIR, dequantised, quantised, quiet

KINDS = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules=["o_proj", "v_proj"], task_type="CAUSAL_LM"),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=["o_proj", "v_proj"], use_dora=True, task_type="CAUSAL_LM"),
}
METHODS = ("torchao_int8", "bitsandbytes_int8", "quanto_int8")


def adapted(model, kind):
    torch.manual_seed(0)
    with quiet():
        made = peft.get_peft_model(model, KINDS[kind]()).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_" in name:
                value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return made.requires_grad_(False)


# peft's DoRA loses the scales of bitsandbytes' int8, so that the model itself does not run
@pytest.mark.parametrize(
    ("method", "kind"), [(m, k) for m in METHODS for k in KINDS if (m, k) != ("bitsandbytes_int8", "dora")]
)
def test_an_adapted_quantised_layer_is_read_as_it_is_applied(method, kind):
    with quiet():
        model, floats = adapted(quantised(method), kind), adapted(dequantised(method), kind).merge_and_unload()
        model(CLEAN[None])
        layer = model.base_model.model.model.layers[1].self_attn.o_proj
        want = floats.model.layers[1].self_attn.o_proj.weight
        before = weight_hash(model.get_base_model())
        got, bias = linear_map(layer)
        assert weight_hash(model.get_base_model()) == before
    assert shape(layer) == tuple(want.shape) and bias is None
    # DoRA's norms are of the weights as peft dequantises them
    assert float((got - want).abs().max()) <= 5e-3 * float(want.abs().max())


@pytest.mark.parametrize("method", METHODS)
def test_read_outs_of_an_adapted_quantised_model_are_those_of_the_merged_floats(method):
    with quiet():
        model, floats = adapted(quantised(method), "lora"), adapted(dequantised(method), "lora").merge_and_unload()
        for one in (model, floats):
            one.tokenizer = word_tokenizer()
        got = lens.direct_logit_attribution(model, PAIR).contribution.values
        want = lens.direct_logit_attribution(floats, PAIR).contribution.values
        off = float((model(CLEAN[None]).logits - floats(CLEAN[None]).logits).abs().max())
    assert abs(got - want).max() <= max(1e-3 * abs(want).max(), 2 * off)


@pytest.mark.parametrize("method", METHODS)
def test_an_edit_below_an_adapter_on_codes_is_refused(method):
    model = adapted(quantised(method), "lora")
    name = next(n for n in every_linear(model) if n.endswith("1.self_attn.o_proj"))
    with pytest.raises(LinearError, match="quantised"):
        every_linear(model)[name].require_floats()
    with pytest.raises(WeightError, match=r"is quantised \(.*dequantize=True"):
        apply_weights(model, {name: torch.zeros(64, 64)})
