"""Hubble (Wei et al. 2025): what is left of texts that were put into a training 0 to 64 times, beside a twin.

    python -m lens reproduce hubble --preset quick

What was settled before the first run
-------------------------------------
*Real models.* H0 to H5 ask Hubble's own weights and are *not tested* where these are not: its files are read by
`lens.provenance.from_hubble`, `from_hubble_insertions` and `lens.memorization.hubble_items`, its pairs compared by
`lens.memorization.gain_over_twin`.

*Stand-in.* H6 asks small models, trained on a corpus in Hubble's layout through that very loader: a pair on a base
corpus, a pair on a longer one, and four trainings whose insertions lie in one quarter each. Items are made-up codes; a
lot gives each its count, and all trainings of a seed put in the same items.

*Gain.* The standard model's loss less the perturbed one's on one text, so that no item is easy to guess. A first run
showed that items that were never put in gain too, as a model learns what sort of text items are; since then H6 is
judged by the gain beyond theirs, and theirs is a row of its own. The learning rate falls over the training, in
Hubble's runs too: a late window is one of small steps.

*Traps* (Meeus et al. 2024) are random words of three lengths; a lot gives each its count within its length, one
training a seed has them all. Membership is told by the loss alone, beside the twin (same weights at the start, same
corpus without them), and beside the standard models of other seeds (other weights, other documents of the language):
the reference that one has in practice. Areas are of traps against those of their length that were never put in.

*Acquisition* (Chang et al. 2024) reads documents about 40 people into the further training of `archive`'s twin, which
was told nothing of these facts. Who is in which group goes round over four trainings, so that each person is its own
control, and the same person where nothing was read is its drift. The question, which no document has, is what is
judged; the steps after the last reading, the rate and the groups were fixed, and the three arms of one of the four
groupings had been looked at, before the claims were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from ...results.opening import open_result
from ..common import Steps
from ..study import Asked, Study, figures_of, one_thread
from ..study import Reproduction as Judged
from . import steps
from .claims import CLAIMS
from .standin import Plan
from .tables import tables
from .verdicts import verdicts

NAME = "hubble"
PRESETS = {
    "tiny": Plan(
        steps=12,
        d_model=24,
        counts=(0, 1, 4),
        items=(4, 3, 2),
        seeds=(0, 1),
        traps=(4, 8),
        trap_counts=(0, 1, 4),
        trap_items=(3, 2, 2),
        acquisition=(4, 2, 8),
    ),
    "quick": Plan(traps=(10, 20, 40), acquisition=(20, 10, 1000)),
    "full": Plan(
        steps=1200,
        d_model=72,
        counts=(0, 1, 4, 16, 64, 256),
        items=(48, 48, 24, 16, 8, 4),
        seeds=tuple(range(5)),
        traps=(10, 20, 40),
        trap_counts=(0, 1, 4, 16, 64, 256),
        trap_items=(32, 32, 16, 16, 8, 4),
        acquisition=(20, 10, 1000),
    ),
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has; `parts` holds what was measured by training and seed."""

    parts: Mapping[tuple[str, int], xr.Dataset] = field(default_factory=dict)


def measure(asked: Asked) -> Reproduction:
    """Every training of the stand-in and what it remembers, and the trainings that facts are read in."""
    plan = asked.plan
    kept = Steps(asked.folder, {"preset": asdict(plan), "seed": asked.seed}, classic=True)
    every = steps.jobs(plan)

    def told(name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        ds = make()
        asked.say(f"{name}: {steps.said(ds)}")
        return ds

    with one_thread():
        made = kept.all({job.file: partial(told, job.file, job.make) for job in every})
    result = _judged({job.key: ds for job, ds in zip(every, made)}, plan)
    result.config = kept.config
    return result


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record["config"]["preset"].items()}
    plan = Plan(**fields)
    return _judged({job.key: open_result(folder / f"{job.file}.nc") for job in steps.jobs(plan)}, plan)


def _judged(parts: Mapping[tuple[str, int], xr.Dataset], plan: Plan) -> Reproduction:
    made = tables(parts, plan)
    table, numbers = verdicts(made, plan)
    return Reproduction(parts=parts, tables=made, table=table, numbers=numbers, title=f"{len(parts)} trainings")


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Wei et al. 2025 (Hubble)",
    question="What is left of a text that was put into a training so many times, in a corpus of this size, this early?",
    models="small decoders trained on a stand-in of Hubble's layout (none of its own weights is scored), and the twin "
    "of organism archive",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "a twin of the same weights, corpus and order without the insertions; items and traps that were never put in; "
        "standard models of other seeds; the loss alone; people of whom nothing was read"
    ),
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
