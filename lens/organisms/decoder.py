"""The decoder that the organisms of words are: a Llama-type model with tied embeddings, untrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Sizes(Protocol):
    """What of a recipe the size of a decoder is."""

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""
        ...

    @property
    def layers(self) -> int:
        """How many blocks."""
        ...

    @property
    def heads(self) -> int:
        """Heads of a block, which divide the width."""
        ...

    @property
    def d_mlp(self) -> int:
        """Neurons of a block."""
        ...


def decoder(
    sizes: Sizes, *, vocabulary: int, context: int, seed: int, token: int = 0, attention: str | None = None
) -> PreTrainedModel:
    """A Llama-type decoder with tied embeddings in float32 on the CPU, whose weights are those of the seed.

    Args:
        sizes: of the model. vocabulary: how many tokens. context: positions at most. token: the id that starts a row,
            ends and pads it.
        attention: how transformers computes attention ("eager"); None: as it does by itself.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=sizes.d_model,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        intermediate_size=sizes.d_mlp,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=token,
        eos_token_id=token,
        pad_token_id=token,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, attn_implementation=attention).float()
