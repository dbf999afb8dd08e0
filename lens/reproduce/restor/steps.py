"""What is computed: the corrupted models and their twins, every arm's path, and what attacks bring back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from ... import memorization
from ...memorization import Sequences
from ...scoring.causal import inner
from ...training import Recipe
from ...unlearning import METHODS, Arm, answers, unlearn
from ...unlearning.questions import PLANTED, RIGHT
from .bench import CHOOSE, REPORT, Cell, Course
from .corruption import Corrupted, corrupted, lora_of
from .tables import RELATED, settings

#: A path's name is that of its arm and its learning rate.
AT = " at "


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    Attributes:
        seeds: of models and all draws. unshared: seeds of the variant whose statements lack the question's word, which
            is corrupted alone. adapters, doses, ks: of the cells, each with each; the first of each is the main
            one.
        arms: methods of `lens.unlearning`; rates: the learning rates of each. steps, batch: of each arm; looks: of
            finished steps. most: documents that are looked at.
        dose_steps, dose_rates: of the corruption, the rate by adapter: the lowest of those looked at at which the
            choosing people's questions reach the larger dose (LoRA at .001 to .006 turns back between .66 and .88).
        deep: whether arms, and so twins, are also run at the larger doses. gone: whether the planted statements are
            attacked; relearned: steps of that.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    unshared: tuple[int, ...] = (1, 2)
    adapters: tuple[str, ...] = ("lora", "full")
    doses: tuple[float, ...] = (0.5, 0.9)
    ks: tuple[int, ...] = (0, 5)
    arms: tuple[str, ...] = (
        "retain_only",
        "gradient_ascent",
        "gradient_difference",
        "kl",
        "kl_as_published",
        "npo_batch",
        "npo_token",
        "npo",
        "task_vector",
        "rmu",
    )
    rates: Mapping[str, tuple[float, ...]] = None  # type: ignore[assignment]
    steps: int = 60
    batch: int = 16
    looks: tuple[int, ...] = (0, 5, 10, 20, 40, 60)
    dose_steps: int = 200
    dose_rates: Mapping[str, float] = None  # type: ignore[assignment]
    most: int = 48
    deep: bool = True
    gone: bool = True
    relearned: int = 10

    def __post_init__(self) -> None:
        for name, default in (
            ("rates", {"lora": (1e-3, 3e-3), "full": (1e-4, 3e-4)}),
            ("dose_rates", {"lora": 1e-2, "full": 3e-4}),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)

    @property
    def main(self) -> Cell:
        """The cell that claims are judged on where they name no other."""
        return Cell(self.adapters[0], self.doses[0], self.ks[0])

    def cells(self) -> Iterator[Cell]:
        """Every cell, the main one first."""
        for adapter in self.adapters:
            for k in self.ks:
                yield from (Cell(adapter, dose, k) for dose in self.doses)


class Bench:
    """One course with its corrupted models, trained when they are first asked for."""

    def __init__(self, course: Course, plan: Plan, seed: int, variant: str = "shared"):
        self.course, self.plan, self.seed, self.variant = course, plan, seed, variant
        self._corrupted: dict[Cell, Corrupted] = {}

    def corrupted(self, cell: Cell) -> Corrupted:
        """The models of a cell."""
        if cell not in self._corrupted:
            recipe = Recipe(
                steps=self.plan.dose_steps,
                batch=32,
                learning_rate=self.plan.dose_rates[cell.adapter],
                weight_decay=0.0,
                schedule="constant",
                seed=self.seed,
            )
            twins = self.plan.doses if self.plan.deep else self.plan.doses[:1]
            self._corrupted |= corrupted(self.course, cell.adapter, cell.k, self.plan.doses, twins, recipe)
        return self._corrupted[cell]

    def recipe(self, rate: float, steps: int) -> Recipe:
        """Of an arm."""
        return Recipe(
            steps=max(1, steps), batch=self.plan.batch, learning_rate=rate, weight_decay=0.0, schedule="constant"
        )

    def arms(self, adapter: str, methods: Sequence[str]) -> list[Arm]:
        """Every method at every rate."""
        return [
            Arm.of(method, f"{method}{AT}{rate:g}", recipe=self.recipe(rate, self.plan.steps))
            for method in methods
            for rate in self.plan.rates[adapter]
        ]

    def keys(self, cell: Cell) -> dict[str, Any]:
        """The columns that every table of a cell begins with."""
        return {"seed": self.seed, "adapter": cell.adapter, "dose": cell.dose, "k": cell.k}


def doses(bench: Bench, cell: Cell) -> pd.DataFrame:
    """By model, format, part and unit: how many attacked questions there are, are answered right and as planted."""
    course, of = bench.course, bench.corrupted(cell)
    lines = []
    for name, model in (("clean", course.clean), ("start", of.model), ("twin", of.twin), ("never_knew", of.never)):
        if model is None:
            continue
        for form, asked in (("question", course.questions), ("statement", course.statements)):
            outcome = answers(inner(model), asked).outcome
            parts = course.parts[: len(asked)]
            for part, unit, hit in zip(parts, asked.unit_labels(), outcome, strict=True):
                lines.append((name, form, part, unit, 1, hit == RIGHT, hit == PLANTED))
    table = pd.DataFrame(lines, columns=["model", "format", "part", "unit", "n", "right", "planted"])
    table = table.groupby(["model", "format", "part", "unit"], sort=False).sum().reset_index()
    return table.assign(
        **bench.keys(cell), variant=bench.variant, steps=of.steps, reached=of.reached, known=all(course.gates.values())
    )


def arms(bench: Bench, cell: Cell, progress: bool | None = None) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Every arm's path: `paths` by person, `losses` by look, and `facts`, each attacked question at the settings that
    the choosing people chose.
    """
    course, of, plan = bench.course, bench.corrupted(cell), bench.plan
    options: dict[str, Any] = dict(
        recipe=bench.recipe(1e-4, plan.steps),
        lora=lora_of(cell.adapter),
        looks=plan.looks,
        questions=course.questions,
        never_knew=of.never,
        twin=of.twin,
        clean=course.clean,
        heldout=course.heldout,
        most=plan.most,
        seed=bench.seed,
        progress=progress,
    )
    false = course.documents[cell.k, True]
    found = [unlearn(of.model, false, course.retain, bench.arms(cell.adapter, plan.arms), **options)]
    if "retain_only" in plan.arms:
        related = [replace(arm, name=arm.name.replace("retain_only", RELATED)) for arm in _retains(bench, cell)]
        found.append(unlearn(of.model, false, course.related, related, **options))
    every = [_frames(ds, course, bench.keys(cell), models=not i) for i, ds in enumerate(found)]
    paths, losses = (pd.concat([frames[i] for frames in every], ignore_index=True) for i in (0, 1))
    chosen = settings(paths, losses)
    facts = [_facts(ds, course, bench.keys(cell), chosen) for ds in found]
    return paths, losses, pd.concat(facts, ignore_index=True)


