#!/bin/bash
# transformers 5.23: two texts decoded in turns by one RecurrentGemma get each other's state, each with a cache of
# its own.
#
# Expected: what a model remembers of a text is in the cache that is handed to it; with one cache for each text, the
# steps of several texts may alternate, as they may with Mamba, Jamba and every attention model.
# What is: the cache holds the attention layers alone. The recurrent layers keep their state in the modules, one for
# whatever came last: the other text goes on from it, silently. And a forward with `use_cache=True` but without
# a cache returns none, yet keeps the recurrent half: steps that follow attend to nothing before themselves.
# Instead: decode one text at a time, with a `DynamicCache(config=...)` that you make yourself, or put the texts into
# one batch; run anything in between (a probe, a perplexity) on a copy of the model.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch
from transformers import (DynamicCache, JambaConfig, JambaForCausalLM, RecurrentGemmaConfig,
                          RecurrentGemmaForCausalLM)

LENGTH, PROMPT = 12, 8
RECURRENT = dict(num_hidden_layers=3, hidden_size=32, intermediate_size=64, num_attention_heads=2, lru_width=32,
                 vocab_size=64, attention_window_size=64)
JAMBA = dict(num_hidden_layers=4, hidden_size=32, intermediate_size=64, num_attention_heads=2, num_key_value_heads=2,
             vocab_size=64, num_experts=2, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=8,
             expert_layer_offset=7, use_mamba_kernels=False)


def off(logits, whole):
    return float((torch.stack(logits, 1) - whole[:, PROMPT:]).abs().max() / whole.abs().max())


@torch.no_grad()
def measured(model):
    torch.manual_seed(1)
    texts = [torch.randint(0, 64, (1, LENGTH)) for _ in range(2)]
    whole = [model(ids, use_cache=False).logits for ids in texts]

    def begin(ids):
        cache = DynamicCache(config=model.config)
        model(ids[:, :PROMPT], use_cache=True, past_key_values=cache)
        return cache

    def step(ids, cache, at):
        return model(ids[:, at:at + 1], use_cache=True, past_key_values=cache).logits[:, -1]

    alone = []
    for ids, right in zip(texts, whole):
        cache = begin(ids)
        alone.append(off([step(ids, cache, at) for at in range(PROMPT, LENGTH)], right))
    caches, turns = [begin(ids) for ids in texts], ([], [])
    for at in range(PROMPT, LENGTH):
        for own, ids, cache in zip(turns, texts, caches):
            own.append(step(ids, cache, at))
    return max(alone), max(off(*pair) for pair in zip(turns, whole))


print(f"transformers {version('transformers')}: steps with a cache against whole forwards (largest logit apart, share)")
found = {}
for name, model, config in (("Jamba", JambaForCausalLM, JambaConfig(**JAMBA)),
                            ("RecurrentGemma", RecurrentGemmaForCausalLM, RecurrentGemmaConfig(**RECURRENT))):
    torch.manual_seed(0)
    found[name] = measured(model(config).eval())
    print(f"  {name}: one text after the other {found[name][0]:.1e}, in turns {found[name][1]:.1e}")

torch.manual_seed(0)
model = RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**RECURRENT)).eval()
ids = torch.randint(0, 64, (1, LENGTH))
with torch.no_grad():
    whole = model(ids, use_cache=False).logits
    first = model(ids[:, :PROMPT], use_cache=True)
    returned = getattr(first, "past_key_values", None)
    bare = off([model(ids[:, at:at + 1], use_cache=True).logits[:, -1] for at in range(PROMPT, LENGTH)], whole)
print(f"  RecurrentGemma, use_cache=True and no cache given: cache returned {returned}, steps after it off by {bare:.2f}")
ok = max(found["RecurrentGemma"][0], *found["Jamba"]) < 1e-4 and found["RecurrentGemma"][1] > 0.01
sys.exit(0 if ok and returned is None and bare > 0.05 else 1)
PY
