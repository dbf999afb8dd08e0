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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from ..arguments import Choice, Count, FilePath, Name, Seed, door
from ..models import weight_hash
from . import subspace_claims as claims
from . import subspace_frames as frames
from . import subspace_places as places
from . import subspace_smollm2 as smollm2
from . import subspace_steps as steps
from .canaries_models import models as found_models
from .common import Figures, Steps, Tables, every_figure, one_figure, read_record, read_tables, write_run
from .errors import ReproduceError
from .subspace_edits import METHODS, Bench

NAME = "subspace-language"
NEEDS_MODEL, TAKES_MODELS = False, True
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
    from ..figures import subspace

    return subspace


#: Panels of the comparison at equal clean loss.
PANELS = (
    ("located set", "val", steps.LEAST_RISE),
    ("located set", "val", steps.RISE),
    ("second family", "verse", steps.RISE),
)
FIGURES: Figures = {
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


@dataclass
class Reproduction:
    """What a run produced; `table` is *claim | paper | here | n | multiplicity | verdict*, `tables` what it was made
    from by name, `numbers` everything in it as numbers.
    """

    table: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    numbers: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    figures: list[Path] = field(default_factory=list)


@door(ReproduceError)
def run(
    model: Any = None,
    *,
    data: Name = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Plan = "quick",
    out: FilePath | None = None,
    models: FilePath | None = None,
    seed: Seed = 0,
    limit: Count | None = None,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Make every table, or take the run up where it was cut, judge the claims and draw the figures.

    Args:
        model: takes no part; the models are the organism's.
        data: "own": the text is generated. limit: recited canaries of a split at most, instead of the preset's.
        preset: tiny, quick, full or a `Plan`.
        out: folder for tables, figures and record; None keeps everything in memory.
        models: folder with the organism's models, into which those that are missing are trained; None: `models` in
            `out`. Seed 0 ships.
        seed: of resampling in the claims.

    Raises: ReproduceError: another data, models of another recipe. ResultError: `out` holds a run of another
        configuration.
    """
    if data != "own":
        raise ReproduceError(f"data={data!r}; the text of this experiment is generated: leave data at 'own'")
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    plan = plan if limit is None else replace(plan, most=limit)
    folder = None if out is None else Path(out)
    trios = found_models(models if models is not None or folder is None else folder / "models", plan.seeds, say=say)
    config = {
        "name": NAME,
        "version": VERSION,
        **asdict(plan),
        "seed": seed,
        "models": {str(s): [weight_hash(t.model)[:16], weight_hash(t.twin)[:16]] for s, t in trios.items()},
    }
    stored = Steps(folder, config)
    benches = {s: Bench(s, trio, plan.rows, plan.most, plan.hurry) for s, trio in trios.items()}
    tables = _tables(benches, plan, folder, say)
    table, numbers = claims.verdicts(tables, seed=seed)
    made = Reproduction(table, tables, numbers, stored.fingerprint)
    if folder is not None:
        made.figures = draw(made, folder / "figures")
        write_run(folder, NAME, made, stored.config)
    return made


@door(ReproduceError)
def load(folder: FilePath, *, seed: Seed = 0) -> Reproduction:
    """A run that was written before, its verdicts computed anew from the stored tables. Raises ResultError where the
    folder holds none.
    """
    folder = Path(folder)
    record = read_record(folder, NAME)
    tables = read_tables(folder, TABLES, list(METHODS))
    table, numbers = claims.verdicts(tables, seed=seed)
    return Reproduction(table, tables, numbers, record["fingerprint"])


def _tables(
    benches: Mapping[int, Bench], plan: Plan, folder: Path | None, say: Callable[[str], None]
) -> dict[str, pd.DataFrame]:
    stored = Tables(folder, TABLES, say)
    kept = stored.kept
    first = benches[plan.seeds[0]]
    settings = steps.settings_of(
        kept(("chosen",), f"seed-{first.seed}", lambda: steps.chosen(first, plan.methods, plan.settings))[0]
    )
    for s, bench in benches.items():
        at = f"seed-{s}"
        frame = pd.concat(
            [
                kept(("curves",), f"{at}-{name}", lambda: steps.curves(bench, name, settings[name]))[0]
                for name in plan.methods
            ],
            ignore_index=True,
        )
        doses = {name: steps.operating(frame, name, s) for name in plan.methods}
        kept(("specificity",), at, lambda: steps.specific(bench, plan.sets))
        kept(("transfer",), at, lambda: steps.transfer(bench, settings, doses, plan.transfer_sets))
        kept(("planted",), at, lambda: places.planted(bench, plan.injections))
        kept(("damage",), at, lambda: places.costs(bench, settings, doses, plan.questions))
        for name in plan.gone:
            kept(
                ("gone", "relearning"),
                f"{at}-{name}",
                lambda: places.gone(bench, name, settings[name], doses.get(name), plan.targets, plan.relearn),
            )
    if plan.smollm2:
        kept(("recitation", "demonstration"), "smollm2", lambda: _smollm2(say))
    return stored.joined()


def _smollm2(say: Callable[[str], None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    from ..models import LoadError
    from ..models import load as load_model

    try:
        model = load_model("smollm2", device="cpu")
    except LoadError as error:
        say(f"SmolLM2 takes no part: {error}")
        return pd.DataFrame(), pd.DataFrame()
    return smollm2.recitation(model), smollm2.demonstration(model)


@door(ReproduceError)
def figure(made: Reproduction, name: Name, path: FilePath | None = None) -> Any:
    """One figure of a run by its name in `FIGURES`. Raises ReproduceError for an unknown one, or one whose tables the
    run did not make.
    """
    return one_figure(FIGURES, made.tables, name, path)


def draw(made: Reproduction, folder: Path) -> list[Path]:
    """Every figure of the run for which there are tables."""
    return every_figure(FIGURES, made.tables, folder)
