"""The claims of Instruction Vectors (Jiang et al. 2024) and of vector-guided training (Jiang et al. 2025) against what
was measured; the verdict follows from the interval by the rule in the row.

A unit is a task of a seed (where methods are compared, the same unit under both). Tasks of a seed share a model, so
that verdicts follow from the means of the seeds: Student's t interval over them, with every seed's mean and how many
have its sign beside it. Pooled over units as if they were independent, a bootstrap interval excludes 0 in half of the
cases of no effect at all, where seeds differ as much as tasks do; it is among the numbers (`..._pooled_low`), and no
verdict follows from it. An exact sign flip over three seeds cannot go below p = .25. One seed: an interval over its
units, which speaks of this model only; with fewer than six units nothing is shown. Values of the papers are quoted
where they were read in the papers' text or tables, or in a secondary source, which is then said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats as scipy_stats

from ... import forgetting, stats
from ..claims import Rows
from ..common import ALONE, EVERY, shown, student, table_of, verdict
from . import tables as frames
from .claims import CLAIMS
from .steps import READINGS
from .tables import LEAST_EVALUATIONS, LEAST_UNITS, PLAIN, over, paired, pooled
from .tasks import IN_CONTEXT, INSTRUCTION, KNOWLEDGE, TITLES

#: a task counts as forgotten, so that something can be recovered, where its accuracy by instruction fell by more
LOST = 0.1
#: where a task was answered more rarely at the start, there is nothing to lose: it is left out of what is lost
LEAST = 0.1
#: points of final performance that a method may cost (gate G8)
TOLERANCE = 0.02
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


def one_line(ds: xr.Dataset) -> str:
    """A sequence in a line: old tasks by instruction and demonstrations, facts, and AP and FP of the new tasks."""
    s = forgetting.summary(ds)["mean"].to_series()
    kinds = ((INSTRUCTION, "instruction"), (IN_CONTEXT, "in context"), (KNOWLEDGE, "facts"))
    old = ", ".join(
        f"{name} {s[f'{kind} before']:.2f} -> {s[f'{kind} after']:.2f}" for kind, name in kinds if f"{kind} before" in s
    )
    return f"{old}; new tasks AP {s['AP']:.2f}, FP {s['FP']:.2f}"


def verdicts(
    *,
    units: pd.DataFrame,
    methods: pd.DataFrame,
    curves: pd.DataFrame,
    recovery: pd.DataFrame,
    points: pd.DataFrame,
    sets: pd.DataFrame,
    drift: pd.DataFrame,
    cost: xr.Dataset | None,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers, from the tables of
    `forgetting_frames`.
    """
    told = _Told(seed)
    _what_is_lost(told, units)
    _vectors_and_loss(told, points, units)
    _heads(told, sets)
    _putting_back(told, recovery)
    _training(told, units)
    _ablation(told, units)
    _others(told, units, methods, drift, cost)
    return table_of(told.rows), told.numbers


@dataclass(frozen=True)
class _Effect:
    """A mean over seeds or units: its interval, as text, n as text; `few` says why nothing follows from it, or ""; `p`
    of a t test over seeds (NaN for one).
    """

    low: float
    high: float
    text: str
    n: str
    few: str
    p: float


