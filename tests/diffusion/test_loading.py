"""A pipeline's folder: whole, of known kinds and finite, or refused; its hash covers every part."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from lens.diffusion import DiffusionError, Pipeline, load
from lens.diffusion.state import vocabulary_hash
from lens.models import LoadError
from tests.diffusion.test_stable_diffusion import parts_in, tokenizer_in

FILES = {
    "text_encoder": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
}
ENDS = ("v_proj.weight", "to_v.weight", "mid_block.resnets.0.conv1.weight")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "made").mkdir()
    parts_in(folder / "made", small=True).save_pretrained(folder / "whole")
    return folder / "whole"


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "pipeline")


def change(folder, part, how):
    """One weight of a part taken out (None) or changed; the last words of its name."""
    file = folder / part / FILES[part]
    weights = load_file(file)
    key = next(key for key in sorted(weights) if key.endswith(ENDS))
    value = weights.pop(key)
    save_file(weights if how is None else weights | {key: how(value.clone())}, file, metadata={"format": "pt"})
    return ".".join(key.split(".")[-3:])


def nan(value):
    value.view(-1)[0] = float("nan")
    return value


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize(("how", "message"), [(None, "incomplete"), (nan, "NaN or infinite")])
def test_a_part_that_lacks_a_weight_or_holds_nan_is_refused_by_name(folder, part, how, message):
    key = change(folder, part, how)
    with pytest.raises(DiffusionError, match=message) as raised:
        load(folder, device="cpu")
    assert key in str(raised.value) and part in str(raised.value)


def test_a_text_encoder_of_more_layers_than_its_config_asks_for_is_refused(folder):
    file = folder / "text_encoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_hidden_layers": 1}))
    with pytest.raises(DiffusionError, match="weights hold 2 layers .*asks for 1"):
        load(folder, device="cpu")


@pytest.mark.parametrize("part", FILES)
def test_other_weights_in_any_part_are_another_hash(whole, folder, part):
    before = load(whole, device="cpu")
    assert load(whole, device="cpu").hash == before.hash
    change(folder, part, lambda value: value + 1)
    after = load(folder, device="cpu")
    assert after.hash != before.hash and (after.unet_hash != before.unet_hash) == (part == "unet")


def test_other_words_another_schedule_or_another_scale_are_another_hash(tmp_path):
    def made():
        return Pipeline.of(parts_in(tmp_path, small=True))

    before = made()
    assert made().hash == before.hash
    words, schedule, scale = made(), made(), made()
    words.tokenizer.add_tokens(["<cat>"])
    schedule.scheduler = type(schedule.scheduler).from_config(schedule.scheduler.config, beta_end=0.02)
    scale.codec.vae.register_to_config(scaling_factor=0.5)
    assert len({p.hash for p in (before, words, schedule, scale)}) == 4
    assert {p.unet_hash for p in (words, schedule, scale)} == {before.unet_hash}


def test_the_hash_of_a_vocabulary_is_that_of_its_words(tmp_path):
    first, second = tokenizer_in(tmp_path), tokenizer_in(tmp_path)
    assert vocabulary_hash(first) == vocabulary_hash(second)
    before = vocabulary_hash(second)
    first(["a long long cat"], padding="max_length", truncation=True)  # settings of a call are no words
    assert vocabulary_hash(first) == before
    second.add_tokens(["<hat>"])
    assert vocabulary_hash(second) != before


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "getcwd"],
        ["lens", "Pair"],
        ["../other", "X"],
        ["transformers", "a.b"],
        ["transformers"],
        ["diffusers", 5],
        [None, "X"],
        ["transformers", "AutoTokenizer"],
    ],
)
def test_no_module_beside_the_known_ones_is_named_by_an_index(folder, entry):
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"text_encoder": entry}))
    with pytest.raises(DiffusionError, match="text_encoder"):
        load(folder, device="cpu")


def test_a_module_that_an_index_names_is_not_imported(folder, tmp_path, monkeypatch):
    (tmp_path / "named_by_an_index.py").write_text("Model = None")
    monkeypatch.syspath_prepend(tmp_path)
    file = folder / "model_index.json"
    for entry in (
        {"text_encoder": ["named_by_an_index", "Model"]},
        {"further": ["named_by_an_index", "Model"]},
        {"_class_name": ["named_by_an_index", "Model"]},
    ):
        file.write_text(json.dumps(json.loads(file.read_text()) | entry))
        with pytest.raises(DiffusionError, match="named_by_an_index"):
            load(folder, device="cpu")
    assert "named_by_an_index" not in sys.modules


def test_damaged_files_of_a_part_are_named(folder):
    (folder / "unet" / "config.json").write_text("[" * 100 + "]" * 100)
    with pytest.raises(DiffusionError, match=r"unet/config.json has lists or objects 100 deep"):
        load(folder, device="cpu")
    (folder / "unet" / "config.json").write_text('{"_attn_implementation": "someone/kernel"}')
    with pytest.raises(LoadError, match="someone/kernel"):
        load(folder, device="cpu")
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "vae" / "other.safetensors.index.json").write_text('{"weight_map": {"w": "../../other.safetensors"}}')
    with pytest.raises(DiffusionError, match="not a file of that folder"):
        load(folder, device="cpu")
    (folder / "vae" / "other.safetensors.index.json").unlink()
    (folder / "vae" / FILES["vae"]).write_bytes(b"short")
    with pytest.raises(DiffusionError, match=f"{FILES['vae']} is no safetensors file"):
        load(folder, device="cpu")


def test_an_adapter_beside_the_text_encoder_is_not_put_on_it(whole, folder):
    import peft
    from transformers import CLIPTextModel

    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    adapted = peft.get_peft_model(encoder, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(folder / "text_encoder")
    assert (folder / "text_encoder" / "adapter_config.json").is_file()
    assert load(folder, device="cpu").hash == load(whole, device="cpu").hash


def test_a_whole_pipeline_from_a_folder_embeds_as_its_own_parts(whole):
    from diffusers import StableDiffusionPipeline

    ours, theirs = load(whole, device="cpu"), StableDiffusionPipeline.from_pretrained(whole)
    with torch.no_grad():
        assert torch.equal(ours.embed(["a cat"]), theirs.text_encoder(ours.tokens(["a cat"]))[0])
