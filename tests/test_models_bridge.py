"""What `wrap` and `load` give is the model: a bridge where its logits are the plain model's, else the plain model,
untouched and with a reason.
"""

import json
import socket
import subprocess
import warnings

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import lens
from lens import models
from lens.models import LoadError, bridge, check
from lens.tokens import tokenizer_of
from tests.models import tiny, word_tokenizer

SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
GPT2 = dict(
    vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.3, bos_token_id=0, eos_token_id=0
)
VISION = dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
)
#: longer than every window below
IDS = torch.randint(1, 89, (1, 48), generator=torch.Generator().manual_seed(3))

MAKERS = {
    "gpt2_unscaled": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, scale_attn_weights=False)),
    "not_causal": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZE, is_causal=False)),
    "neox_no_bias": lambda: transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            **{k: v for k, v in SIZE.items() if k != "num_key_value_heads"}, attention_bias=False
        )
    ),
    "falcon_new": lambda: transformers.FalconForCausalLM(
        transformers.FalconConfig(
            vocab_size=97,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_kv_heads=2,
            new_decoder_architecture=True,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
        )
    ),
    "unknown": lambda: transformers.PhimoeForCausalLM(
        transformers.PhimoeConfig(**SIZE, num_local_experts=4, num_experts_per_tok=2)
    ),
    "window": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**SIZE, sliding_window=6)),
    "gemma2": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(
            **SIZE, head_dim=16, sliding_window=6, query_pre_attn_scalar=10, final_logit_softcapping=5.0
        )
    ),
    "opt": lambda: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=97,
            hidden_size=32,
            num_hidden_layers=3,
            ffn_dim=48,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            init_std=0.3,
        )
    ),
    "pictures": lambda: transformers.Gemma3ForConditionalGeneration(
        transformers.Gemma3Config(
            text_config=dict(
                SIZE,
                head_dim=16,
                sliding_window=6,
                query_pre_attn_scalar=10,
                layer_types=["sliding_attention", "full_attention"] * 2,
            ),
            vision_config=VISION,
            mm_tokens_per_image=4,
            image_token_index=90,
            boi_token_index=91,
            eoi_token_index=92,
        )
    ),
    "pictures_refused": lambda: transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(
            text_config=dict(
                SIZE, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
            ),
            vision_config=dict(
                depth=2,
                hidden_size=16,
                out_hidden_size=32,
                num_heads=2,
                intermediate_size=24,
                patch_size=4,
                spatial_merge_size=1,
                window_size=16,
            ),
            image_token_id=90,
            video_token_id=91,
            vision_start_token_id=92,
            vision_end_token_id=93,
            tie_word_embeddings=False,
        )
    ),
}
PLAIN = ("gpt2_unscaled", "not_causal", "neox_no_bias", "falcon_new", "unknown", "pictures_refused")


def make(kind, dtype=torch.float32):
    torch.manual_seed(0)
    model = MAKERS[kind]().eval().requires_grad_(False)
    for value in model.parameters():
        if value.ndim == 1:
            value.add_(torch.randn_like(value) * 0.2)
    return model.to(dtype)


def logits(model, ids=IDS):
    with torch.no_grad():
        out = model(ids)
    return getattr(out, "logits", out)


