"""The claims of Function Vectors (Todd et al. 2024) against what was measured, and gates with a fixed threshold; the
verdict follows from the interval by the rule in the row.

An effect's unit is the task (mean over seeds and questions), its interval Student's t over tasks: it speaks of tasks
like these, not of questions. With one task there is no interval and no verdict. That two things do equally well holds
where the interval of their difference lies within `MARGIN`; that no difference was seen is no evidence of it. Values of
the paper are quoted where they were read in the authors' code or in a secondary source, which is then said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import stats, vectors
from ...results import dataset as results
from ...vectors.heads import require_same_prompts
from ..claims import Rows
from ..common import EVERY, shown, student, table_of, verdict
from . import tables as frames
from .claims import CLAIMS
from .steps import AVERAGE, DISTRIBUTED, INSTRUCTION, OTHER, OWN, RANDOM, TOKENS, UNIVERSAL, is_draw
from .tables import ICL, NONE, THIRD

#: "About ten" heads: the most that a replication needed in models with as many key heads as query heads.
ENOUGH = 11
#: Accuracies that differ by no more than this are called equal.
MARGIN = 0.05


def over_tasks(values: Any) -> stats.Interval:
    """Mean over tasks with Student's t; values that are NaN (a task lacks the measure) are left out, and fewer than two
    have no bounds.
    """
    return student(values)


def ruled(word: str, *intervals: stats.Interval) -> str:
    """A verdict, where every interval that it follows from is there."""
    return (
        word
        if all(np.isfinite((i.low, i.high)).all() for i in intervals)
        else "not shown: no interval (too few units, or all alike)"
    )


def equal(difference: stats.Interval, above: str, below: str) -> str:
    """The verdict of a claim that two accuracies are equal, and what to say where the difference is shown to be above
    or below zero by what may be more than `MARGIN`.
    """
    if -MARGIN < difference.low and difference.high < MARGIN:
        return f"holds: within {MARGIN:g}"
    return ruled(
        (
            above
            if difference.low > 0
            else below
            if difference.high < 0
            else f"not shown: the interval reaches beyond {MARGIN:g}"
        ),
        difference,
    )


def by_seeds(values: Mapping[tuple[int, str], float]) -> pd.Series:
    """Values by seed and task as one a task, the mean over its seeds."""
    return pd.Series({key: float(v) for key, v in values.items()}).groupby(level=1, sort=False).mean()


def verdicts(
    parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]],
    composed: Sequence[xr.Dataset],
    *,
    depth: int,
    k: int,
    usable: float = 0.5,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers.

    ``parts``: by seed and task, the stored steps by name. ``composed``: one Dataset a quartet of list tasks. ``depth``:
    layers of the model. ``k``: heads in a vector. ``usable``: share of the prompts that a model must answer by
    instruction for what instruction vectors do to be measured on it.

    Raises: VectorError: estimates of other prompts than those of the exact effects.
    """
    tasks, seeds = list(dict.fromkeys(t for _, t in parts)), len({s for s, _ in parts})
    answers, report = frames.answers(parts), frames.report(parts, depth)
    rows = Rows(CLAIMS)
    numbers: dict[str, Any] = {"tasks": tasks, "seeds": seeds}
    over = over_tasks

    def n_of(of):
        return f"{len(tasks)} tasks, {int(of.n.sum())} questions" + (f", {seeds} seeds" if seeds > 1 else "")

    def effect(name: str, a: pd.Series, b: pd.Series) -> Any:
        interval = over((a - b).reindex(tasks).values)
        numbers.update(
            {
                f"{name}{part}": float(getattr(interval, which))
                for part, which in (("", "estimate"), ("_low", "low"), ("_high", "high"))
            }
        )
        return interval

    icl, shuffled, bare = (frames.by_task(answers, condition=c) for c in ("icl", "shuffled", "zero_shot"))
    gap, lost = (
        effect("icl_minus_shuffled", icl, shuffled),
        effect("more_than_half_lost", icl - shuffled, shuffled - bare),
    )
    rows.add(
        "demonstrations",
        f"ten shots {icl.mean():.2f}, shuffled {shuffled.mean():.2f}, none {bare.mean():.2f}; ten shots minus"
        f" shuffled {shown(gap)}; what is lost minus what is left of the gain {shown(lost, sign=True)}",
        n_of(answers[answers.condition == "icl"]),
        ruled(verdict(gap.low > 0 and lost.low > 0, gap.high < 0, part=gap.low > 0), gap, lost),
        EVERY,
        effects=("icl_minus_shuffled", "more_than_half_lost"),
    )

    share, top = _concentration(parts, k)
    many = over(share)
    heads = next(iter(parts.values()))["effects_demonstrations"]
    cells = heads.sizes["layer"] * heads.sizes["head"]
    numbers |= {
        "top_share": float(many.estimate),
        "top_share_low": float(many.low),
        "top_share_high": float(many.high),
        "top_head": top[0],
        "top_effect": top[1],
        "last_effect": top[2],
    }
    rows.add(
        "few_heads",
        f"share of the {k} strongest {shown(many)} ({k / cells:.2f} of the heads); mean over tasks: head"
        f" {top[0]} {top[1]:.3f}, the last of the {k} {top[2]:.3f}",
        f"{len(tasks)} tasks, {sum(p['effects_demonstrations'].sizes['prompt'] for p in parts.values())} prompts",
        ruled(
            (
                "holds"
                if many.low > 0.5
                else "does not hold"
                if many.high < 0.5
                else "not shown: the interval holds one half"
            ),
            many,
        ),
        effects="top_share",
        k=k,
        cells=cells,
    )

    zero = report[report.condition == "zero_shot"]
    by = {v: frames.by_task(zero, vector=v) for v in zero.vector.unique()}
    causal, beyond = (
        effect("vector_minus_base", by[UNIVERSAL], by[NONE]),
        effect("vector_minus_random", by[UNIVERSAL], by[RANDOM]),
    )
    rows.add(
        "causal",
        f"{by[NONE].mean():.2f} to {by[UNIVERSAL].mean():.2f} (heads chosen on other tasks):"
        f" {shown(causal, sign=True)}; minus random {shown(beyond, sign=True)}; ten shots reach"
        f" {by[ICL].mean():.2f}",
        n_of(zero[zero.vector == UNIVERSAL]),
        ruled(
            (
                "holds"
                if causal.low > 0.3 and beyond.low > 0.2
                else (
                    "does not hold"
                    if causal.high < 0.3 or beyond.high < 0.2
                    else "not shown: an interval holds its threshold"
                )
            ),
            causal,
            beyond,
        ),
        EVERY,
        effects=("vector_minus_base", "vector_minus_random"),
    )

    mixed = report[report.condition == "shuffled"]
    with_vector, without = frames.by_task(mixed, vector=UNIVERSAL), frames.by_task(mixed, vector=NONE)
    repaired = effect("shuffled_minus_base", with_vector, without)
    chance = effect("shuffled_random_minus_base", frames.by_task(mixed, vector=RANDOM), without)
    more = effect("shuffled_minus_random", with_vector, frames.by_task(mixed, vector=RANDOM))
    rows.add(
        "repairs",
        f"{without.mean():.2f} to {with_vector.mean():.2f}: {shown(repaired, sign=True)}; a random vector"
        f" {shown(chance, sign=True)}; minus it {shown(more, sign=True)}",
        n_of(mixed[mixed.vector == UNIVERSAL]),
        ruled(verdict(repaired.low > 0 and more.low > 0, repaired.high < 0 or more.high < 0), repaired, more),
        EVERY,
        effects=("shuffled_minus_base", "shuffled_minus_random"),
    )

    average = effect("vector_minus_average", by[UNIVERSAL], by[AVERAGE])
    rows.add(
        "average",
        f"layer average {by[AVERAGE].mean():.2f}; vector minus it {shown(average, sign=True)}",
        n_of(zero[zero.vector == AVERAGE]),
        ruled(verdict(average.low > 0, average.high < 0), average),
        effects="vector_minus_average",
    )

    if OTHER in by:
        specific = effect("vector_minus_other", by[UNIVERSAL], by[OTHER])
        rows.add(
            "specific",
            f"another task's vector {by[OTHER].mean():.2f}; own minus it {shown(specific, sign=True)}",
            n_of(zero[zero.vector == OTHER]),
            ruled(verdict(specific.low > 0, specific.high < 0), specific),
            effects="vector_minus_other",
        )

    own = effect("own_heads_minus_universal", by[OWN], by[UNIVERSAL])
    rows.add(
        "one_set",
        f"own heads {by[OWN].mean():.2f}; minus universal {shown(own, sign=True)}",
        n_of(zero[zero.vector == OWN]),
        equal(own, "does not hold", "holds: the heads of other tasks do better"),
        effects="own_heads_minus_universal",
        margin=f"{MARGIN:g}",
    )

    depths = np.array([zero[(zero.vector == UNIVERSAL) & (zero.task == t)].layer.mean() / depth for t in tasks])
    third = effect("chosen_minus_third", by[UNIVERSAL], by[THIRD])
    numbers |= {
        "depth_low": float(depths.min()),
        "depth_high": float(depths.max()),
        "at_third": float(by[THIRD].mean()),
    }
    rows.add(
        "third",
        f"chosen on validation at {depths.min():.2f} to {depths.max():.2f} of the depth; a third gives"
        f" {by[THIRD].mean():.2f}, the chosen layer {shown(third, sign=True)} more",
        n_of(zero[zero.vector == THIRD]),
        equal(third, "does not hold", "holds: a third does better"),
        effects="chosen_minus_third",
        margin=f"{MARGIN:g}",
    )

    curve = frames.counts(parts)
    if not curve.empty:
        curve, drawn = (
            curve[curve.choice == "top"],
            curve[(curve.choice == "random") & (curve["heads"] == curve["heads"].max())],
        )
        needed = [_needed(curve[curve.task == t]) for t in tasks if (curve.task == t).any()]
        enough = over(needed)
        numbers |= {
            "heads_needed": needed,
            "heads_needed_mean": float(enough.estimate),
            "heads_needed_low": float(enough.low),
            "heads_needed_high": float(enough.high),
        }
        rows.add(
            "ten_heads",
            f"mean over tasks {shown(enough, 1)}, from {min(needed):g} to {max(needed):g};"
            f" {drawn['heads'].iloc[0]} heads drawn at random reach {frames.by_task(drawn).mean():.2f}",
            n_of(curve[curve["heads"] == curve["heads"].iloc[0]]),
            ruled(
                (
                    "holds"
                    if enough.high <= ENOUGH
                    else "does not hold"
                    if enough.low > ENOUGH
                    else f"not shown: the interval holds {ENOUGH}"
                ),
                enough,
            ),
            effects="heads_needed",
            k=k,
        )

    if DISTRIBUTED in by:
        spread = effect("distributed_minus_vector", by[DISTRIBUTED], by[UNIVERSAL])
        rows.add(
            "distributed",
            f"{by[DISTRIBUTED].mean():.2f}; minus the sum at one layer {shown(spread, sign=True)}",
            n_of(zero[zero.vector == DISTRIBUTED]),
            ruled(verdict(spread.low > 0, spread.high < 0), spread),
            effects="distributed_minus_vector",
        )

    ported = frames.templates(parts)
    if not ported.empty:
        others = ported[ported.template != ported.template.iloc[0]]
        moved = effect("portability", frames.by_task(others, vector=UNIVERSAL), frames.by_task(others, vector=NONE))
        rows.add(
            "templates",
            f"{frames.by_task(others, vector=NONE).mean():.2f} to"
            f" {frames.by_task(others, vector=UNIVERSAL).mean():.2f} over {others.template.nunique()} other"
            f" templates: {shown(moved, sign=True)}",
            n_of(others[others.vector == UNIVERSAL]),
            ruled(verdict(moved.low > 0, moved.high < 0), moved),
            effects="portability",
        )

    for condition, what in (("written", "in the text"), ("text", "the next word")):
        natural = report[report.condition == condition]
        if natural.empty:
            continue
        put, blank = frames.by_task(natural, vector=UNIVERSAL), frames.by_task(natural, vector=NONE)
        said, random = (
            effect(condition, put, blank),
            effect(f"{condition}_random", frames.by_task(natural, vector=RANDOM), blank),
        )
        more = effect(f"{condition}_minus_random", put, frames.by_task(natural, vector=RANDOM))
        rows.add(
            condition,
            f"{what}: {blank.mean():.2f} to {put.mean():.2f}: {shown(said, sign=True)}; a random vector"
            f" {shown(random, sign=True)}; minus it {shown(more, sign=True)}",
            n_of(natural[natural.vector == UNIVERSAL]),
            ruled(verdict(said.low > 0 and more.low > 0, said.high < 0 or more.high < 0), said, more),
            EVERY,
            effects=(condition, f"{condition}_minus_random"),
            tokens=TOKENS,
        )

    told = frames.shots(parts)
    if not told.empty and {0, 1} <= set(told.shots):

        def at(vector, k):
            return frames.by_task(told, vector=vector, shots=k)

        alone = effect("vector_minus_one_shot", at(UNIVERSAL, 0), at(NONE, 1))

        def curve_of(vector):
            return ", ".join(f"{at(vector, k).mean():.2f}" for k in sorted(told.shots.unique()))

        rows.add(
            "one_shot",
            f"{shown(alone, sign=True)}; after {', '.join(map(str, sorted(told.shots.unique())))}"
            f" demonstrations: without it {curve_of(NONE)}, with it {curve_of(UNIVERSAL)}",
            n_of(told[(told.vector == UNIVERSAL) & (told.shots == 0)]),
            ruled(verdict(alone.low > 0, alone.high < 0), alone),
            effects="vector_minus_one_shot",
        )

    _sources(rows, parts, by, k, usable, numbers, over)
    _composition(rows, composed, numbers)
    _vocabulary(rows, parts, tasks, over, numbers)
    _exactness(rows, parts, tasks, k, numbers, over)
    return table_of(rows), numbers


