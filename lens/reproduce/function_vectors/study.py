"""Function Vectors in Large Language Models (Todd et al., ICLR 2024), with the controls that it lacks.

    python -m lens reproduce function-vectors --preset quick

For every task: what the model answers, the mean activations after demonstrations, the exact indirect effect of every
head, its estimates, the vector, the layer and strength chosen on validation questions and reported on test questions
beside no vector, a random one, another task's, the layer average; other templates, natural sentences (the next word,
and what is written on), the number of demonstrations, instruction text, arithmetic. Spec of gates and sources of quoted
numbers: `claims`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import files, vectors
from ...arguments import Count, FilePath, Positive, Seed, door
from ...models import weight_hash
from ...results import dataset as results
from ...results.opening import open_result
from ...vectors import Task, VectorError
from ..common import Steps, digest_of, matching
from ..study import Asked, Drawing, Study
from ..study import Reproduction as Judged
from . import heads, steps, verdicts
from . import tables as frames
from .arithmetic import Quartet, composition, list_quartet
from .bench import Bench, Preset
from .claims import CLAIMS
from .heads import UNIVERSAL

NAME = "function-vectors"
#: of the conditions in the figures
TITLES = {
    "zero_shot": "zero-shot",
    "shuffled": "shuffled labels",
    "written": "natural sentences, first five tokens",
    "text": "natural sentences, next word",
}
_QUICK = ("present_past", "singular_plural", "capitalize", "choose_first_of_3", "choose_last_of_3")
PRESETS = {
    "tiny": Preset(
        ("present_past", "singular_plural"),
        0.0,
        mean_prompts=3,
        trials=3,
        instruction_trials=3,
        methods={"atp": 3},
        counts=(1, 10),
        strengths=(1.0,),
        every=10,
        items=3,
        text_items=2,
        shot_counts=(0, 1, 3),
        draws=2,
        templates=("qa", "arrow"),
        naive_heads=1,
        composition=False,
    ),
    "quick": Preset(
        _QUICK,
        mean_prompts=20,
        trials=8,
        instruction_trials=8,
        methods={"atp": 8},
        counts=(1, 3, 10, 30),
        strengths=(1.0,),
        every=2,
        items=12,
        text_items=12,
        written_items=6,
        shot_counts=(0, 1, 3),
        draws=3,
        templates=("qa", "arrow", "say"),
        naive_heads=4,
    ),
    "medium": Preset(
        (*_QUICK, "lowercase", "antonym", "country_capital"),
        seeds=3,
        mean_prompts=40,
        instruction_trials=12,
        strengths=(1.0, 2.0),
        items=32,
        text_items=32,
        written_items=15,
        shot_items=16,
        templates=("qa", "question", "input", "arrow", "say"),
        naive_heads=8,
    ),
    "full": Preset(seeds=3),
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has.

    `parts` holds the stored steps by seed and task, then by name ("effects_demonstrations", "sweep", "test", ...);
    `report`, `answers`, `counts`, `templates`, `shots` are tidy tables of them; `known` the share of prompts with
    demonstrations that the model answers, by task, also of those left out.
    """

    parts: dict[tuple[int, str], dict[str, xr.Dataset]]
    composed: list[xr.Dataset]
    known: dict[str, float]
    answers: pd.DataFrame
    report: pd.DataFrame
    counts: pd.DataFrame
    templates: pd.DataFrame
    shots: pd.DataFrame
    depth: int
    k: int

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that were usable."""
        return list(dict.fromkeys(t for _, t in self.parts))

    @property
    def first(self) -> int:
        """The first seed."""
        return min(s for s, _ in self.parts)

    def effects(self, source: str = "demonstrations") -> dict[str, xr.Dataset]:
        """By task, the mean effect of every head over prompts and seeds (``effect``, layer x head)."""
        planes: dict[str, list] = {}
        for (_, task), held in self.parts.items():
            if f"effects_{source}" in held:
                planes.setdefault(task, []).append(held[f"effects_{source}"].effect.mean("prompt"))
        return {t: xr.Dataset({"effect": sum(of) / len(of)}) for t, of in planes.items()}

    def universal(self, task: str | None = None) -> list[tuple[int, int]]:
        """The universal head set, leaving `task` out; of the first seed."""
        every = {t: held["effects_demonstrations"] for (s, t), held in self.parts.items() if s == self.first}
        return vectors.universal({t: ds for t, ds in every.items() if t != task} or every, self.k)

    def vector(self, model: Any, task: str) -> vectors.Vector:
        """The task's vector by the published recipe, from the stored means: the universal heads that the task had no
        part in choosing; of the first seed.

        Raises: VectorError: the means are not among the stored steps.
        """
        held = self.parts[self.first, task]
        if "means_demonstrations" not in held:
            raise VectorError(
                f"task={task!r}: its mean activations were not stored with this run; run `python -m lens reproduce"
                f" {NAME}` again with the same folder, which adds them, or take a vector with lens.vectors.extract."
            )
        means = heads.read_means(held["means_demonstrations"])
        return vectors.extract(model, task, heads=self.universal(task), means=means, name=task)

    def chosen(self, task: str, vector: str = UNIVERSAL) -> dict[str, float]:
        """The layer and strength that the validation questions chose for one of the compared vectors, and their
        accuracy there; of the first seed.
        """
        return steps.chosen_cells(self.parts[self.first, task]["sweep"])[vector]


def measure(
    asked: Asked,
    *,
    start: Any = "auto",
    memory_mb: Positive | None = None,
    quartet: Callable[[int], Quartet] | None = None,
) -> Reproduction:
    """Every step of every task.

    Data: "own" (tasks that ship), a folder of `[{"input": ..., "output": ...}]` files, one such file, or tasks. More
    seeds can be added to a folder later. `quartet`: by seed, the four tasks of the vector arithmetic; None takes
    `list_quartet` with own data and nothing else.

    Raises: VectorError: no usable task, or data that is none; ResultError: the folder holds another configuration.
    """
    model, data, plan, seed, say = asked.model, asked.data, asked.plan, asked.seed, asked.say
    config = {
        "data": {t.name: _hash(t) for t in load_tasks(data, plan, asked.limit, seed)},
        "preset": {k: v for k, v in asdict(plan).items() if k not in ("seeds", "usable")},
        "seed": seed,
        "start": start,
        "model": weight_hash(model),
    }
    store = Steps(asked.folder, config, classic=True)
    known: dict[str, float] = {}
    parts, composed = {}, []
    for s in range(seed, seed + plan.seeds):
        bench = Bench(model, plan, store, s, start, memory_mb, asked.progress)
        tasks = load_tasks(data, plan, asked.limit, s)
        if not known:
            known = {m.task: m.known / m.asked for m in (heads.means(bench, t) for t in tasks)}
            usable = steps.need_tasks(known, plan.usable)
            say("; ".join(f"{n} {100 * a:.0f} %{'' if n in usable else ' (left out)'}" for n, a in known.items()))
        tasks = [t for t in tasks if t.name in usable]
        cells = bench.decoder.n_layers * bench.decoder.n_heads
        for t in tasks:
            say(f"seed {s}, {t.name}: effects of {cells} heads on {plan.trials} prompts")
            steps.first_part(bench, t)
        sets = heads.head_sets(bench, tasks)
        for t in tasks:
            say(f"seed {s}, {t.name}: vectors over {len(bench.layers)} layers")
            parts[s, t.name] = steps.second_part(bench, t, tasks, sets)
        four = quartet or (list_quartet if plan.composition and isinstance(data, str) and data == "own" else None)
        if four is not None:
            say(f"seed {s}: vector arithmetic")
            universal = vectors.universal({t.name: heads.effects(bench, t) for t in tasks}, plan.heads)
            composed.append(composition(bench, four(s), universal))
    result = _judged(parts, composed, known, bench.decoder.n_layers, plan.heads, plan.usable)
    depends = store.config | {"seeds": plan.seeds, "usable": plan.usable}
    result.fingerprint = results.fingerprint({"kind": "reproduction", **depends})
    result.config = depends | {"tasks": usable, "filter": known, "depth": result.depth}
    result.provenance = results.provenance(next(iter(parts.values()))["effects_demonstrations"])
    return result


@door(VectorError)
def load_tasks(data: FilePath | Sequence[Task], plan: Preset, limit: Count | None = None, seed: Seed = 0) -> list[Task]:
    """The tasks of a run, split with `seed`.

    Raises: VectorError: a folder without tasks, a name that is not there.
    """
    if not isinstance(data, (str, os.PathLike)):
        tasks = list(data)
    elif str(data) == "own":
        tasks = [vectors.load_task(n, seed=seed) for n in plan.tasks or vectors.task_names()]
    else:
        path = files.expanded(data)
        there = sorted(path.glob("*.json")) if path.is_dir() else [path]
        wanted = {n.replace("_", "-") for n in plan.tasks or ()}
        chosen = [f for f in there if not wanted or f.stem.replace("_", "-") in wanted] or there
        if not chosen:
            raise VectorError(
                f"data={str(data)!r}: no .json file there; expected a folder of tasks as"
                " github.com/ericwtodd/function_vectors has in dataset_files, or 'own'."
            )
        tasks = [vectors.load_task(f, seed=seed, repeated="first") for f in chosen]
    if not tasks:
        raise VectorError("data=[]: expected at least one task.")
    return tasks[:limit]


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its tables computed anew from the steps."""
    config = record["config"]
    parts: dict[tuple[int, str], dict[str, xr.Dataset]] = {}
    composed: list[xr.Dataset] = []
    for s in range(config["seed"], config["seed"] + config["seeds"]):
        for task in config["tasks"]:
            parts[s, task] = {f.stem: open_result(f) for f in sorted((folder / f"seed-{s}" / task).glob("*.nc"))}
        composed += [open_result(f) for f in sorted((folder / f"seed-{s}").glob("*/composition.nc"))]
    return _judged(parts, composed, config["filter"], config["depth"], config["preset"]["heads"], config["usable"])


