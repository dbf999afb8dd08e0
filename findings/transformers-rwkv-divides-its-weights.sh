#!/bin/bash
# transformers 5.23: the first forward of RWKV in eval mode divides its weights in place.
#
# Expected: a forward reads weights. Saving, comparing, hashing or averaging them before or after one is the same.
# What is: with `rescale_every` (6 by default) the first eval forward divides two matrices of each block by 2 to the
# number of rescalings before it, and the first one in train mode multiplies them back. What is saved in between has
# other weights under the same configuration, and is divided once more when it is loaded and run: another model,
# silently.
# Instead: call `train()` and run one forward before saving or reading weights, or set `rescale_every=0`.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, tempfile, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import RwkvConfig, RwkvForCausalLM

torch.manual_seed(0)
model = (
    RwkvForCausalLM(
        RwkvConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=4,
            attention_hidden_size=32,
            intermediate_size=48,
            rescale_every=2,
        )
    )
    .eval()
    .requires_grad_(False)
)
for weight in model.parameters():
    if weight.ndim == 2:
        weight.normal_(0, 0.3)
ids, before = torch.arange(3, 15)[None], {name: weight.clone() for name, weight in model.named_parameters()}
logits = model(ids).logits
ratio = {
    name: float(weight.norm() / before[name].norm())
    for name, weight in model.named_parameters()
    if not torch.equal(weight, before[name])
}
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    again = RwkvForCausalLM.from_pretrained(folder).eval()
    off = float((again(ids).logits - logits).abs().max())
same = float((model(ids).logits - logits).abs().max())
print(f"transformers {version('transformers')}: RWKV with four blocks, rescaled every second one")
print(
    f"  weights that one forward in eval mode changed: {len(ratio)} of {len(before)}, to "
    f"{sorted(set(round(r, 3) for r in ratio.values()))} of what they were"
)
print(
    f"  largest difference of a logit: a second forward {same:.1e}; saved after the first, loaded and run "
    f"{off:.2f} (largest logit {float(logits.abs().max()):.1f})"
)
sys.exit(0 if ratio and all(abs(r - 0.5) < 1e-3 for r in ratio.values()) and same < 1e-4 < 0.1 < off else 1)
PY
