"""The claims of Function Vectors (Todd et al. 2024) against what was measured, and gates with a fixed threshold; the
verdict follows from the interval by the rule in the row.

An effect's unit is the task (mean over seeds and questions), its interval Student's t over tasks: it speaks of tasks
like these, not of questions. With one task there is no interval and no verdict. That two things do equally well holds
where the interval of their difference lies within `MARGIN`; that no difference was seen is no evidence of it. Values of
the paper are quoted where they were read in the authors' code or in a secondary source, which is then said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ... import vectors
from ...results import dataset as results
from ...vectors.heads import require_same_prompts
from ..common import EVERY, matching, shown, student, table_of, verdict
from . import tables as frames
from .draws import RANDOM, is_draw
from .heads import INSTRUCTION, OWN, UNIVERSAL
from .rules import MARGIN, JudgedRows, above, by_seeds, equal, half_shared, ruled
from .steps import AVERAGE, DISTRIBUTED, OTHER, TOKENS
from .tables import ICL, NONE, THIRD, Parts

#: "About ten" heads: the most that a replication needed in models with as many key heads as query heads.
ENOUGH = 11


def verdicts(
    parts: Parts, composed: Sequence[xr.Dataset], *, depth: int, k: int, usable: float = 0.5
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers.

    ``parts``: by seed and task, the stored steps by name. ``composed``: one Dataset a quartet of list tasks. ``depth``:
    layers of the model. ``k``: heads in a vector. ``usable``: share of the prompts that a model must answer by
    instruction for what instruction vectors do to be measured on it.

    Raises: VectorError: estimates of other prompts than those of the exact effects.
    """
    rows = JudgedRows(parts, depth, k)
    _task(rows)
    _vector(rows, depth)
    _head_count(rows)
    _elsewhere(rows)
    _sources(rows, usable)
    _composition(rows, composed)
    _vocabulary(rows)
    _exactness(rows)
    return table_of(rows), rows.numbers


def _task(rows: JudgedRows) -> None:
    """What demonstrations do, and how few heads carry it."""
    answers = frames.answers(rows.parts)
    icl, shuffled, bare = (frames.by_task(answers, condition=c) for c in ("icl", "shuffled", "zero_shot"))
    gap = rows.effect("icl_minus_shuffled", icl, shuffled)
    lost = rows.effect("more_than_half_lost", icl - shuffled, shuffled - bare)
    rows.add(
        "demonstrations",
        f"ten shots {icl.mean():.2f}, shuffled {shuffled.mean():.2f}, none {bare.mean():.2f}; ten shots minus"
        f" shuffled {shown(gap)}; what is lost minus what is left of the gain {shown(lost, sign=True)}",
        rows.n(answers, condition="icl"),
        ruled(verdict(gap.low > 0 and lost.low > 0, gap.high < 0, part=gap.low > 0), gap, lost),
        EVERY,
        effects=("icl_minus_shuffled", "more_than_half_lost"),
    )
    k, effects = rows.k, [steps["effects_demonstrations"] for steps in rows.parts.values()]
    share, (head, most, last) = _concentration(rows.parts, k)
    many, cells = rows.put("top_share", student(share)), effects[0].sizes["layer"] * effects[0].sizes["head"]
    rows.numbers |= {"top_head": head, "top_effect": most, "last_effect": last}
    rows.add(
        "few_heads",
        f"share of the {k} strongest {shown(many)} ({k / cells:.2f} of the heads); mean over tasks: head"
        f" {head} {most:.3f}, the last of the {k} {last:.3f}",
        f"{len(rows.tasks)} tasks, {sum(ds.sizes['prompt'] for ds in effects)} prompts",
        ruled(verdict(many.low > 0.5, many.high < 0.5, otherwise="the interval holds one half"), many),
        effects="top_share",
        k=k,
        cells=cells,
    )


def _concentration(parts: Parts, k: int) -> tuple[list[float], tuple[str, float, float]]:
    """By task, the share of the summed positive mean effect that the k strongest heads hold; of the mean over tasks the
    strongest head, its effect, and that of the last of the k.
    """
    planes: dict[str, list] = {}
    for (_, task), steps in parts.items():
        planes.setdefault(task, []).append(frames.plane(steps["effects_demonstrations"]))
    means = [np.mean(of, 0) for of in planes.values()]
    flat = [np.sort(mean.ravel())[::-1].clip(0) for mean in means]
    mean = np.mean(means, 0)
    l, h = np.unravel_index(mean.argmax(), mean.shape)
    share = [float(f[:k].sum() / max(f.sum(), 1e-12)) for f in flat]
    return share, (f"{l}.{h}", float(mean.max()), float(np.sort(mean.ravel())[-k]))


