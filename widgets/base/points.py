"""A model under one edit, measured: what it recites and what clean text costs it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import xarray as xr

from lens import memorization
from widgets.base import state
from widgets.base.sets import Sides
from widgets.base.text import finite

PERFORMANCE = {"copying": 0, "heads": False}
MEASURES = ("strict", "loose", "lev", "exact_prefix", "nll")


@dataclass
class Point:
    """A model under one edit: the values of every sequence and text, and its rows of the table by set of sequences."""

    line: xr.Dataset
    table: dict[str, dict[str, Any]]
    probes: np.ndarray | None = None
    shares: dict[str, float] = field(default_factory=dict)
    share: float = 0.0


def pack(point: Point) -> dict[str, Any]:
    """The point in what JSON can hold."""
    values = {of.name: getattr(point, of.name) for of in fields(point)}
    return state.to_json(values | {"line": state.pack(point.line)})


def unpack(packed: dict[str, Any]) -> Point:
    """The point that `pack` was given."""
    values = {name: state.from_json(value) for name, value in packed.items() if name != "line"}
    return Point(**values, line=state.unpack(packed["line"]))


def measured(
    model: Any, edit: Any, sides: Sides, base: xr.Dataset | None, level: float, seed: int
) -> tuple[Point, xr.Dataset]:
    """The point under an edit (None: as it is), and `performance`; the same values as `lens.memorization.tradeoff`
    gives, one edit at a time.
    """
    with memorization.edited(model, edit) as now:
        parts = [
            memorization.extract(now, of, progress=False).assign_coords(set=("sequence", np.full(len(of), name)))
            for name, of in sides.sets.items()
        ]
        probes = (
            memorization.extract(now, sides.probes, progress=False).generated.values
            if sides.probes is not None
            else None
        )
        after = (
            memorization.performance(now, sides.clean, progress=False, **PERFORMANCE)
            if edit is not None or base is None
            else base
        )
    base = after if base is None else base
    cost = memorization.compared(base, after)
    own = xr.concat(
        [part.drop_vars("sequence") for part in parts],
        "sequence",
        data_vars="all",
        coords="minimal",
        compat="override",
        combine_attrs="drop",
    )
    line = xr.merge([own, cost[["nll_after", "ndcg", "tokens"]].rename(nll_after="nll_text")], combine_attrs="drop")
    recited = memorization.summary(line, by="set", variables=MEASURES, level=level, seed=seed).to_dataframe()
    paid_for = memorization.damage_summary(cost, level=level, seed=seed).to_dataframe()
    loss, ndcg = (paid_for.iloc[i] for i in (0, 2))
    paid = {
        "loss": loss.after,
        "rise": loss.change,
        "rise_low": loss.low,
        "rise_high": loss.high,
        "texts": int(loss.n),
        "ndcg": ndcg.after,
    }
    bounds = [f"{m}{end}" for m in MEASURES for end in ("", "_low", "_high")]
    table = {
        name: (
            {"n": int(recited.loc[name, "n"])}
            | {k: finite(recited.loc[name, k]) for k in bounds}
            | {k: finite(v) for k, v in paid.items()}
        )
        for name in sides.sets
    }
    return Point(line, table, probes), after
