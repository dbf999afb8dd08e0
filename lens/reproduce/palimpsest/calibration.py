"""Are the p-values of palimpsestic provenance right? Every one of them under true nulls, beside the published formulas.

Level 1 holds scores fixed and draws positions anew; level 2 trains hundreds of micro-models, each in its own order, and
tests each against orders that it never saw; level 3 retrains last legs in fresh shuffles for every replicate. Traps
show how a p-value goes wrong in use. What is asked: no p-value that is called guaranteed may be seen to be below its
nominal level (99 % intervals, Bonferroni over all lines of the table; the intervals of single lines stand beside).

`python -m lens.reproduce.palimpsest.calibration --preset full --out DIR`
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import files
from ...arguments import Choice, FilePath, Seed, door
from ...cluster import Workers
from ...organisms.micro import BigramPlan, MicroPlan, corpus, draw_keys, train
from ...results.dataset import provenance
from ...results.errors import ResultError
from ...results.opening import open_result
from ..common import Steps
from ..errors import ReproduceError
from ..records import read_record, write_record
from . import micro_models as models
from . import redrawn, sizes, traps

NAME = "palimpsest-calibration"
PARTS = "parts"  # what a killed run finds again and `load` does not need
STEPS = ("trained", "power", "retrained", "traps", "redrawn")  # in the order of running; the longest last


@dataclass(frozen=True)
class Preset:
    """How much is run. `models`: micro-models, a multiple of 3; `replicates`: retrained sets, each of 1 + max(shuffles)
    legs; `texts`: texts a set is asked about.
    """

    draws: int = 10_000
    resamples: int = 999
    models: int = 192
    matrix_resamples: int = 9_999
    power_rows: tuple[int, ...] = (100, 300, 1000, 2000)
    replicates: int = 2_000
    shuffles: tuple[int, ...] = (9, 19, 99)
    texts: int = 200
    corpora: int = 10
    sisters: int = 16
    trap_draws: int = 1_000
    micro: MicroPlan = MicroPlan()
    legs: BigramPlan = BigramPlan()


PRESETS = {
    "full": Preset(),
    "quick": Preset(
        draws=60,
        resamples=199,
        models=12,
        matrix_resamples=199,
        power_rows=(300,),
        replicates=60,
        shuffles=(9, 19),
        texts=50,
        corpora=3,
        sisters=3,
        trap_draws=40,
        micro=MicroPlan(rows=600),
    ),
    # whether it runs, and nothing about sizes
    "tiny": Preset(
        draws=30,
        resamples=99,
        models=9,
        matrix_resamples=199,
        power_rows=(300,),
        replicates=30,
        shuffles=(9, 19),
        texts=50,
        corpora=2,
        sisters=2,
        trap_draws=20,
        micro=MicroPlan(rows=420),
    ),
}


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration: `table` (a line a cell), `long` (a line a cell and nominal level, with all intervals), `power`,
    `trapped` (the traps), `numbers`, `figures`, `fingerprint`.

    `summaries` are the stored steps: levels 1, 2, 3 and the traps, with quantiles of all p-values.
    """

    table: pd.DataFrame
    long: pd.DataFrame
    power: pd.DataFrame
    trapped: pd.DataFrame
    numbers: dict
    summaries: dict[str, xr.Dataset]
    fingerprint: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether no p-value called guaranteed was seen to be too small, over all lines together."""
        return self.numbers["guaranteed"]["holds"]


class Trained:
    """The micro-models' scores of a run, trained when first asked for, and the run's steps."""

    def __init__(self, preset: Preset, seed: int, steps: Steps, say: Callable[[str], None]):
        self.preset, self.seed, self.steps, self.say = preset, seed, steps, say

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """The training rows [row, position], before any order."""
        return corpus(self.preset.micro.rows, self.preset.micro.length, self.preset.micro.vocab, seed=self.seed)

    @functools.cached_property
    def scored(self) -> models.Scored:
        """The models' losses on every row, computed once and stored."""
        keys = draw_keys(self.preset.models, len(self.rows), seed=self.seed)

        def make() -> xr.Dataset:
            made = train(self.rows, keys, self.preset.micro, seed=self.seed, say=self.say)
            return sizes.stamped(
                xr.Dataset({"nll": (("model", "row"), made.nll(self.rows))}),
                "scores",
                {"sha256": made.sha256()},
                self.seed,
            )

        return models.Scored(self.steps.kept(f"{PARTS}/scores", make).nll.values.astype(float), keys)


