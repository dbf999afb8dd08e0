"""Function Vectors in Large Language Models (Todd et al., ICLR 2024), with the controls that it lacks.

    python -m lens reproduce function-vectors --preset quick

For every task: what the model answers, the mean activations after demonstrations, the exact indirect effect of every
head, its estimates, the vector, the layer and strength chosen on validation questions and reported on test questions
beside no vector, a random one, another task's, the layer average; other templates, natural sentences (the next word,
and what is written on), the number of demonstrations, instruction text, arithmetic. Spec of gates and sources of quoted
numbers: `vector_claims`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import files, vectors
from ..arguments import Choice, Count, FilePath, HFModel, Positive, Seed, door
from ..models import weight_hash
from ..results import dataset as results
from ..results.opening import open_result
from ..vectors import Task, VectorError
from . import vector_frames as frames
from . import vector_steps as steps
from .common import Steps, read_record, write_record
from .vector_arithmetic import Quartet, composition, list_quartet
from .vector_claims import verdicts
from .vector_steps import UNIVERSAL, Bench, Preset

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
        mean_prompts=4,
        trials=3,
        instruction_trials=3,
        methods={"atp": 3},
        counts=(1, 10),
        strengths=(1.0,),
        every=10,
        items=4,
        text_items=3,
        shot_counts=(0, 1, 3),
        draws=2,
        templates=("qa", "arrow"),
        naive_heads=3,
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


@dataclass
class Reproduction:
    """What a run produced; `table` is *claim | paper | here | n | multiplicity | verdict*, `numbers` everything in it
    as numbers.

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
    table: pd.DataFrame
    numbers: dict[str, Any]
    depth: int
    k: int
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that were usable."""
        return list(dict.fromkeys(t for _, t in self.parts))

    def effects(self, source: str = "demonstrations") -> dict[str, xr.Dataset]:
        """By task, the mean effect of every head over prompts and seeds (``effect``, layer x head)."""
        made: dict[str, list] = {}
        for (_, task), held in self.parts.items():
            if f"effects_{source}" in held:
                made.setdefault(task, []).append(held[f"effects_{source}"].effect.mean("prompt"))
        return {t: xr.Dataset({"effect": sum(planes) / len(planes)}) for t, planes in made.items()}

    def universal(self, task: str | None = None) -> list[tuple[int, int]]:
        """The universal head set, leaving `task` out; of the first seed."""
        seed = min(s for s, _ in self.parts)
        others = {t: held["effects_demonstrations"] for (s, t), held in self.parts.items() if s == seed and t != task}
        return vectors.universal(
            others or {t: held["effects_demonstrations"] for (s, t), held in self.parts.items() if s == seed}, self.k
        )

    def vector(self, model: Any, task: str) -> vectors.Vector:
        """The task's vector by the published recipe, from the stored means: the universal heads that the task had no
        part in choosing; of the first seed.

        Raises: VectorError: the means are not among the stored steps.
        """
        held = self.parts[min(s for s, _ in self.parts), task]
        if "means_demonstrations" not in held:
            raise VectorError(
                f"task={task!r}: its mean activations were not stored with this run; run `python -m lens reproduce"
                f" {NAME}` again with the same folder, which adds them, or take a vector with lens.vectors.extract."
            )
        return vectors.extract(
            model, task, heads=self.universal(task), means=steps.read_means(held["means_demonstrations"]), name=task
        )

    def chosen(self, task: str, vector: str = UNIVERSAL) -> dict[str, float]:
        """The layer and strength that the validation questions chose for one of the compared vectors, and their
        accuracy there; of the first seed.
        """
        return steps.chosen_cells(self.parts[min(s for s, _ in self.parts), task]["sweep"])[vector]


@door(VectorError)
def run(
    model: HFModel,
    *,
    data: FilePath | Sequence[Task] = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Preset = "quick",
    out: FilePath | None = None,
    start: Any = "auto",
    seed: Seed = 0,
    memory_mb: Positive = 500,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
    limit: Count | None = None,
    quartet: Callable[[int], Quartet] | None = None,
) -> Reproduction:
    """Runs the experiment, or takes it up where it was cut.

    Args:
        data: "own" (tasks that ship), a folder of `[{"input": ..., "output": ...}]` files, one such file, or tasks.
        preset: tiny, quick, medium, full or a `Preset`; more seeds can be added to a folder later.
        out: a folder for the steps of every task, figures and table; None keeps everything in memory.
        limit: so many tasks at most.
        quartet: by seed, the four tasks of the vector arithmetic; None takes `list_quartet` with own data and nothing
            else.

    Raises: VectorError: no usable task, or data that is none; ResultError: `out` holds another configuration.
    """
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    made_tasks = load_tasks(data, plan, limit, seed)
    config = {
        "data": {t.name: _hash(t) for t in made_tasks},
        "preset": {k: v for k, v in asdict(plan).items() if k not in ("seeds", "usable")},
        "seed": seed,
        "start": start,
        "model": weight_hash(model),
    }
    kept = Steps(None if out is None else Path(out), config, classic=True)
    usable: list[str] | None = None
    parts: dict[tuple[int, str], dict[str, xr.Dataset]] = {}
    composed = []
    for s in range(seed, seed + plan.seeds):
        bench = Bench(model, plan, kept, s, start, memory_mb, progress, say)
        tasks = load_tasks(data, plan, limit, s)
        if usable is None:
            found = {m.task: m.known / m.asked for m in (steps.means(bench, t) for t in tasks)}
            usable = steps.need_tasks(found, plan.usable)
            say("; ".join(f"{n} {100 * a:.0f} %{'' if n in usable else ' (left out)'}" for n, a in found.items()))
        tasks = [t for t in tasks if t.name in usable]
        for t in tasks:
            say(
                f"seed {s}, {t.name}: effects of {bench.decoder.n_layers * bench.decoder.n_heads} heads on"
                f" {plan.trials} prompts"
            )
            steps.first_part(bench, t)
        sets = steps.head_sets(bench, tasks)
        for t in tasks:
            say(f"seed {s}, {t.name}: vectors over {len(bench.layers)} layers")
            parts[s, t.name] = steps.second_part(bench, t, tasks, sets)
        four = quartet or (list_quartet if plan.composition and isinstance(data, str) and data == "own" else None)
        if four is not None:
            say(f"seed {s}: vector arithmetic")
            composed.append(
                composition(
                    bench, four(s), vectors.universal({t.name: steps.effects(bench, t) for t in tasks}, plan.heads)
                )
            )
    made = _gathered(parts, composed, found, bench.decoder.n_layers, plan.heads, plan.usable)
    made.fingerprint = results.fingerprint(
        {"kind": "reproduction", **kept.config, "seeds": plan.seeds, "usable": plan.usable}
    )
    if kept.folder:
        one = next(iter(parts.values()))["effects_demonstrations"]
        name = results.provenance(one)["model"]["name"]
        made.figures = draw(made, kept.folder / "figures", title=f"{name}, {len(made.tasks)} tasks")
        files.write(kept.folder / "table.csv", made.table.to_csv(index=False))
        write_record(
            kept.folder,
            NAME,
            made.fingerprint,
            kept.config
            | {
                "seeds": plan.seeds,
                "usable": plan.usable,
                "tasks": usable,
                "filter": found,
                "depth": made.depth,
            },
            made.numbers,
            results.provenance(one),
        )
    return made


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


@door(VectorError)
def load(folder: FilePath, *, model: HFModel | None = None) -> Reproduction:
    """A run that was written before, its tables computed anew from the stored steps.

    Raises: VectorError: the folder holds none, or it was made with another model's weights.
    """
    folder = Path(folder)
    record = read_record(folder, NAME, model, VectorError)
    config = record["config"]
    parts, composed = {}, []
    for s in range(config["seed"], config["seed"] + config["seeds"]):
        for task in config["tasks"]:
            parts[s, task] = {f.stem: open_result(f) for f in sorted((folder / f"seed-{s}" / task).glob("*.nc"))}
        composed += [open_result(f) for f in sorted((folder / f"seed-{s}").glob("*/composition.nc"))]
    made = _gathered(parts, composed, config["filter"], config["depth"], config["preset"]["heads"], config["usable"])
    made.fingerprint = record["fingerprint"]
    return made


def _gathered(
    parts: Mapping, composed: list, found: Mapping[str, float], depth: int, k: int, usable: float
) -> Reproduction:
    table, numbers = verdicts(parts, composed, depth=depth, k=k, usable=usable)
    return Reproduction(
        dict(parts),
        composed,
        dict(found),
        frames.answers(parts),
        frames.report(parts, depth),
        frames.counts(parts),
        frames.templates(parts),
        frames.shots(parts),
        table,
        numbers,
        depth,
        k,
    )


def draw(made: Reproduction, folder: Path | None, title: str = "") -> list[Path]:
    """The figures of a run as PNG files in `folder`."""
    from .. import figures

    files.make_folder(folder)

    def path(name):
        return folder / f"{name}.png"

    effects = made.effects()
    figures.effects_map(
        effects,
        path("head_effects"),
        heads={t: made.universal(t) for t in made.tasks} | {"mean of tasks": made.universal()},
        title=title,
    )
    figures.sweep_plot(
        frames.layers(made.parts),
        path("layers"),
        base=_none(made),
        marks={"a third": made.depth / 3},
        title=f"{title}: validation, zero-shot",
    )
    drawn = ["head_effects", "layers"]
    if not made.counts.empty:
        figures.sweep_plot(
            frames.pooled(made.counts[made.counts.choice == "top"], ("task", "heads")),
            path("heads"),
            by="task",
            over="heads",
            title=f"{title}: test, zero-shot",
        )
        drawn.append("heads")
    if not made.shots.empty:
        figures.sweep_plot(
            frames.pooled(made.shots, ("vector", "shots")),
            path("shots"),
            over="shots",
            title=f"{title}: test, after demonstrations",
        )
        drawn.append("shots")
    for condition in TITLES:
        rows = made.report[made.report.condition == condition]
        if len(rows):
            both = pd.concat(
                [frames.pooled(rows, ("task", "vector")), frames.pooled(rows, ("vector",)).assign(task="all tasks")]
            )
            figures.accuracy_bars(both, path(f"conditions_{condition}"), title=f"{title}: test, {TITLES[condition]}")
            drawn.append(f"conditions_{condition}")
    if not made.templates.empty:
        figures.accuracy_bars(
            frames.pooled(made.templates, ("template", "vector")),
            path("templates"),
            across="template",
            title=f"{title}: test, zero-shot in other templates",
        )
        drawn.append("templates")
    other = made.effects("instruction")
    if other:

        def mean(by):
            return xr.Dataset({"effect": sum(ds.effect for ds in by.values()) / len(by)})

        figures.source_plot(
            mean({t: effects[t] for t in other}),
            mean(other),
            path("sources"),
            k=made.k,
            title=f"{title}, mean over tasks",
        )
        drawn.append("sources")
    held = next(iter(made.parts.values()))
    estimates = {
        m: held[f"effects_{n}"]
        for m, n in (("AtP", "atp"), ("AtP*", "atp_star"), ("integrated gradients", "ig"))
        if f"effects_{n}" in held
    }
    if estimates:
        figures.agreement_plot(held["effects_demonstrations"], estimates, path("estimates"))
        drawn.append("estimates")
    return [path(n) for n in drawn]


def _none(made: Reproduction) -> float:
    rows = [h["sweep"].base_correct.astype(float).values.ravel() for h in made.parts.values()]
    return float(np.nanmean(np.concatenate(rows)))


def _hash(task: Task) -> str:
    return hashlib.sha256(json.dumps([task.pairs, task.instruction, task.texts]).encode()).hexdigest()[:16]
