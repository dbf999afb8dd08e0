"""Memorized Images in Diffusion Models share a Subspace that can be Located and Deleted (Chavhan, Bohdal, Zong, Li &
Hospedales 2024), on organism `cards` with planted pictures.

    python -m lens reproduce memory-subspace --preset full --models FOLDER

asks of three small diffusion models, each with a twin that never saw the planted pictures: what is copied, and can it
be told; do masks of memorised prompts overlap more than masks of any prompts; does a mask of some pictures take away
others; at what cost, beside controls of equal density; and is a deleted picture gone? `quick` asks seed 0, which ships.

How it was asked
----------------
The cross-attention as a place to cut, and the rule of the dose that edits are attacked at, were set after a look at
model 0; one place at a time, and one block turned down, after the rest was known, by choices on the tune set alone; all
else before the first full run. Keys and values of the cross-attention read the caption's words, the same at every step:
how many first steps a mask there unites makes no difference.

*Units.* Only pictures that the unedited model copies (at least half of the seeds) enter an edit. First steps are chosen
on one prompt set, results are of the three others; costs are the rise of the held-out denoising error. Methods are
compared where that error has risen by 5 %; attacked, and asked what is left, at the least dose that leaves a quarter of
the copies of the located set (where none does, at the one that leaves least).

*Copies.* A picture is a copy where its background, which no caption tells, correlates with the training picture's by
more than the pictures of a fresh never-trained caption do in about one of a hundred cases (digits: one of 25; the table
`thresholds` has the bounds). Substitutes: background correlation for SSCD, a small classifier's accuracy for CLIP,
Frechet distance in its features for FID.

*Intervals.* Over models Student's t (three seeds), of copies with the captions within them in it too; over captions
that of a mean (`lens.stats.means`). "hides" and "erases" by the rule of `lens.stats.erasure`, each attack against
the twin.

*Claims*: 1 copying follows duplication, and codes; 2 noise differences tell memorised captions; 3 masks of memorised
sets overlap far above chance; 4 ... more than those of sets seen once (the control that the paper lacks); 5 a mask
takes away the set that it was located on, at little cost; 6 ... and other memorised pictures, more than masks of equal
density do; 7 captions stay obeyed; 8 the deletion withstands attacks; 9 two captions of one picture share a mask; 10
the curvature edit and generalised eigenvectors do as well; 11 one layer at a time: whether one place of the U-Net
carries it; 12 a few pictures bring a deletion back sooner than they teach it to the twin (MemoRa 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..cards_models import models as found_models
from ..common import Steps, Tables, read_tables
from ..study import Asked, Reproduction, Study, figures_of, one_thread
from . import attacks as after
from . import images, places, steps, verdicts
from .bench import REPORTED, STEPS, Bench
from .claims import CLAIMS
from .methods import METHODS

NAME = "memory-subspace"
VERSION = 1  # of what the tables hold
TABLES = (
    "copying",
    "thresholds",
    "specificity",
    "maps",
    "triggers",
    "choice",
    "curves",
    "places",
    "families",
    "attacks",
    "relearning",
    "images",
    "images_by_caption",
    "utility",
    "errors",
    "pictures",
)


@dataclass(frozen=True)
class Plan:
    """How much is asked. `sets`: prompt sets that masks are located on, of the three that are reported; `held`:
    held-out pictures of each half; `per_set`: pairs of each set of 12 at most; `doses`: of each method at most;
    `updates`, `relearn`: steps of the attacks; `pictures`: that utility is measured on; `alone`: methods that cut one
    place at a time, at `steps_alone` doses and whole; `denoising`: steps of it; `regained`: methods of which is asked
    how many pictures bring back what they took away: so many of a user's own (`pictures_own`) and of each other source
    (`pictures_rest`), in `regain` steps each.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = tuple(name for name in METHODS if name != "ordinary")  # its masks' overlap is asked
    sets: tuple[int, ...] = REPORTED[:2]
    choices: tuple[int, ...] = steps.CHOICES
    held: int = 60
    per_set: int | None = None
    doses: int = 5
    attacked: tuple[str, ...] = ("published", "attention", "kfac", "block")
    updates: int = after.UPDATES
    relearn: int = after.RELEARN
    pictures: int = 1200
    families: tuple[str, ...] = ("published", "attention", "kfac", "block", "random rows")
    alone: tuple[str, ...] = ("published", "attention")
    steps_alone: int = 5
    denoising: int = STEPS
    regained: tuple[str, ...] = ("attention",)
    pictures_own: tuple[int, ...] = (1, 3, 10, 33)
    pictures_rest: tuple[int, ...] = (3, 33)
    regain: int = 60


