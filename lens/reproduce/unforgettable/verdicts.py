"""The claims about random labels against what was measured; units are tasks within models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ... import stats
from ...stats import Interval
from ...stats.units import nested, nested_difference, rate_over_runs
from ..claims import Rows
from ..common import clear_of, matching, several, shown, student, table_of, verdict
from . import tables as frames
from .claims import CLAIMS

#: Before training, of the items: what is asked beside difficulty.
PREDICTORS = ("confidence", "variance")
#: Why a claim was not judged, where nothing of it was measured.
UNTESTED = {
    "natural": "this preset asks no language model",
    "right": "this preset trains on no right answers",
    "labels": "no task reached its stop under both kinds of answers",
    "marker": "no task reached its stop with its own words and without",
    "rule": "a model lacks runs of rules or of stored tasks that reached their stop",
    **dict.fromkeys(("difficulty", "confidence", "gradients"), "fewer than six tasks reached their stop"),
    "content": "fewer than five tasks reached their stop",
    "probes": "no run of a task that one symbol decides reached its stop",
    **dict.fromkeys(("varies", "vector", "savings", "where"), "no run reached its stop"),
}


def verdicts(tables: Mapping[str, pd.DataFrame], seed: int = 0) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    rows = Rows(CLAIMS)
    spread = frames.spread(tables["runs"])
    rows.numbers |= {"models": int(tables["runs"].seed.nunique()), "tasks": int(tables["runs"].task.nunique())}
    _right(rows, tables, seed)
    _forgotten(rows, tables["runs"])
    _spread(rows, spread, tables.get("language", pd.DataFrame()), seed)
    _predicted(rows, spread, tables["predictors"], seed)
    matrix, probes, vectors, relearning, layers = (
        frames.at_the_stop(tables[name], tables["runs"])
        for name in ("matrix", "probes", "vectors", "relearning", "layers")
    )
    _content(rows, matrix, seed)
    for labels in dict.fromkeys(layers.get("labels", ())):
        _probes(rows, probes, labels, seed)
        _vectors(rows, vectors, labels, seed)
        _savings(rows, relearning, labels, seed)
        _where(rows, layers, labels, seed)
    judged = {row.key for row in rows}
    for key in [key for key in CLAIMS if key not in judged]:
        rows.add(key, "not measured", 0, f"not tested: {UNTESTED[key]}", labels="drawn", predictor=PREDICTORS[0])
    rows.sort(key=lambda row: list(CLAIMS).index(row.key))
    return table_of(rows), rows.numbers


def over_tasks(runs: pd.DataFrame, column: str, seed: int) -> Interval:
    """The mean over tasks, each the mean of its runs, with Student's t over the tasks of one model, and an interval
    that holds both levels where there are several; none of fewer than two tasks.
    """
    table = frames.by_task(runs.dropna(subset=[column]), column)
    if table.seed.nunique() < 2:
        return student(table[column])
    return nested(table[column], table.seed, seed=seed, of="number").interval


def shares(runs: pd.DataFrame, column: str) -> Interval:
    """The share of runs of which something is so, over tasks within models as `over_tasks`: the wider of Korn and
    Graubard's interval over tasks and that over models.
    """
    table = frames.by_task(runs, column)
    each, models = max(1, len(runs) // len(table)), table.groupby("seed")[column].mean()
    tasks = rate_over_runs(table[column], each)
    if len(models) < 2:
        return tasks
    over = rate_over_runs(models, len(runs) // len(models))
    return replace(tasks, low=min(tasks.low, over.low), high=max(tasks.high, over.high))


def _units(table: pd.DataFrame, of: str = "model") -> str:
    seeds, tasks = table.seed.nunique(), table.task.nunique()
    return f"{tasks} tasks, {several(seeds, of)}"


def _right(rows: Rows, tables: Mapping[str, pd.DataFrame], seed: int) -> None:
    gates, of = tables["gates"], matching(tables["matrix"], labels="right")
    failed = gates[~gates.holds.astype(bool)]
    own = matching(tables["runs"], labels="right")
    if own.empty:
        return
    moved = pd.concat([of.assign(change=of.after - of.before), own.assign(change=own.held - own.held_before)])
    mean = rows.put("right_change", over_tasks(moved, "change", seed))
    worst = float(moved.change.iloc[int(moved.change.abs().to_numpy().argmax())])
    rows.numbers |= {"right_worst": worst, "gates_failed": len(failed)}
    within = bool(moved.change.abs().max() <= 0.03)
    share = float((moved.change.abs() <= 0.03).mean())
    rows.add(
        "right",
        f"{len(gates) - len(failed)} of {len(gates)} gates hold; change {shown(mean, 3, sign=True)}, the largest"
        f" {worst:+.2f}, {share:.0%} within .03",
        f"{_units(own)}, {len(moved)} accuracies",
        verdict(within and failed.empty, not within or not failed.empty, "some tasks move by more" * (not within)),
        effects="right_change",
    )


def _forgotten(rows: Rows, runs: pd.DataFrame) -> None:
    of = runs[runs.labels != "right"]
    found = rows.put("reached", shares(of, "reached"))
    by = ", ".join(f"{kind} {share:.2f}" for kind, share in of.groupby("labels", sort=False).reached.mean().items())
    rows.add(
        "forgotten",
        f"{shown(found)} of the runs ({by})",
        f"{len(of)} runs, {_units(of)}",
        verdict(found.estimate >= 0.8, float(found.high) < 0.8, otherwise="fewer, but the interval holds .8"),
        effects="reached",
    )


def _spread(rows: Rows, spread: pd.DataFrame, language: pd.DataFrame, seed: int) -> None:
    for labels, of in spread.groupby("labels", sort=False):
        rows.put(f"G {labels}", over_tasks(of, "G", seed))
        for form, part in of.groupby("form", sort=False):
            rows.put(f"G {labels} {form}", over_tasks(part, "G", seed))
    for labels in ("fixed", "redrawn"):
        _varies(rows, "varies", matching(spread, labels=labels, form="instruction"), labels, seed)
        if not language.empty:
            _varies(rows, "natural", matching(language.dropna(subset=["G"]), labels=labels), labels, seed)
    wide = spread.pivot_table(index=["seed", "task", "form"], columns="labels", values="G")
    if {"fixed", "redrawn"} <= set(wide):
        _difference(rows, "labels", (wide.redrawn - wide.fixed).dropna(), seed)
    wide = spread.pivot_table(index=["seed", "task", "labels"], columns="form", values="G")
    if {"instruction", "common"} <= set(wide):
        _difference(rows, "marker", (wide.instruction - wide.common).dropna(), seed)
    of = matching(spread, labels="fixed", form="instruction")
    arms = {kind: [part.G.to_numpy() for _, part in of[of.kind == kind].groupby("seed")] for kind in ("rule", "stored")}
    if len(arms["rule"]) == len(arms["stored"]) > 0:
        means = [float(np.mean([x.mean() for x in arms[kind]])) for kind in arms]
        few = min(len(x) for arm in arms.values() for x in arm) < 2
        none = Interval(means[0] - means[1], np.nan, np.nan, 0.95, 2, "one task of a kind")
        apart = none if few else nested_difference(arms["rule"], arms["stored"], seed=seed).interval
        rows.put("rule", apart)
        beyond = clear_of(apart) if apart.estimate > 0 else clear_of(apart, more=False)
        if few:
            beyond = "not tested: of one kind a single task reached its stop, and an interval needs two"
        rows.add("rule", f"{means[0]:.2f} against {means[1]:.2f}: {shown(apart, sign=True)}", _units(of), beyond,
                 effects="rule")  # fmt: skip


def _varies(rows: Rows, key: str, of: pd.DataFrame, labels: str, seed: int) -> None:
    """Whether G differs between tasks by more than between models (or seeds of adapters)."""
    if of.empty:
        return
    sd, between, p = frames.variation(of, seed)
    name = f"sd {labels}" if key == "varies" else f"sd {labels} {key}"
    rows.put(name, sd)
    rows.numbers[f"p {name}"] = p
    of_seeds = "model" if key == "varies" else "adapter seed"
    here = f"G {of.G.mean():.2f}, sd {shown(sd)}"
    if np.isfinite(p):
        here += f"; between seeds {between:.2f}, p {p:.3g} (Monte Carlo permutation)"
        small = "the interval of the deviation holds .25"
        word = verdict(
            sd.estimate >= 0.25 and p < 0.01,
            float(sd.high) < 0.25,
            otherwise=small if sd.estimate < 0.25 else "not above the deviation between seeds",
        )
    else:
        word = "does not hold" if float(sd.high) < 0.25 else "not tested: one seed has no deviation between seeds"
    rows.add(key, here, _units(of, of_seeds), word, effects=name, labels=labels)


def _difference(rows: Rows, key: str, apart: pd.Series, seed: int) -> None:
    """A claim that G is larger by .2; a unit is a task of a model, over its forms or labels."""
    of = apart.reset_index(name="G")
    interval = rows.put(key, over_tasks(of, "G", seed))
    word = clear_of(interval, 0.2)
    if word.startswith("does not") and float(interval.low) > 0:
        word += "; the difference is above 0, but small"
    rows.add(key, f"difference {shown(interval, sign=True)}", _units(of), word, effects=key)


def _predicted(rows: Rows, spread: pd.DataFrame, predictors: pd.DataFrame, seed: int) -> None:
    table, last = frames.predicted(spread, predictors)
    n = len(table)
    if n < 6:
        return
    columns = {
        "accuracy": "accuracy",
        "confidence": "confidence",
        "variance": f"variance {last}",
        "cosine": "gradient cosine",
    }
    found = {
        name: stats.rank_correlation(table[column], table.G, interval="fisher", exchangeable=True, seed=seed)
        for name, column in columns.items()
        if table[column].nunique() > 1 and table.G.nunique() > 1
    }
    for name, one in found.items():
        rows.put(f"rho {name}", one.interval)
        rows.numbers[f"p {name}"] = float(one.p)
    units, flat = f"{n} tasks, means over models and kinds of answers", float(table.G.std())
    note = f"; G varies by {flat:.2f} only" if flat < 0.1 else ""
    same = {name: f"every task has {float(table[of].iloc[0]):.3g}" for name, of in columns.items() if name not in found}
    if "accuracy" in found:
        of = found["accuracy"].interval
        bounded = CLAIMS["difficulty"].within(float(of.low), float(of.high))
        apart = float(of.low) > 0.3 or float(of.high) < -0.3
        word = verdict(bounded, apart, otherwise="the interval reaches beyond the bounds")
        rows.add("difficulty", f"rho {shown(of, sign=True)}{note}", units, word, effects="rho accuracy")
    else:
        word = "not tested: an accuracy that is the same for all tasks predicts nothing"
        rows.add("difficulty", same["accuracy"], units, word)
    judged = [name for name in PREDICTORS if name in found]
    holm = stats.holm(np.array([float(found[name].p) for name in judged])) if judged else []
    for name, p in zip(judged, holm, strict=True):
        one = found[name]
        rows.add(
            "confidence",
            f"rho {shown(one.interval, sign=True)}, p {p:.3g} ({one.test.kind}){note}",
            units,
            verdict(one.rho < 0 and p <= 0.05, one.rho > 0 and p <= 0.05, otherwise=f"p {p:.2f}"),
            f"Holm over {len(judged)}",
            effects=f"rho {name}",
            predictor="confidence" if name == "confidence" else "variance of the last states",
        )
    if "cosine" not in found:
        return
    more = rows.put("gradients", frames.better(table, last, seed))
    rows.add(
        "gradients",
        f"rho {found['cosine'].rho:+.2f}; minus the largest of the three {shown(more, sign=True)}{note}",
        units,
        clear_of(more),
        effects="gradients",
    )


def _content(rows: Rows, matrix: pd.DataFrame, seed: int) -> None:
    of = matching(matrix[matrix.labels.isin(("fixed", "redrawn"))], form="instruction")
    if of.task.nunique() < 5:
        return
    shares = frames.explained(of, seed)
    for name, interval in shares.items():
        rows.put(f"explained {name}", interval)
    form, content = shares["words and form"], shares["content"]
    rows.add(
        "content",
        f"words and form explain {shown(form)}, content beyond them {shown(content)}; other tasks lose"
        f" {float(frames.losses(of).mean()):.2f} of their ability on average",
        f"{_units(of)}, {len(of)} pairs of tasks",
        verdict(
            form.estimate >= 0.5 and content.estimate <= 0.1,
            float(form.high) < 0.5 or float(content.low) > 0.1,
            otherwise="an interval holds its bound",
        ),
        effects=("explained words and form", "explained content"),
    )


def _probes(rows: Rows, probes: pd.DataFrame, labels: str, seed: int) -> None:
    table = frames.probed(probes, labels)
    if table.empty:
        return
    parts = []
    for name in ("selectivity", "new symbols"):
        for when in ("before", "after"):
            rows.put(f"{name} {when} {labels}", over_tasks(table, f"{name} {when}", seed))
        ratio = rows.put(f"{name} {labels}", frames.ratio(table, f"{name} after", f"{name} before", seed))
        rows.numbers[f"words {name} {labels}"] = float(table[f"{name} words"].mean())
        parts.append((name, ratio, float(table[f"{name} words"].mean()), float(table[f"{name} before"].mean())))
    here = "; ".join(
        f"{name} {rows.numbers[f'{name} before {labels}']:.2f} before, {rows.numbers[f'{name} after {labels}']:.2f}"
        f" after (ratio {shown(ratio)}), the words {words:.2f}"
        for name, ratio, words, _ in parts
    )
    read = [before > 0.05 for *_, before in parts]
    holds = all(r.estimate >= 0.8 and words < 0.3 * before for _, r, words, before in parts) and all(read)
    # the words of the question against .3 of what the states give
    over = [
        over_tasks(table.assign(over=table[f"{name} words"] - 0.3 * table[f"{name} before"]), "over", seed)
        for name, *_ in parts
    ]
    lost = [float(r.high) < 0.8 for _, r, *_ in parts]
    fails = any(gone or float(of.low) > 0 for gone, of, ok in zip(lost, over, read, strict=True) if ok)
    much = any(of.estimate >= 0 for of in over)
    otherwise = "the words of the question give about .3 of it, or more" if much else "an interval holds .8"
    word = verdict(holds, fails, otherwise=otherwise)
    if not all(read):
        unread = " and ".join(name for (name, *_), ok in zip(parts, read) if not ok)
        word = f"not shown: there is no {unread} before"
    rows.add("probes", here, _units(table), word, effects=f"new symbols {labels}", labels=labels)


def _vectors(rows: Rows, vectors: pd.DataFrame, labels: str, seed: int) -> None:
    table = frames.recovery(matching(vectors, labels=labels))
    if table.empty:
        return
    names = {
        "old": "old vector",
        "random of old": "random",
        "new": "new one taken away",
        "shown": "from demonstrations",
    }
    by = {}
    for condition in [c for c in names if c in set(table.condition)]:
        of = table[table.condition == condition]
        by[condition] = rows.put(f"{condition} {labels}", over_tasks(of, "share", seed))
    old, random = by["old"], by["random of old"]
    rows.add(
        "vector",
        "; ".join(f"{names[c]} {shown(interval)}" for c, interval in by.items()),
        f"{_units(table)}, each half of the unseen items",
        verdict(
            old.estimate >= 0.5 and random.estimate < 0.1,
            float(old.high) < 0.5 or float(random.low) >= 0.1,
            otherwise="an interval holds its bound",
        ),
        effects=(f"old {labels}", f"random of old {labels}"),
        labels=labels,
    )


def _savings(rows: Rows, relearning: pd.DataFrame, labels: str, seed: int) -> None:
    of = matching(relearning, labels=labels)
    table = frames.savings(of)
    if table.empty:
        shown_right = matching(of, by="demonstrations", arm="forgotten")
        ends = {kind: float(part.accuracy.mean()) for kind, part in shown_right.groupby(shown_right.step > 0)}
        few = matching(of, by="few right items", arm="forgotten")
        here = f"{float(few[few.step == few.step.max()].accuracy.mean()):.2f} right at the end, no twin was asked"
        here += f"; demonstrations: {ends.get(True, np.nan):.2f} right, {ends.get(False, np.nan):.2f} without"
        rows.add("savings", here, _units(of), "not judged: the twin was not asked", labels=labels)
        return
    gained = rows.put(f"savings {labels}", over_tasks(table, "savings", seed))
    rows.numbers |= {f"gain {labels}": float(table.forgotten.mean()), f"gain twin {labels}": float(table.twin.mean())}
    rows.add(
        "savings",
        f"gain {table.forgotten.mean():+.2f} against {table.twin.mean():+.2f} of the twin: {shown(gained, sign=True)};"
        f" ten demonstrations: {table.shown.mean():.2f} right, {table.base.mean():.2f} without",
        _units(table),
        clear_of(gained),
        effects=f"savings {labels}",
        labels=labels,
    )


def _where(rows: Rows, layers: pd.DataFrame, labels: str, seed: int) -> None:
    table = frames.repaired(matching(layers, labels=labels))
    if table.empty:
        return
    depth = int(table.layer.max()) + 1
    each = {int(layer): over_tasks(of, "share", seed) for layer, of in table.groupby("layer")}
    for layer, interval in each.items():
        rows.put(f"repaired {layer} {labels}", interval)
    first = next((l for l in each if all(each[k].estimate >= 0.8 for k in each if k >= l)), depth)
    rows.numbers[f"first layer {labels}"] = first
    random = table.groupby("layer").random_share.mean()
    at = each.get(first)
    earlier = [float(each[layer].high) < 0.8 for layer in each if layer < depth / 2]
    word = verdict(
        first < depth and first >= depth / 2 and all(earlier),
        any(float(each[layer].low) >= 0.8 for layer in each if first <= layer < depth / 2),
        f"from layer {first} on" * (first < depth / 2),
        otherwise="the interval of an earlier layer holds .8" if first < depth else "no layer repairs .8",
    )
    rows.add(
        "where",
        ", ".join(f"layer {l} {shown(interval)} (random {random[l]:.2f})" for l, interval in each.items())
        + f"; from layer {first} on at least .8" * (at is not None),
        f"{_units(table)}; copies into the last layer replace all that comes after",
        word,
        effects=f"repaired {min(first, depth - 1)} {labels}",
        labels=labels,
    )
