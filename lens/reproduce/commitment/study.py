"""Commitment (Distributional Semantics Tracing, arXiv 2510.06107): a layer of no return, tested by interventions on
organisms whose associations have a known dose, beside the published scores; and sentences for a language model.

    python -m lens reproduce commitment --preset quick

What was settled before the first run
-------------------------------------
*Items.* A word with one cue of its weaker sense, at the middle of training, where such readings are right in about half
of the cases. Partners have a cue of the stronger sense in its place, the null another cue of the same sense whose
log-odds are nearest. Words count; seeds stand above them.

*Depths.* As `lens.depth`; an item whose null leaves .1 above layer 0 is not determined. That some depth exists cannot
fail (behind the last block nothing is read any more), so that what is judged is the spread over words and the share
below the last layer.

*Choice.* Layers and constants are chosen on three tenths of the words, and everything is reported on the others where a
choice was made. Published scores get equal lists: each sense's name and its cues.

*The language model.* In full alone: own sentences, asked in both orders of the two answers; nothing is said of it
unless 30 are right and 15 wrong in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import lens

from ...arguments import Name
from ...engine.model import Model
from ...organisms import senses
from ...results.record import record_of
from ..common import Steps, Tables, read_tables
from ..organism_models import pairs
from ..study import Asked, Reproduction, Study, figures_of
from . import steps
from .bench import Preset, Subject, subjects
from .claims import CLAIMS
from .tables import derived
from .verdicts import verdicts

NAME, VERSION = "commitment", 1
TABLES = (*steps.OF_MODEL, *steps.OF_SENTENCES)
PRESETS = {
    "tiny": Preset(
        seeds=(0,), items=24, partners=1, same=1, draws=2, probes=False, edges=1, sentences=0, depths=2, resamples=50
    ),
    "quick": Preset(seeds=(0,), items=180, partners=2, same=1, draws=10, edges=12, sentences=0, resamples=1000),
    "full": Preset(),
}


def measure(asked: Asked, *, language: Name = "smollm2") -> Reproduction:
    """Every organism at both moments, and where the preset has sentences those of a `language` model, by its name.

    Organisms that do not ship are looked for in the folder `models`, into which missing ones are trained.
    """
    plan, folder, seed = asked.plan, asked.folder, asked.seed
    told: list[Subject] = []
    for number, (at,) in pairs(
        senses, "dosed", asked.models, plan.seeds, ("--float16",), "about two minutes", asked.say, twins=False
    ):
        told += subjects(number, at)
    model = lens.load(language) if plan.sentences != 0 else told[0].model()
    record = record_of(model, Model.of(model), "commitment study", {})
    config = {
        "version": VERSION,
        "preset": asdict(plan),
        "seed": seed,
        "organisms": [one.card["weights_sha256"][:16] for one in told],
        "model": record["model"]["hash"],
    }
    kept, tables = Steps(folder, config), Tables(folder, TABLES, asked.say)
    for one in told:
        tables.kept(
            steps.OF_MODEL,
            one.part,
            lambda one=one: steps.measured(one, plan, seed, asked.progress),  # type: ignore[misc]
        )
    tables.kept(steps.OF_SENTENCES, "seed-0", lambda: steps.of_sentences(model, plan, asked.progress, asked.say))
    made = judged(tables.joined(), seed, plan.resamples)
    made.config, made.provenance = kept.config, record
    return made


def judged(tables: Mapping[str, pd.DataFrame], seed: int, resamples: int) -> Reproduction:
    """The claims of some tables, with those that are derived from them."""
    every = {**tables, **derived(tables, seed, resamples)}
    table, numbers = verdicts(every, seed, resamples)
    return Reproduction(table=table, numbers=numbers, tables=every, title=f"{len(tables['items'])} items")


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its tables."""
    return judged(read_tables(folder, TABLES, senses.MOMENTS), seed, record["config"]["preset"]["resamples"])


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Distributional Semantics Tracing (arXiv 2510.06107)",
    question="From which layer on can context no longer change an answer, and do published scores find that layer?",
    models="organisms senses at two moments; in full a language model too (smollm2)",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "contexts of the same reading, one layer for all, random lists of words, the output's margin and entropy, the "
        "dose, an edge patched at each layer; layers chosen on other words"
    ),
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
