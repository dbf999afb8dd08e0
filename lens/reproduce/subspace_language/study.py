"""The memory subspace in language models: Chavhan et al. 2024 (arXiv 2406.18566) carried over from diffusion, with the
controls that it lacks.

    python -m lens reproduce subspace-language --preset quick

On the organism `canaries`, where every memory was planted: do masks of memorised sets overlap more than masks of any
sets (specificity), what does cutting cost (dose, damage), does a mask of some memories take away others (transfer),
does a locator find memory at a known place, and is a memory gone after it was cut (hides or erases)? `quick` asks seed
0 with few methods (it ships; minutes); `full` three seeds and every method (an hour of a busy machine, under 20 minutes
of CPU). SmolLM2 takes part where it was fetched: what it recites, and a demonstration on planted passages. The
published numbers are of diffusion models: claims are compared in kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...models import weight_hash
from ..canaries_models import models as found_models
from ..common import Steps, Tables, read_tables
from ..study import Asked, Drawing, Reproduction, Study, of_tables, one_thread
from . import places, smollm2, steps, verdicts
from . import tables as frames
from .bench import METHODS, Bench
from .claims import CLAIMS

NAME = "subspace-language"
VERSION = 1  # of what the tables hold
NAMES = {name: method.title for name, method in METHODS.items()}
TABLES = (
    "chosen",
    "curves",
    "specificity",
    "transfer",
    "planted",
    "gone",
    "relearning",
    "damage",
    "recitation",
    "demonstration",
)


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    `rows`: clean rows that doses are chosen on (as many are reported on); `most`: recited canaries of a split at most;
    `relearn`: steps of the relearning attacks; `settings`: of a method that are tried at most; `hurry`: share of the
    training steps of the methods that learn.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = tuple(METHODS)
    rows: int = 24
    most: int | None = 32
    sets: int = 5
    transfer_sets: int = 2
    injections: int = 2
    gone: tuple[str, ...] = ("corrected", "contrast", "zero_out", "eigen")
    targets: int = 32
    relearn: int = 40
    questions: int = 60
    settings: int = 9
    hurry: float = 1.0
    smollm2: bool = True


PRESETS: Mapping[str, Plan] = {
    "tiny": Plan((0,), ("contrast", "corrected", "random"), 8, 8, 2, 2, 1, ("corrected",), 8, 4, 20, 1, 0.1, False),
    "quick": Plan(
        (0,),
        ("contrast", "corrected", "wanda", "magnitude", "integrated_gradients", "random"),
        16,
        20,
        4,
        2,
        1,
        ("corrected",),
        12,
        20,
        50,
        2,
        0.3,
        False,
    ),
    "full": Plan(),
}


def _draws():
    """The figures, with their plotting library, loaded when one is drawn."""
    from . import figures as subspace

    return subspace


#: Panels of the comparison at equal clean loss.
PANELS = (
    ("located set", "val", steps.LEAST_RISE),
    ("located set", "val", steps.RISE),
    ("second family", "verse", steps.RISE),
)
FIGURES: Mapping[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "specificity": (("specificity",), lambda table, path: _draws().specificity_plot(table, path)),
    "layers": (("specificity",), lambda table, path: _draws().layer_plot(table, path)),
    "tradeoff": (("curves",), lambda curves, path: _draws().tradeoff_plot(curves, path, rise=steps.RISE, names=NAMES)),
    "matched": (
        ("curves",),
        lambda curves, path: _draws().matched_plot(
            {f"{name}, +{rise:g} nats": frames.at_rise(curves, of, rise) for name, of, rise in PANELS}, path
        ),
    ),
    "transfer": (("transfer",), lambda table, path: _draws().transfer_plot(table, path, names=NAMES)),
    "recall": (("planted",), lambda table, path: _draws().recall_plot(frames.recall(table), path)),
    "gone": (("gone",), lambda table, path: _draws().gone_plot(table, path, names=NAMES)),
    "relearning": (("relearning",), lambda table, path: _draws().relearning_plot(table, path, names=NAMES)),
    "damage": (
        ("damage",),
        lambda table, path: _draws().damage_plot(frames.kept(table), frames.kept(table, "random rows"), path),
    ),
    "smollm2": (
        ("recitation", "demonstration"),
        lambda read, cut, path: _draws().recitation_plot(read, cut, path, names=NAMES),
    ),
}


def measure(asked: Asked) -> Reproduction:
    """Every table, of the organism's models."""
    plan, folder = asked.plan, asked.folder
    plan = plan if asked.limit is None else replace(plan, most=asked.limit)
    place = asked.models if asked.models is not None or folder is None else folder / "models"
    trios = found_models(place, plan.seeds, say=asked.say)
    config = {
        "name": NAME,
        "version": VERSION,
        **asdict(plan),
        "seed": asked.seed,
        "models": {str(s): [weight_hash(t.model)[:16], weight_hash(t.twin)[:16]] for s, t in trios.items()},
    }
    stored = Steps(folder, config)
    benches = {s: Bench(s, trio, plan.rows, plan.most, plan.hurry) for s, trio in trios.items()}
    tables = _tables(benches, plan, folder, asked.say)
    table, numbers = verdicts.verdicts(tables, seed=asked.seed)
    return Reproduction(table=table, tables=tables, numbers=numbers, config=stored.config)


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its verdicts computed anew."""
    tables = read_tables(folder, TABLES, list(METHODS))
    table, numbers = verdicts.verdicts(tables, seed=seed)
    return Reproduction(table=table, tables=tables, numbers=numbers)


def _tables(
    benches: Mapping[int, Bench], plan: Plan, folder: Path | None, say: Callable[[str], None]
) -> dict[str, pd.DataFrame]:
    stored = Tables(folder, TABLES, say)
    with one_thread():
        _organisms(benches, plan, stored)
    if plan.smollm2:
        stored.kept(("recitation", "demonstration"), "smollm2", lambda: _smollm2(say))
    return stored.joined()


def _organisms(benches: Mapping[int, Bench], plan: Plan, stored: Tables) -> None:
    keep = stored.kept
    first = benches[plan.seeds[0]]
    settings = steps.settings_of(
        keep(("chosen",), f"seed-{first.seed}", lambda: steps.chosen(first, plan.methods, plan.settings))[0]
    )
    for s, bench in benches.items():
        at = f"seed-{s}"
        frame = pd.concat(
            [
                keep(("curves",), f"{at}-{name}", lambda: steps.curves(bench, name, settings[name]))[0]
                for name in plan.methods
            ],
            ignore_index=True,
        )
        doses = {name: steps.operating(frame, name, s) for name in plan.methods}
        keep(("specificity",), at, lambda: steps.specific(bench, plan.sets))
        keep(("transfer",), at, lambda: steps.transfer(bench, settings, doses, plan.transfer_sets))
        keep(("planted",), at, lambda: places.planted(bench, plan.injections))
        keep(("damage",), at, lambda: places.costs(bench, settings, doses, plan.questions))
        for name in plan.gone:
            keep(
                ("gone", "relearning"),
                f"{at}-{name}",
                lambda: places.gone(bench, name, settings[name], doses.get(name), plan.targets, plan.relearn),
            )


def _smollm2(say: Callable[[str], None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    from ...models import LoadError
    from ...models import load as load_model

    try:
        model = load_model("smollm2", device="cpu")
    except LoadError as error:
        say(f"SmolLM2 takes no part: {error}")
        return pd.DataFrame(), pd.DataFrame()
    return smollm2.recitation(model), smollm2.demonstration(model)


def figures(result: Reproduction) -> Mapping[str, Drawing]:
    """The figures that a run has tables for."""
    return of_tables(FIGURES, result.tables)


STUDY = Study(
    NAME,
    paper="Chavhan et al. 2024 (arXiv 2406.18566), carried over from diffusion",
    question="Is verbatim memory of a language model in a subspace that can be located and cut out?",
    models="organism canaries and its twin (seed 0 ships; full: seeds 0 to 2), SmolLM2 where it was fetched",
    presets=PRESETS,
    plan=Plan,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "sets of unseen sequences, random weights and rows at equal clean loss, the twin that never saw a "
        "memory, planted blocks"
    ),
    trains=True,
    items="recited canaries of a split",
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
