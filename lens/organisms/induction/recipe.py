"""What the organism `induction` is made by: the model's size, the periods of its rows, and the training."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

FOLDER = weights_of("induction") / "induction"


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card."""

    vocab: Count = 256
    d_model: Count = 96
    layers: Count = 2
    heads: Count = 4
    d_mlp: Count = 32
    context: Count = 64
    shortest: Count = 8
    longest: Count = 24
    steps: Count = 700
    batch: Count = 32
    learning_rate: Positive = 3e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
