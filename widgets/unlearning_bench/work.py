"""An unlearning run: what is asked, its path, its attacks, and the weights that it ends with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from lens import unlearning
from lens.engine.changes import Undo
from lens.scoring.causal import inner, plain
from lens.training import Recipe
from lens.training.copies import copy_of
from lens.unlearning import Items
from lens.unlearning.arms import AFTER, RETAIN_ONLY
from lens.unlearning.experiment import assembled
from lens.unlearning.looks import Looker, Sets, foils_of
from lens.unlearning.outcome import MEASURES
from lens.unlearning.paths import Path
from widgets.base.text import finite
from widgets.errors import ViewError

BATCH = 8
#: Measures that are drawn, in their order, and whether a share.
DRAWN = {
    "right": True,
    "planted": True,
    "forget probability": True,
    "retain probability": True,
    "foil probability": True,
    "distance to the twin": False,
}
#: Measures of the table behind those that are drawn.
TABLED = (*DRAWN, "restoration", "forgetting", "right elsewhere")
ATTACKS = {
    "int4": "rounded to 4 bits",
    "int8": "rounded to 8 bits",
    "relearn": "trained for 10 steps on the retain set",
}
SEED = 0


@dataclass
class Run:
    """A run: what is asked, and its answer so far.

    Attributes: roles: of each row. weights: what the method ended with, by parameter; None: not (any more) at hand.
    """

    number: int
    method: str
    steps: int
    rate: float
    roles: list[str]
    forget: Items
    retain: Items
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0
    calls: int = 0
    arm: str = RETAIN_ONLY
    attacks: list[str] = field(default_factory=list)
    weights: dict[str, Tensor] | None = None

    def layers_done(self) -> list[int]:
        """Nothing comes layer by layer."""
        return []

    def complete(self) -> bool:
        """Whether every arm came to its end."""
        return self.dataset is not None and not set(map(str, self.dataset.status.values)) & {"stopped", "not run"}

    def what(self) -> str:
        """The question in one line."""
        return f"{self.method}, {self.steps} steps at {self.rate:g}, {len(self.forget)} to forget, {len(self.retain)}"


def recipe_of(steps: int, rate: float) -> Recipe:
    """The training of every arm."""
    return Recipe(steps=steps, batch=BATCH, learning_rate=rate, weight_decay=0.0, schedule="constant")


def looks_of(steps: int) -> list[int]:
    """Steps that are looked at: about ten, the start and the end among them."""
    return sorted({round(float(s)) for s in np.linspace(0, steps, min(steps, 10) + 1)})


def walked(
    run: Run, model: Any, beside: Mapping[str, Any], unlearn: Callable[..., xr.Dataset], stop: Callable[[], bool]
) -> xr.Dataset:
    """The path of the method beside training on the retain set alone and the models given."""

    def keep(name: str, of: Any) -> None:
        if name == run.method:
            run.weights = {n: p.detach().clone() for n, p in plain(inner(of)).named_parameters()}

    def part(name: str) -> None:
        run.arm = run.method

    return unlearn(
        model,
        run.forget,
        run.retain,
        [run.method],
        recipe=recipe_of(run.steps, run.rate),
        looks=looks_of(run.steps),
        seed=SEED,
        progress=False,
        stop=stop,
        on_part=part,
        on_model=keep,
        **beside,
    )


def attacked(run: Run, attack: str, model: Any, beside: Mapping[str, Any]) -> xr.Dataset:
    """The result with what an attack makes of the start, of the twin and of what the method ended with."""
    assert run.dataset is not None and run.weights is not None
    do = unlearning.relearn(run.retain) if attack == "relearn" else unlearning.quantise(int(attack[3:]))
    questions = beside.get("questions")
    sets = Sets(run.forget, run.retain, foils_of(run.forget, SEED), None, None, questions)
    looker = Looker(sets, beside.get("twin"))
    last = run.dataset.dose.sel(arm=run.method).max()
    trained = copy_of(model)
    with torch.no_grad():
        for name, parameter in plain(inner(trained)).named_parameters():
            parameter.copy_(run.weights[name])
    every = {"start": copy_of(model), "twin": beside.get("twin"), run.method: trained}
    paths = {}
    for name, of in every.items():
        if of is not None:
            of = copy_of(of) if name == "twin" else of
            dose = float(last) if name == run.method else 0.0
            paths[f"{name}{AFTER}{attack}"] = Path([dose], [looker.look(do(of))], "complete")
    extra = assembled(paths, sets).reindex(look=run.dataset.look, fill_value={"outcome": -1})
    joined = xr.concat(
        [run.dataset, extra],
        "arm",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    return joined.assign_attrs(run.dataset.attrs)


def put_state(model: Any, weights: Mapping[str, Tensor]) -> Undo:
    """Writes weights into a model until `undo()`; they are then bit-equal to what they were."""
    # a bridge wraps modules, which a copy of it does not
    parameters = {n.replace("._original_component", ""): p for n, p in plain(inner(model)).named_parameters()}
    if parameters.keys() != weights.keys():
        odd = sorted(parameters.keys() ^ weights.keys())[0]
        raise ViewError(f"put: {odd!r} is a parameter of the model or of what was unlearned, and not of both")

    def make(undo: Undo) -> None:
        for name, parameter in parameters.items():
            own = parameter.detach().clone()
            undo.back(partial(_write, parameter, own))
            _write(parameter, weights[name])

    undo = Undo(model, "unlearned weights", make)
    undo.begin()
    return undo


@torch.no_grad()
def _write(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value)


def payload(run: Run) -> dict[str, Any]:
    """The `curves` trait: by measure and arm the looks with their intervals."""
    ds = run.dataset
    assert ds is not None
    table = unlearning.summary(ds)
    known = [str(m) for m in table.measure.values]
    measures = []
    for name in (m for m in TABLED if m in known):
        at = table.sel(measure=name)
        lines = {}
        for arm in map(str, ds.arm.values):
            own = at.sel(arm=arm)
            there = np.isfinite(own["mean"].values)
            lines[arm] = [
                [
                    finite(ds.dose.sel(arm=arm).values[i]),
                    finite(own["mean"].values[i]),
                    finite(own["low"].values[i]),
                    finite(own["high"].values[i]),
                ]
                for i in np.flatnonzero(there)
            ]
        count = at["n"].values[np.isfinite(at["mean"].values)]
        measures.append(
            {
                "name": name,
                "says": MEASURES[name],
                "drawn": name in DRAWN,
                "share": DRAWN.get(name, name == "right elsewhere"),
                "lines": lines,
                "n": int(count.max()) if count.size else 0,
            }
        )
    models = [str(a) for a, own in zip(ds.arm.values, ds.is_model.values) if own]
    return {
        "run": run.number,
        "method": run.method,
        "steps": run.steps,
        "rate": run.rate,
        "models": models,
        "arms": [str(a) for a in ds.arm.values],
        "status": {str(a): str(s) for a, s in zip(ds.arm.values, ds.status.values)},
        "measures": measures,
        "forget": len(run.forget),
        "retain": len(run.retain),
        "attacks": list(run.attacks),
        "level": 0.95,
    }
