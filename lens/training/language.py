"""What makes a model a language model to a training: token ids go in, logits come out, and the loss that they give."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import unfit
from .batches import Batch
from .recipe import TrainingError


def require_language_model(model: Any, core: Any) -> None:
    """Raises TrainingError: it cannot be called as a language model is."""
    try:
        inspect.signature(core.forward).bind(input_ids=None, use_cache=False)
    except (TypeError, ValueError, AttributeError):
        raise TrainingError(
            unfit("model", model, "a Hugging Face causal language model", "for another model give objective")
        ) from None


def logits_of(model: torch.nn.Module, outputs: Any) -> Tensor:
    """The logits of a forward. Raises TrainingError: it gave none."""
    logits = getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor):
        what = "a causal language model: its outputs have no logits"
        raise TrainingError(unfit("model", model, what, "for another model give objective"))
    return logits


def language_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy in nats, the mean over the tokens that count."""
    where = batch.targets[:, 1:]
    return F.cross_entropy(logits[:, :-1][where].float(), batch.ids[:, 1:][where])
