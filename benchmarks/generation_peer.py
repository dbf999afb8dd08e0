"""A batch of texts under an edit beside TransformerLens' batched generation under a hook that does the same: token ids
with padding on the left, their mask, its key-value cache, nothing sampled.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

import lens

from ._generation_subject import Texts, texts

ROUNDS = {True: 1, False: 5}


class Peer:
    """TransformerLens on a copy of the model."""

    def __init__(self, of: Texts):
        from lens.models import wrap

        hf = of.copy()
        hf.generation_config.eos_token_id = hf.config.eos_token_id = None
        self.bridge, self.of = wrap(hf, of.model.tokenizer, "benchmark"), of
        longest = max(map(len, of.prompts))
        self.ids = torch.stack([torch.cat([p.new_zeros(longest - len(p)), p]) for p in of.prompts])
        self.mask = torch.stack([torch.cat([p.new_zeros(longest - len(p)), torch.ones_like(p)]) for p in of.prompts])

    @torch.no_grad()
    def generate(self) -> list[tuple[int, ...]]:
        """The new tokens of each text."""
        vector = self.of.vector

        def push(x: torch.Tensor, hook: Any) -> torch.Tensor:
            return x + vector

        name = f"blocks.{self.of.layer}.hook_out"
        with self.bridge.hooks(fwd_hooks=[(name, push)]):
            out = self.bridge.generate(
                self.ids,
                max_new_tokens=self.of.tokens,
                stop_at_eos=False,
                do_sample=False,
                return_type="tokens",
                verbose=False,
                attention_mask=self.mask,
            )
        return [tuple(row) for row in out[:, self.ids.shape[1] :].tolist()]


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers."""
    try:
        of = texts(quick)
        peer = Peer(of)
    except (lens.LoadError, ImportError) as error:
        return {"why": str(error)}

    def ours() -> list[tuple[int, ...]]:
        return [t.ids for t in lens.generate(of.model, of.prompts, of.edit(), max_new_tokens=of.tokens, progress=False)]

    calls = {"ours": ours, "theirs": peer.generate}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    said = {name: call() for name, call in calls.items()}  # first passes are nobody's time
    for number in range(ROUNDS[quick]):
        for name in sorted(calls, reverse=bool(number % 2)):
            began = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - began)
    same = sum(a == b for a, b in zip(said["ours"], said["theirs"]))
    return {
        "ratio_tl_generation": statistics.median(t / o for t, o in zip(seconds["theirs"], seconds["ours"])),
        "tl_same_texts": same / len(of.prompts),
        "tl_seconds": {name: statistics.median(of) for name, of in seconds.items()},
    }
