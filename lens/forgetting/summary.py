"""What a fine-tuning sequence cost, one number a metric, with how sure each change is."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..arguments import Seed, array, door
from ..results import dataset as results
from ..stats import sign_flip
from ..stats.effects import UNITS, clusters
from ..stats.means import NONE
from ..stats.samples import StatisticsError
from .data import KINDS, ForgettingError
from .metrics import at_end, at_start, check, numbers, paired

GENERAL, GAP = "general change", "stability gap"
#: the kind of probe that a stage trains
NEW = KINDS[3]


@door(ForgettingError)
def summary(result: xr.Dataset, *, seed: Seed = 0, cluster: Any = "auto") -> xr.Dataset:
    """One number a metric: AP, FP and forget where the stages have probes; by kind the accuracy before, after and the
    change; the mean change of the old kinds (`general change`); the largest stability gap, where it was measured.

    `cluster`: "auto": prompts that are equal, or share a coordinate over probe and prompt named scene, entity, memory,
    duplicate or seed, are one unit, also across probes; None: each; the name of a coordinate ("probe": each probe is
    one unit); or labels [probe, prompt]. A unit counts with the sum of its prompts' changes, so that `mean` stays what
    it is without units.

    Returns: over `metric`, in that order: `mean`; `n` (units of the prompts that it is of); of each change over its
        prompts, in this one model, `low`, `high` (95 %), `interval_kind` and `p` (sign flips, two-sided; guaranteed if
        changes are symmetric about 0 under the null), `p_kind`. Accuracies, AP, FP, forget and the gap are no change
        that could be 0 by chance alone: they have no interval here and no p (NaN, and the kinds say so). `units`: in
        words, what counted as one. All this says nothing of other training runs: for those see `compare`.

    Raises: StatisticsError: a cluster that is no coordinate, labels of another shape.
    """
    check(result)
    start, end = at_start(result), at_end(result).isel(stage=-1)
    changes = (end - start).transpose("probe", "prompt").values
    last = end.transpose("probe", "prompt").values
    kinds = np.broadcast_to(result.kind.values[:, None], changes.shape)
    tests: dict[str, dict[str, Any]] = {}

    def tested(which: str) -> dict[str, Any]:
        if which not in tests:
            there = ~np.isnan(last if which == NEW else changes) & (
                (kinds != NEW) if which == GENERAL else kinds == which
            )
            units, note = clusters(*_labels(result, cluster, there), UNITS)
            n = int(there.sum()) if units is None else int(units.max()) + 1
            about = None if which == NEW else _change(changes[there], kinds[there], units, n, seed)
            tests[which] = {"n": n, "units": note} | (about or {})
        return tests[which]

    rows = []
    for metric, value in numbers(result, seed).items():
        kind, _, what = metric.rpartition(" ")
        test = tested(GENERAL if metric in (GENERAL, GAP) else kind or NEW)
        rows.append(
            {"metric": metric, "mean": value} | test | ({} if what == "change" else _nothing("of changes only"))
        )
    names = ("mean", "low", "high", "interval_kind", "n", "p", "p_kind", "units")
    table = xr.Dataset(
        {name: ("metric", np.array([row[name] for row in rows])) for name in names},
        {"metric": [row["metric"] for row in rows]},
    )
    record = results.provenance(result) if results.ATTRIBUTE in result.attrs else {}
    about = {"kind": "forgetting summary", "of": record.get("kind"), "statistics": {"level": 0.95, "seed": seed}}
    return results.stamp(table, record | about)


def _nothing(why: str) -> dict[str, Any]:
    return {
        "low": np.nan,
        "high": np.nan,
        "interval_kind": f"{NONE}: {why}",
        "p": np.nan,
        "p_kind": f"none: {why}",
    }


def _change(values: np.ndarray, kinds: np.ndarray, units: np.ndarray | None, n: int, seed: int) -> dict[str, Any]:
    """Interval and test of the mean of changes, one a prompt, each weighted so that kinds count the same."""
    if n < 2:
        return _nothing("fewer than two units")
    names, which, count = np.unique(kinds, return_inverse=True, return_counts=True)
    weighted: np.ndarray = values * (len(values) / (len(names) * count))[which]
    if units is not None:
        weighted = np.bincount(units, weighted) * (n / len(values))
    interval, test = paired(weighted, seed, "change"), sign_flip(weighted, seed=seed)
    return {
        "low": interval["low"],
        "high": interval["high"],
        "interval_kind": interval["interval"],
        "p": float(test),
        "p_kind": test.kind_if,
    }


def _labels(result: xr.Dataset, cluster: Any, there: np.ndarray) -> tuple[Any, int, dict[str, list[Any]]]:
    """The cluster, how many, and the coordinates of the prompts that are `there` [probe, prompt], as
    `lens.stats.effects.clusters` takes them.
    """
    over = {
        str(c): x for c, x in result.coords.items() if x.dims and set(x.dims) <= {"probe", "prompt"} and c != "prompt"
    }
    blank = xr.DataArray(np.zeros(there.shape), dims=("probe", "prompt"))
    fields = {
        name: x.drop_vars(list(x.coords)).broadcast_like(blank).transpose("probe", "prompt").values[there].tolist()
        for name, x in over.items()
    }
    if cluster is None or isinstance(cluster, str):
        return cluster, int(there.sum()), fields
    labels = array(cluster, "cluster", "one label for each prompt of each probe", ForgettingError, kinds="biufUSO")
    if labels.shape != there.shape:
        raise StatisticsError(
            f"cluster has shape {labels.shape}; expected one label for each prompt of each probe {there.shape}, a"
            f" coordinate ({', '.join(fields)}), 'auto' or None."
        )
    return labels[there], int(there.sum()), fields
