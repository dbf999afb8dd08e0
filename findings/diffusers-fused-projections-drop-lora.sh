#!/bin/bash
# diffusers 0.42 with peft 0.21: `fuse_qkv_projections()` leaves LoRA adapters on queries, keys and values out, and
# later edits of those layers too.
#
# Expected: fusing is a matter of speed; the U-Net's output is the same before and after, adapters included (they
# show up in `unet.peft_config` and in the modules all along).
# What is: the joint matrix is copied from the layers' base weights. An adapter on to_q, to_k or to_v stops acting,
# without a word; after `unfuse_qkv_projections()` it acts again. What is written into to_k.weight while fused (a
# mask, an edit, a fine-tuning step) changes nothing until then, and a hook on to_k is never called.
# Instead: `fuse_lora()` first, then fuse the projections; unfuse before reading or editing them.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 diffusers==0.42.1 peft==0.21.2

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

torch.manual_seed(0)
unet = (
    UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    .eval()
    .requires_grad_(False)
)
x, states = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 16)


def run():
    return unet(x, torch.tensor(500), encoder_hidden_states=states).sample.clone()


def gap(a, b):
    return float((a - b).abs().max())


unet.fuse_qkv_projections()
base = run()
unet.unfuse_qkv_projections()
same = gap(run(), base)
unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
adapted = run()
unet.fuse_qkv_projections()
fused = run()
for name, layer in unet.named_modules():
    if name.endswith(("to_k.base_layer", "to_v.base_layer")):
        layer.weight.zero_()
edited = run()
unet.unfuse_qkv_projections()
acts = run()
cross = gap(fused, adapted)
print(
    f"diffusers {version('diffusers')}, peft {version('peft')}: largest difference of the U-Net's output (largest "
    f"output {float(base.abs().max()):.2f})"
)
print(f"  fused and unfused, no adapter:                                  {same:.1e}")
print(f"  the adapter's effect, unfused:                                  {gap(adapted, base):.3f}")
print(f"  fused, from the adapted one:                                    {cross:.3f}")
print(
    f"  keys and values set to zero while fused:                        {gap(edited, fused):.1e}, and after "
    f"unfusing {gap(acts, adapted):.3f}"
)
sys.exit(
    0
    if same < 1e-4
    and gap(adapted, base) > 0.01
    and cross > 0.01
    and gap(edited, fused) == 0
    and gap(acts, adapted) > 0.01
    else 1
)
PY
