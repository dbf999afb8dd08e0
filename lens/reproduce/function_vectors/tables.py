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
from .steps import DISTRIBUTED, UNIVERSAL, chosen_cells

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
    interval = stats.proportion(round(values.sum()), len(values))
    return {
        "accuracy": float(values.mean()),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": len(values),
    }


def answers(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]]) -> pd.DataFrame:
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


def report(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]], depth: int) -> pd.DataFrame:
    """Accuracy on the test questions: seed, task, condition, vector, at the layer and strength that the validation
    questions chose for that vector.

    Also `no vector`, the published recipe's vector at a third of the depth, each head's part at its own layer, and
    natural sentences: whether the answer comes next (condition "text"), whether it is in the first tokens written
    ("written").
    """
    rows = []

    def add(seed, task, condition, vector, correct, layer=np.nan, strength=np.nan):
        rows.append(
            {"seed": seed, "task": task, "condition": condition, "vector": vector, "layer": layer, "strength": strength}
            | rate(correct)
        )

    for (seed, task), steps in parts.items():
        cells = chosen_cells(steps["sweep"])
        ds = steps["test"]
        for condition in map(str, ds.condition.values):
            add(seed, task, condition, NONE, ds.base_correct.sel(condition=condition))
            for vector, cell in cells.items():
                of = ds if vector in ds["vector"].values else steps["test_random"]
                add(
                    seed,
                    task,
                    condition,
                    vector,
                    of.correct.sel(condition=condition, vector=vector, layer=cell["layer"], strength=cell["strength"]),
                    cell["layer"],
                    cell["strength"],
                )
            third = int(ds.layer.values[np.abs(ds.layer.values - depth / 3).argmin()])
            strength = cells[UNIVERSAL]["strength"]
            add(
                seed,
                task,
                condition,
                THIRD,
                ds.correct.sel(condition=condition, vector=UNIVERSAL, layer=third, strength=strength),
                third,
                strength,
            )
        add(seed, task, "zero_shot", ICL, steps["answers"].correct.sel(condition="icl"))
        if "distributed_test" in steps:
            spread = steps["distributed_test"].sel(condition="zero_shot", vector=UNIVERSAL)
            add(
                seed,
                task,
                "zero_shot",
                DISTRIBUTED,
                spread.correct.isel(layer=0, strength=0),
                strength=float(spread.strength.values[0]),
            )
        if "text" in steps:
            ds, cell = steps["text"].sel(condition="text"), cells[UNIVERSAL]
            add(seed, task, "text", NONE, ds.base_correct)
            for vector in map(str, ds.vector.values):
                add(
                    seed,
                    task,
                    "text",
                    vector,
                    ds.correct.sel(vector=vector).isel(layer=0, strength=0),
                    cell["layer"],
                    cell["strength"],
                )
        if "written" in steps:
            ds, cell = steps["written"], cells[UNIVERSAL]
            add(seed, task, "written", NONE, ds.base_success)
            for vector in map(str, ds.vector.values):
                add(seed, task, "written", vector, ds.success.sel(vector=vector), cell["layer"], cell["strength"])
    return pd.DataFrame(rows)


def layers(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]], task: str | None = None) -> pd.DataFrame:
    """The validation sweep along the layer, every vector at its chosen strength: one task's, or all tasks' questions
    together.
    """
    held: dict[tuple[str, int], list] = {}
    for (_, name), steps in parts.items():
        if task in (None, name):
            ds, cells = steps["sweep"], chosen_cells(steps["sweep"])
            for vector, cell in cells.items():
                for layer in ds.layer.values:
                    held.setdefault((vector, int(layer)), []).append(
                        ds.correct.sel(
                            condition="zero_shot", vector=vector, layer=layer, strength=cell["strength"]
                        ).values
                    )
    return pd.DataFrame([{"vector": v, "layer": l} | rate(np.concatenate(c)) for (v, l), c in held.items()])


def counts(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]]) -> pd.DataFrame:
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


def templates(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]]) -> pd.DataFrame:
    """Accuracy in other templates, with and without the vector: seed, task, template, vector; test questions."""
    rows = []
    for (s, t), steps in parts.items():
        if "portability" in steps:
            ds = steps["portability"]
            for name in map(str, ds.template.values):
                rows.append(
                    {"seed": s, "task": t, "template": name, "vector": NONE} | rate(ds.base_correct.sel(template=name))
                )
                rows += [
                    {"seed": s, "task": t, "template": name, "vector": str(v)}
                    | rate(ds.correct.sel(template=name, vector=v))
                    for v in ds.vector.values
                ]
    return pd.DataFrame(rows)


def shots(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]]) -> pd.DataFrame:
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
    rows = []
    for key, group in frame.groupby(list(by), sort=False):
        right = round((group.accuracy * group.n).sum())
        interval = stats.proportion(right, int(group.n.sum()))
        rows.append(
            dict(zip(by, key if isinstance(key, tuple) else (key,)))
            | {
                "accuracy": float(interval.estimate),
                "low": float(interval.low),
                "high": float(interval.high),
                "n": int(group.n.sum()),
            }
        )
    return pd.DataFrame(rows)


def by_task(frame: pd.DataFrame, **where: Any) -> pd.Series:
    """Accuracy by task, mean over the seeds, of the rows that match `where`."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame.groupby("task", sort=False).accuracy.mean()