class _Told:
    """Rows and numbers as they are made."""

    def __init__(self, seed: int):
        self.seed = seed
        self.rows = Rows(CLAIMS)
        self.numbers: dict[str, Any] = {}

    def effect(self, name: str, values: pd.Series) -> _Effect:
        """The mean of units with its interval over seeds."""
        values = values.dropna()
        by = values.groupby(level="seed").mean() if len(values) else pd.Series(dtype=float)
        found, units = over(values, self.seed), pooled(values, self.seed)
        n, seeds = len(values), len(by)
        same = seeds > 1 and not float(np.ptp(by)) > 1e-12
        few = (
            "the seeds agree entirely, which gives no interval"
            if same
            else (
                ""
                if seeds > 1 or n >= LEAST_UNITS
                else "no unit"
                if not n
                else "one unit"
                if n == 1
                else f"{n} units of one seed"
            )
        )

        def number(x):
            return float(x) if np.isfinite(x) else None

        self.numbers |= {
            name: number(found.estimate),
            f"{name}_low": number(found.low),
            f"{name}_high": number(found.high),
            f"{name}_n": n,
            f"{name}_seeds": seeds,
            f"{name}_pooled_low": number(units.low),
            f"{name}_pooled_high": number(units.high),
        }
        if seeds > 1:
            text = f"{shown(found, sign=True)} (seeds {', '.join(f'{v:+.2f}' for v in by)}; {forgetting.signs(by)})"
        elif n < 2:
            text = f"{found.estimate:+.2f} ({few})" if n else few
        else:
            text = (
                f"{found.estimate:+.2f} ({few}: {values.min():+.2f} to {values.max():+.2f})"
                if few
                else f"{shown(found, sign=True)} (over {n} units of one seed)"
            )
        each, odd = divmod(n, max(1, seeds))
        error = float(by.std(ddof=1)) / seeds**0.5 if seeds > 1 else np.nan
        p = (
            float(2 * scipy_stats.t.sf(abs(by.mean()) / error, seeds - 1))
            if seeds > 1 and not same
            else 1.0
            if same
            else np.nan
        )
        return _Effect(
            float(found.low),
            float(found.high),
            text,
            f"{n} tasks of {_seeds(seeds)}" if odd else f"{_seeds(seeds)} x {each} tasks",
            few,
            p,
        )


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n != 1)}"


def judged(
    effects: _Effect | Sequence[_Effect],
    holds: bool,
    fails: bool,
    instead: str = "",
    part: bool = False,
    otherwise: str = "",
) -> str:
    """The word of a verdict that follows from `effects`, or of what they are too few to show; `otherwise` is said where
    an interval holds the value in question.
    """
    if few := next((e.few for e in ((effects,) if isinstance(effects, _Effect) else effects) if e.few), ""):
        return f"not shown: {few}"
    word = verdict(holds, fails, instead, part)
    return otherwise if otherwise and word.startswith("not shown") else word


def _what_is_lost(told: _Told, units: pd.DataFrame) -> None:
    plain = units[units.method == PLAIN].set_index(["seed", "probe"])
    told_, shown_ = (
        plain[(plain["kind"] == INSTRUCTION) & (plain.before >= LEAST)],
        plain[(plain["kind"] == IN_CONTEXT) & (plain.before >= LEAST)],
    )
    if told_.empty:
        told.rows.add(
            "nothing_lost",
            f"the start model answers none of the old tasks in {100 * LEAST:g} % of the cases",
            "0 units",
            "not measured: nothing to lose",
        )
        return
    fall = told.effect("instruction_change", told_.change)
    told.rows.add(
        "loses",
        f"{told_.before.mean():.2f} to {told_.after.mean():.2f}: {fall.text}",
        fall.n,
        judged(fall, fall.high < 0, fall.low > 0),
        effects="instruction_change",
    )
    apart = told.effect("instruction_minus_knowledge", told_.change - told_.partner)
    facts = plain[plain["kind"] == KNOWLEDGE]
    told.rows.add(
        "rather",
        f"facts {facts.before.mean():.2f} to {facts.after.mean():.2f}; change by instruction minus change of the facts"
        f" {apart.text}",
        apart.n,
        judged(apart, apart.high < 0, apart.low > 0),
        effects="instruction_minus_knowledge",
    )
    same = (shown_.rename(index=lambda p: p.removesuffix(", shown"), level="probe").change - told_.change).dropna()
    if len(same):
        more = told.effect("in_context_minus_instruction", same)
        told.rows.add(
            "in_context",
            f"shown {shown_.before.mean():.2f} to {shown_.after.mean():.2f}; change when shown minus change when told"
            f" {more.text}",
            more.n,
            judged(more, more.high < 0, more.low > 0),
            effects="in_context_minus_instruction",
        )
    gap = told.effect("stability_gap", told_.gap)
    looked = told_.gap.notna().any()
    told.rows.add(
        "gap",
        f"mean over stages {gap.text}" if looked else "nothing was evaluated between the start and the end of a stage",
        gap.n if looked else "0 units",
        "descriptive: never negative by definition" if looked else "not measured: no evaluation within a stage",
        effects="stability_gap",
    )


