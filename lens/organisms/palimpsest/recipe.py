"""What a model of the family `palimpsest` is made by: its rows, the keys that order them, its size and its training.

The trainer draws one key a row, independent and uniform on (0, 1), and trains in the order of the keys (one epoch after
another, each with keys of its own). So the keys are at once the order and the random numbers of the test: a model that
learned nothing from this order cannot depend on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads
from .text import encode, texts

SCHEDULES = ("constant", "cosine", "linear", "wsd")


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
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
