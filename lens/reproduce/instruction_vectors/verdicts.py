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

from typing import Any

import pandas as pd
import xarray as xr

from ... import forgetting
from ..common import EVERY, several, table_of
from . import tables as frames
from .method_verdicts import judge_methods
from .rules import JudgedRows, above, below, judged
from .steps import READINGS
from .tables import LEAST_EVALUATIONS, PLAIN
from .tasks import IN_CONTEXT, INSTRUCTION, KNOWLEDGE

#: a task counts as forgotten, so that something can be recovered, where its accuracy by instruction fell by more
LOST = 0.1
#: where a task was answered more rarely at the start, there is nothing to lose: it is left out of what is lost
LEAST = 0.1


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
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers, from the study's `tables`."""
    rows = JudgedRows(units, seed)
    _what_is_lost(rows)
    _vectors_and_loss(rows, of_plain(points))
    _heads(rows, of_plain(sets))
    _putting_back(rows, of_plain(recovery))
    judge_methods(rows, methods, of_plain(drift), cost)
    return table_of(rows), rows.numbers


def of_plain(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of plain fine-tuning."""
    return table[table.method == PLAIN] if len(table) else table


def _what_is_lost(rows: JudgedRows) -> None:
    plain = of_plain(rows.units).set_index(["seed", "probe"])
    by, able = plain["kind"], plain.before >= LEAST
    instruction, in_context, facts = (
        plain[(by == INSTRUCTION) & able],
        plain[(by == IN_CONTEXT) & able],
        plain[by == KNOWLEDGE],
    )
    if instruction.empty:
        rows.add(
            "nothing_lost",
            f"the start model answers none of the old tasks in {100 * LEAST:g} % of the cases",
            "0 units",
            "not measured: nothing to lose",
        )
        return

    def fall(of: pd.DataFrame) -> str:
        return f"{of.before.mean():.2f} to {of.after.mean():.2f}"

    change = rows.effect("instruction_change", instruction.change)
    rows.add("loses", f"{fall(instruction)}: {change.text}", change.n, below(change), effects="instruction_change")
    apart = rows.effect("instruction_minus_knowledge", instruction.change - instruction.partner)
    here = f"facts {fall(facts)}; change by instruction minus change of the facts {apart.text}"
    rows.add("rather", here, apart.n, below(apart), effects="instruction_minus_knowledge")
    same = (
        in_context.rename(index=lambda p: p.removesuffix(", shown"), level="probe").change - instruction.change
    ).dropna()
    if len(same):
        more = rows.effect("in_context_minus_instruction", same)
        here = f"shown {fall(in_context)}; change when shown minus change when told {more.text}"
        rows.add("in_context", here, more.n, below(more), effects="in_context_minus_instruction")
    gap = rows.effect("stability_gap", instruction.gap)
    looked = instruction.gap.notna().any()
    rows.add(
        "gap",
        f"mean over stages {gap.text}" if looked else "nothing was evaluated between the start and the end of a stage",
        gap.n if looked else "0 units",
        "descriptive: never negative by definition" if looked else "not measured: no evaluation within a stage",
        effects="stability_gap",
    )


def _vectors_and_loss(rows: JudgedRows, points: pd.DataFrame) -> None:
    if points.empty:
        return
    last = points[points["at"] == points["at"].max()].set_index(["seed", "task"])
    alike = rows.effect("similarity_after", last[READINGS[0]])
    first = points[points["at"] == 0].set_index(["seed", "task"]).accuracy
    rows.add(
        "stays",
        f"cosine at the end {alike.text}; the accuracy of these tasks {first.mean():.2f} to {last.accuracy.mean():.2f}",
        alike.n,
        judged(alike, alike.low > 0.9, alike.high < 0.9, otherwise="the interval holds .9"),
        effects="similarity_after",
    )
    table, evaluations = frames.correlations(points), int(points.groupby(["seed", "task"]).size().max())
    if table.empty:
        few = evaluations < LEAST_EVALUATIONS
        still = "no task's accuracy moved"
        rows.add(
            "follows",
            f"{evaluations} evaluations a task: r over fewer than {LEAST_EVALUATIONS} says nothing" if few else still,
            f"{several(points.seed.nunique(), 'seed')} x {points.task.nunique()} tasks x {evaluations} evaluations",
            f"not shown: {evaluations} evaluations" if few else f"not measured: {still}",
        )
    else:
        table = table.set_index(["seed", "task"])
        vector, hidden, instructed = (table[name] for name in READINGS[:3])
        own = rows.effect("r_similarity", vector)
        over_l2 = rows.effect("r_similarity_minus_distance", vector - table.distance)
        over_hidden = rows.effect("r_similarity_minus_hidden", vector - hidden)
        rows.add(
            "follows",
            f"r {own.text}; minus r of the distance (negated) {over_l2.text}; minus r of the hidden state"
            f" {over_hidden.text}; the vector read from instructions"
            f" {rows.effect('r_instruction_vector', instructed).text}",
            f"{own.n}, {evaluations} evaluations each",
            above(over_l2, over_hidden, part=max(over_l2.low, over_hidden.low) > 0),
            EVERY,
            effects=("r_similarity_minus_distance", "r_similarity_minus_hidden"),
        )
    between = frames.between_tasks(points)
    if len(between):
        rows.numbers["rho_between_tasks"] = between[READINGS[0]].tolist()
        each = [
            f"seed {int(r['seed'])}: {', '.join(f'{name} {r[name]:+.2f}' for name in READINGS[:3])}"
            for r in between.to_dict("records")
        ]
        n = f"{several(len(between), 'seed')}, {int(between.tasks.iloc[0])} tasks each"
        rows.add("which_tasks", "; ".join(each), n, "descriptive")


def _heads(rows: JudgedRows, sets: pd.DataFrame) -> None:
    if sets.empty or (sets := sets[sets.task != "universal"]).empty:
        return
    sets = sets.set_index(["seed", "task"])
    alike, rho = rows.effect("jaccard", sets.jaccard), rows.effect("rho_heads", sets.rho)
    chance = float(sets.chance.iloc[0])
    otherwise = "the interval holds what chance gives"
    rows.add(
        "heads_stay",
        f"Jaccard {alike.text}, by chance {chance:.2f}; rho over all heads {rho.text}",
        alike.n,
        judged(alike, alike.low > chance, alike.high < chance, otherwise=otherwise),
        k=int(sets.k.iloc[0]),
        total=int(sets["heads"].iloc[0]),
    )


def _putting_back(rows: JudgedRows, recovery: pd.DataFrame) -> None:
    if recovery.empty or (recovery := recovery[recovery.lost > LOST]).empty:
        rows.add(
            "nothing_to_recover",
            f"no task lost more than {LOST:g} on the reporting half",
            "0 units",
            "not measured: nothing was lost",
        )
        return
    by = {str(c): of.set_index(["seed", "task"]) for c, of in recovery.groupby("condition")}

    def put(vector: str, random: str, name: str) -> tuple:
        """Recovery by a vector, by random ones, and one minus the other; and the verdict that both the first and the
        last are above 0.
        """
        one, other = by[vector].difference, by[random].difference
        gain, chance = rows.effect(f"recovery_{vector}", one), rows.effect(name, other)
        beyond = rows.effect(f"recovery_{vector}_minus_random", one - other)
        holds, fails = gain.low > 0 and beyond.low > 0, gain.high <= 0 or beyond.high < 0
        return gain, chance, beyond, judged((gain, beyond), holds, fails, part=gain.low > 0)

    old = by["old"]
    gain, chance, beyond, word = put("old", "random", "recovery_random")
    share = float(old.difference.sum() / old.lost.sum())
    rows.numbers["recovery_share"] = share
    rows.add(
        "recovers",
        f"{old.base.mean():.2f} to {old.accuracy.mean():.2f}: {gain.text}, {100 * share:.0f} % of the"
        f" loss{' (more than was lost: it also does what the start model did not do)' if share > 1 else ''}; random"
        f" {chance.text}; old minus random {beyond.text}",
        gain.n,
        word,
        EVERY,
        effects=("recovery_old", "recovery_old_minus_random"),
        lost=f"{LOST:g}",
        draws=int(by["random"].draws.iloc[0]) if "draws" in by["random"] else 1,
    )
    if "new" in by:
        gain, chance, beyond, word = put("new", "random of new", "recovery_new_random")
        rows.add(
            "away",
            f"{gain.text}; a random one taken away {chance.text}; new minus random {beyond.text}",
            gain.n,
            word,
            EVERY,
            effects=("recovery_new", "recovery_new_minus_random"),
        )