def wrapped(model, name="tiny"):
    """What wrap gives, and the reasons of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = models.wrap(model, word_tokenizer(), name)
    return made, [str(w.message) for w in caught if "plain Hugging Face model" in str(w.message)]


@pytest.fixture
def alone(monkeypatch):
    """Nothing may be installed or asked for: no process starts, no socket opens; the commands and addresses that were
    tried.
    """
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args[-1] if args else kwargs)
        raise OSError("nothing may be asked for here")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    # the client believes that there is a network
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tried


@pytest.mark.parametrize("kind", MAKERS)
def test_what_wrap_gives_has_the_plain_models_logits(kind, alone):
    want = logits(make(kind))
    model, reasons = wrapped(make(kind), "some/label")
    got = logits(model)
    assert (got - want).abs().max() <= 1e-4 * want.abs().max()
    assert hasattr(model, "original_model") == (kind not in PLAIN)
    assert len(reasons) == (kind in PLAIN)
    assert not alone
    assert models.weight_hash(model) == models.weight_hash(make(kind))


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_model_that_comes_back_is_the_object_untouched(kind):
    mine, copy = make(kind), make(kind)
    before, attention = mine.config.to_dict(), mine.config._attn_implementation
    model, (reason,) = wrapped(mine, "mine")
    assert model is mine and not model.training and tokenizer_of(model)("w3 w5").input_ids == [3, 5]
    assert [(name, type(module)) for name, module in model.named_modules()] == [
        (name, type(module)) for name, module in copy.named_modules()
    ]
    assert model.config.to_dict() == before and model.config._attn_implementation == attention
    state = copy.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), logits(copy))
    assert reason.startswith("model 'mine' comes back as the plain") and (
        "cannot wrap this type" in reason or "logits are off by" in reason
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["gpt2_unscaled", "window"])
def test_in_low_precision_rounding_is_no_difference_and_a_difference_no_rounding(kind, dtype):
    model, reasons = wrapped(make(kind, dtype))
    assert hasattr(model, "original_model") == (kind == "window") == (not reasons)
    want = make(kind, dtype)
    want.set_attn_implementation("eager" if kind == "window" else want.config._attn_implementation)
    assert (logits(model) - logits(want)).abs().max() <= 0.04 * logits(want).abs().max()


def test_a_boot_that_is_wrong_on_the_model_alone_is_undone(monkeypatch):
    monkeypatch.setattr(bridge, "differs_on_copies", lambda hf, boot: None)
    mine, copy, tokenizer = make("gpt2_unscaled"), make("gpt2_unscaled"), word_tokenizer()
    with pytest.warns(UserWarning, match=r"logits are off by .* on 64 random ids"):
        model = models.wrap(mine, tokenizer)
    # a plain model's tokenizer too takes the end of a text for the start token that it lacks
    assert model is mine and tokenizer.bos_token == tokenizer.eos_token
    assert [(name, type(module)) for name, module in model.named_modules()] == [
        (name, type(module)) for name, module in copy.named_modules()
    ]
    assert (
        torch.equal(logits(model), logits(copy))
        and model.config._attn_implementation == copy.config._attn_implementation
    )
    assert models.weight_hash(model) == models.weight_hash(copy)


def test_a_boot_that_writes_into_the_weights_is_an_error(monkeypatch):
    def spoil(hf, tokenizer, name):
        hf.transformer.h[0].mlp.c_fc.weight.add_(1.0)
        raise ValueError("then it fails")

    monkeypatch.setattr(bridge, "differs_on_copies", lambda hf, boot: None)
    monkeypatch.setattr(bridge, "booted", spoil)
    with pytest.raises(LoadError, match="was changed by the try to wrap it.*load it again"):
        models.wrap(make("gpt2_unscaled"), word_tokenizer(), "mine")


def test_the_copy_sees_a_window_that_the_text_of_the_model_would_not_reach():
    config = transformers.MistralConfig(**dict(SIZE, max_position_embeddings=4096), sliding_window=4000)
    model = transformers.MistralForCausalLM(config).eval()

    def without_window(made):
        made.config.sliding_window = None
        made.original_model = made
        return made

    assert "random copy" in check.differs_on_copies(model, without_window)


def test_the_copy_is_small_and_has_every_kind_of_layer():
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config = transformers.Gemma3TextConfig(
        layer_types=kinds * 4 + ["sliding_attention"] * 2, num_hidden_layers=26, sliding_window=512
    )
    small = check.small_config(config)
    assert (small.num_hidden_layers, small.layer_types, small.sliding_window, small.vocab_size) == (
        2,
        ["sliding_attention", "full_attention"],
        16,
        256,
    )
    assert config.num_hidden_layers == 26 and config.sliding_window == 512 and len(config.layer_types) == 26
    deep = check.small_config(transformers.DeepseekV3Config(), cut_width=True)
    assert deep.first_k_dense_replace == 1 and deep.num_hidden_layers == 2 and deep.n_routed_experts == 8


@pytest.mark.parametrize(
    "model, message",
    [
        (
            lambda: transformers.T5ForConditionalGeneration(
                transformers.T5Config(vocab_size=97, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
            ),
            "expected a Hugging Face causal",
        ),
        (lambda: transformers.LlamaModel(transformers.LlamaConfig(**SIZE)), "holds no logits"),
        (lambda: transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**SIZE)), "holds no logits"),
        (lambda: torch.nn.Linear(2, 2), "is a Linear"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(model, message):
    with pytest.raises(LoadError, match=message):
        models.wrap(model(), word_tokenizer(), "mine")


@pytest.mark.parametrize("tokenizer", [None, "gpt2"])
def test_something_that_is_no_tokenizer_is_refused(tokenizer):
    with pytest.raises(LoadError, match="tokenizer=.* is no Hugging Face tokenizer"):
        models.wrap(tiny("llama"), tokenizer)


def test_a_tokenizer_made_in_memory_with_a_start_token_wraps():
    from tokenizers import Tokenizer
    from tokenizers import models as token_models

    words = Tokenizer(token_models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}, unk_token="<unk>"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    model = models.wrap(tiny("llama"), tokenizer, "mine")
    assert model.tokenizer is tokenizer and "name_or_path" not in tokenizer.init_kwargs
    assert torch.allclose(logits(model), logits(tiny("llama")), atol=1e-4)


# --- from files


def save(model, folder):
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)


def test_a_folder_whose_bridge_would_be_wrong_loads_as_the_plain_model(tmp_path):
    save(make("gpt2_unscaled"), tmp_path)
    with pytest.warns(UserWarning, match="comes back as the plain Hugging Face model"):
        model = lens.load(str(tmp_path), device="cpu")
    assert not hasattr(model, "original_model") and torch.allclose(
        logits(model), logits(make("gpt2_unscaled")), atol=1e-4
    )
    pair = lens.Pair("w5 w17 w3 w88", corrupted="w5 w17 w3 w21", answer=" w11", foil=" w12")
    last = logits(make("gpt2_unscaled"), torch.tensor([[5, 17, 3, 88]]))[0, -1]
    assert float(lens.patch(model, pair, "resid_pre", progress=False).clean) == pytest.approx(
        float(last[11] - last[12]), abs=1e-4
    )


def test_a_comparison_of_a_model_that_ships_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    compared, original = [], bridge.require_same
    monkeypatch.setattr(bridge, "require_same", lambda *args: (compared.append(1), original(*args)))
    first, second = (lens.load("organism:induction", device="cpu") for _ in range(2))
    assert len(compared) == 1 and torch.equal(logits(first), logits(second))
    lens.load("organism:induction", device="cpu", dtype="bfloat16")
    assert len(compared) == 2
    monkeypatch.setattr("lens.models.loading.CHECK", "another comparison")
    lens.load("organism:induction", device="cpu")
    assert len(compared) == 3


def test_a_model_of_pictures_loads_without_asking_or_installing(tmp_path, alone):
    save(make("pictures"), tmp_path)
    model = lens.load(str(tmp_path), device="cpu")
    assert torch.allclose(logits(model), logits(make("pictures")), atol=1e-3) and not alone


@pytest.fixture
def adapted(tmp_path):
    """A folder with merged weights and the adapter of the training; the weights; the adapter alone in a folder of its
    own.
    """
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        tiny("llama"),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False),
    )
    for folder in (tmp_path / "merged", tmp_path / "alone"):
        model.save_pretrained(folder)
        word_tokenizer().save_pretrained(folder)
    whole = model.merge_and_unload()
    for name in ("peft_config", "_hf_peft_config_loaded"):
        whole.__dict__.pop(name, None)
    whole.save_pretrained(tmp_path / "merged")
    return tmp_path / "merged", load_file(tmp_path / "merged" / "model.safetensors"), tmp_path / "alone"


def test_adapter_files_beside_whole_weights_are_named_and_not_applied(adapted):
    folder, weights, _ = adapted
    with pytest.warns(UserWarning, match=r"adapter_config\.json, adapter_model\.safetensors.*not applied"):
        model = lens.load(str(folder), device="cpu")
    assert torch.equal(
        model.original_model.model.layers[0].self_attn.q_proj.weight, weights["model.layers.0.self_attn.q_proj.weight"]
    )
    assert not any("lora" in name for name, _ in model.original_model.named_parameters())


def test_a_start_model_of_training_leaves_the_adapter_out_too(adapted):
    folder, weights, _ = adapted
    with pytest.warns(UserWarning, match=r"adapter_config\.json.*not applied"):
        start = lens.forgetting.starting_from(str(folder))
    model = start()
    assert torch.equal(model.model.layers[0].self_attn.q_proj.weight, weights["model.layers.0.self_attn.q_proj.weight"])
    assert not any("lora" in name for name, _ in model.named_parameters())


def test_a_start_model_whose_files_lack_weights_is_refused(tmp_path):
    save(tiny("llama"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "layers.1.mlp.up_proj" not in name},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(LoadError, match="lack 1 weights.*up_proj"):
        lens.forgetting.starting_from(str(tmp_path))()


def test_training_inside_a_bridge_with_fused_layers_is_refused():
    from lens.training import Recipe, Rows, TrainingError, train

    model = models.wrap(tiny("gpt_neox"), word_tokenizer(), "tiny")
    for one in (model, model.original_model):
        with pytest.raises(TrainingError, match="copies of parts of its fused layers.*plain model"):
            train(
                one,
                Rows.of([([1, 2, 3], [4])]),
                Recipe(steps=1, batch=1, learning_rate=1e-3),
                parameters=lambda name: True,
            )


def test_a_folder_with_an_adapter_alone_is_refused_by_name(adapted):
    *_, alone = adapted
    with pytest.raises(LoadError, match=r"an adapter alone, which does not name its base model.*lens.load\(base"):
        lens.load(str(alone), device="cpu")
    # with the base's config beside it, what lacks are the weights
    (alone / "config.json").write_text(json.dumps(tiny("llama").config.to_dict()))
    with pytest.raises(LoadError, match=r"lacks model\.safetensors.*an adapter alone"):
        lens.load(str(alone), device="cpu")
