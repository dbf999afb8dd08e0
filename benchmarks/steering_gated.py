"""A batch of texts written under a gated edit beside the published way: one prompt at a time, and for every token a
hook that reads the gate's activation and one that adds the vector are put on the model and taken off again.

The published way keeps the model's own cache, so that what it lacks is the batch alone.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

import lens

from ._generation_subject import Texts, texts
from .generation_edits import gate
from .machine import set_threads, timed

ROUNDS = {True: 1, False: 3}


class OneByOne:
    """Texts written one at a time by a plain model under hooks."""

    def __init__(self, of: Texts, when: lens.Gate):
        self.of, self.gate, self.hf = of, when, of.copy()
        self.block = self.hf.model.layers[of.layer]

    @torch.no_grad()
    def write(self, prompt: Tensor) -> tuple[int, ...]:
        """The new tokens of one prompt."""
        ids, cache, new = prompt[None], None, list[int]()
        for _ in range(self.of.tokens):
            seen: dict[str, Tensor] = {}

            def read(_: Any, args: Any, kwargs: Any, seen: dict[str, Tensor] = seen) -> None:
                x = args[0] if args else kwargs["hidden_states"]
                seen["open"] = (x.float() @ self.gate.direction) > self.gate.threshold

            def push(_: Any, args: Any, output: Any, seen: dict[str, Tensor] = seen) -> Any:
                x = output[0] if isinstance(output, tuple) else output
                x = x + seen["open"][..., None] * self.of.vector
                return (x, *output[1:]) if isinstance(output, tuple) else x

            handles = [
                self.block.register_forward_pre_hook(read, with_kwargs=True),
                self.block.register_forward_hook(push),
            ]
            try:
                out = self.hf(ids, past_key_values=cache, use_cache=True)
            finally:
                for handle in handles:
                    handle.remove()
            cache = out.past_key_values
            new.append(int(out.logits[0, -1].argmax()))
            ids = torch.tensor([new[-1:]])
        return tuple(new)


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    set_threads()
    try:
        of = texts(quick)
    except lens.LoadError as error:
        return {"why": str(error)}
    when = gate(of)
    published = OneByOne(of, when)
    share = range(0, len(of.prompts), of.share)
    edit = of.edit(when=when)
    own: list[float] = []
    other: list[float] = []
    processor: list[float] = []
    same = 0.0
    for _ in range(ROUNDS[quick]):
        began = time.process_time()
        seconds, batch = timed(
            lambda: lens.generate(of.model, of.prompts, edit, max_new_tokens=of.tokens, progress=False)
        )
        between = time.process_time()
        own.append(seconds)
        seconds, alone = timed(lambda: [published.write(of.prompts[i]) for i in share])
        factor = len(of.prompts) / len(share)
        other.append(seconds * factor)
        processor.append((time.process_time() - between) * factor / (between - began))
        same = sum(batch[i].ids == one for i, one in zip(share, alone)) / len(share)
    return {
        "ratio_published_gated": statistics.median(b / a for a, b in zip(own, other)),
        "gated_processor_ratio": statistics.median(processor),
        "gated_same_texts": same,
        "gated_seconds": statistics.median(own),
        "published_gated_seconds": statistics.median(other),
    }
