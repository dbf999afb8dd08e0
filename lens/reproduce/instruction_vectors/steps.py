"""What the forgetting experiment computes for one seed: vectors and heads of the start model, then one sequence a
method; each is a Dataset kept under the seed by `common.Steps`.
"""

from __future__ import annotations

import shutil
import time
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import xarray as xr

from ... import forgetting, vectors
from ...forgetting import ForgettingError, Guide
from ...results import dataset as results
from ...training import Recipe
from ...vectors import Vector
from ...vectors.mediation import task_means
from ..common import step
from .bench import Bench
from .tasks import TITLES, VARIANTS, Preset
from .watch import DISTANCES, READINGS, distances, drift_of, similarities

_MISSING = -1


def effects_of(bench: Bench, model: Any, task: vectors.Task) -> xr.Dataset:
    """The exact indirect effect of every head on one task."""
    return vectors.head_effects(
        model,
        task,
        trials=bench.plan.trials,
        mean_prompts=bench.plan.mean_prompts,
        memory_mb=bench.memory_mb,
        **bench.walk,
    )


def vector_of(bench: Bench, model: Any, task: vectors.Task, heads: Any) -> Vector:
    """A task's vector from demonstrations, validation questions."""
    walk = {k: v for k, v in bench.walk.items() if k != "progress"}
    return vectors.extract(model, task, heads=heads, means=task_means(model, task, n=bench.plan.mean_prompts, **walk))


@step("start")
def start(bench: Bench) -> xr.Dataset:
    """The start model: effects of heads, the universal set, every task's vector, and the layer where vectors of old
    tasks do most (zero-shot, validation questions).

    ``effect`` old x layer x head; ``heads`` place x (layer, head); ``vector`` task x d_model; ``swept`` old x at,
    ``bare`` old; ``layer`` of the guides.
    """
    course, plan, reader = bench.course, bench.plan, bench.course.reader
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the model answers none")
        effects = {t.name: effects_of(bench, reader, t) for t in course.old}
        heads = vectors.universal(effects, plan.heads)
        directions = {t.name: vector_of(bench, reader, t, heads) for t in (*course.old, *course.new)}
    swept, bare = [], []
    for t in course.old:
        ds = vectors.evaluate(
            reader,
            t,
            {"vector": directions[t.name]},
            layers=bench.layers,
            split="valid",
            n=min(16, len(t.valid)),
            memory_mb=bench.memory_mb,
            **bench.walk,
        )
        swept.append(ds.correct.isel(condition=0, vector=0, strength=0).mean("item").values.astype(float))
        bare.append(float(ds.base_correct.mean()))
    grid = next(iter(effects.values()))
    ds = xr.Dataset(
        {
            "effect": (
                ("old", "layer", "head"),
                np.stack([e.effect.mean("prompt").values for e in effects.values()]),
            ),
            "heads": (("place", "which"), np.array(heads)),
            "vector": (("task", "d_model"), np.stack([v.direction.numpy() for v in directions.values()])),
            "swept": (("old", "at"), np.stack(swept)),
            "bare": ("old", bare),
            "guide_layer": bench.layers[int(np.mean(swept, 0).argmax())],
        },
        coords={
            "old": [t.name for t in course.old],
            "task": list(directions),
            "layer": grid.layer.values,
            "head": grid["head"].values,
            "at": bench.layers,
            "which": ["layer", "head"],
        },
    )
    return bench.stamped(
        ds,
        "forgetting start",
        trials=plan.trials,
        mean_prompts=plan.mean_prompts,
        shots=plan.shots,
        new=[t.name for t in course.new],
    )


def heads_of(origin: xr.Dataset) -> list[tuple[int, int]]:
    """The universal head set of a start."""
    return [(int(l), int(h)) for l, h in origin["heads"].values]


