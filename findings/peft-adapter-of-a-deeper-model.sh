#!/bin/bash
# peft 0.21: an adapter that was trained on a deeper model loads on a shallower one, without what it has for the rest.
#
# Expected: `PeftModel.from_pretrained` warns when the file and the model do not fit, as it does when the model has
# layers that the file lacks ("Found missing adapter keys while loading the checkpoint").
# What is: it names only what is missing. What the file has for layers beyond the model's depth is dropped, without
# a word, and the rest is applied: a plausible model that nobody trained. `load_adapter` returns those keys, as
# `unexpected_keys`.
# Instead: compare the keys of the file with those of `get_peft_model_state_dict(model)`, or load with
# `load_adapter` and look at `unexpected_keys`.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0

"$PYTHON" -I - <<'PY'
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def llama(layers):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


def loaded(layers, folder):
    """The model with the adapter, and what the load said about keys: on standard error or as a warning."""
    logging.disable(logging.NOTSET)
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(llama(layers), folder)
    logging.getLogger().removeHandler(handler)
    said += [str(warning.message) for warning in seen]
    return model, [text for text in said if "lora_" in text or "key" in text]


with tempfile.TemporaryDirectory() as folder:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(llama(5), config).save_pretrained(folder)
    kept = load_file(f"{folder}/adapter_model.safetensors")
    print(f"peft {version('peft')}: a LoRA of 5 layers ({len(kept)} tensors in the file)")
    found = {}
    for layers in (7, 5, 3):
        model, said = loaded(layers, folder)
        there = get_peft_model_state_dict(model)
        taken = sum(key in there and torch.equal(there[key], value) for key, value in kept.items())
        found[layers] = taken, said
        text = said[0][:58] if said else "nothing"
        print(f"  on a model of {layers} layers: {taken} of {len(kept)} taken; said: {text}")
    unexpected = model.load_adapter(folder, "second").unexpected_keys
    print(f"  load_adapter on the model of 3 layers returns {len(unexpected)} unexpected keys")
ok = [found[layers][0] for layers in (7, 5, 3)] == [10, 10, 6] and len(unexpected) == 4
sys.exit(0 if ok and found[7][1] and not found[5][1] and not found[3][1] else 1)
PY
