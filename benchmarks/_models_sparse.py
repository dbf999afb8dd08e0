"""Mixtures of experts, hybrids, state spaces and text towers of the table."""

from __future__ import annotations

import functools
from typing import Any

import transformers

from ._models_dense import GEMMA3
from ._models_places import Where, gated, llama, moe, post_norm, whole
from ._models_variants import (
    EXPERTS,
    GROUPED,
    HALVES,
    IDS,
    LAYERS,
    MULTIPLIERS,
    PLAIN,
    VOCABULARY,
    Rows,
    Variant,
    adder,
)

SPARSE: Rows = {}
add = adder(SPARSE)

# -- mixtures of experts -----------------------------------------------------------------------------------------------
add("mixtral", "window", "Mixtral", moe(), **GROUPED, num_local_experts=4, sliding_window=6)
add("qwen2_moe", "", "Qwen2Moe", moe(), **GROUPED, **EXPERTS, shared_expert_intermediate_size=24, decoder_sparse_step=1)
add("qwen3_moe", "wide heads", "Qwen3Moe", moe(d_head=16), **GROUPED, **EXPERTS, head_dim=16, norm_topk_prob=True)
_dense = {"router": None, "experts": None, "down": "mlp.down_proj"}
add(
    "qwen3_moe",
    "one dense layer, eager",
    "Qwen3Moe",
    moe(d_head=16, other={0: _dense}),
    attention="eager",
    **GROUPED,
    **EXPERTS,
    head_dim=16,
    mlp_only_layers=[0],
)
add("olmoe", "", "Olmoe", moe(), **GROUPED, num_experts=4, num_experts_per_tok=2)
_granitemoe = moe(
    mixers={"self_attn": 0.4},
    mlp="block_sparse_moe",
    mlp_times=0.4,
    logits=2.0,
    router="block_sparse_moe.router",
    experts="block_sparse_moe.experts",
)
add(
    "granitemoe",
    "multipliers",
    "GraniteMoe",
    _granitemoe,
    **GROUPED,
    **MULTIPLIERS,
    num_local_experts=4,
    num_experts_per_tok=2,
)
_no_k = "keys are a joint projection of a latent and a rotated part"
_latent = moe(
    shared=4,
    qkv={
        "q": ("self_attn.q_b_proj", whole(4, 12)),
        "v": ("self_attn.kv_b_proj", whole(4, 16)[:, 8:]),
    },
    other={0: _dense},
    lacks={"k": _no_k},
    unsure=frozenset({"q", "v"}),
)
add(
    "deepseek_v3",
    "",
    "DeepseekV3",
    _latent,
    **dict(PLAIN, num_key_value_heads=4),
    first_k_dense_replace=1,
    kv_lora_rank=8,
    q_lora_rank=12,
    n_routed_experts=4,
    n_shared_experts=1,
    qk_nope_head_dim=8,
    qk_rope_head_dim=4,
    v_head_dim=8,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    n_group=2,
    topk_group=1,
)
_sinks = {"rope_type": "default", "rope_theta": 10000.0}
add(
    "gpt_oss",
    "sinks, window in half the layers",
    "GptOss",
    moe(router="mlp.router"),
    **GROUPED,
    **HALVES,
    head_dim=8,
    num_local_experts=4,
    num_experts_per_tok=2,
    rope_parameters=_sinks,
)
_llama4 = {"router": "feed_forward.router", "experts": "feed_forward.experts", "down": None}
add(
    "llama4_text",
    "chunks, temperature",
    "Llama4",
    llama(mlp="feed_forward", down="feed_forward.down_proj", other={1: _llama4, 3: _llama4}),
    like="Llama4Text",
    **GROUPED,
    head_dim=8,
    intermediate_size_mlp=48,
    num_local_experts=4,
    num_experts_per_tok=1,
    interleave_moe_layer_step=2,
    attention_chunk_size=6,
    no_rope_layer_interval=2,
    floor_scale=4,
    attn_scale=0.3,
    attn_temperature_tuning=True,
)

