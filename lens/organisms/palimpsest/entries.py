"""Which models a family `palimpsest` has, and what each is made from.

Alices are the models whose order is asked about; references and independents are trained apart from them; derivatives
are what became of an Alice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .derivatives import LORA_RATE, TUNING_RATE
from .recipe import Recipe

REFERENCES = ("reference", "disjoint", "smaller", "same-order")
TUNES = (1, 5, 25, 100)
WEIGHTS = (25, 50, 75)
#: every derivative of an Alice, in the order of making
DERIVATIVES = (
    *(f"tune-{share}" for share in TUNES),
    "tune-25b",
    "tune-25-mild",
    "tune-25-hot",
    "lora-25",
    *(f"tunes-{w}" for w in WEIGHTS),
    *(f"with-independent-{w}" for w in WEIGHTS),
    "int8",
    "int4",
    "pruned-50",
    "other-order-25",
    "soft",
    "samples",
)
ARMS = ("cosine", "linear", "wsd")


@dataclass(frozen=True)
class Size:
    """How large the family is: the recipe of an Alice, how many of them, and what is made of them.

    `retrains`: how often the last `tail` of Alice-0's rows is read again in a fresh order; `texts` rows are sampled at
    each of `temperatures`.
    """

    base: Recipe = field(default_factory=Recipe)
    alices: int = 3
    independents: int = 4
    derivatives: tuple[str, ...] = DERIVATIVES
    arms: tuple[str, ...] = ARMS
    arm_seeds: int = 3
    epoch_seeds: int = 3
    retrains: int = 19
    tail: float = 0.1
    temperatures: tuple[float, ...] = (0.0, 0.5, 0.9, 1.2)
    texts: int = 1000


PRESETS = {
    "tiny": Size(
        Recipe(rows=160, batch=8, d_model=32, layers=1, d_mlp=64, warmup=4),
        alices=2,
        independents=1,
        derivatives=(
            "tune-5",
            "tune-25",
            "tune-25b",
            "tunes-50",
            "lora-25",
            "int4",
            "soft",
            "samples",
            "with-independent-50",
        ),
        arms=("linear",),
        arm_seeds=1,
        retrains=2,
        temperatures=(0.9,),
        texts=8,
    ),
    "quick": Size(),
    "full": Size(
        Recipe(rows=12_000, d_model=128, layers=4, d_mlp=344),
        alices=5,
        independents=4,
        arm_seeds=5,
        epoch_seeds=3,
        retrains=39,
        temperatures=(0.0, 0.3, 0.6, 0.9, 1.0, 1.2),
        texts=4000,
    ),
}


@dataclass(frozen=True)
class Entry:
    """One model: `kind` says how it is made from its parents, `recipe` its size and, where it is trained anew,
    everything else.
    """

    name: str
    kind: str
    recipe: Recipe
    parents: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def entries(size: Size) -> dict[str, Entry]:
    """Every entry of a family by name, parents before what is made from them, the most important first."""
    base = size.base
    family: dict[str, Entry] = {}

    def add(name: str, kind: str, recipe: Recipe = base, *parents: str, **options: Any) -> None:
        family[name] = Entry(name, kind, recipe, parents, options)

    def seeded(recipe: Recipe, seed: int, **changes: Any) -> Recipe:
        return replace(recipe, order_seed=seed, init_seed=seed, **changes)

    smaller = replace(
        base,
        d_model=base.d_model * 2 // 3 // base.heads // 2 * base.heads * 2,
        layers=max(1, base.layers - 1),
        d_mlp=base.d_mlp * 2 // 3,
    )
    for i in range(size.alices):
        add(f"alice-{i}", "trained", seeded(base, i))
    add("reference", "trained", seeded(base, 100))
    for i in range(size.independents):
        add(f"independent-{i}", "trained", seeded(base, 200 + i))
    add("same-order", "trained", replace(smaller, order_seed=0, init_seed=103))
    add("disjoint", "trained", seeded(base, 101, skip=base.rows))
    add("smaller", "trained", seeded(smaller, 102))
    for arm in size.arms:
        add(f"{arm}/reference", "trained", seeded(base, 100, schedule=arm))
    if size.epoch_seeds:
        add("epochs/reference", "trained", seeded(base, 100, epochs=2))
    for j in range(size.retrains):
        add(f"retrain/{j}", "retrained", seeded(base, 0), "alice-0", tail=size.tail, shuffle=j)
    for i in range(max(size.alices, size.arm_seeds, size.epoch_seeds)):
        for name in size.derivatives if i < size.alices else ():
            _derivative(add, f"alice-{i}", name, replace(base, order_seed=500 + i, init_seed=500 + i), i)
        for arm in size.arms if i < size.arm_seeds else ():
            add(f"{arm}/alice-{i}", "trained", seeded(base, i, schedule=arm))
        if i < size.epoch_seeds:
            add(f"epochs/alice-{i}", "trained", seeded(base, i, epochs=2))
    return family


def _derivative(add: Callable[..., None], alice: str, name: str, student: Recipe, seed: int) -> None:
    """The entry of one derivative; `student` is the recipe of what is trained from a start of its own."""
    kind, _, number = name.rpartition("-")
    full, words = f"{alice}/{name}", name.split("-")
    if words[0] == "tune":
        other = words[1].endswith("b")
        rate = TUNING_RATE * {"mild": 0.5, "hot": 2.5}.get(words[-1], 1.0)
        add(
            full,
            "tuned",
            student,
            alice,
            share=int(words[1].rstrip("b")) / 100,
            domain="questions",
            seed=(20 if other else 10) + seed,
            rate=rate,
        )
    elif kind == "lora":
        add(
            full,
            "lora",
            student,
            alice,
            share=int(number) / 100,
            domain="questions",
            seed=10 + seed,
            rate=LORA_RATE,
        )
    elif kind == "tunes":
        add(full, "average", student, f"{alice}/tune-25", f"{alice}/tune-25b", weight=int(number) / 100)
    elif kind == "with-independent":
        add(full, "average", student, alice, "independent-0", weight=int(number) / 100)
    elif kind == "other-order":
        add(full, "continued", student, alice, share=int(number) / 100, seed=30 + seed)
    elif kind == "pruned":
        add(full, "pruned", student, alice, share=int(number) / 100)
    elif name.startswith("int"):
        add(full, "rounded", student, alice, bits=int(name[3:]))
    else:
        add(full, name, student, alice, seed=40 + seed)
