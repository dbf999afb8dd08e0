"""The training of an organism by its recipe, with `lens.training`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch

from .. import training
from ..training import Sampler

Trainable = TypeVar("Trainable", bound=torch.nn.Module)


class Schedule(Protocol):
    """What of a recipe its training is."""

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        ...

    @property
    def learning_rate(self) -> float:
        """The highest rate."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""
        ...

    @property
    def warmup(self) -> int:
        """Steps in which the rate rises."""
        ...

    @property
    def seed(self) -> int:
        """Of the order."""
        ...


def fit(
    model: Trainable,
    rows: training.Rows | Sampler,
    recipe: Schedule,
    *,
    batch: int,
    checkpoint_every: int,
    schedule: Literal["cosine", "linear", "constant", "plateau"] = "cosine",
    device: str | None = None,
    steps: int | None = None,
    folder: Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> tuple[Trainable, training.Trained]:
    """Train `model` in place by `recipe` on batches of so many rows; returns it in eval mode, and how it went.

    Args:
        checkpoint_every: steps between checkpoints in `folder`, from which the same call goes on.
        schedule: of the rate, see `lens.training.Recipe`. device: the model is moved there first; None: it stays.
        steps: end after so many (the rates stay those of the whole recipe); None: at the recipe's end.
        options: of `lens.training.train`.
    """
    if device is not None:
        torch.nn.Module.to(model, torch.device(device))
    plan = training.Recipe(
        steps=recipe.steps,
        batch=batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        schedule=schedule,
        seed=recipe.seed,
        checkpoint_every=checkpoint_every,
    )
    limit = StepLimit(steps)
    trained = training.train(
        model, rows, plan, folder=folder, progress=progress, after_step=limit, stop=limit.reached, **options
    )
    return model.eval().requires_grad_(False), trained


class StepLimit:
    """Ends a training after so many steps (None: at its own end), as its `after_step` and its `stop`."""

    def __init__(self, most: int | None):
        self.most, self.steps = most, 0

    def __call__(self, batch: training.Batch) -> None:
        """Counts a step."""
        self.steps += 1

    def reached(self) -> bool:
        """Whether there were so many."""
        return self.steps == self.most
