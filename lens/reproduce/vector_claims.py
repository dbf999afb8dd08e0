"""The claims of Function Vectors (Todd et al. 2024) against what was measured, and gates with a fixed threshold; the verdict follows from the interval by the rule in the row.

An effect's unit is the task (mean over seeds and questions), its interval a BCa bootstrap over tasks: it speaks of tasks like these, not of questions. Values of the paper are
quoted where they were read in the authors' code or in a secondary source, which is then said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import vectors
from ..measure import statistics
from . import vector_frames as frames
from .common import shown, table_of, verdict
from .vector_frames import ICL, NONE, THIRD
from .vector_steps import AVERAGE, DISTRIBUTED, INSTRUCTION, OTHER, OWN, RANDOM, UNIVERSAL


def over_tasks(values: Any, seed: int = 0) -> Any:
    """Mean over tasks with its interval; NaN where a task lacks the measure."""
    values = np.asarray(values, float)
    return statistics.bootstrap(values[np.isfinite(values)], method="bca", seed=seed)


def verdicts(parts: Mapping[tuple[int, str], Mapping[str, xr.Dataset]], composed: Sequence[xr.Dataset], *, depth: int, k: int,
             seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | verdict* and its numbers.

    ``parts``: by seed and task, the stored steps by name. ``composed``: one Dataset a quartet of list tasks. ``depth``: layers of the model. ``k``: heads in a vector.
    """
    tasks, seeds = list(dict.fromkeys(t for _, t in parts)), len({s for s, _ in parts})
    answers, report = frames.answers(parts), frames.report(parts, depth)
    rows, numbers = [], {"tasks": tasks, "seeds": seeds}
    over = lambda values: over_tasks(values, seed)
    n_of = lambda of: f"{len(tasks)} tasks, {int(of.n.sum())} questions" + (f", {seeds} seeds" if seeds > 1 else "")

    def effect(name: str, a: pd.Series, b: pd.Series) -> Any:
        interval = over((a - b).reindex(tasks).values)
        numbers.update({f"{name}{part}": float(getattr(interval, which)) for part, which in (("", "estimate"), ("_low", "low"), ("_high", "high"))})
        return interval

    icl, shuffled, bare = (frames.by_task(answers, condition=c) for c in ("icl", "shuffled", "zero_shot"))
    gap = effect("icl_minus_shuffled", icl, shuffled)
    rows.append(("Demonstrations make the task; with shuffled labels it is mostly lost", "the corrupted prompt of the method; its accuracies are not quoted (no source that could "
                 "be checked)",
                 f"ten shots {icl.mean():.2f}, shuffled {shuffled.mean():.2f}, none {bare.mean():.2f}; ten shots minus shuffled {shown(gap)}",
                 n_of(answers[answers.condition == "icl"]),
                 verdict(gap.low > 0, gap.high < 0)))

    share, top = _concentration(parts, k)
    many = over(share)
    heads = next(iter(parts.values()))["effects_demonstrations"]
    cells = heads.sizes["layer"] * heads.sizes["head"]
    numbers |= {"top_share": float(many.estimate), "top_share_low": float(many.low), "top_share_high": float(many.high), "top_head": top[0], "top_effect": top[1],
                "last_effect": top[2]}
    rows.append((f"A few heads carry the task (the {k} strongest of {cells} hold more than half of the summed positive effect)",
                 "GPT-J: mean over tasks .059 (strongest head) to .011 (tenth of 448), middle layers (authors' code)",
                 f"share of the {k} strongest {shown(many)} ({k / cells:.2f} of the heads); mean over tasks: head {top[0]} {top[1]:.3f}, the last of the {k} {top[2]:.3f}",
                 f"{len(tasks)} tasks, {sum(p['effects_demonstrations'].sizes['prompt'] for p in parts.values())} prompts", verdict(many.low > 0.5, many.high < 0.5)))

    zero = report[report.condition == "zero_shot"]
    by = {v: frames.by_task(zero, vector=v) for v in zero.vector.unique()}
    causal, beyond = effect("vector_minus_base", by[UNIVERSAL], by[NONE]), effect("vector_minus_random", by[UNIVERSAL], by[RANDOM])
    rows.append(("G1. The vector causes the task zero-shot: more than .3 above no vector, and more than .2 above a random vector of equal norm",
                 "57.5 % with the vector (GPT-J, six tasks; secondary source)",
                 f"{by[NONE].mean():.2f} to {by[UNIVERSAL].mean():.2f} (heads chosen on other tasks): {shown(causal, sign=True)}; minus random {shown(beyond, sign=True)}; ten "
                 f"shots reach {by[ICL].mean():.2f}",
                 n_of(zero[zero.vector == UNIVERSAL]),
                 "holds" if causal.low > 0.3 and beyond.low > 0.2 else "does not hold" if causal.high < 0.3 or beyond.high < 0.2 else "not shown: an interval holds its threshold"))

    mixed = report[report.condition == "shuffled"]
    with_vector, without = frames.by_task(mixed, vector=UNIVERSAL), frames.by_task(mixed, vector=NONE)
    repaired = effect("shuffled_minus_base", with_vector, without)
    chance = effect("shuffled_random_minus_base", frames.by_task(mixed, vector=RANDOM), without)
    rows.append(("... and repairs prompts with shuffled labels", "90.8 % with the vector (GPT-J, six tasks; secondary source)",
                 f"{without.mean():.2f} to {with_vector.mean():.2f}: {shown(repaired, sign=True)}; a random vector {shown(chance, sign=True)}",
                 n_of(mixed[mixed.vector == UNIVERSAL]),
                 verdict(repaired.low > 0, repaired.high < 0)))

    average = effect("vector_minus_average", by[UNIVERSAL], by[AVERAGE])
    rows.append(("G2. It does more than the layer average (at the layer and strength that suit the average best)", "the layer average is the paper's baseline; its values are not "
                 "quoted",
                 f"layer average {by[AVERAGE].mean():.2f}; vector minus it {shown(average, sign=True)}", n_of(zero[zero.vector == AVERAGE]),
                 verdict(average.low > 0, average.high < 0)))

    if OTHER in by:
        specific = effect("vector_minus_other", by[UNIVERSAL], by[OTHER])
        rows.append(("It carries this task, not just any (control that the paper lacks: the vector of another task, its own best cell)", "not measured",
                     f"another task's vector {by[OTHER].mean():.2f}; own minus it {shown(specific, sign=True)}", n_of(zero[zero.vector == OTHER]),
                     verdict(specific.low > 0, specific.high < 0)))

    own = effect("own_heads_minus_universal", by[OWN], by[UNIVERSAL])
    rows.append(("One head set serves all tasks (heads chosen on the task itself do not better)", "one set of ten heads for all tasks of GPT-J (authors' code)",
                 f"own heads {by[OWN].mean():.2f}; minus universal {shown(own, sign=True)}", n_of(zero[zero.vector == OWN]),
                 "does not hold" if own.low > 0 else "holds: no gain shown"))

    depths = np.array([zero[(zero.vector == UNIVERSAL) & (zero.task == t)].layer.mean() / depth for t in tasks])
    third = effect("chosen_minus_third", by[UNIVERSAL], by[THIRD])
    numbers |= {"depth_low": float(depths.min()), "depth_high": float(depths.max()), "at_third": float(by[THIRD].mean())}
    rows.append(("The place is about a third of the depth", "layer 9 of 28 (authors' code); a replication's best: .26-.37 of the depth in four models, .55 and .64 in Qwen "
                 "(secondary source)",
                 f"chosen on validation at {depths.min():.2f} to {depths.max():.2f} of the depth; a third gives {by[THIRD].mean():.2f}, the chosen layer "
                 f"{shown(third, sign=True)} more", n_of(zero[zero.vector == THIRD]),
                 "does not hold" if third.low > 0 else "holds: no gain from another layer shown"))

    curve = frames.counts(parts)
    if not curve.empty:
        curve, drawn = curve[curve.choice == "top"], curve[(curve.choice == "random") & (curve["heads"] == curve["heads"].max())]
        needed = [_needed(curve[curve.task == t]) for t in tasks if (curve.task == t).any()]
        numbers |= {"heads_needed": needed}
        rows.append((f"About ten heads are enough (95 % of the most, on test; the layer is that of {k} heads)", "ten heads for GPT-J (authors' code); a replication: 8-11, Qwen "
                     "25-27 (secondary source)",
                     f"median {np.median(needed):g}, from {min(needed):g} to {max(needed):g}; {drawn['heads'].iloc[0]} heads drawn at random reach "
                     f"{frames.by_task(drawn).mean():.2f}", n_of(curve[curve["heads"] == curve["heads"].iloc[0]]), "holds" if np.median(needed) <= 11 else "does not hold"))

    if DISTRIBUTED in by:
        spread = effect("distributed_minus_vector", by[DISTRIBUTED], by[UNIVERSAL])
        rows.append(("Adding each head's part at its own layer does more (asked by reviewers; reported by Pham 2026)", "not measured", f"{by[DISTRIBUTED].mean():.2f}; minus the "
                     f"sum at one layer {shown(spread, sign=True)}",
                     n_of(zero[zero.vector == DISTRIBUTED]), verdict(spread.low > 0, spread.high < 0)))

    ported = frames.templates(parts)
    if not ported.empty:
        others = ported[ported.template != ported.template.iloc[0]]
        moved = effect("portability", frames.by_task(others, vector=UNIVERSAL), frames.by_task(others, vector=NONE))
        rows.append(("It works in other templates than the one it was taken from", "random templates of 120; values not quoted",
                     f"{frames.by_task(others, vector=NONE).mean():.2f} to {frames.by_task(others, vector=UNIVERSAL).mean():.2f} over {others.template.nunique()} other "
                     f"templates: {shown(moved, sign=True)}",
                     n_of(others[others.vector == UNIVERSAL]), verdict(moved.low > 0, moved.high < 0)))

    natural = report[report.condition == "text"]
    if not natural.empty:
        written, blank = frames.by_task(natural, vector=UNIVERSAL), frames.by_task(natural, vector=NONE)
        said, random = effect("text", written, blank), effect("text_random", frames.by_task(natural, vector=RANDOM), blank)
        rows.append(("It works in natural sentences", "the answer within five generated tokens counts there; values not quoted",
                     f"the answer is the next word: {blank.mean():.2f} to {written.mean():.2f}: {shown(said, sign=True)}; a random vector {shown(random, sign=True)}",
                     n_of(natural[natural.vector == UNIVERSAL]),
                     verdict(said.low > 0, said.high < 0)))

    rows += _sources(parts, tasks, by, k, effect, numbers, over)
    rows += _composition(composed, numbers, seed)
    rows += _vocabulary(parts, tasks, over, numbers)
    rows += _exactness(parts, tasks, k, numbers, over)
    return table_of(rows), numbers


