"""Attacks on what was unlearned: each makes another model of a copy, which is looked at as the arm is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor

from ..arguments import Whole, door
from ..training import Recipe, train
from .errors import UnlearningError
from .items import Items

#: Takes a copy of a model and gives the attacked one, which may be the same object.
Attack = Callable[[Any], Any]
#: A short training as whoever finds the model would make it.
RELEARNING = Recipe(steps=10, batch=8, learning_rate=1e-4, weight_decay=0.0, schedule="constant")


@door(UnlearningError)
def relearn(items: Items, recipe: Recipe = RELEARNING) -> Attack:
    """A little training, of all weights, on some items: rows of the forget set that are then left out of what is looked
    at, other rows of its kind, or quite other text.

    The twin and the model that never knew are trained alike: what they learn in as many steps is no memory.

    Source: Lynch et al. 2024, Eight Methods to Evaluate Robust Unlearning in LLMs.
    """

    def attack(model: Any) -> Any:
        train(model, items.rows(), recipe, parameters=lambda name: True, progress=False)
        return model

    attack.identity = f"relearn {items.rows().sha256()} {recipe.sha256()}"  # type: ignore[attr-defined]
    return attack


@door(UnlearningError)
def quantise(bits: Annotated[int, Whole(2, 8)] = 4) -> Attack:
    """Every matrix rounded to so many bits: to the nearest of 2^(bits - 1) - 1 steps on each side of 0, a scale for
    each output row. A small change of weights may be rounded away, and what it had hidden with it.

    Source: Zhang et al. 2025, Catastrophic Failure of LLM Unlearning via Quantization (round to nearest).
    """

    @torch.no_grad()
    def attack(model: Any) -> Any:
        for value in model.parameters():
            if value.ndim == 2:
                value.copy_(rounded(value, bits))
        return model

    attack.identity = f"quantise {bits}"  # type: ignore[attr-defined]
    return attack


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A matrix rounded to `bits`, one scale a row."""
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / most
    return (weight / scale).round().clamp(-most, most) * scale
