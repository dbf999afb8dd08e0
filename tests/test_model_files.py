"""Edited models as folders: what transformers opens is the edited model, bit for bit, and what cannot be in weights is
refused by name.
"""

import copy
import json
import os

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lens
from lens import model_files, models
from lens.model_files import SaveError, save_model
from lens.subspace import Mask, Replacement
from tests.models import KINDS, speaking, tiny, word_tokenizer

IDS = torch.tensor([[5, 9, 2, 40, 7, 66, 3]])
#: A layer of each type that a mask may have.
LAYERS = {
    "gpt2": "transformer.h.1.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.1.mlp.dense_4h_to_h",
    "gpt_neox_sequential": "gpt_neox.layers.1.mlp.dense_4h_to_h",
}


def masked(kind, seed=1):
    """A mask of a tiny model, and a second copy with the same weights set to 0 by hand."""
    other, name = tiny(kind), LAYERS.get(kind, "model.layers.1.mlp.down_proj")
    weight = other.get_submodule(name).weight
    own = weight.T if kind == "gpt2" else weight
    chosen = torch.rand(own.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    own[chosen] = 0
    return Mask.of({name: chosen}, about={"method": "by hand", "seed": seed}), other


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def opened(folder, **options):
    """What transformers itself makes of a folder."""
    return AutoModelForCausalLM.from_pretrained(folder, **{"dtype": torch.float32} | options).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_opens_is_the_edited_model_bit_for_bit(tmp_path, kind):
    model, (mask, other) = speaking(kind), masked(kind)
    before = {name: p.clone() for name, p in model.named_parameters()}
    folder = save_model(model, tmp_path / "edited", mask)
    found, tokenizer = opened(folder), AutoTokenizer.from_pretrained(folder)
    assert torch.equal(logits(found), logits(other)) and not torch.equal(logits(found), logits(model))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    if kind == "llama":  # of other types AutoTokenizer makes their own class of whatever lies there
        assert tokenizer("w5 w9").input_ids == word_tokenizer()("w5 w9").input_ids
    assert {p.suffix for p in folder.iterdir()} <= {".json", ".safetensors"}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen2"])
def test_a_bridge_is_saved_as_the_plain_model(tmp_path, kind):
    plain, (mask, other) = tiny(kind), masked(kind)
    plain.generation_config.max_new_tokens = 17
    plain.save_pretrained(tmp_path / "plain")
    word_tokenizer().save_pretrained(tmp_path / "plain")
    bridge = lens.load(tmp_path / "plain")
    assert hasattr(bridge, "original_model")
    folder = save_model(bridge, tmp_path / "edited", mask)
    assert torch.equal(logits(opened(folder)), logits(other))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [p.name for p in (tmp_path / "plain").iterdir()] + ["mnemoscope.json"]
    )
    AutoTokenizer.from_pretrained(tmp_path / "plain").save_pretrained(tmp_path / "own")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"):
        want = json.loads((tmp_path / ("own" if "tokenizer" in name else "plain") / name).read_text())
        for entry in ("is_local", "local_files_only"):  # where it was read from, no part of it
            want.pop(entry, None)
        assert json.loads((folder / name).read_text()) == want
    keys = [set(safetensors.torch.load_file(at / "model.safetensors")) for at in (folder, tmp_path / "plain")]
    assert keys[0] == keys[1]


def test_the_record_says_what_was_done_and_later_results_tell_it(tmp_path):
    model, (mask, other) = speaking(), masked("llama")
    folder = save_model(model, tmp_path / "edited", [mask])
    record = json.loads((folder / "mnemoscope.json").read_text())
    (edit,) = record["edits"]
    assert edit["kind"].endswith("Mask") and edit["record"] == {"method": "by hand", "seed": 1} and edit["digest"]
    assert str(mask.count) in edit["what"]
    assert record["of"]["hash"] == models.weight_hash(model) and record["weights"] == models.weight_hash(other)
    loaded = lens.load(folder)
    assert models.weight_hash(loaded) == record["weights"]
    pair = lens.Pair("w5 w9 w2", corrupted="w5 w8 w2", answer=" w7", foil=" w6")
    told = lens.record(lens.patch(loaded, pair, "resid_pre"))["model"]
    assert told["loaded"]["edited"]["edits"] == record["edits"] and told["hash"] == record["weights"]
    # saved once more, it is of the edited one
    again = save_model(loaded, tmp_path / "again")
    assert json.loads((again / "mnemoscope.json").read_text())["of"]["loaded"]["edited"]["edits"] == record["edits"]


