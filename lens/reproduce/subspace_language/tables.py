"""Tables of the memory-subspace study put together over seeds, as its figures and claims read them. Intervals over
seeds are Student's t, whose unit is the trained model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ... import memorization as mem
from ...stats import Interval, holm, proportion
from ...stats.units import Nested, nested_difference
from ..over_models import over_seeds
from .bench import METHODS
from .steps import RISE, curve_of


def title(method: str) -> str:
    """A method as it is called in tables and figures."""
    return METHODS[method].title if method in METHODS else method.replace("_", " ")


def at_rise(curves: pd.DataFrame, among: str = "val", rise: float = RISE) -> pd.DataFrame:
    """Recitation of every method at one rise of the clean loss, least first: `runs` by seed, `low` and `high` by
    Student's t over seeds; of one seed by the bootstrap over its sequences.
    """
    of = {
        name: [curve_of(part) for _, part in frame.groupby("seed")]
        for name, frame in curves.groupby("method", sort=False)
    }
    table = mem.matched(of, rise, among=among)
    if curves.seed.nunique() > 1:
        over = [over_seeds(runs) for runs in table.runs]
        table = table.assign(low=[o.low for o in over], high=[o.high for o in over])
    return table.assign(title=[title(m) for m in table.method]).sort_values("strict").reset_index(drop=True)


def difference(table: pd.DataFrame, a: str, b: str) -> Interval | None:
    """Method a minus method b of `at_rise`, over seeds; None where one of them is missing."""
    runs = table.set_index("method").runs
    if a not in runs or b not in runs:
        return None
    return over_seeds(np.subtract(runs[a], runs[b]))


def specificity(table: pd.DataFrame) -> pd.DataFrame:
    """One line a kind, score and reference: IoU by seed of memorised, other and mixed pairs, differences over seeds,
    and the label permutation's p with Holm over seeds.
    """
    lines = []
    for (kind, reference, method), of in table.groupby(["kind", "reference", "method"], sort=False):
        wide = of.pivot_table(index="seed", columns="pair", values="mean")
        if not {"memorised", "other", "mixed"} <= set(wide.columns) or wide.memorised.isna().any():
            lines.append({"kind": kind, "reference": reference, "method": method, "empty": True})
            continue
        first = of[of.pair == "memorised"].sort_values("seed")
        line = {
            "kind": kind,
            "reference": reference,
            "method": method,
            "empty": False,
            "seeds": len(wide),
            "sets": int(first.sets.iloc[0]),
            "chance": float(first.chance.mean()),
            "above": over_seeds(wide.memorised - first.set_index("seed").chance),
        }
        line |= {pair: tuple(float(v) for v in wide[pair]) for pair in ("memorised", "other", "mixed")}
        for against, column in (("other", "p_other"), ("mixed", "p_mixed")):
            interval = over_seeds(wide.memorised - wide[against])
            line |= {
                f"more_{against}": interval.estimate,
                f"more_{against}_low": interval.low,
                f"more_{against}_high": interval.high,
                column: tuple(float(p) for p in first[column]),
                f"holm_{against}": tuple(float(p) for p in holm(first[column].to_numpy(float))),
            }
        lines.append(line | {"p_kind": first.p_kind.iloc[0]})
    return pd.DataFrame(lines)


def transfer(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method, source of the mask and set asked: strict recitation by seed (mean over masks), rise of the
    clean loss, and the mean with Student's t over seeds.
    """
    lines = []
    for (method, source, among), of in table.groupby(["method", "source", "set"], sort=False):
        runs = of.groupby("seed").strict.mean()
        interval = over_seeds(runs)
        lines.append(
            {
                "method": method,
                "source": source,
                "set": among,
                "strict": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "runs": tuple(map(float, runs)),
                "rise": float(of.groupby("seed").rise.mean().mean()),
                "density": float(of.density.mean()),
                "n": len(of),
            }
        )
    return pd.DataFrame(lines)


def transfer_gap(table: pd.DataFrame, method: str, among: str, control: str) -> Interval | None:
    """Recitation under the control's masks minus that under the memorised set's, over seeds: how much more the
    memorised mask takes away.
    """
    runs = (
        table[(table.method == method) & (table.set == among)].groupby(["source", "seed"]).strict.mean().unstack("seed")
    )
    if "memorised" not in runs.index or control not in runs.index:
        return None
    return over_seeds((runs.loc[control] - runs.loc["memorised"]).dropna())