def _concentration(parts: Mapping, k: int) -> tuple[list[float], tuple[str, float, float]]:
    """By task, the share of the summed positive mean effect that the k strongest heads hold; and the strongest head of the mean over tasks."""
    planes: dict[str, list] = {}
    for (_, task), steps in parts.items():
        planes.setdefault(task, []).append(steps["effects_demonstrations"].effect.mean("prompt").transpose("layer", "head").values)
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


def _sources(parts, tasks, by, k, effect, numbers, over) -> list[tuple]:
    """Vectors from demonstrations against vectors from the instruction text: heads, direction, accuracy."""
    have = [(key, steps) for key, steps in parts.items() if "effects_instruction" in steps]
    if not have or INSTRUCTION not in by:
        return []
    shared, jaccard, cosine = [], [], []
    for (_, _), steps in have:
        both = vectors.overlap(*(vectors.top_heads(steps[f"effects_{s}"], k) for s in ("demonstrations", "instruction")))
        shared.append(both["shared"]), jaccard.append(both["jaccard"])
        cosine.append(float(steps["sources"].cosine))
    chance = k * k / have[0][1]["effects_instruction"].effect.isel(prompt=0).size
    common, alike, less = over(shared), over(cosine), effect("instruction_minus_own", by[INSTRUCTION], by[OWN])
    numbers |= {"shared_heads": float(common.estimate), "shared_low": float(common.low), "shared_high": float(common.high), "jaccard": float(np.mean(jaccard)),
                "cosine": float(alike.estimate)}
    return [("Instruction text calls on other heads than demonstrations do (Davidson 2025)", "not measured in the paper",
             f"{shown(common, 1)} of {k} heads shared (chance {chance:.1f}; Jaccard {np.mean(jaccard):.2f}); cosine of the vectors {shown(alike)}", f"{len(have)} tasks x seeds",
             "holds: fewer than half are shared" if common.high < k / 2 else "does not hold: more than half are shared" if common.low > k / 2
             else "not shown: the interval holds one half"),
            ("... and gives a vector that works as well", "not measured in the paper", f"zero-shot {by[INSTRUCTION].mean():.2f} against {by[OWN].mean():.2f} (own heads from "
             f"demonstrations): {shown(less, sign=True)}",
             f"{by[INSTRUCTION].notna().sum()} tasks", "does not hold" if less.high < 0 else "holds: it does better" if less.low > 0 else "holds: no loss shown")]


