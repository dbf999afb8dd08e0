#!/bin/bash
# transformers 5.23: Bamba, stepped by hand with its cache and without position ids, puts every new token at
# position 0.
#
# Expected: `model(next_id, past_key_values=cache, use_cache=True)` continues the text; most decoders read the
# position from the cache's length, and `generate` gives the ids itself.
# What is: Bamba counts the positions of a call from 0, whatever the cache holds. The first step is right, all later
# ones are of another text (MiniMax with a linear layer first does the same). Nothing warns.
# Instead: pass `position_ids` at each step.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import BambaConfig, BambaForCausalLM, LlamaConfig, LlamaForCausalLM

ids, sizes = (
    torch.arange(3, 15)[None],
    dict(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    ),
)
bamba = BambaConfig(
    **sizes,
    attn_layer_indices=[1],
    mamba_n_heads=8,
    mamba_d_head=8,
    mamba_d_state=8,
    mamba_n_groups=1,
    mamba_chunk_size=8,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


@torch.no_grad()
def stepped(model, given):
    """Logits of one token at a time, the position given or left to the model."""
    cache, found = None, []
    for at in range(ids.shape[1]):
        out = model(
            ids[:, at : at + 1],
            past_key_values=cache,
            use_cache=True,
            **({"position_ids": torch.tensor([[at]])} if given else {}),
        )
        cache = out.past_key_values
        found.append(out.logits)
    return torch.cat(found, 1)


off = {}
print(
    f"transformers {version('transformers')}: twelve tokens one at a time, largest difference of a logit from one "
    "forward of all (largest logit in brackets)"
)
for kind, config in ((LlamaForCausalLM, LlamaConfig(**sizes)), (BambaForCausalLM, bamba)):
    torch.manual_seed(0)
    model = kind(config).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.normal_(0, 0.3)
    whole = model(ids).logits
    off[kind] = [float((stepped(model, given) - whole).abs().max()) for given in (True, False)]
    print(
        f"  {kind.__name__:17} with position ids {off[kind][0]:.1e}, without {off[kind][1]:.1e}   "
        f"({float(whole.abs().max()):.1f})"
    )
sys.exit(0 if max(*off[LlamaForCausalLM], off[BambaForCausalLM][0]) < 1e-3 < 0.1 < off[BambaForCausalLM][1] else 1)
PY
