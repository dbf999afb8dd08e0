"""Drawing one of many: where the sum of weights passes a number, without a table of their running sums."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Weights that are summed together first.
_BLOCK = 256


def inverted(
    weights: Float[Tensor, "rows k"], u: Float[Tensor, " rows"]
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """By row the first index at which the running sum of weights (none below 0) passes the share `u`, in [0, 1), of
    their sum, and that sum, in float64 where the device has it. Sums run over blocks of weights, then within the block
    in which the share lies.

    A row whose sum is 0 or no number has no meaning; look at the sums.

    Cost: one pass over the weights, and 256 of them again.
    """
    k, kind = weights.shape[1], torch.float32 if weights.device.type == "mps" else torch.float64
    full = k - k % _BLOCK
    sums = weights[:, :full].unflatten(1, (-1, _BLOCK)).sum(-1)
    if full < k:
        sums = torch.cat([sums, weights[:, full:].sum(-1, keepdim=True)], 1)
    passed = sums.to(kind).cumsum(-1)
    total = passed[:, -1:]
    at = u.to(kind)[:, None] * total
    block = torch.searchsorted(passed, at, right=True).clamp(max=passed.shape[1] - 1)
    before = torch.where(block > 0, passed.gather(1, (block - 1).clamp(min=0)), 0.0)
    where = block * _BLOCK + torch.arange(_BLOCK, device=weights.device)
    inside = weights.gather(1, where.clamp(max=k - 1)).to(kind).masked_fill_(where >= k, 0.0).cumsum(-1)
    # rounding may leave the share behind the block's last weight that is not 0: it is that one then
    last = torch.searchsorted(inside, inside[:, -1:].contiguous())
    found = torch.minimum(torch.searchsorted(inside, at - before, right=True), last)
    return (block * _BLOCK + found)[:, 0].clamp(max=k - 1), total[:, 0]