def _concentration(parts: Mapping, k: int) -> tuple[list[float], tuple[str, float, float]]:
    """By task, the share of the summed positive mean effect that the k strongest heads hold; and the strongest head of
    the mean over tasks.
    """
    planes: dict[str, list] = {}
    for (_, task), steps in parts.items():
        planes.setdefault(task, []).append(frames.plane(steps["effects_demonstrations"]))
    share = []
    for of in planes.values():
        flat = np.sort(np.mean(of, 0).ravel())[::-1]
        share.append(float(flat[:k].clip(0).sum() / max(flat.clip(0).sum(), 1e-12)))
    mean = np.mean([np.mean(of, 0) for of in planes.values()], 0)
    l, h = np.unravel_index(mean.argmax(), mean.shape)
    return share, (f"{l}.{h}", float(mean.max()), float(np.sort(mean.ravel())[-k]))


def _needed(curve: pd.DataFrame) -> float:
    mean = curve.groupby("heads").accuracy.mean()
    return float(mean.index[(mean >= 0.95 * mean.max()).values].min())


def _sources(rows: Rows, parts, by, k, usable, numbers, over) -> None:
    """Vectors from demonstrations against vectors from the instruction text: heads, direction, accuracy; of the tasks
    that the model does when it is told them in words.
    """
    have = {key: steps for key, steps in parts.items() if "effects_instruction" in steps}
    if not have or INSTRUCTION not in by:
        return
    told = {key: results.provenance(steps["effects_instruction"])["means"] for key, steps in have.items()}
    follows = by_seeds({key: m["known"] / m["asked"] for key, m in told.items()})
    can = [t for t in follows.index if follows[t] >= usable]
    of = can if len(can) > 1 else list(follows.index)  # measured or not, what came out is shown
    mine = {key: steps for key, steps in have.items() if key[1] in of}
    both = {
        key: vectors.overlap(*(vectors.top_heads(steps[f"effects_{s}"], k) for s in ("demonstrations", "instruction")))
        for key, steps in mine.items()
    }
    chance = k * k / frames.plane(next(iter(have.values()))["effects_instruction"]).size
    common, alike = (
        over(by_seeds({key: o["shared"] for key, o in both.items()})),
        over(by_seeds({key: steps["sources"].cosine for key, steps in mine.items()})),
    )
    jaccard, less = (
        float(by_seeds({key: o["jaccard"] for key, o in both.items()}).mean()),
        over((by[INSTRUCTION] - by[OWN]).reindex(of)),
    )
    known, asked = (sum(m[name] for m in told.values()) for name in ("known", "asked"))
    numbers |= {
        "follows_instruction": float(follows.mean()),
        "instruction_tasks": can,
        "shared_heads": float(common.estimate),
        "shared_low": float(common.low),
        "shared_high": float(common.high),
        "jaccard": jaccard,
        "cosine": float(alike.estimate),
        "instruction_minus_own": float(less.estimate),
        "instruction_minus_own_low": float(less.low),
        "instruction_minus_own_high": float(less.high),
    }
    n = f"{len(of)} tasks; {known} of {asked} prompts with the instruction answered"

    def measured(word):
        return word if len(can) > 1 else f"not measured: the model answers {100 * follows.mean():.0f} % by instruction"

    rows.add(
        "instruction_heads",
        f"{shown(common, 1)} of {k} heads shared (chance {chance:.1f}; Jaccard {jaccard:.2f}); cosine of the"
        f" vectors {shown(alike)}",
        n,
        measured(
            ruled(
                (
                    "holds: fewer than half are shared"
                    if common.high < k / 2
                    else (
                        "does not hold: more than half are shared"
                        if common.low > k / 2
                        else "not shown: the interval holds one half"
                    )
                ),
                common,
            )
        ),
    )
    rows.add(
        "instruction_vector",
        f"zero-shot {by[INSTRUCTION].reindex(of).mean():.2f} against {by[OWN].reindex(of).mean():.2f} (own"
        f" heads from demonstrations): {shown(less, sign=True)}",
        n,
        measured(equal(less, "holds: it does better", "does not hold")),
        effects="instruction_minus_own",
        margin=f"{MARGIN:g}",
    )


