"""Tidy tables from the stored sequences of the forgetting experiment. The unit of most of them is a task of a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats as scipy_stats

from ... import forgetting, stats, vectors
from ...stats import Interval
from ..common import columns
from .steps import READINGS
from .tasks import IN_CONTEXT, INSTRUCTION, KNOWLEDGE, NEW, PARTNERS

Parts = Mapping[tuple[int, str], xr.Dataset]
#: units of one seed that an interval over them needs at least
LEAST_UNITS = 6
#: evaluations of a task that a correlation along its training needs at least
LEAST_EVALUATIONS = 6
PLAIN = "plain"
#: metrics of the method table, with what is better
METRICS = {
    INSTRUCTION: "old tasks by instruction",
    IN_CONTEXT: "old tasks by demonstrations",
    KNOWLEDGE: "facts",
    "own": "new tasks after their stage (AP)",
    "final": "new tasks at the end (FP)",
    "forget": "forgetting of new tasks (AP - FP)",
    "gap": "stability gap of old tasks",
}


def over(values: Any, seed: int = 0) -> Interval:
    """Mean with the 95 % interval that verdicts follow: of a Series with the level "seed", Student's t over the means
    of its seeds, since tasks of a seed share a model.

    Of one seed (or of values without seeds) the interval over the units, which speaks of this model only, and without
    bounds below `LEAST_UNITS` of them; NaN is left out.
    """
    if isinstance(values, pd.Series) and "seed" in values.index.names:
        values = values.dropna()
        by = values.groupby(level="seed").mean()
        if len(by) > 1:
            return forgetting.over_seeds(by.values)
    return pooled(values, seed, LEAST_UNITS)


def pooled(values: Any, seed: int = 0, least: int = 2) -> Interval:
    """Mean over all units as if they were independent, with the interval of a mean (`lens.stats.means`); without
    bounds below `least` of them.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < least:
        mean = float(values.mean()) if len(values) else np.nan
        return Interval(mean, np.nan, np.nan, 0.95, len(values), f"no interval: fewer than {least} units")
    return stats.mean_interval(values, values="number", seed=seed)


def units(starts: Mapping[int, xr.Dataset], parts: Parts) -> pd.DataFrame:
    """One row a seed, method and probe: accuracy ``before`` and ``after`` the sequence; of a new task also ``own``,
    right after its stage; of an old one ``partner``, the accuracy change of its facts (of all facts where it has none),
    and ``gap``, its mean stability gap over the stages (NaN where none was looked into). ``seen``: the method draws on
    rows that are this probe's questions.
    """
    rows = []
    for (seed, method), ds in parts.items():
        by_stage = forgetting.at_end(ds).mean("prompt").transpose("stage", "probe").values
        after, first = by_stage[-1], forgetting.at_start(ds).mean("prompt").values
        stages, probes, kinds = (list(map(str, ds[name].values)) for name in ("stage", "probe", "kind"))
        change = {p: float(after[i] - first[i]) for i, (p, k) in enumerate(zip(probes, kinds)) if k == KNOWLEDGE}
        gaps = forgetting.stability_gap(ds).groupby("probe").gap.mean()
        for i, (probe, kind) in enumerate(zip(probes, kinds)):
            row = {
                "seed": seed,
                "method": method,
                "probe": probe,
                "kind": kind,
                "before": float(first[i]),
                "after": float(after[i]),
                "n": int(ds.n.values[i]),
                "seen": "seen" in ds and bool(ds.seen.values[i]),
            }
            if kind == NEW:
                row["own"] = float(by_stage[stages.index(probe), i])
            else:
                row["gap"] = float(gaps[probe])
            if kind == INSTRUCTION:
                row["partner"] = change.get(PARTNERS.get(probe, ""), float(np.mean(list(change.values()))))
            rows.append(row)
    return pd.DataFrame(rows).assign(change=lambda f: f.after - f.before)


def measured(frame: pd.DataFrame, method: str, metric: str) -> pd.Series:
    """A metric of `METRICS` by unit (seed, probe)."""
    kind = metric if metric in (INSTRUCTION, IN_CONTEXT, KNOWLEDGE) else INSTRUCTION if metric == "gap" else NEW
    at = np.flatnonzero((frame.method == method) & (frame["kind"] == kind))
    units = pd.MultiIndex.from_arrays([frame[n].array.take(at) for n in ("seed", "probe")], names=("seed", "probe"))

    def column(name: str) -> pd.Series:
        return pd.Series(frame[name].to_numpy()[at], units, name=name)

    return column("own") - column("after") if metric == "forget" else column(metric if metric in frame else "after")


def paired(frame: pd.DataFrame, a: str, b: str, metric: str) -> pd.Series:
    """One method minus another by unit; empty where either was not run."""
    if not {a, b} <= set(frame.method):
        return pd.Series(dtype=float)
    return (measured(frame, a, metric) - measured(frame, b, metric)).dropna()


