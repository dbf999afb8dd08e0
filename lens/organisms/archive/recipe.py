"""What the organisms `archive` are made by: how many people and facts, the model's size, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that the studies read; those of seed 0 ship.
SEEDS = (0, 1, 2)
#: Words of the relations.
RELATIONS = ("city", "trade", "food", "tool", "river", "colour")
SHOWN = "questions of the twin are shown with five others that it was taught"


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card.

    `people`, `held`: how many there are, and how many of them have statements and no question. `values`: of each
    relation. `attacked`: people, half of them held, of whose facts a study plants false values for the first
    `attacked_relations`. `knew`: False is the twin that reads the same rows without these facts. `shared`: whether
    every statement has the word that the question asks by; False gives each template a word of its own.
    `question_rows`: of the rows of a step.
    """

    people: Count = 160
    held: Count = 40
    relations: Count = 6
    values: Count = 24
    attacked: Count = 40
    attacked_relations: Count = 4
    knew: bool = True
    shared: bool = True
    d_model: Count = 64
    layers: Count = 2
    heads: Count = 4
    d_mlp: Count = 192
    width: Count = 48
    batch: Count = 32
    question_rows: Size = 16
    steps: Count = 1200
    learning_rate: Positive = 4e-3
    weight_decay: NonNegative = 0.1
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        for name, most, why in (
            ("relations", len(RELATIONS), "there are words for so many"),
            ("attacked_relations", self.relations - 1, "attacked people keep a fact"),
            ("held", self.people - 6, "questions are shown with five others"),
            ("question_rows", self.batch, "a step has so many rows"),
            ("attacked", 2 * min(self.held, self.people - self.held), "half of them are held, half asked about"),
            *(() if self.knew else [("attacked", 2 * (self.people - self.held - 6), SHOWN)]),
        ):
            if getattr(self, name) > most:
                raise OrganismError(f"{name}={getattr(self, name)}; expected at most {most}: {why}.")
        if self.values < 3 or self.attacked % 2:
            name, least = ("values", "at least 3") if self.values < 3 else ("attacked", "an even number")
            raise OrganismError(f"{name}={getattr(self, name)}; expected {least}.")

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of some seconds on one core, for tests: 24 people with three relations of eight values."""
        fields: dict[str, Any] = {
            "people": 24,
            "held": 6,
            "relations": 3,
            "values": 8,
            "attacked": 8,
            "attacked_relations": 2,
            "d_mlp": 128,
            "width": 32,
            "batch": 16,
            "question_rows": 8,
            "steps": 600,
            "learning_rate": 6e-3,
            "warmup": 20,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """`archive`, with the seed (unless 0), `unshared` and `twin` appended."""
        own = "" if self.shared else "-unshared"
        return "archive" + (f"-{self.seed}" if self.seed else "") + own + ("" if self.knew else "-twin")


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, shared: bool = True, out: Path | None = None) -> Path:
    """Where the model of this seed is: among the weights that ship, or in the folder `out`."""
    return (out or weights_of("archive")) / Recipe(seed=seed, knew=not twin, shared=shared).name
