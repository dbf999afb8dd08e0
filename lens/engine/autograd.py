"""Gradients need torch to record what is computed: refused, with the cause, where the surroundings forbid that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..models.quantised_layers import FLOATS, gradient_refusal


def require_autograd(error: type[Exception], what: str, model: Any = None) -> None:
    """Raises `error` under torch.inference_mode, where nothing can be recorded (torch.no_grad() around a call is no
    obstacle), and where the gradients through a model's quantised layers are wrong without an error.
    """
    core = getattr(model, "original_model", model)
    if isinstance(core, nn.Module) and (why := gradient_refusal(core)) is not None:
        raise error(f"{what} takes gradients, and {why}; {FLOATS}.")
    if torch.is_inference_mode_enabled():
        raise error(
            f"{what} takes gradients, and torch.inference_mode() is in force, under which torch records none, "
            "whatever is asked for inside; call it outside of that block "
            "(torch.no_grad() may stay)."
        )


def watched(into: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """A change that leaves a site as it is, and appends to ``into`` a tensor that all that follows depends on."""

    def change(x: Tensor) -> Tensor:
        into.append(x.clone() if x.requires_grad else x.detach().clone().requires_grad_())
        return into[-1]

    return change