def _judged(
    parts: dict[tuple[int, str], dict[str, xr.Dataset]],
    composed: list[xr.Dataset],
    known: Mapping[str, float],
    depth: int,
    k: int,
    usable: float,
) -> Reproduction:
    table, numbers = verdicts.verdicts(parts, composed, depth=depth, k=k, usable=usable)
    name = results.provenance(next(iter(parts.values()))["effects_demonstrations"])["model"]["name"]
    return Reproduction(
        parts=parts,
        composed=composed,
        known=dict(known),
        answers=frames.answers(parts),
        report=frames.report(parts, depth),
        counts=frames.counts(parts),
        templates=frames.templates(parts),
        shots=frames.shots(parts),
        table=table,
        numbers=numbers,
        depth=depth,
        k=k,
        title=f"{name}, {len(numbers['tasks'])} tasks",
    )


def figures(result: Reproduction) -> Mapping[str, Drawing]:
    """The figures that a run has tables for."""
    from ... import figures as plots

    def mean(by: Mapping[str, xr.Dataset]) -> xr.Dataset:
        return xr.Dataset({"effect": sum(ds.effect for ds in by.values()) / len(by)})

    def bars(condition: str, path: Any) -> Any:
        rows = matching(result.report, condition=condition)
        every = frames.pooled(rows, ("vector",)).assign(task="all tasks")
        both = pd.concat([frames.pooled(rows, ("task", "vector")), every])
        return plots.accuracy_bars(both, path, title=f"{title}: test, {TITLES[condition]}")

    effects, title, parts = result.effects(), result.title, list(result.parts.values())
    rings = {t: result.universal(t) for t in result.tasks} | {"mean of tasks": result.universal()}
    bare = float(np.nanmean(np.concatenate([s["sweep"].base_correct.astype(float).values.ravel() for s in parts])))
    drawn: dict[str, Drawing] = {
        "head_effects": lambda path: plots.effects_map(effects, path, heads=rings, title=title),
        "layers": lambda path: plots.sweep_plot(
            frames.layers(result.parts),
            path,
            base=bare,
            marks={"a third": result.depth / 3},
            title=f"{title}: validation, zero-shot",
        ),
    }
    if not result.counts.empty:
        top = matching(result.counts, choice="top")
        drawn["heads"] = lambda path: plots.sweep_plot(
            frames.pooled(top, ("task", "heads")), path, by="task", over="heads", title=f"{title}: test, zero-shot"
        )
    if not result.shots.empty:
        drawn["shots"] = lambda path: plots.sweep_plot(
            frames.pooled(result.shots, ("vector", "shots")),
            path,
            over="shots",
            title=f"{title}: test, after demonstrations",
        )
    for condition in TITLES:
        if (result.report.condition == condition).any():
            drawn[f"conditions_{condition}"] = partial(bars, condition)
    if not result.templates.empty:
        drawn["templates"] = lambda path: plots.accuracy_bars(
            frames.pooled(result.templates, ("template", "vector")),
            path,
            across="template",
            title=f"{title}: test, zero-shot in other templates",
        )
    if other := result.effects("instruction"):
        drawn["sources"] = lambda path: plots.source_plot(
            mean({t: effects[t] for t in other}), mean(other), path, k=result.k, title=f"{title}, mean over tasks"
        )
    named = (("AtP", "atp"), ("AtP*", "atp_star"), ("integrated gradients", "ig"))
    if estimates := {m: parts[0][f"effects_{n}"] for m, n in named if f"effects_{n}" in parts[0]}:
        drawn["estimates"] = lambda path: plots.agreement_plot(parts[0]["effects_demonstrations"], estimates, path)
    return drawn


def _hash(task: Task) -> str:
    return digest_of([task.pairs, task.instruction, task.texts], 16)


STUDY = Study(
    NAME,
    paper="Todd et al., ICLR 2024",
    question="Is what a model should do held in a few heads, as a vector that can be moved to another prompt?",
    models="a language model that is given (smollm2 by default)",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls="a random vector of equal norm, the vector of another task, shuffled labels, the layer average, one"
    " hooked forward a head for exactness",
    error=VectorError,
    model="smollm2",
    data=FilePath | Sequence[Task],
    items="tasks",
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
