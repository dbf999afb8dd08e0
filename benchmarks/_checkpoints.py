"""Two checkpoints to set side by side: SmolLM2 and a copy whose matrices are moved by a little of their own spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import lens

#: How far the copy's matrices are moved, as a share of their numbers' standard deviation.
MOVED = 0.02


@dataclass(frozen=True)
class Checkpoints:
    """Attributes: first, second: as `lens.load` gives them, the second plain. plain: a copy of the first. subject: its
    tokenizer and prompts.
    """

    first: Any
    second: Any
    plain: Any
    subject: Any


def checkpoints(quick: bool) -> Checkpoints:
    """The embedded default, or a random model of four layers. Raises: LoadError: the model was never fetched."""
    from .subjects import smollm2, tiny

    subject = tiny() if quick else smollm2()
    second = subject.copy()
    by = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in second.named_parameters():
            if weight.ndim == 2 and "embed" not in name and "lm_head" not in name:
                weight += MOVED * weight.std() * torch.randn(weight.shape, generator=by)
    second = lens.models.wrap(second, subject.tokenizer, "moved")
    return Checkpoints(subject.bridge, second, subject.copy(), subject)