def methods(frame: pd.DataFrame, parts: Parts, seed: int = 0) -> pd.DataFrame:
    """Every method and metric: mean over units, the start's value, the difference to plain fine-tuning (paired by unit)
    with its interval over seeds, each seed's difference.

    ``low`` and ``high`` are those of `over`; a difference of one seed with few units has none. Compared are the seeds
    that both methods were trained by.
    """
    rows = []
    for method in dict.fromkeys(m for _, m in parts):
        for metric, title in METRICS.items():
            values, apart = measured(frame, method, metric), paired(frame, method, PLAIN, metric)
            start = (
                frame[(frame.method == method) & (frame["kind"] == metric)].before.mean()
                if metric in (INSTRUCTION, IN_CONTEXT, KNOWLEDGE)
                else np.nan
            )
            row = {"method": method, "metric": metric, "title": title, "start": start, "mean": float(values.mean())}
            row |= {"units": len(values.dropna()), "seeds": len({s for s, m in parts if m == method})}
            if len(apart) and method != PLAIN:
                row |= columns("difference", over(apart, seed))
                row["by_seed"] = tuple(apart.groupby("seed").mean().round(3))
            rows.append(row)
    return pd.DataFrame(rows).reindex(
        columns=["method", "metric", "title", "start", "mean", "difference", "low", "high", "by_seed", "units", "seeds"]
    )


#: what is read at an evaluation, with its axes there
EVALUATED = {"accuracy": ("probe",), "distance": ("part",), "similarity": ("reading", "old")}


def _evaluations(parts: Parts) -> Iterator[tuple[xr.Dataset, dict[str, np.ndarray], dict[str, Any]]]:
    """Every evaluation of every sequence: the sequence, the values of `EVALUATED` there, and where it stands; ``at``:
    steps trained through all stages.
    """
    for (seed, method), ds in parts.items():
        read = {n: ds[n].transpose("stage", "step", *axes).values for n, axes in EVALUATED.items() if n in ds}
        last, earlier = ds.last_step.values.tolist(), 0
        for i, stage in enumerate(map(str, ds.stage.values)):
            for j, step in enumerate(ds.step.values.tolist()):
                if step <= last[i]:
                    at = {name: values[i, j] for name, values in read.items()}
                    yield ds, at, {"seed": seed, "method": method, "stage": stage, "step": step, "at": earlier + step}
            earlier += last[i]


def curves(parts: Parts) -> pd.DataFrame:
    """Along the training: by seed, method, kind and step counted through all stages, the mean accuracy over probes of
    the kind; kind "new": the task in training.
    """
    rows = []
    for ds, at, where in _evaluations(parts):
        accuracy = at["accuracy"]
        for kind in dict.fromkeys(map(str, ds.kind.values)):
            of = accuracy[ds.probe.values == where["stage"] if kind == NEW else ds.kind.values == kind]
            if np.isfinite(of).any():
                rows.append({**where, "kind": kind, "accuracy": float(np.nanmean(of))})
    return pd.DataFrame(rows)


def points(parts: Parts) -> pd.DataFrame:
    """One row a seed, method, old task and evaluation: accuracy by instruction beside what might predict it (the
    columns of `READINGS`, and ``distance``).
    """
    rows = []
    for ds, at, where in _evaluations({key: ds for key, ds in parts.items() if "similarity" in ds}):
        if (where["step"] == 0 and where["at"]) or not np.isfinite(at["similarity"]).any():
            continue  # a later stage starts where the one before ended
        probes, readings = ds.probe.values.tolist(), ds.reading.values.tolist()
        distance = float(at["distance"][ds.part.values.tolist().index("distance")])
        for i, task in enumerate(map(str, ds.old.values)):
            read = {r: float(at["similarity"][readings.index(r), i]) for r in READINGS}
            accuracy = float(at["accuracy"][probes.index(task)])
            rows.append({**where, "task": task, "accuracy": accuracy, "distance": distance, **read})
    return pd.DataFrame(rows)


def correlations(frame: pd.DataFrame, least: float = 0.05) -> pd.DataFrame:
    """For each seed, method and task whose accuracy varies by more than `least` over at least `LEAST_EVALUATIONS`:
    Pearson r over the evaluations of accuracy with each predictor (the distance negated), and their number.
    """
    rows = []
    for (seed, method, task), of in frame.groupby(["seed", "method", "task"], sort=False) if len(frame) else ():
        if len(of) < LEAST_EVALUATIONS or np.ptp(of.accuracy) <= least:
            continue

        def r(x):
            return float(np.corrcoef(x, of.accuracy)[0, 1]) if np.ptp(x) > 0 else np.nan

        rows.append(
            {"seed": seed, "method": method, "task": task, "n": len(of), "distance": r(-of.distance)}
            | {name: r(of[name]) for name in READINGS}
        )
    return pd.DataFrame(rows, columns=["seed", "method", "task", "n", "distance", *READINGS])


