"""Blackbox Model Provenance via Palimpsestic Membership Inference (Kuditipudi, Huang, Zhu, Yang, Potts & Liang, NeurIPS
2025), on a family of small transformers.

    python -m lens reproduce palimpsest --preset quick

asks the models that ship, an Alice, her tuned, rounded, pruned and averaged copies and an innocent model, whether they
were trained in her order, and trains nothing. `medium` trains a family (resumable; 40 minutes of a busy machine, 15 CPU
minutes of it training), asks every member, and judges the paper's claims in kind over three Alices; of one Alice they
are not judged. `full` is larger (0.8 M parameters, 12,000 rows, five Alices, m = 39 retrainings; many hours); `paper`
asks the public models of the paper, where they can be reached. Numbers of the paper cannot be expected here: its models
have a thousand times as many parameters and rows. Power is followed over rows for every suspect, and over the tokens
scored of a row for Alice and the model tuned on 25 % only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ... import files
from ...arguments import Draws
from ...organisms.palimpsest.entries import PRESETS as FAMILIES
from ...organisms.palimpsest.entries import Size
from ...organisms.palimpsest.family import Family
from ...organisms.palimpsest.shipped import SIZE as SHIPPED
from ...organisms.palimpsest.shipped import ShippedFamily
from ...results import dataset as results
from ..common import read_parquet
from ..errors import ReproduceError
from ..study import Asked, Drawing, Study, one_thread
from ..study import Reproduction as Judged
from . import public, steps, verdicts
from . import tables as frames
from .bench import Bench
from .claims import CLAIMS

NAME = "palimpsest"
#: by name on the command line, the family that is asked: quick has the models that ship, and trains none; so does
#: `paper`, which asks public models
PRESETS: Mapping[str, Size | None] = {
    "tiny": FAMILIES["tiny"],
    "quick": SHIPPED,
    "medium": FAMILIES["quick"],
    "full": FAMILIES["full"],
    "paper": None,
}
VERSION = 2  # of what the tables hold
STEPS = ("queries", "references", "arms", "power", "stopping", "retrains", "partitions")


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has; `bench` is what was asked, where it was asked by this run."""

    bench: Bench | None = None

    @property
    def family(self) -> Family | None:
        """The models that were asked."""
        return None if self.bench is None else self.bench.family


def measure(asked: Asked, *, resamples: Draws = 100_000) -> Reproduction:
    """Every table, of the family that is trained where it is not there.

    Needs a folder for models (`family/`), except for the preset `paper`.

    Raises: ReproduceError: a missing folder, models of another recipe in it. ProvenanceError: `paper` where the public
        models cannot be reached.
    """
    folder, seed, say = asked.folder, asked.seed, asked.say
    if asked.plan is None:
        table, lines = public.run(folder, seed=seed, say=say)
        return Reproduction(table=table, tables={"queries": lines})
    if folder is None:
        raise ReproduceError(
            "out is missing; give a folder for the models that are trained, e.g. out='build/palimpsest/own-quick'"
        )
    with one_thread():  # the last bits of weights depend on the number of threads
        home = folder / "family"
        family = ShippedFamily(home, say) if asked.plan == SHIPPED else Family(asked.plan, home, say)
        family.make_all()
    config = {
        "version": VERSION,
        "size": asdict(family.size),
        "seed": seed,
        "resamples": resamples,
        "identities": {name: family.identity(name)[:16] for name in family.entries},
    }
    fingerprint = results.fingerprint({"kind": "reproduction", "name": NAME, **config})
    bench = Bench(family, fingerprint, folder, seed, resamples, say)
    tables = {
        name: getattr(steps, name)(bench)
        if name not in ("retrains", "partitions") or family.size.retrains
        else pd.DataFrame()
        for name in STEPS
    }
    table, numbers = verdicts.verdicts(**tables)
    return Reproduction(
        table=table,
        tables=tables,
        numbers=numbers,
        fingerprint=fingerprint,
        config=config,
        more={"tables": {name: len(t) for name, t in tables.items()}},
        bench=bench,
    )


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its verdicts computed anew."""
    tables = {
        name: read_parquet(folder / "tables" / f"{name}-{record['fingerprint'][:12]}.parquet")
        if record["tables"][name]
        else pd.DataFrame()
        for name in STEPS
    }
    table, numbers = verdicts.verdicts(**tables)
    return Reproduction(table=table, tables=tables, numbers=numbers)


def figures(made: Reproduction) -> Mapping[str, Drawing]:
    """The figures that a run has tables for; those of positions and of the null need the models that were asked."""
    from . import figures as plots

    tables, bench = made.tables, made.bench
    names = {"alice-0": "Alice", "alice-0/tune-25": "Alice, tuned on 25 %", "independent-0": "innocent"}
    drawn: dict[str, Drawing] = {}
    if bench is not None:
        there = tuple(name for name in names if name in bench.family.entries)
        drawn["positions"] = lambda path: plots.position_plot(
            bench.kept("trends", lambda: frames.trends(bench, there)), path, names=names
        )
        drawn["null"] = lambda path: plots.null_plot(frames.null_draws(bench), path, names=names)
        if bench.family.size.arms:
            drawn["arm_positions"] = lambda path: plots.position_plot(
                bench.kept("arm_trends", lambda: frames.arm_trends(bench)),
                path,
                title="the first Alice of every schedule",
            )
    if len(tables.get("power", ())):
        curves, title = frames.power_curves(tables["power"], steps.DRAWS), "guaranteed key bound at .01"
        shown = [s for s in ("alice", *(f"alice/{n}" for n in steps.SHOWN)) if s in set(curves.suspect)]
        drawn["power_rows"] = lambda path: plots.power_plot(curves, path, suspects=shown, title=title)
        drawn["power_tokens"] = lambda path: plots.power_plot(
            curves, path, across="tokens", suspects=["alice"], title=f"Alice, {title}"
        )
        rows = f"{int(tables['queries'].n.max()):,} rows"
        drawn["survival"] = lambda path: plots.survival_bars(frames.survival(tables["queries"]), path, title=rows)
    if len(tables.get("arms", ())) and tables["arms"].group.nunique() > 1:
        drawn["arms"] = lambda path: plots.arm_plot(frames.arm_means(tables["arms"]), path)
    if len(tables.get("retrains", ())):
        drawn["retrain"] = lambda path: plots.retrain_plot(tables["retrains"], path)
    return drawn


def keep(made: Reproduction, folder: Path) -> None:
    """`survival.csv`: what is left of the trace in every kind of derived model."""
    if made.config is not None:
        survival = frames.survival(made.tables["queries"]).drop(columns="seeds")
        files.write(folder / "survival.csv", survival.to_csv(index=False))


STUDY = Study(
    NAME,
    paper="Kuditipudi, Huang, Zhu, Yang, Potts & Liang, NeurIPS 2025",
    question="Does the order of its training data prove where a model, or a text, comes from?",
    models="organisms palimpsest (ship); medium and full train a family; paper: public models of 6.9 B parameters",
    presets=PRESETS,
    plan=Size,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "innocent models, other Alices' orders, keys that nobody used, no reference and wrong references, retrained "
        "last legs"
    ),
    keep=keep,
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