def _composition(rows: Rows, composed: Sequence[xr.Dataset], numbers) -> None:
    """The sum of vectors on one quartet of tasks; the unit is the question, a mean over the seeds that ask it."""
    if not composed:
        return

    def mean(values):
        return (
            pd.concat([pd.Series(v, ds.x.values) for v, ds in zip(values, composed)])
            .astype(float)
            .groupby(level=0, sort=False)
            .mean()
        )

    parts = {
        name: mean([ds.correct.sel(vector=name).values for ds in composed])
        for name in map(str, composed[0].vector.values)
    }
    base, shot = mean([ds.base_correct.values for ds in composed]), mean([ds.icl_correct.values for ds in composed])
    most = max((n for n in parts if n.startswith("only ")), key=lambda n: parts[n].mean())
    against, above = over_tasks(parts["composed"] - parts[most]), over_tasks(parts["composed"] - base)
    numbers |= {
        "composed": float(parts["composed"].mean()),
        "composed_minus_part": float(against.estimate),
        "composed_minus_part_low": float(against.low),
        "composed_minus_part_high": float(against.high),
        "composed_minus_base": float(above.estimate),
        "composed_direct": float(parts["direct"].mean()),
    }
    rows.add(
        "composition",
        f"no vector {base.mean():.2f}, composed {parts['composed'].mean():.2f} ({shown(above, sign=True)}),"
        f" best single part ({most.removeprefix('only ')}) {parts[most].mean():.2f} (composed minus it"
        f" {shown(against, sign=True)}), the task's own vector {parts['direct'].mean():.2f}, random"
        f" {parts[RANDOM].mean():.2f}; ten shots {shot.mean():.2f}",
        f"{len(base)} questions" + (f", {len(composed)} seeds" if len(composed) > 1 else ""),
        ruled(
            verdict(against.low > 0 and above.low > 0, against.high < 0 or above.high <= 0, part=above.low > 0),
            against,
            above,
        ),
        EVERY,
        effects="composed_minus_part",
    )


