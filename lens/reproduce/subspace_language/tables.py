"""Tables of the memory-subspace study put together over seeds, as its figures and claims read them. Intervals over
seeds are Student's t, whose unit is the trained model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ... import memorization as mem
from ...stats import Interval, proportion
from ...stats.units import Nested, nested_difference
from ..common import by_group, columns, several
from ..over_models import over_seeds
from ..specificity import specificity as overlaps
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
    """One line a kind, score and reference, see `reproduce.specificity`."""
    return overlaps(table, ("kind", "reference", "method"))


def transfer(table: pd.DataFrame) -> pd.DataFrame:
    """One line a method, source of the mask and set asked: strict recitation by seed (mean over masks), rise of the
    clean loss, and the mean with Student's t over seeds.
    """

    def line(of: pd.DataFrame) -> dict[str, Any]:
        runs, rise = of.groupby("seed").strict.mean(), of.groupby("seed").rise.mean()
        about = {"rise": float(rise.mean()), "density": float(of.density.mean()), "n": len(of)}
        return columns("strict", over_seeds(runs)) | {"runs": tuple(map(float, runs))} | about

    return by_group(table, ("method", "source", "set"), line)


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

    def line(of: pd.DataFrame) -> dict[str, Any]:
        share, chance = proportion(int(of.hits.sum()), int(of.n.sum())), float(of.chance.mean())
        runs = of.hits / of.n
        seeds = runs.groupby(of.seed).mean().to_numpy(float)
        # seeds that agree: exact, over neurons
        interval = over_seeds(seeds) if len(seeds) > 1 and np.ptp(seeds) > 0 else share
        within = float(stats.binomtest(int(of.hits.sum()), int(of.n.sum()), chance).pvalue)
        between = max(
            float(stats.ttest_1samp(units, chance).pvalue) if np.ptp(units) > 0 else 0.0
            for units in (seeds, runs.to_numpy(float))
        )
        return {
            "title": title(of.locator.iloc[0]),
            **columns("recall", interval),
            "recall": float(seeds.mean()),
            "chance": chance,
            "p": max(within, between) if len(seeds) > 1 else np.nan,
            "seeds": tuple(map(float, seeds)),
            "n": int(of.n.sum()),
            "injections": len(of),
            "runs": tuple(map(float, runs)),
        }

    return by_group(table, ("locator", "k"), line)


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
                "by": "; ".join(f"{name} ({count} of {several(len(of), 'seed')})" for name, count in back.items()),
            }
        )
    return pd.DataFrame(lines)


def kept(table: pd.DataFrame, source: str = "memorised") -> pd.DataFrame:
    """One line a method and task: accuracy after the edit as a share of that before, by seed, with Student's t over
    seeds.

    A task of which a model does less than half is left out.
    """

    def line(of: pd.DataFrame) -> dict[str, Any] | None:
        of = of[of.before >= 0.5]
        if of.empty:
            return None
        kept = of.after / of.before
        return {
            "title": title(of.method.iloc[0]),
            "task": of.measure.iloc[0].removeprefix("task ").replace("_", " "),
            **columns("kept", over_seeds(kept)),
            "runs": tuple(map(float, kept)),
            "before": tuple(map(float, of.before)),
            "n": int(of.n.iloc[0]),
        }

    of_tasks = table[table.measure.str.startswith("task ") & (table.source == source)]
    return by_group(of_tasks, ("method", "measure"), line)
