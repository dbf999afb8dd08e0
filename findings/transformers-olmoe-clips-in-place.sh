#!/bin/bash
# transformers 5.23: what a hook keeps of OLMoE's value projection is another tensor after the forward.
#
# Expected: a forward hook on `v_proj` keeps the projection's output: a tensor that nobody writes to afterwards.
# What is: attention clips queries, keys and values in place (`clip_qkv`). What was unclipped while the hook ran is
# clipped when it is looked at after the forward.
# Instead: `.clone()` in the hook. (OLMo 2 does not clip.)
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import torch
from transformers import OlmoeConfig, OlmoeForCausalLM

torch.manual_seed(0)
config = OlmoeConfig(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
    num_experts=4,
    num_experts_per_tok=2,
    initializer_range=0.5,
    clip_qkv=0.25,
)
model = OlmoeForCausalLM(config).eval()
model.set_experts_implementation("eager")
kept = {}
model.model.layers[0].self_attn.v_proj.register_forward_hook(
    lambda module, args, out: kept.update(same=out, copy=out.clone())
)
with torch.no_grad():
    model(torch.tensor([[1, 2, 3]]))
then, later = (kept[name].abs().max().item() for name in ("copy", "same"))
print(f"transformers {version('transformers')}, OLMoE with clip_qkv=0.25: largest value of v_proj's output")
print(f"  in the hook {then:.3f}; the same tensor after the forward {later:.3f}")
sys.exit(0 if then > 0.5 and later == 0.25 else 1)
PY
