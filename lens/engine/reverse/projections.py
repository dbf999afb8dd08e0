"""The weights of a block that cotangents are multiplied by, whatever layers hold them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ..effective import linear_map
from ..walk.blocks import Block
from ..walk.fused import GPT2Block, NeoXBlock, Phi3Block, part


class Attending(NamedTuple):
    """Weights of attention, ``[out, in]`` each, heads one after another."""

    q: Float[Tensor, "n_heads*d_head d_model"]
    k: Float[Tensor, "n_kv_heads*d_head d_model"]
    v: Float[Tensor, "n_kv_heads*d_head d_model"]
    o: Float[Tensor, "d_model n_heads*d_head"]


class Feeding(NamedTuple):
    """Weights of a plain or gated MLP, ``[out, in]`` each; no gate in a plain one."""

    gate: Float[Tensor, "d_mlp d_model"] | None
    up: Float[Tensor, "d_mlp d_model"]
    down: Float[Tensor, "d_model d_mlp"]


def attending(block: Block) -> Attending:
    """The weights of a block's attention as they are applied now.

    Raises: LayerError: under an adapter that applies no fixed weight.
    """
    o = linear_map(block.o_proj, "attention output")[0]
    if isinstance(block, GPT2Block):
        q, k, v = linear_map(block.fused, "queries, keys and values")[0].split(block.d_model)
    elif isinstance(block, NeoXBlock):
        fused = linear_map(block.fused, "queries, keys and values")[0]
        q, k, v = rearrange(fused, "(h qkv d) m -> qkv (h d) m", qkv=3, d=block.d_head).unbind(0)
    elif isinstance(block, Phi3Block):
        first, second, _ = block._ends
        q, k, v = linear_map(block.fused, "queries, keys and values")[0].tensor_split((first, second))
    else:
        q, k, v = (
            linear_map(p, n)[0]
            for p, n in ((block.q_proj, "queries"), (block.k_proj, "keys"), (block.v_proj, "values"))
        )
    return Attending(q, k, v, o)


def repeated(weights: Attending, group: int, d_head: int) -> Attending:
    """The same with keys and values of every query head written out, those of a group alike."""
    k, v = (
        weight.unflatten(0, (-1, d_head)).repeat_interleave(group, 0).flatten(0, 1) for weight in (weights.k, weights.v)
    )
    return Attending(weights.q, k, v, weights.o)


def feeding(block: Block) -> Feeding:
    """The weights of a block's MLP as they are applied now; raises as `attending`."""
    down = linear_map(block.down_proj, "MLP output")[0]
    if isinstance(block, Phi3Block):
        both = linear_map(block.gate_up, "gates and inputs of neurons")[0]
        return Feeding(both[: block.d_mlp], both[block.d_mlp :], down)
    gate = getattr(block, "gate", None)
    return Feeding(None if gate is None else linear_map(gate, "gates")[0], linear_map(block.up, "neurons")[0], down)


def before_activation(block: Block, x: Float[Tensor, "n d_model"]) -> tuple[Tensor | None, Tensor]:
    """What enters each neuron: ``(gate or None, up)``, ``[n, d_mlp]`` each. Without a gate, ``up`` is activated."""
    if isinstance(block, Phi3Block):
        return part(block.gate_up, x, 0, block.d_mlp), part(block.gate_up, x, block.d_mlp, 2 * block.d_mlp)
    gate = getattr(block, "gate", None)
    return None if gate is None else gate(x), block.up(x)


def slope(act: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """An activation function and its derivative, elementwise."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = act(leaf)
        (derivative,) = torch.autograd.grad(out, leaf, torch.ones_like(out))
    return out.detach(), derivative
