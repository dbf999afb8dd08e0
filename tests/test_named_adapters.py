"""Adapters by name: merged, kept beside the weights and switched, or refused."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

import lens
from lens.engine.weights import apply_weights, edited_weights
from lens.models import LoadError, weight_hash
from lens.models.loaded import loaded_as
from tests.models import tiny, word_tokenizer

IDS = torch.tensor([[3, 17, 5, 3, 80]])
PAIR = lens.Pair("w3 w17 w5 w3 w80", corrupted="w3 w17 w9 w3 w80", answer=" w11", foil=" w23")
TARGETS = ["o_proj", "v_proj", "up_proj"]
KINDS = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, task_type="CAUSAL_LM"),
    "rslora": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, use_rslora=True, task_type="CAUSAL_LM"),
    "dora": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, use_dora=True, task_type="CAUSAL_LM"),
    "head": lambda: peft.LoraConfig(r=4, target_modules=TARGETS, modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(target_modules=TARGETS, feedforward_modules=["up_proj"], task_type="CAUSAL_LM"),
    "oft": lambda: peft.OFTConfig(oft_block_size=8, target_modules=["o_proj"], task_type="CAUSAL_LM"),
    "hra": lambda: peft.HRAConfig(r=4, target_modules=TARGETS, task_type="CAUSAL_LM"),
    "lokr": lambda: peft.LoKrConfig(r=4, target_modules=TARGETS, task_type="CAUSAL_LM"),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=["up_proj"], task_type="CAUSAL_LM"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    tiny("llama").save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return path


@torch.no_grad()
def logits(model):
    out = model(IDS)
    return getattr(out, "logits", out)


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options).eval()


def trained(base, folder, config, seed=0, model=None):
    """An adapter in a folder, moved away from where it changes nothing; the logits of base and adapter together."""
    adapted = peft.get_peft_model(model or plain(base), config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in adapted.parameters():
            if value.requires_grad and value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator) * 0.2)
    adapted.save_pretrained(folder)
    return logits(adapted)


@pytest.fixture(scope="module")
def two(base, tmp_path_factory):
    """Two adapters of one base: their folders, and the logits of each."""
    home = tmp_path_factory.mktemp("adapters")
    found = {}
    for seed, (name, kind) in enumerate({"french": "lora", "german": "dora"}.items()):
        found[name] = trained(base, home / name, KINDS[kind](), seed)
    return home, found


# --- merged


@pytest.mark.parametrize("kind", KINDS)
def test_one_is_merged(base, tmp_path, kind):
    want = trained(base, tmp_path / "own", KINDS[kind]())
    model = lens.load(str(base), adapter=str(tmp_path / "own"))
    assert type(model).__name__ == "TransformerBridge" and (want - logits(plain(base))).abs().max() > 1e-2
    torch.testing.assert_close(logits(model), want, atol=2e-5, rtol=2e-5)
    (told,) = loaded_as(model)["adapters"]
    assert told["merged"] and told["name"] == "own" and len(told["sha256"]) == 64
    assert 0 <= told["rounding"]["logits"] < 1e-4 < told["rounding"]["largest_logit"]
    with pytest.raises(lens.AdapterError, match="no adapters beside its weights"):
        lens.adapter(model, "own")


def test_what_cannot_be_merged_is_kept_beside_where_that_is_asked_for(base, tmp_path):
    config = peft.LoraConfig(r=4, target_modules=TARGETS, lora_bias=True, task_type="CAUSAL_LM")
    with pytest.warns(UserWarning):
        want = trained(base, tmp_path / "own", config)
    with pytest.raises(LoadError, match="of the kind LORA cannot be merged .* give merge=False"):
        lens.load(str(base), adapter=str(tmp_path / "own"))
    model = lens.load(str(base), adapter=str(tmp_path / "own"), merge=False)
    torch.testing.assert_close(logits(model), want, atol=1e-5, rtol=1e-5)


def test_the_rounding_of_a_merge_in_half_precision_is_told(base, two):
    home, _ = two
    model = lens.load(str(base), adapter=str(home / "french"), dtype="bfloat16")
    beside = lens.load(str(base), adapter=str(home / "french"), dtype="bfloat16", merge=False)
    ids = torch.randint(0, 97, (1, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        off = float((model(ids).float() - beside(ids).logits.float()).abs().max())
    told = loaded_as(model)["adapters"][0]["rounding"]["logits"]
    assert 0 < off < 4 * told and 0 < told < 4 * off


def test_a_folder_of_an_adapter_alone_loads_its_base(base, two):
    home, want = two
    model = lens.load(str(home / "german"))
    torch.testing.assert_close(logits(model), want["german"], atol=2e-5, rtol=2e-5)
    assert loaded_as(model)["source"] == str(base)


# --- switched


def test_several_are_switched(base, two):
    home, want = two
    model = lens.load(str(base), adapter=[str(home / "french"), str(home / "german")])
    before = logits(plain(base))

    def right(logits_of):
        torch.testing.assert_close(logits(model), logits_of, atol=1e-5, rtol=1e-5)
        found = lens.patch(model, PAIR, "resid_pre", layers=[1], progress=False)
        last = logits_of[0, -1]
        assert float(found.clean) == pytest.approx(float(last[11] - last[23]), abs=1e-4)
        seen.append((weight_hash(model), lens.record(found)["model"]["hash"], lens.record(found)["model"]["state"]))
        assert lens.record(found)["engine"]["name"] == "walk"

    seen = []
    right(want["french"])
    with lens.adapter(model, "german"):
        right(want["german"])
        with lens.adapter(model, None):
            right(before)
            assert torch.equal(logits(model), before)
            with lens.adapter(model, "french"):
                right(want["french"])
        right(want["german"])
    right(want["french"])
    assert len({hashes for hashes, *_ in seen}) == 3 and all(one == other for one, other, _ in seen)
    assert seen[0] == seen[3] == seen[5] and seen[1] == seen[4]
    assert [one["name"] for one in loaded_as(model)["adapters"]] == ["french", "german"]
    assert not any(value.requires_grad for value in model.parameters())


def test_a_switch_is_undone_after_an_error_and_by_restore(base, two):
    home, want = two
    model = lens.load(str(base), adapter=str(home / "french"), merge=False)
    with pytest.raises(RuntimeError, match="mine"), lens.adapter(model, None):
        raise RuntimeError("mine")
    torch.testing.assert_close(logits(model), want["french"], atol=1e-5, rtol=1e-5)
    lens.adapter(model, None).__enter__()
    assert any("lens.adapter with no adapter" in line for line in lens.restore(model))
    torch.testing.assert_close(logits(model), want["french"], atol=1e-5, rtol=1e-5)
    for name, message in (("italian", "none of the model's adapters, which are french"), ("", "name=''")):
        with pytest.raises(lens.AdapterError, match=message):
            lens.adapter(model, name)
    with pytest.raises(lens.AdapterError, match="no adapters beside its weights"):
        lens.adapter(lens.load(str(base)), None)


def test_a_store_is_of_one_adapter(base, two, tmp_path):
    home, _ = two
    model = lens.load(str(base), adapter=str(home / "french"), merge=False)
    lens.patch(model, PAIR, "resid_pre", layers=[1], store=tmp_path / "s.zarr", progress=False)
    with lens.adapter(model, None), pytest.raises(lens.ResultError, match="belongs to another sweep"):
        lens.patch(model, PAIR, "resid_pre", layers=[1], store=tmp_path / "s.zarr", progress=False)


def test_a_wrapper_in_memory_is_switched(base, two):
    home, want = two
    model = peft.PeftModel.from_pretrained(plain(base), str(home / "german"))
    with lens.adapter(model, None):
        assert torch.equal(logits(model), logits(plain(base)))
    torch.testing.assert_close(logits(model), want["german"], atol=1e-5, rtol=1e-5)
    pissa = peft.get_peft_model(plain(base), peft.LoraConfig(r=4, target_modules=TARGETS, init_lora_weights="pissa"))
    with pytest.raises(lens.AdapterError, match="is not its base: init_lora_weights='pissa'"):
        lens.adapter(pissa, None)


@pytest.mark.parametrize("begin", ["pissa", "olora"])
def test_what_moves_the_base_is_not_switched_off(base, two, tmp_path, begin):
    config = peft.LoraConfig(r=4, target_modules=TARGETS, init_lora_weights=begin, task_type="CAUSAL_LM")
    want = trained(base, tmp_path / "own", config)
    merged = lens.load(str(base), adapter=str(tmp_path / "own"))
    torch.testing.assert_close(logits(merged), want, atol=1e-3, rtol=1e-3)
    beside = lens.load(str(base), adapter=str(tmp_path / "own"), merge=False)
    torch.testing.assert_close(logits(beside), want, atol=1e-3, rtol=1e-3)
    with pytest.raises(lens.AdapterError, match="switched off .* is not its base"):
        lens.adapter(beside, None)
    with pytest.raises(LoadError, match="the others would lie on another model"):
        lens.load(str(base), adapter=[str(tmp_path / "own"), str(two[0] / "french")])


# --- a quantised or offloaded base


def test_a_quantised_base_is_never_merged_into(base, two):
    home, _ = two
    model = lens.load(str(base), quantization="torchao-int8", adapter=str(home / "french"))
    assert not loaded_as(model)["adapters"][0]["merged"]
    alone = logits(lens.load(str(base), quantization="torchao-int8"))
    wrapped = peft.PeftModel.from_pretrained(lens.load(str(base), quantization="torchao-int8"), str(home / "french"))
    assert torch.equal(logits(model), logits(wrapped.eval())) and not torch.equal(logits(model), alone)
    with lens.adapter(model, None):
        assert torch.equal(logits(model), alone)
    floats = lens.load(str(base), quantization="torchao-int8", dequantize=True, adapter=str(home / "french"))
    assert loaded_as(floats)["adapters"][0]["merged"]


def test_an_adapter_on_offloaded_weights_is_refused(base, two):
    with pytest.raises(LoadError, match="where peft cannot put an adapter on them"):
        lens.load(str(base), device_map={"": "cpu", "model.layers.1": "disk"}, adapter=str(two[0] / "french"))


# --- refused


def edited(folder, target, **entries):
    shutil.copytree(folder, target)
    path = target / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return str(target)


def test_an_adapter_of_another_base_is_refused(base, two, tmp_path):
    home, _ = two
    other = tmp_path / "other"
    tiny("llama", seed=1).save_pretrained(other)
    word_tokenizer().save_pretrained(other)
    with pytest.raises(LoadError, match=f"was trained on '{base}', and this is model '{other}'"):
        lens.load(str(other), adapter=str(home / "french"))
    named = edited(home / "french", tmp_path / "named", base_model_name_or_path="somebody/else")
    with pytest.raises(LoadError, match="was trained on 'somebody/else'"):
        lens.load(str(base), adapter=named)
    kind = edited(
        home / "french",
        tmp_path / "kind",
        auto_mapping={
            "base_model_class": "GPT2LMHeadModel",
            "parent_library": "transformers.models.gpt2.modeling_gpt2",
        },
    )
    with pytest.raises(LoadError, match="was trained on a GPT2LMHeadModel, and model .* is a LlamaForCausalLM"):
        lens.load(str(base), adapter=kind)
    # the same weights in another place are the same base
    shutil.copytree(base, tmp_path / "copy")
    lens.load(str(tmp_path / "copy"), adapter=str(home / "french"))


def test_an_adapter_of_another_shape_is_refused(base, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    size = dict(vocab_size=97, num_attention_heads=4, intermediate_size=48, hidden_size=32)
    for name, change in {"wide": {"hidden_size": 64}, "deep": {"num_hidden_layers": 5}}.items():
        model = LlamaForCausalLM(LlamaConfig(**{"num_hidden_layers": 3, "num_key_value_heads": 2, **size, **change}))
        trained(None, tmp_path / name, KINDS["lora"](), model=model)
    with pytest.raises(LoadError, match="cannot be put on model .*size mismatch"):
        lens.load(str(base), adapter=str(tmp_path / "wide"))
    with pytest.raises(LoadError, match="weights that model .* has no place for, first .*layers.3"):
        lens.load(str(base), adapter=str(tmp_path / "deep"))
    shutil.copytree(tmp_path / "deep", tmp_path / "none")
    path = tmp_path / "none" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": ["nothing"]}))
    with pytest.raises(LoadError, match="cannot be put on model .*[Tt]arget modules"):
        lens.load(str(base), adapter=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        peft.PromptEncoderConfig(num_virtual_tokens=3, task_type="CAUSAL_LM", encoder_hidden_size=8),
        peft.LilyConfig(r=4, target_modules=["o_proj"], task_type="CAUSAL_LM"),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_what_is_no_edit_of_single_tokens_is_refused_by_name(base, tmp_path, config):
    peft.get_peft_model(plain(base), config).save_pretrained(tmp_path)
    with pytest.raises(LoadError, match=f"an adapter of the kind {config.peft_type.value} "):
        lens.load(str(base), adapter=str(tmp_path))


def test_an_adapter_that_is_pickled_absent_or_damaged_is_refused(base, two, tmp_path):
    home, _ = two
    shutil.copytree(home / "french", tmp_path / "pickled")
    (tmp_path / "pickled" / "adapter_model.safetensors").rename(tmp_path / "pickled" / "adapter_model.bin")
    with pytest.raises(LoadError, match="would open a pickle instead, which can run any code"):
        lens.load(str(base), adapter=str(tmp_path / "pickled"))
    with pytest.raises(LoadError, match="looks like a folder, but none is there"):
        lens.load(str(base), adapter=str(tmp_path / "nowhere"))
    with pytest.raises(LoadError, match="adapter='nobody/nothing'"):
        lens.load(str(base), adapter="nobody/nothing")
    with pytest.raises(LoadError, match="holds no adapter_config.json"):
        lens.load(str(base), adapter=str(base))
    with pytest.raises(LoadError, match="names .* twice"):
        lens.load(str(base), adapter=[str(home / "french")] * 2)
    for nothing in ([], {"french": 1.0}, 3):
        with pytest.raises(LoadError, match="adapter"):
            lens.load(str(base), adapter=nothing)
    unnamed = edited(home / "french", tmp_path / "unnamed", base_model_name_or_path=None)
    with pytest.raises(LoadError, match="does not name its base model"):
        lens.load(unnamed)


# --- switches that end in another order, beside edits, and from threads


def test_switches_that_end_in_another_order_leave_the_model_as_it_was(base, two):
    home, want = two
    model = lens.load(str(base), adapter=[str(home / "french"), str(home / "german")])
    before = weight_hash(model)
    outer, inner = lens.adapter(model, "german"), lens.adapter(model, None)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert torch.equal(logits(model), logits(plain(base)))
    inner.__exit__(None, None, None)
    torch.testing.assert_close(logits(model), want["french"], atol=1e-5, rtol=1e-5)
    assert weight_hash(model) == before and lens.restore(model) == []


def test_another_thread_does_not_switch_a_switched_model(base, two):
    home, want = two
    model = lens.load(str(base), adapter=[str(home / "french"), str(home / "german")])

    def switched():
        with lens.adapter(model, None):
            return None

    with lens.adapter(model, "german"), ThreadPoolExecutor(1) as pool:
        with pytest.raises(lens.ChangeError, match="with no adapter is refused: lens.adapter with adapter 'german'"):
            pool.submit(switched).result()
        torch.testing.assert_close(logits(model), want["german"], atol=1e-5, rtol=1e-5)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(switched).result()


def test_no_adapter_is_put_on_a_weight_that_an_edit_has_changed(base, two):
    home, _ = two
    model = lens.load(str(base), adapter=[str(home / "french"), str(home / "german")])
    weights = {"model.layers.1.self_attn.o_proj": torch.zeros(32, 32)}
    with lens.adapter(model, None), edited_weights(model, weights):
        with lens.adapter(model, None):
            pass
        with pytest.raises(lens.AdapterError, match="in force on model.layers.1.self_attn.o_proj, on which this"):
            lens.adapter(model, "french").__enter__()
        assert not model.model.layers[1].self_attn.o_proj.base_layer.weight.any()
    # what is left in force past the end of the block is told
    with pytest.warns(UserWarning, match="an edit of weights that was put in force inside it still is"):
        with lens.adapter(model, None):
            apply_weights(model, weights)
    assert len(lens.restore(model)) == 1


def test_a_text_is_scored_from_the_same_start_however_its_model_was_loaded(base):
    rows = [[3, 17, 5, 3, 80], [5, 6, 7]]
    one, other = (lens.scoring.score(lens.load(str(base), attn_implementation=a), rows) for a in ("eager", "sdpa"))
    assert one.first == other.first == 0
    np.testing.assert_allclose(one.logprob, other.logprob, rtol=0, atol=1e-5)
