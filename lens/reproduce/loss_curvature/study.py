"""From Memorization to Reasoning in the Spectrum of Loss Curvature (Merullo, Vatsavaya, Bushnaq & Lewis 2025), on
organisms of 1.1 million parameters with planted canaries.

    python -m lens reproduce loss-curvature --preset full --models FOLDER

reads the organisms `canaries` of three seeds and their twins that never saw a canary (quick: seed 0, which ships), or
trains what is missing, and asks what the curvature edit takes away, at what cost, beside controls, and whether it is
gone. Text of the paper is quoted as of another scale (OLMo-2 of 1 and 7 billion parameters): claims are compared in
kind only.

What was settled before the first full run
------------------------------------------
*Units.* Only sequences that the unedited model recites whole enter (strict = 1). Layers are chosen on the tune split
(codes and plausible sentences), strengths on one half of the clean rows; recitation is reported on the val split and on
verse, a family that nothing is chosen on; losses on the other half of the clean rows. Methods are compared where the
clean loss has risen by `RISE` = .05 nats a token (5 % of perplexity) on the choosing half; trade-off curves show the
rest.

*Intervals.* 95 %. Settled was a bootstrap over sequences (texts, questions) of all seeds; sequences of one run share
what the run learned, so that the run is the unit now: Student's t over seeds, of recitation with the sequences within
seeds in it too (`lens.stats.units.nested`). Each seed's value is printed beside it. A difference counts where its
interval excludes 0; one that holds 0 is "not shown".

*Claims* (the rule of each verdict stands in its row):
 1. memorised text leans on low curvature (bottom half of the input's eigenvectors above 1, top tenth below 1), and
   neither singular vectors nor random bases order the bands so;
 2. keeping the coefficients of high curvature removes recitation of held-out canaries (strict at most .10 at +.05
   nats);
 3. at that loss it beats random bases with the same norm or count removed, one-sided bases, magnitude and the bottom of
   its own spectrum; singular values come close;
 4. BalancedSubnet does as well on its own kinds and transfers worse to the family that it was not shown;
 5. whose labels, which text the statistics come from, and EKFAC: no direction was expected;
 6. arithmetic and closed-book facts lose more than open-book questions and copying, rare facts more than frequent ones;
 7. the ranking of tokens (nDCG@10) moves less under BalancedSubnet than under K-FAC;
 8. the more duplicates, the more recitation; after the edit membership can still be told (AUC above .5, exact tests,
   Holm);
 9. recitation that was removed comes back: by stretched prefixes, by training on other memorised sequences, on clean
    text; each method "hides" or "erases" by the rule of `lens.stats.erasure`; relearning the memory itself is faster
    than in the twin (savings).
Weight decay, a factor in the paper, is a study of its own on smaller models (`decay`): all models here
were trained with .1. Its table is read where it lies in `out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...models import weight_hash
from ...results import dataset as results
from ...results.opening import open_result
from .. import canaries_models
from ..common import Steps
from ..study import Asked, Drawing, Study, one_thread
from ..study import Reproduction as Judged
from . import verdicts
from .bench import Bench, Preset, file_of
from .claims import CLAIMS
from .decay import FILE as DECAY
from .pooling import Parts
from .steps import all_steps

NAME = "loss-curvature"
_SOME = (
    "K-FAC",
    "EKFAC",
    "K-FAC, natural mix",
    "random bases",
    "SVD",
    "inputs alone",
    "keep bottom",
    "BalancedSubnet",
    "contrast mask",
)
PRESETS = {
    "tiny": Preset(
        (0,),
        ("K-FAC", "random bases", "SVD", "BalancedSubnet", "contrast mask"),
        ("gate and up",),
        factor_rows=60,
        rows=10,
        removed=(0.01, 0.05, 0.15),
        multiples=(1 / 4, 1),
        ratios=(0.03,),
        learned_steps=12,
        tasks=30,
        planted=4,
        attacked=("K-FAC", "BalancedSubnet"),
        kept=("K-FAC", "BalancedSubnet"),
        relearn_steps=5,
        others=(1000,),
        shifts=(4,),
    ),
    "quick": Preset(
        (0,),
        _SOME,
        ("gate and up", "gate and up of 1+2"),
        factor_rows=200,
        rows=32,
        removed=(0.002, 0.01, 0.02, 0.04, 0.1, 0.3, 0.5),
        multiples=(1 / 8, 1 / 2, 1, 2),
        ratios=(0.03,),
        tasks=100,
        attacked=("K-FAC", "BalancedSubnet"),
        relearn_steps=10,
        others=(1000,),
        shifts=(4,),
    ),
    "full": Preset(),
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has; `parts` holds the stored steps by seed, then by name ("choice", "activation", "matched",
    "curve K-FAC", "gone twin", ...), `tables` tidy tables of them over all seeds.
    """

    parts: Parts = field(default_factory=dict)


def measure(asked: Asked) -> Reproduction:
    """Every step, of the organisms that are read or trained."""
    plan, folder = asked.plan, asked.folder
    place = asked.models if asked.models is not None or folder is None else folder / "models"
    with one_thread():
        trios = canaries_models.models(place, plan.seeds, say=asked.say)
        config = {
            "preset": asdict(plan),
            "seed": asked.seed,
            "models": {
                f"{s}{' twin' * twin}": weight_hash(trio.twin if twin else trio.model)[:16]
                for s, trio in trios.items()
                for twin in (False, True)
            },
        }
        kept = Steps(folder, config, classic=True)
        parts = {}
        for s, (mine, twin, corpus) in trios.items():
            bench = Bench(mine, twin, corpus.recipe, plan, kept, asked.seed, asked.say)
            steps = all_steps(plan.methods, plan.attacked)
            parts[s] = {name: step(bench) for name, step in steps.items()}
    made = _gathered(parts, asked.seed, folder)
    made.config = kept.config
    made.provenance = results.provenance(parts[plan.seeds[0]]["matched"])
    return made


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its tables computed anew from the steps."""
    plan = record["config"]["preset"]
    names = all_steps(plan["methods"], plan["attacked"])
    parts = {s: {name: open_result(folder / f"{file_of(name, s)}.nc") for name in names} for s in plan["seeds"]}
    return _gathered(parts, seed, folder)


def _gathered(parts: Parts, seed: int, folder: Path | None = None) -> Reproduction:
    from .tables import tables

    made = tables(parts, seed)
    decay = pd.read_csv(folder / DECAY) if folder is not None and (folder / DECAY).is_file() else None
    table, numbers = verdicts.verdicts(parts, made, seed, decay)
    return Reproduction(parts=parts, tables=made, table=table, numbers=numbers)


def figures(made: Reproduction) -> Mapping[str, Drawing]:
    """The figures of a run."""
    from .figures import FIGURES

    return {name: partial(plot, made.tables[table], **options) for name, (plot, table, options) in FIGURES.items()}


STUDY = Study(
    NAME,
    paper="Merullo, Vatsavaya, Bushnaq & Lewis 2025",
    question="Does the spectrum of loss curvature tell memorisation from reasoning, and can it be edited away?",
    models="organism canaries and its twin (seed 0 ships; full: seeds 0 to 2)",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "random bases of the same norm and count, one-sided bases, magnitude, the bottom of the spectrum, singular "
        "values, the twin that never saw a canary"
    ),
    trains=True,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
