#!/bin/bash
# transformers 5.23 with peft 0.21: `model.load_adapter(folder)` of a DoRA adapter loses the magnitudes and makes up
# others, so that two loads differ.
#
# Expected: the adapter that `save_pretrained` wrote, loaded by transformers' own method, gives the model that was
# saved.
# What is: the file's names for the magnitude vectors do not meet the model's; they stay as they were made, at
# random. Each load gives other logits, none of them the saved model's.
# Instead: `PeftModel.from_pretrained(base, folder)`, which is exact.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 peft==0.21.2

"$PYTHON" -I - <<'PY'
import logging, sys, tempfile, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

ids = torch.arange(3, 15)[None]


def base():
    torch.manual_seed(0)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval()
    for weight in made.parameters():
        weight.data.normal_(0, 0.3)
    return made


@torch.no_grad()
def gap(model, other):
    return float((model(ids).logits - other(ids).logits).abs().max())


with tempfile.TemporaryDirectory() as folder:
    saved = get_peft_model(
        base(), LoraConfig(r=4, use_dora=True, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    ).eval()
    for name, weight in saved.named_parameters():
        if "magnitude" in name:
            weight.data.mul_(0.5 + torch.rand_like(weight))
    saved.save_pretrained(folder)
    loads = []
    for seed in (1, 2):
        loads.append(base())
        torch.manual_seed(seed)
        loads[-1].load_adapter(folder)
    exact = PeftModel.from_pretrained(base(), folder).eval()
print(f"transformers {version('transformers')}, peft {version('peft')}: largest difference of a logit")
print(
    f"  from the saved model: load_adapter {gap(loads[0], saved):.3f} and, again, {gap(loads[1], saved):.3f}; "
    f"PeftModel.from_pretrained {gap(exact, saved):.1e}"
)
print(f"  between the two loads: {gap(*loads):.3f}")
sys.exit(0 if gap(exact, saved) < 1e-5 < 0.01 < min(gap(loads[0], saved), gap(*loads)) else 1)
PY
