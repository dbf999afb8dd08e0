"""Which modules write into the residual stream of a block: confirmed by putting noise in the place of what they return.

What two modules return may sum to what a block adds within rounding and yet not be what is added: before a post-norm,
for instance, in a low precision or beside one very large activation. A module whose output is added moves the block's
output by exactly what is put there instead, whatever the precision; no other module does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .changes import Undo, temporary

if TYPE_CHECKING:
    from .anatomy import Anatomy

#: Roundings that may lie between a sum and its parts, in units of the number format's own step.
_ROUNDINGS = 8


@dataclass(frozen=True)
class Ends:
    """The modules whose outputs, times one factor, sum to what a block adds: attention's and the MLP's."""

    attn: nn.Module
    mlp: nn.Module
    scale: float


def candidates(
    firsts: Iterable[nn.Module],
    seconds: Sequence[nn.Module],
    outputs: dict[nn.Module, Float[Tensor, "1 n d"]],
    x: Float[Tensor, "1 n d"],
    y: Float[Tensor, "1 n d"],
    factors: Sequence[float],
) -> list[Ends]:
    """The pairs of modules that may be a block's ends, likeliest first: outputs that add up to ``y - x``, roughly.

    Args:
        firsts, seconds: modules that may hold what attention and the MLP add.
        outputs: what each returned. x, y: the stream before and after the block.
        factors: what the model may multiply both by.
    """
    found, added = [], (y - x).double()
    rough = {torch.float32: 1e-5, torch.float64: 1e-5}.get(x.dtype, 3e-2)
    for first in firsts:
        for second in seconds:
            if first is second or first not in outputs or second not in outputs:
                continue
            both = outputs[first].double() + outputs[second].double()
            scale = _factor(added, both, factors, rough)
            largest = max(1e-12, x.abs().max().item(), both.abs().max().item())
            near = (added - scale * both).abs().max() <= rough * largest
            if near and scale > 1e-3:
                found.append(Ends(first, second, scale))
    return found


def confirmed(
    anatomy: "Anatomy", wanted: Sequence[list[Ends]], put: Callable[..., Any], factors: Sequence[float]
) -> list[Ends | None]:
    """Of each layer's candidates the first that passes, or None: one forward on the probe for all layers at a time.

    Args:
        wanted: candidates by layer. put: ``anatomy.hook``. factors: as for ``candidates``.
    """
    left, done = [list(c) for c in wanted], [None] * len(wanted)
    while any(left):
        trials = [_Trial(anatomy.layers[l], c.pop(0), l) if c else None for l, c in enumerate(left)]
        with temporary(anatomy.hf) as here, torch.no_grad():
            for trial in trials:
                if trial is not None:
                    trial.install(put, here)
            anatomy.forward(anatomy.probe_ids())
        for l, trial in enumerate(trials):
            if trial is not None and (ends := trial.passed(factors)) is not None:
                done[l], left[l] = ends, []
    return done


class _Trial:
    """One pair of modules of one layer, whose outputs are noise for one forward."""

    def __init__(self, block: nn.Module, ends: Ends, seed: int):
        self.block, self.ends = block, ends
        self.generator = torch.Generator().manual_seed(seed)
        self.x: Tensor | None = None
        self.y: Tensor | None = None
        self.noise: dict[nn.Module, Tensor] = {}

    def install(self, put: Callable[..., Any], here: Undo) -> None:
        here.put(lambda: put(self.block, "in", self._before).remove)
        here.put(lambda: put(self.ends.attn, "out", self._instead(self.ends.attn)).remove)
        here.put(lambda: put(self.ends.mlp, "out", self._instead(self.ends.mlp)).remove)
        here.put(lambda: put(self.block, "out", self._after).remove)

    def _before(self, x: Tensor) -> None:
        self.x = x.detach().clone()

    def _after(self, y: Tensor) -> None:
        self.y = y.detach().clone()

    def _instead(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        def through(out: Tensor) -> Tensor:
            # rows of unlike sizes: a norm that came after would make them alike
            rows = torch.randn(out.shape, generator=self.generator).flatten(0, -2)
            rows = rows * torch.linspace(0.5, 2.0, len(rows))[:, None]
            size = self.x.float().square().mean().sqrt().item() or 1.0
            self.noise[module] = (rows.view(out.shape) * size).to(out)
            # a copy: some blocks add to what a module returned in place
            return self.noise[module].clone()

        return through

    def passed(self, factors: Sequence[float]) -> Ends | None:
        if self.x is None or self.y is None or len(self.noise) != 2:
            return None
        x, y = self.x.double(), self.y.double()
        first, second = (self.noise[m].reshape(x.shape).double() for m in (self.ends.attn, self.ends.mlp))
        step = torch.finfo(self.x.dtype).eps
        scale = _factor(y - x, first + second, factors, 1e-5 if step < 1e-5 else 2e-2)
        allowed = _ROUNDINGS * step * (x.abs() + y.abs() + scale * (first.abs() + second.abs()))
        right = ((y - x - scale * (first + second)).abs() <= allowed).all()
        return Ends(self.ends.attn, self.ends.mlp, scale) if right and scale > 1e-3 else None


def _factor(added: Tensor, both: Tensor, factors: Sequence[float], near: float) -> float:
    """The factor on ``both`` that comes nearest to ``added``: the model's own one where that is what the fit says."""
    norm = both.square().sum().item()
    fitted = 1.0 if norm == 0 else (added * both).sum().item() / norm
    return next((f for f in factors if math.isclose(fitted, f, rel_tol=near)), fitted)
