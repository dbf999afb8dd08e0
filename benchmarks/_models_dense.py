"""Dense decoders of the table, each in the variants in which something could go wrong.

A window that the prompt is longer than, soft caps, one key/value head, heads wider than d_model / n_heads, biases, tied
and untied heads, multipliers.
"""

from __future__ import annotations

from ._models_places import bloom, by_group, falcon, gpt2, gptj, joined, llama, mpt, neox, opt, post_norm
from ._models_variants import GPT2, GROUPED, HALVES, IDS, LAYERS, MULTIPLIERS, ONE, PLAIN, VOCABULARY, Rows, adder

DENSE: Rows = {}
add = adder(DENSE)

# -- the seven types of the walk ---------------------------------------------------------------------------------------
add("llama", "", "Llama", llama(), **GROUPED)
add("llama", "eager", "Llama", llama(), attention="eager", **GROUPED)
add(
    "llama",
    "biases, wide heads, one kv head, tied",
    "Llama",
    llama(shared=1, d_head=12),
    head_dim=12,
    attention_bias=True,
    mlp_bias=True,
    hidden_act="gelu",
    tie_word_embeddings=True,
    **ONE,
)
_rope = {"rope_theta": 10000.0, "original_max_position_embeddings": 16, "factor": 8.0}
_llama3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **_rope}
add("llama", "llama3 rope", "Llama", llama(), rope_parameters=_llama3, **GROUPED)
_dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
add("llama", "dynamic rope", "Llama", llama(), rope_parameters=_dynamic, **GROUPED)
add("mistral", "window", "Mistral", llama(), sliding_window=6, **GROUPED)
add(
    "mistral",
    "wide heads, tied",
    "Mistral",
    llama(d_head=16),
    **GROUPED,
    head_dim=16,
    sliding_window=None,
    tie_word_embeddings=True,
)
_slide = dict(use_sliding_window=True, sliding_window=6, max_window_layers=2)
add("qwen2", "", "Qwen2", llama(), **GROUPED)
add("qwen2", "window in half the layers", "Qwen2", llama(), **GROUPED, **_slide)
add("qwen3", "", "Qwen3", llama(), **GROUPED, head_dim=8)
add(
    "qwen3",
    "wide heads, one kv head, tied, biases",
    "Qwen3",
    llama(shared=1, d_head=16),
    **ONE,
    head_dim=16,
    tie_word_embeddings=True,
    attention_bias=True,
)
add("qwen3", "window in half the layers", "Qwen3", llama(), **GROUPED, **_slide, head_dim=8)
add("olmo2", "", "Olmo2", post_norm(), **GROUPED)
add("olmo2", "one kv head, eager", "Olmo2", post_norm(shared=1), attention="eager", **ONE)
add("olmo3", "window", "Olmo3", post_norm(), **GROUPED, sliding_window=6)
# at .3 the keys of a head move the answer by a hundredth of its logit, which float32 rounds to 1e-4 of it
add("gpt2", "", "GPT2", gpt2(), **(GPT2 | dict(initializer_range=0.6)))
add(
    "gpt2",
    "scaled by layer, eager",
    "GPT2",
    gpt2(),
    attention="eager",
    **(GPT2 | dict(initializer_range=0.6)),
    scale_attn_by_inverse_layer_idx=True,
)
add("gpt2", "unscaled, untied", "GPT2", gpt2(), **GPT2, scale_attn_weights=False, tie_word_embeddings=False)
add("gpt_neox", "", "GPTNeoX", neox(), **PLAIN)
add("gpt_neox", "sequential", "GPTNeoX", neox(parallel=False), **PLAIN, use_parallel_residual=False)
add(
    "gpt_neox",
    "whole rotary, no biases, eager",
    "GPTNeoX",
    neox(),
    attention="eager",
    **PLAIN,
    rotary_pct=1.0,
    attention_bias=False,
)

