"""The gradient of the next-token loss where the final hidden state meets the head, a few tokens at a time.

A piece's table of logits, [tokens, vocabulary], is tens of megabytes. On a CPU such memory goes back to the system with
the piece and is cleared page by page for the next, so that there a plain head's tables stay, piece after piece.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..engine.effective import is_plain
from ..scoring.likelihood import Likelihood


class Ending:
    """What comes after the body of a model: from hidden states to labels and back to their gradient.

    `drawn`: labels are drawn from the model by numbers in [0, 1) that come in their place; else they come as tokens.
    """

    def __init__(self, like: Likelihood, drawn: bool):
        self.like, self.drawn = like, drawn
        self._tables: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, flat: Float[Tensor, "tokens width"], want: Float[Tensor, " tokens"] | Int[Tensor, " tokens"]
    ) -> Float[Tensor, "tokens width"]:
        """The gradient of the sum of -ln p(label) at hidden states, or at whole logits where the model gives these.

        Cost: the head's product there and back. Memory: some tables of a piece; of a plain head on a CPU two, which are
            kept.
        """
        like, back, want = self.like, torch.empty_like(flat), want.to(flat.device)
        whole, plain = like.way == "whole", self._is_product(flat)
        for a in range(0, len(flat), like.piece):
            at = slice(a, a + like.piece)
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
        if self._tables is None:
            shape = self.like.piece, len(weight)
            self._tables = torch.empty(shape), torch.empty(shape)
        logits, p = (table[: len(h)] for table in self._tables)
        if bias is None:
            torch.mm(h, weight.T, out=logits)
        else:
            torch.addmm(bias, h, weight.T, out=logits)
        if scale is not None:
            logits.mul_(scale)
        self._off(torch.softmax(logits, -1, out=p), want, logits)
        if scale is not None:
            p.mul_(scale)
        torch.mm(p, weight, out=back)

    def _off(self, p: Tensor, want: Tensor, room: Tensor | None = None) -> Tensor:
        """Probabilities less one at the label, in place: the loss's gradient at the logits."""
        label = sampled(p, want, room) if self.drawn else want
        p[torch.arange(len(p), device=p.device), label] -= 1.0
        return p


def sampled(p: Float[Tensor, "n k"], u: Float[Tensor, " n"], room: Tensor | None = None) -> Int[Tensor, " n"]:
    """One index a row of probabilities, by inverting the distribution function at u in [0, 1).

    room: a tensor of p's shape and type that may be written over.
    """
    reached = p.cumsum(-1) if room is None else torch.cumsum(p, -1, out=room)
    return torch.searchsorted(reached, (u * reached[:, -1])[:, None], right=True)[:, 0].clamp_(max=p.shape[-1] - 1)
