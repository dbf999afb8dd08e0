"""Edited runs of one prompt as rows of one batch, those that begin near each other together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from .writes import Writes

#: What a call of a layer costs beside its tokens, in tokens (measured at 576 dimensions: 20).
ALONE = 20
#: First positions that are told apart when rows are grouped by them.
_STARTS = 64


@dataclass
class RowGroup:
    """Rows that are run together, in the order in which they join.

    Attributes:
        order: the caller's numbers. join: the layer of each. start: the position that all begin at.
        h: their streams, ``[rows, length - start, d_model]``. joined: how many are on their way.
    """

    order: list[int]
    join: list[int]
    start: int
    h: Tensor
    writes: dict[tuple[str, int], Writes]
    joined: int = 0

    def load(self, layer: int, stream: Float[Tensor, "length d_model"]) -> None:
        """Takes the rows that join at a layer from the unedited run's stream before it, and all to its device."""
        self.h = self.h.to(stream.device)
        old = self.joined
        while self.joined < len(self.join) and self.join[self.joined] <= layer:
            self.joined += 1
        self.h[old : self.joined] = stream[self.start :]


def grouped(first: Sequence[int], layers: Sequence[int], length: int, n_layers: int) -> list[list[int]]:
    """Which rows are run together, so that what all compute costs least: each from its group's first position on
    through its own ``layers``, and ``ALONE`` tokens a group and layer.
    """
    grain = -(-length // _STARTS)
    starts = sorted({p // grain * grain for p in first})
    weight = dict.fromkeys(starts, 0)
    for p, n in zip(first, layers):
        weight[p // grain * grain] += n
    # the least cost of the rows that begin at the first so many starts, and where their last group begins
    cost: list[float] = [0]
    begin = [0]
    for end in range(1, len(starts) + 1):
        joined = 0
        best = math.inf, 0
        for k in range(end - 1, -1, -1):
            joined += weight[starts[k]]
            best = min(best, (cost[k] + ALONE * n_layers + (length - starts[k]) * joined, k))
        cost.append(best[0])
        begin.append(best[1])
    groups, end = [], len(starts)
    while end:
        span = range(starts[begin[end]], length + 1 if end == len(starts) else starts[end])
        groups.append([r for r, p in enumerate(first) if p in span])
        end = begin[end]
    return groups
