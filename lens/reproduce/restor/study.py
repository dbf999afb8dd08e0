"""RESTOR (Rezaei et al. 2024): unlearning judged by the state that should come back, with the controls that it lacks.

    python -m lens reproduce restor --preset quick
    python -m lens reproduce restor --preset full --models FOLDER

What was settled before the first run
-------------------------------------
*Corruption.* A clean model is trained on documents with false values of some facts of attacked people, in two of three
wordings, up to a dose: the share of the choosing people's questions that are answered as planted, looked at every five
steps. The twin reads the same documents with true values for as many steps; the model that never knew was never taught
the attacked facts and reads the false ones. The rate of this training is the lowest at which the choosing people's
questions reach the larger dose; nobody else's were looked at for it.

*Arms.* Every method from there with a retain set of true documents of people whom nothing else is asked about, in
relations that are not attacked; the retain set alone is an arm, and so are documents of the attacked relations.

*Readings.* Rates and looks are chosen on one half of the attacked people and reported on the other: where most is
restored, and by one rule for all that needs no right answer: the first look at which held-out documents (the third
wording) are as unlikely as to the twin.

*Units.* People within seeds; seeds, which draw facts, people, documents and orders, are the outer unit.

*Left out.* The paper's last training on instructions, its judge, sampled answers: the likeliest token is the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...models import weight_hash
from ...organisms import archive as organism
from ...organisms.gates import read_card
from ...results.record import Plainly, record_of
from ...scoring.causal import plain
from ...unlearning import UnlearningError
from ..common import Steps, Tables, matching, read_tables
from ..organism_models import loaded, pairs, recipe_of
from ..study import Asked, Reproduction, Study, figures_of, one_thread
from . import steps
from .bench import archive_course
from .claims import CLAIMS
from .steps import Bench, Plan
from .tables import arms, settings
from .verdicts import verdicts

NAME, VERSION = "restor", 1
TABLES = ("doses", "paths", "losses", "facts", "gone")
PRESETS = {
    "tiny": Plan(
        seeds=(0,),
        unshared=(),
        adapters=("full",),
        doses=(0.5,),
        ks=(0,),
        arms=("retain_only", "gradient_difference", "npo"),
        rates={"full": (1e-3,)},
        steps=4,
        looks=(0, 2, 4),
        dose_steps=10,
        dose_rates={"full": 3e-3},
        most=8,
        gone=False,
    ),
    "quick": Plan(
        seeds=(0,),
        unshared=(),
        adapters=("lora",),
        ks=(0,),
        arms=("retain_only", "gradient_difference", "npo_batch", "npo"),
        deep=False,
    ),
    "full": Plan(),
}


def measure(asked: Asked) -> Reproduction:
    """Every cell of every seed, and the verdicts.

    The given model says which organism: the seeds of the plan are found beside it (seed 0 ships), or in `models`, into
    which those that are missing are trained.
    """
    plan, say = asked.plan, asked.say
    seeds = [asked.seed + s for s in plan.seeds]
    config = {"preset": asdict(plan), "seed": asked.seed, "version": VERSION, "model": weight_hash(asked.model)[:16]}
    kept = Steps(asked.folder, config)
    tables = Tables(asked.folder, TABLES, say)
    core = plain(asked.model)
    record = record_of(
        asked.model, Plainly(core, core.dtype, core.device), "restor", {"preset": asdict(plan)}, seed=asked.seed
    )
    with one_thread():
        for seed in seeds:
            bench = _bench(asked, plan, seed, True)
            for cell in plan.cells():
                part = f"seed-{seed}-{cell.name}"
                tables.kept(("doses",), part, partial(steps.doses, bench, cell))
                if cell.dose != plan.main.dose and not plan.deep:
                    continue
                found = tables.kept(
                    ("paths", "losses", "facts"), part, partial(steps.arms, bench, cell, asked.progress)
                )
                if plan.gone and cell == plan.main:
                    chosen = settings(found[0], found[1])
                    tables.kept(("gone",), part, partial(steps.gone, bench, cell, chosen))
        for seed in (asked.seed + s for s in plan.unshared):
            bench = _bench(asked, replace(plan, ks=plan.ks[:1], doses=plan.doses[:1]), seed, False)
            tables.kept(("doses",), f"seed-{seed}-unshared", partial(steps.doses, bench, bench.plan.main))
    result = _judged(tables.joined(), config, asked.seed)
    result.config, result.provenance = kept.config, record
    return result


def _bench(asked: Asked, plan: Plan, seed: int, shared: bool) -> Bench:
    """The models of a seed and what is asked of them.

    Raises: ReproduceError: they are nowhere.
    """
    more = {"shared": shared}
    takes = "about a minute on an idle core"
    arguments = [] if shared else ["--unshared"]
    ((_, folders),) = pairs(organism, "knew", asked.models, [seed], arguments, takes, asked.say, shared, more)
    clean, never = ([*(loaded(folder, attention=None) for folder in folders), None])[:2]
    archive = organism.Archive(recipe_of(organism, folders[0]))
    card = json.loads((folders[0] / "card.json").read_text(encoding="utf-8"))
    gates = {gate.name: gate.holds for gate in read_card(card)}
    for name, holds in gates.items():
        if shared and not holds:
            asked.say(f"seed {seed}: the gate {name!r} does not hold; its claims are not tested")
    course = archive_course(archive, clean, never, plan.ks, seed, gates, folders[0].name)
    return Bench(course, plan, seed, "shared" if shared else "unshared")


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    parts = [*(cell.name for cell in _plan(record["config"]).cells()), "unshared"]
    return _judged(read_tables(folder, TABLES, parts), record["config"], seed)


def _plan(config: Mapping[str, Any]) -> Plan:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["preset"].items()}
    return Plan(**fields)


def _judged(tables: Mapping[str, pd.DataFrame], config: Mapping[str, Any], seed: int) -> Reproduction:
    made = dict(tables)
    plan = _plan(config)
    made["settings"] = settings(made["paths"], made["losses"])
    made["arms"] = arms(made, seed)
    table, numbers = verdicts(made, plan.main, plan.ks, seed)
    seeds = sorted(matching(made["doses"], variant="shared").seed.unique())
    title = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return Reproduction(table=table, numbers=numbers, tables=made, title=title)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Rezaei et al. 2024 (RESTOR)",
    question="Does unlearning false documents bring back what was known before, and does it take unlearning at all?",
    models="organism archive (seed 0 and its twin ship)",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "the retain set alone, on other and on the attacked relations; a twin on true documents; a model that never"
        " knew; one stopping rule for all; methods at equal loss; a variant whose statements lack the question's word"
    ),
    error=UnlearningError,
    model="organism:archive",
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
