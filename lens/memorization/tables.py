"""Tables of per-unit values: one line a group with n, estimate and interval; and results of several runs put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..engine import results
from ..measure.statistics import Interval, bootstrap, proportion
from .errors import MemorizationError, labels


def summary(result: xr.Dataset | Sequence[xr.Dataset], by: Any = "duplicates", *, variables: Sequence[str] | None = None, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Means of per-sequence values with intervals, one line a group: shares by Clopper-Pearson, others by the bootstrap over sequences.

    Args:
        result: from `extract`, `exposure`, `recall` ...; several (of several seeds, say) are pooled.
        by: a coordinate, several of them, an array with a label for each sequence, or None for all together. A result without the default coordinate is one group.
        variables: which per-sequence variables; None for all that are numbers of one axis.

    Returns: the group's labels, `n`, and for each variable `x`, `x_low`, `x_high` (NaN for fewer than two values that are no shares).

    Raises: MemorizationError: no such coordinate or variable.
    """
    ds = result if isinstance(result, xr.Dataset) else pool(result)
    n = ds.sizes["sequence"]
    by = None if isinstance(by, str) and by == "duplicates" and "duplicates" not in ds.coords else by
    names = [] if by is None else [by] if isinstance(by, str) else list(by) if isinstance(by, (list, tuple)) and all(isinstance(b, str) for b in by) else None
    if names is None:
        keys = pd.DataFrame({"group": labels(by, n, "by")})
    elif missing := [b for b in names if b not in ds.coords or ds[b].dims != ("sequence",)]:
        raise MemorizationError(f"by={missing[0]!r} is no coordinate of the sequences; there are {', '.join(c for c in map(str, ds.coords) if ds[c].dims == ('sequence',))}.")
    else:
        keys = pd.DataFrame({b: ds[b].values for b in names})
    if not len(keys.columns):
        keys = pd.DataFrame({"group": ["all"] * n})
    chosen = [str(v) for v in ds.data_vars if ds[v].dims == ("sequence",) and ds[v].dtype.kind in "biuf"] if variables is None else list(variables)
    there = [str(v) for v in ds.data_vars if ds[v].dims == ("sequence",)]
    if unknown := [v for v in chosen if v not in there]:
        raise MemorizationError(f"variables has {unknown[0]!r}, which is no value of each sequence; there are {', '.join(there)}.")
    lines = []
    for label, at in keys.groupby(list(keys.columns), sort=True).indices.items():
        label = label if isinstance(label, tuple) else (label,)
        line = dict(zip(keys.columns, label)) | {"n": len(at)}
        for variable in chosen:
            found = interval(ds[variable].values[at], level, seed)
            line |= {variable: found.estimate, f"{variable}_low": found.low, f"{variable}_high": found.high}
        lines.append(line)
    return pd.DataFrame(lines)


def interval(values: np.ndarray, level: float = 0.95, seed: int = 0) -> Interval:
    """The mean of one value a unit with its interval: exact for truth values, else a bootstrap; no bounds for fewer than two units."""
    if values.dtype == bool:
        return proportion(int(values.sum()), len(values), level)
    present = values[~np.isnan(values.astype(float))]
    if len(present) < 2:
        return Interval(float(present.mean()) if len(present) else np.nan, np.nan, np.nan, level, len(present), "none: fewer than two values")
    return bootstrap(present, level=level, seed=seed)


def pool(runs: Sequence[xr.Dataset] | Mapping[Any, xr.Dataset]) -> xr.Dataset:
    """Results of several runs (training seeds, say) as one, along `sequence`, with the coordinate `run`.

    The sequences of all runs count as independent units then; where runs share sequences, group by `run` and compare.
    """
    named = dict(runs) if isinstance(runs, Mapping) else dict(enumerate(runs))
    if not named:
        raise MemorizationError("runs is empty; give at least one result.")
    parts = [ds.assign_coords(run=("sequence", np.full(ds.sizes["sequence"], label))).drop_vars("sequence", errors="ignore") for label, ds in named.items()]
    shared = set.intersection(*(set(map(str, p.coords)) for p in parts))
    joined = xr.concat([p.drop_vars([c for c in p.coords if c not in shared]) for p in parts], "sequence", data_vars="minimal", coords="minimal", compat="override",
                       join="outer", combine_attrs="drop")  # fmt: skip
    records = [results.provenance(ds) for ds in named.values()]
    return results.stamp(joined, {"kind": records[0]["kind"], "status": "complete", "runs": records})


def over_units(n: int, statistic: Callable[[np.ndarray], np.ndarray], *, level: float = 0.95, seed: int = 0, resamples: int = 2000, name: str = "statistic") -> Interval:
    """Bootstrap over n units of any statistic of them. `statistic`: unit numbers [draws, n] -> [draws]; the same numbers serve everything measured on a unit."""

    def of_index(index: np.ndarray, axis: int) -> np.ndarray:
        at = np.moveaxis(index, axis, -1).astype(np.int64)
        return statistic(at.reshape(-1, n)).reshape(at.shape[:-1])

    of_index.__name__ = name
    return bootstrap(np.arange(n), statistic=of_index, level=level, seed=seed, resamples=resamples)
