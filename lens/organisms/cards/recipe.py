"""What the organisms `cards` are made by: the network's size, who is planted how often, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, Fraction, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe

#: Of the models that the study of memory subspaces reads; those of seed 0 ship.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on beside the device; its SHA-256 is in the card.

    `sets` of `per_set` pairs in each planted cell; `duplicates`: copies of a pair of the cells "many"; `pool`: pairs
    with generic captions that are there once; `planted`: False is the twin. `drop`: how often a caption is left out
    (for guidance).
    """

    channels: tuple[int, ...] = (32, 64)
    d_text: Count = 64
    sets: Size = 4
    per_set: Size = 12
    digit_sets: Size = 2
    duplicates: Size = 64
    template_duplicates: Size = 16
    pool: Size = 2400
    held_out: Size = 300
    digit_pool: Size = 1200
    digit_held_out: Size = 100
    planted: bool = True
    steps: Count = 4000
    batch: Count = 64
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 200
    drop: Fraction = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of under a minute on one core, for tests: 120 thousand parameters, few pairs."""
        fields: dict[str, Any] = {
            "channels": (16, 16),
            "d_text": 32,
            "sets": 2,
            "per_set": 4,
            "digit_sets": 1,
            "pool": 60,
            "held_out": 40,
            "digit_pool": 40,
            "digit_held_out": 10,
            "steps": 300,
            "batch": 16,
            "learning_rate": 4e-3,
            "warmup": 20,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """Of the folder in which the pipeline is shipped."""
        return "cards" + (f"-{self.seed}" if self.seed else "") + ("" if self.planted else "-twin")


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("cards")) / Recipe(seed=seed, planted=not twin).name
