"""Losses of a student against a teacher beside the divergence of distributions: distance of head outputs, the gate."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import ForgettingError


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