def test_a_record_of_other_weights_is_not_told(tmp_path):
    folder = save_model(speaking(), tmp_path / "edited", masked("llama")[0])
    tiny(seed=3).save_pretrained(folder)
    with pytest.warns(UserWarning, match="not those that mnemoscope.json beside them is of"):
        loaded = lens.load(folder)
    assert "edited" not in models.loaded.loaded_as(loaded)
    (folder / "mnemoscope.json").write_text('{"schema": 99}')
    with pytest.raises(lens.LoadError, match=r"mnemoscope\.json has schema 99, expected 1"):
        lens.load(folder)
    (folder / "mnemoscope.json").write_text("{")
    with pytest.raises(lens.LoadError, match=r"mnemoscope\.json cannot be read"):
        lens.load(folder)


def test_shards_ties_and_dtypes(tmp_path):
    model = speaking("gpt2")
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    folder = save_model(model, tmp_path / "shards", masked("gpt2")[0], max_shard=size // 3)
    assert len(list(folder.glob("*.safetensors"))) > 2 and (folder / "model.safetensors.index.json").is_file()
    assert torch.equal(logits(opened(folder)), logits(masked("gpt2")[1]))
    assert opened(folder).lm_head.weight is opened(folder).transformer.wte.weight or torch.equal(
        opened(folder).lm_head.weight, model.lm_head.weight
    )
    assert "edited" in models.loaded.loaded_as(lens.load(folder))
    masked("llama")[1].to(torch.bfloat16).save_pretrained(tmp_path / "by hand")
    tiny().save_pretrained(tmp_path / "plain")
    half = opened(tmp_path / "plain", dtype=torch.bfloat16)
    folder = save_model(half, tmp_path / "half", masked("llama")[0])
    assert torch.equal(logits(opened(folder, dtype="auto")), logits(opened(tmp_path / "by hand", dtype="auto")))


def test_a_model_that_no_file_holds_is_refused(tmp_path):
    # .to() rounds the rotary frequencies too, which are in no file: what is opened has them exact
    with pytest.raises(SaveError, match="what was written is another model and is not kept: its logits are off by"):
        save_model(speaking().to(torch.bfloat16), tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []
    assert save_model(speaking().to(torch.bfloat16), tmp_path / "edited", check=False).is_dir()


def test_several_edits_of_weights_and_none(tmp_path):
    model, (mask, other) = speaking(), masked("llama")
    name = "model.layers.0.self_attn.o_proj"
    new = torch.randn(other.get_submodule(name).weight.shape, generator=torch.Generator().manual_seed(4))
    other.get_submodule(name).weight.copy_(new)
    folder = save_model(model, tmp_path / "two", [mask, Replacement({name: new})])
    assert torch.equal(logits(opened(folder)), logits(other))
    folder = save_model(model, tmp_path / "none")
    assert torch.equal(logits(opened(folder)), logits(model))
    assert json.loads((folder / "mnemoscope.json").read_text())["edits"] == []


# -- edits of activations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "site"), [("gpt2", "mlp_out"), ("gpt2", "attn_out"), ("gpt_neox", "mlp_out")])
def test_a_vector_that_is_added_everywhere_is_a_bias(tmp_path, kind, site):
    model, other = speaking(kind), tiny(kind)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(2))
    folder = save_model(model, tmp_path / "edited", lens.Edit(lens.Site(site, layer=1), "add", vector, scale=0.5))
    path = {
        "gpt2": {"mlp_out": "transformer.h.1.mlp.c_proj", "attn_out": "transformer.h.1.attn.c_proj"},
        "gpt_neox": {"mlp_out": "gpt_neox.layers.1.mlp.dense_4h_to_h"},
    }[kind][site]
    layer = other.get_submodule(path)
    layer.register_forward_hook(lambda module, args, out: out + 0.5 * vector)
    found = logits(opened(folder))
    torch.testing.assert_close(found, logits(other), rtol=0, atol=1e-4 * float(logits(other).abs().max()))
    assert not torch.allclose(found, logits(model), atol=1e-2)
    assert torch.equal(opened(folder).get_submodule(path).bias, layer.bias + 0.5 * vector)
    loaded = lens.load(folder)
    assert models.weight_hash(loaded) == json.loads((folder / "mnemoscope.json").read_text())["weights"]


@pytest.mark.parametrize(("op", "scale"), [("zero", 1.0), ("scale", 0.25)])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_a_layer_gives_is_scaled_or_gone(tmp_path, kind, op, scale):
    model, other = speaking(kind), tiny(kind)
    mask, _ = masked(kind)
    folder = save_model(model, tmp_path / "edited", [lens.Edit(lens.Site("mlp_out", layer=2), op, scale=scale), mask])
    factor = 0.0 if op == "zero" else scale
    blocks = other.transformer.h if kind == "gpt2" else other.model.layers
    blocks[2].mlp.register_forward_hook(lambda module, args, out: out * factor)
    layer = other.get_submodule(LAYERS.get(kind, "model.layers.1.mlp.down_proj"))
    (layer.weight.T if kind == "gpt2" else layer.weight)[mask.dense(next(iter(mask.layers)))] = 0
    want = logits(other)
    torch.testing.assert_close(logits(opened(folder)), want, rtol=0, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [
        (
            "llama",
            lens.Edit(lens.Site("mlp_out", 1), "add", torch.ones(32)),
            "down_proj .* has no bias that could hold",
        ),
        ("gpt2", lens.Edit(lens.Site("mlp_out", 1, position=-1), "add", torch.ones(32)), "acts at positions of a text"),
        ("gpt2", lens.Edit(lens.Site("z", 1, head=2), "zero"), "z.* is no edit that a weight can hold; .*mask"),
        ("gpt2", lens.Edit(lens.Site("resid_pre", 1), "add", torch.ones(32)), "is no edit that a weight can hold"),
        ("gpt2", lens.Edit(lens.Site("mlp_out", 1), "add", torch.ones(3, 32)), "no bias can hold that"),
        ("gpt2", lens.Edit(lens.Site("mlp_out", 9), "zero"), "edits: layer=9"),
        ("olmo2", lens.Edit(lens.Site("mlp_out", 1), "zero"), "stands no output of one linear layer"),
        ("gpt2", "mask.npz", r"edits\[0\]='mask.npz' is no edit"),
    ],
)
def test_edits_that_no_weight_holds_are_refused_by_name(tmp_path, kind, edit, message):
    with pytest.raises(SaveError, match=message):
        save_model(speaking(kind), tmp_path / "edited", edit)
    assert list(tmp_path.iterdir()) == []


def test_a_gate_is_refused_by_name(tmp_path):
    edit = lens.Edit(lens.Site("mlp_out", 1), "zero", when=lens.Gate.token([5]))
    with pytest.raises(SaveError, match=r"acts only when .*no weight can hold a gate"):
        save_model(speaking(), tmp_path / "edited", edit)


# -- models whose weights are not all that they are -----------------------------------------------------------------


def test_adapters_beside_the_weights_are_refused_and_merged_ones_saved(tmp_path):
    import peft

    torch.manual_seed(0)
    adapted = peft.get_peft_model(tiny(), peft.LoraConfig(target_modules=["down_proj"], init_lora_weights=False)).eval()
    for model in (adapted, adapted.get_base_model()):
        with pytest.raises(SaveError, match="adapters lie beside its weights.*merge"):
            save_model(model, tmp_path / "edited")
    want = logits(adapted)
    # what this guards against: the model's own way writes the adapter alone
    adapted.save_pretrained(tmp_path / "own")
    assert not (tmp_path / "own" / "model.safetensors").exists()
    folder = save_model(adapted.merge_and_unload(), tmp_path / "edited")
    torch.testing.assert_close(logits(opened(folder)), want, rtol=0, atol=1e-4 * float(want.abs().max()))


def test_quantised_weights_are_refused(tmp_path):
    quanto = pytest.importorskip("optimum.quanto")
    model = tiny()
    quanto.quantize(model, weights=quanto.qint8)
    quanto.freeze(model)
    with pytest.raises(SaveError, match=r"its weights are quantised \(quanto.*dequantize=True"):
        save_model(model, tmp_path / "edited")


def test_offloaded_weights_are_refused(tmp_path):
    from accelerate import cpu_offload

    model = tiny()
    cpu_offload(model, execution_device="cpu")
    with pytest.raises(SaveError, match="some of its weights are offloaded"):
        save_model(model, tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_rwkv_after_a_forward_is_refused_and_right_before_it(tmp_path):
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(0)
    sizes = dict(vocab_size=97, hidden_size=32, attention_hidden_size=32, num_hidden_layers=4, rescale_every=2)
    model = RwkvForCausalLM(RwkvConfig(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    model.save_pretrained(tmp_path / "fresh")
    want = logits(model)
    with pytest.raises(SaveError, match="RWKV has divided its weights in place"):
        save_model(model, tmp_path / "edited")
    torch.testing.assert_close(logits(opened(tmp_path / "fresh")), want)


def test_edits_in_force_and_hooks_are_refused(tmp_path):
    model, (mask, _) = speaking(), masked("llama")
    for edit in (mask, lens.Edit(lens.Site("mlp_out", 1), "zero")):
        with lens.edited(model, edit), pytest.raises(SaveError, match="is in force on it; .*edits="):
            save_model(model, tmp_path / "edited", mask)
    handle = model.model.layers[0].register_forward_hook(lambda module, args, out: out)
    with pytest.raises(SaveError, match="hooks or methods of its modules are your own"):
        save_model(model, tmp_path / "edited", mask)
    handle.remove()
    model.model.layers[0].mlp.forward = lambda x: x
    with pytest.raises(SaveError, match="hooks or methods of its modules are your own"):
        save_model(model, tmp_path / "edited")
    with pytest.raises(SaveError, match="model is a Linear; expected one of lens.load"):
        save_model(torch.nn.Linear(2, 2), tmp_path / "edited")
    assert list(tmp_path.iterdir()) == []


def test_another_model_s_mask_is_refused_and_nothing_is_left(tmp_path):
    mask = Mask.of({"model.layers.1.mlp.down_proj": torch.ones(32, 48, dtype=torch.bool)}, model="t" + "0" * 64)
    model = speaking()
    before = models.weight_hash(model)
    with pytest.raises(lens.Error, match="mask of another model"):
        save_model(model, tmp_path / "edited", mask)
    assert list(tmp_path.iterdir()) == [] and models.weight_hash(model, anew=True) == before


def test_what_opens_as_another_model_is_not_kept(tmp_path, monkeypatch):
    model, own = speaking(), model_files._write

    def wrong(hf, model, state, *others):
        own(hf, model, state | {"model.norm.weight": state["model.norm.weight"] + 1}, *others)

    monkeypatch.setattr(model_files, "_write", wrong)
    with pytest.raises(SaveError, match=r"its parameter 'model\.norm\.weight' is another one in what was written"):
        save_model(model, tmp_path / "edited", masked("llama")[0])
    assert list(tmp_path.iterdir()) == []


# -- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_is_whole_or_as_it_was(tmp_path, monkeypatch):
    model, (mask, other) = speaking(), masked("llama")
    folder = save_model(model, str(tmp_path / "a" / "edited"))
    with pytest.raises(SaveError, match="is there already; choose another, or pass overwrite=True"):
        save_model(model, folder, mask)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(SaveError, match="holds no mnemoscope.json"):
        save_model(model, tmp_path / "own", overwrite=True)
    own = model_files._write

    def full(*args):
        own(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_files, "_write", full)
    with pytest.raises(lens.FileError, match="the disk is full"):
        save_model(model, folder, mask, overwrite=True)
    monkeypatch.undo()
    assert torch.equal(logits(opened(folder)), logits(model)) and os.listdir(folder.parent) == ["edited"]
    save_model(model, folder, mask, overwrite=True)
    assert torch.equal(logits(opened(folder)), logits(other)) and os.listdir(folder.parent) == ["edited"]


@pytest.mark.parametrize("size", ["5 apples", "", "-1GB", 0, 1.5, "5gb"])
def test_sizes_that_are_none(tmp_path, size):
    with pytest.raises(SaveError, match="max_shard="):
        save_model(speaking(), tmp_path / "edited", max_shard=size)


def test_the_model_in_memory_keeps_its_tokenizer(tmp_path):
    model = speaking()
    models.bridge.plainly(model, model.tokenizer, "x")
    before = copy.deepcopy(model.tokenizer.special_tokens_map)
    folder = save_model(model, tmp_path / "edited")
    assert model.tokenizer.special_tokens_map == before
    assert AutoTokenizer.from_pretrained(folder).bos_token is None
