"""The claims about ways to train that keep old tasks, and what their losses are made of, against what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ... import stats
from ..common import ALONE, EVERY, several, shown, student, verdict
from . import tables as frames
from .rules import Effect, JudgedRows, above, judged
from .tables import PLAIN, paired
from .tasks import IN_CONTEXT, INSTRUCTION, TITLES

#: points of final performance that a method may cost (gate G8)
TOLERANCE = 0.02
#: ways to train with the vector, and how their rows begin
GUIDED = {
    "guided": "G8. Training with the vector (the paper's loss)",
    "guided_released": "... as their released code does it",
    "progressive": "... by adding the vector and fading it out",
    "progressive_kl": "... fading it out, with the KL",
}
#: what the head term and the KL do: (one method, another, what their difference shows)
ABLATIONS = (
    ("kl_vector", "kl_start", "the vector in the KL's target"),
    ("kl_vector", "kl_random", "the own vector rather than a random one"),
    ("guided", "kl_start", "the whole loss rather than the KL alone"),
    ("guided", "heads_only", "the KL with the vector, over the head term alone"),
    ("heads_only", PLAIN, "the head term alone"),
    ("kl_start", PLAIN, "the KL alone"),
    ("kl_vector_strong", "kl_start_strong", "the vector in the KL's target, at weight 1"),
    ("kl_start_strong", PLAIN, "the KL alone, at weight 1"),
)
#: methods of which is asked what they keep beyond what learning less would keep
BEYOND = ("guided", "heads_only", "kl_start_strong", "averaging", "ewc", "freeze_bottom")


def judge_methods(rows: JudgedRows, methods: pd.DataFrame, drift: pd.DataFrame, cost: xr.Dataset | None) -> None:
    """The rows of the methods; ``drift``: of plain fine-tuning."""
    _training(rows)
    _ablation(rows)
    if "averaging" in set(rows.units.method):
        old, final = (rows.minus(f"averaging_{m}", "averaging", m) for m in (INSTRUCTION, "final"))
        here = f"by instruction {old.text}; FP {final.text}"
        rows.add("averaging", here, old.n, above(old), effects="averaging_instruction")
    _drawing_on_old_rows(rows)
    _best(rows, methods)
    if beyond := beyond_the_line(rows.units):
        rows.numbers |= {f"beyond_{m}": float(v.mean()) for m, v in beyond.items()}
        seeds = {m: f" (seeds {', '.join(f'{x:+.2f}' for x in v)})" if len(v) > 1 else "" for m, v in beyond.items()}
        here = "; ".join(f"{TITLES[m]} {v.mean():+.2f}{seeds[m]}" for m, v in beyond.items())
        rows.add("beyond", here, f"{len(next(iter(beyond.values())))} seed(s)", "descriptive")
    if len(drift):
        part = drift.groupby("part").drift.mean()
        rows.numbers |= {f"drift_{p}": float(v) for p, v in part.items()}
        here = ", ".join(f"{p} {v:.3f}" for p, v in part.items())
        rows.add("drift", here, several(drift.seed.nunique(), "seed"), "descriptive")
    if cost is not None:
        ratio = student(cost.ratios.values)
        rows.numbers |= {"step_ratio": float(ratio.estimate), "step_seconds": float(cost.plain)}
        rows.add(
            "cost",
            f"ratio {shown(ratio)}; {float(cost.plain):.3f} s plain",
            f"{cost.sizes['repeat']} repeats of 3 steps",
            verdict(ratio.high <= 1.3, ratio.low > 1.3, otherwise="the interval holds 1.3"),
        )


def _training(rows: JudgedRows) -> None:
    for label in (label for label in GUIDED if label in set(rows.units.method)):
        less, final, old, in_context, fact = (
            rows.minus(f"{label}_{m}", label, m) for m in ("forget", "final", INSTRUCTION, IN_CONTEXT, "knowledge")
        )
        dear = final.high < -TOLERANCE
        rows.add(
            "less_guided" if label == "guided" else "less",
            f"AP - FP minus plain's {less.text}; FP minus plain's {final.text}",
            less.n,
            judged(
                (less, final),
                less.high < 0 and final.low > -TOLERANCE,
                less.low > 0 or dear,
                "less is forgotten, but final performance falls" if less.high < 0 and dear else "",
                part=less.high < 0 and final.high >= -TOLERANCE,
            ),
            EVERY,
            effects=(f"{label}_forget", f"{label}_final"),
            title=GUIDED[label],
            points=f"{100 * TOLERANCE:g}",
        )
        here = f"by instruction {old.text}; shown {in_context.text}; facts {fact.text}"
        key = "keeps_guided" if label == "guided" else "keeps"
        rows.add(key, here, old.n, above(old), effects=f"{label}_instruction")


def _ablation(rows: JudgedRows) -> None:
    """What each part of the loss does; the p-values of the instruction column are adjusted for all comparisons made
    (Holm).
    """
    gate = "G9. Is it the vector, or just the KL to the model that each stage starts from? "
    there = [(a, b, what) for a, b, what in ABLATIONS if len(paired(rows.units, a, b, INSTRUCTION))]
    olds = [rows.minus(f"{a}_minus_{b}", a, INSTRUCTION, b) for a, b, _ in there]
    looked = sum(np.isfinite(old.p) for old in olds)
    adjusted = stats.holm([old.p for old in olds]) if looked else np.full(len(olds), np.nan)
    for (a, b, what), old, q in zip(there, olds, map(float, adjusted)):
        name = f"{a}_minus_{b}"
        in_context, cost = (rows.minus(f"{name}_{m}", a, m, b) for m in (IN_CONTEXT, "final"))
        p = f", p = {old.p:.2g}, {q:.2g} by Holm over {looked} comparisons" if np.isfinite(old.p) else ""
        rows.numbers |= {f"{name}_p": old.p, f"{name}_holm": q} if p else {}
        rows.add(
            "ablation",
            f"old tasks by instruction {old.text}{p}; shown {in_context.text}; FP {cost.text}",
            old.n,
            _helps(old, q, looked, cost),
            f"Holm over {looked}" if looked else ALONE,
            effects=name,
            gate=gate,
            what=f"{what[0].upper()}{what[1:]}",
            one=TITLES[a],
            other=TITLES[b],
        )
        gate = "... "


def _helps(old: Effect, holm: float, looked: int, cost: Effect) -> str:
    if old.few:
        return f"not shown: {old.few}"
    if not (old.low > 0 or old.high < 0):
        return "no difference shown: the interval holds 0"
    word = f"helps{'; new tasks pay' if cost.high < 0 else ''}" if old.low > 0 else "harms"
    return word if not holm > 0.05 else f"{word} taken alone; not shown among {looked} comparisons (Holm)"


def _drawing_on_old_rows(rows: JudgedRows) -> None:
    """EWC and replay are given old rows: apart, the tasks with questions that are not among them, and those that ask
    all that there are.
    """
    for method in ("ewc", "replay"):
        of = rows.units[(rows.units.method == method) & (rows.units["kind"] == INSTRUCTION)]
        if of.empty or "seen" not in of or not of.seen.any():
            continue
        gain = paired(rows.units, method, PLAIN, INSTRUCTION)
        asked = gain.index.get_level_values("probe").isin(of[of.seen].probe.unique())
        fresh, again = rows.effect(f"{method}_unseen", gain[~asked]), rows.effect(f"{method}_seen", gain[asked])
        here = f"minus plain, by instruction: other questions {fresh.text}; the same questions {again.text}"
        rows.add("unseen", here, fresh.n, above(fresh), effects=f"{method}_unseen", method=TITLES[method])


def _best(rows: JudgedRows, methods: pd.DataFrame) -> None:
    of = methods[(methods.metric == INSTRUCTION) & methods.difference.notna()]
    if of.empty:
        return
    final = methods[methods.metric == "final"].set_index("method")
    allowed = of[of.method.map(lambda m: final.difference[m] > -TOLERANCE)].sort_values("mean")
    here, seeds, units = "none: every method costs more than that", int(of.seeds.max()), int(of.units.max())
    if len(allowed):
        best = allowed.iloc[-1]
        mean, seeds, units = best["mean"], int(best.seeds), int(best.units)
        gain = f"{best.difference:+.2f}" + (f" [{best.low:+.2f}, {best.high:+.2f}]" if np.isfinite(best.low) else "")
        rows.numbers |= {"best_method": str(best.method), "best_instruction": float(mean)}
        here = (
            f"{TITLES[str(best.method)]}: {mean:.2f} (plain {mean - best.difference:.2f}): {gain}; FP"
            f" {final['mean'][best.method]:.2f} (plain {final['mean'][PLAIN]:.2f})"
        )
    n = f"{several(seeds, 'seed')}, {units} units"
    rows.add("best", here, n, "descriptive", points=f"{100 * TOLERANCE:g}", count=len(of))


def beyond_the_line(units: pd.DataFrame) -> dict[str, np.ndarray]:
    """By method, for every seed, how far its old tasks stand above the line on which a method lies that only learns
    less: from the start model (AP 0) to plain fine-tuning.
    """

    def of(method: str, metric: str) -> pd.Series:
        return frames.measured(units, method, metric).groupby(level="seed").mean()

    start = units[(units.method == PLAIN) & (units["kind"] == INSTRUCTION)].groupby("seed").before.mean()
    lost, learnt = start - of(PLAIN, INSTRUCTION), of(PLAIN, "own")
    there = [] if (learnt <= 0).any() else [m for m in BEYOND if m in set(units.method)]
    return {m: (of(m, INSTRUCTION) - (start - lost * of(m, "own") / learnt)).dropna().values for m in there}
