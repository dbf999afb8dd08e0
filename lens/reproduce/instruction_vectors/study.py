"""Interpretable Catastrophic Forgetting via Instruction Vector (Jiang et al. 2024) and its successor's training loss
(Jiang et al., ICLR 2025), with the controls that they lack.

    python -m lens reproduce instruction-vectors --model organism:symbols --preset medium
    python -m lens reproduce instruction-vectors --model smollm2 --preset medium

A model is fine-tuned on one new task after another by every method; on the way old tasks are asked for by instruction
and by demonstrations, and facts without either. What happened to the old tasks' vectors, does putting them back help,
does training with them keep the old tasks, and is it the vector or just the KL? Gates and sources of quoted
numbers: `claims`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from ...arguments import Positive
from ...forgetting import ForgettingError
from ...models import weight_hash
from ...results import dataset as results
from ...results.opening import open_result
from ..common import Steps
from ..study import Asked, Drawing, Study, one_thread
from ..study import Reproduction as Judged
from . import steps, verdicts
from . import tables as frames
from .claims import CLAIMS
from .steps import Bench
from .tasks import TITLES, VARIANTS, Preset, course_of, is_symbols

NAME = "instruction-vectors"
_LANGUAGE = Preset(
    ("plain", "guided", "kl_vector", "kl_start", "kl_random", "heads_only"),
    40,
    8,
    1e-3,
    rank=8,
    instruction_items=32,
    icl_items=10,
    icl_shots=5,
    fact_items=32,
    new_items=32,
    training_rows=200,
    vector_prompts=4,
    mean_prompts=12,
    trials=4,
    every=3,
    strengths=(1.0, 2.0),
    watched=("plain", "guided"),
    effects=("plain",),
    recover=("plain",),
    once=("kl_vector", "kl_random"),
)
# learning rate and steps were chosen on seed 0 with plain fine-tuning alone: large enough that a new bijection is
# learnt, small enough that the old tasks do not fall to chance within the first stages
_SYMBOLS = Preset(tuple(VARIANTS), 100, 32, 2e-4, seeds=3, evaluate_at=(5, 20, 50), icl_items=6)
#: by name on the command line, the plan for the organisms `symbols` and the one for a language model
PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "tiny": {
        "symbols": replace(
            _SYMBOLS,
            methods=("plain", "guided", "kl_vector", "kl_start"),
            steps=30,
            batch=16,
            learning_rate=1e-3,
            seeds=1,
            evaluate_at=(5, 10),
            old=("table_1", "table_2", "pick_last", "last_table_1"),
            new=("table_5", "step_2"),
            instruction_items=24,
            icl_items=6,
            mean_prompts=10,
            trials=4,
            vector_prompts=4,
            watched=("plain",),
            effects=("plain",),
            recover=("plain",),
        ),
        "language": replace(
            _LANGUAGE,
            methods=("plain", "kl_start"),
            steps=6,
            batch=4,
            old=("present_past", "capitalize"),
            new=("next_item", "word_length"),
            instruction_items=8,
            icl_items=4,
            icl_shots=4,
            fact_items=8,
            new_items=8,
            shots=4,
            vector_prompts=3,
            mean_prompts=4,
            trials=2,
            every=10,
            strengths=(1.0,),
            watched=("plain",),
        ),
    },
    "quick": {
        "symbols": replace(_SYMBOLS, methods=("plain", "guided", "kl_vector", "kl_start"), seeds=2),
        "language": replace(_LANGUAGE, methods=("plain", "kl_start"), once=()),
    },
    "medium": {"symbols": _SYMBOLS, "language": _LANGUAGE},
    "full": {
        "symbols": replace(
            _SYMBOLS,
            steps=400,
            batch=64,
            evaluate_at=(5, 10, 20, 40, 80, 160, 280),
            icl_items=32,
            vector_prompts=32,
            mean_prompts=100,
            trials=25,
            watched=tuple(VARIANTS),
        ),
        "language": replace(
            _LANGUAGE,
            methods=tuple(VARIANTS),
            once=(),
            steps=150,
            seeds=3,
            evaluate_at=(10, 40),
            icl_items=40,
            icl_shots=10,
            vector_prompts=32,
            mean_prompts=100,
            trials=25,
            every=1,
            strengths=(0.5, 1.0, 2.0),
            watched=("plain", "guided", "kl_start"),
            effects=("plain", "guided"),
            recover=("plain", "guided"),
        ),
    },
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has.

    `starts` holds by seed the start model's step, `parts` by seed and method the stored sequence; `units`, `methods`,
    `curves`, `recovery`, `points`, `sets` and `drift` are tidy tables of them.
    """

    starts: dict[int, xr.Dataset]
    parts: dict[tuple[int, str], xr.Dataset]
    cost: xr.Dataset | None
    units: pd.DataFrame
    methods: pd.DataFrame
    curves: pd.DataFrame
    recovery: pd.DataFrame
    points: pd.DataFrame
    sets: pd.DataFrame
    drift: pd.DataFrame

    @property
    def seconds(self) -> dict[tuple[int, str], float]:
        """What every sequence took."""
        return {key: results.provenance(ds)["seconds"] for key, ds in self.parts.items()}