def between_tasks(frame: pd.DataFrame) -> pd.DataFrame:
    """For each seed and method, Spearman's rho over the old tasks at the end, of each similarity with the accuracy; the
    distance of the weights is the same for all tasks, so that it can say nothing.
    """
    rows = []
    for (seed, method), of in frame.groupby(["seed", "method"], sort=False) if len(frame) else ():
        last = of[of["at"] == of["at"].max()]
        if len(last) > 4 and np.ptp(last.accuracy) > 0:
            rho = {name: float(scipy_stats.spearmanr(last[name], last.accuracy).statistic) for name in READINGS}
            rows.append({"seed": seed, "method": method, "tasks": len(last), **rho})
    return pd.DataFrame(rows, columns=["seed", "method", "tasks", *READINGS])


def recovery(parts: Parts, seed: int = 0) -> pd.DataFrame:
    """By seed, method, old task and condition: accuracy with the vector at the layer and strength that were best on one
    half of the questions, on the other half; ``lost`` and ``share`` of it that came back. Random vectors: the mean over
    their draws.
    """
    rows = []
    for (own, method), ds in parts.items():
        if "put_back" not in ds:
            continue
        before = forgetting.at_start(ds)
        for task in map(str, ds.old.values):
            of = ds[["put_back", "bare_after"]].sel(old=task).drop_vars("old").rename(at="layer", item="prompt")
            grid, base = of.put_back.dropna("prompt", how="all"), of.bare_after.dropna("prompt")
            if grid.sizes["prompt"] < 4:
                continue
            grids = xr.Dataset({"correct": grid, "base": base})
            table = forgetting.recovered(grids, before.sel(probe=task).dropna("prompt").values, seed=seed)
            rows.append(table.assign(seed=own, method=method, task=task))
    names = ["seed", "method", "task", "condition", "difference", "lost", "share", "accuracy", "base", "n"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=names)


def sets(starts: Mapping[int, xr.Dataset], parts: Parts) -> pd.DataFrame:
    """How far the strongest heads are the same after a sequence, by seed, method and old task ("universal": of the mean
    over tasks): shared, Jaccard, chance, and Spearman's rho over all heads.
    """
    rows = []
    for (seed, method), ds in parts.items():
        if "effect_after" not in ds:
            continue
        start = starts[seed]
        k, total = start.sizes["place"], start.sizes["layer"] * start.sizes["head"]
        pairs = {str(t): (start.effect.sel(old=t), ds.effect_after.sel(old=t)) for t in ds.old.values}
        pairs["universal"] = (start.effect.mean("old"), ds.effect_after.mean("old"))
        for task, (a, b) in pairs.items():
            before, after = (
                vectors.top_heads(xr.Dataset({"effect": x.drop_vars("old", errors="ignore")}), k) for x in (a, b)
            )
            rho = float(scipy_stats.spearmanr(a.values.ravel(), b.values.ravel()).statistic)
            about = {"seed": seed, "method": method, "task": task, "k": k, "heads": total, "rho": rho}
            largest = {"largest_before": float(a.max()), "largest_after": float(b.max())}
            overlap = forgetting.overlap(before, after, total) | {"chance": _by_chance(k, total)}
            rows.append(about | overlap | largest)
    return pd.DataFrame(rows)


def _by_chance(k: int, total: int) -> float:
    """Mean Jaccard of two sets of `k` heads drawn at random."""
    shared = np.arange(k + 1)
    return float((scipy_stats.hypergeom.pmf(shared, total, k, k) * shared / (2 * k - shared)).sum())


def drift(parts: Parts) -> pd.DataFrame:
    """Relative change of the weights at the end, by seed, method and part."""
    return pd.DataFrame(
        [
            {"seed": s, "method": m, "part": str(g), "drift": float(ds.drift.sel(group=g))}
            for (s, m), ds in parts.items()
            for g in ds.group.values
        ]
    )


def crossing(starts: Mapping[int, xr.Dataset], parts: Parts, method: str = PLAIN) -> pd.DataFrame:
    """By seed, stage and old task: the cosine of the old task's and the new task's vectors in the start model, and the
    change of accuracy in that stage.

    Source: Jiang et al. 2025 (there with the vectors of the stage's start).
    """
    rows = []
    for (seed, m), ds in parts.items():
        if m != method:
            continue
        v = starts[seed].vector
        v = v / np.sqrt((v**2).sum("d_model"))
        for i, stage in enumerate(map(str, ds.stage.values)):
            trace = ds.accuracy.sel(stage=stage)
            change = trace.sel(step=int(ds.last_step[i])) - trace.sel(step=0)
            for task in map(str, ds.old.values):
                read = {"cosine": (v.sel(task=task) * v.sel(task=stage)).sum(), "change": change.sel(probe=task)}
                rows.append({"seed": seed, "stage": stage, "task": task} | {k: float(x) for k, x in read.items()})
    return pd.DataFrame(rows)


def stage_names(parts: Parts) -> Sequence[str]:
    """The new tasks in their order."""
    return [str(s) for s in next(iter(parts.values())).stage.values]
