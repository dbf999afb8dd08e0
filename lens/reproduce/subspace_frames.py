"""Tables of the memory-subspace study put together over seeds, as its figures and claims read them. Intervals over seeds are Student's t, whose unit is the trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import memorization as mem
from ..measure.statistics import Interval, holm, proportion
from .palimpsest_runs import by_seed
from .subspace_edits import METHODS
from .subspace_steps import RISE, curve_of


def title(method: str) -> str:
    """A method as it is called in tables and figures."""
    return METHODS[method].title if method in METHODS else method.replace("_", " ")


def at_rise(curves: pd.DataFrame, among: str = "val", rise: float = RISE, measure: str = "strict") -> pd.DataFrame:
    """Recitation of every method at one rise of the clean loss, least first: `runs` by seed, interval by the bootstrap over sequences, and Student's t over seeds."""
    of = {name: [curve_of(part) for _, part in frame.groupby("seed")] for name, frame in curves.groupby("method", sort=False)}
    table = mem.matched(of, rise, measure=measure, among=among)
    over = [by_seed(list(runs)) for runs in table.runs]
    return table.assign(seed_low=[o[1] for o in over], seed_high=[o[2] for o in over], title=[title(m) for m in table.method]).sort_values(measure).reset_index(drop=True)


def difference(table: pd.DataFrame, a: str, b: str) -> Interval | None:
    """Method a minus method b of `at_rise`, over seeds; None where one of them is missing."""
    runs = table.set_index("method").runs
    if a not in runs or b not in runs:
        return None
    return over_seeds(np.subtract(runs[a], runs[b]))


def over_seeds(values: Any) -> Interval:
    """Mean over seeds with Student's t interval; no bounds for one seed."""
    mean, low, high = by_seed(list(values))
    return Interval(mean, low, high, 0.95, len(values), "Student's t over seeds")


def specificity(table: pd.DataFrame) -> pd.DataFrame:
    """One line a kind, score and reference: IoU by seed of memorised, other and mixed pairs, differences over seeds, and the label permutation's p with Holm over seeds."""
    lines = []
    for (kind, reference, method), of in table.groupby(["kind", "reference", "method"], sort=False):
        wide = of.pivot_table(index="seed", columns="pair", values="mean")
        if not {"memorised", "other", "mixed"} <= set(wide.columns) or wide.memorised.isna().any():
            lines.append({"kind": kind, "reference": reference, "method": method, "empty": True})
            continue
        first = of[of.pair == "memorised"].sort_values("seed")
        line = {"kind": kind, "reference": reference, "method": method, "empty": False, "seeds": len(wide), "sets": int(first.sets.iloc[0]), "chance": float(first.chance.mean()),
                "iou_low": float(first.low.min())}
        line |= {pair: tuple(float(v) for v in wide[pair]) for pair in ("memorised", "other", "mixed")}
        for against, column in (("other", "p_other"), ("mixed", "p_mixed")):
            found = over_seeds(wide.memorised - wide[against])
            line |= {f"more_{against}": found.estimate, f"more_{against}_low": found.low, f"more_{against}_high": found.high, column: tuple(float(p) for p in first[column]),
                     f"holm_{against}": tuple(float(p) for p in holm(first[column].to_numpy(float)))}
        lines.append(line | {"p_kind": first.p_kind.iloc[0]})
    return pd.DataFrame(lines)


def transfer(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method, source of the mask and set asked: strict recitation by seed (mean over masks), rise of the clean loss, and the mean with Student's t over seeds."""
    lines = []
    for (method, source, among), of in table.groupby(["method", "source", "set"], sort=False):
        runs = of.groupby("seed").strict.mean()
        found = over_seeds(runs)
        lines.append({"method": method, "source": source, "set": among, "strict": found.estimate, "low": found.low, "high": found.high, "runs": tuple(map(float, runs)),
                      "rise": float(of.groupby("seed").rise.mean().mean()), "density": float(of.density.mean()), "n": len(of)})  # fmt: skip
    return pd.DataFrame(lines)


def transfer_gap(table: pd.DataFrame, method: str, among: str, control: str) -> Interval | None:
    """Recitation under the control's masks minus that under the memorised set's, over seeds: how much more the memorised mask takes away."""
    runs = table[(table.method == method) & (table.set == among)].groupby(["source", "seed"]).strict.mean().unstack("seed")
    if "memorised" not in runs.index or control not in runs.index:
        return None
    return over_seeds((runs.loc[control] - runs.loc["memorised"]).dropna())


def recall(table: pd.DataFrame) -> pd.DataFrame:
    """One line a locator and share looked at: recall over all injections with its exact interval over planted neurons, and each injection's own."""
    lines = []
    for (locator, k), of in table.groupby(["locator", "k"], sort=False):
        share = proportion(int(of.hits.sum()), int(of.n.sum()))
        lines.append({"locator": locator, "title": title(locator), "k": float(k), "recall": share.estimate, "low": share.low, "high": share.high,
                      "chance": float(of.chance.mean()), "n": int(of.n.sum()), "injections": len(of), "runs": tuple(float(v) for v in of.hits / of.n)})
    return pd.DataFrame(lines)


def words(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method: the word of each seed, how many were recited before and after, which attacks brought them back."""
    first = table.groupby(["method", "seed"], sort=False).first().reset_index()
    lines, groups = [], dict(list(first.groupby("method")))
    for method, of in ((m, groups[m]) for m in METHODS if m in groups):
        attacks = table[(table.method == method)]
        back = attacks[attacks.holm <= 0.05].groupby("attack").seed.nunique().to_dict() if "holm" in attacks else {}
        lines.append({"method": method, "title": title(method), "words": tuple(of.word), "seeds": len(of), "before": int(of.recited_before.sum()),
                      "after": int(of.recited_after.sum()), "by": "; ".join(f"{name} ({count} of {len(of)} seeds)" for name, count in back.items())})
    return pd.DataFrame(lines)


def kept(table: pd.DataFrame, source: str = "memorised") -> pd.DataFrame:
    """One line a method and task: accuracy after the edit as a share of that before, by seed, with Student's t over seeds.

    A task of which a model does less than half is left out.
    """
    lines = []
    of_tasks = table[table.measure.str.startswith("task ") & (table.source == source)]
    for (method, measure), of in of_tasks.groupby(["method", "measure"], sort=False):
        of = of[of.before >= 0.5]
        if of.empty:
            continue
        found = over_seeds(of.after / of.before)
        lines.append({"method": method, "title": title(method), "task": measure.removeprefix("task ").replace("_", " "), "kept": found.estimate, "low": found.low,
                      "high": found.high, "runs": tuple(map(float, of.after / of.before)), "before": tuple(map(float, of.before)), "n": int(of.n.iloc[0])})
    return pd.DataFrame(lines)
