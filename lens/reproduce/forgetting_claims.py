"""The claims of Instruction Vectors (Jiang et al. 2024) and of vector-guided training (Jiang et al. 2025) against what was measured; the verdict follows from the interval by
the rule in the row.

The unit of an effect is a task of a seed (where methods are compared, the same unit under both), its interval a BCa bootstrap over units; tasks of a seed share a model, so that
the interval speaks of tasks like these more than of other models: the mean of every seed stands beside it. Values of the papers are quoted where they were read in the papers'
text or tables, or in a secondary source, which is then said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import forgetting
from . import forgetting_frames as frames
from .common import shown, table_of, verdict
from .forgetting_frames import PLAIN, over, paired
from .forgetting_steps import READINGS
from .forgetting_studies import IN_CONTEXT, INSTRUCTION, KNOWLEDGE, TITLES

#: a task counts as forgotten, so that something can be recovered, where its accuracy by instruction fell by more
LOST = 0.1
#: where a task was answered more rarely at the start, there is nothing to lose: it is left out of what is lost
LEAST = 0.1
#: points of final performance that a method may cost (gate G8)
TOLERANCE = 0.02
#: what the head term and the KL do: (one method, another, what their difference shows)
ABLATIONS = (("kl_vector", "kl_start", "the vector in the KL's target"), ("kl_vector", "kl_random", "the own vector rather than a random one"),
             ("guided", "kl_start", "the whole loss rather than the KL alone"),
             ("guided", "heads_only", "the KL with the vector, over the head term alone"), ("heads_only", PLAIN, "the head term alone"), ("kl_start", PLAIN, "the KL alone"),
             ("kl_vector_strong", "kl_start_strong", "the vector in the KL's target, at weight 1"), ("kl_start_strong", PLAIN, "the KL alone, at weight 1"))


def one_line(ds: xr.Dataset) -> str:
    """A sequence in a line: old tasks by instruction and demonstrations, facts, and AP and FP of the new tasks."""
    s = forgetting.summary(ds)
    kinds = ((INSTRUCTION, "instruction"), (IN_CONTEXT, "in context"), (KNOWLEDGE, "facts"))
    old = ", ".join(f"{name} {s[f'{kind} before']:.2f} -> {s[f'{kind} after']:.2f}" for kind, name in kinds if f"{kind} before" in s)
    return f"{old}; new tasks AP {s['AP']:.2f}, FP {s['FP']:.2f}"


def verdicts(*, units: pd.DataFrame, methods: pd.DataFrame, curves: pd.DataFrame, recovery: pd.DataFrame, points: pd.DataFrame, sets: pd.DataFrame, drift: pd.DataFrame,
             cost: xr.Dataset | None,
             seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | verdict* and its numbers, from the tables of `forgetting_frames`."""
    told = _Told(seed)
    _what_is_lost(told, units)
    _vectors_and_loss(told, points, units)
    _heads(told, sets)
    _putting_back(told, recovery)
    _training(told, units)
    _ablation(told, units)
    _others(told, units, methods, drift, cost)
    return table_of(told.rows), told.numbers


class _Told:
    """Rows and numbers as they are made."""

    def __init__(self, seed: int):
        self.seed, self.rows, self.numbers = seed, [], {}

    def row(self, *cells: Any) -> None:
        self.rows.append(cells)

    def effect(self, name: str, values: pd.Series) -> tuple[Any, str, str]:
        """Interval over units, as text with the mean of every seed, and n as text."""
        interval = over(values.values, self.seed)
        self.numbers |= {name: float(interval.estimate), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high), f"{name}_n": len(values)}
        by = values.groupby(level="seed").mean()
        text = shown(interval, sign=True) + (f" (seeds {', '.join(f'{v:+.2f}' for v in by)})" if len(by) > 1 else "")
        each, odd = divmod(len(values), max(1, len(by)))
        seeds = f"{len(by)} seed{'s' * (len(by) > 1)}"
        return interval, text, f"{len(values)} units: " + (f"tasks of {seeds}" if odd else f"{seeds} x {each} tasks")


