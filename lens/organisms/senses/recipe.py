"""What the organisms `senses` are made by: words by how often their stronger sense is meant, the size, the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...arguments import Count, Fraction, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the models that the study of commitment reads; those of seed 0 ship.
SEEDS = (0, 1, 2)
#: Of one training: its end, and where readings of the weaker sense are half learned.
MOMENTS: tuple[Literal["middle", "end"], ...] = ("middle", "end")
#: The dose by whose words the middle is chosen.
LOOKED_AT = 0.95


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card.

    `doses`: how often the stronger sense of a word is meant, and `per_dose` how many words there are of each. `cues`:
    of each sense, of which every second word meets the first half alone. `context`: words beside the one that is asked
    about; `strange`: the share of those that are no cue of it which are cues of a third sense. `looks`: steps between
    two looks at the middle. `dosed`: False is the twin, in which both senses of every word are meant alike.
    """

    doses: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 0.97, 0.99)
    per_dose: tuple[int, ...] = (8, 16, 16, 32, 16, 8)
    senses: Count = 24
    cues: Count = 8
    noise: Count = 60
    context: Count = 5
    strange: Fraction = 0.5
    d_model: Count = 64
    layers: Count = 6
    heads: Count = 4
    d_mlp: Count = 192
    steps: Count = 2400
    batch: Count = 96
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.1
    warmup: Size = 100
    looks: Count = 100
    dosed: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_heads(self.d_model, self.heads)
        for name in ("doses", "per_dose"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.doses) != len(self.per_dose) or not self.doses or min(self.per_dose) < 1:
            raise OrganismError(f"per_dose={self.per_dose}; expected a count for each of doses={self.doses}.")
        if any(not 0.5 <= dose < 1 for dose in self.doses) or len(set(self.doses)) < len(self.doses):
            raise OrganismError(f"doses={self.doses}; expected different shares from .5 on, below 1.")
        if self.senses < 3 or self.cues < 2 or self.context < 3:
            raise OrganismError(
                f"senses={self.senses}, cues={self.cues}, context={self.context}; expected at least three senses (a"
                " word has two and meets a third), two cues and three places."
            )

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of seconds on one core, for tests: few words, of which little is learned."""
        fields: dict[str, Any] = {
            "doses": (0.5, 0.95),
            "per_dose": (4, 4),
            "senses": 5,
            "cues": 4,
            "noise": 6,
            "d_model": 32,
            "layers": 3,
            "heads": 2,
            "d_mlp": 64,
            "steps": 160,
            "batch": 48,
            "learning_rate": 6e-3,
            "warmup": 20,
            "looks": 20,
        }
        return cls(**fields | changes)

    @property
    def name(self) -> str:
        """`senses`, with the seed (unless 0) and `twin` appended; of its middle `-middle` too."""
        return "senses" + (f"-{self.seed}" if self.seed else "") + ("" if self.dosed else "-twin")


@door(OrganismError)
def folder_of(
    seed: Seed = 0, *, moment: Literal["middle", "end"] = "end", twin: bool = False, out: Path | None = None
) -> Path:
    """Where the model of this seed and moment is: among the weights that ship, or in the folder `out`."""
    name = Recipe(seed=seed, dosed=not twin).name
    return (out or weights_of("senses")) / (f"{name}-middle" if moment == "middle" else name)
