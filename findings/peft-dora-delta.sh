#!/bin/bash
# peft 0.21: for a DoRA adapter, the base weight plus `get_delta_weight` is not what the layer applies.
#
# Expected: `layer.base_layer.weight + layer.get_delta_weight("default")` is the effective weight, as it is for
# LoRA, rsLoRA, AdaLoRA, LoHa, LoKr, VeRA and others.
# What is: for DoRA the method gives the low-rank product alone. The layer rescales the whole sum row by row to its
# learned magnitudes, so that the sum is off by tens of percent. OFT, BOFT, HRA, IA3 and LoRA with a bias are other
# cases. Nothing warns: the shapes fit, and the result is a plausible weight.
# Instead: merge a copy (`merge()`), or ask the layer for its outputs on unit inputs.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 peft==0.21.2

"$PYTHON" -I - <<'PY'
import copy, sys, warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, inject_adapter_in_model

off = {}
print(
    f"peft {version('peft')}: weight that the layer applies (its outputs on unit inputs), and how far two "
    "candidates are from it (share of its norm)"
)
for name, dora in (("LoRA", False), ("DoRA", True)):
    torch.manual_seed(0)
    holder = torch.nn.Sequential(torch.nn.Linear(32, 24, bias=False))
    layer = (
        inject_adapter_in_model(
            LoraConfig(r=4, use_dora=dora, target_modules=["0"], init_lora_weights=False), holder
        )[0]
        .eval()
        .requires_grad_(False)
    )
    if dora:  # as after some training
        layer.lora_magnitude_vector["default"].weight.mul_(0.5 + torch.rand(24))
    applied = layer(torch.eye(32)).T
    added = layer.base_layer.weight + layer.get_delta_weight("default")
    merged = copy.deepcopy(layer)
    merged.merge()

    def share(weight):
        return float((weight - applied).norm() / applied.norm())

    off[name] = share(added), share(merged.base_layer.weight)
    print(f"  {name}: base + get_delta_weight {off[name][0]:.3f}, a merged copy {off[name][1]:.1e}")
sys.exit(0 if off["LoRA"][0] < 1e-5 < 0.1 < off["DoRA"][0] and max(off["LoRA"][1], off["DoRA"][1]) < 1e-5 else 1)
PY