def _what_is_lost(told: _Told, units: pd.DataFrame) -> None:
    plain = units[units.method == PLAIN].set_index(["seed", "probe"])
    told_, shown_ = plain[(plain["kind"] == INSTRUCTION) & (plain.before >= LEAST)], plain[(plain["kind"] == IN_CONTEXT) & (plain.before >= LEAST)]
    if told_.empty:
        told.row("G5. The instruction is lost rather than the knowledge", "instruction -10.24, knowledge +1.93 points (secondary source)",
                 f"the start model answers none of the old tasks in {100 * LEAST:g} % of the cases", "0 units", "not measured: nothing to lose")
        return
    interval, text, n = told.effect("instruction_change", told_.change)
    told.row("Fine-tuning on new tasks loses old ones asked for by instruction", "-10.24 points of instruction accuracy (Llama-2-7B-chat; secondary source)",
             f"{told_.before.mean():.2f} to {told_.after.mean():.2f}: {text}", n, verdict(interval.high < 0, interval.low > 0))
    apart, text, n = told.effect("instruction_minus_knowledge", told_.change - told_.partner)
    facts = plain[plain["kind"] == KNOWLEDGE]
    told.row("G5. The instruction is lost rather than the knowledge: accuracy by instruction falls more than that of the facts that the task looks up (of all facts "
             "where it looks up none)", "instruction -10.24, knowledge +1.93 points (secondary source)",
             f"facts {facts.before.mean():.2f} to {facts.after.mean():.2f}; change by instruction minus change of the facts {text}", n,
             verdict(apart.high < 0, apart.low > 0))
    same = (shown_.rename(index=lambda p: p.removesuffix(", shown"), level="probe").change - told_.change).dropna()
    if len(same):
        more, text, n = told.effect("in_context_minus_instruction", same)
        told.row("Learning from demonstrations suffers more than following the instruction",
                 "5-shot -19.60, zero-shot -4.48 points (Llama-2-7B, sequence C1; table 1 of the second paper)",
                 f"shown {shown_.before.mean():.2f} to {shown_.after.mean():.2f}; change when shown minus change when told {text}", n, verdict(more.high < 0, more.low > 0))
    _, text, n = told.effect("stability_gap", told_.gap)
    told.row("On the way old tasks dip below both ends of a stage (stability gap; between evaluations nothing is seen)", "not measured", f"mean over stages {text}", n,
             "descriptive: never negative by definition")


def _vectors_and_loss(told: _Told, points: pd.DataFrame, units: pd.DataFrame) -> None:
    plain = points[points.method == PLAIN] if len(points) else points
    if plain.empty:
        return
    last = plain[plain["at"] == plain["at"].max()].set_index(["seed", "task"])
    kept, text, n = told.effect("similarity_after", last[READINGS[0]])
    first = plain[plain["at"] == 0].set_index(["seed", "task"]).accuracy
    told.row("The vector stays (cosine with its start near .95) while the task is lost", "cosine about .95 while accuracy falls from 65 % to 1 % (Last-Spanish; secondary source)",
             f"cosine at the end {text}; the accuracy of these tasks {first.mean():.2f} to {last.accuracy.mean():.2f}", n,
             "holds" if kept.low > 0.9 else "does not hold" if kept.high < 0.9 else "not shown: the interval holds .9")
    table = frames.correlations(plain)
    if len(table) < 2:
        told.row("G6. The vector's similarity follows the accuracy more closely than the weights' distance and the hidden state do",
                 "R² .873 (Hellaswag, sequence G1; text of the second paper)",
                 "fewer than two tasks whose accuracy moved over at least four evaluations", f"{len(table)} units", "not measured: too few evaluations")
        return
    table = table.set_index(["seed", "task"])
    _, own, n = told.effect("r_similarity", table[READINGS[0]])
    over_l2, first_text, _ = told.effect("r_similarity_minus_distance", table[READINGS[0]] - table.distance)
    over_hidden, second_text, _ = told.effect("r_similarity_minus_hidden", (table[READINGS[0]] - table[READINGS[1]]).dropna())
    _, told_text, _ = told.effect("r_instruction_vector", table[READINGS[2]])
    told.row("G6. The vector's similarity follows the accuracy more closely than the weights' distance and the last hidden state do (r over a task's evaluations)",
             "R² .873 (Hellaswag, sequence G1), the two controls uncorrelated; Object Count: no correlation (text of the second paper)",
             f"r {own}; minus r of the distance (negated) {first_text}; minus r of the hidden state {second_text}; the vector read from instructions {told_text}", n,
             verdict(over_l2.low > 0 and over_hidden.low > 0, over_l2.high < 0 or over_hidden.high < 0, part=max(over_l2.low, over_hidden.low) > 0))
    between = frames.between_tasks(plain)
    if len(between):
        told.numbers["rho_between_tasks"] = between[READINGS[0]].tolist()
        each = lambda r: ", ".join(f"{name} {r[name]:+.2f}" for name in READINGS[:3])
        told.row("... and it tells which tasks are lost (rho over the old tasks at the end; control that the paper lacks)", "not measured",
                 "; ".join(f"seed {int(r['seed'])}: {each(r)}" for r in between.to_dict("records")), f"{len(between)} seeds, {int(between.tasks.iloc[0])} tasks each",
                 "descriptive")


