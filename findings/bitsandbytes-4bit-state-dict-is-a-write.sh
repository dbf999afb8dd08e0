#!/bin/bash
# bitsandbytes 0.50: on a processor with AVX512-BF16, `state_dict()` of a 4 bit model that has
# run makes it another model.
#
# Expected: `state_dict()` reads. What it returns is the model, and the model stays what it was.
# What is: the first forward in `eval()` without gradients repacks each weight, its scales transposed and in
# bfloat16. `state_dict()` (and with it `save_pretrained`, a checkpoint, a hash of the weights) puts the codes back and,
# where the scales are not nested, leaves the scales transposed: they belong to other blocks. The layers that are
# running are changed with it, and what was saved loads as that other model too, silently. Scales that are not nested
# are transformers' default (`bnb_4bit_use_double_quant=False`); nested ones are quantised anew, a small change.
# Instead: take the state dict before the first such forward, or save from a fresh load. Other processors and GPUs do
# not repack.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 bitsandbytes==0.50.2

"$PYTHON" -I - <<'PY'
import logging
import sys
from importlib.metadata import version

logging.disable(logging.WARNING)
import bitsandbytes
import torch
from bitsandbytes.functional import has_avx512bf16

if not has_avx512bf16():
    print("this processor has no AVX512-BF16: the layers are not repacked here")
    sys.exit(2)


def layer(nested):
    torch.manual_seed(0)
    made = bitsandbytes.nn.Linear4bit(
        256, 128, bias=False, quant_type="nf4", compress_statistics=nested, compute_dtype=torch.float32
    )
    made.weight.data.copy_(torch.randn(128, 256) * (0.2 + torch.rand(128, 1)))  # rows of different sizes
    return made.to("cpu").eval()  # this call quantises


def loaded(state, nested):
    """A layer from a state dict, the way a loader of saved models makes one."""
    made, statistics = layer(nested), {key[7:]: value.clone() for key, value in state.items() if key != "weight"}
    made.weight = bitsandbytes.nn.Params4bit.from_prequantized(state["weight"].clone(), statistics, device="cpu")
    return made


def copied(state):
    return {key: value.clone() for key, value in state.items()}


torch.manual_seed(1)
inputs, found = torch.randn(7, 256), {}
print(f"bitsandbytes {version('bitsandbytes')}: outputs of an NF4 layer, off by (share of the largest)")
with torch.no_grad():
    for nested in (False, True):
        model = layer(nested)
        fresh = copied(model.state_dict())
        first = model(inputs)
        again = model(inputs)
        late = copied(model.state_dict())
        after = model(inputs)
        off = [float((outputs - first).abs().max() / first.abs().max())
               for outputs in (again, after, loaded(fresh, nested)(inputs), loaded(late, nested)(inputs))]
        found[nested] = off
        print(f"  scales {'nested' if nested else 'plain'}: a second forward {off[0]:.4f}; a forward after "
              f"state_dict() {off[1]:.4f}; loaded from a state dict of before the first forward {off[2]:.4f}, from one "
              f"of after it {off[3]:.4f}; codes equal {torch.equal(fresh['weight'], late['weight'])}, scales "
              f"{fresh['weight.absmax'].dtype} {list(fresh['weight.absmax'].shape)}, then "
              f"{late['weight.absmax'].dtype} {list(late['weight.absmax'].shape)}")
plain, nested = found[False], found[True]
ok = max(plain[0], plain[2], nested[0], nested[2]) < 0.01 and min(plain[1], plain[3]) > 0.1
sys.exit(0 if ok and max(nested[1], nested[3]) < 0.05 else 1)
PY
