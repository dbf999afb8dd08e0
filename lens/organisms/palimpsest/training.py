"""The training of the family `palimpsest`: rows in a known order, a schedule of the rate, and what a model makes of
each byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

import numpy as np
import torch

from ... import training
from ...training import Sampler
from ..decoder import decoder
from .recipe import Recipe, order_of, tokens_of
from .text import START, VOCABULARY, WIDTH

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOOR = 0.1  # of the cosine schedule: the share of the learning rate that is left at the end
STABLE = 0.8  # of the warm-up-stable-decay schedule: the share of the steps before the decay


@dataclass(frozen=True)
class Plan(training.Recipe):
    """A training recipe whose rate stays up for the share `stable` of the steps and ends at the share `final` of the
    highest rate.
    """

    final: float = 0.0
    stable: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        past = max(0.0, step / self.steps - self.stable) / (1 - self.stable)
        fall = {"cosine": 0.5 * (1 + np.cos(np.pi * past)), "linear": 1 - past, "constant": 1.0}[self.schedule]
        return float(self.learning_rate * rise * (self.final + (1 - self.final) * fall))


class Shape(TypedDict, total=False):
    """The fields of a `Plan` that make a schedule."""

    schedule: Required[Literal["constant", "cosine", "linear"]]
    final: float
    stable: float


def schedule(name: str) -> Shape:
    """A schedule by its name: constant; cosine to 10 %; linear to zero; wsd (constant, then linear to zero in the last
    20 %).
    """
    shapes: dict[str, Shape] = {
        "constant": {"schedule": "constant"},
        "cosine": {"schedule": "cosine", "final": FLOOR},
        "linear": {"schedule": "linear"},
        "wsd": {"schedule": "linear", "stable": STABLE},
    }
    return shapes[name]


def padded(ids: np.ndarray, lengths: np.ndarray) -> training.Rows:
    """Rows for `lens.training`: every byte of a row counts, the padding does not."""
    where = np.arange(ids.shape[1])[None]
    return training.Rows(
        torch.from_numpy(ids), torch.from_numpy((where > 0) & (where < lengths[:, None])), torch.from_numpy(lengths)
    )


def build(recipe: Recipe) -> PreTrainedModel:
    """The untrained model, from the recipe's `init_seed`: a Llama-type decoder with tied embeddings."""
    return decoder(recipe, vocabulary=VOCABULARY, context=2 * WIDTH, seed=recipe.init_seed, token=START)


def in_order(rows: training.Rows, order: np.ndarray, batch: int, first: int = 0) -> Sampler:
    """A function (step, generator) -> Rows that reads `rows` in `order`, beginning with step `first`."""

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        return rows.take(torch.from_numpy(order[(first + step) * batch : (first + step + 1) * batch]))

    return draw


def fit(
    model: torch.nn.Module,
    rows: training.Rows,
    order: np.ndarray,
    recipe: Recipe,
    *,
    learning_rate: float | None = None,
    seed: int = 0,
    **options: Any,
) -> training.Trained:
    """Train `model` in place on `rows` in `order`, with the recipe's batch, rate and schedule; `options` go to
    `lens.training.train`.
    """
    plan = Plan(
        steps=len(order) // recipe.batch,
        batch=recipe.batch,
        learning_rate=learning_rate or recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        seed=seed,
        **schedule(recipe.schedule),
    )
    return training.train(model, in_order(rows, order, recipe.batch), plan, **{"progress": False} | options)


def train(recipe: Recipe, **options: Any) -> tuple[PreTrainedModel, training.Trained]:
    """Train the organism of `recipe` on the CPU in float32; returns it in eval mode, and how it went."""
    model = build(recipe)
    trained = fit(model, padded(*tokens_of(recipe)), order_of(recipe), recipe, parameters=lambda name: True, **options)
    return model.eval().requires_grad_(False), trained


@torch.no_grad()
def losses(model: torch.nn.Module, ids: np.ndarray, lengths: np.ndarray, batch: int = 16) -> np.ndarray:
    """The negative log-likelihood of every byte in nats: float32 [rows, width - 1], NaN in the padding. Rows are read
    in batches of like length.
    """
    out = np.full((len(ids), ids.shape[1] - 1), np.nan, dtype=np.float32)
    by_length = np.argsort(lengths, kind="stable")
    for at in range(0, len(ids), batch):
        some = by_length[at : at + batch]
        width = int(lengths[some].max())
        batch_ids = torch.from_numpy(ids[some, :width])
        logits = model(input_ids=batch_ids, use_cache=False).logits[:, :-1]
        values = (
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch_ids[:, 1:].flatten(), reduction="none")
            .view(len(some), -1)
            .numpy()
        )
        out[some, : width - 1] = np.where(np.arange(1, width)[None] < lengths[some, None], values, np.nan)
    return out
