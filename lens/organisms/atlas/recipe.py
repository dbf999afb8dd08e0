"""What the organisms `atlas` are made by: the tree, the size of the model, its training, and that of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arguments import Count, Fraction, NonNegative, Positive, Seed, Size, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe, require_heads

#: Of the bases that the study of two checkpoints reads; seed 0 ships.
SEEDS = (0, 1, 2)


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights of a base depend on; its SHA-256 is in the card.

    `branches`: of the root and of the nodes of each level but the last; siblings of the last level, the leaves, are cut
    into three parts. `walk_rows`: the share of rows that ask for the top of a leaf, `direct`: how many of these answer
    at once; the others walk there. `walks`: False is the twin, whose rows ask for no top.
    """

    branches: tuple[int, ...] = (4, 4, 4, 3)
    d_model: Count = 64
    layers: Count = 2
    heads: Count = 4
    d_mlp: Count = 192
    rows: Count = 32
    width: Count = 48
    walk_rows: Fraction = 0.3
    direct: Fraction = 0.5
    walks: bool = True
    steps: Count = 900
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.1
    warmup: Size = 100
    seed: Seed = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", tuple(self.branches))
        require_heads(self.d_model, self.heads)
        if len(self.branches) < 2 or min(self.branches) < 1 or self.branches[-1] % 3:
            raise OrganismError(
                f"branches={self.branches}; expected at least two numbers of branches, of which the last, of leaves"
                " below one node, can be cut into three equal parts."
            )

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of some seconds on one core, for tests: a tree of 36 leaves."""
        fields: dict[str, Any] = {"branches": (2, 3, 6), "d_model": 32, "d_mlp": 64, "rows": 16, "steps": 40}
        return cls(**fields | {"warmup": 10} | changes)

    @property
    def name(self) -> str:
        """Of the folder in which the base is."""
        return "atlas" + (f"-{self.seed}" if self.seed else "") + ("" if self.walks else "-twin")


@door(OrganismError)
@dataclass(frozen=True)
class Tuning(OrganismRecipe):
    """Everything that a checkpoint depends on beside its base: what it is tuned on and how long.

    `kind`: "answer" and "walk" are supervised on answers given at once and on right walks; "rl", "form" and "coin" are
    reinforced for the right top, for a walk of the right form whatever it says, and by chance. An update asks
    `questions` of the tuned leaves `samples` times each (supervised: of as many rows), with `replay` rows of edges and
    codes. `run`: tells runs of one kind apart. `looks`: after how many updates what it does is noted.
    """

    kind: str = "rl"
    run: Size = 0
    steps: Count = 100
    questions: Count = 32
    samples: Count = 4
    learning_rate: Positive = 3e-4
    kl: NonNegative = 0.01
    replay: Count = 8
    looks: tuple[int, ...] = (25, 50, 100)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", tuple(self.looks))
        if self.kind not in KINDS:
            raise OrganismError(f"kind={self.kind!r}; expected one of {', '.join(KINDS)}.")
        if wrong := [look for look in self.looks if not 1 <= look <= self.steps]:
            raise OrganismError(f"looks has {wrong[0]}; expected numbers of updates from 1 to steps={self.steps}.")

    @property
    def reinforced(self) -> bool:
        """Whether it is trained on what it draws itself."""
        return self.kind in KINDS[2:]

    def seed(self, base: int) -> int:
        """Of its order and of what it draws, from a base of that seed."""
        return 1000 * base + 7 + self.run


KINDS = ("answer", "walk", "rl", "form", "coin")
#: The checkpoints of each base, by name; "-again" is another run of the same recipe.
ARMS = {
    "answer": Tuning("answer"),
    "answer-again": Tuning("answer", run=1),
    "walk": Tuning("walk"),
    "rl": Tuning("rl"),
    "rl-again": Tuning("rl", run=1),
    "form": Tuning("form"),
    "coin": Tuning("coin", kl=1.0),
}


@door(OrganismError)
def folder_of(seed: Seed = 0, arm: str | None = None, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where a base (no `arm`) or a checkpoint is: among the weights that ship, or in the folder `out`."""
    if arm is not None and arm not in ARMS:
        raise OrganismError(f"arm={arm!r}; expected one of {', '.join(ARMS)}, or None for the base.")
    name = Recipe(seed=seed, walks=not twin).name
    return (out or weights_of("atlas")) / (name if arm is None else f"{name}-{arm}")
