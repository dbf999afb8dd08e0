"""The claims about commitment against what was measured: words count, seeds stand above them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ...stats import Interval
from ...stats.units import Nested, nested_holm
from ..claims import Rows
from ..common import ALONE, EVERY, clear_of, every, several, shown, table_of, verdict
from .claims import CLAIMS
from .model_verdicts import of_canaries, of_sentences
from .rules import agree, auc, by_word, matched, mean_over_words, over_words, spearman, within
from .tables import RANDOM, early_layer, judged_items, with_layers

Tables = Mapping[str, pd.DataFrame]
DSS, CAS, REPAIRED = (
    ("DSS commitment", "DSS as coded commitment"),
    ("CAS commitment", "CAS as coded commitment"),
    ("contrast commitment",),
)
#: Two looks at one claim: each interval at 97.5 %.
TWO = "Bonferroni over 2 (intervals of 97.5 %)"


class Judge:
    """What every claim is judged on: `items` of the middle, those that report, and the layers of these."""

    def __init__(self, tables: Tables, seed: int, resamples: int):
        self.tables, self.seed, self.resamples = tables, seed, resamples
        self.rows = Rows(CLAIMS)
        self.items = judged_items(tables["items"])
        self.report = self.items[self.items.part == "report"].reset_index(drop=True)
        self.last = int(tables["layers"].layer.max())
        gates = tables["gates"]
        self.set_up = bool(len(gates)) and bool(gates.holds.all())

    def words(self, items: pd.DataFrame | None = None) -> str:
        """How many units a row has."""
        of = self.items if items is None else items
        return f"{len(of.groupby(['seed', 'word']))} words, {len(of)} items, {several(of.seed.nunique(), 'seed')}"

    def over(self, frame: pd.DataFrame, statistic: Any, level: float = 0.95) -> Interval:
        """See `rules.over_words`."""
        return over_words(frame, statistic, self.seed, self.resamples, level)

    def mean(self, frame: pd.DataFrame, column: str, bounds: tuple[float, float] | None = None) -> Nested | None:
        """The mean of a column over words."""
        return mean_over_words(by_word(frame, column), self.seed, bounds)

    def tested(self, word: str) -> str:
        """A verdict, or that nothing can be said where the organisms do not do what they must."""
        return word if self.set_up else "not judged: not tested, the set-up does not hold"


def verdicts(tables: Tables, seed: int, resamples: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    judge = Judge(tables, seed, resamples)
    for part in (_set_up, _exists, _errors, _markers, _early, _late, _rho, _race, _edges, _doses, _probes):
        part(judge)
    of_canaries(judge.rows)
    of_sentences(judge.rows, tables["sentences"], seed, resamples)
    return table_of(judge.rows), judge.rows.numbers


def _no(found: Nested | None) -> Interval:
    return found.interval if found is not None else Interval(np.nan, np.nan, np.nan, 0.95, 0, "nothing measured")


def _set_up(judge: Judge) -> None:
    gates = judge.tables["gates"]
    failed = [f"{g.name} of seed {g.seed}, {g.moment} ({g.value:.2f})" for g in gates.itertuples() if not g.holds]
    judge.rows.add(
        "setup",
        f"{int(gates.holds.sum())} of {len(gates)} gates hold" + (f"; not {', '.join(failed)}" if failed else ""),
        f"{several(gates.seed.nunique(), 'seed')}, 2 moments",
        verdict(judge.set_up, not judge.set_up),
    )
    of = judge.items[judge.items.null.notna()]
    share = judge.rows.put("null", _no(judge.mean(of.assign(inside=(of.null <= 0.1).astype(float)), "inside", (0, 1))))
    whole = float((of.null_whole <= 0.1).mean())
    judge.rows.add(
        "null",
        f"{shown(share)} of items stay within .1 from layer 1 on (of whole prompts, layer 0, {whole:.2f})",
        judge.words(of),
        judge.tested(clear_of(share, 0.9)),
        effects="null",
    )


def _exists(judge: Judge) -> None:
    of = judge.items.dropna(subset=["depth"]).reset_index(drop=True)

    def spread(i: np.ndarray) -> float:
        means = of.iloc[i].groupby(["seed", "word"]).depth.mean()
        return float(np.subtract(*np.quantile(means, [0.75, 0.25]))) if len(means) else np.nan

    found = judge.rows.put("exists", judge.over(of, spread))
    below = judge.rows.put("below", _no(judge.mean(of.assign(below=(of.depth < judge.last).astype(float)), "below")))
    known = judge.items.assign(known=judge.items.depth.notna().astype(float))
    determined = judge.rows.put("determined", _no(judge.mean(known, "known", (0, 1))))
    middle = float(by_word(of, "depth").median()) if len(of) else np.nan
    judge.rows.numbers["median_depth"] = middle
    end = judged_items(judge.tables["items"], "end").dropna(subset=["depth"])
    judge.rows.numbers["median_depth_end"] = float(by_word(end, "depth").median()) if len(end) else np.nan
    words = [agree(found), clear_of(below, 0.5), clear_of(determined, 0.9)]
    judge.rows.add(
        "exists",
        f"quartiles apart by {shown(found)} layers about {middle:.1f} of {judge.last}; below the last layer"
        f" {shown(below)}; determined {shown(determined)} of items; at the end of training the median is"
        f" {judge.rows.numbers['median_depth_end']:.1f}",
        judge.words(),
        judge.tested(every(words)),
        EVERY,
        effects=("exists", "below", "determined"),
    )


def _strata(of: pd.DataFrame) -> np.ndarray:
    return (of.seed.astype(str) + "/" + of.dose.astype(str) + "/" + of.after.astype(str)).to_numpy()


def _errors(judge: Judge) -> None:
    of = judge.items.dropna(subset=["depth", "wrong"]).reset_index(drop=True)
    depth, wrong, strata = of.depth.to_numpy(), of.wrong.to_numpy() == 1, _strata(of)
    found = judge.rows.put("errors", judge.over(of, lambda i: matched(depth[i], wrong[i], strata[i])))
    means = [float(depth[wrong == kind].mean()) if (wrong == kind).any() else np.nan for kind in (True, False)]
    clear = found.low > 0 or found.high < 0
    judge.rows.add(
        "errors",
        f"wrong {means[0]:.2f}, right {means[1]:.2f}; matched difference {shown(found, sign=True)} layers",
        judge.words(of),
        judge.tested(verdict(clear, False) if np.isfinite(found.low) else f"not shown: {found.method}"),
        effects="errors",
    )


def _markers(judge: Judge) -> None:
    keys = ["seed", "moment", "item"]
    marks = judge.tables["markers"].merge(judge.items[[*keys, "depth"]], on=keys).dropna(subset=["depth"])
    chosen = judge.items[judge.items.part == "choose"].groupby("seed").depth.median()
    for key, names in (("dss", DSS), ("cas", CAS), ("repaired", REPAIRED)):
        found: dict[str, tuple[Nested, pd.DataFrame]] = {}
        for name in names:
            of = marks[(marks.marker == name) & (marks.part == "report")].reset_index(drop=True)
            # what is never reached is not settled before the end
            layer = of.layer.fillna(judge.last)
            constant = of.seed.map(chosen)
            gain = (constant - of.depth).abs() - (layer - of.depth).abs()
            of = of.assign(gain=gain, reached=layer, apart=(layer - of.depth).abs(), fixed=(constant - of.depth).abs())
            mean = judge.mean(of, "gain", (-float(judge.last), float(judge.last)))
            if mean is not None:
                found[name] = mean, of
        if not found:
            continue
        adjusted = dict(zip(found, nested_holm([mean for mean, _ in found.values()])))
        for name, (mean, of) in found.items():
            judge.rows.put(f"gain {name}", mean.interval)
            inside = within(of.reached.to_numpy(), of.depth.to_numpy(), (of.seed.astype(str) + of.word).to_numpy())
            judge.rows.numbers[f"within {name}"] = inside
            word, p = clear_of(mean.interval), float(adjusted[name])
            if p > 0.05 and not word.startswith("not shown"):
                word = f"not shown: p_holm {p:.2g}"
            judge.rows.add(
                key,
                f"{of.apart.mean():.2f} layers away, the constant {of.fixed.mean():.2f}; nearer by"
                f" {shown(mean.interval, sign=True)}, p_holm {p:.2g}; correlation within a word {inside:.2f}; never"
                f" reached {of.layer.isna().mean():.2f}",
                judge.words(of),
                judge.tested(word),
                f"Holm over {len(found)}" if len(found) > 1 else ALONE,
                effects=f"gain {name}",
                marker=name,
            )


def _early(judge: Judge) -> None:
    layers, keys = judge.tables["layers"], ["seed", "moment", "item"]
    of_words = with_layers(layers, judge.report[judge.report.wrong.notna()])
    output = judge.tables["predictors"].set_index("predictor").auc
    # each at its own best layer of other words
    theirs = early_layer(layers, judge.items, RANDOM)
    lists = of_words[of_words.layer == theirs][[*keys, RANDOM]].rename(columns={RANDOM: "theirs"})
    for score in ("CAS", "CAS as coded"):
        layer = early_layer(layers, judge.items, score)
        of = of_words[of_words.layer == layer].merge(lists, on=keys, validate="one_to_one")
        wrong, own, random = of.wrong.to_numpy() == 1, -of[score].to_numpy(), -of.theirs.to_numpy()
        found = judge.rows.put(f"auc {score}", judge.over(of, lambda i: auc(own[i], wrong[i]), 0.975))
        more = judge.over(of, lambda i: auc(own[i], wrong[i]) - auc(random[i], wrong[i]), 0.975)
        judge.rows.put(f"auc {score} beyond random lists", more)
        words = [clear_of(found, 0.5), clear_of(more, 0.05)]
        judge.rows.add(
            "early",
            f"AUC {shown(found)} at layer {layer}, beyond random lists (layer {theirs}) by"
            f" {shown(more, sign=True)}; the output's lead {output.get('lead', np.nan):.2f}, its entropy"
            f" {output.get('entropy', np.nan):.2f}, the dose {output.get('dose', np.nan):.2f}",
            judge.words(of),
            judge.tested(every(words)),
            TWO,
            effects=(f"auc {score}", f"auc {score} beyond random lists"),
            score=score,
        )


def _late(judge: Judge) -> None:
    layers = judge.tables["layers"]
    of = with_layers(layers[layers.layer == judge.last], judge.report[judge.report.wrong.notna()])
    cas, margin, wrong = of.CAS.to_numpy(), of.margin.to_numpy(), of.wrong.to_numpy() == 1
    found = judge.rows.put("late", judge.over(of, lambda i: spearman(cas[i], margin[i])))
    more = judge.rows.put(
        "late beyond margin", judge.over(of, lambda i: auc(-cas[i], wrong[i]) - auc(-margin[i], wrong[i]))
    )
    judge.rows.add(
        "late",
        f"rank correlation {shown(found)}; AUC of CAS beyond the margin's, whose sign is what an error is,"
        f" {shown(more, sign=True)}",
        judge.words(of),
        judge.tested(clear_of(found, 0.9)),
        effects=("late", "late beyond margin"),
    )


def _rho(judge: Judge) -> None:
    layers = judge.tables["layers"]
    layer = early_layer(layers, judge.items, "DSS")
    of = with_layers(layers[layers.layer == layer], judge.report[judge.report.wrong.notna()]).dropna(subset=["DSS"])
    of = of.reset_index(drop=True)
    dss, wrong = of.DSS.to_numpy(), of.wrong.to_numpy()
    found = judge.rows.put("rho", judge.over(of, lambda i: spearman(dss[i], wrong[i])))
    bins = pd.qcut(of.DSS.rank(method="first"), min(10, len(of)), labels=False) if len(of) else []
    grouped = of.groupby(bins).agg({"DSS": "mean", "wrong": "mean"}) if len(of) else of
    binned = spearman(grouped.DSS.to_numpy(), grouped.wrong.to_numpy()) if len(of) else np.nan
    judge.rows.numbers["rho of ten bins"] = binned
    judge.rows.add(
        "rho",
        f"rho {shown(found, sign=True)} at layer {layer}; of ten groups by DSS {binned:+.2f}",
        judge.words(of),
        judge.tested(clear_of(found, -0.8, more=False)),
        effects="rho",
    )


def _race(judge: Judge) -> None:
    words, said, names = [], [], []
    for column, name in (("wrong", "errors"), ("depth", "depth")):
        forms = judge.items.dropna(subset=[column]).groupby(["seed", "word", "after"])[column].mean().unstack("after")
        later = forms[True] - forms[False] if {True, False} <= set(forms) else pd.Series(dtype=float)
        bounds = (-1.0, 1.0) if column == "wrong" else None
        found = judge.rows.put(f"race {name}", _no(mean_over_words(later, judge.seed, bounds) if len(later) else None))
        words.append(clear_of(found))
        said.append(f"{name} {shown(found, sign=True)}")
        names.append(f"race {name}")
    here = f"behind minus before: {'; '.join(said)}"
    judge.rows.add("race", here, judge.words(), judge.tested(every(words)), EVERY, effects=tuple(names))


def _edges(judge: Judge) -> None:
    of = judge.tables["edges"]
    by = of.groupby(["seed", "moment", "item"])
    apart = float((by.published.max() - by.published.min()).max())
    ends = of.pivot_table(index=["seed", "word", "moment", "item"], columns="layer", values="patched")
    fall = (ends[ends.columns.min()] - ends[ends.columns.max()]).groupby(["seed", "word"]).mean()
    patched = judge.rows.put("edges patched", _no(mean_over_words(fall, judge.seed)))
    judge.rows.numbers["edges"] = apart
    told = (
        f"not shown: {patched.method}" if np.isnan(patched.low) else verdict(patched.low > 0 or patched.high < 0, False)
    )
    judge.rows.add(
        "edges",
        f"largest difference {apart:g}, as the formula has no layer in it; an edge patched from the first layer on,"
        f" less one from the last, {shown(patched, sign=True)} nats",
        f"{several(len(fall), 'word')}, {len(ends)} items of both moments, {of.layer.nunique()} layers",
        judge.tested(every([verdict(apart == 0, apart != 0), told])),
        EVERY,
        effects="edges patched",
    )


def _doses(judge: Judge) -> None:
    means = judge.items.dropna(subset=["wrong"])
    steps = means.groupby(["seed", "word", "dose"]).wrong.mean().groupby("dose").mean()
    of = means.reset_index(drop=True)
    dose, wrong = of.dose.to_numpy(), of.wrong.to_numpy()
    found = judge.rows.put("dose_errors", judge.over(of, lambda i: spearman(dose[i], wrong[i])))
    rising = bool((np.diff(steps) >= 0).all())
    word = clear_of(found)
    judge.rows.add(
        "dose_errors",
        f"rank correlation {shown(found, sign=True)}; share wrong "
        + ", ".join(f"{share:.2f} at {dose:g}" for dose, share in steps.items()),
        judge.words(of),
        judge.tested(word if rising or word != "holds" else verdict(False, False, part=True)),
        EVERY,
        effects="dose_errors",
    )
    of = judge.items.dropna(subset=["depth"]).reset_index(drop=True)
    number = of.dose.rank(method="dense").to_numpy() - 1
    depth, steps_up = of.depth.to_numpy(), max(1.0, number.max(initial=0))

    def change(i: np.ndarray) -> float:
        x = number[i]
        return float(np.polyfit(x, depth[i], 1)[0] * steps_up) if np.ptp(x) > 0 else np.nan

    found = judge.rows.put("dose_depth", judge.over(of, change) if len(of) else _no(None))
    low, high = float(found.low), float(found.high)
    apart = low > 0.5 or high < -0.5
    word = verdict(CLAIMS["dose_depth"].within(low, high), apart, otherwise="the interval reaches beyond half a layer")
    judge.rows.add(
        "dose_depth",
        f"{shown(found, sign=True)} layers from the lowest dose to the highest",
        judge.words(of),
        judge.tested(word if np.isfinite(low) else f"not shown: {found.method}"),
        effects="dose_depth",
    )


def _probes(judge: Judge) -> None:
    of = judge.tables["probes"]
    if of.empty:
        return
    of = of[of.moment == "middle"]
    for place, lines in of.groupby("place"):
        mean = lines.groupby("layer")[["accuracy", "low", "high", "control"]].mean()
        width = float((mean.high - mean.low).mean())
        judge.rows.numbers[f"probe {place}"] = float(mean.accuracy.max())
        judge.rows.add(
            "probe",
            f"accuracy {mean.accuracy.min():.2f} to {mean.accuracy.max():.2f} over {len(mean)} layers, of shuffled"
            f" labels {mean.control.min():.2f} to {mean.control.max():.2f}; a layer's interval is {width:.2f} wide",
            f"{int(lines.n.iloc[0])} words a seed, {several(lines.seed.nunique(), 'seed')}",
            "reported",
            place=place,
        )
