"""A run in what JSON can hold."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lens import prompts
from widgets.base import state
from widgets.errors import ViewError
from widgets.patch_explorer.work import PatchMap


def pack(run: PatchMap) -> dict[str, Any]:
    """The run with its pair and its Dataset."""
    if run.dataset is None:
        raise ViewError(f"run: {run.name} has no numbers yet; wait for its first layer")
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    pair = {field.name: getattr(run.pair, field.name) for field in fields(run.pair)}
    return values | {"pair": pair | {"spans": dict(run.pair.spans)}, "dataset": state.pack(run.dataset)}


def unpack(packed: dict[str, Any]) -> PatchMap:
    """The run that `pack` was given."""
    spans = {
        name: [tuple(place) for place in where] if isinstance(where, list) else where
        for name, where in packed["pair"]["spans"].items()
    }
    pair = prompts.Pair(**packed["pair"] | {"spans": spans})
    return PatchMap(**packed | {"pair": pair, "dataset": state.unpack(packed["dataset"])})
