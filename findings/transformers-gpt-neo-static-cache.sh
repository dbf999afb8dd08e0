#!/bin/bash
# transformers 5.23: GPT-Neo with local layers writes other texts with the static cache.
#
# Expected: `generate(..., cache_implementation="static")` is a matter of memory and speed; the logits are those of
# a forward of the whole text.
# What is: the local layers take the rows of their mask from the end of the cache's slots, empty ones included, and
# not from where the text is, so that they see other tokens. Logits at each step are off, while the default cache is
# exact to rounding. Nothing warns.
# Instead: the default cache for this model.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

ids, off = torch.arange(3, 15)[None], {}
print(
    f"transformers {version('transformers')}: twelve tokens written greedily after twelve, largest difference of "
    "their logits from one forward of the whole text"
)
for kinds in (["global", "global"], ["global", "local"]):
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=60,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[kinds, 1]],
        window_size=4,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = GPTNeoForCausalLM(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(0, 0.3)
    for cache in (None, "static"):
        made = model.generate(
            ids,
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
            **({} if cache is None else {"cache_implementation": cache}),
        )
        whole = model(made.sequences).logits[:, 11:-1]
        off[kinds[1], cache] = float((torch.stack(made.logits, 1) - whole).abs().max())
        print(f"  layers {' and '.join(kinds)}, {cache or 'default'} cache: {off[kinds[1], cache]:.1e}")
sys.exit(
    0
    if max(off["global", None], off["global", "static"], off["local", None]) < 1e-4 < 0.01 < off["local", "static"]
    else 1
)
PY
