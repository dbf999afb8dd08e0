"""Tidy tables from the stored steps of the reproduction of Function Vectors: one row a point, with its accuracy,
interval and n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import stats
from ..common import matching
from .heads import UNIVERSAL
from .steps import DISTRIBUTED, chosen_cells

#: the stored steps of a run by seed and task, then by name
Parts = Mapping[tuple[int, str], Mapping[str, xr.Dataset]]
NONE = "no vector"
#: rows of `report` whose vector stands at a third of the depth, as published
THIRD = "universal heads, a third of the depth"
ICL = "ten shots"


def rate(correct: Any) -> dict[str, float]:
    """Share of right answers with its Clopper-Pearson interval and n; NaN are no answers. A mean over draws of a
    control counts as one answer, their sum to the nearest whole.
    """
    values = np.asarray(correct, float).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return {"accuracy": np.nan, "low": np.nan, "high": np.nan, "n": 0}
    return _share(round(values.sum()), len(values)) | {"accuracy": float(values.mean())}


def _share(right: int, n: int) -> dict[str, float]:
    interval = stats.proportion(right, n)
    bounds = {"accuracy": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: float(value) for name, value in bounds.items()} | {"n": n}


def answers(parts: Parts) -> pd.DataFrame:
    """Accuracy without any edit: seed, task, condition; whole answers, and of first tokens in `first`."""
    return pd.DataFrame(
        [
            {"seed": s, "task": t, "condition": str(c)}
            | rate(ds.correct.sel(condition=c))
            | {"first": float(ds["first"].astype(float).sel(condition=c).mean())}
            for (s, t), steps in parts.items()
            for ds in [steps["answers"]]
            for c in ds.condition.values
        ]
    )


def report(parts: Parts, depth: int) -> pd.DataFrame:
    """Accuracy on the test questions: seed, task, condition, vector, at the layer and strength that the validation
    questions chose for that vector.

    Also `no vector`, the published recipe's vector at a third of the depth, each head's part at its own layer, and
    natural sentences: whether the answer comes next (condition "text"), whether it is in the first tokens written
    ("written").
    """
    rows: list[dict[str, Any]] = []
    for (seed, task), steps in parts.items():

        def add(condition: str, vector: str, correct: Any, cell: Mapping[str, float] = {}) -> None:
            about = {"seed": seed, "task": task, "condition": condition, "vector": vector}
            rows.append({**about, "layer": np.nan, "strength": np.nan, **cell, **rate(correct)})

        def at(cell: Mapping[str, float]) -> dict[str, float]:
            return {"layer": cell["layer"], "strength": cell["strength"]}

        cells, ds = chosen_cells(steps["sweep"]), steps["test"]
        third = cells[UNIVERSAL] | {"layer": int(ds.layer.values[np.abs(ds.layer.values - depth / 3).argmin()])}
        for c in map(str, ds.condition.values):
            add(c, NONE, ds.base_correct.sel(condition=c))
            for vector, cell in cells.items():
                of = ds if vector in ds["vector"].values else steps["test_random"]
                add(c, vector, of.correct.sel(condition=c, vector=vector, **at(cell)), cell)
            add(c, THIRD, ds.correct.sel(condition=c, vector=UNIVERSAL, **at(third)), third)
        add("zero_shot", ICL, steps["answers"].correct.sel(condition="icl"))
        if "distributed_test" in steps:
            spread = steps["distributed_test"].sel(condition="zero_shot", vector=UNIVERSAL).isel(layer=0, strength=0)
            add("zero_shot", DISTRIBUTED, spread.correct, {"strength": float(spread.strength)})
        for c, right in (("text", "correct"), ("written", "success")):
            if c in steps:
                ds = steps[c].sel(condition=c).isel(layer=0, strength=0) if c == "text" else steps[c]
                add(c, NONE, ds[f"base_{right}"])
                for vector in map(str, ds["vector"].values):
                    add(c, vector, ds[right].sel(vector=vector), cells[UNIVERSAL])
    return pd.DataFrame(rows)


def layers(parts: Parts, task: str | None = None) -> pd.DataFrame:
    """The validation sweep along the layer, every vector at its chosen strength: one task's, or all tasks' questions
    together.
    """
    held: dict[tuple[str, int], list] = {}
    for (_, name), steps in parts.items():
        if task in (None, name):
            ds, cells = steps["sweep"], chosen_cells(steps["sweep"])
            for vector, cell in cells.items():
                of = ds.correct.sel(condition="zero_shot", vector=vector, strength=cell["strength"])
                for layer in ds.layer.values:
                    held.setdefault((vector, int(layer)), []).append(of.sel(layer=layer).values)
    return pd.DataFrame([{"vector": v, "layer": l} | rate(np.concatenate(c)) for (v, l), c in held.items()])


def counts(parts: Parts) -> pd.DataFrame:
    """Accuracy by the number of heads in the vector, those of largest effect ("top") and drawn ones ("random"): seed,
    task, choice, heads; test questions.
    """
    return pd.DataFrame(
        [
            {"seed": s, "task": t, "choice": str(c), "heads": int(k)} | rate(ds.correct.sel(heads=k, choice=c))
            for (s, t), steps in parts.items()
            if "curve" in steps
            for ds in [steps["curve"]]
            for c in ds.choice.values
            for k in ds["heads"].values
        ]
    )


def templates(parts: Parts) -> pd.DataFrame:
    """Accuracy in other templates, with and without the vector: seed, task, template, vector; test questions."""
    return pd.DataFrame(
        [
            {"seed": s, "task": t, "template": str(name), "vector": vector} | rate(right.sel(template=name))
            for (s, t), steps in parts.items()
            if "portability" in steps
            for ds in [steps["portability"]]
            for name in ds.template.values
            for vector, right in [
                (NONE, ds.base_correct),
                *((str(v), ds.correct.sel(vector=v)) for v in ds.vector.values),
            ]
        ]
    )


def shots(parts: Parts) -> pd.DataFrame:
    """Accuracy by the number of demonstrations, with the published recipe's vector and without: seed, task, vector,
    shots; test questions.
    """
    return pd.DataFrame(
        [
            {"seed": s, "task": t, "vector": vector, "shots": int(k)} | rate(of.sel(shots=k))
            for (s, t), steps in parts.items()
            if "shots" in steps
            for vector, of in ((NONE, steps["shots"].base_correct), (UNIVERSAL, steps["shots"].correct))
            for k in steps["shots"]["shots"].values
        ]
    )


def plane(ds: xr.Dataset) -> np.ndarray:
    """The mean effect of every head over prompts, ``[layer, head]``."""
    return (ds.effect.mean("prompt") if "prompt" in ds.effect.dims else ds.effect).transpose("layer", "head").values


def pooled(frame: pd.DataFrame, by: Iterable[str]) -> pd.DataFrame:
    """Rows of `frame` with the same `by` put together: all their questions, the interval of the whole."""
    return pd.DataFrame(
        [
            dict(zip(by, key)) | _share(round((group.accuracy * group.n).sum()), int(group.n.sum()))
            for key, group in frame.groupby(list(by), sort=False)
        ]
    )


def by_task(frame: pd.DataFrame, **where: Any) -> pd.Series:
    """Accuracy by task, mean over the seeds, of the rows that match `where`."""
    return matching(frame, **where).groupby("task", sort=False).accuracy.mean()
