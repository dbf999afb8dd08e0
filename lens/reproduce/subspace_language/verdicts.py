"""The claims about a memory subspace against what was measured on the organism `canaries`; each row states the rule of
its verdict.

The published work is on diffusion models (Stable Diffusion 1.4), so that its numbers are named as of other models. Its
own tables were not at hand: what is quoted was computed from the output of its notebook (IoU), or comes from later work
that checked it (Kowalczuk et al. 2025, Finding DoRI; Chang et al. 2024). Intervals over seeds are Student's t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import holm, proportion
from ...stats.units import nested_holm
from .. import specificity
from ..claims import Rows
from ..common import EVERY, bounds, matching, several, shown, table_of, verdict
from ..over_models import each, judged, over, over_seeds
from . import tables as frames
from .claims import CLAIMS
from .steps import LEAST_RISE, RISE

#: The tasks that ask what is in the weights, against copying, which uses what is in the prompt.
IN_WEIGHTS = ("closed book", "arithmetic")
RULE = " (rule: interval over seeds above 0)"


def verdicts(tables: Mapping[str, pd.DataFrame], *, seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and every number in it."""
    rows = Rows(CLAIMS)
    _specific(rows, tables["specificity"])
    _dose(rows, tables["curves"])
    _transfer(rows, tables["transfer"], tables["curves"])
    _places(rows, tables["planted"])
    _gone(rows, tables["gone"])
    _damage(rows, tables["damage"])
    if len(tables.get("recitation", ())):
        _smollm2(rows, tables["recitation"], tables["demonstration"])
    return table_of(rows), rows.numbers


def _specific(rows: Rows, table: pd.DataFrame) -> None:
    lines = matching(frames.specificity(table), empty=False)
    published = matching(lines, method="contrast", reference="clean text")
    above = all(line.above.low > 2 * line.chance for line in published.itertuples())
    named = {f"{line.kind}, {line.reference}, {line.method}": line for line in lines.itertuples()}
    rows.numbers["iou"] = {
        name: {pair: list(getattr(line, pair)) for pair in ("memorised", "other", "mixed")}
        for name, line in named.items()
    }
    rows.numbers["specific_p"] = {name: list(line.p_other) for name, line in named.items()}
    rows.add(
        "overlap",
        "; ".join(
            f"{line.kind}: IoU {each(line.memorised)} by seed, chance {line.chance:.3f}, above it by {over(line.above)}"
            for line in published.itertuples()
        ),
        f"{several(int(published.seeds.max()), 'seed')} x {int(published.sets.max())} sets of a kind",
        ("not judged: one model" if published.seeds.max() < 2 else "holds" if above else "not shown")
        + " (rule: more than three times chance, interval over seeds, in every kind)",
        EVERY,
    )
    for method, reference in (("contrast", "clean text"), ("corrected", "unseen, same kind")):
        for kind in dict.fromkeys(lines.kind):
            of = matching(lines, method=method, reference=reference, kind=kind)
            if of.empty:
                continue
            line = of.iloc[0]
            gap = rows.put(f"specific_{method}_{kind}", line.more_other)
            rule = (
                "" if line.seeds < 2 else " (rule: interval over seeds above 0, and p at most .05 in each after Holm)"
            )
            rows.add(
                f"specific_{method}",
                f"memorised minus unseen {over(gap, 3)}; by seed IoU {each(line.memorised)} against"
                f" {each(line.other)}, across kinds of set {each(line.mixed)}; {line.p_kind} p by permuted"
                f" labels {each(line.p_other, 3)}",
                f"{several(int(line.seeds), 'seed')} x 2 x {int(line.sets)} sets",
                specificity.word(gap, line.holm_other) + rule,
                f"Holm over {several(int(line.seeds), 'seed')}",
                effects=f"specific_{method}_{kind}",
                kind=kind,
            )


