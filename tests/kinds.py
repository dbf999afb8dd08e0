"""Small random models of the types whose blocks are written out, in the variants that tell right from nearly right.

Head widths that are not `d_model / n_heads`, one key/value head, tied and untied heads, sliding windows shorter than
the prompts of the tests, soft caps, several kinds of layers in one model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.2,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
#: Shorter than the prompts of the tests.
WINDOW = 4
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
ROPES = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
}


def _maker(name: str, config: str | None = None, **options: Any) -> Callable[[], Any]:
    kind = getattr(transformers, f"{config or name}Config")
    return lambda: getattr(transformers, f"{name}ForCausalLM")(kind(**SIZE | options))


def _seeing() -> Any:
    text = SIZE | dict(
        head_dim=12, sliding_window=WINDOW, layer_types=MIXED, rope_parameters=ROPES, num_key_value_heads=1
    )
    vision = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=16)
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision | dict(patch_size=4), mm_tokens_per_image=4, image_token_index=90
    )
    return transformers.Gemma3ForConditionalGeneration(config)


_GEMMA = dict(head_dim=12, query_pre_attn_scalar=10, sliding_window=WINDOW, layer_types=MIXED)
_QWEN = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12)
#: name -> how to make it
MAKERS: dict[str, Callable[[], Any]] = {
    "mistral_window": _maker("Mistral", sliding_window=WINDOW),
    "mistral_narrow": _maker("Mistral", sliding_window=2),
    "qwen2_window": _maker("Qwen2", use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "qwen3_window": _maker("Qwen3", head_dim=12, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "gemma": _maker("Gemma", head_dim=12, num_key_value_heads=1),
    "gemma_untied": _maker("Gemma", head_dim=16, tie_word_embeddings=False, attention_bias=True),
    "gemma2": _maker("Gemma2", **_GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=5.0),
    "gemma2_uncapped": _maker(
        "Gemma2",
        **_GEMMA | dict(num_key_value_heads=1),
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        tie_word_embeddings=False,
    ),
    "gemma3": _maker("Gemma3", "Gemma3Text", **_GEMMA, rope_parameters=ROPES, final_logit_softcapping=5.0),
    "gemma3_one": _maker("Gemma3", "Gemma3Text", **_GEMMA | dict(num_key_value_heads=1), tie_word_embeddings=False),
    "gemma3_seeing": _seeing,
    "olmo3": _maker("Olmo3", head_dim=12, sliding_window=WINDOW, layer_types=MIXED, rope_parameters=ROPES),
    "olmo3_one": _maker("Olmo3", sliding_window=WINDOW, num_key_value_heads=1, tie_word_embeddings=True),
    "phi3": _maker(
        "Phi3",
        head_dim=12,
        num_key_value_heads=1,
        sliding_window=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    ),
    "phi3_tied": _maker("Phi3", tie_word_embeddings=True),
    "smollm3": _maker("SmolLM3", no_rope_layers=[1, 0, 1], num_key_value_heads=1, attention_bias=True, mlp_bias=True),
    "smollm3_window": _maker(
        "SmolLM3",
        no_rope_layers=[0, 1, 1],
        use_sliding_window=True,
        sliding_window=WINDOW,
        layer_types=MIXED,
        tie_word_embeddings=False,
    ),
    "qwen3_moe": _maker("Qwen3Moe", **_QWEN, mlp_only_layers=[1], norm_topk_prob=True, attention_bias=True),
    "qwen3_moe_sparse": _maker(
        "Qwen3Moe",
        **_QWEN,
        num_key_value_heads=1,
        decoder_sparse_step=2,
        norm_topk_prob=False,
        use_sliding_window=True,
        sliding_window=WINDOW,
        tie_word_embeddings=True,
    ),
    "olmoe": _maker("Olmoe", num_experts=6, num_experts_per_tok=2, norm_topk_prob=True),
    "olmoe_clipped": _maker("Olmoe", num_experts=5, num_experts_per_tok=3, clip_qkv=0.5, num_key_value_heads=1),
    "mixtral": _maker("Mixtral", head_dim=12, num_local_experts=5, num_experts_per_tok=2, num_key_value_heads=1),
    "mixtral_window": _maker("Mixtral", num_local_experts=4, sliding_window=WINDOW, tie_word_embeddings=True),
    "gpt_oss": _maker(
        "GptOss",
        head_dim=12,
        num_key_value_heads=1,
        num_local_experts=6,
        num_experts_per_tok=3,
        sliding_window=WINDOW,
        layer_types=MIXED,
        swiglu_limit=0.5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "gpt_oss_yarn": _maker("GptOss", head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=WINDOW),
}
VARIANTS = tuple(MAKERS)
#: One of each type, in the variant that takes more ways of its own.
EACH = (
    "mistral_window",
    "qwen2_window",
    "qwen3_window",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_seeing",
    "olmo3",
    "phi3",
    "smollm3",
    "qwen3_moe",
    "olmoe_clipped",
    "mixtral",
    "gpt_oss",
)
#: Those with a mixture of experts in some layer.
MIXTURES = tuple(name for name in VARIANTS if name.startswith(("qwen3_moe", "olmoe", "mixtral", "gpt_oss")))
#: Types whose library code has no fused attention: it would leave out soft caps and sinks.
EAGER_ONLY = tuple(name for name in VARIANTS if name.startswith(("gemma2", "gpt_oss")))


def make(name: str, attention: str = "eager", seed: int = 0) -> Any:
    """A random model in eval mode, without gradients; norms, biases and sinks are random too."""
    torch.manual_seed(seed)
    model = MAKERS[name]()
    model.set_attn_implementation(attention)
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 1 or parameter.abs().max() == 0:
            parameter.add_(torch.randn_like(parameter) * 0.2)
    for name, parameter in model.named_parameters():
        if name.endswith("proj_bias"):  # an expert's
            parameter.normal_(std=0.2)
    return model
