"""Repeated data (Hernandez et al. 2022): harm beyond the rows that repeats take the place of, what it is harm to, and
which size would have done as well.

    python -m lens reproduce repeated-data --preset quick --workers 2

What was settled before the first run
-------------------------------------
*Rows.* 30 % text (a chain of words), 70 % lists (a random period again and again); every row is drawn, so that new rows
are new. Half of a training's rows are a subset seen r times; all trainings of a seed share the other half.

*Lines to be worse than.* The same new rows and nothing else: in half the steps, and in half the batch. All trainings on
new rows alone have to form an induction head, else copying is not judged.

*Sizes.* A ladder of sizes trained on new rows alone; nothing is read beyond its ends, and a model without a head has no
size by copying.

*Choices.* The count at which harm is looked at further is fixed beforehand (100, from trainings on other rows), not the
worst of those that are reported; each seed has a worst count of its own where sizes are compared. An early stop is
chosen on every other test row and reported on the rest.

*Seeds* are weights, rows and order; arms are compared within a seed. `quick` is one size at half the steps, where the
trainings without the subset are too short for a head; orders, an early end and a ladder are for `medium`, of the same
trainings otherwise. `long` has the steps that a head needs, a second size and regularisation: A5, A6 and A8 are asked
there. Text alone, more counts and sizes are for `full`. In `quick` an early stop is asked of the looks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from ...results.opening import open_result
from ..common import Steps
from ..study import Asked, Study, figures_of, one_thread
from ..study import Reproduction as Judged
from . import steps
from .arms import Preset, arms
from .claims import CLAIMS
from .plans import PRESETS
from .tables import tables
from .verdicts import verdicts

NAME = "repeated-data"


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has; `parts` holds the trainings by name."""

    parts: Mapping[str, xr.Dataset] = field(default_factory=dict)


def measure(asked: Asked) -> Reproduction:
    """Every training, and what it says."""
    plan = asked.plan
    kept = Steps(asked.folder, {"preset": asdict(plan), "seed": asked.seed}, classic=True)
    with one_thread():
        parts = steps.trainings(plan, kept, asked.say)
    result = _judged(parts, plan)
    result.config = kept.config
    return result


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, judged anew from its trainings."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record["config"]["preset"].items()}
    plan = Preset(**fields)
    return _judged({arm.key: open_result(folder / f"{arm.key}.nc") for arm in arms(plan)}, plan)


def _judged(parts: Mapping[str, xr.Dataset], plan: Preset) -> Reproduction:
    made = tables(parts, list(arms(plan)))
    table, numbers = verdicts(made, plan)
    title = f"{len(parts)} trainings of {plan.steps} steps"
    return Reproduction(parts=parts, tables=made, table=table, numbers=numbers, title=title)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Hernandez et al. 2022",
    question="Does a small subset that is seen again and again do harm beyond the rows that it takes the place of?",
    models="Llama-type decoders of 10 thousand to 260 thousand parameters, trained by the study",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "the same new rows without the subset, in half the steps and in half the batch; new rows in the place of the "
        "subset; a ladder of sizes; repeats first and last; the schedule ended early; weight decay and dropout with "
        "lines of their own"
    ),
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
