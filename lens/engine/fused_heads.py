"""Queries, keys and values that one projection makes, or queries and a gate: how its output is laid out, told by
arithmetic.

The first token of a causal model sees nothing but itself: what its heads read there are its own values. The layout
whose values are that is the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .effective import innermost, is_conv1d, shape

View = Callable[[Tensor], Tensor]


def layouts(heads: int, kv: int, d_head: int) -> Iterator[dict[str, View]]:
    """Ways in which a projection to ``(heads + 2 kv) * d_head`` may hold q, k and v: views ``[..., heads, d_head]``."""
    if kv == heads:
        # thirds (GPT-2, MPT), and head by head (NeoX, BLOOM, Falcon)
        yield {s: _part((3, heads, d_head), -3, i) for i, s in enumerate("qkv")}
        yield {s: _part((heads, 3, d_head), -2, i) for i, s in enumerate("qkv")}
    begin = {"q": (0, heads), "k": (heads, kv), "v": (heads + kv, kv)}
    # one after the other (Phi-3, GLM-4, multi-query Falcon)
    yield {s: _stretch(b, n, d_head) for s, (b, n) in begin.items()}
    if 1 < kv < heads:
        # group by group: its queries, its key, its value (Falcon's new architecture)
        per = heads // kv

        yield {
            "q": _Queries(kv, per, d_head),
            "k": _part((kv, per + 2, d_head), -2, per),
            "v": _part((kv, per + 2, d_head), -2, per + 1),
        }


def _part(sizes: tuple[int, ...], axis: int, number: int) -> View:
    """Of the last axis cut into axes of these sizes, one place of one of them."""
    return lambda x: x.unflatten(-1, sizes).select(axis, number)


def _stretch(first: int, heads: int, d_head: int) -> View:
    """Some heads that follow each other."""
    return lambda x: x.narrow(-1, first * d_head, heads * d_head).unflatten(-1, (heads, d_head))


@dataclass(frozen=True)
class _Queries:
    """The queries of all groups: no one stride reaches them, so that this is no view and is written otherwise."""

    kv: int
    per: int
    d_head: int

    def _grouped(self, x: Tensor) -> Tensor:
        groups: Tensor = x.unflatten(-1, (self.kv, self.per + 2, self.d_head))
        return groups[..., : self.per, :]

    def __call__(self, x: Tensor) -> Tensor:
        return self._grouped(x).flatten(-3, -2)

    def write(self, x: Tensor, new: Tensor) -> None:
        self._grouped(x).copy_(new.unflatten(-2, (self.kv, self.per)))


def gated(
    q: Float[Tensor, "1 n width2"], v: Float[Tensor, "1 n width1"], z: Float[Tensor, "1 n width"], d_head: int
) -> View | None:
    """The queries' part of a projection that also makes a gate on what heads read (Qwen3-Next), or None: told by the
    first token, whose heads read their own values times the gate.

    Args:
        q, v: what the projections of queries and of values returned. z: what the output projection read.
    """
    heads = z.shape[-1] // d_head
    read = z[0, 0].unflatten(-1, (heads, d_head)).double()
    own = v[0, 0].unflatten(-1, (-1, d_head)).double()
    own = own.repeat_interleave(heads // len(own), 0)
    near = {torch.float32: 1e-5, torch.float64: 1e-9}.get(z.dtype, 2e-2) * float(read.abs().max())
    for sizes, axis in (((heads, 2, d_head), -2), ((2, heads, d_head), -3)):
        for part in (0, 1):
            gate = q[0, 0].unflatten(-1, sizes).select(axis, 1 - part).double().sigmoid()
            if float((own * gate - read).abs().max()) <= near:

                def queries(x: Tensor, sizes: tuple[int, ...] = sizes, axis: int = axis, part: int = part) -> Tensor:
                    half: Tensor = x.unflatten(-1, sizes).select(axis, part)
                    return half

                return queries
    return None


def clip_of(config: Any) -> float | None:
    """What a model clips its queries, keys and values at."""
    inner = getattr(config, "attn_config", None)
    return getattr(config, "clip_qkv", None) or getattr(inner, "clip_qkv", None) or None


def fused(
    attn: nn.Module,
    heads: int,
    d_head: int,
    went: Callable[[nn.Module], Tensor | None],
    z: Float[Tensor, "1 n width"],
    clip: float | None = None,
) -> tuple[nn.Module, dict[str, View], int] | None:
    """The module that projects to q, k and v at once, a view for each, and the number of key/value heads.

    Args:
        went: what a module returned on the probe, where it was called once. z: what the output projection read there.
        clip: what the model clips them at.
    """
    for module in attn.modules():
        if not (isinstance(innermost(module), nn.Linear) or is_conv1d(module)):
            continue
        out, width = went(module), shape(module)[0]
        if out is None or width % d_head or (width // d_head - heads) % 2:
            continue
        kv = (width // d_head - heads) // 2
        if kv < 1 or heads % kv:
            continue
        read = z[0, 0].unflatten(-1, (heads, d_head))
        near = {torch.float32: 1e-5, torch.float64: 1e-9}.get(z.dtype, 2e-2) * float(read.abs().max())
        for views in layouts(heads, kv, d_head):
            own = views["v"](out.reshape(1, -1, width))[0, 0].repeat_interleave(heads // kv, 0)
            own = own if clip is None else own.clamp(-clip, clip)
            if float((own - read).abs().max()) <= near:
                return module, views, kv
    return None
