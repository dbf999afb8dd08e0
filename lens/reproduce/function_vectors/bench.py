"""How much the reproduction of Function Vectors asks (`Preset`), and one seed of a run (`Bench`): the model, the plan,
where steps are kept, prompts and grids in the plan's form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from ... import vectors
from ...engine.model import Model
from ...results import dataset as results
from ...results.record import record_of
from ...vectors import Task
from ..common import Make, Steps, step


@dataclass(frozen=True)
class Preset:
    """How much of everything.

    `tasks` None takes all of the data; those that the model answers after demonstrations in at least `usable` of the
    cases (validation questions) go on. `methods` are estimates of the effects, with the number of prompts of each
    (equal to `trials`, or else their agreement with the exact effects is refused); `draws` is how many random vectors
    of equal norm stand for that control, which is their mean. `items` limits the questions of a split, `text_items` the
    natural sentences, `written_items` those that are continued, `shot_items` the questions of the curve over
    `shot_counts` demonstrations.
    """

    tasks: tuple[str, ...] | None = None
    usable: float = 0.5
    seeds: int = 1
    shots: int = 10
    mean_prompts: int = 100
    trials: int = 25
    heads: int = 10
    instruction_trials: int = 25
    methods: Mapping[str, int] = field(default_factory=lambda: {"atp": 25, "atp*": 25, "ig": 25})
    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 40)
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    every: int = 1
    items: int | None = None
    text_items: int | None = None
    written_items: int | None = None
    shot_items: int | None = None
    shot_counts: tuple[int, ...] = (0, 1, 2, 5, 10)
    draws: int = 5
    template: str = "qa"
    templates: tuple[str, ...] = ("qa", "question", "input", "arrow", "table", "say")
    naive_heads: int = 24
    composition: bool = True


@dataclass
class Bench:
    """One seed of a run: the model, the plan and where steps are kept."""

    model: Any
    plan: Preset
    steps: Steps
    seed: int
    start: Any = "auto"
    memory_mb: float | None = None
    progress: bool | None = None
    decoder: Model = field(init=False)

    def __post_init__(self) -> None:
        self.decoder = Model.of(self.model)

    @property
    def layers(self) -> list[int]:
        """Layers at whose output vectors are tried."""
        return list(range(0, self.decoder.n_layers, self.plan.every))

    @property
    def walk(self) -> dict[str, Any]:
        """Arguments that every grid takes."""
        return {
            "template": self.plan.template,
            "seed": self.seed,
            "start": self.start,
            "memory_mb": self.memory_mb,
            "progress": self.progress,
        }

    def n(self, task: Task, split: str, most: int | None = None, each: int = 1) -> int | None:
        """How many questions of a split: all, or at most the plan's (`most`), none of them twice."""
        most = most or self.plan.items
        return None if most is None else min(most, len(task.numbers(split)) * each)

    def kept(self, name: str, make: Callable[[], xr.Dataset], **more: Any) -> xr.Dataset:
        """A step of this seed; of the texts of its prompts the record keeps a digest, since task, seed and form make
        them anew.
        """
        return self.steps.kept(f"seed-{self.seed}/{name}", lambda: _digested(make()), **more)

    def stamped(self, ds: xr.Dataset, kind: str, **call: Any) -> xr.Dataset:
        """A Dataset made here, with its record."""
        return results.stamp(ds, record_of(self.model, self.decoder, kind, call, seed=self.seed, status="complete"))

    def prompts(self, task: Task, kind: str, **more: Any) -> list:
        """Prompts of a task in the plan's form."""
        form = {"shots": self.plan.shots, "template": self.plan.template, "seed": self.seed, "start": self.start}
        return vectors.build(self.model, task, kind, **(form | more))

    def evaluate(self, task: Task, tried: Mapping[str, Any], split: str, *conditions: str, **more: Any) -> xr.Dataset:
        """Vectors on the questions of a split (`vectors.evaluate`), zero-shot where no condition is named."""
        options = {"conditions": conditions or ("zero_shot",), "split": split, "n": self.n(task, split)}
        return vectors.evaluate(self.model, task, tried, **(options | self.walk | more))


def of_task(name: str, **kept: Any) -> Callable[[Make], Make]:
    """Makes a function of a bench and a task a step of that task, see `common.step`."""
    return step(lambda task, *others, **options: f"{task.name}/{name}", **kept)


def _digested(ds: xr.Dataset) -> xr.Dataset:
    """With a digest in place of the prompts' texts in the record."""
    record = results.provenance(ds)

    def digest(texts):
        return "sha256 " + hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    short = {"texts": digest(record["texts"])} if "texts" in record else {}
    if "prompts" in record.get("call", {}):
        short["call"] = record["call"] | {"prompts": digest(record["call"]["prompts"])}
    return results.stamp(ds, record | short)
