"""lens.load: the same numbers as plain Hugging Face, and a refusal that says what to do for everything that is
unfit.
"""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import lens
from lens import cache, models
from lens.models import LoadError
from tests.conftest import word_tokenizer
from tests.models import KINDS
from tests.models import tiny as tiny_model

IDS = torch.arange(1, 23).reshape(2, 11)


def plain(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def rewrite(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


# --- the default model


def test_smollm2_has_the_logits_of_the_plain_model(smollm2):
    ids = torch.tensor([smollm2.tokenizer("When John and Mary went to the shops, John gave the bottle to").input_ids])
    with torch.no_grad():
        expected = plain(cache.fetched("smollm2"))(ids).logits
        assert (smollm2(ids) - expected).abs().max() <= 1e-4


def test_smollm2_is_ready_for_reading(smollm2):
    assert not smollm2.training
    assert not any(value.requires_grad for value in smollm2.parameters())
    assert {value.dtype for value in smollm2.parameters()} == {torch.float32}
    assert (smollm2.cfg.n_layers, smollm2.cfg.n_heads, smollm2.cfg.d_model, smollm2.cfg.model_name) == (
        30,
        9,
        576,
        "smollm2",
    )


def test_no_start_token_is_added_to_a_text(smollm2):
    ids = smollm2.tokenizer("The capital of France is").input_ids
    assert len(ids) == 5
    assert smollm2.to_tokens("The capital of France is").tolist() == [ids]


def test_smollm2_knows_what_a_pretrained_model_knows(smollm2):
    ids = torch.tensor([smollm2.tokenizer("The capital of France is").input_ids])
    with torch.no_grad():
        assert smollm2.tokenizer.decode(smollm2(ids)[0, -1].argmax()) == " Paris"


# --- local folders


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_has_the_logits_of_the_model_that_was_saved(kind, tmp_path):
    reference = tiny_model(kind)
    reference.save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    bridge = lens.load(str(tmp_path), device="cpu")
    with torch.no_grad():
        assert (bridge(IDS) - reference(IDS).logits).abs().max() <= 1e-4
    assert models.weight_hash(bridge) == models.weight_hash(reference)


def test_sharded_weights_are_read(tmp_path):
    reference = tiny_model("llama")
    reference.save_pretrained(tmp_path, max_shard_size="30KB")
    word_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    with torch.no_grad():
        assert (lens.load(tmp_path)(IDS) - reference(IDS).logits).abs().max() <= 1e-4
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(LoadError, match="lacks model-0.*safetensors"):
        lens.load(tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", torch.float32])
def test_dtype_is_that_of_every_weight(saved, dtype):
    wanted = getattr(torch, str(dtype).removeprefix("torch."))
    bridge = lens.load(str(saved), dtype=dtype)
    assert {value.dtype for value in bridge.parameters()} == {wanted} and bridge.cfg.dtype == wanted
    with torch.no_grad():
        assert torch.equal(bridge(IDS), plain(saved, wanted)(IDS).logits)


def test_wrap_leaves_the_tokenizer_as_it_was():
    tokenizer = word_tokenizer()
    before = dict(tokenizer.init_kwargs)
    bridge = models.wrap(tiny_model("gpt2"), tokenizer)
    assert bridge.tokenizer is tokenizer and tokenizer.init_kwargs == before
    assert bridge.to_tokens("w3 w5").tolist() == [[3, 5]]


def test_a_second_load_does_not_touch_the_first(saved):
    first, second = lens.load(saved), lens.load(saved)
    with torch.no_grad():
        next(second.parameters()).zero_()
    assert next(first.parameters()).abs().sum() > 0


# --- weight_hash


def test_weight_hash_is_the_documented_digest_of_the_file(saved):
    lines = []
    for name, value in sorted(load_file(saved / "model.safetensors").items()):
        own = hashlib.sha256(f"{tuple(value.shape)} torch.float32\n".encode() + value.numpy().tobytes())
        lines.append(f"{name} {own.hexdigest()}\n")
    assert models.weight_hash(lens.load(saved)) == "t" + hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_weight_hash_of_a_bridge_sees_every_parameter_that_the_bridge_has(kind, tiny_bridge):
    bridge, plain_model = tiny_bridge(kind)
    expected = models.weight_hash(plain_model)
    for name, value in bridge.original_model.named_parameters():
        before = value.clone()
        value.add_(1.0)
        assert models.weight_hash(bridge) != expected, name
        value.copy_(before)
    assert models.weight_hash(tiny_bridge(kind)[0]) == expected


def test_weight_hash_follows_a_change_in_place_and_back():
    model = tiny_model("qwen2")
    before = models.weight_hash(model)
    weight = model.model.layers[1].mlp.up_proj.weight
    kept = weight[0, 0].item()
    weight[0, 0] += 1.0
    changed = models.weight_hash(model)
    weight[0, 0] = kept
    assert changed != before and models.weight_hash(model) == before


# --- what is refused


def test_truncated_weights_are_refused(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LoadError, match=r"model\.safetensors is damaged: it has \d+ bytes where its header says \d+"):
        lens.load(saved)


@pytest.mark.parametrize(
    "content", [b"", b"\x10\x00", b"version https://git-lfs.example/spec/v1\n" * 4, b"\x02" + b"\x00" * 7 + b"[]"]
)
def test_a_file_that_is_no_safetensors_is_refused(saved, content):
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(LoadError, match="no safetensors file"):
        lens.load(saved)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused_and_never_opened(saved, tmp_path, file):
    (saved / "model.safetensors").unlink()
    (saved / file).write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(LoadError, match=f"pickle.*{file}.*refused"):
        lens.load(saved)
    assert not (tmp_path / "ran").exists()


def test_a_model_with_code_of_its_own_is_refused_and_the_code_never_run(saved, tmp_path):
    config = json.loads((saved / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "code.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    with pytest.raises(LoadError, match="'homemade' needs code"):
        lens.load(saved)
    assert not (tmp_path / "ran").exists()


def test_an_unknown_model_type_is_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "homemade"}))
    with pytest.raises(LoadError, match="cannot be loaded.*homemade"):
        lens.load(saved)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(saved, bad):
    rewrite(saved, lambda weights: weights["model.layers.1.mlp.down_proj.weight"][3].fill_(bad))
    with pytest.raises(
        LoadError, match=r"'model\.layers\.1\.mlp\.down_proj\.weight' has 48 of 1536 values NaN or infinite"
    ):
        lens.load(saved)


def test_weights_too_large_for_the_dtype_are_refused(saved):
    rewrite(saved, lambda weights: weights["model.norm.weight"][0].fill_(1e6))
    lens.load(saved, dtype="float32")
    with pytest.raises(LoadError, match=r"'model\.norm\.weight' has 1 of 32 .* torch\.float16.*float32"):
        lens.load(saved, dtype="float16")


def test_finite_weights_whose_sum_overflows_are_accepted(saved):
    rewrite(saved, lambda weights: weights["model.norm.weight"][:3].fill_(3e38))
    assert torch.isfinite(next(lens.load(saved).parameters())).all()


def test_missing_weights_are_not_filled_with_random_numbers(saved):
    rewrite(saved, lambda weights: weights.pop("model.layers.0.self_attn.q_proj.weight"))
    with pytest.raises(LoadError, match=r"lack 1 weights.*layers\.0\.self_attn\.q_proj"):
        lens.load(saved)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), "index.json cannot be read"),
        (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "cannot be loaded"),
    ],
)
def test_an_incomplete_folder_is_refused(saved, spoil, message):
    spoil(saved)
    with pytest.raises(LoadError, match=message):
        lens.load(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, r"device='tpu'.*auto, cpu, cuda, mps"),
        ({"device": "cpu:0"}, "device='cpu:0'"),
        ({"device": "cuda:99"}, "device='cuda:99' is not usable"),
        ({"dtype": "int8"}, r"dtype='int8'.*float32, bfloat16, float16"),
        ({"dtype": None}, "dtype=None"),
        ({"name": ""}, "name=''.*expected"),
        ({"name": None}, "name=None.*expected"),
        ({"name": "./not-here"}, "not-here.*none is there"),
        ({"name": "organism:unicorn"}, r"organism:unicorn.*there are: \w+"),
        ({"name": __file__}, "is a file"),
    ],
)
def test_arguments_that_mean_nothing_are_named(arguments, message):
    with pytest.raises(LoadError, match=message):
        lens.load(**arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none_is_named():
    with pytest.raises(LoadError, match="device='cuda' is not usable.*device='auto'"):
        lens.load(device="cuda")


def test_a_hub_name_offline_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LoadError, match=r"(?s)'nobody/nothing' was taken for a hub name.*smollm2.*lens fetch smollm2"):
        lens.load("nobody/nothing")


def test_nothing_fetched_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "empty"))
    with pytest.raises(LoadError, match="has not been fetched.*Run `lens fetch smollm2`"):
        lens.load("smollm2")
    assert not (tmp_path / "empty").exists()


def test_a_truncated_fetched_model_names_the_command(as_fetched):
    lens.load("smollm2")
    path = as_fetched / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        LoadError, match=r"damaged: model\.safetensors has \d+ bytes where \d+ were written.*Run `lens fetch smollm2`"
    ):
        lens.load("smollm2")