@door(ReproduceError)
def calibrate(
    preset: Annotated[str, Choice(tuple(PRESETS))] | Preset = "full",
    out: FilePath | None = None,
    seed: Seed = 0,
    *,
    figures: bool = True,
    say: Callable[[str], None] = lambda line: None,
    backend: Any = "local",
    workers: Workers = 2,
) -> Calibrated:
    """Run, or go on with, the calibration study; with `out`, steps, tables, record and figures are written there and
    found again.

    Args: backend, workers: where the conditions of level 1, most of the time, are drawn; as `lens.patch`.

    Raises: ReproduceError: unknown preset. ResultError: `out` holds a run of another configuration.
    """
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    config = {"preset": asdict(plan), "seed": seed, "nominal": list(sizes.NOMINAL), "level": sizes.LEVEL}
    steps = Steps(None if out is None else Path(out), config)
    trained = Trained(plan, seed, steps, say)
    makers = _MAKERS | {"redrawn": functools.partial(_redrawn, backend=backend, workers=workers)}
    made = {name: steps.kept(name, functools.partial(makers[name], plan, trained, seed, say)) for name in STEPS}
    found = _read(made, steps.fingerprint)
    if figures:
        found.figures.update(draw(found, None if out is None else Path(out) / "figures"))
    if out is not None:
        _write(found, Path(out), config)
    return found


def load(folder: str | Path) -> Calibrated:
    """A run that was written before, its tables computed anew from what is stored; nothing is written. For figures:
    `draw`.

    Raises: ResultError: the folder holds none, or a part of one.
    """
    folder = Path(folder)
    record = read_record(folder, NAME)
    if missing := [name for name in STEPS if not (folder / f"{name}.nc").is_file()]:
        raise ResultError(
            f"folder: {folder} lacks {', '.join(missing)}; run `python -m lens.reproduce.palimpsest.calibration"
            f" --preset full --out {folder}` to the end."
        )
    return _read({name: open_result(folder / f"{name}.nc") for name in STEPS}, record["fingerprint"])


def _read(made: dict[str, xr.Dataset], fingerprint: str) -> Calibrated:
    """Tables and numbers of the stored steps."""
    long, trapped = (
        sizes.sizes([made[name] for name in ("redrawn", "trained", "retrained")]),
        sizes.sizes([made["traps"]]),
    )
    power = made["power"].to_dataframe().reset_index(drop=True)
    numbers = {
        "guaranteed": sizes.criterion(long),
        "published": _published(long),
        "orders": _orders(made["trained"]),
        "sorted corpus": {
            str(k): float(v) for k, v in zip(made["traps"].noticed.values, made["traps"].sorted_corpus.values)
        },
        "text of the true order, share found": {
            str(name): line.round(6).tolist()
            for name, line in zip(made["retrained"].derived.values, made["retrained"].power.values.astype(float))
        },
    }
    return Calibrated(sizes.wide(long), long, power, sizes.wide(trapped), numbers, made, fingerprint)


# -- the steps ---------------------------------------------------------------------------------------------------------


def _redrawn(plan: Preset, trained: Trained, seed: int, say, backend: Any = "local", workers: int = 2) -> xr.Dataset:
    """Level 1, condition by condition, each kept as it is done."""
    call = {"draws": plan.draws, "resamples": plan.resamples}
    difference = trained.scored.nll[0] - trained.scored.nll[1]

    def one(condition: redrawn.Condition) -> xr.Dataset:
        return sizes.summarise(redrawn.redrawn([condition], plan.draws, seed, say), call, seed)

    conditions = enumerate(redrawn.all_conditions(difference, plan.resamples, seed))
    makers = {f"{PARTS}/redrawn-{number:02}": functools.partial(one, condition) for number, condition in conditions}
    parts = trained.steps.all(makers, backend=backend, workers=workers)
    return sizes.stamped(xr.concat(parts, "cell", combine_attrs="drop"), "calibration", call, seed)


def _trained(plan: Preset, trained: Trained, seed: int, say) -> xr.Dataset:
    scored, cells, z = trained.scored, [], {}
    for statistic in models.STATISTICS:
        z[statistic], found = models.matrix_cells(scored, statistic, plan.matrix_resamples, seed)
        cells += found + models.triple_cells(scored, statistic, plan.resamples, seed)
        say(f"level 2: {statistic}, {scored.models} models against {scored.models} orders")
    cells += models.triple_cells(scored, "difference", plan.resamples, seed, plan.micro.batch)
    ds = sizes.summarise(cells, {"models": plan.models, "resamples": plan.matrix_resamples}, seed)
    pictures = {f"z_{name}": (("suspect", "order"), z[name].astype(np.float32)) for name in ("difference", "none")}
    return sizes.stamped(
        ds.assign(pictures).assign_coords(reference=("suspect", models.reference_of(scored.models))),
        "calibration",
        {"models": plan.models},
        seed,
    )


def _power(plan: Preset, trained: Trained, seed: int, say) -> xr.Dataset:
    rows = tuple(n for n in plan.power_rows if n <= plan.micro.rows)
    frame = models.power_table(trained.scored, rows, plan.resamples, seed)
    say(f"power: {plan.models // 2} models in their own order at {', '.join(map(str, rows))} rows")
    return sizes.stamped(
        xr.Dataset({c.replace(" ", "_").replace("p-value", "test"): ("line", frame[c].to_numpy()) for c in frame}),
        "power",
        {"rows": list(rows)},
        seed,
    )