def _composition(composed: Sequence[xr.Dataset], numbers, seed) -> list[tuple]:
    if not composed:
        return []
    right = lambda name: np.concatenate([ds.correct.sel(vector=name).values.astype(float) for ds in composed])
    base = np.concatenate([ds.base_correct.values.astype(float) for ds in composed])
    parts = {name: right(name) for name in map(str, composed[0].vector.values)}
    most = max((n for n in parts if n.startswith("only ")), key=lambda n: parts[n].mean())
    against = statistics.bootstrap(parts["composed"] - parts[most], method="bca", seed=seed)
    above = statistics.bootstrap(parts["composed"] - base, method="bca", seed=seed)
    shot = np.concatenate([ds.icl_correct.values.astype(float) for ds in composed])
    numbers |= {"composed": float(parts["composed"].mean()), "composed_minus_part": float(against.estimate), "composed_minus_base": float(above.estimate),
                "composed_direct": float(parts["direct"].mean())}
    return [("Vectors add up: v(last, capital) = v(last) + v(first, capital) - v(first)", "several list tasks; data and code were never released",
             f"no vector {base.mean():.2f}, composed {parts['composed'].mean():.2f} ({shown(above, sign=True)}), best single part ({most.removeprefix('only ')}) "
             f"{parts[most].mean():.2f} (composed minus it {shown(against, sign=True)}), "
             f"the task's own vector {parts['direct'].mean():.2f}, random {parts[RANDOM].mean():.2f}; ten shots {shot.mean():.2f}", f"{len(base)} questions, {len(composed)} "
                                                                                                                                    f"seed{'s' * (len(composed) > 1)}",
             verdict(against.low > 0 and above.low > 0, against.high < 0 or above.high <= 0, part=above.low > 0))]


