#!/bin/bash
# transformers 5.23: `model.to(torch.bfloat16)` and `from_pretrained(dtype=torch.bfloat16)` are two models.
#
# Expected: the same weights rounded to bfloat16 either way, and so the same logits.
# What is: the frequencies of rotary embeddings are a float32 buffer that is in no file. A load in bfloat16 keeps it in
# float32; `.to` rounds it too, by up to four parts in a thousand, so that angles of late positions are off by radians.
# The folder that such a model is saved to has not got the buffer: loaded again it is a third model, equal to the first.
# Instead: load in the dtype that is wanted, or put the buffers back in float32 after `.to`.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 safetensors==0.8.0

"$PYTHON" -I - <<'PY'
import sys
import tempfile
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    initializer_range=0.3,
)
ids = torch.arange(2000)[None] % 64


def logits(model):
    with torch.no_grad():
        return model(ids).logits.float()


with tempfile.TemporaryDirectory() as folder:
    LlamaForCausalLM(config).save_pretrained(folder)
    load = lambda place, **more: LlamaForCausalLM.from_pretrained(place, **more).eval()
    loaded, moved = load(folder, dtype=torch.bfloat16), load(folder).to(torch.bfloat16)
    with tempfile.TemporaryDirectory() as second:
        moved.save_pretrained(second)
        again = load(second, dtype=torch.bfloat16)
    weights = all(torch.equal(a, b) for a, b in zip(loaded.parameters(), moved.parameters()))
    kinds = [str(m.model.rotary_emb.inv_freq.dtype) for m in (loaded, moved, again)]
    exact = loaded.model.rotary_emb.inv_freq
    off = ((moved.model.rotary_emb.inv_freq.float() - exact).abs() / exact).max().item()
    gap = [(logits(m) - logits(loaded)).abs().max().item() for m in (moved, again)]
print(f"transformers {version('transformers')}: parameters equal: {weights}; frequencies (loaded, .to, saved again):")
print(f"  {', '.join(kinds)}; rounded by up to {off:.1e} of themselves")
print(f"  logits at 2,000 tokens differ by up to {gap[0]:.2f} after .to, {gap[1]:.2f} saved and loaded again")
ok = weights and kinds == ["torch.float32", "torch.bfloat16", "torch.float32"] and off > 1e-4
sys.exit(0 if ok and gap[0] > 0.1 and gap[1] == 0 else 1)
PY
