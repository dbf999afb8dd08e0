"""The organism `induction` untrained, and its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from ..decoder import decoder
from .recipe import Recipe
from .sequences import losses, rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings."""
    return decoder(recipe, vocabulary=recipe.vocab, context=2 * recipe.context, seed=recipe.seed)


def train(recipe: Recipe, say: Callable[[str], None] = print) -> PreTrainedModel:
    """Train the model of `recipe` on the CPU in float32 and return it in eval mode."""
    generator = torch.Generator().manual_seed(recipe.seed)
    model = build(recipe).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )

    def rate(step: int) -> float:
        return min((step + 1) / recipe.warmup, 1 - step / recipe.steps)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(recipe.steps):
        loss, repeated, _ = losses(model, *rows(recipe, recipe.batch, generator))
        optimizer.zero_grad()
        loss[repeated].mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            say(f"step {step:5d}  in-context loss {loss[repeated].mean().item():.3f}")
    return model.eval().requires_grad_(False)
