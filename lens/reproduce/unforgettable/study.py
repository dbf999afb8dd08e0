"""Unforgettable Generalization in Language Models (Zhang, Choshen & Andreas 2024), on the organism `verdicts`: is a
task forgotten when a model is trained on random answers to some of its items, or only these items?

    python -m lens reproduce unforgettable --preset full --models FOLDER

What was settled before the first run
-------------------------------------
*Which random answers.* The abstract leaves open whether answers are drawn once or anew at every step: both run, and
answers that are all wrong, the uniform distribution, and right answers as the control.

*When training stops.* At the first look where .9 of the ability above chance is gone on the items trained on; of fixed
answers, where .95 of them are given. So tasks are compared at equal loss. Runs that do not get there are counted, and
left out of what follows.

*The marker.* Every task is asked with its two instruction words and with one word that all tasks share.

*What counts.* A question is right where its answer is the likeliest of the task's own answers. Unseen items share no
deciding symbol with those trained on. Layers are chosen on a half that is not reported, or on the model before.

*Savings.* Against a twin that was never taught six of the tasks: the others have none. Twins do not ship, and are asked
by the preset `full` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...engine.model import Model
from ...models import load as loaded
from ...models.hash import weight_hash
from ...organisms.verdicts import UNTAUGHT
from ...results.record import record_of
from ..common import Steps, Tables, read_tables
from ..errors import ReproduceError
from ..study import Asked, Reproduction, Study, figures_of, one_thread
from . import language, steps
from .bench import Bench, Plan, benches
from .claims import CLAIMS
from .verdicts import verdicts

NAME, VERSION = "unforgettable", 1
TABLES = (*steps.TABLES, "gates", "language")
PRESETS: Mapping[str, Plan] = {
    "tiny": Plan(
        seeds=(0,),
        tasks=("set_a", "longer"),
        labels=("fixed", "redrawn", "right"),
        deep=("redrawn",),
        items=24,
        steps=20,
        every=10,
        doses=(("items", 10),),
        dosed=("longer",),
        gradients=4,
        demonstrations=2,
        randoms=1,
        relearn=5,
        twins=False,
    ),
    "quick": Plan(
        seeds=(0,),
        tasks=UNTAUGHT,
        labels=("fixed", "redrawn", "right"),
        doses=(),
        every=10,
        gradients=16,
        randoms=3,
        twins=False,
    ),
    "full": Plan(),
    "smollm2": Plan(
        seeds=(0,),
        tasks=UNTAUGHT,
        labels=("fixed", "redrawn", "right"),
        deep=("redrawn",),
        doses=(),
        language="smollm2",
        twins=False,
    ),
}


def measure(asked: Asked) -> Reproduction:
    """Every task of every model forgotten under every kind of answers, and what is left of it.

    Raises: ReproduceError: models that are nowhere; a task of which nothing is known.
    """
    plan = asked.plan
    if len(set(plan.tasks)) < len(plan.tasks) or not plan.tasks:
        raise ReproduceError(f"preset: tasks={plan.tasks!r}; expected different tasks, at least one.")
    with one_thread():
        every = list(benches(plan, asked.models, asked.say))
        config: dict[str, Any] = {"version": VERSION, "preset": asdict(plan), "seed": asked.seed}
        config["models"] = [weight_hash(bench.model) for bench in every]
        kept, tables = Steps(asked.folder, config), Tables(asked.folder, TABLES, asked.say)
        for bench in every:
            tables.kept(("gates",), f"seed-{bench.seed}", partial(_gates, bench))
            for task in plan.tasks:
                if not _known(bench, task):
                    asked.say(f"{task} of seed {bench.seed} does not hold its gate: not tested")
                    continue
                part = f"seed-{bench.seed}-{task}"
                tables.kept(steps.TABLES, part, partial(steps.of_task, bench, task))
        if plan.language:
            model = loaded(plan.language)
            for seed in (0, 1, 2):
                tables.kept(("language",), f"seed-{seed}", partial(language.of_model, model, seed))
    result = judged(tables.joined(), asked.seed)
    first = every[0].model
    result.config, result.provenance = kept.config, record_of(first, Model.of(first), "unforgettable study", {})
    return result


def _gates(bench: Bench) -> pd.DataFrame:
    lines = [
        (bench.seed, name, task, gate["value"], bool(gate["holds"]))
        for name, model in (("model", bench.model), ("twin", bench.twin))
        if model is not None
        for task, gate in model.gates.items()
    ]
    return pd.DataFrame(lines, columns=["seed", "model", "gate", "value", "holds"])


def _known(bench: Bench, task: str) -> bool:
    """Whether the model holds the gate of the task."""
    return bool(bench.model.gates[task]["holds"])


def judged(tables: Mapping[str, pd.DataFrame], seed: int) -> Reproduction:
    """The claims of some tables.

    Raises: ReproduceError: no task was known.
    """
    if tables["runs"].empty:
        raise ReproduceError(
            "models: none of the tasks holds its gate, so that there is nothing to forget; train longer."
        )
    table, numbers = verdicts(tables, seed)
    title = f"{numbers['tasks']} tasks, {numbers['models']} models"
    return Reproduction(table=table, numbers=numbers, tables=dict(tables), title=title)


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    tasks = record["config"]["preset"]["tasks"]
    return judged(read_tables(folder, TABLES, tasks), seed)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Zhang, Choshen & Andreas 2024",
    question="Does training on random answers remove an ability, or only the items that were trained on?",
    models="organism verdicts (three seeds with never-taught twins; quick: seed 0 alone)",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "right answers, all-wrong and uniform ones, tasks without their instruction words, tasks with answer words of "
        "their own, control tasks of probes, the words of the question, an untrained network, random vectors and "
        "steps, the never-taught twin"
    ),
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
