"""Norms at the points of a run: their Jacobian's transpose, in one pass over what was normed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..effective import innermost, norm_map
from ..walk.blocks import Norm


def norm_weight(norm: Norm) -> tuple[bool, Tensor, float]:
    """Whether a norm subtracts the mean, its weight as it is applied, in its own kind of numbers, and its epsilon.

    Raises: LayerError: a module that is no layer norm or RMS norm.
    """
    module: Any = norm.module
    if innermost(module) is module and isinstance(getattr(module, "weight", None), Tensor):
        if type(module) is nn.LayerNorm:
            return True, module.weight, module.eps
        if "RMSNorm" in type(module).__name__ and hasattr(module, norm.epsilon):
            return False, 1 + module.weight if norm.one_more else module.weight, getattr(module, norm.epsilon)
    centre, weight, _, epsilon = norm_map(module)
    return centre, weight, epsilon


class NormBack:
    """The transpose of a norm's Jacobian at some inputs, or of the norm with its scale held.

    Args:
        norm: the norm; anything that is none stands for nothing (OLMo 2 has none before its parts).
        x: what was normed, ``[..., width]``.
        frozen: whether the scale is a constant.
    """

    def __init__(self, norm: Any, x: Float[Tensor, "... width"], frozen: bool):
        self.norm: Norm | None = norm if isinstance(norm, Norm) else None
        self.frozen = frozen
        if self.norm is None:
            return
        self.centre, weight, epsilon = norm_weight(self.norm)
        # a scale in half precision would be the largest error of all
        wide = x.dtype if x.dtype == torch.float64 else torch.float32
        x = x.to(wide)
        x = x - x.mean(-1, keepdim=True) if self.centre else x
        self.scale = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        self.weight = weight.to(x)
        self.unit = x * self.scale

    def __call__(self, c: Float[Tensor, "*more width"], heads: bool = False) -> Float[Tensor, "*more width"]:
        """The cotangent before the norm of one behind it, ``[cotangent, ..., width]``; ``heads``: there is one more
        axis before the width.
        """
        if self.norm is None:
            return c
        unit, scale = (t.unsqueeze(-2) if heads else t for t in (self.unit, self.scale))
        u = c.to(unit.dtype) * self.weight
        if not self.frozen:
            u = torch.addcmul(u, unit, (u * unit).mean(-1, keepdim=True), value=-1)
        if self.centre:
            u -= u.mean(-1, keepdim=True)
        return u.mul_(scale).to(c.dtype)

    def behind(self, weight: Float[Tensor, "out width"]) -> Float[Tensor, "out width"]:
        """A linear map's weight with what of the transpose is alike at all inputs: the norm's weight, and its centring.
        What is left of it at an input is `at`.
        """
        if self.norm is None:
            return weight
        weight = weight * self.weight
        return weight.sub_(weight.mean(-1, keepdim=True)) if self.centre else weight

    def at(self, *index: int) -> tuple[Tensor | None, Tensor | float]:
        """What of the transpose is an input's own: ``u -> scale * (u - unit * mean(u * unit))``; no ``unit`` where the
        scale is held, and nothing at all without a norm.
        """
        if self.norm is None:
            return None, 1.0
        return None if self.frozen else self.unit[index], self.scale[index]

    def forward(self, delta: Float[Tensor, "*more width"]) -> Float[Tensor, "*more width"]:
        """What the norm makes of a small change of its input: the Jacobian itself."""
        if self.norm is None:
            return delta
        d = delta.to(self.unit.dtype)
        d = d - d.mean(-1, keepdim=True) if self.centre else d
        if not self.frozen:
            d = d - self.unit * (d * self.unit).mean(-1, keepdim=True)
        return (d * self.scale * self.weight).to(delta.dtype)


class HeldNorm(Norm):
    """A norm whose scale is a constant wherever a gradient is taken: its numbers are the norm's own."""

    def __call__(self, x: Tensor) -> Tensor:
        """The normed stream, [..., width]."""
        out = super().__call__(x.detach())
        if not x.requires_grad:
            return out
        change = NormBack(Norm(self.module), x.detach(), True)
        return out + change.forward(x - x.detach())


@contextlib.contextmanager
def held(decoder: Any, wanted: bool) -> Iterator[None]:
    """Within the block a decoder's final norm has a scale that gradients do not see."""
    if not wanted:
        yield
        return
    norm = decoder.norm
    decoder.norm = HeldNorm(norm.module)
    try:
        yield
    finally:
        decoder.norm = norm
