"""Two checkpoints side by side (arXiv 2511.05933, reinforcement and the traversal of hierarchical knowledge), on
organisms whose tree, training and rewards are known.

    python -m lens reproduce traversal --preset quick

What was settled before the first run
-------------------------------------
*Organism.* Every edge and code of the tree is trained; of every three siblings one has walks, one is tuned on and one
is reported. Codes are single tokens drawn at random. Depth is edges of a walk: questions for common ancestors and codes
that spell the path are in no training here.

*Checkpoints.* All from one base by 100 updates of as many rows, each with rows of edges and codes beside: supervised on
answers or walks, reinforced for the right top, for the form of a walk, and by a coin, whose price for leaving the base
is 1 instead of .01, so that it leaves the base's walks alone.

*Looks.* After 25, 50 and 100 updates. What a forced walk closes is judged at the first look at which tuned answers
reach .99; equal walkers are compared by sampled answers at every look, since most likely answers are all right.

*Units.* A reported leaf, of which each parent has one, within the base where there are several seeds.

*States.* Raw cosines as published, of prompts that differ in last token, length and answer. Then at the code, in
prompts of one length without an answer: centred, minus two supervised runs of one recipe. The layer is the first of the
two blocks, as behind the last one a code's state reaches no other token.

*Patches.* Effects of the code's state in log-odds of the leaf's name as the first step of a walk. Statements: bounds of
.1 nats of log-probability beyond another run of the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ...engine.model import Model
from ...results.record import record_of
from ..common import Steps, Tables, read_tables, several
from ..study import Asked, Reproduction, Study, figures_of, one_thread
from . import steps
from .bench import ARMS, BASE, Bench, Preset
from .claims import CLAIMS
from .tables import tables
from .verdicts import verdicts

NAME, VERSION = "traversal", 1
TABLES = ("behaviour", "knowledge", "states", "likeness", "patches")
PRESETS = {
    "tiny": Preset(seeds=(0,), draws=4, small=True),
    "quick": Preset(seeds=(0,)),
    "full": Preset(),
}


def measure(asked: Asked) -> Reproduction:
    """Every seed's checkpoints: asked, compared and patched."""
    plan, seed = asked.plan, asked.seed
    benches = [Bench(number, plan, asked.models, asked.say) for number in plan.seeds]
    with one_thread():
        hashes = {f"{bench.seed} {arm}": bench.card(arm)["weights_sha256"][:16] for bench in benches for arm in ARMS}
        config = {"version": VERSION, "preset": asdict(plan), "seed": seed, "models": hashes}
        kept, parts = Steps(asked.folder, config), Tables(asked.folder, TABLES, asked.say)
        for bench in benches:
            name = f"seed-{bench.seed}"
            made = {
                "behaviour": lambda bench=bench: steps.behaviour(bench),
                "knowledge": lambda bench=bench: steps.knowledge(bench),
                "states": lambda bench=bench: steps.states(bench, seed),
                "likeness": lambda bench=bench: steps.likeness(bench, seed, asked.progress),
                "patches": lambda bench=bench: steps.patches(bench, seed, asked.progress),
            }
            for table, make in made.items():
                parts.kept((table,), name, make)
        model = benches[0].model(BASE)
        record = record_of(model, Model.of(model), "traversal study", {})
    result = _judged(parts.joined(), seed)
    result.config, result.provenance = kept.config, record
    return result


def _judged(measured: Mapping[str, pd.DataFrame], seed: int) -> Reproduction:
    made = {**measured, **tables(measured, seed)}
    table, numbers = verdicts(made, seed)
    return Reproduction(table=table, numbers=numbers, tables=made, title=several(numbers["seeds"], "seed"))


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    return _judged(read_tables(folder, TABLES, ()), seed)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="arXiv 2511.05933 (2025)",
    question="Does reinforcement change what is known, or how it is walked, and do states of two checkpoints say so?",
    models="organism atlas: a base and seven checkpoints a seed",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "another run of each recipe as the floor, supervised walks, rewards of form and of chance, single edges, "
        "filler as long as a walk, the base's own draws, other prompts and random moves in patches"
    ),
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
