"""Batches of a training: rows drawn by the order of the recipe, or anew for each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..arguments import Size, door
from ..engine.lengths import require_readable
from .recipe import Rows, TrainingError


@door(TrainingError)
@dataclass(frozen=True, eq=False)
class Batch:
    """What one step trains on: `index` [b], the numbers of its rows; `ids` and `targets` [b, length]; `lengths` [b];
    `step`, counted from 0, of `steps`.
    """

    index: Int[Tensor, " b"]
    ids: Int[Tensor, "b length"]
    targets: Bool[Tensor, "b length"]
    lengths: Int[Tensor, " b"]
    step: Size
    steps: Size


#: Draws the rows of a step anew: ``(step, generator) -> Rows``.
Sampler = Callable[[int, torch.Generator], Rows]


def fitting(core: Any, rows: Rows) -> Rows:
    """The rows, of tokens that a model has and no longer than it reads. Raises TrainingError."""
    if (lowest := int(rows.ids.min())) < 0:
        raise TrainingError(f"rows holds the id {lowest}; expected token ids of at least 0")
    require_readable(core, int(rows.ids.max()), rows.ids.shape[1], TrainingError, "rows")
    return rows