def guides(bench: Bench, origin: xr.Dataset) -> dict[str, Guide]:
    """By stage, the start model's vector of that stage's task (from demonstrations), at the layer where vectors do
    most.

    Source: Jiang et al. 2025 (theta^0 of the trained task; there layer 9 of 32).
    """
    return {
        t.name: Guide(
            torch.tensor(origin.vector.sel(task=t.name).values), int(origin.guide_layer), tuple(heads_of(origin))
        )
        for t in bench.course.new
    }


def recipe_of(plan: Preset) -> Recipe:
    """The training of every stage; a run that is cut goes on from its last checkpoint."""
    return Recipe(
        steps=plan.steps,
        batch=plan.batch,
        learning_rate=plan.learning_rate,
        weight_decay=0.01,
        warmup=max(1, plan.steps // 10),
        checkpoint_every=max(1, plan.steps // 4),
    )


def sequence(bench: Bench, label: str) -> xr.Dataset:
    """One method's whole sequence: what `lens.forgetting.sequential` measured, with similarities, distances, and what
    was measured on the model at its end.

    Beside ``accuracy`` and ``correct``: ``similarity`` stage x step x reading x old, ``distance`` stage x step x part,
    ``loss`` stage x trained; where asked ``effect_after`` old x layer x head and ``put_back`` old x condition x at x
    strength x item (right with a vector added or taken away), ``bare_after`` old x item. Methods that draw on old rows
    have ``seen`` probe: whether a probe's own questions are among these rows, since it asks all that there are.

    Raises: ForgettingError: training diverged.
    """
    ds = _trained(bench, label)
    if bench.steps.folder is not None:  # its measurements are stored; its checkpoints have done their work
        shutil.rmtree(bench.steps.folder / "training" / f"seed-{bench.course.seed}" / label, ignore_errors=True)
    return ds


@step(str)
def _trained(bench: Bench, label: str) -> xr.Dataset:
    course, plan = bench.course, bench.plan
    origin, began = start(bench), time.perf_counter()
    heads = heads_of(origin)
    name, options = VARIANTS[label]
    watch = {"distance": distances(bench)} | (
        {"similarity": similarities(bench, heads)} if label in plan.watched else {}
    )
    folder = None if bench.steps.folder is None else bench.steps.folder / "training" / f"seed-{course.seed}" / label
    run = forgetting.sequential(
        course.make_model,
        course.stages,
        course.probes,
        forgetting.method(name, **options),
        recipe=recipe_of(plan),
        guides=guides(bench, origin),
        lora=course.lora,
        evaluate_at=plan.evaluate_at,
        watch=watch,
        old_rows=course.old_rows,
        folder=folder,
        seed=course.seed,
        progress=bench.progress,
    )
    if run.status != "complete":
        if run.status == "stopped":
            raise KeyboardInterrupt(f"stopped in {label}; run the same command again to go on")
        raise ForgettingError(f"method {label!r}: {run.about}.")
    run.model.tokenizer = course.reader.tokenizer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the model answers none")
        ds = _dataset(bench, label, run, origin, heads)
    record = results.provenance(run.result) | {
        "status": "complete",
        "label": label,
        "title": TITLES[label],
        "seconds": round(time.perf_counter() - began, 2),
        "notes": run.notes,
    }
    return results.stamp(ds, record)


def _dataset(bench: Bench, label: str, run: Any, origin: xr.Dataset, heads: Any) -> xr.Dataset:
    course, plan, names = bench.course, bench.plan, [t.name for t in bench.course.old]
    held = run.result.drop_attrs()
    parts = drift_of(course.reader, run.model)
    longest = int(run.losses.groupby("stage").size().max())
    loss = np.full((len(course.stages), longest), np.nan)
    for i, s in enumerate(course.stages):
        of = run.losses[run.losses.stage == s.name].lm.values
        loss[i, : len(of)] = of
    ds = held.assign(correct=held.correct.where(held.correct.notnull(), _MISSING).astype("int8"))
    ds = ds.assign(
        distance=(("stage", "step", "part"), run.watched["distance"]),
        loss=(("stage", "trained"), loss),
        drift=("group", [v[0] for v in parts.values()]),
    )
    ds = ds.assign_coords(part=list(DISTANCES), group=list(parts), old=names)
    if "old_rows" in forgetting.METHODS[VARIANTS[label][0]].needs:
        ds = ds.assign(seen=("probe", [str(p) in course.seen for p in ds.probe.values]))
    if "similarity" in run.watched:
        ds = ds.assign(similarity=(("stage", "step", "reading", "old"), run.watched["similarity"])).assign_coords(
            reading=list(READINGS)
        )
    if label in plan.effects:
        after = [effects_of(bench, run.model, t).effect.mean("prompt").values for t in course.old]
        ds = ds.assign(effect_after=(("old", "layer", "head"), np.stack(after))).assign_coords(
            layer=origin.layer.values, head=origin["head"].values
        )
    if label in plan.recover:
        ds = ds.merge(put_back(bench, run.model, origin, heads))
    return ds


def put_back(bench: Bench, model: Any, origin: xr.Dataset, heads: Any) -> xr.Dataset:
    """Every old task by instruction in the trained model: its start vector added, the last trained task's new vector
    taken away, five random vectors of the same lengths for each, which every task and seed draws anew; all layers and
    strengths.

    Source: Jiang et al. 2025.
    """
    course = bench.course
    new = vector_of(bench, model, course.new[-1], heads)
    grids, bare, longest = [], [], 0
    for t in course.old:
        probe = next(p for p in course.probes if p.name == t.name)
        ds = forgetting.recover(
            model,
            probe,
            torch.tensor(origin.vector.sel(task=t.name).values),
            new,
            layers=bench.layers,
            strengths=bench.plan.strengths,
            seed=course.seed,
        )
        grids.append(ds.correct.transpose("condition", "layer", "strength", "prompt").values)
        bare.append(ds.base.values)
        longest = max(longest, len(probe.prompts))

    def wide(x):
        return np.concatenate([x.astype("int8"), np.full((*x.shape[:-1], longest - x.shape[-1]), _MISSING, "int8")], -1)

    return xr.Dataset(
        {
            "put_back": (("old", "condition", "at", "strength", "item"), np.stack([wide(g) for g in grids])),
            "bare_after": (("old", "item"), np.stack([wide(b) for b in bare])),
        },
        coords={
            "old": [t.name for t in course.old],
            "condition": ds.condition.values,
            "at": bench.layers,
            "strength": list(bench.plan.strengths),
        },
    )


def whole(ds: xr.Dataset) -> xr.Dataset:
    """A stored sequence as `lens.forgetting.metrics` reads it: NaN where a probe has no such prompt."""
    return ds.assign(
        {n: ds[n].where(ds[n] != _MISSING).astype("float32") for n in ("correct", "put_back", "bare_after") if n in ds}
    )


@step("cost")
def cost(bench: Bench, origin: xr.Dataset) -> xr.Dataset:
    """Seconds of a training step, plain and guided, in turn."""
    course, stage = bench.course, bench.course.stages[0]
    step = forgetting.step_cost(
        course.make_model(),
        stage.rows,
        "guided",
        guide=guides(bench, origin)[stage.name],
        lora=course.lora,
        batch=bench.plan.batch,
        steps=3,
        repeats=4,
    )
    return bench.stamped(
        xr.Dataset({"plain": step["plain"], "guided": step["method"], "ratios": ("repeat", step["ratios"])}),
        "training cost",
        batch=bench.plan.batch,
    )


def config_of(plan: Preset) -> dict[str, Any]:
    """What stored steps depend on; seeds and methods can be added to a folder later."""
    return {
        k: v for k, v in asdict(plan).items() if k not in ("seeds", "methods", "watched", "effects", "recover", "once")
    }
