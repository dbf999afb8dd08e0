"""Gemma 2 and 3: four norms a block, and scores of attention that are bent to a bound (Gemma 2).

Gemma 1 is a Llama block: what sets it apart, norms that multiply by one more than their weight and scaled embeddings,
lies in `Norm` and in the model's own embedding.
"""

from __future__ import annotations

from torch import nn

from .blocks import Block, Norm, part_of


class FourNormBlock(Block):
    """A norm before and one after each of attention and MLP; what is added to the stream is what the second gives."""

    def _norms(self, layer: nn.Module) -> None:
        self.norm_attn = Norm(part_of(layer, "input_layernorm"))
        self.post_attn = Norm(part_of(layer, "post_attention_layernorm"))
        self.norm_mlp = Norm(part_of(layer, "pre_feedforward_layernorm"))
        self.post_mlp = Norm(part_of(layer, "post_feedforward_layernorm"))


class Gemma2Block(FourNormBlock):
    """Scores are bent before the softmax (Gemma 3 keeps the setting and does not use it)."""

    def _attention(self) -> None:
        super()._attention()
        self.cap = self.attn.attn_logit_softcapping