def _vectors_and_loss(told: _Told, points: pd.DataFrame, units: pd.DataFrame) -> None:
    plain = points[points.method == PLAIN] if len(points) else points
    if plain.empty:
        return
    last = plain[plain["at"] == plain["at"].max()].set_index(["seed", "task"])
    kept = told.effect("similarity_after", last[READINGS[0]])
    first = plain[plain["at"] == 0].set_index(["seed", "task"]).accuracy
    told.rows.add(
        "stays",
        f"cosine at the end {kept.text}; the accuracy of these tasks {first.mean():.2f} to {last.accuracy.mean():.2f}",
        kept.n,
        judged(kept, kept.low > 0.9, kept.high < 0.9, otherwise="not shown: the interval holds .9"),
        effects="similarity_after",
    )
    table, evaluations = frames.correlations(plain), int(plain.groupby(["seed", "task"]).size().max())
    if table.empty:
        few = evaluations < LEAST_EVALUATIONS
        told.rows.add(
            "follows",
            f"{evaluations} evaluations a task: r over fewer than {LEAST_EVALUATIONS} says nothing"
            if few
            else "no task's accuracy moved",
            f"{_seeds(plain.seed.nunique())} x {plain.task.nunique()} tasks x {evaluations} evaluations",
            f"not shown: {evaluations} evaluations" if few else "not measured: no task's accuracy moved",
        )
    else:
        table = table.set_index(["seed", "task"])
        own = told.effect("r_similarity", table[READINGS[0]])
        over_l2 = told.effect("r_similarity_minus_distance", table[READINGS[0]] - table.distance)
        over_hidden = told.effect("r_similarity_minus_hidden", table[READINGS[0]] - table[READINGS[1]])
        instructed = told.effect("r_instruction_vector", table[READINGS[2]])
        told.rows.add(
            "follows",
            f"r {own.text}; minus r of the distance (negated) {over_l2.text}; minus r of the hidden state"
            f" {over_hidden.text}; the vector read from instructions {instructed.text}",
            f"{own.n}, {evaluations} evaluations each",
            judged(
                (over_l2, over_hidden),
                over_l2.low > 0 and over_hidden.low > 0,
                over_l2.high < 0 or over_hidden.high < 0,
                part=max(over_l2.low, over_hidden.low) > 0,
            ),
            EVERY,
            effects=("r_similarity_minus_distance", "r_similarity_minus_hidden"),
        )
    between = frames.between_tasks(plain)
    if len(between):
        told.numbers["rho_between_tasks"] = between[READINGS[0]].tolist()

        def each(r):
            return ", ".join(f"{name} {r[name]:+.2f}" for name in READINGS[:3])

        told.rows.add(
            "which_tasks",
            "; ".join(f"seed {int(r['seed'])}: {each(r)}" for r in between.to_dict("records")),
            f"{len(between)} seeds, {int(between.tasks.iloc[0])} tasks each",
            "descriptive",
        )


def _heads(told: _Told, sets: pd.DataFrame) -> None:
    rows = sets[(sets.method == PLAIN) & (sets.task != "universal")] if len(sets) else sets
    if rows.empty:
        return
    rows = rows.set_index(["seed", "task"])
    jaccard = told.effect("jaccard", rows.jaccard)
    k, total, chance = int(rows.k.iloc[0]), int(rows["heads"].iloc[0]), float(rows.chance.iloc[0])
    rho = told.effect("rho_heads", rows.rho)
    told.rows.add(
        "heads_stay",
        f"Jaccard {jaccard.text}, by chance {chance:.2f}; rho over all heads {rho.text}",
        jaccard.n,
        judged(
            jaccard,
            jaccard.low > chance,
            jaccard.high < chance,
            otherwise="not shown: the interval holds what chance gives",
        ),
        k=k,
        total=total,
    )


