"""The best cell of an evaluation: chosen on one split, reported on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from .. import stats
from ..arguments import (
    Number,
    Seed,
    Share,
    Whole,
    door,
)
from ..notices import warn
from ..results import dataset as results
from .errors import VectorError
from .evaluation import AXES

Axis = Literal["layer", "strength"]


Measured = Literal["correct", "first"]


@door(VectorError)
def choose(
    result: xr.Dataset, over: Axis | Sequence[Axis] = ("layer", "strength"), *, metric: Measured = "correct"
) -> dict[str, dict[str, Any]]:
    """The cell with the best mean accuracy of each vector, over items and conditions; of equal ones the largest mean
    log-probability of the answer.

    Use it on the validation split and `report` the cells on the test split: the best of many cells looks better than it
    is.

    Returns: by vector: `layer`, `strength`, `accuracy` there, `n` items, `cells` compared, `split`, `metric`.

    Raises: VectorError: no result of `evaluate`, an axis that is neither in `over` nor of length 1, a result without a
        value.
    """
    require_evaluation(result)
    over = (over,) if isinstance(over, str) else tuple(over)
    for axis in {"layer", "strength"} - set(over):
        if result.sizes[axis] > 1:
            raise VectorError(
                f"over={over!r} leaves out {axis}, of which the result has {result.sizes[axis]}; select one with"
                f" result.isel({axis}=[0]), or choose over it too."
            )
    call, cells = results.provenance(result)["call"], {}
    for name in result["vector"].values:
        own = result.sel(vector=name)
        accuracy, logprob = (
            own[v].mean(("item", "condition")).transpose("layer", "strength").values for v in (metric, "logprob")
        )
        if np.isnan(accuracy).all():
            raise VectorError(
                f"result: vector {name!r} has no value; was the evaluation stopped before its first layer?"
            )
        best = np.argwhere(accuracy == np.nanmax(accuracy))
        li, si = best[int(np.nanargmax([logprob[tuple(b)] for b in best]))]
        cells[str(name)] = {
            "layer": int(result["layer"].values[li]),
            "strength": float(result["strength"].values[si]),
            "accuracy": float(accuracy[li, si]),
            "n": int(np.isfinite(own[metric].values[:, :, li, si]).all(1).sum()),
            "cells": int(np.isfinite(accuracy).sum()),
            "split": call.get("split"),
            "metric": metric,
        }
    return cells


@door(VectorError)
def report(
    result: xr.Dataset,
    chosen: Mapping[str, Mapping[str, Any]],
    *,
    control: str | None = "random",
    metric: Measured = "correct",
    level: Share = 0.95,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Accuracy of each vector at its chosen cell, against the same prompts without a vector and with the control vector
    at that cell.

    Args:
        result: of `evaluate`, on prompts that the choice has not seen (warned otherwise).
        chosen: by vector: `layer` and `strength`, as `choose` returns.
        control: name of the control vector; None, or one that is not in the result: no control columns.

    Returns: a row for each vector and condition: `layer`, `strength`, `n`, `accuracy` with its exact interval (`low`,
        `high`), `base`, `difference` with its bootstrap interval over items (`difference_low`, `difference_high`), `p`
        (two-sided McNemar test), `p_kind` (its kind: "exact"), and `p_holm` (over all rows); the same of the difference
        from the control: `control`, `over_control`, `over_control_low`, `over_control_high`, `p_control` (of the same
        kind).

    Raises: VectorError: no result of `evaluate`, vectors or cells that it does not have, cells without a value.
    """
    require_evaluation(result)
    if not chosen:
        raise VectorError("chosen={} names no vector; give what lens.vectors.choose returned.")
    for name, cell in chosen.items():
        for axis, check in (("layer", Whole(-1)), ("strength", Number())):
            check.of(
                cell.get(axis), f"chosen[{name!r}][{axis!r}]", VectorError, "give what lens.vectors.choose returned"
            )
    split, rows = results.provenance(result)["call"].get("split"), []
    with_control = control is not None and control in result["vector"].values
    if any(cell.get("split") == split is not None and cell.get("cells", 0) > 1 for cell in chosen.values()):
        warn(
            f"the cells were chosen on split {split!r}, on which they are reported now: the accuracies are too high;"
            " evaluate another split."
        )
    for name, cell in chosen.items():
        try:
            own = result.sel(vector=name, layer=cell["layer"], strength=cell["strength"])
            other = (
                result.sel(vector=control, layer=cell["layer"], strength=cell["strength"])
                if with_control and name != control
                else None
            )
        except KeyError as error:
            raise VectorError(
                f"chosen: {name!r} at {dict(cell)!r} is not in the result ({error}); it has vectors"
                f" {result['vector'].values.tolist()}, layers {result['layer'].values.tolist()}, strengths"
                f" {result['strength'].values.tolist()}."
            ) from None
        for condition in result["condition"].values:
            at = {"condition": condition}
            values, base = own[metric].sel(at).values.astype(float), own[f"base_{metric}"].sel(at).values.astype(float)
            if np.isnan(values).any():
                raise VectorError(
                    f"result: vector {name!r} at layer {cell['layer']} has no value for {int(np.isnan(values).sum())}"
                    " items; the evaluation is partial, run it to the end."
                )
            share = stats.proportion(int(values.sum()), len(values), level)
            row = {
                "vector": name,
                "condition": str(condition),
                "layer": int(cell["layer"]),
                "strength": float(cell["strength"]),
                "n": len(values),
                "accuracy": share.estimate,
                "low": share.low,
                "high": share.high,
                "base": base.mean(),
            }
            row |= dict(
                zip(
                    ("difference", "difference_low", "difference_high", "p", "p_kind"),
                    _paired(values, base, level, seed),
                )
            )
            if with_control:
                other_values = None if other is None else other[metric].sel(at).values.astype(float)
                row |= {"control": np.nan if other_values is None else other_values.mean()}
                row |= dict(
                    zip(
                        ("over_control", "over_control_low", "over_control_high", "p_control"),
                        (np.nan,) * 4 if other_values is None else _paired(values, other_values, level, seed)[:4],
                    )
                )
            rows.append(row)
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p_kind") + 1, "p_holm", stats.holm(table["p"].to_numpy()))
    return table


def _paired(a: np.ndarray, b: np.ndarray, level: float, seed: int) -> tuple[float, float, float, float, str]:
    """Difference of two accuracies on the same items, its interval, and the exact McNemar p value with its kind: a sign
    test of the items on which they differ.
    """
    wins, losses = int((a > b).sum()), int((a < b).sum())
    test = stats.binomial_test(wins, wins + losses) if wins + losses else None
    p, kind = (
        (1.0, "exact") if test is None else (float(test), test.kind)
    )  # without an item on which they differ p is 1
    if len(a) < 2:
        return float((a - b).mean()), float("nan"), float("nan"), p, kind
    interval = stats.bootstrap(a - b, level=level, seed=seed, values="difference")
    return interval.estimate, interval.low, interval.high, p, kind


def require_evaluation(result: xr.Dataset) -> None:
    """Refuses what is no result of `evaluate` (VectorError)."""
    if not set(AXES) <= set(result.dims) or "base_correct" not in result:
        raise VectorError(
            "result: expected what lens.vectors.evaluate returned, with item, condition, vector, layer and strength."
        )