def _vector(rows: JudgedRows, depth: int) -> None:
    """What the vector does zero-shot and with shuffled labels, beside its controls."""
    by = rows.zero
    causal = rows.effect("vector_minus_base", by[UNIVERSAL], by[NONE])
    beyond = rows.effect("vector_minus_random", by[UNIVERSAL], by[RANDOM])
    holds, fails = causal.low > 0.3 and beyond.low > 0.2, causal.high < 0.3 or beyond.high < 0.2
    rows.add(
        "causal",
        f"{by[NONE].mean():.2f} to {by[UNIVERSAL].mean():.2f} (heads chosen on other tasks):"
        f" {shown(causal, sign=True)}; minus random {shown(beyond, sign=True)}; ten shots reach"
        f" {by[ICL].mean():.2f}",
        rows.n(rows.report, condition="zero_shot", vector=UNIVERSAL),
        ruled(verdict(holds, fails, otherwise="an interval holds its threshold"), causal, beyond),
        EVERY,
        effects=("vector_minus_base", "vector_minus_random"),
    )
    rows.restored("shuffled", "repairs", ("shuffled_minus_base", "shuffled_random_minus_base", "shuffled_minus_random"))
    said = "layer average {b:.2f}; vector minus it {gap}"
    rows.compared("average", "vector_minus_average", UNIVERSAL, AVERAGE, said)
    if OTHER in by:
        said = "another task's vector {b:.2f}; own minus it {gap}"
        rows.compared("specific", "vector_minus_other", UNIVERSAL, OTHER, said)
    rows.compared(
        "one_set",
        "own_heads_minus_universal",
        OWN,
        UNIVERSAL,
        "own heads {a:.2f}; minus universal {gap}",
        lambda gap: equal(gap, "does not hold", "holds: the heads of other tasks do better"),
        margin=f"{MARGIN:g}",
    )
    cells = matching(rows.report, condition="zero_shot", vector=UNIVERSAL)
    depths = np.array([matching(cells, task=t).layer.mean() / depth for t in rows.tasks])
    rows.numbers |= {
        "depth_low": float(depths.min()),
        "depth_high": float(depths.max()),
        "at_third": float(by[THIRD].mean()),
    }
    rows.compared(
        "third",
        "chosen_minus_third",
        UNIVERSAL,
        THIRD,
        f"chosen on validation at {depths.min():.2f} to {depths.max():.2f} of the depth; a third gives"
        " {b:.2f}, the chosen layer {gap} more",
        lambda gap: equal(gap, "does not hold", "holds: a third does better"),
        margin=f"{MARGIN:g}",
    )


def _head_count(rows: JudgedRows) -> None:
    """How many heads are enough, and whether each does more at its own layer."""
    curve = frames.counts(rows.parts)
    if not curve.empty:
        top = matching(curve, choice="top")
        drawn = matching(curve, choice="random", heads=curve["heads"].max())
        needed = [_needed(matching(top, task=t)) for t in rows.tasks if (top.task == t).any()]
        enough = rows.put("heads_needed", student(needed))
        rows.numbers |= {"heads_needed": needed, "heads_needed_mean": float(enough.estimate)}
        word = verdict(enough.high <= ENOUGH, enough.low > ENOUGH, otherwise=f"the interval holds {ENOUGH}")
        rows.add(
            "ten_heads",
            f"mean over tasks {shown(enough, 1)}, from {min(needed):g} to {max(needed):g};"
            f" {drawn['heads'].iloc[0]} heads drawn at random reach {frames.by_task(drawn).mean():.2f}",
            rows.n(top, heads=top["heads"].iloc[0]),
            ruled(word, enough),
            effects="heads_needed",
            k=rows.k,
        )
    if DISTRIBUTED in rows.zero:
        said = "{a:.2f}; minus the sum at one layer {gap}"
        rows.compared("distributed", "distributed_minus_vector", DISTRIBUTED, UNIVERSAL, said)


def _needed(curve: pd.DataFrame) -> float:
    mean = curve.groupby("heads").accuracy.mean()
    return float(mean.index[(mean >= 0.95 * mean.max()).values].min())