def _retains(bench: Bench, cell: Cell) -> list[Arm]:
    return bench.arms(cell.adapter, ("retain_only",))


def _frames(ds: xr.Dataset, course: Course, keys: Mapping[str, Any], models: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    units, parts = np.array(course.questions.unit_labels()), np.array(course.parts)
    heldout = -ds.heldout_logprob.values.mean(-1)
    names = [str(name) for name in ds.arm.values]
    twin = float(heldout[names.index("twin"), 0])
    paths, losses = [], []
    for a, name in enumerate(names):
        if ds.is_model.values[a] and not models:
            continue
        arm, _, rate = name.partition(AT)
        for look in np.flatnonzero(~np.isnan(ds.dose.values[a])):
            head = dict(keys) | {"arm": arm, "rate": rate, "look": int(look)}
            head["step"] = float(ds.dose.values[a, look])
            outcome = ds.outcome.values[a, look]
            table = pd.DataFrame(
                {
                    "part": parts,
                    "unit": units,
                    "n": 1,
                    "right": outcome == RIGHT,
                    "planted": outcome == PLANTED,
                    "kl": ds.kl_twin.values[a, look],
                }
            )
            paths.append(table.groupby(["part", "unit"], sort=False).sum().reset_index().assign(**head))
            loss = {of: -float(ds[f"{of}_logprob"].values[a, look].mean()) for of in ("forget", "retain")}
            losses.append(
                head | loss | {"heldout": float(heldout[a, look]), "twin": twin, "status": str(ds.status.values[a])}
            )
    return pd.concat(paths, ignore_index=True), pd.DataFrame(losses)


def _facts(ds: xr.Dataset, course: Course, keys: Mapping[str, Any], chosen: pd.DataFrame) -> pd.DataFrame:
    """Attacked questions at each arm's settings, with what was known of each beforehand."""
    names, attacked = [str(name) for name in ds.arm.values], ds.attacked.values
    clean, start = names.index("clean"), names.index("start")
    parts, units = np.array(course.parts)[attacked], np.array(course.questions.unit_labels())[attacked]
    tables = []
    for line in chosen.itertuples():
        name = f"{line.arm}{AT}{line.rate}"
        if name not in names:
            continue
        outcome = ds.outcome.values[names.index(name), line.look][attacked]
        tables.append(
            pd.DataFrame(
                {
                    "part": parts,
                    "unit": units,
                    "confidence": ds.p_right.values[clean, 0][attacked],
                    "rank": ds["rank"].values[start, 0][attacked],
                    "log_odds": ds.log_odds.values[start, 0][attacked],
                    "clean": ds.outcome.values[clean, 0][attacked] == RIGHT,
                    "before": ds.outcome.values[start, 0][attacked] == RIGHT,
                    "right": outcome == RIGHT,
                    "planted": outcome == PLANTED,
                }
            ).assign(**keys, arm=line.arm, reading=line.reading)
        )
    return pd.concat(tables, ignore_index=True)


def gone(bench: Bench, cell: Cell, chosen: pd.DataFrame) -> pd.DataFrame:
    """Every attack on the planted statements in each arm's model at its best setting, against the twin: by arm and
    attack the word for the arm, how many statements the model recited, and what the attack brings back.
    """
    course, of, plan = bench.course, bench.corrupted(cell), bench.plan
    index = course.of_part(REPORT)
    target, values = _planted(course, index), {course.statements.planted[i] for i in index}
    # what is trained on shares no value with what is to come back
    others = _planted(course, [i for i in course.of_part(CHOOSE) if course.statements.planted[i] not in values])
    lines = []
    for setting in chosen[chosen.reading == "best"].itertuples():
        if not setting.step:
            continue
        method = METHODS["retain_only" if setting.arm == RELATED else setting.arm]
        retain = course.related if setting.arm == RELATED else course.retain
        steps = int(setting.step) if method.doses is None else plan.steps
        if method.doses is not None:
            method = replace(method, doses=(setting.step,))
        arm = Arm.of(method, setting.arm, recipe=bench.recipe(float(setting.rate), steps))
        ends: dict[str, Any] = {}
        unlearn(
            of.model,
            course.documents[cell.k, True],
            retain,
            [arm],
            recipe=arm.recipe,
            lora=lora_of(cell.adapter),
            looks=(),
            most=2,
            seed=bench.seed,
            progress=False,
            on_model=ends.__setitem__,
        )
        if setting.arm not in ends:
            continue
        verdict = memorization.is_it_gone(
            of.model,
            ends[setting.arm],
            target,
            others=others,
            clean=_text(course, values),
            twin=of.twin,
            ks=(8,),
            recipe=Recipe(steps=plan.relearned, batch=8, learning_rate=1e-3, weight_decay=0.0, schedule="constant"),
            noise=(),
            seed=bench.seed,
            progress=False,
        )
        head = bench.keys(cell) | {"arm": setting.arm, "word": verdict.word, "recited": verdict.recited[0]}
        lines += [head | row for row in verdict.table.to_dict("records")]
    return pd.DataFrame(lines)


def _text(course: Course, values: set[int], rows: int = 16, length: int = 12) -> torch.Tensor | None:
    """Rows of true documents that have none of some tokens, without padding, [rows, length]; None of too few."""
    tokens = [token for answer in course.related.answers if not values & set(answer) for token in answer]
    if len(tokens) < length:
        return None
    return torch.tensor([tokens[i * length : (i + 1) * length] for i in range(min(rows, len(tokens) // length))])


def _planted(course: Course, index: Sequence[int]) -> Sequences:
    """Planted statements: the statement up to the value is given, the value is to be recited."""
    rows = [[*course.statements.prompts[i], course.statements.planted[i]] for i in index]
    return Sequences(rows, len(rows[0]) - 1, names=[f"fact {i}" for i in index], kind="planted")
