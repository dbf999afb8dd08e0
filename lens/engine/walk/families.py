"""Which model type has which blocks, and where its parts lie."""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal, NamedTuple

from torch import nn

from ..errors import UnsupportedModel
from .blocks import Block, PostNormBlock, SomeRotaryBlock, unwrapped
from .experts import GptOssBlock, MixtureBlock, OlmoeBlock
from .fused import GPT2Block, NeoXBlock, Phi3Block
from .gemma import FourNormBlock, Gemma2Block


class Family(NamedTuple):
    """How a model type is built.

    Attributes:
        block: the class of its blocks.
        body: path to the inner model; in it, by name, ``layers``, the token ``embedding`` and the final ``norm``.
        window: which layers see a sliding window only: ``all`` of them, those that the configuration's ``layer_types``
            name, or None where the type has none.
        tables: whether each layer type has a rotary table of its own.
        capped: whether logits are bent to the configuration's bound.
    """

    block: type[Block]
    body: str = "model"
    layers: str = "layers"
    embedding: str = "embed_tokens"
    norm: str = "norm"
    window: Literal["all", "layer_types"] | None = None
    tables: bool = False
    capped: bool = False

    def body_of(self, hf: nn.Module) -> nn.Module:
        """The module that holds the embedding and the layers, out of its wrappers."""
        return reduce(lambda module, name: unwrapped(getattr(module, name)), self.body.split("."), hf)

    def blocks_of(self, body: nn.Module, config: Any) -> list[Block]:
        """The blocks of a model, each with its window and rotary table.

        Raises: UnsupportedModel: a layer type that is not known.
        """
        blocks = [self.block(layer, config) for layer in getattr(body, self.layers)]
        kinds = config.layer_types if self.window == "layer_types" or self.tables else ["full_attention"] * len(blocks)
        if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
            raise UnsupportedModel(f"layer_types={sorted(unknown)} of its configuration are not written out.")
        for block, kind in zip(blocks, kinds, strict=True):
            if self.window == "all" or kind == "sliding_attention":
                block.window = config.sliding_window
            block.table = kind if self.tables else None
        return blocks


#: By the model type of the configuration.
FAMILIES: dict[str, Family] = {
    "llama": Family(Block),
    "mistral": Family(Block, window="all"),
    "qwen2": Family(Block, window="layer_types"),
    "qwen3": Family(Block, window="layer_types"),
    "gemma": Family(Block),
    "gemma2": Family(Gemma2Block, window="layer_types", capped=True),
    "gemma3_text": Family(FourNormBlock, window="layer_types", tables=True, capped=True),
    # the model that sees does not bend its logits
    "gemma3": Family(FourNormBlock, "model.language_model", window="layer_types", tables=True),
    "olmo2": Family(PostNormBlock),
    "olmo3": Family(PostNormBlock, window="layer_types", tables=True),
    "phi3": Family(Phi3Block, window="all"),
    "smollm3": Family(SomeRotaryBlock, window="layer_types"),
    "qwen3_moe": Family(MixtureBlock, window="all"),
    "mixtral": Family(MixtureBlock, window="all"),
    "olmoe": Family(OlmoeBlock),
    "gpt_oss": Family(GptOssBlock, window="layer_types"),
    "gpt2": Family(GPT2Block, "transformer", "h", "wte", "ln_f"),
    "gpt_neox": Family(NeoXBlock, "gpt_neox", "layers", "embed_in", "final_layer_norm"),
}
