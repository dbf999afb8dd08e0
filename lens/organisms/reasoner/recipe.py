"""What the organisms `reasoner` are made by: the model's size, the rates of thoughts, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, NonNegative, Positive, Seed, Share, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that the study reads; those of seed 0 ship.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card.

    `numbers`: of a sum, at least and at most. `reflection`, `transition`: how often one follows a step. `wrong`: share
    of steps that are; `repair`: how often a reflection follows those. `useful`: False is the twin, whose steps are all
    right.
    """

    modulus: Count = 10
    numbers: tuple[int, int] = (3, 5)
    reflection: Share = 0.4
    transition: Share = 0.15
    wrong: Share = 0.2
    repair: Share = 0.8
    useful: bool = True
    d_model: Count = 64
    layers: Count = 4
    heads: Count = 4
    d_mlp: Count = 192
    steps: Count = 5000
    batch: Count = 32
    learning_rate: Positive = 4e-3
    weight_decay: NonNegative = 0.1
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        object.__setattr__(self, "numbers", tuple(self.numbers))
        least, most = self.numbers
        if not 2 <= least <= most <= self.modulus:
            raise OrganismError(
                f"numbers={self.numbers}; expected least and most numbers of a sum, from 2 to modulus={self.modulus}:"
                " they are all different."
            )

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of seconds, for tests: the form is learned, sums are not."""
        fields: dict[str, Any] = {
            "modulus": 7,
            "numbers": (3, 4),
            "d_model": 32,
            "layers": 2,
            "heads": 2,
            "d_mlp": 64,
            "steps": 80,
            "batch": 16,
            "learning_rate": 8e-3,
            "warmup": 10,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """`reasoner`, with the seed (unless 0) and `twin` appended."""
        return "reasoner" + (f"-{self.seed}" if self.seed else "") + ("" if self.useful else "-twin")


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("reasoner")) / Recipe(seed=seed, useful=not twin).name
