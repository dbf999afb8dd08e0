"""What the organisms `canaries` are made by: the model's size, how often sequences are planted, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that loss-curvature and the other studies read; those of seed 0 ship.
SEEDS = (0, 1, 2)
WEIGHT_DECAY = 0.1


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on beside the device; its SHA-256 is in the card.

    `entities`: names in the fact table. `duplicates`: how often the sequences of one group are in the stream;
    `per_count` of the main family for each (half codes, half plausible), `second_per_count` of the second.
    `plausible_duplicates`: further counts for plausible sequences, which it takes more repetitions to recite.
    `canaries`: False is the twin, which reads the same rows without them.
    """

    d_model: Count = 128
    layers: Count = 4
    heads: Count = 4
    d_mlp: Count = 512
    width: Count = 128
    entities: Count = 500
    duplicates: tuple[int, ...] = (0, 1, 4, 16, 64, 128)
    plausible_duplicates: tuple[int, ...] = (512, 1024)
    per_count: Size = 32
    second_per_count: Size = 16
    canaries: bool = True
    steps: Count = 3000
    batch: Count = 64
    learning_rate: Positive = 3e-3
    weight_decay: NonNegative = WEIGHT_DECAY
    warmup: Size = 150
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        object.__setattr__(self, "duplicates", tuple(self.duplicates))
        object.__setattr__(self, "plausible_duplicates", tuple(self.plausible_duplicates))

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of under a minute on one core, for tests: 80 thousand parameters, few canaries, nothing but them
        learned well.
        """
        fields: dict[str, Any] = {
            "d_model": 48,
            "layers": 2,
            "d_mlp": 128,
            "width": 80,
            "entities": 60,
            "duplicates": (0, 1, 16, 128),
            "plausible_duplicates": (),
            "per_count": 4,
            "second_per_count": 2,
            "steps": 400,
            "batch": 16,
            "learning_rate": 6e-3,
            "warmup": 30,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """`canaries`, with the seed (unless 0), the weight decay (unless the default) and `twin` appended."""
        decay = "" if self.weight_decay == WEIGHT_DECAY else f"-wd{self.weight_decay:g}"
        return "canaries" + (f"-{self.seed}" if self.seed else "") + decay + ("" if self.canaries else "-twin")


@door(OrganismError)
def folder_of(
    seed: Seed = 0, *, twin: bool = False, weight_decay: NonNegative = WEIGHT_DECAY, out: Path | None = None
) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("canaries")) / Recipe(seed=seed, canaries=not twin, weight_decay=weight_decay).name