def _vocabulary(rows: Rows, parts, tasks, over, numbers) -> None:
    if not all("vocabulary" in steps for steps in parts.values()):
        return

    def share(chosen) -> pd.Series:
        """By task, the share of the tokens that begin an answer, over the vectors of these names."""

        def of(ds):
            return float(ds.answer.astype(float).sel(vector=[n for n in ds["vector"].values if chosen(str(n))]).mean())

        return by_seeds({key: of(steps["vocabulary"]) for key, steps in parts.items()})

    read, chance = share(lambda n: n == UNIVERSAL), share(is_draw)
    more = over(read - chance)
    top = "; ".join(
        f"{t}: {', '.join(repr(str(x)) for x in steps['vocabulary'].token.sel(vector=UNIVERSAL).values[:3])}"
        for (s, t), steps in parts.items()
        if s == min(s for s, _ in parts)
    )
    numbers |= {"decoded": float(read.mean()), "decoded_minus_random": float(more.estimate)}
    rows.add(
        "vocabulary",
        f"{read.mean():.2f} of the ten tokens begin an answer of the task (random vectors {chance.mean():.2f}):"
        f" {shown(more, sign=True)}. {top}",
        f"{len(tasks)} tasks",
        ruled(verdict(more.low > 0, more.high < 0), more),
        effects="decoded_minus_random",
    )


