"""The trainings of a run, and what is measured of each of the stand-in: losses of its items, and which it recites."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ... import memorization
from ...models import weight_hash
from ...results import dataset as results
from . import acquisition
from .retention import name_of
from .standin import ITEM, PREFIX, Plan, Training, trained, write
from .traps import STANDARD, TRAPPED, losses, traps


def every(plan: Plan) -> list[Training]:
    """All trainings of a seed."""
    return [*plan.trainings, *((TRAPPED,) if plan.traps else ())]


class Job(NamedTuple):
    """A training by its key among the parts of a run, the name of its file, and what makes it."""

    key: tuple[str, int]
    file: str
    make: Callable[[], xr.Dataset]


def jobs(plan: Plan) -> list[Job]:
    """All trainings of a run."""
    made = [
        Job((one.name, seed), f"{one.name.replace(' %', '')} seed {seed}", partial(measured, plan, one, seed))
        for seed in plan.seeds
        for one in every(plan)
    ]
    if plan.acquisition:
        course = acquisition.Course(*plan.acquisition)
        made += [
            Job((name_of(arm), number), f"{name_of(arm)} {number}", partial(acquisition.acquired, course, arm, number))
            for number in range(len(acquisition.GROUPS))
            for arm in acquisition.ARMS
        ]
    return made


def said(ds: xr.Dataset) -> str:
    """What a training is told of by."""
    if "log_p" in ds:
        return f"question {float(ds.log_p.sel(probe='question')[-1].mean()):.2f} nats at the end"
    recited = f", {int(ds.strict.sum())} recited" if "strict" in ds else ""
    return f"loss {float(ds['nll' if 'nll' in ds else 'trap_nll'].mean()):.3f}{recited}"


def measured(plan: Plan, one: Training, seed: int) -> xr.Dataset:
    """Of a training, over `item`: `nll` (nats a token of what is to be recited), `strict`, `duplicates`; of the
    standard model and of the one that traps are put into, `trap_nll` over `traps_of, trap`.
    """
    if one == TRAPPED:
        return _trapped(plan, seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, plan, one, seed)
        model = trained(folder, plan, one, seed)
        asked = memorization.hubble_items(folder / "items.jsonl", prefix=PREFIX, suffix=ITEM - PREFIX, kind="codes")
    recited = memorization.extract(model, asked, progress=False)
    ds = xr.Dataset(
        {
            "nll": ("item", memorization.losses(model, asked)),
            "strict": ("item", np.asarray(recited.strict.values, float)),
            "duplicates": ("item", asked.duplicates),
        }
    )
    if plan.traps and one == STANDARD:
        ds = ds.assign(trap_nll=losses(model, plan))
    return _stamped(ds, one, seed, model)


def _trapped(plan: Plan, seed: int) -> xr.Dataset:
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), plan, TRAPPED, seed, traps(plan, seed))
        model = trained(Path(place), plan, TRAPPED, seed)
    return _stamped(xr.Dataset({"trap_nll": losses(model, plan)}), TRAPPED, seed, model)


def _stamped(ds: xr.Dataset, one: Training, seed: int, model: Any) -> xr.Dataset:
    record = {"kind": "hubble_standin", "training": one.name, "seed": seed, "weights": weight_hash(model)[:16]}
    return results.stamp(ds, record)
