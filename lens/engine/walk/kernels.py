"""Torch's fused attention on a CPU, asked for what its public function does not hand out: the sums of the softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from .blocks import Block


def serves(block: Block, device: torch.device, dtype: torch.dtype, *, window: bool = False) -> bool:
    """Whether the kernel does what a block's attention does: on a CPU in float32, where that is plain and no gradient
    is asked for. `window`: a mask may say what a query sees.
    """
    plain = block.cap is None and block.sinks is None and (window or block.window is None)
    # not public: without it the scores are written out
    plain = plain and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    return plain and device.type == "cpu" and dtype == torch.float32 and not torch.is_grad_enabled()


def fused(
    q: Float[Tensor, "batch kv_heads queries d_head"],
    k: Float[Tensor, "batch kv_heads keys d_head"],
    v: Float[Tensor, "batch kv_heads keys d_head"],
    scaling: float,
    bias: Float[Tensor, "batch 1 queries keys"] | None = None,
) -> tuple[Float[Tensor, "batch queries kv_heads d_head"], Float[Tensor, "batch queries kv_heads"]]:
    """What queries read of keys, and the logarithm of what their weights are divided by; `bias` is added to scores."""
    z, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=bias, scale=scaling)
    return z.transpose(1, 2), total.transpose(1, 2)
