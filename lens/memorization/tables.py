"""Summaries of per-unit values: for each group n, estimate and interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Filled, Seed, Share, door
from ..results import dataset as results
from ..stats import bootstrap, fisher_exact, holm, mean_interval, permutation, proportion, sign_flip
from ..stats.axes import fields
from ..stats.axes import units_of as axes_units
from ..stats.bounds import SHARE, Bounds
from ..stats.effects import UNITS, clusters
from ..stats.samples import Interval, PValue
from ..stats.units import joined, nested, unit_means
from .distances import BOUNDS
from .errors import MemorizationError, labels
from .pooling import Of, pool

#: on what the p of groups rests
DRAWN = "the groups were drawn at random"


@door(MemorizationError)
def summary(
    result: Of | Annotated[Sequence[Of], Filled()],
    by: Any = "duplicates",
    *,
    variables: Sequence[str] | None = None,
    level: Share = 0.95,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """Means of per-sequence values with intervals, group by group: shares by Clopper-Pearson, others by
    `lens.stats.means.mean_interval`.

    Args:
        result: from `extract`, `exposure`, `recall` ...; several (of several seeds, say) are pooled.
        by: a coordinate, several of them, an array with a label for each sequence, or None for all together. A result
            without the default coordinate is one group.
        variables: which per-sequence variables; None for all that are numbers of one axis.
        cluster: what counts as one. "auto": sequences that share a coordinate named scene, entity, memory, duplicate
            (equal tokens have it) or seed; None: each; a coordinate; or a label for each. A unit's values are averaged.
            Units of several runs are within their run; the intervals have both levels then, see
            `lens.stats.units.nested`.

    Returns: over the groups (an axis by the name of the one coordinate, else `group`, with a coordinate for each of
        several): `n` (units), and for each variable `x`, `x_low`, `x_high` and `x_interval_kind` (NaN bounds where none
        can be had). Of the first variable also as `mean`, `low`, `high`, `interval_kind`, with `p` (two-sided: that the
        group and all others together are alike; Fisher's exact test of truth values, else permutations; of several runs
        over sequences of one name, averaged over runs), `p_holm` over groups, `p_kind`: exact or Monte Carlo if the
        groups were drawn at random, as counts of duplicates can be; of one group "none" and why. `units`: in words,
        what counted as one. `.to_dataframe()` is the table, one line a group.

    Raises: MemorizationError: no such coordinate or variable.
    """
    table, axes, ds = group_means(result, by, variables, level, seed, cluster)
    first = next((c.removesuffix("_low") for c in table.columns if c not in axes and c.endswith("_low")), None)
    return of_groups(table, axes, ds, first, level=level, seed=seed)


def group_means(
    result: Any, by: Any, variables: Sequence[str] | None, level: float, seed: int, cluster: Any
) -> tuple[pd.DataFrame, list[str], xr.Dataset]:
    """The table of `summary`, one line a group; the columns that say which group; the result, pooled."""
    ds = result if isinstance(result, xr.Dataset) else pool(result)
    n = ds.sizes["sequence"]
    by = None if isinstance(by, str) and by == "duplicates" and "duplicates" not in ds.coords else by
    names = (
        []
        if by is None
        else (
            [by]
            if isinstance(by, str)
            else list(by)
            if isinstance(by, (list, tuple)) and all(isinstance(b, str) for b in by)
            else None
        )
    )
    if names is None:
        keys = pd.DataFrame({"group": labels(by, n, "by")})
    elif missing := [b for b in names if b not in ds.coords or ds[b].dims != ("sequence",)]:
        raise MemorizationError(
            f"by={missing[0]!r} is no coordinate of the sequences; there are"
            f" {', '.join(c for c in map(str, ds.coords) if ds[c].dims == ('sequence',))}."
        )
    else:
        keys = pd.DataFrame({b: ds[b].values for b in names})
    if not len(keys.columns):
        keys = pd.DataFrame({"group": ["all"] * n})
    chosen = (
        [str(v) for v in ds.data_vars if ds[v].dims == ("sequence",) and ds[v].dtype.kind in "biuf"]
        if variables is None
        else list(variables)
    )
    there = [str(v) for v in ds.data_vars if ds[v].dims == ("sequence",)]
    if unknown := [v for v in chosen if v not in there]:
        raise MemorizationError(
            f"variables has {unknown[0]!r}, which is no value of each sequence; there are {', '.join(there)}."
        )
    runs = ds["run"].values.astype(str) if "run" in ds.coords and "run" not in keys else np.full(n, "")
    units, note = clusters(
        _within(cluster, runs),
        n,
        {name: _within(v, runs) for name, v in fields(ds, "sequence").items()},
        UNITS,
        "sequences",
    )
    again = len(set(runs)) > 1 and "name" in ds.coords
    lines, tests = [], []
    for label, at in keys.groupby(list(keys.columns), sort=True).indices.items():
        label = label if isinstance(label, tuple) else (label,)
        of = None if units is None else units[at]
        line = dict(zip(keys.columns, label)) | {"n": len(at) if of is None else len(np.unique(of))}
        for variable in chosen:
            mean = over(ds[variable].values[at], of, level, seed, runs[at], bounds=BOUNDS.get(variable))
            line |= {
                variable: mean.estimate,
                f"{variable}_low": mean.low,
                f"{variable}_high": mean.high,
                f"{variable}_interval_kind": str(mean.kind),
            }
        lines.append(line)
        inside = np.isin(np.arange(n), at)
        # the sequences of one name in several runs are no independent units of the test
        alone = (
            joined(range(n) if units is None else units.tolist(), list(zip(ds["name"].values.tolist(), inside)))
            if again
            else units
        )
        tests.append(_apart(ds[chosen[0]].values, inside, alone, seed) if chosen else "no variable")
    return with_tests(pd.DataFrame(lines), tests).assign(units=note), list(map(str, keys.columns)), ds


def of_groups(
    table: pd.DataFrame, by: Sequence[str], source: xr.Dataset, first: str | None, **statistics: Any
) -> xr.Dataset:
    """A table of `group_means` as a Dataset over its groups, with what `mean` is of."""
    axis, groups = (by[0] if len(by) == 1 else "group"), {b: table[b] for b in by if b in table}
    body = table.drop(columns=list(groups))
    if first is not None:
        body = with_mean(body, first, f"{first}_")
    summary = as_summary(body, {axis: groups.get(axis, np.arange(len(table)))}, source, **statistics)
    return summary.assign_coords({b: (axis, _column(labels)) for b, labels in groups.items() if b != axis})


def with_mean(table: pd.DataFrame, variable: str, prefix: str = "") -> pd.DataFrame:
    """A table with the columns that every summary has, in front: `mean`, the effect in column `variable`, and `low`,
    `high`, `interval_kind`, which stand there with `prefix`.
    """
    ends = {end: f"{prefix}{end}" for end in ("low", "high", "interval_kind")}
    front = {name: table[of] for name, of in ({"mean": variable} | ends).items() if name not in table and of in table}
    return pd.DataFrame(front | {str(c): table[c] for c in table.columns})


def as_summary(
    table: pd.DataFrame,
    axes: Mapping[str, Any],
    source: xr.Dataset,
    along: Mapping[str, Sequence[str]] | None = None,
    **statistics: Any,
) -> xr.Dataset:
    """A table as a summary: a Dataset with one cell a line.

    Args:
        table: a line for each cell, the last of the axes running fastest. axes: axis -> its labels, in that order.
        source: what was summarised, for the record. along: the axes of columns that are the same along all others;
            `units` has none where all lines agree.
        statistics: what the record holds of how the summary was made.
    """
    shape = tuple(len(labels) for labels in axes.values())
    along = dict(along or {})
    if "units" in table and len(set(table["units"])) == 1:
        along["units"] = ()
    data = {}
    for name in table.columns:
        of = along.get(str(name), tuple(axes))
        values = _column(table[name]).reshape(shape)
        data[str(name)] = (of, values[tuple(slice(None) if a in of else 0 for a in axes)])
    summary = xr.Dataset(data, {axis: (axis, _column(labels)) for axis, labels in axes.items()})
    # a result that was put together by hand has no record
    record = results.provenance(source) if results.ATTRIBUTE in source.attrs else {}
    about = {"kind": "memorization summary", "of": record.get("kind"), "statistics": statistics}
    return results.stamp(summary, record | about)


def _column(values: Any) -> np.ndarray:
    """Labels or a column as an array of one axis, texts as texts."""
    array = np.asarray(values)
    if array.dtype.kind != "O" and array.ndim == 1:
        return array
    items = list(values)
    if items and all(isinstance(v, str) for v in items):
        return np.array(items, dtype=str)
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def units_of(
    ds: xr.Dataset, cluster: Any, axes: Mapping[str, str]
) -> tuple[dict[str, np.ndarray | None], dict[str, str]]:
    """See `lens.stats.axes.units_of`. Raises: MemorizationError."""
    return axes_units(ds, cluster, axes, MemorizationError)


def _within(values: Any, runs: np.ndarray) -> Any:
    """Labels of sequences as labels within runs, where there are several."""
    if values is None or isinstance(values, str) or len(set(runs)) < 2 or len(values) != len(runs):
        return values
    pairs = [
        None if v is None else (r, v)
        for r, v in zip(runs.tolist(), np.asarray(values).tolist() if not isinstance(values, list) else values)
    ]
    return joined(pairs)


def over(
    values: np.ndarray,
    units: np.ndarray | None,
    level: float,
    seed: int,
    runs: np.ndarray | None = None,
    of: str = "auto",
    bounds: Bounds | None = None,
) -> Interval:
    """The mean over units of [n] values with its interval; of several runs with both levels in it. Truth values whose
    units agree within themselves are a share. `bounds`: what numbers cannot leave.
    """
    truth = values.dtype == bool
    bounds = SHARE if truth else bounds
    if runs is not None and (len(set(runs)) < 2 or np.isnan(values.astype(float)).all()):
        runs = None
    if units is not None:
        if runs is not None:
            units = joined(list(zip(runs.tolist(), units.tolist())))
            runs = runs[np.unique(units, return_index=True)[1]]
        values = unit_means(values, units)[0]
    share = truth and bool(np.isin(values, (0.0, 1.0)).all())
    if runs is not None:
        of = "share" if share else "number"
        return nested(values, runs, level=level, seed=seed, of=of, bounds=bounds).interval
    return interval(values.astype(bool) if share else values, level, seed, of, bounds)


def _apart(values: np.ndarray, inside: np.ndarray, units: np.ndarray | None, seed: int) -> PValue | str:
    """Whether a group and the rest are alike: Fisher's exact test of truth values, permutations of others."""
    if inside.all() or not inside.any():
        return "one group"
    sides = [
        values[w].astype(float) if units is None else unit_means(values[w], units[w])[0] for w in (inside, ~inside)
    ]
    a, b = (v[~np.isnan(v)] for v in sides)
    if not len(a) or not len(b):
        return "no values"
    if np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        return fisher_exact([[a.sum(), len(a) - a.sum()], [b.sum(), len(b) - b.sum()]]).given(DRAWN)
    return permutation(a, b, seed=seed).given(DRAWN)