def _heads(told: _Told, sets: pd.DataFrame) -> None:
    rows = sets[(sets.method == PLAIN) & (sets.task != "universal")] if len(sets) else sets
    if rows.empty:
        return
    rows = rows.set_index(["seed", "task"])
    jaccard, text, n = told.effect("jaccard", rows.jaccard)
    k, total, chance = int(rows.k.iloc[0]), int(rows["heads"].iloc[0]), float(rows.chance.iloc[0])
    _, rho, _ = told.effect("rho_heads", rows.rho)
    told.row(f"Of the strongest heads more stay than chance would keep (Jaccard of the {k} strongest of {total})",
             "ten strongest heads drift slowly, only the tail of the list changes (figure 10 of the second paper)",
             f"Jaccard {text}, by chance {chance:.2f}; rho over all heads {rho}", n,
             "holds" if jaccard.low > chance else "does not hold" if jaccard.high < chance else "not shown: the interval holds what chance gives")


def _putting_back(told: _Told, recovery: pd.DataFrame) -> None:
    rows = recovery[recovery.method == PLAIN] if len(recovery) else recovery
    rows = rows[rows.lost > LOST] if len(rows) else rows
    units = rows[["seed", "task"]].drop_duplicates() if len(rows) else rows
    if len(units) < 2:
        told.row("G7. Adding the old vector brings lost tasks back, a random one does not",
                 ".03 to .47 (Last-Spanish; secondary source); +7.3 points (Hellaswag, G1; text of the second paper)",
                 f"fewer than two tasks lost more than {LOST:g} on the reporting half", f"{len(units)} units", "not measured: nothing was lost")
        return
    by = {str(c): of.set_index(["seed", "task"]) for c, of in rows.groupby("condition")}
    old, text, n = told.effect("recovery_old", by["old"].difference)
    random, random_text, _ = told.effect("recovery_random", by["random"].difference)
    beyond, beyond_text, _ = told.effect("recovery_old_minus_random", by["old"].difference - by["random"].difference)
    share = float(by["old"].difference.sum() / by["old"].lost.sum())
    told.numbers["recovery_share"] = share
    told.row(f"G7. Adding the old vector brings back tasks that were lost (by more than {LOST:g}), a random one does not",
             ".03 to .47 (Last-Spanish; secondary source); +7.3 points (Hellaswag, G1; text of the second paper)",
             f"{by['old'].base.mean():.2f} to {by['old'].accuracy.mean():.2f}: {text}, {100 * share:.0f} % of the loss"
             f"{' (more than was lost: it also does what the start model did not do)' if share > 1 else ''}; random {random_text}; old minus random {beyond_text}", n,
             verdict(old.low > 0 and beyond.low > 0, old.high <= 0 or beyond.high < 0, part=old.low > 0))
    if "new" in by:
        away, text, n = told.effect("recovery_new", by["new"].difference)
        _, random_text, _ = told.effect("recovery_new_random", by["random of new"].difference)
        gain, gain_text, _ = told.effect("recovery_new_minus_random", by["new"].difference - by["random of new"].difference)
        told.row("... and so does taking the new task's vector away", "39.5 to 49.1 (Hellaswag, C1; text of the second paper)",
                 f"{text}; a random one taken away {random_text}; new minus random {gain_text}", n,
                 verdict(away.low > 0 and gain.low > 0, away.high <= 0 or gain.high < 0, part=away.low > 0))


