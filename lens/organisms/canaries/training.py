"""The organism `canaries` untrained, and its training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ... import training
from ..decoder import decoder
from ..training import fit
from .corpus import Corpus
from .recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, in float32 on the CPU."""
    return decoder(
        recipe,
        vocabulary=len(Corpus(recipe).text.vocabulary),
        context=2 * recipe.width,
        seed=recipe.seed,
        attention="eager",
    )


@contextlib.contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """On a GPU: float32 products without TF32, and kernels that give the same sums each time where there are such."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product of matrices is made
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cuda.matmul.allow_tf32,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cuda.matmul.allow_tf32 = before[2]


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 500 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe). `options` go to `lens.training.train` (evaluate, evaluate_at).
    """
    place, model = torch.device(device), build(recipe)
    torch.nn.Module.to(model, place)
    with _deterministic(place):
        return fit(
            model,
            Corpus(recipe).stream,
            recipe,
            batch=recipe.batch,
            checkpoint_every=500,
            steps=steps,
            folder=folder,
            progress=progress,
            **options,
        )
