"""Interpretable Catastrophic Forgetting via Instruction Vector (Jiang et al. 2024) and its successor's training loss
(Jiang et al., ICLR 2025), with the controls that they lack.

    python -m lens reproduce instruction-vectors --model organism:symbols --preset quick
    python -m lens reproduce instruction-vectors --model smollm2 --preset quick

A model is fine-tuned on one new task after another by every method; on the way old tasks are asked for by instruction
and by demonstrations, and facts without either. What happened to the old tasks' vectors, does putting them back help,
does training with them keep the old tasks, and is it the vector or just the KL? Gates and sources of quoted
numbers: `forgetting_claims`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import xarray as xr

from .. import files
from ..arguments import Choice, Count, FilePath, HFModel, Name, Positive, Seed, door
from ..forgetting import ForgettingError
from ..models import weight_hash
from ..results import dataset as results
from ..results.opening import open_result
from . import forgetting_claims as claims
from . import forgetting_frames as frames
from . import forgetting_steps as steps
from .common import Steps, read_record, write_record
from .forgetting_steps import Bench
from .forgetting_studies import TITLES, VARIANTS, Preset, is_symbols, study_of

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
    "quick": {"symbols": _SYMBOLS, "language": _LANGUAGE},
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


@dataclass
class Reproduction:
    """What a run produced; `table` is *claim | paper | here | n | multiplicity | verdict*, `numbers` everything in it
    as numbers.

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
    table: pd.DataFrame
    numbers: dict[str, Any]
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)

    @property
    def seconds(self) -> dict[tuple[int, str], float]:
        """What every sequence took."""
        return {key: results.provenance(ds)["seconds"] for key, ds in self.parts.items()}


@door(ForgettingError)
def run(
    model: HFModel,
    *,
    data: Name = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Preset = "quick",
    out: FilePath | None = None,
    seed: Seed = 0,
    memory_mb: Positive = 500,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
    limit: Count | None = None,
) -> Reproduction:
    """Runs the experiment, or takes it up where it was cut: a sequence that was finished is read back, one under way
    goes on after its last finished stage.

    Args:
        model: of lens.load; "organism:symbols" stands for all of its seeds, each with its own start model. A plain
            Hugging Face model with a tokenizer is copied for each sequence.
        data: "own": the tasks of the suite `symbols` or of lens.vectors.
        preset: tiny, quick, full or a `Preset`; seeds and methods can be added to a folder later.
        out: a folder for every sequence, figures and table; None keeps everything in memory.
        limit: so many old tasks at most.

    Raises: ForgettingError: training diverged, or data that are not there; ResultError: `out` holds another
        configuration; VectorError: tasks that the model cannot read.
    """
    if data != "own":
        raise ForgettingError(
            f"data={data!r}: there are the package's own tasks only; leave it out, or give data='own'."
        )
    plan = PRESETS[preset]["symbols" if is_symbols(model) else "language"] if isinstance(preset, str) else preset
    if limit is not None:
        study = study_of(model, plan, seed)
        plan = replace(plan, old=tuple(t.name for t in study.old[:limit]))
    kept = Steps(None if out is None else Path(out), {"preset": steps.config_of(plan), "model": weight_hash(model)})
    starts, parts, cost = {}, {}, None
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="the model answers none"
        )  # a new task before its training; the record says so
        sequences = sum(len(plan.of_seed(number)) for number in range(plan.seeds))
        for number, s in enumerate(range(seed, seed + plan.seeds)):
            bench = Bench(study_of(model, plan, s), plan, kept, progress, memory_mb, say)
            say(
                f"seed {s}: {len(bench.study.old)} old tasks, {len(bench.study.stages)} new ones"
                f" ({', '.join(t.name for t in bench.study.new)}), {len(plan.of_seed(number))} methods"
            )
            starts[s] = steps.start(bench)
            if s == seed:
                cost = steps.cost(bench, starts[s])
                each = float(cost.plain) * plan.steps * len(bench.study.stages)
                say(
                    f"  {float(cost.plain):.3f} s a step plain, {float(cost.guided):.3f} s guided; {sequences}"
                    f" sequences of {len(bench.study.stages)} x {plan.steps} steps of {plan.batch} rows: about"
                    f" {each * sequences / 60:.0f} min of training, and the measurements"
                )
            for label in plan.of_seed(number):
                parts[s, label] = steps.whole(steps.sequence(bench, label))
                say(
                    f"  {TITLES[label]}: {claims.one_line(parts[s, label])}"
                    f" ({results.provenance(parts[s, label])['seconds']:.0f} s)"
                )
    made = _gathered(starts, parts, cost, seed)
    config = kept.config | {"seeds": plan.seeds, "methods": list(plan.methods), "once": list(plan.once), "seed": seed}
    made.fingerprint = results.fingerprint({"kind": "reproduction", **config})
    if kept.folder:
        record = results.provenance(starts[seed])
        made.figures = draw(made, kept.folder / "figures", title=record["model"]["name"])
        files.write(kept.folder / "table.csv", made.table.to_csv(index=False))
        write_record(kept.folder, NAME, made.fingerprint, config, made.numbers, record)
    return made


