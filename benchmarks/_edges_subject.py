"""A random model of GPT-2's shape, its softmaxes far from saturated, a pair of prompts, and TransformerLens beside."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

import lens
from lens.prompts import EncodedPair, encode

#: Tokens of the prompts, the first token at which they differ, and answers.
LENGTH, ANSWER, FOIL = 15, 11, 23
#: Of the weights; twice the type's own.
DEVIATION = 0.04


@dataclass
class Subject:
    """Attributes: model: with a tokenizer of words w0, w1, ... pair: prompts that differ after the first token."""

    model: Any
    pair: lens.Pair

    @cached_property
    def encoded(self) -> EncodedPair:
        """The pair's tokens."""
        return encode(self.model, self.pair)

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens' bridge around a copy; it takes edges of parameters alone that have gradients."""
        from lens.models import wrap

        bridge = wrap(copy.deepcopy(self.model), self.model.tokenizer, "benchmark")
        bridge.requires_grad_(True)
        return bridge

    @property
    def ids(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The clean and the corrupted prompt, ``[1, position]`` each."""
        return self.encoded.clean_ids[None], self.encoded.corrupted_ids[None]

    @staticmethod
    def metric(logits: torch.Tensor) -> torch.Tensor:
        """The logit difference, as TransformerLens asks for it."""
        return logits[0, -1, ANSWER] - logits[0, -1, FOIL]


def subject(quick: bool) -> Subject:
    """GPT-2 small's shape; `quick`: three layers of 4 heads."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from tests.models import word_tokenizer

    small = dict(n_layer=3, n_head=4, n_embd=32, vocab_size=97) if quick else dict(vocab_size=50257)
    torch.manual_seed(0)
    # scores of attention have a deviation of about one, so that no softmax is saturated, and single edges an effect
    # that stands out of the rounding of the metric
    config = GPT2Config(**small, n_positions=64, bos_token_id=0, eos_token_id=0, initializer_range=DEVIATION)
    model = GPT2LMHeadModel(config).eval()
    model.requires_grad_(False)
    model.tokenizer = word_tokenizer(model.config.vocab_size)
    generator = torch.Generator().manual_seed(1)
    clean = torch.randint(1, 97, (6 if quick else LENGTH,), generator=generator)
    corrupted = torch.randint(1, 97, clean.shape, generator=generator)
    corrupted[0] = clean[0]
    first, second = (" ".join(f"w{i}" for i in ids.tolist()) for ids in (clean, corrupted))
    return Subject(model, lens.Pair(first, corrupted=second, answer=f" w{ANSWER}", foil=f" w{FOIL}"))


def reader_of(node: Any) -> str:
    """The name that a reader of TransformerLens has here."""
    kind, layer, head = node.kind, node.layer, node.head
    if kind == "logits":
        return "logits"
    return f"m{layer}" if kind == "mlp_in" else f"a{layer}.h{head}<{kind[0]}>"


def writer_of(node: Any) -> str:
    """The name that a writer of TransformerLens has here."""
    if node.kind == "embed":
        return "input"
    return f"m{node.layer}" if node.kind == "mlp_out" else f"a{node.layer}.h{node.head}"
