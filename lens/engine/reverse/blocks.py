"""A written-out block at the points of a run, transposed: from a cotangent of its output to one of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..walk.blocks import Block
from ..walk.forward import no_tap
from .attention import AttentionBack
from .norms import NormBack
from .projections import attending, before_activation, feeding, repeated, slope
from .rules import Rules

#: What is told of each cotangent on its way, by the name of its site.
Told = Callable[[str, Tensor], None]


class ExpertsBack:
    """A mixture of experts at some normed inputs, transposed by autograd: which tokens reach which expert is as it was
    in the run.
    """

    def __init__(self, block: Block, x: Float[Tensor, "n d_model"]):
        assert block.experts is not None
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.out = block.experts(self.x, no_tap)

    def __call__(self, c: Float[Tensor, "cotangent *some d_model"], told: Told) -> Tensor:
        """The cotangents of the normed inputs, one backward pass each."""
        each = [torch.autograd.grad(self.out, self.x, one.flatten(0, -2), retain_graph=True)[0] for one in c]
        return torch.stack(each).view_as(c)


class NeuronsBack:
    """A plain or gated MLP at some normed inputs, transposed."""

    def __init__(self, block: Block, x: Float[Tensor, "n d_model"], shape: tuple[int, ...]):
        self.weights = feeding(block)
        gate, up = before_activation(block, x)
        if gate is None:
            out, self.by_up = slope(block.act, up)
            self.by_gate = None
        else:
            self.by_up, steep = slope(block.act, gate)
            out = self.by_up * up
            self.by_gate = steep.mul_(up).view(*shape, -1)
        self.by_up = self.by_up.view(*shape, -1)
        #: the neurons' activations, kept where what they add up to is normed
        self.out = out if block.post_mlp is not None else None

    def __call__(self, c: Float[Tensor, "cotangent *some d_model"], told: Told) -> Tensor:
        """The cotangents of the normed inputs; tells of ``neuron``."""
        c = c @ self.weights.down
        told("neuron", c)
        if self.by_gate is None or self.weights.gate is None:
            return c.mul_(self.by_up) @ self.weights.up
        into = (c * self.by_up) @ self.weights.up
        into.view(-1, into.shape[-1]).addmm_(c.mul_(self.by_gate).flatten(0, -2), self.weights.gate)
        return into


class WrittenOut:
    """One written-out block at the points of a run.

    Args:
        x: the stream before it, ``[prompt, position, d_model]``; attn: what attention adds to it, likewise.
        rope: the block's rotary table. first: the positions from here on are variables, those before constants.
        apart: every query head has keys and values of its own, of which those of a group have the same weights.
    """

    def __init__(
        self,
        block: Block,
        x: Float[Tensor, "prompt position d_model"],
        attn: Float[Tensor, "prompt position d_model"],
        rope: tuple[Tensor | None, Tensor | None],
        first: int,
        rules: Rules,
        apart: bool = False,
    ):
        self.block, self.weights = block, attending(block)
        normed = block.norm_attn(x)
        late, some = normed[:, first:].flatten(0, 1), (len(x), x.shape[1] - first)
        q = block.q(late).view(*some, -1, block.d_head)
        k, v = (t.view(*x.shape[:2], -1, block.d_head) for t in block.kv(normed.flatten(0, 1)))
        group = q.shape[2] // k.shape[2]
        if apart and group > 1:
            k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
            self.weights = repeated(self.weights, group, block.d_head)
        self.attention = AttentionBack(block, q, k, v, rope, first, rules)
        self.norm_attn = NormBack(block.norm_attn, x[:, first:], rules.freeze_norms)
        into = x[:, first:] if block.parallel else x[:, first:] + attn[:, first:]
        self.norm_mlp = NormBack(block.norm_mlp, into, rules.freeze_norms)
        entering = block.norm_mlp(into).flatten(0, 1)
        self.post_attn, self.post_mlp = (NormBack(None, x, False) for _ in range(2))
        if block.post_attn is not None:
            written = block.o_proj(self.attention.heads().flatten(2))
            self.post_attn = NormBack(block.post_attn, written, rules.freeze_norms)
        if block.experts is not None:
            experts = ExpertsBack(block, entering)
            self.mlp: ExpertsBack | NeuronsBack = experts
            written = experts.out.detach()
        else:
            self.mlp = neurons = NeuronsBack(block, entering, some)
            written = x if neurons.out is None else block.down_proj(neurons.out)
            neurons.out = None
        if block.post_mlp is not None:
            self.post_mlp = NormBack(block.post_mlp, written.view(*some, -1), rules.freeze_norms)

    def __call__(
        self,
        c: Float[Tensor, "cotangent prompt some d_model"],
        told: Told,
        joins: Float[Tensor, "cotangent prompt some d_model"] | None = None,
    ) -> Float[Tensor, "cotangent prompt some d_model"]:
        """The cotangents of the block's input; tells of each site's on the way, last site first. ``joins``: further
        ones at its output that do not pass its MLP.
        """
        told("resid_post", c)
        told("mlp_out", c)
        of_mlp = self.mlp(self.post_mlp(c), told)
        told("mlp_in", of_mlp)
        into = self.norm_mlp(of_mlp)
        if self.block.parallel:
            return self.from_middle(c, told, joins).add_(into)
        return self.from_middle(into.add_(c) if into is not of_mlp else into + c, told, joins)

    def from_middle(
        self,
        mid: Float[Tensor, "cotangent prompt some d_model"],
        told: Told,
        joins: Float[Tensor, "cotangent prompt some d_model"] | None = None,
    ) -> Float[Tensor, "cotangent prompt some d_model"]:
        """The cotangents of the block's input, but for what goes through its MLP, of those of the stream after
        attention (of the block's output, where attention and MLP run side by side); tells of each site's. ``joins``:
        further ones there.
        """
        block = self.block
        if joins is not None:
            mid = mid + joins
        if not block.parallel:
            told("resid_mid", mid)
        told("attn_out", mid)
        cz = self.post_attn(mid) @ self.weights.o
        told("z", cz.unflatten(-1, (-1, block.d_head)))
        parts = self.attention(cz)
        normed: Any = None
        for name, weight in (("v", self.weights.v), ("q", self.weights.q), ("k", self.weights.k)):
            if name in parts:
                told(name, parts[name])
                flat = parts[name].flatten(3).flatten(0, 2)
                normed = flat @ weight if normed is None else normed.addmm_(flat, weight)
        before = self.norm_attn(normed.view_as(mid))
        before += mid
        return before

    def into(
        self, reader: str, c: Tensor, heads: slice | None = None
    ) -> Float[Tensor, "cotangent prompt some *heads d_model"]:
        """The cotangents of the stream before a reader's norm through that reader alone, of those at the reader."""
        if reader == "mlp":
            return self.norm_mlp(c)
        weight = getattr(self.weights, reader).unflatten(0, (-1, self.block.d_head))
        c = c if heads is None else c[:, :, :, heads]
        weight = weight if heads is None else weight[heads]
        return self.norm_attn(torch.einsum("cpshd,hdm->cpshm", c, weight), heads=True)

    def post_norm(self, site: str) -> NormBack:
        """The norm between what is computed at ``attn_out`` or ``mlp_out`` and the stream; of none, nothing."""
        return self.post_attn if site == "attn_out" else self.post_mlp
