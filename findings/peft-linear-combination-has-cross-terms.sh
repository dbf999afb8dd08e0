#!/bin/bash
# PEFT 0.21: `add_weighted_adapter(..., combination_type="linear")` of two LoRAs is not the linear combination of what
# they do.
#
# Expected: with weights 1 and 1 the new adapter adds the sum of both changes of the weights, B1 A1 + B2 A2, with 1 and
# -1 their difference: the arithmetic of task vectors.
# What is: the factors are combined each by itself, so that the product (B1 + B2)(A1 + A2) has the cross terms B1 A2 and
# B2 A1 too, which are as large as what was asked for; with two directions of rank 2 half of the change is another one.
# "linear" is the default. Only a single adapter is scaled as expected. "svd" without `svd_rank` cuts the sum to the
# rank of one.
# Instead: `combination_type="cat"` is the sum exactly, at the sum of the ranks; for less compute the changes and sum.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 peft==0.21.2

"$PYTHON" -I - <<'PY'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

torch.manual_seed(0)
sizes = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
config = LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"], init_lora_weights=False)
model = get_peft_model(AutoModelForCausalLM.from_config(LlamaConfig(**sizes)), config, adapter_name="one")
model.add_adapter("two", config)
layer = model.base_model.model.model.layers[0].self_attn.q_proj
delta = {name: layer.get_delta_weight(name).detach().clone() for name in ("one", "two")}

print(f"peft {version('peft')}: two LoRAs of rank 2 on one layer; distance from w1 dW1 + w2 dW2, over its norm")
apart = {}
for kind in ("linear", "cat", "svd"):
    for weights in ([1.0, 1.0], [1.0, -1.0]):
        name = f"{kind}{weights[1] > 0}"
        model.add_weighted_adapter(["one", "two"], weights, name, combination_type=kind)
        wanted = weights[0] * delta["one"] + weights[1] * delta["two"]
        apart[kind, weights[1]] = float((layer.get_delta_weight(name).detach() - wanted).norm() / wanted.norm())
        print(f"  {kind:6} {weights}: {apart[kind, weights[1]]:.2g}")
model.add_weighted_adapter(["one"], [-1.0], "minus", combination_type="linear")
alone = float((layer.get_delta_weight("minus").detach() + delta["one"]).norm() / delta["one"].norm())
print(f"  linear [-1.0] of one adapter alone: {alone:.2g}")
as_described = all(apart["linear", w] > 0.1 and apart["svd", w] > 0.1 and apart["cat", w] < 1e-5 for w in (1.0, -1.0))
sys.exit(0 if as_described and alone < 1e-5 else 1)
PY
