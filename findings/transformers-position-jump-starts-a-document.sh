#!/bin/bash
# transformers 5.23: without a cache, a step in `position_ids` that is not +1 starts a new document; with the cache
# on it does not.
#
# Expected: `position_ids` say where tokens are for the position embedding; which tokens may attend to which is the
# mask's business, and `use_cache` changes speed alone.
# What is: with `use_cache=False` and no mask the jump is read as the border of a packed sequence, and tokens after
# it do not see those before. With `use_cache=True` they do. Skipping one position (a token taken out, a gap left on
# purpose) thus cuts the text in two, or not, by an option that says nothing of it. Packed rows, on the other hand,
# leak into each other unless the cache is off.
# Instead: say what is meant by an explicit mask.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
model = (
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )
    .eval()
    .requires_grad_(False)
)
for weight in model.parameters():
    weight.normal_(0, 0.3)
ids, gap = torch.arange(3, 15)[None], torch.tensor([[0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]])
seen = {cache: model(ids, position_ids=gap, use_cache=cache).logits[:, 6:] for cache in (False, True)}
# the two readings, written out: all earlier tokens are seen (an explicit mask), or the second half alone
every = torch.full((12, 12), torch.finfo(torch.float32).min).triu(1)[None, None]
text, halves = (
    model(ids, position_ids=gap, attention_mask=every, use_cache=False).logits[:, 6:],
    model(ids[:, 6:], position_ids=gap[:, 6:]).logits,
)


def off(a, b):
    return float((a - b).abs().max())


print(
    f"transformers {version('transformers')}: twelve tokens, position 6 left out; the last six tokens' logits, "
    f"largest difference (largest logit {float(text.abs().max()):.1f})"
)
print(
    f"  cache off: {off(seen[False], text):.1e} from one text, {off(seen[False], halves):.1e} from the last six "
    "tokens alone"
)
print(
    f"  cache on:  {off(seen[True], text):.1e} from one text, {off(seen[True], halves):.1e} from the last six "
    "tokens alone"
)
sys.exit(
    0
    if max(off(seen[False], halves), off(seen[True], text))
    < 1e-3
    < 0.1
    < min(off(seen[False], text), off(seen[True], halves))
    else 1
)
PY