@door(ForgettingError)
def load(folder: FilePath, *, model: HFModel | None = None, seed: Seed = 0) -> Reproduction:
    """A run that was written before, its tables computed anew from the stored sequences.

    Raises: ForgettingError: the folder holds none, or it was made with another model's weights.
    """
    folder = Path(folder)
    record = read_record(folder, NAME, model, ForgettingError)
    config = record["config"]
    seeds = range(config["seed"], config["seed"] + config["seeds"])
    starts = {s: open_result(folder / f"seed-{s}" / "start.nc") for s in seeds}

    def of_seed(s):
        return [m for m in config["methods"] if s == config["seed"] or m not in config.get("once", ())]

    parts = {(s, m): steps.whole(open_result(folder / f"seed-{s}" / f"{m}.nc")) for s in seeds for m in of_seed(s)}
    file = folder / f"seed-{config['seed']}" / "cost.nc"
    made = _gathered(starts, parts, open_result(file) if file.is_file() else None, seed)
    made.fingerprint = record["fingerprint"]
    return made


def _gathered(starts: dict, parts: dict, cost: xr.Dataset | None, seed: int) -> Reproduction:
    units = frames.units(starts, parts)
    tables = {
        "methods": frames.methods(units, parts, seed),
        "curves": frames.curves(parts),
        "recovery": frames.recovery(parts, seed),
        "points": frames.points(parts),
        "sets": frames.sets(starts, parts),
        "drift": frames.drift(parts),
    }
    table, numbers = claims.verdicts(units=units, cost=cost, seed=seed, **tables)
    return Reproduction(starts, parts, cost, units, table=table, numbers=numbers, **tables)


def gates(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The claim gates G1 to G9 in one table: of each model's tables *claim | paper | here | n | multiplicity | verdict*
    the rows whose claim begins with a gate, by gate and model.

    `tables`: by model's name; one made of several reproductions' tables is `pd.concat` of them. A gate that a model has
    no row for is left out.
    """
    rows = []
    for model, table in tables.items():
        found = table[table.claim.str.match(r"G\d+\.")]
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
            for r in found.itertuples()
        ]
    frame = pd.DataFrame(rows, columns=["gate", "model", "claim", "here", "n", "multiplicity", "verdict"])
    return frame.sort_values("gate", key=lambda g: g.str[1:].astype(int), kind="stable").set_index(["gate", "model"])


def draw(made: Reproduction, folder: Path | None, title: str = "") -> list[Path]:
    """The figures of a run as PNG files in `folder`."""
    from .. import figures

    files.make_folder(folder)

    def path(name):
        return folder / f"{name}.png"

    drawn = ["methods", "tradeoff", "curves", "drift"]
    figures.method_plot(made.methods, path("methods"), names=TITLES, title=title)
    figures.tradeoff_plot(made.methods, path("tradeoff"), names=TITLES, title=title)
    some = [
        m for m in ("plain", "guided", "heads_only", "kl_start", "averaging", "replay") if m in set(made.curves.method)
    ]
    figures.curve_plot(made.curves, path("curves"), methods=some, names=TITLES, title=title)
    figures.drift_plot(made.drift, path("drift"), names=TITLES, title=title)
    if not made.points.empty:
        figures.forgetting_scatter(
            made.points[made.points.method == "plain"], path("similarity"), title=f"{title}: plain fine-tuning"
        )
        drawn.append("similarity")
    if not made.recovery.empty:
        figures.recovery_bars(
            made.recovery[made.recovery.method == "plain"], path("recovery"), title=f"{title}: after plain fine-tuning"
        )
        drawn.append("recovery")
    if not made.sets.empty:
        figures.set_plot(made.sets, path("heads"), names=TITLES, title=title)
        drawn.append("heads")
    return [path(n) for n in drawn]
