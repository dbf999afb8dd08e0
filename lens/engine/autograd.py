"""Gradients need torch to record what is computed: refused, with the cause, where the surroundings forbid that."""

from __future__ import annotations

import torch


def require_autograd(error: type[Exception], what: str) -> None:
    """Raises `error` under torch.inference_mode, where nothing can be recorded; torch.no_grad() around a call is no
    obstacle.
    """
    if torch.is_inference_mode_enabled():
        raise error(
            f"{what} takes gradients, and torch.inference_mode() is in force, under which torch records none, "
            "whatever is asked for inside; call it outside of that block "
            "(torch.no_grad() may stay)."
        )
