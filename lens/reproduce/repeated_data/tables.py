"""Tables of a run: every training at its end and by its looks, arms within seeds, and sizes read off the ladder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import stats
from ..common import student
from .arms import ALL, UNIQUE_ONLY, repeats
from .bench import MEASURES

#: Of a head: prefix matching at least, and how far second copies lie below first ones.
LEAST, NATS = 0.3, 1.0
#: What a size is read from.
READ = ("text", "copy_2", "prefix_matching")


def tables(parts: Mapping[str, xr.Dataset], arms: Any) -> dict[str, pd.DataFrame]:
    """All tables, of what was trained: `arms` in the order of the parts."""
    looks = pd.concat([_looks(ds, arm) for ds, arm in zip(parts.values(), arms)], ignore_index=True)
    ends = looks.groupby(["arm", "d", "seed"], sort=False).tail(1).reset_index(drop=True)
    ends["head_at"] = [_head_at(looks, row) for row in ends.itertuples()]
    stops = [_stopped(looks, row) for row in ends.itertuples()]
    ends["stopped_at"], ends["stopped"], ends["stopped_choose"] = map(list, zip(*stops))
    return {"looks": looks, "ends": ends, "arms": by_arm(ends), "sizes": sizes(ends)}


def _looks(ds: xr.Dataset, arm: Any) -> pd.DataFrame:
    table = ds[["step", *MEASURES]].to_dataframe().reset_index(drop=True)
    about = {name: int(ds[name]) for name in ("repeats", "parameters", "subset_rows", "steps", "batch")}
    return table.assign(arm=arm.name, d=arm.d_model, seed=arm.seed, **about)


def _of(looks: pd.DataFrame, row: Any) -> pd.DataFrame:
    return looks[(looks.arm == row.arm) & (looks.d == row.d) & (looks.seed == row.seed)]


def _head_at(looks: pd.DataFrame, row: Any) -> float:
    """The first look at which the head is there; NaN: it never is."""
    there = _of(looks, row)
    there = there[there.prefix_matching >= LEAST]
    return float(there.step.iloc[0]) if len(there) else np.nan


def _stopped(looks: pd.DataFrame, row: Any) -> tuple[float, float, float]:
    """The look, its end among them, with the least text loss on the rows that choose: its step, its text loss on those
    that report, and the loss that chose it.
    """
    there = _of(looks, row).dropna(subset=["text", "text_choose"])
    best = there.loc[there.text_choose.idxmin()]
    return float(best.step), float(best.text), float(best.text_choose)


def values(ends: pd.DataFrame, arm: str, d: int, measure: str = "text") -> pd.Series:
    """A measure of an arm by seed; empty where it was not trained."""
    of = ends[(ends.arm == arm) & (ends.d == d)].set_index("seed")[measure]
    return of.astype(float)


def by_arm(ends: pd.DataFrame) -> pd.DataFrame:
    """By size and arm: means over seeds, and the differences to the trainings without the subset, with intervals."""
    lines = []
    for (d, arm), of in ends.groupby(["d", "arm"], sort=False):
        line: dict[str, Any] = {"d": d, "parameters": int(of.parameters.iloc[0]), "arm": arm, "seeds": len(of)}
        line |= {"repeats": int(of.repeats.iloc[0]), "subset_rows": int(of.subset_rows.iloc[0])}
        line |= {name: float(of[name].mean()) for name in MEASURES}
        line["head_at"] = float(of.head_at.mean()) if of.head_at.notna().all() else np.nan
        line["heads"] = int(of.head_at.notna().sum())
        for name, other in (("steps", UNIQUE_ONLY[0]), ("batch", UNIQUE_ONLY[1]), ("all", ALL)):
            more = student(values(ends, arm, d) - values(ends, other, d))
            line |= {f"over_{name}": more.estimate, f"over_{name}_low": more.low, f"over_{name}_high": more.high}
        lines.append(line)
    return pd.DataFrame(lines)


def sizes(ends: pd.DataFrame) -> pd.DataFrame:
    """By size and arm: the size that has the same text loss, loss of second copies or prefix matching, from the ladder
    of trainings on new rows alone; an arm that has no head in one of its seeds has no size by copying.
    """
    ladder = ends[ends.arm == ALL]
    rungs = sorted(set(ladder.d))
    if len(rungs) < 2:
        return pd.DataFrame()
    lines = []
    for (d, arm), of in ends[ends.arm != ALL].groupby(["d", "arm"], sort=False):
        for measure in READ:
            there = _with_heads(ladder, rungs) if measure != "text" else rungs
            line = {"d": d, "arm": arm, "measure": measure, "own": int(of.parameters.iloc[0])}
            lines.append(line | _size(of, ladder, there, measure))
    return pd.DataFrame(lines)


def _with_heads(ladder: pd.DataFrame, rungs: list[int]) -> list[int]:
    """The sizes of which every training has a head."""
    return [d for d in rungs if (ladder[ladder.d == d].prefix_matching >= LEAST).all()]


def _size(of: pd.DataFrame, ladder: pd.DataFrame, rungs: list[int], measure: str) -> dict[str, Any]:
    nothing = {"size": np.nan, "low": np.nan, "high": np.nan}
    heads = int((of.prefix_matching >= LEAST).sum())
    if measure != "text" and heads < len(of):
        return nothing | {"kind": f"not translated: a head in {heads} of {len(of)} seeds"}
    if len(rungs) < 2:
        return nothing | {"kind": "not available: fewer than two sizes with a head"}
    each = [ladder[ladder.d == d] for d in rungs]
    most = max(map(len, each))
    table = [np.pad(e[measure].to_numpy(float), (0, most - len(e)), constant_values=np.nan) for e in each]
    try:
        found = stats.effective_size(of[measure].to_numpy(float), [int(e.parameters.iloc[0]) for e in each], table)
    except stats.StatisticsError as error:
        return nothing | {"kind": f"not available: {error}"}
    return {"size": found.estimate, "low": found.low, "high": found.high, "kind": str(found.kind)}


def harms(ends: pd.DataFrame, d: int, arm: str, beside: tuple[str, ...] = UNIQUE_ONLY) -> dict[str, stats.Interval]:
    """How far the text loss of an arm lies above that of each training without the subset, within seeds."""
    return {other: student(values(ends, arm, d) - values(ends, other, d)) for other in beside}


def worst(ends: pd.DataFrame, d: int, counts: tuple[int, ...]) -> pd.Series:
    """By seed, the count of repeats with the largest text loss; seeds in which a count is missing are left out."""
    by_count = pd.DataFrame({r: values(ends, repeats(r), d) for r in sorted(counts)}).dropna()
    return by_count.idxmax(axis=1) if len(by_count) else pd.Series(dtype=int)
