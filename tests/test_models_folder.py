"""What a model's folder says of itself is looked at before any library opens it: layers, names of files and of kinds of
attention, damage.
"""

import json
import os
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import lens
from lens import cache
from lens.models import LoadError, shipped
from lens.models import folder as folders
from tests.models import KINDS, tiny, word_tokenizer

DEEP = "[" * 500 + "]" * 500


def change(file, **entries):
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


# --- layers


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2"])
@pytest.mark.parametrize("layers", [2, 1, 0, -1])
def test_fewer_layers_in_the_config_than_in_the_weights_are_refused(tmp_path, kind, layers):
    tiny(kind).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    change(tmp_path / "config.json", **{"n_layer" if kind == "gpt2" else "num_hidden_layers": layers})
    if "layer_types" in json.loads((tmp_path / "config.json").read_text()):
        change(tmp_path / "config.json", layer_types=["full_attention"] * max(layers, 0))
    with pytest.raises(
        LoadError, match=rf"weights hold 3 layers .*config asks for {max(layers, 0)} \(num_hidden_layers={layers}\)"
    ):
        lens.load(tmp_path, device="cpu")
    with pytest.raises(LoadError, match="weights hold 3 layers"):
        lens.forgetting.starting_from(str(tmp_path))()


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_folder_of_each_kind_leaves_nothing_over(tmp_path, kind, recwarn):
    tiny(kind).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    lens.load(tmp_path, device="cpu")
    assert not [w for w in recwarn if "does not ask for" in str(w.message)]


def test_other_weights_that_are_left_over_are_named_in_a_warning(saved):
    file = saved / "model.safetensors"
    save_file(
        load_file(file)
        | {
            "vision.weight": torch.ones(2),
            "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
        },
        file,
        metadata={"format": "pt"},
    )
    with pytest.warns(UserWarning, match="hold 1 weights that its config does not ask for, first 'vision.weight'"):
        lens.load(saved, device="cpu")


# --- what is refused before a library opens it


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_json_nested_deep_is_named(saved, name):
    (saved / name).write_text(DEEP)
    with pytest.raises(LoadError, match=f"{name} has lists or objects 500 deep"):
        lens.load(saved, device="cpu")


@pytest.mark.parametrize("content", ['["auto_map"]', "5", "null", '"text"'])
def test_a_config_that_is_no_object_is_named(saved, content):
    (saved / "config.json").write_text(content)
    with pytest.raises(LoadError, match="config.json cannot be read: it holds"):
        lens.load(saved, device="cpu")


@pytest.mark.parametrize(
    "file",
    ["../model.safetensors", "/model.safetensors", "a/../../model.safetensors", "", 5, None, ["model.safetensors"]],
)
def test_an_index_of_shards_names_files_of_its_own_folder(saved, file):
    shutil.copy(saved / "model.safetensors", saved.parent / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": file}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LoadError, match="not a file of that folder|as a file"):
        lens.load(saved, device="cpu")


@pytest.mark.parametrize(
    "entry", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal", "experts_implementation"]
)
@pytest.mark.parametrize("inside", [False, True])
def test_only_known_ways_of_attention_are_asked_for(saved, entry, inside):
    asked = {entry: "someone/kernel"}
    change(saved / "config.json", **({"text_config": asked} if inside else asked))
    with pytest.raises(LoadError, match=f"{entry}='someone/kernel'; expected one of eager"):
        lens.load(saved, device="cpu")
    with pytest.raises(LoadError, match="someone/kernel"):
        lens.forgetting.starting_from(str(saved))


@pytest.mark.parametrize("inside", [False, True])
def test_a_config_cannot_trust_its_own_code(saved, inside):
    change(
        saved / "config.json",
        **({"text_config": {"trust_remote_code": True}} if inside else {"trust_remote_code": True}),
    )
    with pytest.raises(LoadError, match="its code is to be trusted"):
        lens.load(saved, device="cpu")


def test_known_ways_of_attention_are_taken(saved):
    for way in ("sdpa", None, "flash_attention_2"):
        folders.require_known_ways(
            "m", {"attn_implementation": way, "text_config": {"_attn_implementation": {"": "eager", "vision": "sdpa"}}}
        )
    with pytest.raises(LoadError, match="someone/kernel"):
        folders.require_known_ways("m", {"attn_implementation": {"": "eager", "vision": "someone/kernel"}})
    change(saved / "config.json", attn_implementation="sdpa")
    lens.load(saved, device="cpu")


# --- damage


def flip(file):
    """Another last byte, as a disk or a copy would leave it."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_flipped_byte_of_a_shipped_organism_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "induction" / "weights" / "induction"
    shutil.copytree(shipped.folder_of("induction"), folder)
    monkeypatch.setattr(shipped, "ORGANISMS", tmp_path)
    lens.load("organism:induction", device="cpu")
    flip(folder / "model.safetensors")
    with pytest.raises(LoadError, match="model.safetensors is damaged: its SHA-256 is not the one in its card"):
        lens.load("organism:induction", device="cpu")


def test_a_flipped_byte_of_a_fetched_model_is_found(as_fetched):
    lens.load("smollm2")
    file = as_fetched / "model.safetensors"
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # a copy keeps the time of writing
    with pytest.raises(LoadError, match=r"damaged: model\.safetensors has another SHA-256.*Run `lens fetch smollm2`"):
        lens.load("smollm2")
    flip(file)
    lens.load("smollm2")


def test_a_fetched_model_is_read_whole_once_and_then_known(tmp_path, monkeypatch, as_fetched):
    read, sha256_file = [], cache.sha256_file
    monkeypatch.setattr(cache, "sha256_file", lambda path: (read.append(path.name), sha256_file(path))[1])
    cache.fetched("smollm2")
    assert sorted(read) == sorted(path.name for path in as_fetched.iterdir() if path.name != "manifest.json")
    read.clear()
    cache.fetched("smollm2")
    assert not read
    shutil.rmtree(tmp_path / "cache" / "checked")
    cache.fetched("smollm2")
    assert read


# --- adapters


def adapted(place):
    tiny("llama").save_pretrained(place)
    word_tokenizer().save_pretrained(place)
    model = peft.get_peft_model(tiny("llama"), peft.LoraConfig(r=2, task_type="CAUSAL_LM", target_modules=["o_proj"]))
    model.peft_config["default"].base_model_name_or_path = str(place)
    model.save_pretrained(place)
    return place


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "named_by_an_adapter"}}, "named_by_an_adapter"),
        ({"auto_mapping": "other"}, "'other'"),
        ({"megatron_config": {"a": 1}, "megatron_core": "named_by_an_adapter"}, "megatron_config"),
    ],
)
def test_an_adapter_names_no_module_to_import(tmp_path, entries, message):
    place = adapted(tmp_path / "adapted")
    change(place / "adapter_config.json", **entries)
    with pytest.warns(UserWarning, match="put on"), pytest.raises(LoadError, match=message):
        lens.load(place, device="cpu")


def test_an_adapter_as_pickle_or_damaged_is_refused(tmp_path):
    place = adapted(tmp_path / "adapted")
    weights = place / "adapter_model.safetensors"
    with pytest.warns(UserWarning, match="put on"):
        lens.load(place, device="cpu")
    weights.write_bytes(weights.read_bytes()[:-8])
    with (
        pytest.warns(UserWarning, match="put on"),
        pytest.raises(LoadError, match="adapter_model.safetensors is damaged"),
    ):
        lens.load(place, device="cpu")
