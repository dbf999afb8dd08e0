"""Small random models of every block type, built from configurations."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_MAKERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZE, num_key_value_heads=2)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=97,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_inner=48,
            n_positions=64,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
        )
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZE)),
    "gpt_neox_sequential": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZE, use_parallel_residual=False)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**_SIZE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SIZE, num_key_value_heads=2)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZE, num_key_value_heads=2, head_dim=8)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_SIZE, num_key_value_heads=2)),
}
KINDS = tuple(_MAKERS)
#: One of each kind of block: plain, fused with learned positions, in parallel, normed behind, with normed queries.
EACH = ("llama", "gpt2", "gpt_neox", "olmo2", "qwen3")
#: Of them, for what stands on the engine, whose own tests have each: fused and transposed weights, and norms behind.
ABOVE = ("gpt2", "olmo2")


def tiny(kind: str = "llama", seed: int = 0):
    """A random model in eval mode: 3 layers, d_model 32, 4 heads, vocabulary of 97; norms and biases are random too."""
    torch.manual_seed(seed)
    model = _MAKERS[kind]().eval().requires_grad_(False)
    for p in model.parameters():
        if p.ndim == 1:
            p.add_(torch.randn_like(p) * 0.2)
    return model


def word_tokenizer(size: int = 97):
    """A tokenizer whose token i is the word ``w<i>``; words are split at spaces, and token 0 ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0", unk_token="w0", pad_token="w0")


def speaking(kind: str = "llama", seed: int = 0):
    """A tiny model with the word tokenizer attached."""
    model = tiny(kind, seed)
    model.tokenizer = word_tokenizer()
    return model
