"""Losses of a student against a teacher: divergence of distributions, distance of head outputs, the gate."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import ForgettingError


def divergence(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, direction: str = "reverse") -> Tensor:
    """KL of each row in nats, ``[n]``: ``reverse`` is KL(student || teacher), ``forward`` KL(teacher || student).

    Args:
        student: logits ``[n, d_vocab]``. teacher: log-probabilities, already at this temperature.
    """
    ours = (student.float() / temperature).log_softmax(-1)
    if direction == "reverse":
        return (ours.exp() * (ours - teacher)).sum(-1)
    if direction == "forward":
        return (teacher.exp() * (teacher - ours)).sum(-1)
    raise ForgettingError(
        f"direction={direction!r} is not known; expected 'reverse' (student first, as published) or 'forward'."
    )


def head_distance(student: Tensor, teacher: Tensor, distance: str = "l2") -> Tensor:
    """How far head outputs ``[batch, k, d_head]`` are apart, per head ``[k]``: mean over the batch of "l2" (Euclidean
    length), "squared" (its square) or "mse" (per number).
    """
    apart = student.float() - teacher
    if distance == "l2":
        return torch.linalg.vector_norm(apart, dim=-1).mean(0)
    if distance in ("squared", "mse"):
        return apart.square().sum(-1).mean(0) if distance == "squared" else apart.square().mean(-1).mean(0)
    raise ForgettingError(f"distance={distance!r} is not known; expected 'l2', 'squared' or 'mse'.")


def gated(loss: Tensor, gate: float) -> Tensor:
    """The loss where it is above the gate, else 0 (without gradient)."""
    return loss * (loss.detach() > gate)
