"""The path of one arm: where it is looked at, and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..engine.edited import edited
from ..training import Recipe, Trained, train
from ..training.copies import copy_of
from . import terms
from .arms import Arm
from .items import Items
from .looks import Looker
from .plans import Setup

#: Finished steps at which a path is looked at by default, as far as the training goes.
LOOKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(eq=False)
class Path:
    """The looks of one arm, in order of dose. `status`: "complete", "stopped", "diverged" (the last look is of the last
    finite weights) or "not run".
    """

    doses: list[float] = field(default_factory=list)
    looks: list[dict[str, np.ndarray]] = field(default_factory=list)
    status: str = "not run"
    seconds: float = 0.0

    def add(self, dose: float, values: dict[str, np.ndarray]) -> None:
        """One look more."""
        self.doses.append(dose)
        self.looks.append(values)

    def until(self, dose: float) -> None:
        """Drop looks at larger doses."""
        kept = [i for i, d in enumerate(self.doses) if d <= dose]
        self.doses, self.looks = [self.doses[i] for i in kept], [self.looks[i] for i in kept]


@dataclass(frozen=True, eq=False)
class Start:
    """Where every arm begins: the model, the sets, the frozen reference, and what all arms share."""

    model: Any
    forget: Items
    retain: Items
    reference: Any
    recipe: Recipe
    lora: Any
    looks: Sequence[int] | None
    seed: int
    memory_mb: float
    progress: bool | None
    stop: Callable[[], bool] | None

    def steps(self, recipe: Recipe) -> list[int]:
        """Finished steps that are looked at: the start and the end among them."""
        at = LOOKS if self.looks is None else self.looks
        return sorted({0, recipe.steps, *(int(s) for s in at if 0 <= s <= recipe.steps)})


#: Told the model at the end of a path, and its dose.
End = Callable[[Any, float], None]


def path_of(arm: Arm, start: Start, looker: Looker, end: End) -> Path:
    """Walk one arm's path; the given model is left as it is. `end` gets the model as the path leaves it."""
    return (_edited if arm.edits is not None else _trained)(arm, start, looker, end)


def _edited(arm: Arm, start: Start, looker: Looker, end: End) -> Path:
    path, last = Path(status="complete"), max(arm.edits or {})
    for dose, edit in sorted((arm.edits or {}).items()):
        if start.stop is not None and start.stop():
            path.status = "stopped"
            break
        with edited(start.model, edit):
            path.add(float(dose), looker.look(start.model))
            if dose == last:
                end(start.model, float(dose))
    return path


def _trained(arm: Arm, start: Start, looker: Looker, end: End) -> Path:
    assert arm.method is not None
    recipe = arm.recipe or start.recipe
    recipe = dataclasses.replace(recipe, seed=recipe.seed + start.seed)
    lora = arm.lora or start.lora
    trainee = copy_of(start.model)
    setup = Setup(
        trainee,
        start.reference,
        start.forget.rows(),
        start.retain.rows(),
        start.forget.pairs(),
        recipe,
        start.seed,
        start.memory_mb,
    )
    plan = arm.method.prepare(setup, arm.method.options)
    wrapped = trainee if lora is None else lora.put_on(trainee, recipe.seed)
    path, vector = Path(), arm.method.doses is not None

    def look(finished: int) -> dict[str, float]:
        if not all(bool(torch.isfinite(value).all()) for value in wrapped.parameters()):
            return {}  # the training sees it at its next step
        values = looker.look(wrapped)
        path.add(finished, values)
        return {name: float(np.nanmean(of)) for name, of in values.items() if name.endswith("_logprob")}

    trained = train(
        wrapped,
        plan.rows,
        recipe,
        terms=plan.terms,
        parameters=_parameters(arm, lora),
        base_weight=plan.base_weight,
        around=None if plan.around is None else plan.around(wrapped),
        evaluate=None if vector else look,
        evaluate_at=() if vector else start.steps(recipe),
        progress=start.progress,
        stop=start.stop,
    )
    path.status, path.seconds = trained.status, trained.seconds
    if vector:
        _along(arm, start, looker, end, trained, trainee if lora is None else lora.merged(wrapped), path)
        return path
    path.until(trained.step)
    if path.status == "diverged" and (not path.doses or path.doses[-1] != trained.step):
        look(trained.step)
    if path.status != "stopped":
        # a wrapper of adapters leaves its layers as in training
        end((trainee if lora is None else lora.merged(wrapped)).eval(), path.doses[-1])
    return path


def _parameters(arm: Arm, lora: Any) -> Any:
    if arm.parameters is not None:
        return arm.parameters
    return None if lora is not None else _every


def _every(name: str) -> bool:
    return True


def _along(arm: Arm, start: Start, looker: Looker, end: End, trained: Trained, tuned: Any, path: Path) -> None:
    """Looks along a task vector."""
    if trained.status != "complete" or arm.method is None:
        return
    at = copy_of(start.model)
    weights = {n: p.detach().clone() for n, p in at.named_parameters()}
    further = {n: p.detach() for n, p in tuned.named_parameters()}
    doses = arm.method.doses or ()
    for dose in doses:
        moved = terms.task_vector(weights, further, dose)
        with torch.no_grad():
            for name, value in at.named_parameters():
                value.copy_(moved[name])
        if not all(bool(torch.isfinite(v).all()) for v in moved.values()):
            path.status = "diverged"
            return
        path.add(dose, looker.look(at))
        if dose == doses[-1]:
            end(at, dose)
