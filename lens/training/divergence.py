"""How far a model in training has gone from a frozen one: the divergence of their next-token distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from .recipe import TrainingError


def precise(values: Tensor) -> Tensor:
    """Values in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, direction: str = "reverse") -> Tensor:
    """KL of each row in nats, ``[n]``: ``reverse`` is KL(student || teacher), ``forward`` KL(teacher || student).

    Args:
        student: logits ``[n, d_vocab]``. teacher: log-probabilities, already at this temperature.
    """
    ours = (precise(student) / temperature).log_softmax(-1)
    if direction == "reverse":
        return (ours.exp() * (ours - teacher)).sum(-1)
    if direction == "forward":
        return (teacher.exp() * (teacher - ours)).sum(-1)
    raise TrainingError(
        f"direction={direction!r} is not known; expected 'reverse' (student first, as published) or 'forward'."
    )
