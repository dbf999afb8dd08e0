#!/bin/bash
# transformers 5.23: a Falcon with ALiBi is another model under eager attention than under sdpa.
#
# Expected: the attention implementation changes the order of summation alone; a switch to eager, which tools that read
# attention patterns make, leaves the logits as they are.
# What is: the model adds the ALiBi biases to the causal mask for every implementation, and the eager attention adds them
# to the scores once more. Under eager the model is, to rounding, the sdpa one with biases twice as steep. Nothing warns.
# The two agree where the biases are left out, so that only models with `alibi=True` (Falcon-RW) are concerned.
# Instead: keep such a model on sdpa, and write the pattern out from its own queries, keys and mask.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import torch
import transformers.models.falcon.modeling_falcon as falcon
from transformers import FalconConfig, FalconForCausalLM

torch.manual_seed(0)
size = dict(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, multi_query=False)
model = FalconForCausalLM(FalconConfig(**size, alibi=True)).eval().requires_grad_(False)
for parameter in model.parameters():
    parameter.normal_(0, 0.4)
ids, own = torch.arange(5, 14)[None], falcon.build_alibi_tensor


def logits(attention, steepness=1):
    falcon.build_alibi_tensor = lambda *args, **kwargs: steepness * own(*args, **kwargs)
    model.config._attn_implementation = attention
    return model(ids, use_cache=False).logits


largest = float(logits("sdpa").abs().max())
gap = {
    "eager and sdpa": logits("eager") - logits("sdpa"),
    "eager and sdpa with biases twice as steep": logits("eager") - logits("sdpa", 2),
    "both without biases": logits("eager", 0) - logits("sdpa", 0),
}
gap = {name: float(value.abs().max()) / largest for name, value in gap.items()}
print(f"transformers {version('transformers')}: a random Falcon with ALiBi; differences of logits as shares of the largest")
for name, value in gap.items():
    print(f"  {name}: {value:.1e}")
differ, twice, without = gap.values()
if not (differ > 0.01 and twice < 1e-5 and without < 1e-5):
    sys.exit("this is not what was seen with transformers 5.23.0")
PY
