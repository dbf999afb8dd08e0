"""The average Jacobian over one prompt's positions, by cotangents carried back over its run."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ...engine.memory import budget
from ...engine.model import Model
from ...engine.reverse import Reverse
from ...engine.runs import Runs

#: Of a call's memory, the share that all rows of cotangents may take; if they do, an MLP can be formed as one matrix.
TOGETHER = 0.6


def rows_of(
    view: Model,
    ids: Tensor,
    skip: int,
    directions: Float[Tensor, "row d_model"] | None = None,
    memory_mb: float | None = None,
) -> Iterator[tuple[int, slice, Float[Tensor, "row d_model"]]]:
    """What directions of the last stream are in each earlier one, summed over the later positions and averaged over the
    earlier ones.

    Args:
        skip: positions before this are left out, and the last one. directions: rows of cotangents; by default every
            dimension of the stream, whose rows are the Jacobian's.

    Yields: the layer whose output it is, which rows, and these, in float32 (float64 of a model in that).

    Cost: a backward pass without weights' gradients a row, over the positions that count.
    """
    runs = Runs.record(view, [ids], ())
    some = len(ids) - 1 - skip
    wide = torch.float64 if runs.final.dtype == torch.float64 else torch.float32
    count = view.d_model if directions is None else len(directions)
    reverse = Reverse(runs, start=skip, stop=len(ids) - 1)
    # each layer's derivatives are made once for all rows that are run back together
    one, room = some * view.d_model * runs.final.dtype.itemsize, budget(view, memory_mb)
    whole = count * one <= TOGETHER * (room.bytes - runs.nbytes)
    size = count if whole else max(1, room.chunk(runs.nbytes) // one)
    for begin in range(0, count, size):
        rows = slice(begin, min(count, begin + size))
        cotangents = runs.final.new_zeros(rows.stop - begin, 1, some, view.d_model)
        if directions is None:
            at = torch.arange(rows.stop - begin, device=cotangents.device)
            cotangents[at, :, :, at + begin] = 1
        else:
            cotangents += directions[rows, None, None].to(cotangents)
        for step in reverse.layers(cotangents, last=1):
            yield step.layer - 1, rows, step.resid_pre[:, 0].to(wide).sum(1).div_(some).cpu()
