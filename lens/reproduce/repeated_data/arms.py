"""The trainings of the study: what is repeated how often, in which order, under which regularisation, at which size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...training import Repetition
from ...training.repetition import Order

#: Names of arms; those of repeats are `repeats(r)`.
ALL, HALF_STEPS, HALF_BATCH = "all unique", "unique only, half the steps", "unique only, half the batch"
UNIQUE_ONLY = (HALF_STEPS, HALF_BATCH)


class Arm(NamedTuple):
    """One training. `text`: the subset is all the text there is, and every list is new. `ends`: the share of the steps
    after which the schedule ends.
    """

    name: str
    d_model: int
    seed: int
    repeats: int = 1
    order: Order = "mixed"
    text: bool = False
    decay: float = 0.01
    dropout: float = 0.0
    ends: float = 1.0

    @property
    def key(self) -> str:
        """One name for the file of a training."""
        return f"d {self.d_model} {self.name} seed {self.seed}"


@dataclass(frozen=True)
class Preset:
    """How much is trained.

    Attributes:
        steps, batch: of a training; their product is its budget. sizes: widths of the models that repeats are given to;
            claims of one size are of `main`. ladder: widths that are trained on new rows alone, to translate a loss
            into a size. repeats: counts. worst: the count that claims of the worst count are asked of, fixed before the
            first training, and that is looked at further: order, text alone, the schedule's end, weight decay, dropout.
            text_repeats: of the text alone, a middle and a large count. decay, dropout: as
            they are raised. seeds: of weights, rows and order; one each. share: of the budget that is repeated. looks:
            at the losses, evenly over the steps. tests: rows. further: what is trained at the worst count.
    """

    steps: int = 1000
    batch: int = 32
    sizes: tuple[int, ...] = (96, 72, 144)
    main: int = 96
    ladder: tuple[int, ...] = (24, 48, 72, 96, 144)
    repeats: tuple[int, ...] = (10, 32, 100, 320, 1000)
    worst: int = 100
    text_repeats: tuple[int, ...] = (60, 600)
    decay: float = 1.0
    dropout: float = 0.1
    seeds: tuple[int, ...] = (0, 1, 2)
    share: float = 0.5
    text_share: float = 0.3
    looks: int = 20
    tests: int = 512
    further: tuple[str, ...] = ("early", "order", "regular", "text")


def repeats(count: int) -> str:
    """The name of an arm of repeats."""
    return f"repeats {count}"


def arms(plan: Preset) -> Iterator[Arm]:
    """Every training of a preset, those that most is read from first."""
    yield from grid(plan, plan.main)
    for d in plan.ladder:
        if d != plan.main:
            yield from (Arm(ALL, d, seed) for seed in plan.seeds)
    yield from further(plan)
    for d in plan.sizes:
        if d != plan.main:
            yield from (arm for arm in grid(plan, d) if arm.name != ALL or d not in plan.ladder)


def grid(plan: Preset, d: int) -> Iterator[Arm]:
    """The trainings of one size that differ in how often the subset is seen, and those without it."""
    for seed in plan.seeds:
        yield Arm(ALL, d, seed)
        yield Arm(HALF_STEPS, d, seed)
        yield Arm(HALF_BATCH, d, seed)
        for count in plan.repeats:
            yield Arm(repeats(count), d, seed, count)


def further(plan: Preset) -> Iterator[Arm]:
    """What is trained of one size alone, at the worst count: other orders, ends, regularisation, text alone."""
    name, d = repeats(plan.worst), plan.main
    for what in plan.further:
        for seed in plan.seeds:
            arm = Arm(name, d, seed, plan.worst)
            if what == "early":
                yield arm._replace(name=f"{name}, ends at half", ends=0.5)
            elif what == "order":
                yield arm._replace(name=f"{name} first", order="first")
                yield arm._replace(name=f"{name} last", order="last")
            elif what == "text":
                for count in plan.text_repeats:
                    yield Arm(f"text alone {repeats(count)}", d, seed, count, text=True)
            else:
                kinds: dict[str, dict[str, Any]] = {
                    "decay": {"decay": plan.decay},
                    "dropout": {"dropout": plan.dropout},
                }
                for how, values in kinds.items():
                    yield Arm(f"{HALF_BATCH}, {how}", d, seed)._replace(**values)
                    yield arm._replace(name=f"{name}, {how}", **values)


def plan_of(arm: Arm, plan: Preset) -> Repetition:
    """Which rows a training sees."""
    budget, share = plan.steps * plan.batch, plan.text_share if arm.text else plan.share
    if arm.name == ALL:
        return Repetition(budget, 1, share, seed=arm.seed)
    whole = Repetition(budget, arm.repeats, share, arm.order, arm.seed)
    return whole.alone() if arm.name.startswith(UNIQUE_ONLY) else whole
