"""The organism `senses` untrained, and its training, whose middle is kept too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ... import training
from ..decoder import decoder
from ..training import fit
from .measures import weaker_share
from .recipe import Recipe
from .suite import Suite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's seed: a Llama-type decoder with tied embeddings, in float32 on the CPU."""
    return decoder(recipe, vocabulary=len(Suite(recipe).vocabulary), context=recipe.context + 8, seed=recipe.seed)


class Middle:
    """Looks at a model while it is trained, and keeps its weights where the share of right readings of the weaker sense
    is nearest to a half.

    Attributes: step: of these weights; None before the first look. share: there.
    """

    def __init__(self, model: torch.nn.Module, suite: Suite):
        self.model, self.suite = model, suite
        self.step: int | None = None
        self.share = float("inf")
        self.weights: dict[str, Tensor] = {}

    def __call__(self, finished: int) -> dict[str, float]:
        """A look after so many steps."""
        share = weaker_share(self.model, self.suite)
        if self.step is None or abs(share - 0.5) < abs(self.share - 0.5):
            self.step, self.share = finished, share
            self.weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return {"weaker": share}


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
) -> tuple[PreTrainedModel, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went, with the
    looks at its middle among the evaluations.

    `folder`: checkpoints every 400 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    model, trained, _ = with_middle(recipe, device=device, folder=folder, progress=progress, steps=steps)
    return model, trained


def with_middle(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
) -> tuple[PreTrainedModel, training.Trained, PreTrainedModel]:
    """As `train`, and the model as it was at its middle: after the look at which the share of right readings of the
    weaker sense, with one cue at dose .95, was nearest to a half.

    What a run that was cut had kept is gone: the steps up to the middle are then trained once more.
    """
    suite, model = Suite(recipe), build(recipe)
    torch.nn.Module.to(model, torch.device(device))
    middle = Middle(model, suite)

    def rows(step: int, generator: torch.Generator) -> training.Rows:
        return suite.rows(recipe.batch, generator)

    looks = range(recipe.looks, recipe.steps, recipe.looks)
    model, trained = fit(
        model,
        rows,
        recipe,
        batch=recipe.batch,
        checkpoint_every=400,
        schedule="plateau",
        steps=steps,
        folder=folder,
        progress=progress,
        parameters=lambda name: True,
        evaluate=middle,
        evaluate_at=list(looks),
    )
    at = step_of(trained)
    if at is None or at == middle.step:
        half = build(recipe)
        half.load_state_dict(middle.weights or model.state_dict())
        return model, trained, half.eval().requires_grad_(False)
    return model, trained, train(recipe, device=device, progress=progress, steps=at)[0]


def step_of(trained: training.Trained) -> int | None:
    """The finished steps at the look whose share of right readings is nearest to a half; None without a look."""
    looks = trained.evaluations
    if not len(looks):
        return None
    return int(looks.step.iloc[int((looks.weaker - 0.5).abs().to_numpy().argmin())])
