#!/bin/bash
# transformers 5.23: a Llama in float64 is computed in float32 where it is normed, and where eager attention takes its
# softmax.
#
# Expected: `model.double()` gives a reference of sixteen digits: every tensor one sees is a double.
# What is: `LlamaRMSNorm.forward` (and its siblings of OLMo 2, Qwen 3, Mixtral) goes through float32 whatever comes in,
# and eager attention's softmax is taken in float32. Logits hold seven digits, and a central difference with a step of
# 1e-5 is off by per cents. GPT-2 and GPT-NeoX, with torch's LayerNorm and the fused attention, are computed in double.
# Instead: for a reference in double, replace the norms and the attention function, or check on GPT-2.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

torch.manual_seed(0)
sizes = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.4)
models = {
    "Llama": LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, intermediate_size=24, **sizes)),
    "GPT-2": GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4)),
}
norm, x = LlamaRMSNorm(16).double(), torch.randn(4, 16, dtype=torch.float64)
exact = x * (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
off = (norm(x) - exact).abs().max().item()
print(f"transformers {version('transformers')}: LlamaRMSNorm of a double gives {norm(x).dtype}, off by {off:.0e}")
errors = {}
for name, model in models.items():
    model = model.eval().double()
    embed, n = model.get_input_embeddings().weight, 64
    ids = torch.arange(5)[None]
    rows = embed[ids].detach()
    way = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def score(step):
        with torch.no_grad():
            return model(inputs_embeds=rows + step * way).logits[0, -1, 0].item()

    wide = (score(1e-4) - score(-1e-4)) / 2e-4
    near = (score(1e-8) - score(-1e-8)) / 2e-8
    errors[name] = abs(near / wide - 1)
    print(f"  {name}: a derivative by steps of 1e-8 is off by {errors[name]:.0e} of itself")
sys.exit(0 if 1e-10 < off < 1e-5 and errors["GPT-2"] < 1e-4 < 1e-2 < errors["Llama"] else 1)
PY