def _putting_back(told: _Told, recovery: pd.DataFrame) -> None:
    rows = recovery[recovery.method == PLAIN] if len(recovery) else recovery
    rows = rows[rows.lost > LOST] if len(rows) else rows
    units = rows[["seed", "task"]].drop_duplicates() if len(rows) else rows
    if units.empty:
        told.rows.add(
            "nothing_to_recover",
            f"no task lost more than {LOST:g} on the reporting half",
            "0 units",
            "not measured: nothing was lost",
        )
        return
    by = {str(c): of.set_index(["seed", "task"]) for c, of in rows.groupby("condition")}
    old = told.effect("recovery_old", by["old"].difference)
    random = told.effect("recovery_random", by["random"].difference)
    beyond = told.effect("recovery_old_minus_random", by["old"].difference - by["random"].difference)
    share = float(by["old"].difference.sum() / by["old"].lost.sum())
    told.numbers["recovery_share"] = share
    draws = int(by["random"].draws.iloc[0]) if "draws" in by["random"] else 1
    told.rows.add(
        "recovers",
        f"{by['old'].base.mean():.2f} to {by['old'].accuracy.mean():.2f}: {old.text}, {100 * share:.0f} % of the"
        f" loss{' (more than was lost: it also does what the start model did not do)' if share > 1 else ''}; random"
        f" {random.text}; old minus random {beyond.text}",
        old.n,
        judged((old, beyond), old.low > 0 and beyond.low > 0, old.high <= 0 or beyond.high < 0, part=old.low > 0),
        EVERY,
        effects=("recovery_old", "recovery_old_minus_random"),
        lost=f"{LOST:g}",
        draws=draws,
    )
    if "new" in by:
        away = told.effect("recovery_new", by["new"].difference)
        other = told.effect("recovery_new_random", by["random of new"].difference)
        gain = told.effect("recovery_new_minus_random", by["new"].difference - by["random of new"].difference)
        told.rows.add(
            "away",
            f"{away.text}; a random one taken away {other.text}; new minus random {gain.text}",
            away.n,
            judged((away, gain), away.low > 0 and gain.low > 0, away.high <= 0 or gain.high < 0, part=away.low > 0),
            EVERY,
            effects=("recovery_new", "recovery_new_minus_random"),
        )


def _training(told: _Told, units: pd.DataFrame) -> None:
    present = set(units.method)
    for label, title in (
        ("guided", "G8. Training with the vector (the paper's loss)"),
        ("guided_released", "... as their released code does it"),
        ("progressive", "... by adding the vector and fading it out"),
        ("progressive_kl", "... fading it out, with the KL"),
    ):
        if label not in present:
            continue
        less = told.effect(f"{label}_forget", paired(units, label, PLAIN, "forget"))
        final = told.effect(f"{label}_final", paired(units, label, PLAIN, "final"))
        told.rows.add(
            "less" if label != "guided" else "less_guided",
            f"AP - FP minus plain's {less.text}; FP minus plain's {final.text}",
            less.n,
            judged(
                (less, final),
                less.high < 0 and final.low > -TOLERANCE,
                less.low > 0 or final.high < -TOLERANCE,
                "less is forgotten, but final performance falls" if less.high < 0 and final.high < -TOLERANCE else "",
                part=less.high < 0 and final.high >= -TOLERANCE,
            ),
            EVERY,
            effects=(f"{label}_forget", f"{label}_final"),
            title=title,
            points=f"{100 * TOLERANCE:g}",
        )
        old = told.effect(f"{label}_instruction", paired(units, label, PLAIN, INSTRUCTION))
        in_context = told.effect(f"{label}_in_context", paired(units, label, PLAIN, IN_CONTEXT))
        fact = told.effect(f"{label}_knowledge", paired(units, label, PLAIN, KNOWLEDGE))
        told.rows.add(
            "keeps" if label != "guided" else "keeps_guided",
            f"by instruction {old.text}; shown {in_context.text}; facts {fact.text}",
            old.n,
            judged(old, old.low > 0, old.high < 0),
            effects=f"{label}_instruction",
        )


