"""What a fine-tuning sequence did: performance, forgetting, dips on the way, drift of weights and vectors, and methods
compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Seed, Share, array, door, shown
from ..stats import Interval, mean_interval
from ..stats.bounds import DIFFERENCE
from ..stats.means import NONE, over_runs
from .data import KINDS, ForgettingError

#: The kinds of probe that existed before the sequence.
OLD = KINDS[:3]


def check(result: xr.Dataset, name: str = "result") -> None:
    """Refuses what is no result of a sequence."""
    if not {"correct", "accuracy", "n", "last_step"} <= set(result.data_vars) or not {
        "stage",
        "step",
        "probe",
        "kind",
    } <= set(result.coords):
        raise ForgettingError(
            f"{name}={shown(result)} is no result of a sequence; give what lens.forgetting.sequential(...).result"
            " holds."
        )


@door(ForgettingError)
def at_end(result: xr.Dataset) -> xr.DataArray:
    """Whether each prompt was right after each stage, ``[stage, probe, prompt]``."""
    check(result)
    return result.correct.sel(step=result.last_step).drop_vars("step")


@door(ForgettingError)
def at_start(result: xr.Dataset) -> xr.DataArray:
    """Whether each prompt was right before the first stage, ``[probe, prompt]``."""
    check(result)
    return result.correct.isel(stage=0).sel(step=0, drop=True).drop_vars("stage")


@door(ForgettingError)
def performance(result: xr.Dataset) -> dict[str, float]:
    """How the trained tasks stand, from the probes that bear the stages' names.

    Returns: ``AP``, the mean accuracy of each task right after its own stage; ``FP``, the mean over tasks after the
        last stage; ``forget`` = AP - FP.

    Raises: ForgettingError: a stage without a probe of kind "new".

    Source: Jiang et al. 2025 (FP, AP, Forget).
    """
    check(result)
    stages = [str(s) for s in result.stage.values]
    new = [str(p) for p, k in zip(result.probe.values, result.kind.values) if k == "new"]
    if absent := [s for s in stages if s not in new]:
        raise ForgettingError(
            f"stage {absent[0]!r} has no probe of kind 'new' that bears its name; give Stage(..., prompts=...) for"
            " final and average performance."
        )
    means = at_end(result).mean("prompt")
    own = np.array([float(means.sel(stage=s, probe=s)) for s in stages])
    final = np.array([float(means.sel(stage=stages[-1], probe=s)) for s in stages])
    return {"AP": float(own.mean()), "FP": float(final.mean()), "forget": float(own.mean() - final.mean())}


@door(ForgettingError)
def change(result: xr.Dataset, *, seed: Seed = 0) -> pd.DataFrame:
    """Accuracy before and after the whole sequence for each old probe and for each kind (all its prompts together),
    with a paired interval over prompts.
    """
    before, after = at_start(result), at_end(result).isel(stage=-1)
    rows = []
    for kind in OLD:
        names = [str(p) for p, k in zip(result.probe.values, result.kind.values) if k == kind]
        for label, of in [*((n, [n]) for n in names), *([("all", names)] if names else [])]:
            a, b = (x.sel(probe=of).values.ravel() for x in (before, after))
            there = ~np.isnan(a)
            rows.append(
                {
                    "kind": kind,
                    "probe": label,
                    "before": _mean(a[there]),
                    "after": _mean(b[there]),
                    **paired(b[there] - a[there], seed, "change"),
                }
            )
    return pd.DataFrame(rows, columns=["kind", "probe", "before", "after", "change", "low", "high", "n", "interval"])


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if x.size and not np.isnan(x).all() else float("nan")


def paired(differences: np.ndarray, seed: int, name: str) -> dict[str, Any]:
    """Mean and 95 % interval of paired differences of truth values or shares; without bounds where none can be had."""
    present = differences[~np.isnan(differences)]
    if len(present) < 2:
        return {
            name: _mean(present),
            "low": np.nan,
            "high": np.nan,
            "n": len(present),
            "interval": "none: fewer than two values",
        }
    of = "difference" if np.isin(present, (-1.0, 0.0, 1.0)).all() else "number"
    interval = mean_interval(present, seed=seed, values=of, bounds=DIFFERENCE)
    how = str(interval.kind)
    return {
        name: float(interval.estimate),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": len(present),
        "interval": how if how.startswith(NONE) else f"95 % {how}",
    }


@door(ForgettingError)
def stability_gap(result: xr.Dataset) -> pd.DataFrame:
    """How far each old probe dips while a stage is trained, below the lower of the stage's start and end.

    Returns: one row a stage and probe: start, end, lowest, at_step, gap (0 where nothing dips; NaN where nothing was
        measured between start and end). What happens between two evaluations is not seen.

    Source: De Lange et al. 2023, Continual evaluation for lifelong learning: Identifying the stability gap.
    """
    check(result)
    rows, accuracy = [], result.accuracy.transpose("stage", "step", "probe").values
    for i, stage in enumerate(result.stage.values):
        for j, (probe, kind) in enumerate(zip(result.probe.values, result.kind.values)):
            if kind == "new":
                continue
            there = ~np.isnan(accuracy[i, :, j])
            trace, steps = accuracy[i, there, j], result.step.values[there]
            if trace.size < 2:
                continue
            start, end = float(trace[0]), float(trace[-1])
            low = int(np.argmin(trace))
            rows.append(
                {
                    "stage": str(stage),
                    "probe": str(probe),
                    "kind": str(kind),
                    "start": start,
                    "end": end,
                    "lowest": float(trace[low]),
                    "at_step": int(steps[low]),
                    "gap": max(0.0, min(start, end) - float(trace[low])) if trace.size > 2 else np.nan,
                    "n": int(result.n.values[j]),
                }
            )
    return pd.DataFrame(rows, columns=["stage", "probe", "kind", "start", "end", "lowest", "at_step", "gap", "n"])


def numbers(result: xr.Dataset, seed: int = 0) -> dict[str, float]:
    """One number a metric, as `lens.forgetting.summary` says which."""
    out: dict[str, float] = {}
    if set(map(str, result.stage.values)) <= {
        str(p) for p, k in zip(result.probe.values, result.kind.values) if k == "new"
    }:
        out |= performance(result)
    table = change(result, seed=seed)
    for row in table[table.probe == "all"].itertuples():
        out |= {f"{row.kind} before": row.before, f"{row.kind} after": row.after, f"{row.kind} change": row.change}
    if len(table):
        out["general change"] = float(table[table.probe == "all"].change.mean())
    gaps = stability_gap(result).gap.dropna()
    if len(gaps):
        out["stability gap"] = float(gaps.max())
    return out


#: what dictionaries of numbers may hold that is no metric of its own
TESTED = ("low", "high", "interval_kind", "n", "p", "p_kind", "units")


def _read(run: xr.Dataset | Mapping[str, Any], name: str) -> dict[str, Any]:
    """The numbers of a run: of a result, of its summary, or as they are."""
    if not isinstance(run, xr.Dataset):
        return dict(run)
    if "metric" in run.coords and "mean" in run:
        return dict(zip(run["metric"].values.tolist(), run["mean"].values.tolist()))
    check(run, name)
    return numbers(run)


#: What functions over seeds take.
_EACH = "one number for each seed, NaN where there is none"


# -- methods compared
# ---------------------------------------------------------------------------------------------------


@door(ForgettingError)
def over_seeds(values: Any, level: Share = 0.95) -> Interval:
    """Mean over seeds with Student's t interval, ``n`` the seeds that are there (NaN is left out); without bounds where
    fewer than two are, or where they tie.

    A bootstrap of three values is far too short, and tasks of a seed are no replacement for seeds: they share a model.
    """
    return over_runs(array(values, "values", _EACH, ForgettingError), level)


@door(ForgettingError)
def signs(values: Any) -> str:
    """How many seeds have the sign of their mean, in words."""
    x = np.asarray(array(values, "values", _EACH, ForgettingError), float)
    x = x[np.isfinite(x)]
    return (
        f"same sign in {int((np.sign(x) == np.sign(x.mean())).sum()) if len(x) else 0} of {len(x)}"
        f" seed{'s' * (len(x) != 1)}"
    )


@door(ForgettingError)
def compare(
    runs: Mapping[str, Sequence[xr.Dataset | Mapping[str, Any]]],
    baseline: str = "plain",
    metrics: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Each method's metrics against a baseline's, paired over seeds.

    Args:
        runs: per method its results (or their summaries, or dictionaries of numbers) in the same order of seeds.

    Returns: one row a method and metric: mean, baseline, difference with Student's t interval over seeds
        (`over_seeds`), every seed's difference, and a note of how many of them have the sign of their mean, and of the
        smallest p that an exact sign flip of so few can give.

    Raises: ForgettingError: no such baseline, or methods with different numbers of seeds.
    """
    if baseline not in runs:
        raise ForgettingError(
            f"baseline={shown(baseline)} is not among the runs; they are {', '.join(runs) or 'none'}."
        )
    read = {name: [_read(r, f"runs[{name!r}]") for r in results] for name, results in runs.items()}
    sizes = {name: len(n) for name, n in read.items()}
    if len(set(sizes.values())) > 1 or not read[baseline]:
        raise ForgettingError(
            f"runs hold different numbers of seeds ({sizes}), or none; give each method one result a seed, in the same"
            " order."
        )
    names = list(metrics) if metrics is not None else [name for name in read[baseline][0] if name not in TESTED]
    rows = []
    for name, of in read.items():
        for metric in names:
            ours, theirs = (
                array([n.get(metric, np.nan) for n in x], f"runs[{n!r}], {metric}", _EACH, ForgettingError)
                for n, x in ((name, of), (baseline, read[baseline]))
            )
            apart = ours - theirs
            interval = over_seeds(apart)
            floor = min(1.0, 2.0 ** (1 - interval.n))
            rows.append(
                {
                    "method": name,
                    "metric": metric,
                    "mean": _mean(ours),
                    "baseline": _mean(theirs),
                    "difference": float(interval.estimate),
                    "low": float(interval.low),
                    "high": float(interval.high),
                    "n": interval.n,
                    "interval": f"95 % {interval.method}" if interval.n > 1 else "none: fewer than two values",
                    "differences": tuple(map(float, apart)),
                    "note": f"{signs(apart)}; an exact sign flip cannot go below p = {floor:.3g}" if interval.n else "",
                }
            )
    return pd.DataFrame(rows)


@door(ForgettingError)
def compare_prompts(result: xr.Dataset, baseline: xr.Dataset, *, seed: Seed = 0) -> pd.DataFrame:
    """Two methods' accuracy after the last stage, for each probe, paired over prompts (one seed each: says nothing of
    other seeds).

    Raises: ForgettingError: results with different probes or prompts.
    """
    check(result)
    check(baseline, "baseline")
    a, b = (at_end(r).isel(stage=-1) for r in (result, baseline))
    if list(a.probe.values) != list(b.probe.values) or a.shape != b.shape:
        raise ForgettingError(
            "result and baseline were measured on different probes; run both with the same stages and probes."
        )
    rows = []
    for probe, kind in zip(a.probe.values, result.kind.values):
        ours, theirs = a.sel(probe=probe).values, b.sel(probe=probe).values
        rows.append(
            {
                "probe": str(probe),
                "kind": str(kind),
                "accuracy": _mean(ours[~np.isnan(ours)]),
                "baseline": _mean(theirs[~np.isnan(theirs)]),
                **paired(ours - theirs, seed, "difference"),
            }
        )
    return pd.DataFrame(rows)


# -- weights, vectors, heads
# -----------------------------------------------------------------------------------------------
