"""An MLP's Jacobian at a token as one matrix: of many cotangents it saves the passes through the neurons.

A row of cotangents through a plain MLP of ``m`` neurons costs ``4 d m`` operations a token; the MLP's Jacobian, norm
included, costs ``2 d^2 m`` once and then ``2 d^2`` a row. With as many rows as the stream has dimensions and
``m = 4 d`` that is ``10 d^3`` in place of ``16 d^3``.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor

from .blocks import NeuronsBack, WrittenOut

#: Sites between a block's output and the stream that its attention adds to: told of where each row goes through them.
_INSIDE = frozenset({"resid_post", "mlp_out", "neuron", "mlp_in"})
#: The least share of operations that must be saved: below it, two products more a token are not worth their calls.
LEAST = 0.05


def pays(back: WrittenOut, rows: int, sites: Collection[str]) -> bool:
    """Whether a layer's MLP is better formed for so many rows of cotangents: fewer operations, nothing asked of inside,
    and numbers that hold the product's rounding (half precision would round it twice).
    """
    if not isinstance(back.mlp, NeuronsBack) or not _INSIDE.isdisjoint(sites):
        return False
    if back.block.parallel or back.block.post_mlp is not None:
        return False
    weights = back.mlp.weights
    if weights.down.dtype not in (torch.float32, torch.float64):
        return False
    d, m = weights.down.shape
    ways = 1 if weights.gate is None else 2
    through, formed = rows * m * (1 + ways), d * m * ways + rows * d
    return formed < (1 - LEAST) * through


def carry(back: WrittenOut, state: Float[Tensor, "cotangent prompt some d_model"]) -> None:
    """Carries cotangents of a block's output to the stream between attention and MLP, in their place."""
    mlp, norm = back.mlp, back.norm_mlp
    assert isinstance(mlp, NeuronsBack)
    down, up, gate = mlp.weights.down, mlp.weights.up, mlp.weights.gate
    up, gate = norm.behind(up), None if gate is None else norm.behind(gate)
    scaled, matrix = torch.empty_like(down), down.new_empty(down.shape[0], up.shape[1])
    for prompt in range(state.shape[1]):
        for token in range(state.shape[2]):
            unit, scale = norm.at(prompt, token)
            torch.mul(down, mlp.by_up[prompt, token] * scale, out=scaled)
            torch.mm(scaled, up, out=matrix)
            if gate is not None:
                assert mlp.by_gate is not None
                torch.mul(down, mlp.by_gate[prompt, token] * scale, out=scaled)
                matrix.addmm_(scaled, gate)
            if unit is not None:
                matrix.addr_(matrix @ unit, unit, alpha=-1 / len(unit))
            c = state[:, prompt, token]
            c += c @ matrix