def _training(told: _Told, units: pd.DataFrame) -> None:
    present = set(units.method)
    for label, title in (("guided", "G8. Training with the vector (the paper's loss)"), ("guided_released", "... as their released code does it"),
                         ("progressive", "... by adding the vector and fading it out"),
                         ("progressive_kl", "... fading it out, with the KL")):
        if label not in present:
            continue
        less, text, n = told.effect(f"{label}_forget", paired(units, label, PLAIN, "forget"))
        final, final_text, _ = told.effect(f"{label}_final", paired(units, label, PLAIN, "final"))
        told.row(f"{title}: less forgetting of new tasks (AP - FP), at most {100 * TOLERANCE:g} points of final performance (FP) given up",
                 "FP +2.84 (table 2), +.84 (table 8, the same cell) points (Llama-2-7B, G1)" if label == "guided" else "not measured",
                 f"AP - FP minus plain's {text}; FP minus plain's {final_text}", n,
                 verdict(less.high < 0 and final.low > -TOLERANCE, less.low > 0 or final.high < -TOLERANCE,
                         "less is forgotten, but final performance falls" if less.high < 0 and final.high < -TOLERANCE else "",
                         part=less.high < 0 and final.high >= -TOLERANCE))
        old, old_text, n = told.effect(f"{label}_instruction", paired(units, label, PLAIN, INSTRUCTION))
        _, shown_text, _ = told.effect(f"{label}_in_context", paired(units, label, PLAIN, IN_CONTEXT))
        _, fact_text, _ = told.effect(f"{label}_knowledge", paired(units, label, PLAIN, KNOWLEDGE))
        told.row("... and it keeps old tasks better", "GP +5.44, IP +17.52 points on average (Llama-2-7B; text of the second paper)" if label == "guided" else "not measured",
                 f"by instruction {old_text}; shown {shown_text}; facts {fact_text}", n, verdict(old.low > 0, old.high < 0))


def _ablation(told: _Told, units: pd.DataFrame) -> None:
    gate = "G9. Is it the vector, or just the KL to the start model? "
    for a, b, what in ABLATIONS:
        old = paired(units, a, b, INSTRUCTION)
        if old.empty:
            continue
        apart, text, n = told.effect(f"{a}_minus_{b}", old)
        _, shown_text, _ = told.effect(f"{a}_minus_{b}_in_context", paired(units, a, b, IN_CONTEXT))
        cost, final, _ = told.effect(f"{a}_minus_{b}_final", paired(units, a, b, "final"))
        told.row(f"{gate}{what[0].upper()}{what[1:]}: {TITLES[a]} minus {TITLES[b]}", "not measured", f"old tasks by instruction {text}; shown {shown_text}; FP {final}", n,
                 f"helps{'; new tasks pay' if cost.high < 0 else ''}" if apart.low > 0 else "harms" if apart.high < 0 else "no difference shown: the interval holds 0")
        gate = "... "


