"""A question of provenance and its answer in what JSON can hold."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from lens.provenance.result import QueryResult
from lens.stats import Interval, PValue
from widgets.base import state
from widgets.provenance_bench.work import Inquiry, Question

P_VALUES = ("p_permutation", "p_key", "p_e", "p_t")


def pack(run: Inquiry) -> dict[str, Any]:
    """The run with its question and its result, without what asks."""
    return {
        "question": asdict(run.question),
        "number": run.number,
        "result": None if run.dataset is None else _pack_result(run.dataset),
        "status": run.status,
        "seconds": run.seconds,
        "error": run.error,
    }


def unpack(packed: dict[str, Any], ask: Any) -> Inquiry:
    """The run that `pack` was given; `ask` would ask it again."""
    return Inquiry(
        Question(**packed["question"]),
        ask,
        packed["number"],
        None if packed["result"] is None else _unpack_result(packed["result"]),
        packed["status"],
        packed["seconds"],
        packed["error"],
    )


def _pack_result(result: QueryResult) -> dict[str, Any]:
    values = {of.name: getattr(result, of.name) for of in fields(result)}
    for name in ("interval", *P_VALUES):
        values[name] = None if values[name] is None else asdict(values[name])
    frame = values["frame"]
    return state.to_json(values | {"frame": [[name, frame[name].to_numpy()] for name in frame.columns]})


def _unpack_result(packed: dict[str, Any]) -> QueryResult:
    values = state.from_json(packed)
    for name in P_VALUES:
        values[name] = None if values[name] is None else PValue(**values[name])
    frame = pd.DataFrame(dict(values["frame"]))
    return QueryResult(
        **values | {"interval": Interval(**values["interval"]), "frame": frame, "warnings": tuple(values["warnings"])}
    )