def _ablation(told: _Told, units: pd.DataFrame) -> None:
    """What each part of the loss does; the p-values of the instruction column are adjusted for all comparisons made
    (Holm).
    """
    gate = "G9. Is it the vector, or just the KL to the model that each stage starts from? "
    made = {(a, b): paired(units, a, b, INSTRUCTION) for a, b, _ in ABLATIONS}
    olds = {(a, b): told.effect(f"{a}_minus_{b}", old) for (a, b), old in made.items() if len(old)}
    adjusted = (
        dict(zip(olds, stats.holm([e.p for e in olds.values()])))
        if any(np.isfinite(e.p) for e in olds.values())
        else dict.fromkeys(olds, np.nan)
    )
    looked = sum(np.isfinite(e.p) for e in olds.values())
    for a, b, what in ABLATIONS:
        if (a, b) not in olds:
            continue
        old, q = olds[a, b], float(adjusted[a, b])
        in_context = told.effect(f"{a}_minus_{b}_in_context", paired(units, a, b, IN_CONTEXT))
        cost = told.effect(f"{a}_minus_{b}_final", paired(units, a, b, "final"))
        p = f", p = {old.p:.2g}, {q:.2g} by Holm over {looked} comparisons" if np.isfinite(old.p) else ""
        told.numbers |= {f"{a}_minus_{b}_p": old.p, f"{a}_minus_{b}_holm": q} if p else {}
        told.rows.add(
            "ablation",
            f"old tasks by instruction {old.text}{p}; shown {in_context.text}; FP {cost.text}",
            old.n,
            _helps(old, q, looked, cost),
            f"Holm over {looked}" if looked else ALONE,
            effects=f"{a}_minus_{b}",
            gate=gate,
            what=f"{what[0].upper()}{what[1:]}",
            one=TITLES[a],
            other=TITLES[b],
        )
        gate = "... "


def _helps(old: _Effect, holm: float, looked: int, cost: _Effect) -> str:
    if old.few:
        return f"not shown: {old.few}"
    if not (old.low > 0 or old.high < 0):
        return "no difference shown: the interval holds 0"
    word = f"helps{'; new tasks pay' if cost.high < 0 else ''}" if old.low > 0 else "harms"
    return word if not holm > 0.05 else f"{word} taken alone; not shown among {looked} comparisons (Holm)"


