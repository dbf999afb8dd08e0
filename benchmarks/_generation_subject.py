"""The texts of the generation benchmark: prompts of several lengths, an edit at every token and a gate on it.

It names only what every build has that is compared: it is made in an earlier one too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import lens

#: Prompts, and new tokens of each.
PROMPTS, TOKENS = 32, 64
#: Every so manieth text is also written one by one; they stand for all.
SHARE = 4
QUICK = 3, 4
#: Of a stream's usual size, that of the vector that is added.
_STRENGTH = 0.5


@dataclass(frozen=True)
class Texts:
    """A model that ends no text, prompts as tokens, and what is done to them.

    Attributes:
        copy: makes a further plain model of the same weights. layer: after which `vector` is added at every token.
    """

    model: Any
    copy: Any
    prompts: list[torch.Tensor]
    tokens: int
    layer: int
    vector: torch.Tensor
    share: int = SHARE

    def edit(self, **more: Any) -> Any:
        """The vector added to the stream at every token."""
        return lens.Edit(lens.Site("resid_post", layer=self.layer), "add", self.vector, **more)


def texts(quick: bool) -> Texts:
    """The embedded default, or a random model of four layers. Raises: LoadError: the model was never fetched."""
    from benchmarks.subjects import smollm2, tiny

    subject = tiny() if quick else smollm2()
    count, tokens = QUICK if quick else (PROMPTS, TOKENS)
    hf, tokenizer = subject.bridge.original_model, subject.tokenizer
    hf.generation_config.eos_token_id = hf.config.eos_token_id = None
    start = [tokenizer.bos_token_id or 0]
    words = list(dict.fromkeys(pair.clean for pair in (subject.pairs["early"], *subject.many)))
    # cut at several lengths, so that rows are unlike
    rows = [start + tokenizer(text, add_special_tokens=False)["input_ids"] for text in words]
    prompts = [torch.tensor(rows[i % len(rows)][: len(rows[i % len(rows)]) - i % 5]) for i in range(count)]
    layer = hf.config.num_hidden_layers // 2
    vector = torch.randn(hf.config.hidden_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stream = hf(prompts[0][None], output_hidden_states=True).hidden_states[layer + 1][0, -1]
    vector *= _STRENGTH * float(stream.norm()) / vector.norm()
    return Texts(subject.bridge, getattr(subject, "copy", None), prompts, tokens, layer, vector)