def _exactness(rows: Rows, parts, tasks, k, numbers, over) -> None:
    """Gates on the computation itself: the walk against hooked forwards, and the estimates against the exact effects on
    the same prompts.
    """
    seeds = len({s for s, _ in parts})
    checked = [steps["against_hooks"] for steps in parts.values() if "against_hooks" in steps]
    if checked:
        worst, cells = (
            max(float(np.abs(ds.walk - ds.hooked).max()) for ds in checked),
            sum(ds.sizes["cell"] for ds in checked),
        )
        numbers["max_abs_diff"] = worst
        rows.add(
            "exact",
            f"largest difference {worst:.1e}",
            f"{cells} heads x prompts",
            "holds" if worst <= 1e-5 else "does not hold",
        )
    for method in ("atp", "atp*", "ig"):
        name = f"effects_{method.replace('*', '_star')}"
        have = {key: (steps["effects_demonstrations"], steps[name]) for key, steps in parts.items() if name in steps}
        if not have:
            continue
        for exact, estimate in have.values():
            require_same_prompts(exact, estimate)
        # AtP* estimates a magnitude; the heads that count are those of the exact effects on all their prompts
        pairs = {
            key: (np.abs(frames.plane(a)) if method == "atp*" else frames.plane(a), frames.plane(b))
            for key, (a, b) in have.items()
        }

        def best(v):
            return set(np.argsort(-v.ravel(), kind="stable")[:k].tolist())

        common = over(by_seeds({key: len(best(a) & best(b)) for key, (a, b) in pairs.items()}))
        r = over(by_seeds({key: np.corrcoef(a.ravel(), b.ravel())[0, 1] for key, (a, b) in pairs.items()}))
        numbers |= {
            f"{method}_shared": float(common.estimate),
            f"{method}_low": float(common.low),
            f"{method}_high": float(common.high),
            f"{method}_pearson": float(r.estimate),
        }
        need = 8 * k / 10
        rows.add(
            method,
            f"{shown(common, 1)} of {k} shared; Pearson r over heads {shown(r)}",
            f"{len({t for _, t in have})} tasks" + (f", {seeds} seeds" if seeds > 1 else ""),
            ruled(
                (
                    "holds"
                    if common.low >= need
                    else "does not hold"
                    if common.high < need
                    else f"not shown: the interval holds {need:g}"
                ),
                common,
            ),
            effects=method,
            need=f"{need:g}",
            k=k,
        )
