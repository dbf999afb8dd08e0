"""Norms as linear maps, and heads' weights as they are applied now: what read-outs take apart a stream with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..engine.effective import linear_bias, norm_map
from ..engine.model import Model


def value_weight(block: Any) -> Float[Tensor, "n_kv_heads d_model d_head"]:
    """``W_V`` by key/value head, in the TransformerLens layout, as it is applied now (with adapters, where there are
    some).
    """
    return block.value_weight().unflatten(0, (-1, block.d_head)).transpose(1, 2)


def kv_heads(decoder: Model, heads: Sequence[int] | np.ndarray) -> np.ndarray:
    """The key/value head that each query head reads; -1 where keys and values were not found by head."""
    at = np.asarray(heads, dtype=int)
    return at // (decoder.n_heads // decoder.n_kv_heads) if decoder.n_kv_heads else np.full_like(at, -1)


def norm_parts(norm: Any) -> tuple[bool, Tensor | None, float]:
    """Whether a norm subtracts the mean, its weight in float32 (None: there is no norm here) and its epsilon."""
    module = getattr(norm, "module", None)
    if module is None:
        return False, None, 0.0
    centre, weight, _, epsilon = norm_map(module)
    weight = weight.to(getattr(norm, "home", weight.device))
    factor = getattr(norm, "factor", 1.0)
    return centre, weight if factor == 1.0 else weight * factor, epsilon


def _centred(x: Tensor, wanted: bool) -> Tensor:
    return x - x.mean(-1, keepdim=True) if wanted else x


def norm_scale(norm: Any, whole: Float[Tensor, "... d_model"]) -> Float[Tensor, "... 1"]:
    """1 / root mean square (or standard deviation), as the norm divides ``whole`` by it; 1 where there is no norm."""
    centre, weight, epsilon = norm_parts(norm)
    if weight is None:
        return torch.ones(*whole.shape[:-1], 1, device=whole.device)
    return (_centred(whole.float(), centre).square().mean(-1, keepdim=True) + epsilon).rsqrt()


def through_norm(norm: Any, part: Float[Tensor, "... d_model"], scale: Any = 1.0) -> Float[Tensor, "... d_model"]:
    """What a norm with a frozen scale makes of one addend of its input: linear, without the norm's bias."""
    centre, weight, _ = norm_parts(norm)
    return part.float() if weight is None else _centred(part.float(), centre) * scale * weight


def back_through_norm(
    norm: Any, direction: Float[Tensor, "... d_model"], scale: Any = 1.0
) -> Float[Tensor, "... d_model"]:
    """The transpose of ``through_norm``: the direction before the norm whose product with an addend is ``direction``'s
    after it.
    """
    centre, weight, _ = norm_parts(norm)
    return direction if weight is None else _centred(direction * weight * scale, centre)


def module_bias(module: Any) -> Tensor | None:
    """The bias that a linear layer or norm applies now, in float32, or None."""
    if module is None:
        return None
    if not isinstance(module, nn.Module):
        inner = getattr(module, "module", None)
        bias = None if inner is None else norm_map(inner)[2]
        return None if bias is None else bias.to(getattr(module, "home", bias.device)) * getattr(module, "factor", 1.0)
    bias = linear_bias(module)
    return None if bias is None else bias.float()


def before_post_norm(block: Any, z: Tensor) -> Tensor:
    """The attention output ``[n, d_model]`` of all heads together, before a post-norm."""
    out = torch.einsum("nhd,hdm->nm", z, block.output_weight().float())
    bias = block.output_bias()
    return out if bias is None else out + bias


def post_norm_scale(block: Any, z: Float[Tensor, "n n_heads d_head"]) -> Float[Tensor, "n 1"]:
    """What a block's post-norm (OLMo 2) multiplies its whole attention output by; 1 where it has none."""
    if block.post_attn is None:
        return torch.ones(len(z), 1, device=z.device)
    return norm_scale(block.post_attn, before_post_norm(block, z))
