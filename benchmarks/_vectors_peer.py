"""Head effects as the published code computes them: one hooked pass of the whole prompt a head, batch 1, logits at
every token.

Written anew after the description of Todd et al. 2024; plain Hugging Face, nothing of ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class HookedHeads:
    """A model of the Llama pattern whose heads are replaced one at a time at the last token.

    `seconds` are those of the hooked passes, `unhooked` those of passes without an edit.
    """

    model: Any
    seconds: list[float] = field(default_factory=list)
    unhooked: list[float] = field(default_factory=list)

    @torch.no_grad()
    def probability(
        self,
        ids: Tensor,
        target: int,
        layer: int | None = None,
        head: int | None = None,
        value: Float[Tensor, " d_head"] | None = None,
    ) -> float:
        """Probability of the answer's first token, with one head's output replaced where one is named."""
        began = time.perf_counter()
        hook = None
        if layer is not None:
            width = len(value)

            def replace(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
                z = args[0].clone()
                z[:, -1, head * width : (head + 1) * width] = value
                return (z,)

            hook = self.model.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(replace)
        try:
            found = self.model(ids[None]).logits[0, -1].softmax(-1)[target].item()
        finally:
            if hook is not None:
                hook.remove()
        (self.unhooked if layer is None else self.seconds).append(time.perf_counter() - began)
        return found