# -- linear attention and state spaces ---------------------------------------------------------------------------------
_linear = {
    "mixers": {"linear_attn": 1.0},
    "attn": "linear_attn",
    "inside": None,
    "o": None,
    "lacks": dict.fromkeys(("z", "pattern", "q", "k", "v"), "linear attention has no attention heads"),
}
_next = moe(d_head=16, qkv=gated("self_attn", 4, 2, 16), other={0: _linear, 2: _linear})
add(
    "qwen3_next",
    "",
    "Qwen3Next",
    _next,
    **GROUPED,
    **EXPERTS,
    head_dim=16,
    linear_key_head_dim=8,
    linear_value_head_dim=8,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    shared_expert_intermediate_size=24,
    layer_types=["linear_attention", "full_attention"] * 2,
)
_h1 = llama(
    mixers={"mamba": 0.8, "self_attn": 0.6},
    norm="model.final_layernorm",
    mlp="feed_forward",
    down="feed_forward.down_proj",
    logits=0.5,
)
add(
    "falcon_h1",
    "multipliers",
    "FalconH1",
    _h1,
    **GROUPED,
    mamba_d_ssm=64,
    mamba_n_heads=4,
    mamba_d_head=16,
    mamba_d_state=8,
    mamba_chunk_size=8,
    lm_head_multiplier=0.5,
    embedding_multiplier=2.0,
    key_multiplier=0.7,
    attention_out_multiplier=0.6,
    attention_in_multiplier=1.2,
    ssm_in_multiplier=0.9,
    ssm_out_multiplier=0.8,
    mlp_multipliers=[0.7, 0.9],
    ssm_multipliers=[0.9] * 5,
)
_space = Where(
    "backbone.layers",
    "backbone.embeddings",
    "backbone.norm_f",
    mixers={"mixer": 1.0},
    attn=None,
    inside=None,
    mlp=None,
    down=None,
    o=None,
)
add(
    "mamba2",
    "",
    "Mamba2",
    _space,
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_heads=4,
    head_dim=16,
    state_size=8,
    num_hidden_layers=LAYERS,
    n_groups=2,
    chunk_size=8,
    initializer_range=0.3,
    **IDS,
)
_no_heads = "the time mixing has no heads and no pattern"
_rwkv = Where(
    "rwkv.blocks",
    "rwkv.embeddings",
    "rwkv.ln_out",
    "head",
    mixers={"attention": 1.0},
    attn="attention",
    inside=None,
    mlp="feed_forward",
    down="feed_forward.value",
    o=None,
    start="pre_ln",
    lacks=dict.fromkeys(("z", "pattern", "q", "k", "v"), _no_heads),
    unsure=frozenset({"neuron"}),
)
add(
    "rwkv",
    "stream halved every other layer",
    "Rwkv",
    _rwkv,
    vocab_size=VOCABULARY,
    context_length=64,
    hidden_size=32,
    num_hidden_layers=LAYERS,
    rescale_every=2,
    bos_token_id=0,
    eos_token_id=0,
)

# -- the text tower of a model that sees -------------------------------------------------------------------------------
_TOWER = dict(
    layers="model.language_model.layers", embed="model.language_model.embed_tokens", norm="model.language_model.norm"
)
_EYES = dict(hidden_size=16, intermediate_size=24, num_attention_heads=2, image_size=16, patch_size=4)


def _llava(vision: int = LAYERS) -> Any:
    text, eyes = transformers.LlamaConfig(**GROUPED), transformers.CLIPVisionConfig(**_EYES, num_hidden_layers=vision)
    config = transformers.LlavaConfig(vision_config=eyes, text_config=text, image_token_index=90)
    return transformers.LlavaForConditionalGeneration(config)


def _gemma3_sees(vision: int = LAYERS) -> Any:
    eyes, tokens = dict(_EYES, num_hidden_layers=vision), dict(image_token_index=90, boi_token_index=91)
    config = transformers.Gemma3Config(
        text_config=GEMMA3, vision_config=eyes, mm_tokens_per_image=4, eoi_token_index=92, **tokens
    )
    return transformers.Gemma3ForConditionalGeneration(config)


SPARSE["llava"] = [
    Variant("llava", "text alone", _llava, llama(**_TOWER)),
    Variant("llava", "text alone, a shallower vision tower", functools.partial(_llava, 2), llama(**_TOWER)),
]
SPARSE["gemma3"] = [
    Variant("gemma3", "text alone", _gemma3_sees, post_norm(d_head=16, **_TOWER)),
]
