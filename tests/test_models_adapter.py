"""An adapter in one folder with whole weights: put on where it names them as its base, else named and left alone."""

import os
import time

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import lens
from lens.cache import LoadError
from tests.models import tiny, word_tokenizer

IDS = torch.tensor([[3, 17, 5, 3, 80]])
KINDS = {
    "lora": dict(target_modules=["o_proj", "v_proj"]),
    "dora": dict(target_modules=["o_proj", "v_proj"], use_dora=True),
    "head": dict(target_modules=["o_proj"], modules_to_save=["lm_head"]),
}


def trained(folder, **options):
    """A folder of weights with an adapter, trained on them, beside them; and the logits of the two together."""
    tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder), peft.LoraConfig(r=4, task_type="CAUSAL_LM", **options)
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn(value.shape, generator=generator) * 0.2)
        model.save_pretrained(folder)
        return model, model(IDS).logits


def logits(model):
    with torch.no_grad():
        return getattr(model, "original_model", model)(IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_that_names_the_folder_is_put_on_its_weights(tmp_path, kind):
    _, want = trained(tmp_path, **KINDS[kind])
    with pytest.warns(UserWarning, match="names this folder's weights as its base, and was put on them"):
        model = lens.load(str(tmp_path), device="cpu")
    torch.testing.assert_close(logits(model), want, atol=1e-5, rtol=1e-5)
    assert (want - logits(tiny("llama"))).abs().max() > 1e-2


def test_weights_that_are_newer_than_the_adapter_are_taken_as_merged(tmp_path):
    adapted, want = trained(tmp_path, **KINDS["lora"])
    merged = adapted.merge_and_unload()
    for name in ("peft_config", "_hf_peft_config_loaded"):
        merged.__dict__.pop(name, None)
    merged.save_pretrained(tmp_path)
    later = time.time_ns() + 10**9
    os.utime(tmp_path / "model.safetensors", ns=(later, later))
    with pytest.warns(UserWarning, match="adapter files lie beside the whole weights.*They were not applied"):
        model = lens.load(str(tmp_path), device="cpu")
    torch.testing.assert_close(logits(model), want, atol=1e-5, rtol=1e-5)


def test_an_adapter_of_another_base_is_named_and_left_alone(tmp_path):
    trained(tmp_path / "one", **KINDS["lora"])
    os.rename(tmp_path / "one", tmp_path / "two")
    with pytest.warns(UserWarning, match="They were not applied"):
        model = lens.load(str(tmp_path / "two"), device="cpu")
    torch.testing.assert_close(logits(model), logits(tiny("llama")), atol=1e-5, rtol=1e-5)


def test_an_adapter_that_lacks_weights_or_adds_tokens_is_refused(tmp_path):
    trained(tmp_path / "cut", **KINDS["dora"])
    file = tmp_path / "cut" / "adapter_model.safetensors"
    kept = load_file(file)
    save_file({name: value for name, value in kept.items() if "magnitude" not in name}, file)
    with pytest.raises(LoadError, match="the adapter beside the weights .* is incomplete"), pytest.warns(UserWarning):
        lens.load(str(tmp_path / "cut"), device="cpu")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(LoadError, match="cannot be put on"), pytest.warns(UserWarning):
        lens.load(str(tmp_path / "cut"), device="cpu")
    folder = tmp_path / "virtual"
    tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    ).save_pretrained(folder)
    with pytest.raises(LoadError, match="puts tokens of its own before the text"), pytest.warns(UserWarning):
        lens.load(str(folder), device="cpu")