def _elsewhere(rows: JudgedRows) -> None:
    """What the vector does in other templates, in natural sentences, and against demonstrations."""
    ported = frames.templates(rows.parts)
    if not ported.empty:
        others = ported[ported.template != ported.template.iloc[0]]
        own, none = (frames.by_task(others, vector=v) for v in (UNIVERSAL, NONE))
        moved = rows.effect("portability", own, none)
        rows.add(
            "templates",
            f"{none.mean():.2f} to {own.mean():.2f} over {others.template.nunique()} other templates:"
            f" {shown(moved, sign=True)}",
            rows.n(others, vector=UNIVERSAL),
            above(moved),
            effects="portability",
        )
    for condition, what in (("written", "in the text: "), ("text", "the next word: ")):
        names = (condition, f"{condition}_random", f"{condition}_minus_random")
        rows.restored(condition, condition, names, what, tokens=TOKENS)
    counted = frames.shots(rows.parts)
    if not counted.empty and {0, 1} <= set(counted.shots):
        shots = sorted(counted.shots.unique())
        own, none = ({k: frames.by_task(counted, vector=v, shots=k) for k in shots} for v in (UNIVERSAL, NONE))
        alone = rows.effect("vector_minus_one_shot", own[0], none[1])
        curves = [", ".join(f"{of[k].mean():.2f}" for k in shots) for of in (none, own)]
        rows.add(
            "one_shot",
            f"{shown(alone, sign=True)}; after {', '.join(map(str, shots))} demonstrations: without it {curves[0]},"
            f" with it {curves[1]}",
            rows.n(counted, vector=UNIVERSAL, shots=0),
            above(alone),
            effects="vector_minus_one_shot",
        )


def _sources(rows: JudgedRows, usable: float) -> None:
    """Vectors from demonstrations against vectors from the instruction text: heads, direction, accuracy; of the tasks
    that the model does when it is told them in words.
    """
    have = {key: steps for key, steps in rows.parts.items() if "effects_instruction" in steps}
    if not have or INSTRUCTION not in rows.zero:
        return
    k, answered = rows.k, {key: results.provenance(s["effects_instruction"])["means"] for key, s in have.items()}
    follows = by_seeds({key: m["known"] / m["asked"] for key, m in answered.items()})
    can = [t for t in follows.index if follows[t] >= usable]
    tasks = can if len(can) > 1 else list(follows.index)  # measured or not, what came out is shown
    mine = {key: steps for key, steps in have.items() if key[1] in tasks}
    both = {
        key: vectors.overlap(*(vectors.top_heads(steps[f"effects_{s}"], k) for s in ("demonstrations", "instruction")))
        for key, steps in mine.items()
    }
    chance = k * k / frames.plane(next(iter(have.values()))["effects_instruction"]).size
    common = student(by_seeds({key: o["shared"] for key, o in both.items()}))
    alike = student(by_seeds({key: steps["sources"].cosine for key, steps in mine.items()}))
    jaccard = float(by_seeds({key: o["jaccard"] for key, o in both.items()}).mean())
    own, other = (rows.zero[v].reindex(tasks) for v in (OWN, INSTRUCTION))
    less = rows.put("instruction_minus_own", student(other - own))
    rows.numbers |= {
        "follows_instruction": float(follows.mean()),
        "instruction_tasks": can,
        "shared_heads": float(common.estimate),
        "shared_low": float(common.low),
        "shared_high": float(common.high),
        "jaccard": jaccard,
        "cosine": float(alike.estimate),
    }
    known, asked = (sum(m[name] for m in answered.values()) for name in ("known", "asked"))
    n = f"{len(tasks)} tasks; {known} of {asked} prompts with the instruction answered"
    left_out = "" if len(can) > 1 else f"not measured: the model answers {100 * follows.mean():.0f} % by instruction"
    rows.add(
        "instruction_heads",
        f"{shown(common, 1)} of {k} heads shared (chance {chance:.1f}; Jaccard {jaccard:.2f}); cosine of the"
        f" vectors {shown(alike)}",
        n,
        left_out or half_shared(common, k),
    )
    rows.add(
        "instruction_vector",
        f"zero-shot {other.mean():.2f} against {own.mean():.2f} (own heads from demonstrations):"
        f" {shown(less, sign=True)}",
        n,
        left_out or equal(less, "holds: it does better", "does not hold"),
        effects="instruction_minus_own",
        margin=f"{MARGIN:g}",
    )


