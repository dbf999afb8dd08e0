"""Random models of SmolLM2's size, type by type: what speed is measured on. The weights' spread is one by the root of
the width, so that an edit moves a logit by about as much as logits differ.

Loaded by its path in every build that is compared; it names only what each of them has.
"""

from __future__ import annotations

from typing import Any

import torch

#: SmolLM2-135M: 30 layers, 576 wide, 9 heads that share 3 of keys and values.
WHOLE = dict(
    vocab_size=49_152,
    hidden_size=576,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    intermediate_size=1536,
    max_position_embeddings=2048,
)
#: As many heads and few of all else: to try the benchmark.
QUICK = WHOLE | dict(
    vocab_size=0,
    hidden_size=36,
    num_hidden_layers=4,
    intermediate_size=48,
    max_position_embeddings=64,
)
#: Experts of a mixture, half as wide as a plain MLP, and how many a token reaches: a token costs what it costs there.
EXPERTS, REACHED = 8, 2
#: Types that were written out before, types that are now, and one that is driven layer by layer:
#: type -> names of model and configuration in transformers, and what is its own; None: it has no such setting
_PLAIN = dict(num_key_value_heads=None, intermediate_size=None)
_HEADS = dict(head_dim=0)
TYPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "mistral": ("MistralForCausalLM", "MistralConfig", {}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", _HEADS),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", {}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _PLAIN),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", dict(num_key_value_heads=None)),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", _HEADS | dict(sliding_window=512)),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", {}),
    "olmo3": ("Olmo3ForCausalLM", "Olmo3Config", {}),
    "starcoder2": ("Starcoder2ForCausalLM", "Starcoder2Config", {}),
    "qwen3_moe": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        _HEADS | dict(num_experts=EXPERTS, num_experts_per_tok=REACHED, moe_intermediate_size=0, norm_topk_prob=True),
    ),
    "olmoe": (
        "OlmoeForCausalLM",
        "OlmoeConfig",
        dict(num_experts=EXPERTS, num_experts_per_tok=REACHED, intermediate_size=0),
    ),
    "gpt_oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        _HEADS | dict(num_local_experts=EXPERTS, num_experts_per_tok=REACHED, intermediate_size=0),
    ),
}


def config_of(name: str, vocabulary: int | None = None) -> Any:
    """The configuration of a type; ``vocabulary``: of the small models that try the benchmark."""
    import transformers

    size = WHOLE if vocabulary is None else QUICK | dict(vocab_size=vocabulary)
    _, kind, own = TYPES[name]
    # what depends on the size stands at 0
    sized = {
        "head_dim": size["hidden_size"] // size["num_attention_heads"],
        "intermediate_size": size["intermediate_size"] // 2,
        "moe_intermediate_size": size["intermediate_size"] // 2,
    }
    options = size | {key: sized[key] if value == 0 else value for key, value in own.items()}
    ends = dict(bos_token_id=0, eos_token_id=0, pad_token_id=0, tie_word_embeddings=True)
    return getattr(transformers, kind)(
        **{key: value for key, value in options.items() if value is not None},
        **ends,
        initializer_range=size["hidden_size"] ** -0.5,
    )


def make(name: str, vocabulary: int | None = None, seed: int = 0) -> Any:
    """A random model in eval mode, without gradients."""
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, TYPES[name][0])(config_of(name, vocabulary))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("proj_bias"):  # an expert's, which its model leaves as it finds them
                parameter.zero_()
    return model.eval().requires_grad_(False)
