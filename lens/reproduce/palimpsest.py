"""Blackbox Model Provenance via Palimpsestic Membership Inference (Kuditipudi, Huang, Zhu, Yang, Potts & Liang, NeurIPS
2025), on a family of small transformers.

    python -m lens reproduce palimpsest --preset quick

trains the family (resumable; `quick` took 40 minutes of a busy machine, 15 CPU minutes of it training), asks every
member whether it was trained in each Alice's order, and judges the paper's claims in kind. `full` is larger (0.8 M
parameters, 12,000 rows, five Alices, m = 39 retrainings; many hours); `paper` asks the public models of the paper,
where they can be reached. Numbers of the paper cannot be expected here: its models have a thousand times as many
parameters and rows. Power is followed over rows for every suspect, and over the tokens scored of a row for Alice and
the model tuned on 25 % only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from .. import files
from ..arguments import Choice, Count, Draws, FilePath, Name, Seed, door
from ..organisms.palimpsest_family import PRESETS as FAMILIES
from ..organisms.palimpsest_family import Family, Size
from ..results import dataset as results
from . import palimpsest_claims as claims
from . import palimpsest_frames as frames
from . import palimpsest_public as public
from . import palimpsest_steps as steps
from .common import RECORD, read_record
from .errors import ReproduceError
from .palimpsest_runs import Bench

NAME = "palimpsest"
NEEDS_MODEL = False
#: by name on the command line, the family that is trained; `paper` trains none
PRESETS: Mapping[str, Size | None] = {**FAMILIES, "paper": None}
VERSION = 2  # of what the tables hold
STEPS = ("queries", "references", "arms", "power", "stopping", "retrains", "partitions")
PACKAGES = ("torch", "transformers", "peft", "numpy", "scipy")


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
    family: Family | None = None


@door(ReproduceError)
def run(
    model: Any = None,
    *,
    data: Name = "own",
    preset: Annotated[str, Choice(tuple(PRESETS))] | Size = "quick",
    out: FilePath | None = None,
    seed: Seed = 0,
    limit: Count | None = None,
    resamples: Draws = 100_000,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Train the family where it is not there, make every table, judge the claims and draw the figures.

    Args:
        model: takes no part; the family is trained here.
        data: "own": the text is generated.
        preset: tiny, quick, full, paper, or a `Size`.
        out: folder for models (`family/`), tables, figures and record; the same call goes on with what it holds.
            Needed, except for `paper`.

    Raises: ReproduceError: another data, a missing folder, models of another recipe in it. ProvenanceError: `paper`
        where the public models cannot be reached.
    """
    if data != "own":
        raise ReproduceError(f"data={data!r}; the text of this experiment is generated: leave data at 'own'")
    if limit is not None:
        raise ReproduceError(
            f"limit={limit}; this experiment has no items to leave out: choose the preset tiny for a trial"
        )
    if preset == "paper":
        return _public(out, seed, say)
    if out is None:
        raise ReproduceError(
            "out is missing; give a folder for the models that are trained, e.g. out='build/palimpsest/own-quick'"
        )
    import torch

    folder, threads = Path(out), torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of weights depend on the number of threads
    try:
        family = Family(preset, folder / "family", say)
        family.make_all()
    finally:
        torch.set_num_threads(threads)
    config = {
        "version": VERSION,
        "size": asdict(family.size),
        "seed": seed,
        "resamples": resamples,
        "identities": {name: family.identity(name)[:16] for name in family.entries},
    }
    bench = Bench(
        family, results.fingerprint({"kind": "reproduction", "name": NAME, **config}), folder, seed, resamples, say
    )
    tables = {
        name: getattr(steps, name)(bench)
        for name in STEPS
        if name not in ("retrains", "partitions") or family.size.retrains
    }
    for name in ("retrains", "partitions"):
        tables.setdefault(name, pd.DataFrame())
    table, numbers = claims.verdicts(**tables)
    made = Reproduction(table, tables, numbers, bench.fingerprint, family=family)
    _draw(made, bench, folder / "figures")
    _write(made, folder, config)
    return made


@door(ReproduceError)
def load(folder: FilePath) -> Reproduction:
    """A run that was written before, its table computed anew from the stored tables.

    Raises: ResultError: the folder holds none.
    """
    folder = Path(folder)
    record = read_record(folder, NAME)
    tables = {
        name: (
            pd.read_parquet(folder / "tables" / f"{name}-{record['fingerprint'][:12]}.parquet")
            if record["tables"][name]
            else pd.DataFrame()
        )
        for name in STEPS
    }
    table, numbers = claims.verdicts(**tables)
    return Reproduction(table, tables, numbers, record["fingerprint"], sorted((folder / "figures").glob("*.png")))


def _draw(made: Reproduction, bench: Bench, folder: Path) -> None:
    """Every figure of the run."""
    from ..figures import provenance as draw

    size, names = (
        bench.family.size,
        {
            "alice-0": "Alice",
            "alice-0/tune-25": "Alice, tuned on 25 %",
            "independent-0": "innocent",
        },
    )

    def put(name: str, plot: Callable, frame: pd.DataFrame, **options: Any) -> None:
        made.figures.append(folder / f"{name}.png")
        plot(frame, made.figures[-1], **options)

    tuned = [n for n in ("alice-0/tune-25",) if n in bench.family.entries]
    put(
        "positions",
        draw.position_plot,
        bench.kept("trends", lambda: frames.trends(bench, ("alice-0", *tuned, "independent-0"))),
        names=names,
    )
    put("null", draw.null_plot, frames.null_draws(bench), names=names)
    curves = frames.power_curves(made.tables["power"], steps.DRAWS)
    shown = [s for s in ("alice", *(f"alice/{n}" for n in steps.SHOWN)) if s in set(curves.suspect)]
    put("power_rows", draw.power_plot, curves, suspects=shown, title="guaranteed key bound at .01")
    put(
        "power_tokens",
        draw.power_plot,
        curves,
        across="tokens",
        suspects=["alice"],
        title="Alice, guaranteed key bound at .01",
    )
    put("survival", draw.survival_bars, frames.survival(made.tables["queries"]), title=f"{size.base.rows:,} rows")
    put("arms", draw.arm_plot, frames.arm_means(made.tables["arms"]))
    put(
        "arm_positions",
        draw.position_plot,
        bench.kept("arm_trends", lambda: frames.arm_trends(bench)),
        title="the first Alice of every schedule",
    )
    if len(made.tables["retrains"]):
        put("retrain", draw.retrain_plot, made.tables["retrains"])


def _write(made: Reproduction, folder: Path, config: Mapping[str, Any]) -> None:
    """Table, numbers and record."""
    survival = frames.survival(made.tables["queries"]).drop(columns="seeds")
    versions = {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in PACKAGES}
    record = {
        "reproduction": NAME,
        "fingerprint": made.fingerprint,
        "config": dict(config),
        "numbers": made.numbers,
        "tables": {name: len(t) for name, t in made.tables.items()},
        "versions": versions,
    }
    files.write_all(
        {folder / "table.csv": made.table.to_csv(index=False), folder / "survival.csv": survival.to_csv(index=False)}
    )
    files.write_json(folder / RECORD, record, default=float)


def _public(out: str | os.PathLike | None, seed: int, say: Callable[[str], None]) -> Reproduction:
    table, lines = public.run(None if out is None else Path(out), seed=seed, say=say)
    if out is not None:
        files.write(Path(out) / "table.csv", table.to_csv(index=False), parents=True)
    return Reproduction(table, {"queries": lines})
