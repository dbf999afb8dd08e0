"""Texts written in a batch are those of whole forwards, row by row and step by step, on every type of cache."""

import warnings

import pytest
import torch
import transformers as T

import lens
from lens.engine.anatomy import Anatomy
from lens.engine.writing import own_forward
from tests import hybrids, kinds
from tests.engine import test_positions, test_steps
from tests.models import EACH, KINDS, tiny
from tests.texts import PROMPTS, STEPS, edit, every, own, same, without_end
from tests.variants import few


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_a_batch_is_its_rows_alone_by_whole_forwards(kind):
    model, fresh = without_end(tiny(kind, seed=3)), tiny(kind, seed=3)
    got = same(model, fresh, edit(), every)
    assert [text.ids for text in lens.generate(model, PROMPTS, max_new_tokens=STEPS, start=None)] != [
        text.ids for text in got
    ]


#: Windows shorter than the texts, soft caps, sinks, mixtures of experts, two kinds of layers.
WALKED = ["mistral_narrow", "qwen2_window", "gemma2", "gemma3", "gemma3_seeing", "gpt_oss", "phi3", "olmoe", "smollm3"]


@pytest.mark.parametrize("kind", WALKED)
def test_windows_and_mixtures_are_those_of_a_row_alone(kind):
    same(without_end(kinds.make(kind)), kinds.make(kind), edit(), every)


@pytest.mark.parametrize("kind", ["mistral_window", "gemma3", "qwen2_window"])
def test_padded_rows_of_the_models_own_forward_give_the_same(kind, monkeypatch):
    own(monkeypatch)
    monkeypatch.setattr(own_forward.OwnForward, "_one", None)  # no row by itself
    same(without_end(kinds.make(kind, "sdpa")), kinds.make(kind, "sdpa"), edit(), every)


@pytest.mark.parametrize("kind", ["qwen3_next", "falcon_h1", "rwkv", "norms behind"])
def test_hybrids_and_states_are_those_of_a_row_alone(kind, recwarn):
    same(without_end(hybrids.MAKERS[kind]()), hybrids.MAKERS[kind](), edit(), every)


@pytest.mark.parametrize("kind", [k for k in test_steps.KINDS if k != "llama"])
def test_types_of_which_rows_or_caches_differ_are_written_one_by_one(kind):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        same(test_steps.make(kind), test_steps.make(kind), edit(), every)
    one_by_one = [str(w.message) for w in told if "one by one" in str(w.message)]
    model = test_steps.make(kind)
    assert len(one_by_one) == (own_forward.batches(model, Anatomy.of(model)) is not None)


def test_it_is_said_once_that_texts_are_written_one_by_one():
    model = test_steps.make("mamba")
    with pytest.warns(UserWarning, match="mamba: .*; texts are written one by one"):
        lens.generate(model, PROMPTS, max_new_tokens=2, start=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lens.generate(model, PROMPTS, max_new_tokens=2, start=None)


SIZE = {key: value for key, value in test_steps.G.items() if key != "initializer_range"}
_GPT = dict(vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0)
_MAMBA = dict(mamba_d_state=8, mamba_d_conv=4, mamba_expand=2)
#: Types that count padding as text, or positions from the column, or whose states take no several tokens.
ODD = {
    "jamba": lambda: T.JambaConfig(
        **SIZE,
        **_MAMBA,
        mamba_dt_rank=4,
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=2,
        num_experts_per_tok=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        use_mamba_kernels=False,
    ),
    "zamba2": lambda: T.Zamba2Config(
        **SIZE,
        mamba_d_state=8,
        mamba_ngroups=1,
        n_mamba_heads=4,
        mamba_headdim=16,
        chunk_size=8,
        layers_block_type=["mamba", "hybrid", "mamba", "hybrid"],
        use_mem_rope=True,
        adapter_rank=4,
    ),
    "biogpt": lambda: T.BioGptConfig(**SIZE),
    "xglm": lambda: T.XGLMConfig(
        vocab_size=97,
        d_model=32,
        num_layers=3,
        attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=64,
        eos_token_id=0,
    ),
    "ctrl": lambda: T.CTRLConfig(vocab_size=97, n_embd=32, n_layer=3, n_head=4, dff=48, n_positions=64, eos_token_id=0),
    "gpt_bigcode": lambda: T.GPTBigCodeConfig(**_GPT, n_inner=48),
    "mpt": lambda: T.MptConfig(vocab_size=97, d_model=32, n_layers=3, n_heads=4, expansion_ratio=2, max_seq_len=64),
    "bloom": lambda: T.BloomConfig(vocab_size=97, hidden_size=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0),
    "gptj": lambda: T.GPTJConfig(**_GPT, rotary_dim=4, n_inner=48),
    "falcon, alibi": lambda: T.FalconConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, alibi=True, eos_token_id=0
    ),
}


def odd(kind):
    torch.manual_seed(0)
    model = without_end(T.AutoModelForCausalLM.from_config(ODD[kind]()).eval().requires_grad_(False))
    generator = torch.Generator().manual_seed(2)
    for name, p in model.named_parameters():
        if p.ndim > 1 and "A_log" not in name:
            p.copy_(torch.randn(p.shape, generator=generator) * 0.25)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_types_that_count_padding_or_columns_give_the_texts_of_rows_alone(kind):
    same(odd(kind), odd(kind), edit(), every)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [k for k in test_positions.MAKERS if k not in (*test_steps.KINDS, "longrope")])
def test_types_of_every_cache_give_the_texts_of_rows_alone(kind):
    same(test_positions.make(kind), test_positions.make(kind), edit(), every)
