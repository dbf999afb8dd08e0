"""One model and what is asked of it: items in three parts, and one task forgotten by training on drawn answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ... import reading, training
from ...organisms import verdicts as organism
from ...organisms.suite import split
from ...organisms.verdicts import Item, Suite
from ...organisms.verdicts.measures import answers
from ...organisms.verdicts.tasks import BY_NAME
from ...training.adapters import LoRA
from ...training.copies import copy_of
from ...unlearning.labels import random_labels
from ...unlearning.terms import uniform_label
from ..errors import ReproduceError
from ..organism_models import loaded, pairs, recipe_of

Form = Literal["instruction", "common"]
#: With the instruction of the task, and without: one word for all of them.
FORMS: tuple[Form, ...] = ("instruction", "common")
#: Which share of a task's units is forgotten, chosen by, and reported on.
SHARES = {"forget": 0.5, "choose": 0.17, "report": 0.33}
#: Of the ability lost on the items that are trained on, where training stops.
LOST = 0.9
#: Of the drawn answers given, where training on fixed ones stops.
AGREED = 0.95
#: Least accuracy above chance that can be forgotten.
LEAST = 0.1


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    Attributes:
        seeds: of organisms. tasks: that are forgotten. labels: kinds of drawn answers, see
            `lens.unlearning.labels`. forms: with instruction or common word. deep: kinds of labels after which is
            asked whether the task is hidden. items: of a task, at most, that are trained on. steps, batch, rate: of
            forgetting; every: steps between looks. doses: (what, value) of further runs, of the tasks in `dosed`.
        gradients: items whose gradients are taken. demonstrations: shown before a question. randoms: vectors.
        relearn: steps on `few` right items. language: a language model that is asked too, by its name; empty: none.
        twins: whether the never-taught twins are asked, which do not ship.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    tasks: tuple[str, ...] = organism.NAMES
    labels: tuple[str, ...] = ("fixed", "redrawn", "wrong", "uniform", "right")
    forms: tuple[Form, ...] = FORMS
    deep: tuple[str, ...] = ("fixed", "redrawn")
    items: int = 100
    steps: int = 80
    batch: int = 32
    rate: float = 1e-3
    every: int = 5
    doses: tuple[tuple[str, float], ...] = (("items", 10), ("items", 1000), ("rate", 3e-4), ("rank", 4))
    dosed: tuple[str, ...] = ("set_a", "parity", "longer", "order")
    gradients: int = 32
    demonstrations: int = 10
    randoms: int = 5
    relearn: int = 20
    few: int = 5
    language: str = ""
    twins: bool = True


@dataclass(frozen=True)
class Parts:
    """The items of one task: `forget` is trained on, `choose` chooses, `report` is reported; no unit is in two."""

    forget: list[Item]
    choose: list[Item]
    report: list[Item]

    @property
    def held(self) -> list[Item]:
        """All that is not trained on."""
        return [*self.choose, *self.report]


def unit_of(item: Item) -> str:
    """What counts as one: the symbol that decides, or that a table is asked of; else the whole list."""
    return item.words[0] if item.task == "fact" else item.deciding


def parts_of(suite: Suite, task: str, most: int, seed: int = 0) -> Parts:
    """The items of a task by unit; of one that is worked out twice as many as are trained on."""
    items = suite.items(task, 2 * most, seed=seed)
    units = split(list(dict.fromkeys(unit_of(item) for item in items)), SHARES, seed=seed)
    by = {name: [item for item in items if unit_of(item) in set(of)] for name, of in units.items()}
    return Parts(by["forget"][:most], by["choose"], by["report"])


def lost(before: float, now: float, chance: float) -> float:
    """The share of an ability above chance that is gone."""
    return (before - now) / (before - chance) if before > chance else np.nan


def stops(labels: str, before: float, now: float, chance: float, agreement: float) -> bool:
    """Whether so little is left on the items trained on that training ends; with right answers never."""
    if labels == "right":
        return False
    return agreement >= AGREED if labels == "fixed" else lost(before, now, chance) >= LOST


def of_items(suite: Suite, items: Sequence[Item], form: str) -> list[tuple[list[int], list[int]]]:
    """Prompts and answers as ids.

    Raises: ReproduceError: two answers of the task begin with one token.
    """
    return [(suite.prompt(item, form), suite.ids([item.answer])) for item in items]


@dataclass(eq=False)
class Forgotten:
    """A copy after training on drawn answers, one line a look, and whether the stop was reached."""

    model: nn.Module
    looks: pd.DataFrame
    reached: bool


@dataclass(eq=False)
class Bench:
    """A model of one seed with its twin that was never taught some tasks. `means`: of the model's states by task, for
    each form and number of demonstrations that was asked for.
    """

    seed: int
    model: Any
    twin: Any
    suite: Suite
    plan: Plan
    means: dict[tuple[str, int], dict[str, np.ndarray]] = field(default_factory=dict, init=False, repr=False)
    _parts: dict[str, Parts] = field(default_factory=dict, init=False, repr=False)
    _before: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)

    def parts(self, task: str) -> Parts:
        """The items of a task."""
        if task not in self._parts:
            self._parts[task] = parts_of(self.suite, task, self.plan.items)
        return self._parts[task]

    def before(self, task: str, form: str) -> float:
        """What the model has right of the items of a task that no run trains on."""
        if (task, form) not in self._before:
            self._before[task, form] = self.accuracy(self.model, self.parts(task).held, form)
        return self._before[task, form]

    @cached_property
    def untrained(self) -> nn.Module:
        """The network before its training."""
        return organism.build(self.recipe).eval()

    @property
    def recipe(self) -> organism.Recipe:
        """Of the model."""
        return self.model.recipe

    def accuracy(self, model: Any, items: Sequence[Item], form: str, before: Sequence[Item] = ()) -> float:
        """The share of right answers among those of the task."""
        return float(answers(model, self.suite, items, form, before).right.mean())

    def _agreement(
        self, model: Any, items: Sequence[Item], form: str, given: Sequence[tuple[int, ...]] | None
    ) -> float:
        """How many of the drawn answers are given, where there is one of each item."""
        if given is None:
            return np.nan
        said = [replace(i, answer=self.suite.vocabulary[word]) for i, (word,) in zip(items, given, strict=True)]
        return self.accuracy(model, said, form)

    def forget(self, task: str, form: str, labels: str, **changed: Any) -> Forgotten:
        """Train a copy on the task's items with drawn answers, until little of the ability is left on them.

        Args:
            changed: `items`, `rate` or `rank` of another dose.

        Raises: ReproduceError: nothing to forget.
        """
        plan = replace(self.plan, **{k: v for k, v in changed.items() if k in ("items", "rate")})
        reserved = {unit_of(one) for one in self.parts(task).held}
        # another number of items is another draw, of which some may be those that are held out
        forget = parts_of(self.suite, task, int(plan.items)).forget
        forget = [one for one in forget if unit_of(one) not in reserved]
        held = self.parts(task).report
        chance, before = BY_NAME[task].chance, self.accuracy(self.model, forget, form)
        if before <= chance + LEAST:
            raise ReproduceError(
                f"task={task!r}: the model of seed {self.seed} is right on {before:.2f} of its items, chance is"
                f" {chance:.2f}: there is nothing to forget; leave the task out, or train the model longer."
            )
        drawn = random_labels(of_items(self.suite, forget, form), labels, self.seed, plan.batch)
        model: Any = copy_of(self.model)
        if "rank" in changed:
            model = LoRA(rank=int(changed["rank"])).put_on(model, self.seed)
        lines: list[dict[str, float]] = []

        def look(step: int) -> dict[str, float]:
            now = answers(model, self.suite, forget, form)
            line = {
                "train": float(now.right.mean()),
                "held": self.accuracy(model, held, form),
                "entropy": float(now.entropy.mean()),
                "agreement": self._agreement(model, forget, form, drawn.given),
            }
            lines.append({"step": step, **line})
            return line

        def reached() -> bool:
            return bool(lines) and stops(labels, before, lines[-1]["train"], chance, lines[-1]["agreement"])

        training.train(
            model,
            drawn.rows,
            training.Recipe(
                steps=plan.steps,
                batch=plan.batch,
                learning_rate=plan.rate,
                weight_decay=0.0,
                schedule="constant",
                seed=self.seed,
            ),
            parameters=None if "rank" in changed else _all,
            evaluate=look,
            evaluate_at=list(range(0, plan.steps + 1, plan.every)),
            stop=reached,
            progress=False,
            objective=None if drawn.uniform is None else _uniform(drawn.uniform),
        )
        model = LoRA.merged(model) if "rank" in changed else model
        return Forgotten(model.eval().requires_grad_(False), pd.DataFrame(lines), reached())


def _all(name: str) -> bool:
    return True


def _uniform(first: Sequence[int]) -> Callable[[Any, training.Batch], Tensor]:
    """The loss against the uniform distribution over a task's answers."""
    words = torch.tensor(first)

    def loss(model: Any, batch: training.Batch) -> Tensor:
        logits = model(input_ids=batch.ids, use_cache=False).logits
        last = batch.targets.int().argmax(1) - 1
        return uniform_label(logits[torch.arange(len(last)), last].float().log_softmax(-1), words)

    loss.identity = " ".join(map(str, first))  # type: ignore[attr-defined]
    return loss


def benches(plan: Plan, folder: str | os.PathLike | None, say: Callable[[str], None]) -> Iterator[Bench]:
    """The models of a plan's seeds, each with its twin where the plan asks for them.

    Args:
        folder: holds one folder a model, named as `Recipe.name`; one that is neither there nor shipped is trained into
            it. None: only those that ship.

    Raises: ReproduceError: a model that is nowhere and no folder to train it into.
    """
    takes = "some minutes of a core"
    for seed, at in pairs(organism, "taught", folder, plan.seeds, ["--float16"], takes, say, plan.twins):
        model, twin = taught(at[0]), taught(at[1]) if plan.twins else None
        yield Bench(seed, model, twin, Suite(seed), plan)


def taught(folder: Path) -> nn.Module:
    """The model in a folder, see `organism_models.loaded`, with its tokenizer, recipe and gates."""
    from transformers import AutoTokenizer

    model: Any = loaded(folder)
    model.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model.recipe = recipe_of(organism, folder)
    model.gates = reading.json_file(folder / "card.json", ReproduceError)["gates"]
    return model
