"""Steering that acts only sometimes: SafeConstellations (over-refusal) and SEAL (length of reasoning), with controls.

    python -m lens reproduce gated-steering --preset quick

What was settled before the first run
-------------------------------------
*Prompts.* Three parts that share no text: directions and centroids are of "fit", thresholds, layers and sizes of
"choose", numbers of "report". All prompts are run in every arm, those that were answered before and those that have to
stay refused among them. All of the porter's texts are greedy, all of the reasoner's are drawn at temperature 1, by the
same streams in every arm.

*Published.* Towards the centroid of answered lists from the prompt's own last state, at every token and step, behind
two blocks. The published code adds it to the output of the blocks' input norms, which is no site here. A prompt that
names a planted task is pushed towards that task's centroid; one that names none, where its state's cosine with the
centroid of `translate` behind the first of the two blocks is at least .85, the published gate.

*Routes.* A prompt gets the edit of the task that it names. Requests to make a thing and tasks that are never refused
name none and get that of `translate`, so that it takes a gate to spare them.

*Areas.* At each price "choose" says which size, and what that size answers right on "report" counts. On both a size
that costs more than the price is taken for a random share of the prompts, so large that it costs the price.

Settled after a first run, for the second version: that what names no planted task gets an edit at all, the published
gate there, areas by the sizes of "choose", as many sizes of the bias as of steering, and the length of shuffled types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ...cache import sha256_file
from ...engine.model import Model
from ...organisms import porter, reasoner
from ...results.record import record_of
from ..common import Steps, Tables, read_tables
from ..organism_models import bridged, pairs, recipe_of
from ..study import Asked, Reproduction, Study, figures_of
from . import chains, steps
from .arms import Arms
from .bench import Bench, Preset
from .claims import CLAIMS
from .tables import Shares, by_arm, frontier, summary, tested
from .verdicts import verdicts

NAME, VERSION = "gated-steering", 2
TABLES = ("organisms", "answers", "rates", "alike", "chains")
TAKES = "some minutes of a core"
PRESETS = {
    "tiny": Preset(
        seeds=(0,),
        lists=14,
        unseen=4,
        disguised=12,
        free=4,
        strengths=(1.0,),
        biases=(8.0,),
        thoughts=(0,),
        chains=24,
        sizes=(1.0,),
        penalties=(2.0,),
        layers=(2,),
    ),
    "quick": Preset(
        seeds=(0,),
        lists=30,
        unseen=20,
        disguised=80,
        free=20,
        strengths=(0.5, 1.0, 1.5, 2.0),
        biases=(1.0, 2.0, 4.0, 8.0),
        thoughts=(0,),
        chains=150,
        sizes=(0.5, 1.0, 2.0),
        penalties=(1.0, 2.0, 4.0),
        layers=(1, 2),
    ),
    "full": Preset(),
}


def measure(asked: Asked) -> Reproduction:
    """Every arm on every organism that is there: those that ship, or others in the folder of models."""
    plan: Preset = asked.plan
    porters = _folders(porter, "planted", asked, plan.seeds, False)
    reasoners = _folders(reasoner, "useful", asked, plan.thoughts, _twins(asked)) if plan.chains else []
    config = {
        "version": VERSION,
        "preset": asdict(plan),
        "seed": asked.seed,
        "models": [sha256_file(at / "model.safetensors")[:16] for _, at in (*porters, *reasoners)],
    }
    kept, tables = Steps(asked.folder, config), Tables(asked.folder, TABLES, asked.say)
    record = None
    for seed, at in porters:
        model = bridged(at)
        record = record or record_of(model, Model.of(model), "gated steering study", {})
        recipe = recipe_of(porter, at)
        arms = Arms(Bench(model, porter.suite_of(recipe), plan, seed))
        part = f"seed-{seed}"
        card = (at / "card.json").read_text(encoding="utf-8")
        tables.kept(("organisms",), part, partial(steps.gates_of, "porter", seed, card))
        tables.kept(("answers",), part, partial(steps.answers, arms, asked.say))
        tables.kept(("rates",), part, partial(steps.rates, arms))
        tables.kept(("alike",), part, partial(steps.alike, arms))
    for seed, at in reasoners:
        recipe = recipe_of(reasoner, at)
        name = "reasoner" if recipe.useful else "reasoner-twin"
        part = f"seed-{seed}-{name}"
        card = (at / "card.json").read_text(encoding="utf-8")
        tables.kept(("organisms",), part, partial(steps.gates_of, name, seed, card))
        tables.kept(("chains",), part, partial(_chains, at, recipe, plan, seed, asked))
    made = judged(tables.joined(), asked.seed)
    made.config, made.provenance = kept.config, record
    return made


def _chains(at: Path, recipe: Any, plan: Preset, seed: int, asked: Asked) -> Any:
    return chains.chains(chains.Thinker(bridged(at), recipe, plan, seed), asked.say)


def _twins(asked: Asked) -> bool:
    """Whether the reasoner's twins are asked: where they are shipped, or may be trained."""
    return asked.models is not None or (reasoner.folder_of(0, twin=True) / "card.json").is_file()


def _folders(
    organism: ModuleType, mark: str, asked: Asked, seeds: Sequence[int], twins: bool
) -> list[tuple[int, Path]]:
    found = pairs(organism, mark, asked.models, seeds, ["--float16"], TAKES, asked.say, twins)
    return [(seed, at) for seed, folders in found for at in folders]


def judged(tables: Mapping[str, Any], seed: int) -> Reproduction:
    """The claims of some tables, and what figures are drawn from."""
    table, numbers = verdicts(tables, seed)
    choose, report = (Shares(tested(tables), split, seed) for split in ("choose", "report"))
    more = {"arms": summary(choose, report), "frontier": frontier(report), "lengths": by_arm(tables["chains"])}
    return Reproduction(table=table, numbers=numbers, tables={**tables, **more}, title="over-refusal and reasoning")


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    return judged(read_tables(folder, TABLES, ()), seed)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="SafeConstellations (arXiv 2508.11290); SEAL (arXiv 2504.07986)",
    question="Does a gate let steering cure what it should and spare the rest, and are shorter thoughts better ones?",
    models="organisms porter and reasoner",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "a bias on the refusal's logit, the same edit always, a random gate, random and other tasks' directions, "
        "centroids of the test, real and disguised refusals; shuffled types, bans and penalties on words, equal length"
    ),
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
