#!/bin/bash
# transformers 5.23: a mixture of experts does not run in float64, unless its experts are run one by one.
#
# Expected: `model.double()` and a forward, as with every dense model.
# What is: the default way of experts is one grouped product that torch has for float32, bfloat16 and float16 only.
# Instead: `model.set_experts_implementation("eager")` runs them in double.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import sys
from importlib.metadata import version

import torch
from transformers import MixtralConfig, MixtralForCausalLM

torch.manual_seed(0)
config = MixtralConfig(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    num_local_experts=4,
)


def tried(model, how):
    if how:
        model.set_experts_implementation(how)
    try:
        with torch.no_grad():
            return f"logits in {model(torch.tensor([[1, 2]])).logits.dtype}"
    except RuntimeError as error:
        return f"RuntimeError: {str(error).splitlines()[0][:100]}"


model = MixtralForCausalLM(config).eval()
seen = [tried(model, None), tried(model.double(), None), tried(model, "eager")]
print(f"transformers {version('transformers')}, torch {torch.__version__}: a Mixtral")
for name, said in zip(("in float32", "in float64", "in float64, experts eager"), seen):
    print(f"  {name}: {said}")
right = "float32" in seen[0] and "RuntimeError" in seen[1] and "Double" in seen[1] and "float64" in seen[2]
sys.exit(0 if right else 1)
PY
