"""Copyright traps: made-up sequences of several lengths, put into one training so many times each; what they lose under
it, under the standard model of the seed (the twin), and under those of the other seeds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import scoring, stats
from ...stats.bounds import SHARE, clip
from ..common import by_group, student
from ..repeated_data.language import WORDS
from .standin import Plan, Training

#: The training that traps are put into, and the one that they are measured beside.
TRAPPED, STANDARD = Training("traps"), Training("standard", 1, None)
#: What membership is told by: the loss alone, or how far it lies below that of a model that read no trap.
TWIN, OTHER, NONE = "the twin", "another seed", "no reference"
REFERENCES = (TWIN, OTHER, NONE)


def traps(plan: Plan, seed: int) -> list[dict[str, Any]]:
    """The traps of a seed with the count that a lot gave each within its length, as the rows of an item set."""
    rng = random.Random(f"hubble traps {seed}")
    rows: list[dict[str, Any]] = []
    counts = [count for count, many in zip(plan.trap_counts, plan.trap_items) for _ in range(many)]
    for length in plan.traps:
        for count in rng.sample(counts, len(counts)):
            tokens = [0, *(1 + rng.randrange(WORDS) for _ in range(length))]
            rows.append({"item": len(rows), "file": "traps", "tokens": tokens, "duplicates": count, "length": length})
    return rows


def losses(model: Any, plan: Plan) -> tuple[tuple[str, str], np.ndarray]:
    """The loss of every seed's traps, nats a token, over `traps_of` (the seeds in their order) and `trap`."""
    rows = [[np.array(trap["tokens"]) for trap in traps(plan, seed)] for seed in plan.seeds]
    return ("traps_of", "trap"), np.stack([scoring.score(model, of, start=None).nll() for of in rows])


def losses_of(parts: Mapping[tuple[str, int], xr.Dataset], plan: Plan) -> pd.DataFrame:
    """A line a trap: `seed, length, duplicates`, its loss under the model that it was put into (`own`), under the
    standard model of that seed (`twin`), and the mean under those of other seeds (`other`).
    """
    tables = []
    for at, seed in enumerate(plan.seeds if plan.traps else ()):
        about = pd.DataFrame(traps(plan, seed))[["length", "duplicates"]]
        standard = {s: parts[STANDARD.name, s].trap_nll.values[at].astype(float) for s in plan.seeds}
        twin = standard.pop(seed)
        other = np.mean(list(standard.values()), axis=0) if standard else np.full(len(about), np.nan)
        own = parts[TRAPPED.name, seed].trap_nll.values[at].astype(float)
        tables.append(about.assign(seed=seed, own=own, twin=twin, other=other))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def areas(losses: pd.DataFrame) -> pd.DataFrame:
    """A line a seed, length, count and reference: `auc` of those traps against the ones of that length that were never
    put in.
    """
    lines = []
    for (seed, length), of in losses.groupby(["seed", "length"], sort=False) if len(losses) else ():
        scores = {TWIN: of.twin - of.own, OTHER: of.other - of.own, NONE: -of.own}
        for count in sorted(set(of.duplicates) - {0}):
            chosen = of.duplicates.isin((0, count))
            for reference in REFERENCES:
                value = area(scores[reference][chosen], of.duplicates[chosen] > 0)
                lines.append(
                    {"seed": seed, "length": length, "duplicates": count, "reference": reference, "auc": value}
                )
    return pd.DataFrame(lines)


def area(score: pd.Series, member: pd.Series) -> float:
    """How well a score tells members from the others."""
    if not score.notna().all():
        return np.nan
    if not np.ptp(score.to_numpy()) > 0:
        return 0.5  # scores that are all alike tell nothing
    # the area alone is read, so that its permutations are the fewest: the interval is over seeds
    return float(stats.auc(score.to_numpy(), member.to_numpy(), resamples=19).auc)


def by_cell(areas: pd.DataFrame) -> pd.DataFrame:
    """By reference, length and count: the mean area over seeds, with its interval."""

    def line(of: pd.DataFrame) -> dict[str, Any]:
        mean = clip(student(of.auc), SHARE)
        return {"seeds": len(of), "auc": mean.estimate, "low": mean.low, "high": mean.high}

    return by_group(areas, ["reference", "length", "duplicates"], line) if len(areas) else pd.DataFrame()


def by_seed(areas: pd.DataFrame, reference: str, **where: Sequence[int]) -> pd.Series:
    """The mean area of a reference by seed, of these lengths and counts (all that are not named)."""
    of = areas[areas.reference == reference]
    for column, values in where.items():
        of = of[of[column].isin(values)]
    return of.groupby("seed").auc.mean()
