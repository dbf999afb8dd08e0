"""Queries, keys and values that one projection makes: how its output is laid out, told by arithmetic.

The first token of a causal model sees nothing but itself: what its heads read there are its own values. The layout
whose values are that is the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .effective import innermost, is_conv1d, shape

View = Callable[[Tensor], Tensor]


def layouts(heads: int, kv: int, d_head: int) -> Iterator[dict[str, View]]:
    """Ways in which a projection to ``(heads + 2 kv) * d_head`` may hold q, k and v: views ``[..., heads, d_head]``."""
    if kv == heads:
        # thirds (GPT-2, MPT), and head by head (NeoX, BLOOM, Falcon)
        yield {s: lambda x, i=i: x.unflatten(-1, (3, heads, d_head)).select(-3, i) for i, s in enumerate("qkv")}
        yield {s: lambda x, i=i: x.unflatten(-1, (heads, 3, d_head)).select(-2, i) for i, s in enumerate("qkv")}
    begin = {"q": (0, heads), "k": (heads, kv), "v": (heads + kv, kv)}
    # one after the other (Phi-3, GLM-4, multi-query Falcon)
    yield {
        s: lambda x, b=b, n=n: x.narrow(-1, b * d_head, n * d_head).unflatten(-1, (n, d_head))
        for s, (b, n) in begin.items()
    }
    if 1 < kv < heads:
        # group by group: its queries, its key, its value (Falcon's new architecture)
        per = heads // kv

        def grouped(x: Tensor) -> Tensor:
            return x.unflatten(-1, (kv, per + 2, d_head))

        def queries(x: Tensor) -> Tensor:
            return grouped(x)[..., :per, :].flatten(-3, -2)

        # no one stride reaches the heads of all groups, so that this is no view: it is written otherwise
        queries.write = lambda x, new: grouped(x)[..., :per, :].copy_(new.unflatten(-2, (kv, per)))
        yield {"q": queries, "k": lambda x: grouped(x)[..., per, :], "v": lambda x: grouped(x)[..., per + 1, :]}


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
