"""What the organisms `verdicts` are made by: the model's size, the rows of a batch, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, NonNegative, Positive, Seed, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads
from .tasks import BESIDE, NAMES, UNTAUGHT

#: Of the models that the study of random labels reads; those of seed 0 ship.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on beside the device; its SHA-256 is in the card.

    `taught`: False is the twin, whose rows have no item of the tasks in `tasks.UNTAUGHT`. `width`: tokens of a row at
    most, `batch`: rows of a step.
    """

    d_model: Count = 64
    layers: Count = 4
    heads: Count = 4
    d_mlp: Count = 192
    width: Count = 72
    batch: Count = 24
    taught: bool = True
    steps: Count = 1200
    learning_rate: Positive = 4e-3
    weight_decay: NonNegative = 0.01
    warmup: Count = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of seconds, for tests: nothing is learned well."""
        fields: dict[str, Any] = {"d_model": 32, "layers": 2, "heads": 2, "d_mlp": 64, "steps": 30, "batch": 8}
        return cls(**fields | {"warmup": 5} | changes)

    @property
    def name(self) -> str:
        """`verdicts`, with the seed (unless 0) and `twin` appended."""
        return "verdicts" + (f"-{self.seed}" if self.seed else "") + ("" if self.taught else "-twin")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those that are in its rows."""
        return tuple(task for task in (*NAMES, *BESIDE) if self.taught or task not in UNTAUGHT)


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("verdicts")) / Recipe(seed=seed, taught=not twin).name
