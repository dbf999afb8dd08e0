"""The injection grid as its paper's code computes it: one cell after another, batch 1, through TransformerLens.

Written anew after the description of Sakarvadia et al. 2023; a cell tokenizes its three texts, runs the prompt as it
is, builds the memory vector inside the hook and runs the prompt again with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.injection import Item


@dataclass
class Timings:
    """Seconds of what was sampled: per cell its clean and its hooked run (tokenizing is the clean run's), per item the
    explicit run.
    """

    clean: list[float] = field(default_factory=list)
    hooked: list[float] = field(default_factory=list)
    explicit: list[float] = field(default_factory=list)


class PublishedLoop:
    """The loop's parts, each with its time.

    Attributes:
        W_U: the unembedding as TransformerLens processes it by default (final norm folded in, centred over the
            vocabulary), `[d_model, d_vocab]`.
    """

    title = "TransformerLens"

    def __init__(self, hf: Any, tokenizer: Any):
        from lens.models import wrap

        self.model = wrap(hf, tokenizer, "benchmark")
        self.model.enable_compatibility_mode(
            disable_warnings=True
        )  # the weight processing that the paper's code has by default
        self.W_U: Float[Tensor, "d_model d_vocab"] = self.model.W_U.detach()
        self.timings = Timings()

    def tokens(self, text: str, start: bool) -> Tensor:
        return self.model.to_tokens(text, prepend_bos=start)

    @torch.no_grad()
    def cell(self, item: Item, layer: int, strength: float) -> tuple[float, float]:
        """Probability of the answer's first token, without and with the memory."""
        began = time.perf_counter()
        prompt, answer, memory = (
            self.tokens(item.prompt, True),
            self.tokens(item.answer, False)[0, 0],
            self.tokens(item.memory, False)[0],
        )
        clean = self.model(prompt)[0, -1].softmax(-1)[answer].item()
        middle = time.perf_counter()

        def inject(attn_out: Float[Tensor, "1 position d_model"], hook: Any) -> Tensor:
            present = torch.zeros(self.W_U.shape[1])
            present[memory] = 1.0
            attn_out += strength * (present @ self.W_U.T)
            return attn_out

        logits = self.model.run_with_hooks(prompt, fwd_hooks=[(f"blocks.{layer}.hook_attn_out", inject)])
        edited = logits[0, -1].softmax(-1)[answer].item()
        self.timings.clean.append(middle - began)
        self.timings.hooked.append(time.perf_counter() - middle)
        return clean, edited

    @torch.no_grad()
    def explicit(self, item: Item) -> float:
        """Probability of the answer's first token after the prompt that names the memory; keeps every activation, as
        published.
        """
        began = time.perf_counter()
        logits, _cache = self.model.run_with_cache(self.tokens(item.explicit, True))
        probability = logits[0, -1].softmax(-1)[self.tokens(item.answer, False)[0, 0]].item()
        self.timings.explicit.append(time.perf_counter() - began)
        return probability
