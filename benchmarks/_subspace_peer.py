"""What statistics and factors are compared with: a plain model's forward and backward passes, and what its layers saw,
for explicit sums in float64; and a count of a model's runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class PlainPasses:
    """Passes of a plain Hugging Face model over token rows [n, length], as anybody writes them."""

    def __init__(self, hf: Any):
        self.hf = hf

    @torch.no_grad()
    def forward(self, ids: Tensor) -> None:
        """Logits at every token."""
        _ = self.hf(ids, use_cache=False).logits

    @torch.no_grad()
    def body(self, ids: Tensor) -> None:
        """Without the unembedding."""
        self.hf.base_model(input_ids=ids, use_cache=False)

    def backward(self, ids: Tensor) -> None:
        """Forward and backward with the gradient of every weight, as in training."""
        self.hf.requires_grad_(True)
        self._loss(ids, input_ids=ids[:, :-1]).backward()
        self.hf.zero_grad(set_to_none=True)
        self.hf.requires_grad_(False)

    def activations(self, ids: Tensor) -> None:
        """Forward and backward with the gradients of the activations alone."""
        embedded = self.hf.get_input_embeddings()(ids[:, :-1]).detach().requires_grad_()
        torch.autograd.grad(self._loss(ids, inputs_embeds=embedded), embedded)

    def _loss(self, ids: Tensor, **inputs: Tensor) -> Tensor:
        return F.cross_entropy(
            self.hf(**inputs, use_cache=False).logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum"
        )

    def seen(self, ids: Tensor, names: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """By layer: its inputs [tokens, d_in] and the gradients [tokens, d_out] of the summed loss of the text's own
        next tokens at its outputs, float64.
        """
        kept, modules = {}, dict(self.hf.named_modules())

        def keep(name: str, x: Tensor, out: Tensor) -> None:
            out.retain_grad()
            kept[name] = x.detach(), out

        handles = [modules[n].register_forward_hook(lambda _, args, out, n=n: keep(n, args[0], out)) for n in names]
        try:
            embedded = self.hf.get_input_embeddings()(ids[:, :-1]).detach().requires_grad_()
            self._loss(ids, inputs_embeds=embedded).backward()
        finally:
            for handle in handles:
                handle.remove()
        return {n: (x.flatten(0, -2).double(), out.grad.flatten(0, -2).double()) for n, (x, out) in kept.items()}


@contextmanager
def counted(model: Any) -> Iterator[dict[str, int]]:
    """How often the model runs and `torch.linalg.eigh` is called inside."""
    count, eigh = {"model": 0, "eigh": 0}, torch.linalg.eigh

    def add(name: str) -> None:
        count[name] += 1

    handle = model.get_input_embeddings().register_forward_pre_hook(lambda *_: add("model"))
    torch.linalg.eigh = lambda *args, **options: add("eigh") or eigh(*args, **options)
    try:
        yield count
    finally:
        torch.linalg.eigh = eigh
        handle.remove()