def _composition(rows: JudgedRows, composed: Sequence[xr.Dataset]) -> None:
    """The sum of vectors on one quartet of tasks; the unit is the question, a mean over the seeds that ask it."""
    if not composed:
        return

    def mean(of: Callable[[xr.Dataset], xr.DataArray]) -> pd.Series:
        every = pd.concat([pd.Series(of(ds).values, ds.x.values) for ds in composed])
        return every.astype(float).groupby(level=0, sort=False).mean()

    right = {v: mean(lambda ds: ds.correct.sel(vector=v)) for v in map(str, composed[0].vector.values)}
    base, shot = mean(lambda ds: ds.base_correct), mean(lambda ds: ds.icl_correct)
    best = max((v for v in right if v.startswith("only ")), key=lambda v: right[v].mean())
    against = rows.put("composed_minus_part", student(right["composed"] - right[best]))
    gain = student(right["composed"] - base)
    rows.numbers |= {
        "composed": float(right["composed"].mean()),
        "composed_minus_base": float(gain.estimate),
        "composed_direct": float(right["direct"].mean()),
    }
    word = verdict(against.low > 0 and gain.low > 0, against.high < 0 or gain.high <= 0, part=gain.low > 0)
    rows.add(
        "composition",
        f"no vector {base.mean():.2f}, composed {right['composed'].mean():.2f} ({shown(gain, sign=True)}),"
        f" best single part ({best.removeprefix('only ')}) {right[best].mean():.2f} (composed minus it"
        f" {shown(against, sign=True)}), the task's own vector {right['direct'].mean():.2f}, random"
        f" {right[RANDOM].mean():.2f}; ten shots {shot.mean():.2f}",
        f"{len(base)} questions" + (f", {len(composed)} seeds" if len(composed) > 1 else ""),
        ruled(word, against, gain),
        EVERY,
        effects="composed_minus_part",
    )


def _vocabulary(rows: JudgedRows) -> None:
    tables = {key: steps["vocabulary"] for key, steps in rows.parts.items() if "vocabulary" in steps}
    if len(tables) < len(rows.parts):
        return

    def share(chosen: Callable[[str], bool]) -> pd.Series:
        """By task, the share of the tokens that begin an answer, over the vectors of these names."""
        some = {key: [n for n in ds["vector"].values if chosen(str(n))] for key, ds in tables.items()}
        return by_seeds({key: ds.answer.astype(float).sel(vector=some[key]).mean() for key, ds in tables.items()})

    read, chance = share(lambda n: n == UNIVERSAL), share(is_draw)
    more, first = rows.put("decoded_minus_random", student(read - chance)), min(s for s, _ in tables)
    tokens = {t: ds.token.sel(vector=UNIVERSAL).values[:3] for (s, t), ds in tables.items() if s == first}
    top = "; ".join(f"{t}: {', '.join(repr(str(x)) for x in some)}" for t, some in tokens.items())
    rows.numbers["decoded"] = float(read.mean())
    rows.add(
        "vocabulary",
        f"{read.mean():.2f} of the ten tokens begin an answer of the task (random vectors {chance.mean():.2f}):"
        f" {shown(more, sign=True)}. {top}",
        f"{len(rows.tasks)} tasks",
        above(more),
        effects="decoded_minus_random",
    )


def _exactness(rows: JudgedRows) -> None:
    """Gates on the computation itself: the walk against hooked forwards, and the estimates against the exact effects on
    the same prompts.
    """
    k, need = rows.k, 8 * rows.k / 10
    checked = [steps["against_hooks"] for steps in rows.parts.values() if "against_hooks" in steps]
    if checked:
        worst = max(float(np.abs(ds.walk - ds.hooked).max()) for ds in checked)
        rows.numbers["max_abs_diff"] = worst
        n = f"{sum(ds.sizes['cell'] for ds in checked)} heads x prompts"
        rows.add("exact", f"largest difference {worst:.1e}", n, "holds" if worst <= 1e-5 else "does not hold")

    def best(v: np.ndarray) -> set[int]:
        return set(np.argsort(-v.ravel(), kind="stable")[:k].tolist())

    for method in ("atp", "atp*", "ig"):
        name = f"effects_{method.replace('*', '_star')}"
        pairs = {}
        for key, steps in rows.parts.items():
            if name in steps:
                require_same_prompts(steps["effects_demonstrations"], steps[name])
                exact, estimate = frames.plane(steps["effects_demonstrations"]), frames.plane(steps[name])
                # AtP* estimates a magnitude; the heads that count are those of the exact effects on all their prompts
                pairs[key] = (np.abs(exact) if method == "atp*" else exact, estimate)
        if not pairs:
            continue
        common = student(by_seeds({key: len(best(a) & best(b)) for key, (a, b) in pairs.items()}))
        r = student(by_seeds({key: np.corrcoef(a.ravel(), b.ravel())[0, 1] for key, (a, b) in pairs.items()}))
        rows.numbers |= {
            f"{method}_shared": float(common.estimate),
            f"{method}_low": float(common.low),
            f"{method}_high": float(common.high),
            f"{method}_pearson": float(r.estimate),
        }
        word = verdict(common.low >= need, common.high < need, otherwise=f"the interval holds {need:g}")
        rows.add(
            method,
            f"{shown(common, 1)} of {k} shared; Pearson r over heads {shown(r)}",
            f"{len({t for _, t in pairs})} tasks{rows.of_seeds}",
            ruled(word, common),
            effects=method,
            need=f"{need:g}",
            k=k,
        )