def _vocabulary(parts, tasks, over, numbers) -> list[tuple]:
    share = lambda name: np.array([np.mean([float(steps["vocabulary"].answer.astype(float).sel(vector=name).mean()) for (_, t),
                                            steps in parts.items() if t == task]) for task in tasks])
    if not all("vocabulary" in steps for steps in parts.values()):
        return []
    more = over(share(UNIVERSAL) - share(RANDOM))
    top = "; ".join(f"{t}: {', '.join(repr(str(x)) for x in steps['vocabulary'].token.sel(vector=UNIVERSAL).values[:3])}" for (s, t),
                    steps in parts.items() if s == min(s for s, _ in parts))
    numbers |= {"decoded": float(share(UNIVERSAL).mean()), "decoded_minus_random": float(more.estimate)}
    return [("Read through the unembedding, the vector names the task's outputs (a readout, not what it does)", "tokens of the output space for most tasks; values not quoted",
             f"{share(UNIVERSAL).mean():.2f} of the ten tokens begin an answer of the task (random vector {share(RANDOM).mean():.2f}): {shown(more, sign=True)}. {top}",
             f"{len(tasks)} tasks", verdict(more.low > 0, more.high < 0))]


def _exactness(parts, tasks, k, numbers, over) -> list[tuple]:
    """Gates on the computation itself: the walk against hooked forwards, and the estimates against the exact effects."""
    rows = []
    checked = [steps["against_hooks"] for steps in parts.values() if "against_hooks" in steps]
    if checked:
        worst, cells = max(float(np.abs(ds.walk - ds.hooked).max()) for ds in checked), sum(ds.sizes["cell"] for ds in checked)
        numbers["max_abs_diff"] = worst
        rows.append(("G3. The exact effects equal those of one hooked forward a head (to 1e-5 in probability)", "one forward a head is the published way",
                     f"largest difference {worst:.1e}", f"{cells} heads x prompts",
                     "holds" if worst <= 1e-5 else "does not hold"))
    for method in ("atp", "atp*", "ig"):
        name = f"effects_{method.replace('*', '_star')}"
        have = [(steps["effects_demonstrations"], steps[name]) for steps in parts.values() if name in steps]
        if not have:
            continue
        flat = lambda ds: ds.effect.mean("prompt").transpose("layer", "head").values.ravel()
        # AtP* estimates a magnitude; the heads that count are those of the exact effects on all their prompts
        pairs = [(np.abs(flat(a)) if method == "atp*" else flat(a), flat(b)) for a, b in have]
        best = lambda v: set(np.argsort(-v, kind="stable")[:k].tolist())
        common, r = over([len(best(a) & best(b)) for a, b in pairs]), over([np.corrcoef(a, b)[0, 1] for a, b in pairs])
        numbers |= {f"{method}_shared": float(common.estimate), f"{method}_low": float(common.low), f"{method}_high": float(common.high), f"{method}_pearson": float(r.estimate)}
        title = {"atp": "G4. Attribution patching finds the same heads", "atp*": "... attribution patching with GradDrop (AtP*)", "ig": "... integrated gradients"}[method]
        need = 8 * k / 10
        rows.append((f"{title} (at least {need:g} of the {k} strongest)", "not in the paper", f"{shown(common, 1)} of {k} shared; Pearson r over heads {shown(r)}",
                     f"{len(have)} tasks x seeds",
                     "holds" if common.low >= need else "does not hold" if common.high < need else f"not shown: the interval holds {need:g}"))
    return rows