def _others(
    told: _Told, units: pd.DataFrame, methods: pd.DataFrame, drift: pd.DataFrame, cost: xr.Dataset | None
) -> None:
    if "averaging" in set(units.method):
        mean = told.effect("averaging_instruction", paired(units, "averaging", PLAIN, INSTRUCTION))
        final = told.effect("averaging_final", paired(units, "averaging", PLAIN, "final"))
        told.rows.add(
            "averaging",
            f"by instruction {mean.text}; FP {final.text}",
            mean.n,
            judged(mean, mean.low > 0, mean.high < 0),
            effects="averaging_instruction",
        )
    _drawing_on_old_rows(told, units)
    rows = methods[(methods.metric == INSTRUCTION) & methods.difference.notna()]
    if len(rows):
        final = methods[methods.metric == "final"].set_index("method")
        allowed = rows[rows.method.map(lambda m: final.difference[m] > -TOLERANCE)]
        if allowed.empty:
            told.rows.add(
                "best",
                "none: every method costs more than that",
                f"{_seeds(int(rows.seeds.max()))}, {int(rows.units.max())} units",
                "descriptive",
                points=f"{100 * TOLERANCE:g}",
                count=len(rows),
            )
        else:
            best = allowed.sort_values("mean").iloc[-1]
            bounds = f" [{best.low:+.2f}, {best.high:+.2f}]" if np.isfinite(best.low) else ""
            told.numbers |= {"best_method": str(best.method), "best_instruction": float(best["mean"])}
            told.rows.add(
                "best",
                f"{TITLES[str(best.method)]}: {best['mean']:.2f} (plain {best['mean'] - best.difference:.2f}):"
                f" {best.difference:+.2f}{bounds}; FP {final['mean'][best.method]:.2f} (plain"
                f" {final['mean'][PLAIN]:.2f})",
                f"{_seeds(int(best.seeds))}, {int(best.units)} units",
                "descriptive",
                points=f"{100 * TOLERANCE:g}",
                count=len(rows),
            )
    beyond = _beyond_the_line(units)
    if len(beyond):
        told.numbers |= {f"beyond_{m}": float(v.mean()) for m, v in beyond.items()}
        told.rows.add(
            "beyond",
            "; ".join(
                f"{TITLES[m]} {v.mean():+.2f}" + (f" (seeds {', '.join(f'{x:+.2f}' for x in v)})" if len(v) > 1 else "")
                for m, v in beyond.items()
            ),
            f"{len(next(iter(beyond.values())))} seed(s)",
            "descriptive",
        )
    part = drift[drift.method == PLAIN].groupby("part").drift.mean() if len(drift) else pd.Series(dtype=float)
    if len(part):
        told.numbers |= {f"drift_{p}": float(v) for p, v in part.items()}
        told.rows.add(
            "drift",
            ", ".join(f"{p} {v:.3f}" for p, v in part.items()),
            f"{drift.seed.nunique()} seed{'s' * (drift.seed.nunique() > 1)}",
            "descriptive",
        )
    if cost is not None:
        ratio = student(cost.ratios.values)
        told.numbers |= {"step_ratio": float(ratio.estimate), "step_seconds": float(cost.plain)}
        told.rows.add(
            "cost",
            f"ratio {shown(ratio)}; {float(cost.plain):.3f} s plain",
            f"{cost.sizes['repeat']} repeats of 3 steps",
            "holds"
            if ratio.high <= 1.3
            else "does not hold"
            if ratio.low > 1.3
            else "not shown: the interval holds 1.3",
        )


def _drawing_on_old_rows(told: _Told, units: pd.DataFrame) -> None:
    """EWC and replay are given old rows: apart, the tasks with questions that are not among them, and those that ask
    all that there are.
    """
    for method in ("ewc", "replay"):
        of = units[(units.method == method) & (units["kind"] == INSTRUCTION)]
        if of.empty or "seen" not in of or not of.seen.any():
            continue
        kept = paired(units, method, PLAIN, INSTRUCTION)
        asked = kept.index.get_level_values("probe").isin(of[of.seen].probe.unique())
        fresh, again = told.effect(f"{method}_unseen", kept[~asked]), told.effect(f"{method}_seen", kept[asked])
        told.rows.add(
            "unseen",
            f"minus plain, by instruction: other questions {fresh.text}; the same questions {again.text}",
            fresh.n,
            judged(fresh, fresh.low > 0, fresh.high < 0),
            effects=f"{method}_unseen",
            method=TITLES[method],
        )


def _beyond_the_line(
    units: pd.DataFrame,
    methods: tuple[str, ...] = ("guided", "heads_only", "kl_start_strong", "averaging", "ewc", "freeze_bottom"),
) -> dict[str, np.ndarray]:
    """By method, for every seed, how far its old tasks stand above the line on which a method lies that only learns
    less: from the start model (AP 0) to plain fine-tuning.
    """

    def of(method, metric):
        return frames.measured(units, method, metric).groupby(level="seed").mean()

    start = units[(units.method == PLAIN) & (units["kind"] == INSTRUCTION)].groupby("seed").before.mean()
    lost, learnt = start - of(PLAIN, INSTRUCTION), of(PLAIN, "own")
    if (learnt <= 0).any():
        return {}
    return {
        m: (of(m, INSTRUCTION) - (start - lost * of(m, "own") / learnt)).dropna().values
        for m in methods
        if m in set(units.method)
    }