PRESETS: Mapping[str, Plan] = {
    "tiny": Plan(
        (0,),
        ("published", "attention", "random rows", "block"),
        (1,),
        (4,),
        2,
        2,
        2,
        ("attention",),
        3,
        3,
        40,
        ("attention", "random rows"),
        ("attention",),
        1,
        denoising=4,
        pictures_own=(3,),
        pictures_rest=(3,),
        regain=3,
    ),
    "quick": Plan(
        (0,),
        ("published", "corrected", "attention", "random rows", "kfac", "block"),
        REPORTED[:1],
        (4, 20),
        30,
        6,
        3,
        ("published",),
        20,
        20,
        150,
        ("published", "attention", "kfac", "random rows"),
        ("attention",),
        1,
        pictures_own=(1, 3, 10),
        pictures_rest=(3,),
        regain=30,
    ),
    "full": Plan(),
}


def measure(asked: Asked) -> Reproduction:
    """Every table, of the organism's models."""
    plan, folder = asked.plan, asked.folder
    place = asked.models if asked.models is not None or folder is None else folder / "models"
    with one_thread():
        trios = found_models(place, plan.seeds, say=asked.say)
        config = {
            "name": NAME,
            "version": VERSION,
            # a number of denoising steps is told where it is another: runs from before it could be chosen have none
            **{key: value for key, value in asdict(plan).items() if (key, value) != ("denoising", STEPS)},
            "models": {str(s): [t.pipeline.unet_hash[:16], t.twin.unet_hash[:16]] for s, t in trios.items()},
        }
        stored = Steps(folder, config)
        tables = Tables(folder, TABLES, asked.say)
        for s, trio in trios.items():
            _asked(Bench(s, trio, plan.held, plan.per_set, plan.denoising), plan, tables.kept)
    joined = tables.joined()
    table, numbers = verdicts.verdicts(joined, seed=asked.seed)
    return Reproduction(table=table, tables=joined, numbers=numbers, config=stored.config)


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its verdicts computed anew."""
    tables = read_tables(folder, TABLES, list(METHODS))
    table, numbers = verdicts.verdicts(tables, seed=seed)
    return Reproduction(table=table, tables=tables, numbers=numbers)


def _asked(bench: Bench, plan: Plan, kept: Callable[..., list[pd.DataFrame]]) -> None:
    """Everything that is asked of one model."""
    at = f"seed-{bench.seed}"
    kept(("copying", "thresholds"), at, lambda: steps.copying(bench))
    kept(("specificity",), at, lambda: steps.specific(bench))
    kept(("maps",), at, lambda: steps.maps(bench))
    first = steps.firsts(kept(("choice",), at, lambda: steps.choice(bench, plan.methods, plan.choices))[0])
    kept(("triggers",), at, lambda: steps.triggers(bench))
    cut = {
        name: kept(
            ("places",), f"{at}-{name}", lambda: places.alone(bench, METHODS[name], first[name], plan.steps_alone)
        )[0]
        for name in plan.alone
    }
    bench.block = places.chosen(cut["attention"]) if "attention" in cut else None
    doses = {
        name: steps.removing(
            kept(
                ("curves",),
                f"{at}-{name}",
                lambda: steps.curves(bench, METHODS[name], first[name], plan.sets, plan.doses),
            )[0]
        )
        for name in plan.methods
    }
    if "random rows" in doses and doses.get("published") is not None:
        doses["random rows"] = doses["published"]  # as many weights of each row
    known = {name: (dose, first[name]) for name, dose in doses.items() if dose is not None}
    kept(("families",), at, lambda: steps.families(bench, doses, first, plan.families))
    for name in (name for name in plan.attacked if name in known):
        part, how = f"{at}-{name}", (bench, name, *known[name])
        attacked = partial(after.attacks, *how, updates=plan.updates, relearn=plan.relearn)
        kept(("attacks", "relearning"), part, attacked)
        kept(("pictures",), part, partial(after.grid, *how, updates=plan.updates))
    for name in (name for name in plan.regained if name in known):
        asked = (bench, name, *known[name], plan.pictures_own, plan.pictures_rest, plan.regain)
        kept(("images", "images_by_caption"), f"{at}-{name}", partial(images.images, *asked))
    edits = {"unedited": None} | {name: known[name] for name in plan.families if name in known}
    kept(("utility", "errors"), at, lambda: after.utility(bench, edits, plan.pictures))


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Chavhan, Bohdal, Zong, Li & Hospedales 2024 (arXiv 2406.18566)",
    question="Do memorised pictures of a diffusion model share a subspace that can be located and deleted?",
    models="organism cards and its twin (seed 0 ships; full: seeds 0 to 2)",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "sets of pictures seen once, random rows and columns of equal density, weights by size, the twin that never "
        "saw the pictures, never-trained captions"
    ),
    trains=True,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
