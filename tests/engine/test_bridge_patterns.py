"""Patterns behind a bridge: a hook point that fires after the pattern was used is no place of it."""

import pytest
import torch
import transformers

import lens
from lens import models
from lens.engine.anatomy import Anatomy
from tests.models import tiny, word_tokenizer

COMMON = dict(vocab_size=97, bos_token_id=0, eos_token_id=0)
MAKERS = {
    "opt": lambda: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            **COMMON,
            hidden_size=32,
            num_hidden_layers=3,
            ffn_dim=48,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            init_std=0.3,
            pad_token_id=1,
        )
    ),
    "xglm": lambda: transformers.XGLMForCausalLM(
        transformers.XGLMConfig(
            **COMMON, d_model=32, num_layers=3, ffn_dim=48, attention_heads=4, max_position_embeddings=64, init_std=0.3
        )
    ),
    "gptj": lambda: transformers.GPTJForCausalLM(
        transformers.GPTJConfig(
            **COMMON, n_embd=32, n_layer=3, n_head=4, n_positions=64, rotary_dim=4, initializer_range=0.3
        )
    ),
    "gpt_neo": lambda: transformers.GPTNeoForCausalLM(
        transformers.GPTNeoConfig(
            **COMMON,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=6,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
    ),
    "llama": lambda: tiny("llama"),
    "gpt2": lambda: tiny("gpt2"),
}
SERVED = ("opt", "llama", "gpt2")
IDS = torch.tensor([[5, 17, 3, 88, 41, 9, 60]])


def make(kind):
    torch.manual_seed(0)
    return MAKERS[kind]().eval().requires_grad_(False)


def zeroed_by_hand(model, layer, head):
    """Logits of a plain eager model whose softmax of one layer gives zeros for one head."""
    softmax, calls = torch.nn.functional.softmax, iter(range(99))

    def replaced(*args, **kwargs):
        pattern = softmax(*args, **kwargs)
        if next(calls) == layer:
            # XGLM keeps the heads of all rows on one axis; here is one row
            pattern[(slice(None), head) if pattern.ndim == 4 else head] = 0
        return pattern

    model.set_attn_implementation("eager")
    torch.nn.functional.softmax = replaced
    try:
        return model(IDS).logits
    finally:
        torch.nn.functional.softmax = softmax


@pytest.mark.parametrize("kind", MAKERS)
def test_a_pattern_of_a_bridge_acts(kind):
    bridge, edit = models.wrap(make(kind), word_tokenizer(), "tiny"), lens.Edit(lens.Site("pattern", 1, head=2), "zero")
    want = zeroed_by_hand(make(kind), 1, 2)
    with lens.edited(bridge, edit):
        assert (bridge(IDS) - want).abs().max() <= 1e-4
    assert (bridge(IDS) - want).abs().max() > 1e-2


def test_where_the_hook_point_comes_too_late_the_library_function_is_the_place():
    sides = {
        kind: Anatomy.of(models.wrap(make(kind), word_tokenizer(), "tiny")).require("pattern", 0).side
        for kind in SERVED
    }
    assert sides == {"opt": "eager", "llama": "hooked", "gpt2": "hooked"}