def measure(asked: Asked, *, memory_mb: Positive | None = None) -> Reproduction:
    """Every sequence: one that was finished is read back, one under way goes on after its last finished stage.

    Of the model: "organism:symbols" stands for all of its seeds, each with its own start model; a plain Hugging Face
    model with a tokenizer is copied for each sequence. Seeds and methods can be added to a folder later.
    """
    # the last bits of trained weights depend on the number of threads; an organism needs no more than one
    with one_thread() if is_symbols(asked.model) else contextlib.nullcontext():
        return _measured(asked, memory_mb)


def _measured(asked: Asked, memory_mb: Positive | None) -> Reproduction:
    model, plan, seed, say = asked.model, asked.plan, asked.seed, asked.say
    if isinstance(plan, Mapping):
        plan = plan["symbols" if is_symbols(model) else "language"]
    if asked.limit is not None:
        course = course_of(model, plan, seed)
        plan = replace(plan, old=tuple(t.name for t in course.old[: asked.limit]))
    store = Steps(asked.folder, {"preset": steps.config_of(plan), "model": weight_hash(model)})
    starts, parts, cost = {}, {}, None
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="the model answers none"
        )  # a new task before its training; the record says so
        sequences = sum(len(plan.of_seed(number)) for number in range(plan.seeds))
        for number, s in enumerate(range(seed, seed + plan.seeds)):
            bench = Bench(course_of(model, plan, s), plan, store, asked.progress, memory_mb)
            say(
                f"seed {s}: {len(bench.course.old)} old tasks, {len(bench.course.stages)} new ones"
                f" ({', '.join(t.name for t in bench.course.new)}), {len(plan.of_seed(number))} methods"
            )
            starts[s] = steps.start(bench)
            if s == seed:
                cost = steps.cost(bench, starts[s])
                each = float(cost.plain) * plan.steps * len(bench.course.stages)
                say(
                    f"  {float(cost.plain):.3f} s a step plain, {float(cost.guided):.3f} s guided; {sequences}"
                    f" sequences of {len(bench.course.stages)} x {plan.steps} steps of {plan.batch} rows: about"
                    f" {each * sequences / 60:.0f} min of training, and the measurements"
                )
            for label in plan.of_seed(number):
                parts[s, label] = steps.whole(steps.sequence(bench, label))
                say(
                    f"  {TITLES[label]}: {verdicts.one_line(parts[s, label])}"
                    f" ({results.provenance(parts[s, label])['seconds']:.0f} s)"
                )
    result = _judged(starts, parts, cost, seed)
    result.config = store.config | {
        "seeds": plan.seeds,
        "methods": list(plan.methods),
        "once": list(plan.once),
        "seed": seed,
    }
    result.provenance = results.provenance(starts[seed])
    return result


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its tables computed anew from the sequences."""
    config = record["config"]
    seeds = range(config["seed"], config["seed"] + config["seeds"])
    starts = {s: open_result(folder / f"seed-{s}" / "start.nc") for s in seeds}

    def of_seed(s):
        return [m for m in config["methods"] if s == config["seed"] or m not in config.get("once", ())]

    parts = {(s, m): steps.whole(open_result(folder / f"seed-{s}" / f"{m}.nc")) for s in seeds for m in of_seed(s)}
    file = folder / f"seed-{config['seed']}" / "cost.nc"
    return _judged(starts, parts, open_result(file) if file.is_file() else None, seed)


def _judged(starts: dict, parts: dict, cost: xr.Dataset | None, seed: int) -> Reproduction:
    units = frames.units(starts, parts)
    tables = {
        "methods": frames.methods(units, parts, seed),
        "curves": frames.curves(parts),
        "recovery": frames.recovery(parts, seed),
        "points": frames.points(parts),
        "sets": frames.sets(starts, parts),
        "drift": frames.drift(parts),
    }
    table, numbers = verdicts.verdicts(units=units, cost=cost, seed=seed, **tables)
    return Reproduction(
        starts=starts,
        parts=parts,
        cost=cost,
        units=units,
        table=table,
        numbers=numbers,
        title=results.provenance(next(iter(starts.values())))["model"]["name"],
        **tables,
    )


def gates(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The claim gates G1 to G9 in one table: of each model's tables *claim | paper | here | n | multiplicity | verdict*
    the rows whose claim begins with a gate, by gate and model.

    `tables`: by model's name; one made of several reproductions' tables is `pd.concat` of them. A gate that a model has
    no row for is left out.
    """
    rows = []
    for model, table in tables.items():
        gated = table[table.claim.str.match(r"G\d+\.")]
        rows += [
            {
                "gate": r.claim.split(".")[0],
                "model": model,
                "claim": r.claim.split(". ", 1)[1],
                "here": r.here,
                "n": r.n,
                "multiplicity": r.multiplicity,
                "verdict": r.verdict,
            }
            for r in gated.itertuples()
        ]
    frame = pd.DataFrame(rows, columns=["gate", "model", "claim", "here", "n", "multiplicity", "verdict"])
    return frame.sort_values("gate", key=lambda g: g.str[1:].astype(int), kind="stable").set_index(["gate", "model"])


