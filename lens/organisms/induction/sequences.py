"""The rows of the organism `induction`: a random period, again and again; what is asked of a model is the next word."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..shipping import START, pseudowords
from .recipe import Recipe


def words(count: int) -> list[str]:
    """The vocabulary: a start token and `count - 1` pseudowords of two syllables."""
    return [START, *pseudowords(count - 1)]


def rows(recipe: Recipe, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Token ids [count, context] that begin with the start token, and the length of each row's period [count]."""
    periods = torch.randint(recipe.shortest, recipe.longest + 1, (count,), generator=generator)
    fresh = 1 + torch.rand(count, recipe.vocab - 1, generator=generator).argsort(1)[:, : recipe.longest]
    where = torch.arange(recipe.context - 1)[None] % periods[:, None]
    return torch.cat([torch.zeros(count, 1, dtype=torch.long), fresh.gather(1, where)], 1), periods


def losses(model: torch.nn.Module, ids: Tensor, periods: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy in nats [rows, context - 1], which of the predicted words have been seen, and which were predicted
    right.
    """
    logits = model(ids).logits[:, :-1]
    targets = ids[:, 1:]
    # Word j of a row repeats word j - period; the first word of the second copy follows a word that has no copy yet.
    repeated = torch.arange(targets.shape[1])[None] > periods[:, None]
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none"), repeated, logits.argmax(-1) == targets


@torch.no_grad()
def measure(model: torch.nn.Module, recipe: Recipe, count: int = 512) -> dict[str, float]:
    """Loss in nats and accuracy on rows that training did not draw: words seen before, and words of the first
    period.
    """
    loss, repeated, right = losses(model, *rows(recipe, count, torch.Generator().manual_seed(recipe.seed + 1)))
    return {
        "in_context_loss": round(loss[repeated].mean().item(), 4),
        "in_context_accuracy": round(right[repeated].float().mean().item(), 4),
        "first_period_loss": round(loss[~repeated].mean().item(), 4),
        "rows": count,
    }
