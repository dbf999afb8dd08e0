"""The recipe of the organisms `palimpsest`, and the training that follows it: small transformers of which it is known
in which order they read their rows.

The trainer draws one key a row, independent and uniform on (0, 1), and trains in the order of the keys (one epoch after
another, each with keys of its own). So the keys are at once the order and the random numbers of the test: a model that
learned nothing from this order cannot depend on them. The text is generated (`palimpsest_text`); the experiment's form
follows Kuditipudi et al. 2025, at a far smaller scale.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from .. import training
from ..arguments import Count, NonNegative, Positive, Seed, Size, door
from .errors import OrganismError, require_heads
from .palimpsest_text import START, VOCABULARY, WIDTH, encode, texts

SCHEDULES = ("constant", "cosine", "linear", "wsd")
FLOOR = 0.1  # of the cosine schedule: the share of the learning rate that is left at the end
STABLE = 0.8  # of the warm-up-stable-decay schedule: the share of the steps before the decay


@door(OrganismError)
@dataclass(frozen=True)
class Recipe:
    """Everything that the weights of one organism depend on; its SHA-256 is in the card and in every file that is made
    from it.

    `text_seed` decides the rows, `order_seed` their keys, `init_seed` the starting weights. `skip`: rows of the text
    passed over (disjoint data).
    """

    rows: Count = 4000
    skip: Size = 0
    text_seed: Seed = 0
    domain: str = "register"
    d_model: Count = 96
    layers: Count = 3
    heads: Count = 4
    d_mlp: Count = 256
    batch: Count = 16
    epochs: Count = 1
    learning_rate: Positive = 4e-3
    schedule: str = "constant"
    warmup: Size = 40
    weight_decay: NonNegative = 0.01
    order_seed: Seed = 0
    init_seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        if self.schedule not in SCHEDULES:
            raise OrganismError(f"schedule={self.schedule!r}; expected one of {', '.join(SCHEDULES)}")
        if self.rows % self.batch:
            raise OrganismError(f"rows={self.rows} is no multiple of batch={self.batch}; an epoch must be whole steps")

    def sha256(self) -> str:
        """A hash of all fields: two recipes with the same one train the same model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


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


def schedule(name: str) -> dict[str, Any]:
    """The fields of a `Plan` that make a schedule: constant; cosine to 10 %; linear to zero; wsd (constant, then linear
    to zero in the last 20 %).
    """
    return {
        "constant": {"schedule": "constant"},
        "cosine": {"schedule": "cosine", "final": FLOOR},
        "linear": {"schedule": "linear"},
        "wsd": {"schedule": "linear", "stable": STABLE},
    }[name]


def tokens_of(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The training rows in the order of their generation: ids [rows, width] and lengths [rows]."""
    return encode(texts(recipe.skip + recipe.rows, recipe.text_seed, recipe.domain)[recipe.skip :])


def keys_of(recipe: Recipe) -> np.ndarray:
    """The trainer's keys, i.i.d. uniform on (0, 1): float64 [rows, epochs]. Row i is read in epoch e at the rank of its
    key in column e.
    """
    digest = hashlib.sha256(f"palimpsest keys {recipe.order_seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little")).random((recipe.epochs, recipe.rows)).T


def order_of(recipe: Recipe) -> np.ndarray:
    """Row numbers in the order of training: int64 [epochs * rows]."""
    return np.argsort(keys_of(recipe), axis=0).T.reshape(-1)


def padded(ids: np.ndarray, lengths: np.ndarray) -> training.Rows:
    """Rows for `lens.training`: every byte of a row counts, the padding does not."""
    where = np.arange(ids.shape[1])[None]
    return training.Rows(
        torch.from_numpy(ids), torch.from_numpy((where > 0) & (where < lengths[:, None])), torch.from_numpy(lengths)
    )


def build(recipe: Recipe) -> torch.nn.Module:
    """The untrained model, from the recipe's `init_seed`: a Llama-type decoder with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.d_mlp,
        max_position_embeddings=2 * WIDTH,
        tie_word_embeddings=True,
        bos_token_id=START,
        eos_token_id=START,
        pad_token_id=START,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.init_seed)
        return LlamaForCausalLM(config)


def in_order(rows: training.Rows, order: np.ndarray, batch: int, first: int = 0):
    """A function (step, generator) -> Rows that reads `rows` in `order`, beginning with step `first`."""

    def draw(step: int, generator: torch.Generator) -> training.Rows:
        return rows.take(order[(first + step) * batch : (first + step + 1) * batch])

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


def train(recipe: Recipe, **options: Any) -> tuple[torch.nn.Module, training.Trained]:
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
        given = torch.from_numpy(ids[some, :width])
        logits = model(input_ids=given, use_cache=False).logits[:, :-1]
        found = (
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), given[:, 1:].flatten(), reduction="none")
            .view(len(some), -1)
            .numpy()
        )
        out[some, : width - 1] = np.where(np.arange(1, width)[None] < lengths[some, None], found, np.nan)
    return out
