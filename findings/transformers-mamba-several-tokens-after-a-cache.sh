#!/bin/bash
# transformers 5.23: Mamba, given a cache and several tokens at once, forgets its state.
#
# Expected: a prompt read in two pieces (a shared prefix, a second turn, chunks) gives the logits of the whole;
# attention models do, and Mamba does one token at a time.
# What is: a call with more than one token goes on with the cached window of the convolution, but starts its
# recurrent state from zero: half of the memory is gone. Falcon-Mamba, Jamba, Zamba and MiniMax are off too. Nothing
# warns.
# Instead: feed the second piece token by token, or the whole text again.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import MambaConfig, MambaForCausalLM

torch.manual_seed(0)
model = (
    MambaForCausalLM(MambaConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, state_size=8))
    .eval()
    .requires_grad_(False)
)
for name, weight in model.named_parameters():
    if weight.ndim == 2 and "A_log" not in name:
        weight.normal_(0, 0.3)
ids = torch.arange(3, 15)[None]
whole = model(ids).logits[:, 6:]
at_once = model(ids[:, 6:], cache_params=model(ids[:, :6], use_cache=True).cache_params, use_cache=True).logits
cache, found = model(ids[:, :6], use_cache=True).cache_params, []
for at in range(6, 12):
    out = model(ids[:, at : at + 1], cache_params=cache, use_cache=True)
    cache = out.cache_params
    found.append(out.logits)
one_by_one = torch.cat(found, 1)


def off(a, b):
    return float((a - b).abs().max())


print(
    f"transformers {version('transformers')}: six tokens after a cache of six, largest difference of a logit from "
    f"one forward of all twelve (largest logit {float(whole.abs().max()):.1f})"
)
print(f"  one at a time: {off(one_by_one, whole):.1e}")
print(f"  all at once:   {off(at_once, whole):.2f}")
sys.exit(0 if off(one_by_one, whole) < 1e-3 < 0.1 < off(at_once, whole) else 1)
PY