def _others(told: _Told, units: pd.DataFrame, methods: pd.DataFrame, drift: pd.DataFrame, cost: xr.Dataset | None) -> None:
    if "averaging" in set(units.method):
        mean, text, n = told.effect("averaging_instruction", paired(units, "averaging", PLAIN, INSTRUCTION))
        _, final, _ = told.effect("averaging_final", paired(units, "averaging", PLAIN, "final"))
        told.row("Averaging with the start model (ratio .2) keeps old tasks too", "GP +.87, IP +10.35, FP +1.46 points (Llama-2-7B, G1, table 8)",
                 f"by instruction {text}; FP {final}", n, verdict(mean.low > 0, mean.high < 0))
    rows = methods[(methods.metric == INSTRUCTION) & methods.difference.notna()]
    if len(rows):
        final = methods[methods.metric == "final"].set_index("method")
        allowed = rows[rows.method.map(lambda m: final.difference[m] > -TOLERANCE)]
        what = f"Which method keeps most of the old tasks at a mean cost of at most {100 * TOLERANCE:g} points of FP? (chosen on the numbers shown: {len(rows)} methods tried)"
        if allowed.empty:
            told.row(what, "not compared with these", "none: every method costs more than that", f"{int(rows.units.iloc[0])} units", "descriptive")
        else:
            best = allowed.sort_values("mean").iloc[-1]
            told.numbers |= {"best_method": str(best.method), "best_instruction": float(best["mean"])}
            told.row(what, "not compared with these",
                     f"{TITLES[str(best.method)]}: {best['mean']:.2f} (plain {best['mean'] - best.difference:.2f}): {best.difference:+.2f} [{best.low:+.2f}, {best.high:+.2f}]; "
                     f"FP {final['mean'][best.method]:.2f} (plain {final['mean'][PLAIN]:.2f})", f"{int(best.units)} units", "descriptive")
    beyond = _beyond_the_line(units)
    if len(beyond):
        told.numbers |= {f"beyond_{m}": float(v.mean()) for m, v in beyond.items()}
        told.row("What is kept beyond what learning less would keep (accuracy by instruction above the straight line from the start model to "
                 "plain fine-tuning, at the AP of each)?", "not measured",
                 "; ".join(f"{TITLES[m]} {v.mean():+.2f}" + (f" (seeds {', '.join(f'{x:+.2f}' for x in v)})" if len(v) > 1 else "") for m, v in beyond.items()),
                 f"{len(next(iter(beyond.values())))} seed(s)", "descriptive")
    part = drift[drift.method == PLAIN].groupby("part").drift.mean() if len(drift) else pd.Series(dtype=float)
    if len(part):
        told.numbers |= {f"drift_{p}": float(v) for p, v in part.items()}
        told.row("Which weights move? (relative change, plain fine-tuning)", "not measured",
                 ", ".join(f"{p} {v:.3f}" for p, v in part.items()), f"{drift.seed.nunique()} seed{'s' * (drift.seed.nunique() > 1)}",
                 "descriptive")
    if cost is not None:
        ratio = over(cost.ratios.values, told.seed)
        told.numbers |= {"step_ratio": float(ratio.estimate), "step_seconds": float(cost.plain)}
        told.row("A training step with the vector loss costs at most 1.3 of a plain one (teacher kept beforehand)", "not measured; two more forwards a step in their code",
                 f"ratio {shown(ratio)}; {float(cost.plain):.3f} s plain",
                 f"{cost.sizes['repeat']} repeats of 3 steps", "holds" if ratio.high <= 1.3 else "does not hold" if ratio.low > 1.3 else "not shown: the interval holds 1.3")


def _beyond_the_line(units: pd.DataFrame, methods: tuple[str, ...] = ("guided", "heads_only", "kl_start_strong", "averaging", "ewc", "freeze_bottom")) -> dict[str, np.ndarray]:
    """By method, for every seed, how far its old tasks stand above the line on which a method lies that only learns less: from the start model (AP 0) to plain fine-tuning."""
    of = lambda method, metric: frames.measured(units, method, metric).groupby(level="seed").mean()
    start = units[(units.method == PLAIN) & (units["kind"] == INSTRUCTION)].groupby("seed").before.mean()
    lost, learnt = start - of(PLAIN, INSTRUCTION), of(PLAIN, "own")
    if (learnt <= 0).any():
        return {}
    return {m: (of(m, INSTRUCTION) - (start - lost * of(m, "own") / learnt)).values for m in methods if m in set(units.method)}