def figures(result: Reproduction) -> Mapping[str, Drawing]:
    """The figures that a run has tables for."""
    from . import figures as plots

    title, order = result.title, ("plain", "guided", "heads_only", "kl_start", "averaging", "replay")
    some = [m for m in order if m in set(result.curves.method)]
    drawn: dict[str, Drawing] = {
        "methods": lambda path: plots.method_plot(result.methods, path, names=TITLES, title=title),
        "tradeoff": lambda path: plots.tradeoff_plot(result.methods, path, names=TITLES, title=title),
        "curves": lambda path: plots.curve_plot(result.curves, path, methods=some, names=TITLES, title=title),
        "drift": lambda path: plots.drift_plot(result.drift, path, names=TITLES, title=title),
    }
    if not result.points.empty:
        drawn["similarity"] = lambda path: plots.forgetting_scatter(
            result.points[result.points.method == "plain"], path, title=f"{title}: plain fine-tuning"
        )
    if not result.recovery.empty:
        drawn["recovery"] = lambda path: plots.recovery_bars(
            result.recovery[result.recovery.method == "plain"], path, title=f"{title}: after plain fine-tuning"
        )
    if not result.sets.empty:
        drawn["heads"] = lambda path: plots.set_plot(result.sets, path, names=TITLES, title=title)
    return drawn


STUDY = Study(
    NAME,
    paper="Jiang et al. 2024 (Instruction Vector) and Jiang et al., ICLR 2025",
    question="Does fine-tuning erase what a model remembers to do, or only cover it, and what keeps it?",
    models="organism:symbols (seeds 0 to 2 ship) or a language model that is given",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls="random vectors put back, plain fine-tuning, the KL without the vector, the head term alone, averaging,"
    " EWC, replay, what learning less would keep",
    error=ForgettingError,
    model="organism:symbols",
    items="old tasks",
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
