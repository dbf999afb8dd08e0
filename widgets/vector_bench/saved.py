"""The effects of heads, and the means that their vector is made of, in what JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
import xarray as xr

from lens.vectors import Means
from widgets.base import state
from widgets.vector_bench.work import Ask, HeadSearch


def pack(run: HeadSearch, tests: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The run without its task, and what was read on the test split."""
    return {
        "ask": asdict(run.ask),
        "effects": {side: state.pack(found) for side, found in run.datasets.items()},
        "summaries": {side: state.pack(found) for side, found in run.summaries.items()},
        "means": {side: _pack_means(means) for side, means in run.means.items() if isinstance(means, Means)},
        "tests": {side: state.pack(found) for side, found in tests.items()},
        "sides": list(run.sides),
        "notes": list(run.notes),
        "status": run.status,
        "seconds": run.seconds,
    }


def ask_of(packed: dict[str, Any]) -> Ask:
    """The question of the run that `pack` was given."""
    return Ask(**packed["ask"] | {"pairs": tuple((x, y) for x, y in packed["ask"]["pairs"])})


def unpack(packed: dict[str, Any], task: Any) -> tuple[HeadSearch, dict[str, xr.Dataset]]:
    """What `pack` was given; `task`: the one that its question makes."""
    run = HeadSearch(
        ask_of(packed),
        task,
        means={side: _unpack_means(means) for side, means in packed["means"].items()},
        summaries={side: state.unpack(found) for side, found in packed["summaries"].items()},
        sides=tuple(packed["sides"]),
        status=packed["status"],
        seconds=packed["seconds"],
        notes=packed["notes"],
    )
    for side, found in packed["effects"].items():
        run.dataset = run.take(side, state.unpack(found))
    return run, {side: state.unpack(found) for side, found in packed["tests"].items()}


def _pack_means(means: Means) -> dict[str, Any]:
    values = {of.name: getattr(means, of.name) for of in fields(means)}
    arrays = {name: values[name].detach().float().cpu().numpy() for name in ("z", "resid")}
    return state.to_json(values | arrays)


def _unpack_means(packed: dict[str, Any]) -> Means:
    values = state.from_json(packed)
    return Means(**values | {name: torch.from_numpy(values[name]) for name in ("z", "resid")})
