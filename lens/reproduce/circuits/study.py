"""Edges and circuits (Syed et al. 2023; Hanna et al. 2024; Mueller et al. 2025, MIB; Edin et al. 2025), on indirect
objects with a language model, on a circuit that is known, and on a trained one whose edges are all taken exactly.

    python -m lens reproduce circuits --preset quick

What was settled before the first run
-------------------------------------
*Units.* A pair is a scene of its own (both word orders of a scene are one: the first is taken). Edges are found on the
scenes of one split, and circuits judged on those of the other, whose names and couples are others.

*Circuits.* MIB's sizes, other edges carrying the corrupted run's writes; CPR by the signed ranking, CMD by the absolute
one; random circuits have as many edges between the same layers. Methods are compared over the same held-out pairs.

*Exact effects.* Of the largest edges of every method and of as many drawn from the rest: all methods are compared on
the same edges. Of the organisms all edges are taken.

*Known edges.* Those of the wired organism's card that carry what the tokens are; edges that only tell positions, which
are alike in the two prompts of a pair, are neither. AUROC by magnitude, of the means of three pairs: each kind of pair
sends its difference through edges of its own.

*Controls.* The circuit beside those of pairs with shuffled answers, of two draws of other counterfactuals, of one step,
and of random edges: edges in common, and f on the same held-out pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...circuits import CircuitError
from ...models import weight_hash
from ...results import dataset as results
from ...results.opening import open_result
from ..common import Steps, digest_of
from ..study import Asked, Study, figures_of
from ..study import Reproduction as Judged
from . import steps
from .bench import Bench, Preset, found_on, held_out
from .claims import CLAIMS
from .tables import Parts, tables
from .verdicts import verdicts

NAME = "circuits"
#: Of what the steps hold.
VERSION = 1
PRESETS = {
    "tiny": Preset(
        pairs=5,
        held_out=5,
        methods=("EAP-IG", "EAP"),
        steps=2,
        sizes=(0.01, 0.1, 1.0),
        draws=1,
        checked=2,
        resamples=5,
        wired=15,
        induction=5,
        small=("EAP-IG", "EAP"),
    ),
    "quick": Preset(
        pairs=12,
        held_out=12,
        methods=("EAP-IG", "EAP", "GIM"),
        draws=2,
        checked=20,
        resamples=50,
        wired=30,
        induction=12,
    ),
    "full": Preset(),
}


@dataclass(kw_only=True)
class Reproduction(Judged):
    """What a run has; `parts` holds the stored steps by name."""

    parts: Parts = field(default_factory=dict)


def _names(plan: Mapping[str, Any]) -> list[str]:
    """The steps of a run, in their order."""
    return ["indirect objects", *(f"circuits of {m}" for m in plan["methods"]), "controls", "wired", "induction"]


def measure(asked: Asked) -> Reproduction:
    """Every step, on the language model and on the two organisms."""
    plan = asked.plan
    pairs = found_on(asked.model, plan.pairs), held_out(plan.held_out)
    config = {
        "version": VERSION,
        "preset": asdict(plan),
        "seed": asked.seed,
        "pairs": digest_of([[p.clean, p.corrupted, p.answer, p.foil] for half in pairs for p in half]),
        "model": weight_hash(asked.model)[:16],
    }
    kept = Steps(asked.folder, config, classic=True)
    bench = Bench(asked.model, plan, kept.kept, asked.seed, asked.say, *pairs, asked.progress)
    made = [steps.checked(bench)]
    made += [steps.curve(bench, method) for method in plan.methods]
    made += [steps.beside(bench), steps.whole(bench, "wired"), steps.whole(bench, "induction")]
    result = _judged(dict(zip(_names(kept.config["preset"]), made)), asked.seed)
    result.config, result.provenance = kept.config, results.provenance(made[1])
    return result


def read(folder: Path, record: Mapping[str, Any], seed: int) -> Reproduction:
    """A stored run, its tables computed anew from the steps."""
    names = _names(record["config"]["preset"])
    return _judged({name: open_result(folder / f"{name}.nc") for name in names}, seed)


def _judged(parts: Parts, seed: int) -> Reproduction:
    made = tables(parts, seed)
    table, numbers = verdicts(parts, made, seed)
    return Reproduction(parts=parts, tables=made, table=table, numbers=numbers)


#: The figures of a run.
figures = figures_of(__package__)

STUDY = Study(
    NAME,
    paper="Syed et al. 2023; Hanna et al. 2024; Mueller et al. 2025 (MIB)",
    question="Which edges carry a task, how far can their scores be believed, and does a circuit do the task alone?",
    models="a language model that is given (smollm2 by default), organism wired, organism induction",
    presets=PRESETS,
    plan=Preset,
    measure=measure,
    read=read,
    figures=figures,
    claims=CLAIMS,
    controls=(
        "random circuits between the same layers, all other edges, pairs with shuffled answers, other counterfactuals, "
        "exact effects, edges that are known"
    ),
    error=CircuitError,
    model="smollm2",
    version=VERSION,
)
run, load, figure = STUDY.run, STUDY.load, STUDY.figure