def with_tests(table: pd.DataFrame, tests: Sequence[PValue | str]) -> pd.DataFrame:
    """A table with `p`, `p_holm` (all lines are one family) and `p_kind` of a test a line; a text instead of a test
    says why there is none: p is NaN then.
    """
    p = np.array([np.nan if isinstance(t, str) else float(t) for t in tests])
    return table.assign(
        p=p, p_holm=holm(p) if len(p) else p, p_kind=[f"none: {t}" if isinstance(t, str) else t.kind_if for t in tests]
    )


def change_test(differences: np.ndarray, units: np.ndarray | None = None, seed: int = 0) -> PValue | str:
    """Sign flips of paired differences, averaged over each unit; in words where none is there."""
    values = differences if units is None else unit_means(differences, units)[0]
    present = values[~np.isnan(values)]
    return sign_flip(present, seed=seed) if len(present) else "no values"


def interval(
    values: np.ndarray, level: float = 0.95, seed: int = 0, of: str = "auto", bounds: Bounds | None = None
) -> Interval:
    """The mean of one value a unit with its interval, exact for truth values; no bounds where none can be had. `of`,
    `bounds`: what the values are, see `lens.stats.means.mean_interval`.
    """
    if values.dtype == bool:
        return proportion(int(values.sum()), len(values), level)
    present = values[~np.isnan(values.astype(float))]
    if len(present) < 2:
        mean = float(present.mean()) if len(present) else np.nan
        return Interval(mean, np.nan, np.nan, level, len(present), "none: fewer than two values")
    return mean_interval(present, level=level, seed=seed, values=of, bounds=bounds)


def over_units(
    n: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
    name: str = "statistic",
) -> Interval:
    """Bootstrap over n units of any statistic of them. `statistic`: unit numbers [draws, n] -> [draws]; the same
    numbers serve everything measured on a unit.
    """

    def of_index(index: np.ndarray, axis: int) -> np.ndarray:
        at = np.moveaxis(index, axis, -1).astype(np.int64)
        return statistic(at.reshape(-1, n)).reshape(at.shape[:-1])

    of_index.__name__ = name
    return bootstrap(np.arange(n), statistic=of_index, level=level, seed=seed, resamples=resamples)