# -- other dense decoders ----------------------------------------------------------------------------------------------
add("gptj", "", "GPTJ", gptj(), **GPT2, rotary_dim=4)
_opt = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=LAYERS,
    ffn_dim=48,
    num_attention_heads=4,
    max_position_embeddings=64,
    init_std=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=1,
)
add("opt", "", "OPT", opt(), **_opt, word_embed_proj_dim=32)
add("opt", "eager", "OPT", opt(), attention="eager", **_opt, word_embed_proj_dim=32)
_normed = "norms on the stream itself: what is added is normed with it"
add(
    "opt",
    "norms behind, projected embeddings",
    "OPT",
    opt(norm="model.decoder.project_out", lacks=dict.fromkeys(("resid_mid", "direct"), _normed)),
    **_opt,
    word_embed_proj_dim=16,
    do_layer_norm_before=False,
)
_wide = dict(vocab_size=VOCABULARY, hidden_size=32, bos_token_id=0, eos_token_id=0, initializer_range=0.3)
add("bloom", "", "Bloom", bloom(), **_wide, n_layer=LAYERS, n_head=4)
_falcon = dict(
    _wide | dict(initializer_range=0.45), num_hidden_layers=LAYERS, num_attention_heads=4, max_position_embeddings=64
)
_qkv = "self_attention.query_key_value"
add(
    "falcon",
    "first architecture",
    "Falcon",
    falcon(joined(_qkv, 4, 1, 8)),
    **_falcon,
    multi_query=True,
    parallel_attn=True,
    bias=False,
)
add(
    "falcon",
    "new architecture",
    "Falcon",
    falcon(by_group(_qkv, 4, 2, 8)),
    **_falcon,
    new_decoder_architecture=True,
    num_kv_heads=2,
    bias=False,
)
add(
    "falcon",
    "new architecture, one norm, biases, eager",
    "Falcon",
    falcon(by_group(_qkv, 4, 2, 8)),
    attention="eager",
    **_falcon,
    new_decoder_architecture=True,
    num_kv_heads=2,
    num_ln_in_parallel_attn=1,
    bias=True,
)
_rw = falcon({s: (_qkv, table) for s, (_, table) in bloom().qkv.items()}, parallel=False)
add(
    "falcon",
    "alibi, sequential",
    "Falcon",
    _rw,
    **_falcon,
    multi_query=False,
    parallel_attn=False,
    alibi=True,
    bias=True,
)
_mpt = dict(vocab_size=VOCABULARY, d_model=32, n_heads=4, n_layers=LAYERS, max_seq_len=64, expansion_ratio=2)
add("mpt", "", "Mpt", mpt(), **_mpt, **IDS, initializer_range=0.3)
add(
    "mpt",
    "clipped q, k, v",
    "Mpt",
    mpt(),
    **_mpt,
    **IDS,
    initializer_range=0.3,
    attn_config=dict(clip_qkv=1.5, softmax_scale=0.5),
)
_part = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
_phi = llama(parallel=True, norm="model.final_layernorm", o="self_attn.dense", down="mlp.fc2")
add("phi", "", "Phi", _phi, **GROUPED, rope_parameters=_part)
add(
    "phi",
    "norms on q and k, eager",
    "Phi",
    _phi,
    attention="eager",
    **GROUPED,
    rope_parameters=_part,
    qk_layernorm=True,
)
_phi3 = llama(qkv=joined("self_attn.qkv_proj", 4, 2, 8))
add("phi3", "window", "Phi3", _phi3, **GROUPED, sliding_window=6)
_factors = dict(short_factor=[1.0] * 4, long_factor=[3.0, 5.0, 7.0, 9.0])
_long = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 8, **_factors}
add("phi3", "longrope", "Phi3", _phi3, **GROUPED, rope_parameters=_long, original_max_position_embeddings=8)
add("gemma", "", "Gemma", llama(d_head=16), **GROUPED, head_dim=16)
_caps = dict(query_pre_attn_scalar=10, final_logit_softcapping=5.0, attn_logit_softcapping=2.0)
_gemma2 = post_norm(d_head=16, cap=5.0)
add("gemma2", "window, caps", "Gemma2", _gemma2, **GROUPED, **_caps, head_dim=16, sliding_window=6)
GEMMA3 = dict(GROUPED, head_dim=16, query_pre_attn_scalar=10, **HALVES)
add("gemma3_text", "window in half the layers", "Gemma3", post_norm(d_head=16), like="Gemma3Text", **GEMMA3)
add(
    "gemma3_text",
    "eager, one kv head",
    "Gemma3",
    post_norm(shared=1, d_head=16),
    like="Gemma3Text",
    attention="eager",
    **(GEMMA3 | dict(num_key_value_heads=1)),
)
add("stablelm", "", "StableLm", llama(), **GROUPED, use_qkv_bias=True, rope_parameters=_part)
add(
    "stablelm",
    "parallel, norms on q and k",
    "StableLm",
    llama(parallel=True),
    **GROUPED,
    use_qkv_bias=True,
    qk_layernorm=True,
    use_parallel_residual=True,
    rope_parameters=_part,
)
add("starcoder2", "window", "Starcoder2", llama(down="mlp.c_proj"), **GROUPED, sliding_window=6)
_cohere = llama(parallel=True, logits=1.5)
add("cohere", "", "Cohere", _cohere, **GROUPED, logit_scale=1.5)
add(
    "cohere",
    "norms on q and k, eager",
    "Cohere",
    _cohere,
    attention="eager",
    **GROUPED,
    logit_scale=1.5,
    use_qk_norm=True,
)
add("cohere2", "window in half the layers", "Cohere2", _cohere, **GROUPED, **HALVES, logit_scale=1.5)
add(
    "granite",
    "multipliers",
    "Granite",
    llama(mixers={"self_attn": 0.4}, mlp_times=0.4, logits=2.0),
    **GROUPED,
    **MULTIPLIERS,
)
_glm4 = post_norm(
    attn="post_self_attn_layernorm",
    post="post_self_attn_layernorm",
    mlp="post_mlp_layernorm",
    mixers={"post_self_attn_layernorm": 1.0},
)
add("glm4", "", "Glm4", _glm4, **GROUPED, head_dim=8)
add("exaone4", "window in half the layers", "Exaone4", post_norm(), **GROUPED, **HALVES)
add("smollm3", "", "SmolLM3", llama(), **GROUPED, no_rope_layer_interval=2)
add(
    "smollm3",
    "window in half the layers",
    "SmolLM3",
    llama(),
    **GROUPED,
    **HALVES,
    no_rope_layer_interval=2,
    use_sliding_window=True,
)