def _retrained(plan: Preset, trained: Trained, seed: int, say) -> xr.Dataset:
    legs = models.retrain(
        plan.replicates, max(plan.shuffles), plan.texts, seed, corpora=plan.corpora, plan=plan.legs, say=say
    )
    cells = models.retrain_cells(legs.innocent, plan.shuffles, "innocent text, fresh shuffles each time", legs.early)
    ds = sizes.summarise(cells, {"replicates": plan.replicates, "shuffles": list(plan.shuffles)}, seed)
    derived = models.retrain_cells(legs.derived, plan.shuffles, "text of the model of the true order")
    found = np.array([[float((c.p <= alpha * (1 + 1e-12)).mean()) for alpha in sizes.NOMINAL] for c in derived])
    return sizes.stamped(
        ds.assign(power=(("derived", "nominal"), found)).assign_coords(
            derived=[f"{c.name} | {c.condition}" for c in derived]
        ),
        "calibration",
        {"replicates": plan.replicates},
        seed,
    )


def _traps(plan: Preset, trained: Trained, seed: int, say) -> xr.Dataset:
    rows, scored = trained.rows, trained.scored
    cells = traps.same_order_reference(scored, plan.resamples, seed) + traps.sisters(
        rows, scored, plan.sisters, plan.micro, plan.resamples, seed
    )
    found, noticed = traps.sorted_corpus(rows, scored, plan.micro, plan.resamples, seed)
    cells += found + traps.matches_and_sources(plan.trap_draws, plan.resamples, seed, say)
    ds = sizes.summarise(cells, {"draws": plan.trap_draws, "models": plan.models}, seed)
    return sizes.stamped(
        ds.assign(sorted_corpus=("noticed", list(noticed.values()))).assign_coords(noticed=list(noticed)),
        "calibration",
        {"traps": True},
        seed,
    )


_MAKERS = dict(zip(STEPS, (_trained, _power, _retrained, _traps, _redrawn)))


# -- what is said of them ----------------------------------------------------------------------------------------------


def _published(long: pd.DataFrame) -> dict[str, list[float]]:
    """Sizes of the published formulas, by test and condition."""
    some = long[long.kind == sizes.PUBLISHED]
    return {
        f"{name} | {condition}": part["size"].round(6).tolist()
        for (name, condition), part in some.groupby(["p-value", "condition"], sort=False)
    }


def _orders(ds: xr.Dataset) -> dict[str, dict[str, float]]:
    """Mean and spread of z over cells of the R x R picture."""
    out = {}
    for name in ("difference", "none"):
        z, own = ds[f"z_{name}"].values.astype(float), np.eye(ds.sizes["suspect"], dtype=bool)
        other = np.zeros_like(own)
        if name != "none":
            other[np.arange(len(own)), ds.reference.values] = True
        groups = {"own order": own, "innocent": ~own & ~other} | ({"reference's order": other} if other.any() else {})
        out[name] = {
            f"{group} {what}": float(getattr(z[mask], f)())
            for group, mask in groups.items()
            for what, f in (("mean", "mean"), ("sd", "std"))
        }
    return out


def draw(found: Calibrated, folder: Path | None = None) -> dict[str, Any]:
    """The figures of `calibration_figures`, which load their plotting library when they are drawn."""
    from .calibration_figures import draw as plots

    return plots(found, folder)


def _write(found: Calibrated, out: Path, config: dict) -> None:
    for name, frame in (
        ("table", found.table),
        ("sizes", found.long),
        ("power", found.power),
        ("traps", found.trapped),
    ):
        files.write(out / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))
    write_record(out, NAME, found.fingerprint, config, found.numbers, provenance(found.summaries["redrawn"]))


def text_of(found: Calibrated) -> str:
    """The table, the traps and the verdict as text."""
    told = found.numbers["guaranteed"]
    lines = [
        found.table.to_string(index=False),
        "",
        "traps (innocent suspects unless said otherwise):",
        found.trapped.drop(columns=["verdict", "verdict, all cells"]).to_string(index=False),
        "",
        (
            f"guaranteed p-values: {told['cells']} cells, {told['lines']} lines; {told['inside']} inside their 99 %"
            f" interval, {told['conservative']} conservative; too small in a single line:"
            f" {len(told['too_small_alone'])} (about {told['expected_alone_by_chance']:.1f} at most expected by"
            f" chance), over all lines together: {len(told['too_small_among_all'])}"
        ),
    ]
    lines += [f"  single line: {line}" for line in told["too_small_alone"]] + [
        f"  over all lines: {line}" for line in told["too_small_among_all"]
    ]
    return "\n".join(
        [*lines, "holds" if found.holds else "DOES NOT HOLD: a p-value that is called guaranteed is too small"]
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the calibration, from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lens.reproduce.palimpsest.calibration", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="full")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder for steps, tables and figures; the same command goes on with a run that was killed",
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    out = given.out or Path("build") / NAME / given.preset
    found = calibrate(given.preset, out, given.seed, say=lambda line: print(line, flush=True))
    print(text_of(found))
    print(f"\nresults and {len(found.figures)} figures: {out.absolute()}")
    return 0 if found.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
