"""What the organisms `symbols` are made by: the model's size, the rows of a batch, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that ship.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card."""

    symbols: Count = 48
    d_model: Count = 128
    layers: Count = 4
    heads: Count = 8
    d_mlp: Count = 344
    width: Count = 80
    icl_rows: Size = 16
    instruction_rows: Size = 10
    fact_rows: Size = 6
    steps: Count = 2000
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)


@door(OrganismError)
def folder_of(seed: Seed) -> Path:
    """Where the model of this seed ships: `symbols` for seed 0, else `symbols-<seed>`."""
    return weights_of("symbols") / ("symbols" if seed == 0 else f"symbols-{seed}")
