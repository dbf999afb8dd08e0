"""The gradient of the next-token loss where the final hidden state meets the head, a few tokens at a time.

A piece's table of logits, [tokens, vocabulary], is tens of megabytes. On a CPU such memory goes back to the system with
the piece and is cleared page by page for the next, so that there a plain head's table stays, piece after piece.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..engine.drawing import inverted
from ..engine.effective import is_plain
from ..scoring.likelihood import Likelihood


class Ending:
    """What comes after the body of a model: from hidden states to labels and back to their gradient.

    `drawn`: labels are drawn from the model by numbers in [0, 1) that come in their place; else they come as tokens.
    """

    def __init__(self, like: Likelihood, drawn: bool):
        self.like, self.drawn = like, drawn
        self._table: Tensor | None = None

    def __call__(
        self, flat: Float[Tensor, "tokens width"], want: Float[Tensor, " tokens"] | Int[Tensor, " tokens"]
    ) -> Float[Tensor, "tokens width"]:
        """The gradient of the sum of -ln p(label) at hidden states, or at whole logits where the model gives these.

        Cost: the head's product there and back. Memory: some tables of a piece; of a plain head on a CPU one, which is
            kept.
        """
        like, back, want = self.like, torch.empty_like(flat), want.to(flat.device)
        whole, plain = like.way == "whole", self._is_product(flat)
        # pieces of nearly one length: the table of the longest is no longer than it must be
        piece = math.ceil(len(flat) / math.ceil(len(flat) / like.piece))
        for a in range(0, len(flat), piece):
            at = slice(a, a + piece)
            h = flat[at].detach()
            if plain:
                self._product(h, want[at], back[at])
                continue
            logits = h if whole else like.logits(h.requires_grad_())
            p = self._off(logits.detach().float().softmax(-1), want[at]).to(flat.dtype)
            back[at] = p if whole else torch.autograd.grad(logits, h, p)[0]
        return back

    def _is_product(self, flat: Tensor) -> bool:
        """Whether logits are a plain float32 product of the hidden states on a CPU, times a factor at most."""
        head = self.like.head
        return (
            self.like.way != "whole"
            and self.like.cap is None
            and isinstance(head, nn.Linear)
            and is_plain(head)
            and flat.dtype == head.weight.dtype == torch.float32
            and flat.device.type == head.weight.device.type == "cpu"
        )

    @torch.no_grad()
    def _product(self, h: Tensor, want: Tensor, back: Tensor) -> None:
        weight, bias, scale = self.like.head.weight, self.like.head.bias, self.like.scale
        if self._table is None or len(self._table) < len(h):
            self._table = h.new_empty(len(h), len(weight))
        logits = self._table[: len(h)]
        if bias is None:
            torch.mm(h, weight.T, out=logits)
        else:
            torch.addmm(bias, h, weight.T, out=logits)
        if scale is not None:
            logits.mul_(scale)
        p = self._off(logits.sub_(logits.amax(-1, keepdim=True)).exp_(), want)
        if scale is not None:
            p.mul_(scale)
        torch.mm(p, weight, out=back)

    def _off(self, weights: Float[Tensor, "n k"], want: Tensor) -> Float[Tensor, "n k"]:
        """Of what chances are shares of, these less one at the label, in place: the loss's gradient at the logits."""
        label, total = inverted(weights, want) if self.drawn else (want, weights.sum(-1))
        p = weights.div_(total[:, None].to(weights.dtype))
        p[torch.arange(len(p), device=p.device), label] -= 1.0
        return p
