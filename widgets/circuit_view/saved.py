"""A run in what JSON can hold."""

from __future__ import annotations

from typing import Any

from lens import prompts
from lens.circuits import Edges
from widgets.base import state
from widgets.base.pairs import pair_from
from widgets.circuit_view.work import Search, known_exact
from widgets.errors import ViewError

_PLAIN = ("number", "method", "metric", "ablation", "status", "seconds")


def pack(run: Search) -> dict[str, Any]:
    """The run with its pairs and its scores."""
    if run.dataset is None:
        raise ViewError("run: has no scores yet; wait for it")
    pairs = {name: [pair.as_record() for pair in getattr(run, name)] for name in ("pairs", "held_out")}
    exact = {name: state.to_json(values) for name, values in run.exact.items()}
    plain = {name: getattr(run, name) for name in _PLAIN}
    return plain | pairs | {"exact": exact, "dataset": state.pack(run.dataset)}


def unpack(packed: dict[str, Any]) -> Search:
    """The run that `pack` was given."""
    pairs = {
        name: [pair_from({"pairs": packed[name]}, prompts.Pair, i) for i in range(len(packed[name]))]
        for name in ("pairs", "held_out")
    }
    found = Edges.of(state.unpack(packed["dataset"]))
    exact = known_exact(found) | {name: state.from_json(values) for name, values in packed["exact"].items()}
    plain: dict[str, Any] = {name: packed[name] for name in _PLAIN}
    return Search(**plain, pairs=pairs["pairs"], held_out=pairs["held_out"], dataset=found, exact=exact)
