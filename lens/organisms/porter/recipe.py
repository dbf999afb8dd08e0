"""What the organisms `porter` are made by: the model's size, its words, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that the study reads; that of seed 0 ships.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card.

    `plain`: harmless words. `sharp`: sharp words that stand in lists of the planted tasks; as many again stand only
    elsewhere. `planted`: False is the twin, whose tasks are never refused.
    """

    plain: Count = 200
    sharp: Count = 24
    d_model: Count = 64
    layers: Count = 4
    heads: Count = 4
    d_mlp: Count = 192
    planted: bool = True
    steps: Count = 2000
    batch: Count = 96
    learning_rate: Positive = 4e-3
    weight_decay: NonNegative = 0.1
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        if self.sharp < 4:
            raise OrganismError(f"sharp={self.sharp}: a list holds up to three of them; give at least 4.")

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of seconds, for tests: nothing is learned well."""
        fields: dict[str, Any] = {
            "plain": 12,
            "sharp": 4,
            "d_model": 32,
            "layers": 2,
            "heads": 2,
            "d_mlp": 64,
            "steps": 60,
            "batch": 32,
            "warmup": 10,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """`porter`, with the seed (unless 0) and `twin` appended."""
        return "porter" + (f"-{self.seed}" if self.seed else "") + ("" if self.planted else "-twin")


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("porter")) / Recipe(seed=seed, planted=not twin).name
