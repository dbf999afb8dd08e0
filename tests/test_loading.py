"""What lens.load is asked for beside a name: where parts go, how weights are quantised, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

import lens
import lens.extras
from lens.models import LoadError
from lens.models.loaded import loaded_as
from tests.models import tiny, word_tokenizer
from tests.quantised import making

IDS = torch.tensor([[3, 17, 5, 3, 80]])
SPLIT = {"": "cpu", "model.layers.1": "disk"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small Llama and its tokenizer."""
    path = tmp_path_factory.mktemp("llama")
    tiny("llama").save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A Llama wide enough for blocks of four bits."""
    path = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return str(path)


@torch.no_grad()
def logits(model):
    out = model(IDS)
    return getattr(out, "logits", out)


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options).eval()


def linear_weights(model):
    return {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name
    }


# --- where parts go


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}, {"": torch.device("cpu")}])
def test_a_map_to_one_device_is_a_load_as_ever(folder, device_map, recwarn):
    model = lens.load(folder, device_map=device_map)
    assert type(model).__name__ == "TransformerBridge" and "device_map" not in loaded_as(model)
    torch.testing.assert_close(logits(model), logits(plain(folder)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device_map", [SPLIT, "disk", {"": "disk"}, {"model": "disk", "lm_head": "cpu"}])
def test_parts_on_disk_give_the_same_logits(folder, device_map, recwarn):
    model = lens.load(folder, device_map=device_map)
    assert isinstance(model, LlamaForCausalLM) and model.tokenizer("w3").input_ids == [3] and not recwarn.list
    assert torch.equal(logits(model), logits(plain(folder)))
    assert model.model.layers[1].mlp.up_proj.weight.is_meta and "disk" in loaded_as(model)["device_map"].values()
    assert not model.training and not any(value.requires_grad for value in model.parameters())


def test_turning_floats_back_to_floats_is_said_to_be_nothing(folder):
    with pytest.warns(UserWarning, match="dequantize=True changes nothing: the weights of"):
        model = lens.load(folder, dequantize=True)
    assert "dequantized" not in loaded_as(model)
    assert torch.equal(logits(model), logits(plain(folder)))


def test_a_map_names_blocks_and_not_lists_of_them(folder):
    model = lens.load(folder, device_map={"model.layers": "disk", "": "cpu"})
    assert {k: v for k, v in loaded_as(model)["device_map"].items() if "layers" in k} == {
        f"model.layers.{i}": "disk" for i in range(3)
    }
    assert torch.equal(logits(model), logits(plain(folder)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"device_map": {"model.embed_tokens": "cpu", "model.layers.0": "cpu"}}, "misses model.layers.1, model.layers"),
        ({"device_map": {"": "cpu", "model.layers.7": "disk"}}, "names 'model.layers.7', which .* does not have"),
        ({"device_map": {"": "meta"}}, "weights on 'meta' have no values"),
        ({"device_map": "meta"}, "weights on 'meta' have no values"),
        ({"device_map": {"": "nowhere"}}, "is not known; expected one of"),
        ({"device_map": {0: "cpu"}}, "expected names of the model's parts"),
        ({"device_map": {}}, "expected names of the model's parts"),
        ({"device_map": "tp"}, "tensor parallelism .tp_plan. is not served"),
        ({"tp_plan": "auto"}, "tp_plan='auto': tensor parallelism"),
        ({"device": "cpu", "device_map": "auto"}, "both say where the model goes"),
        ({"max_memory": {0: "1GiB"}}, "goes with a device_map that is worked out"),
        ({"device_map": SPLIT, "max_memory": {0: "1GiB"}}, "says already what goes where"),
        ({"device_map": "auto", "max_memory": {"gpu": 1}}, r"max_memory\['gpu'\]: expected the number of a GPU"),
        ({"device_map": "auto", "max_memory": {0: -1}}, r"max_memory\[0\]=-1: expected a number of bytes"),
        ({"device_map": "auto", "max_memory": {"cpu": "x"}}, r"max_memory\['cpu'\]='x': expected a number of bytes"),
        ({"attn_implementation": "somebody/kernels"}, "stands for code that would be fetched"),
        ({"quantization": "int3"}, "is not known; expected one of torchao-int8"),
        ({"quantization": object()}, "or a quantization configuration of transformers"),
        ({"quantization": BitsAndBytesConfig}, "or a quantization configuration of transformers"),
        ({"quantization": "torchao-int8", "device_map": SPLIT}, "quantised cannot lie on disk"),
    ],
)
def test_what_cannot_be_is_refused(folder, options, message):
    with pytest.raises(LoadError, match=message):
        lens.load(folder, **options)


def test_weights_that_are_one_stay_on_one_device(tmp_path):
    torch.manual_seed(0)
    tied = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(tied).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="they are one weight; give both one device"):
        lens.load(str(tmp_path), device_map={"": "cpu", "lm_head": "disk"})


def test_a_card_that_is_too_small_is_told_in_numbers(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (100_000, 2_000_000))
    size = sum(value.numel() for value in tiny("llama").parameters()) * 4
    told = rf"device='cuda:0': the weights .* take {size / 1000:.0f} kB; cuda:0 has 100 kB of 2 MB free"
    with pytest.raises(LoadError, match=f"{told}. Give dtype='bfloat16'.*device_map='auto'"):
        lens.load(folder, device="cuda:0")
    with pytest.raises(LoadError, match="device_map: the weights .* cuda:0 has 100 kB of 2 MB free"):
        lens.load(folder, device_map={"": "cpu", "model": 0})


# --- numbers


def test_the_checkpoints_own_dtype(tmp_path):
    tiny("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    assert {value.dtype for value in lens.load(str(tmp_path), dtype="auto").parameters()} == {torch.bfloat16}
    assert {value.dtype for value in lens.load(str(tmp_path)).parameters()} == {torch.float32}


def test_another_attention_comes_back_plain(folder, recwarn):
    model = lens.load(folder, attn_implementation="sdpa")
    assert isinstance(model, LlamaForCausalLM) and model.config._attn_implementation == "sdpa" and not recwarn.list
    assert loaded_as(model)["attention"] == "sdpa"


# --- quantised


@pytest.mark.parametrize("name", [n for n in lens.models.QUANTIZATIONS if n != "bitsandbytes-nf4"])
def test_quantised_by_name(folder, name):
    model, want = lens.load(folder, quantization=name), logits(plain(folder, dtype=torch.float32))
    off = float((logits(model) - want).abs().max() / want.abs().max())
    assert 1e-3 < off < (0.3 if "float8" in name else 0.15)
    assert loaded_as(model)["quantization"] == name and model.tokenizer is not None
    assert all(type(weight) is not torch.nn.Parameter for weight in linear_weights(model).values())


@pytest.mark.parametrize("name", ["torchao-int8", "bitsandbytes-int8", "quanto-int8"])
def test_back_to_plain_floats(folder, name):
    model = lens.load(folder, quantization=name, dequantize=True)
    weights, own = linear_weights(model.original_model), linear_weights(plain(folder, dtype=torch.float32))
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert all(type(value) is torch.nn.Parameter for value in model.parameters())
    first = next(weight for key, weight in weights.items() if "down_proj" in key)
    want = own["model.layers.0.mlp.down_proj"]
    # rows of eight bits: no weight is off by more than a step, and some are
    step = want.abs().amax(1, keepdim=True) / 127
    assert 0 < ((first - want).abs() / step).max() <= 1.01
    assert loaded_as(model)["dequantized"] == name and "quantization" not in loaded_as(model)


def test_four_bits_are_turned_back_before_they_are_repacked(wide):
    from bitsandbytes.functional import dequantize_4bit

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    fresh = plain(wide, quantization_config=config, dtype=torch.float32)
    want = {k: dequantize_4bit(w, w.quant_state) for k, w in linear_weights(fresh).items()}
    model = lens.load(wide, quantization="bitsandbytes-nf4", dequantize=True)
    got = {k.replace("._original_component", ""): w for k, w in model.original_model.named_parameters()}
    assert len(want) == 14
    for name, weight in want.items():
        torch.testing.assert_close(got[f"{name}.weight"].data, weight, atol=1e-6, rtol=0)
    assert loaded_as(lens.load(wide, quantization="bitsandbytes-nf4"))["quantization"] == "bitsandbytes-nf4"


def test_stored_quantised_loads_as_it_is_stored(folder, tmp_path):
    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    stored = plain(folder, quantization_config=config)
    stored.save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    model = lens.load(str(tmp_path))
    assert torch.equal(logits(model), logits(stored)) and loaded_as(model)["quantization"] == "bitsandbytes"
    with pytest.raises(LoadError, match="stored quantised by bitsandbytes already"):
        lens.load(str(tmp_path), quantization="quanto-int8")
    floats = lens.load(str(tmp_path), dequantize=True)
    assert {value.dtype for value in floats.parameters()} == {torch.float32}


@pytest.mark.parametrize("method", ["torchao_int8", "torchao_float8", "nf4", "compressed"])
def test_every_stored_kind_loads_settled_and_turns_back(method, tmp_path, recwarn):
    where = making.compressed_folder() if method == "compressed" else tmp_path
    own = making.quantised(method)
    if method != "compressed":
        own.save_pretrained(where)
        word_tokenizer().save_pretrained(where)
    recwarn.clear()
    model = lens.load(str(where))
    before = lens.models.weight_hash(model)
    assert torch.equal(logits(model), logits(own.eval())) and lens.models.weight_hash(model, anew=True) == before
    assert loaded_as(model)["quantization"] == {"nf4": "bitsandbytes", "compressed": "compressed-tensors"}.get(
        method, "torchao"
    )
    floats = lens.load(str(where), dequantize=True)
    assert {type(value) for value in floats.parameters()} == {torch.nn.Parameter}
    off = (logits(floats) - logits(model)).abs().max() / logits(model).abs().max()
    assert off < (0.05 if method == "nf4" else 1e-5)  # four bits are multiplied in bfloat16
    assert "dequantized" in loaded_as(floats) and not [
        w for w in recwarn.list if "quantization_config" in str(w.message)
    ]


def test_eight_bit_floats_that_transformers_turns_back_are_told_as_plain(wide, tmp_path):
    shutil.copytree(wide, tmp_path / "fp8")
    file, config = tmp_path / "fp8" / "model.safetensors", tmp_path / "fp8" / "config.json"
    stored, want = {}, {}
    for name, value in load_file(file).items():
        stored[name] = value
        if name.endswith("_proj.weight"):
            scale = value.abs().max().reshape(1, 1) / 448
            stored[name] = (value / scale).to(torch.float8_e4m3fn)
            stored[name.replace("weight", "weight_scale_inv")] = scale
            want[name] = stored[name].float() * scale
    save_file(stored, file, metadata={"format": "pt"})
    entry = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128], "fmt": "e4m3"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": entry}))
    for options in ({}, {"dequantize": True}):
        model = lens.load(str(tmp_path / "fp8"), device="cpu", **options)
        got = {k.replace("._original_component", ""): v for k, v in model.original_model.named_parameters()}
        assert len(want) == 14
        for name, value in want.items():
            torch.testing.assert_close(got[name].data, value, atol=1e-6, rtol=1e-6)
        assert loaded_as(model)["dequantized"] == "fp8" and "quantization" not in loaded_as(model)


@pytest.mark.parametrize("how", ["named", "stored"])
def test_an_absent_package_is_named(folder, tmp_path, monkeypatch, how):
    import sys

    if how == "stored":
        plain(folder, quantization_config=BitsAndBytesConfig(load_in_8bit=True)).save_pretrained(tmp_path)
        word_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(lens.extras.ExtraError, match=r"needs bitsandbytes.*pip install 'mnemoscope\[quantized\]'"):
        lens.load(str(tmp_path)) if how == "stored" else lens.load(folder, quantization="bitsandbytes-int8")


def test_a_quantization_and_a_device_that_it_cannot_use(folder, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(LoadError, match="cannot be used on mps: bitsandbytes computes on cpu, cuda.*quanto-int8"):
        lens.load(folder, device="mps", quantization="bitsandbytes-int8")


# --- what a result says of it


PAIR = lens.Pair("w3 w17 w5 w3 w80", corrupted="w3 w17 w9 w3 w80", answer=" w11", foil=" w23")


def test_the_record_says_how_it_was_loaded(folder):
    def told(**options):
        found = lens.patch(lens.load(folder, **options), PAIR, "resid_pre", layers=[1], progress=False)
        return lens.record(found)["model"]["loaded"]

    assert told() == {"source": folder, "dtype": "float32", "attention": "eager"}
    spread = told(device_map=SPLIT)["device_map"]
    assert spread["model.layers.1"] == "disk" and spread["model.layers.0"] == "cpu"
    assert told(quantization="torchao-int8")["quantization"] == "torchao-int8"
    assert told(quantization="torchao-int8", dequantize=True)["dequantized"] == "torchao-int8"
    assert told(dtype="bfloat16", attn_implementation="sdpa") == {
        "source": folder,
        "dtype": "bfloat16",
        "attention": "sdpa",
    }
    assert told(device_map="auto", max_memory={"cpu": "1GiB"})["max_memory"] == {"cpu": "1GiB"}


def test_loads_that_differ_in_how_do_not_share_a_store(folder, tmp_path):
    store = tmp_path / "sweep.zarr"

    def sweep(**options):
        model = lens.load(folder, **options)
        return lens.patch(model, PAIR, "resid_pre", layers=[1], store=store, progress=False)

    sweep()
    sweep(device_map="cpu")  # the same load in other words
    for options, what in (
        ({"device_map": SPLIT}, "model.loaded: absent -> .*device_map"),
        ({"attn_implementation": "sdpa"}, "model.loaded: absent -> .*attention"),
        ({"quantization": "torchao-int8"}, "model.hash"),
    ):
        with pytest.raises(lens.ResultError, match=f"(?s)belongs to another sweep.*{what}"):
            sweep(**options)


def test_scores_are_of_a_model_in_the_dtype_that_was_asked_for(folder, tmp_path, monkeypatch):
    from lens.scoring.rows import score
    from lens.scoring.source import Source

    rows = [[3, 17, 5, 3, 80], [9, 3, 11]]
    loaded = []
    original = lens.models.load
    monkeypatch.setattr(lens.models, "load", lambda *a, **k: loaded.append(original(*a, **k)) or loaded[-1])
    options = {"store": str(tmp_path / "scores"), "progress": False}
    half = score(folder, rows, dtype="bfloat16", **options)
    assert {value.dtype for value in loaded[-1].parameters()} == {torch.bfloat16}
    want = score(original(folder, dtype="bfloat16"), rows, progress=False)
    assert (half.logprob == want.logprob).all()
    # what a store remembers of the files is kept by dtype
    facts = {d: Source(folder, d, None, options["store"]).facts["hash"] for d in ("bfloat16", None)}
    assert facts["bfloat16"] == lens.models.weight_hash(loaded[0]) != facts[None]


def test_provenance_loads_a_named_suspect_in_the_dtype_that_is_asked_for(folder, monkeypatch):
    from lens.provenance import scorers

    asked = []
    monkeypatch.setattr(lens.models, "load", lambda name, **options: asked.append((name, options)) or [0.5])
    scorer = scorers.scorer_of("some/model", [0], None, {"dtype": "bfloat16", "device": "cpu"}, "suspect")
    assert scorer.values.tolist() == [0.5]
    assert asked == [("some/model", {"dtype": "bfloat16", "device": "cpu"})]


# --- from the command line


def test_every_command_that_loads_a_model_takes_the_same_options():
    from lens.cli import _parser

    common = ["--device-map", '{"": "cpu", "model.layers.1": "disk"}', "--revision", "step7", "--dtype", "bfloat16"]
    common += ["--adapter", "one", "--adapter", "two", "--quantization", "quanto-int8"]
    from lens.models.options import asked_for

    want = {
        "device": "auto",
        "dtype": "bfloat16",
        "device_map": SPLIT,
        "quantization": "quanto-int8",
        "revision": "step7",
        "adapter": ["one", "two"],
    }
    pair = ["--clean", "a", "--corrupted", "b", "--answer", "c", "--foil", "d"]
    for words in (
        ["patch", *pair],
        ["reproduce", "memory-injections"],
        ["provenance", "query", "--suspect", "a", "--transcript", "t.jsonl"],
    ):
        arguments = _parser().parse_args([*words, *common])
        assert asked_for(arguments) == want
        alone = asked_for(arguments, which=False)
        assert {**want, "revision": None, "adapter": None} == alone | {"revision": None, "adapter": None}
        assert asked_for(_parser().parse_args(words)) == {"device": "auto", "dtype": "float32"}


def test_provenance_tells_the_dtype_of_tokens_from_that_of_models():
    from lens.cli import _parser
    from lens.provenance.command_options import command_of

    words = ["provenance", "query", "--suspect", "a", "--transcript", "t.bin", "--dtype", "uint32"]
    arguments = _parser().parse_args([*words, "--dtype", "bfloat16"])
    assert (arguments.dtype, arguments.model_dtype) == ("uint32", "bfloat16")
    again = _parser().parse_args(command_of(arguments).split()[1:])
    assert (again.dtype, again.model_dtype) == ("uint32", "bfloat16")


def test_the_command_patches_a_spread_model(folder, tmp_path, capsys):
    from lens.cli import main

    words = ["patch", "--model", folder, "--clean", "w3 w17 w5", "--corrupted", "w3 w9 w5"]
    words += ["--answer", " w11", "--foil", " w23", "--out", str(tmp_path / "out.zarr"), "--dtype", "bfloat16"]
    (tmp_path / "map.json").write_text('{"": "cpu", "model.layers.1": "disk"}')
    assert main([*words, "--device-map", str(tmp_path / "map.json")]) == 0
    told = lens.record(lens.open(tmp_path / "out.zarr"))["model"]
    assert told["dtype"] == "bfloat16" and told["loaded"]["device_map"]["model.layers.1"] == "disk"
    assert main([*words[:-4], "--device-map", "{"]) == 2 and "expected a word such as auto" in capsys.readouterr().err