def _dose(rows: Rows, curves: pd.DataFrame) -> None:
    val, verse = frames.at_rise(curves, "val"), frames.at_rise(curves, "verse")
    n, seeds = int(val.n.max()), curves.seed.nunique()
    low = frames.at_rise(curves, "val", LEAST_RISE)
    rows.numbers["at_rise"] = {"val": _by_method(val), "verse": _by_method(verse)}
    rows.numbers["at_least_rise"] = _by_method(low)
    runs = val.set_index("method").runs
    where = f"strict recitation of the located set at +{RISE} nats of clean loss"
    best = min((m for m in ("contrast", "corrected") if m in runs), key=lambda m: np.mean(runs[m]))
    for key, name, other in (
        ("contrast", "contrast", "random"),
        ("corrected", "corrected", "contrast"),
        ("corrected_random", "corrected", "random"),
        ("eigen", "eigen", best),
    ):
        gain = frames.difference(val, other, name)
        if gain is None:
            continue
        rows.put(f"{name}_under_{other}", gain)
        rows.add(
            key,
            f"{where}: {frames.title(name)} {each(runs[name])} by seed, {frames.title(other)}"
            f" {each(runs[other])}; less by {over(gain)}",
            f"{several(seeds, 'seed')}, {n} sequences",
            judged(gain) + RULE,
            effects=f"{name}_under_{other}",
        )
    for rise, of in ((LEAST_RISE, low), (RISE, val)):
        order = "; ".join(
            f"{r.title} {r.strict:.2f} {bounds(r.low, r.high)} ({each(r.runs)})"
            + ("" if r.reached else " at its end, before this cost")
            for r in of.itertuples()
        )
        said = f"no claim to judge; least: {of.title.iloc[0]}"
        rows.add("one_cost", order, f"{several(seeds, 'seed')}, {n} sequences", said, rise=rise)
    both = val.set_index("method").runs.to_frame("val").join(verse.set_index("method").runs.rename("verse"))
    if "balanced_subnet" in both.index:
        gap = over_seeds(np.subtract(both.verse["balanced_subnet"], both.val["balanced_subnet"]))
        rows.put("balanced_subnet_gap", gap)
        rows.add(
            "balanced_subnet",
            f"at +{RISE} nats: located {each(both.val['balanced_subnet'])}, second family "
            f"{each(both.verse['balanced_subnet'])} by seed; gap {over(gap)}",
            f"{several(seeds, 'seed')}, {n} and {int(verse.n.max())} sequences",
            judged(gap) + RULE,
            effects="balanced_subnet_gap",
        )


def _by_method(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        r.method: {"strict": r.strict, "low": r.low, "high": r.high, "runs": list(r.runs), "reached": bool(r.reached)}
        for r in table.itertuples()
    }