def at_cost(
    curves: pd.DataFrame, table: pd.DataFrame, method: str, among: str, control: str = "random"
) -> tuple[Interval, tuple[float, ...], tuple[float, ...]] | None:
    """What a method's edits leave of a set less than a control does *at the very cost* of each seed's edits, over
    seeds; with the control's values and the costs by seed.

    The control is read off its curve (`at_rise`) where the clean loss has risen by the mean over the edits. None where
    the control has no curve, or the method no such edits.
    """
    own = (
        table[(table.method == method) & (table.source == "memorised") & (table.set == among)]
        .groupby("seed")
        .agg(strict=("strict", "mean"), rise=("rise", "mean"))
    )
    parts = {seed: part for seed, part in curves[curves.method == control].groupby("seed") if seed in own.index}
    if not parts:
        return None
    own, read = own.loc[list(parts)], "verse" if among == "verse" else "val"
    left = [
        float(mem.matched({control: curve_of(part)}, float(own.rise[seed]), among=read)["strict"].iloc[0])
        for seed, part in parts.items()
    ]
    return over_seeds(np.subtract(left, own.strict)), tuple(left), tuple(map(float, own.rise))


def recall(table: pd.DataFrame) -> pd.DataFrame:
    """One line a locator and share looked at: recall over injections, each injection's own (`runs`), the mean by seed
    (`seeds`) with Student's t over seeds, whose models are the unit, and `p` of it being chance (the largest of the t
    tests' over seeds and over injections and of the exact one of all neurons, so that seeds that agree by accident are
    not taken for certain); of one seed the exact interval over planted neurons, and no p.
    """
    lines = []
    for (locator, k), of in table.groupby(["locator", "k"], sort=False):
        share, chance = proportion(int(of.hits.sum()), int(of.n.sum())), float(of.chance.mean())
        seeds = (of.hits / of.n).groupby(of.seed).mean().to_numpy(float)
        interval = (
            over_seeds(seeds) if len(seeds) > 1 and np.ptp(seeds) > 0 else share
        )  # seeds that agree: exact, over neurons
        within = float(stats.binomtest(int(of.hits.sum()), int(of.n.sum()), chance).pvalue)
        runs = (of.hits / of.n).to_numpy(float)
        between = max(
            float(stats.ttest_1samp(units, chance).pvalue) if np.ptp(units) > 0 else 0.0 for units in (seeds, runs)
        )
        lines.append(
            {
                "locator": locator,
                "title": title(locator),
                "k": float(k),
                "recall": float(seeds.mean()),
                "low": float(interval.low),
                "high": float(interval.high),
                "chance": chance,
                "p": max(within, between) if len(seeds) > 1 else np.nan,
                "seeds": tuple(map(float, seeds)),
                "n": int(of.n.sum()),
                "injections": len(of),
                "runs": tuple(map(float, runs)),
            }
        )
    return pd.DataFrame(lines)


def recall_gap(table: pd.DataFrame, a: str, b: str) -> Nested:
    """Recall of one locator minus that of another at the smallest share looked at, seeds and planted neurons in
    interval and p.
    """
    arms = []
    for name in (a, b):
        of = table[(table.locator == name) & (table.k == table.k.min())]
        arms.append(
            [
                np.concatenate([np.arange(n) < hits for hits, n in zip(part.hits, part.n)]).astype(float)
                for _, part in of.groupby("seed")
            ]
        )
    return nested_difference(*arms)


def words(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method: the word of each seed, how many were recited before and after, which attacks brought them
    back.
    """
    first = table.groupby(["method", "seed"], sort=False).first().reset_index()
    lines, groups = [], dict(list(first.groupby("method")))
    for method, of in ((m, groups[m]) for m in METHODS if m in groups):
        attacks = table[(table.method == method)]
        back = attacks[attacks.holm <= 0.05].groupby("attack").seed.nunique().to_dict() if "holm" in attacks else {}
        lines.append(
            {
                "method": method,
                "title": title(method),
                "words": tuple(of.word),
                "seeds": len(of),
                "before": int(of.recited_before.sum()),
                "after": int(of.recited_after.sum()),
                "by": "; ".join(f"{name} ({count} of {len(of)} seeds)" for name, count in back.items()),
            }
        )
    return pd.DataFrame(lines)


def kept(table: pd.DataFrame, source: str = "memorised") -> pd.DataFrame:
    """One line a method and task: accuracy after the edit as a share of that before, by seed, with Student's t over
    seeds.

    A task of which a model does less than half is left out.
    """
    lines = []
    of_tasks = table[table.measure.str.startswith("task ") & (table.source == source)]
    for (method, measure), of in of_tasks.groupby(["method", "measure"], sort=False):
        of = of[of.before >= 0.5]
        if of.empty:
            continue
        interval = over_seeds(of.after / of.before)
        lines.append(
            {
                "method": method,
                "title": title(method),
                "task": measure.removeprefix("task ").replace("_", " "),
                "kept": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "runs": tuple(map(float, of.after / of.before)),
                "before": tuple(map(float, of.before)),
                "n": int(of.n.iloc[0]),
            }
        )
    return pd.DataFrame(lines)