def _transfer(rows: Rows, table: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Against random weights at the very cost of the edit, and against edits of sets that the model never saw. As many
    random rows or columns cost a fifth of it, so that what they leave says little: it stands beside.
    """
    if table.empty:
        return
    lines = frames.transfer(table)
    for method in [m for m in ("contrast", "corrected", "eigen") if m in set(table.method)]:
        of = lines[lines.method == method].set_index(["source", "set"])
        for among, name in (("others", "other memorised sequences"), ("verse", "the second family")):
            equal = frames.at_cost(curves, table, method, among)
            unseen = frames.transfer_gap(table, method, among, "unseen")
            if ("memorised", among) not in of.index or equal is None or unseen is None:
                continue
            equal_gap, left, costs = equal
            rows.put(f"transfer_{method}_{among}", equal_gap)
            rows.put(f"transfer_{method}_{among}_unseen", unseen)
            own, theirs = of.loc[("memorised", "own")], of.loc[("unseen", among)]
            beside = "; ".join(
                f"as many {c} ({of.loc[(c, among)].rise:+.3f} nats) leave {each(of.loc[(c, among)].runs)}"
                for c in ("random rows", "random columns")
                if (c, among) in of.index
            )
            both = [equal_gap, unseen]
            flat = [g for g in both if not g.high - g.low > 1e-9]  # one model, or models that agree entirely
            word = judged(flat[0]) if flat else verdict(min(g.low for g in both) > 0, max(g.high for g in both) < 0)
            rows.add(
                "transfer",
                f"own set {each(own.runs)} by seed, {name} {each(of.loc[('memorised', among)].runs)} (clean loss"
                f" {each(costs, 3)} up); random weights at that cost leave {each(left)}: the edit leaves"
                f" {over(equal_gap)} less; edits of unseen sets (clean loss {theirs.rise:.2f} up) leave"
                f" {each(theirs.runs)}: {over(unseen)} less" + (f"; {beside}" if beside else ""),
                f"{several(len(own.runs), 'seed')}, {int(own.n)} sequence-edits of the own set",
                word + " (rule: interval over seeds above 0 against random weights of equal cost and against edits of"
                " unseen sets)",
                EVERY,
                effects=(f"transfer_{method}_{among}", f"transfer_{method}_{among}_unseen"),
                name=name,
                method=frames.title(method),
            )


def _places(rows: Rows, table: pd.DataFrame) -> None:
    lines = frames.recall(table)
    at = lines[lines.k == lines.k.min()].sort_values("recall", ascending=False)
    rows.numbers["recall"] = {f"{r.locator} @ {r.k:g}": [r.recall, r.low, r.high] for r in lines.itertuples()}
    rows.numbers["injections"] = int(at.injections.max())
    learned = at[~at.locator.isin(("magnitude",))].iloc[0]
    seeds = at.set_index("locator").seeds
    text = "; ".join(f"{r.title} {r.recall:.2f} {bounds(r.low, r.high)}" for r in at.itertuples())
    rivals = [m for m in seeds.index if m not in ("magnitude", "hard_concrete")]
    apart = [frames.recall_gap(table, "hard_concrete", m) for m in rivals] if "hard_concrete" in seeds else []
    adjusted = nested_holm(apart) if apart else np.array([])
    one = len(learned.seeds) < 2
    n = f"{int(at.injections.max())} injections in {several(len(learned.seeds), 'seed')}, {int(at.n.max())} neurons"
    first = all(d.interval.estimate > 0 and p <= 0.05 for d, p in zip(apart, adjusted))
    behind = [frames.title(m) for m, d, p in zip(rivals, apart, adjusted) if d.interval.estimate < 0 and p <= 0.05]
    ahead = f"{', '.join(behind)} find{'s' * (len(behind) == 1)} more" if behind else ""
    rows.add(
        "planted",
        f"recall at {100 * at.k.iloc[0]:g} % (intervals over seeds), chance {at.chance.iloc[0]:.3f}: {text}",
        n,
        ("not judged: one model" if one else verdict(first, bool(behind), ahead, otherwise="p above .05"))
        + " (rule: hard concrete minus every other locator that looks at data, seeds and neurons in p)",
        f"Holm over {len(rivals)}",
    )
    of_all = zip(at.itertuples(), holm(np.nan_to_num(at.p.to_numpy(float), nan=1.0)))
    sure = [r.title for r, p in of_all if r.recall > r.chance and p <= 0.05]
    misses = "; ".join(f"{r.title} finds none in {sum(v == 0 for v in r.runs)}" for r in at.itertuples() if 0 in r.runs)
    if not one:
        part = f"{len(sure)} of {len(at)} shown" if sure else ""
        rows.add(
            "planted_chance",
            f"above chance: {', '.join(sure) or 'none'}"
            + (f"; of {int(at.injections.max())} injections {misses}" if misses else ""),
            n,
            verdict(len(sure) == len(at), False, part, bool(sure), "p above .05")
            + " (rule: recall minus chance; p: the largest of t over seeds, t over injections and the exact one of"
            " the neurons)",
            f"Holm over {len(at)}",
        )
    magnitude = at[at.locator == "magnitude"]
    if len(magnitude):
        more = over_seeds(np.subtract(magnitude.seeds.iloc[0], learned.seeds))
        rows.add(
            "planted_trap",
            f"column norm, no data: {magnitude.recall.iloc[0]:.2f}, by injection"
            f" {each(magnitude.runs.iloc[0])}; more than the best locator that looks at data ({learned.title})"
            f" by {over(more)}",
            n,
            judged(more) + " (rule: magnitude minus the best that looks at data, over seeds)",
        )


def _gone(rows: Rows, table: pd.DataFrame) -> None:
    if table.empty:
        return
    seeds = table.seed.nunique()
    for line in frames.words(table).itertuples():
        of = table[table.method == line.method]
        counts = {"words": list(line.words), "by": line.by, "before": line.before, "after": line.after}
        rows.numbers[f"gone_{line.method}"] = counts
        attacked = of[of.attack != "none"] if "recovered" in of else of.iloc[:0].assign(recovered=[], control=[])
        best = attacked.groupby("attack")[["recovered", "control"]].mean()
        text = "; ".join(f"{name} {r.recovered:.2f} (twin {r.control:.2f})" for name, r in best.iterrows())
        saved = of.iloc[:0]
        if "savings_savings" in of:
            # where the edit leaves half already, or neither model comes to half, no steps can be compared
            ends = of.savings_censored.astype(str) != "edited, twin"
            saved = of[of.savings_savings.notna() & ends & (of.savings_start < 0.5)]
        steps = ", ".join(
            f"{arm.removeprefix('training on ')}"
            f" {'at least ' * bool((g.savings_censored == 'twin').any())}{each(g.savings_savings, 0)}"
            for arm, g in saved.groupby("attack", sort=False)
        )
        more = f"; steps saved on the way to half of the target against the never-trained twin: {steps}" * bool(steps)
        hides = [w == "hides" for w in line.words]
        smallest = of.groupby("seed").holm.min() if "holm" in of else pd.Series(dtype=float)
        some = any(hides) and bool((smallest * line.seeds <= 0.05).any())  # in one of several seeds: paid for
        part = f"hides in {sum(hides)} of {several(line.seeds, 'seed')}" if some else ""
        rows.add(
            "gone",
            f"recited {line.before} before, {line.after} after; share of what was cut that comes back:"
            f" {text}{more}; by seed: {', '.join(line.words)}",
            f"{several(line.seeds, 'seed')}, {line.before} sequences"
            + ("" if line.seeds == seeds else "; in the others every dose costs more"),
            verdict(all(hides), all(w == "erases" for w in line.words), part, some).removesuffix(
                ": the interval holds 0"
            )
            + (f"; by {line.by}" if line.by else "")
            + " (rule: every seed's word is hides, in part one's after Bonferroni over seeds; an attack counts at"
            " Holm p .05 over the twin)",
            f"Holm over attacks in each seed, Bonferroni over {several(line.seeds, 'seed')}",
            title=line.title,
        )


def _damage(rows: Rows, table: pd.DataFrame) -> None:
    left = frames.kept(table)
    rows.numbers["kept"] = {f"{r.method}, {r.task}": list(r.runs) for r in left.itertuples()}
    for method in [m for m in ("contrast", "corrected", "zero_out", "eigen") if m in set(left.method)]:
        of = left[left.method == method].set_index("task")
        cost = table[(table.method == method) & (table.source == "memorised")]
        there = [t for t in IN_WEIGHTS if t in of.index]
        gap = over_seeds(np.subtract(of.runs["copy"], np.mean([of.runs[t] for t in there], axis=0)))
        rows.put(f"damage_{method}", gap)
        loss, rank = (cost[cost.measure == m] for m in ("clean loss", "nDCG@10"))
        rows.add(
            "damage",
            "share of accuracy kept, by seed: "
            + "; ".join(f"{t} {each(r.runs)}" for t, r in of.iterrows())
            + f"; copying minus the mean of facts and sums {over(gap)}; clean loss on other rows"
            f" {each(loss.change)}, nDCG@10 {each(rank.after)}",
            f"{several(len(loss), 'seed')}, {int(of.n.max())} questions a task",
            judged(gap) + RULE,
            effects=f"damage_{method}",
            method=frames.title(method),
        )


def _smollm2(rows: Rows, recitation: pd.DataFrame, demonstration: pd.DataFrame) -> None:
    every, parts = recitation[recitation.text == "all"].sort_values("suffix"), recitation[recitation.text != "all"]
    rows.numbers["smollm2"] = {
        f"suffix {int(r.suffix)}": [int(r.recited), int(r.n), float(r.low), float(r.high)] for r in every.itertuples()
    }
    last, of = every.iloc[-1], parts[parts.suffix == every.suffix.max()]
    counts = {int(k): (int((p.recited > 0).sum()), len(p)) for k, p in parts.groupby("suffix")}
    count, all_texts = counts[int(last.suffix)]
    some = proportion(count, all_texts)
    share = over_seeds((of.recited / of.n).to_numpy(float))
    rows.add(
        "smollm2",
        "; ".join(
            f"next {int(r.suffix)} tokens {int(r.recited)} of {int(r.n)} windows, in {counts[int(r.suffix)][0]} of"
            f" {counts[int(r.suffix)][1]} texts"
            for r in every.itertuples()
        )
        + f"; texts with such a window of {int(last.suffix)} tokens: {shown(some)} (exact); tokens right one by one"
        f" {last.token_accuracy:.2f}",
        f"{len(of)} texts, {int(last.n)} overlapping windows",
        verdict(share.low > 0.05, some.high < 0.05, otherwise=f"{count} of {len(of)} texts have one")
        + ": too little for a study of edits" * (not share.low > 0.05)
        + " (rule: over texts, lower bound of the share of windows of 12 tokens above .05)",
    )
    by = demonstration.set_index(["method", "dose"])
    planted = by.loc["planted"].iloc[0]
    cuts = demonstration[demonstration.method.isin(("corrected", "contrast"))]
    best = cuts.sort_values(["strict", "loss"]).groupby("method").head(1)
    rows.numbers["demonstration"] = {r.method: [r.dose, r.strict, r.loss] for r in best.itertuples()} | {
        "planted": [float(planted.strict), float(planted.loss)]
    }
    rows.add(
        "demonstration",
        f"planted: strict {planted.strict:.2f}, loss on well-known text {planted.loss:.2f} (before planting"
        f" {by.loc['unplanted'].iloc[0].loss:.2f}); "
        + "; ".join(
            f"{frames.title(r.method)} at {100 * r.dose:g} %: strict {r.strict:.2f} {bounds(r.low, r.high)},"
            f" loss {r.loss:.2f}"
            for r in best.itertuples()
        ),
        f"1 copy, {int(planted.n)} passages",
        "a demonstration, not judged",
    )
