"""What claims are judged on: spread by run, what explains it, and what came back, from the tables of the steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ...stats import Interval
from ..common import matching
from .bench import lost
from .hidden import WORDS

RUN = ["seed", "form", "task", "labels"]
#: Of resamples and permutations.
DRAWS = 10_000
#: The four ways in which two tasks may be alike, by the part of the variance that they are counted to.
ALIKE = {"words and form": ["same_words", "same_form"], "content": ["same_content"], "kind": ["same_kind"]}


def spread(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that reached their stop, with ``lost_train``, ``lost_held``, ``lost_reworded`` and ``G`` = held / train;
    runs on right answers lose nothing and have none.
    """
    of = runs[runs.reached.astype(bool) & (runs.labels != "right")].copy()
    for part in ("train", "held", "reworded"):
        of[f"lost_{part}"] = [
            lost(before, now, chance)
            for before, now, chance in zip(of[f"{part}_before"], of[part], of.chance, strict=True)
        ]
    of["G"] = (of.lost_held / of.lost_train).where(of.lost_train > 0)
    return of


def at_the_stop(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What of a table is of runs that reached their stop: others forgot less, or nothing. Probes name the run's answers
    as their model, and are of the first form; those of the model before and of the untrained network stay.
    """
    there = runs[runs.reached.astype(bool)]
    if table.empty:
        return table
    if "model" in table:
        first = matching(there, form=runs.form.iloc[0])
        before = table.model.isin(("before", "untrained"))
        of_run = pd.MultiIndex.from_frame(table[["seed", "task", "model"]])
        return table[before | of_run.isin(pd.MultiIndex.from_frame(first[["seed", "task", "labels"]]))]
    keys = [key for key in RUN if key in table]
    return table.merge(there[keys].drop_duplicates(), on=keys)


def by_task(values: pd.DataFrame, column: str) -> pd.DataFrame:
    """The mean of a column over the runs of each task of each model: a task is one, however often it was trained on."""
    return values.groupby(["seed", "task"], sort=False)[column].mean().reset_index()


def variation(of: pd.DataFrame, seed: int) -> tuple[Interval, float, float]:
    """The standard deviation between tasks of G (means over models) with a bootstrap interval over tasks; that within
    tasks between models; and p of an F-type statistic by permuting the tasks of each model (NaN of one model).
    """
    wide = of.pivot_table(index="task", columns="seed", values="G").dropna()
    x = wide.to_numpy()
    estimate = float(x.mean(1).std(ddof=1)) if len(x) > 1 else np.nan
    interval = _resampled(len(x), lambda at: float(x[at].mean(1).std(ddof=1)), estimate, seed)
    if x.shape[1] < 2 or len(x) < 3:
        return interval, np.nan, np.nan
    drawn = np.random.default_rng(seed).permuted(np.broadcast_to(x, (DRAWS, *x.shape)), axis=1)
    between = x.mean(1).var(ddof=1)
    p = float(1 + (drawn.mean(2).var(1, ddof=1) >= between - 1e-12).sum()) / (DRAWS + 1)
    return interval, float(np.sqrt(x.var(1, ddof=1).mean())), p


def _resampled(n: int, of: Callable[[np.ndarray], float], estimate: float, seed: int, draws: int = 2000) -> Interval:
    """Percentile bootstrap over n units; none of fewer than five."""
    if n < 5 or not np.isfinite(estimate):
        return Interval(estimate, np.nan, np.nan, 0.95, n, "no interval of so few tasks")
    rng = np.random.default_rng(seed)
    drawn = np.array([of(rng.integers(n, size=n)) for _ in range(draws)])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(estimate, float(low), float(high), 0.95, n, "percentile bootstrap over tasks")


def predicted(spread: pd.DataFrame, predictors: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """By task the mean G of fixed and redrawn answers, with the instruction, beside what was known before; and the last
    layer.
    """
    of = matching(spread[spread.labels.isin(("fixed", "redrawn"))], form="instruction")
    before = matching(predictors, form="instruction")
    table = before.pivot_table(index="task", columns="predictor", values="value")
    last = max(int(name.split()[1]) for name in table.columns if name.startswith("variance "))
    return table.join(of.groupby("task").G.mean()).dropna(subset=["G"]), last


def better(table: pd.DataFrame, last: int, seed: int) -> Interval:
    """Spearman's rho of the gradients' cosine and G minus the largest absolute rho of the three predictors."""
    columns = ["gradient cosine", "accuracy", "confidence", f"variance {last}", "G"]
    x = table[columns].to_numpy(float)

    def of(at: np.ndarray) -> float:
        ranks = rankdata(x[at], axis=0)
        spread = ranks.std(0)
        if spread[-1] == 0:
            return np.nan
        centred = (ranks - ranks.mean(0)) / np.where(spread > 0, spread, np.inf)
        rho = centred.T @ centred[:, -1] / len(at)
        return float(rho[0] - np.abs(rho[1:-1]).max())

    return _resampled(len(x), of, of(np.arange(len(x))), seed)


def losses(matrix: pd.DataFrame) -> pd.Series:
    """The share of its ability that each other task lost."""
    return pd.Series(
        [lost(b, a, c) for b, a, c in zip(matrix.before, matrix.after, matrix.chance, strict=True)], matrix.index
    )


def explained(matrix: pd.DataFrame, seed: int) -> dict[str, Interval]:
    """The share of the variance of what other tasks lose that each way of being alike explains beyond the two others
    (of words and form: beyond kind and content), by least squares; intervals over the forgotten tasks.
    """
    of = matrix.assign(lost=losses(matrix)).dropna(subset=["lost"])
    groups = [part for _, part in of.groupby("task")]
    names = [column for columns in ALIKE.values() for column in columns]

    def share(rows: pd.DataFrame, without: str) -> float:
        total = float(((rows.lost - rows.lost.mean()) ** 2).sum())
        left = [_residual(rows, [n for n in names if n not in drop]) for drop in ([], ALIKE[without])]
        return (left[1] - left[0]) / total if total > 0 else np.nan

    def of_groups(at: np.ndarray, without: str) -> float:
        return share(pd.concat([groups[i] for i in at]), without)

    every = np.arange(len(groups))
    return {
        name: _resampled(len(groups), partial(of_groups, without=name), of_groups(every, name), seed, 500)
        for name in ALIKE
    }


def _residual(rows: pd.DataFrame, names: list[str]) -> float:
    x = np.column_stack([np.ones(len(rows)), rows[names].to_numpy(float)])
    y = rows.lost.to_numpy(float)
    solved = np.linalg.lstsq(x, y, rcond=None)[0]
    return float(((y - x @ solved) ** 2).sum())


def probed(probes: pd.DataFrame, labels: str) -> pd.DataFrame:
    """By model and task: selectivity (over questions) and accuracy above the commonest answer (over new symbols) before
    and after, at the layer that was best before for new symbols, and what the words of the question give.
    """
    if probes.empty:
        return pd.DataFrame()
    lines = []
    for (seed, task), of in probes.groupby(["seed", "task"], sort=False):
        if labels not in set(of.model):
            continue
        of = of.assign(above=of.accuracy - of.majority)
        before = matching(of[of.layer != WORDS], model="before", split="symbol")
        layer = int(before.layer.iloc[int(before.above.to_numpy().argmax())])

        def at(model: str, split: str, column: str, where: int, of: pd.DataFrame = of) -> float:
            return float(matching(of, model=model, split=split, layer=where)[column].iloc[0])

        line = {"seed": seed, "task": task, "layer": layer}
        for name, split, column in (("selectivity", "item", "selectivity"), ("new symbols", "symbol", "above")):
            line |= {f"{name} before": at("before", split, column, layer)}
            line |= {f"{name} after": at(labels, split, column, layer)}
            line |= {f"{name} words": at("before", split, column, WORDS)}
            line |= {f"{name} untrained": at("untrained", split, column, layer)}
        lines.append(line)
    return pd.DataFrame(lines)


def ratio(table: pd.DataFrame, above: str, below: str, seed: int) -> Interval:
    """The ratio of two means over tasks of models."""
    x, y = table[above].to_numpy(float), table[below].to_numpy(float)
    estimate = float(x.mean() / y.mean()) if y.mean() > 0 else np.nan
    return _resampled(len(x), lambda at: float(x[at].mean() / y[at].mean()), estimate, seed)


def recovery(vectors: pd.DataFrame) -> pd.DataFrame:
    """What each vector gave back of what was lost, on the half that did not choose its layer."""
    if vectors.empty:
        return vectors
    return vectors.assign(share=((vectors.accuracy - vectors.base) / vectors.lost).where(vectors.lost > 0.1))


def savings(relearning: pd.DataFrame) -> pd.DataFrame:
    """By model and task what few right items give the forgotten model and the twin (mean accuracy over the looks minus
    that without training), their difference, and accuracy behind demonstrations and without; where there is a twin that
    was never taught the task.
    """
    if relearning.empty:
        return relearning
    lines = []
    for (seed, task), of in relearning.groupby(["seed", "task"], sort=False):
        few, shown = matching(of, by="few right items"), matching(of, by="demonstrations", arm="forgotten")
        if "twin" not in set(few.arm):
            continue
        gains = {}
        for arm in ("forgotten", "twin"):
            one = few[few.arm == arm].sort_values("step")
            gains[arm] = float(one.accuracy.iloc[1:].mean() - one.accuracy.iloc[0])
        ends = shown.sort_values("step").accuracy
        lines.append(
            {"seed": seed, "task": task, **gains, "savings": gains["forgotten"] - gains["twin"]}
            | {"base": float(ends.iloc[0]), "shown": float(ends.iloc[-1])}
        )
    return pd.DataFrame(lines)


def repaired(layers: pd.DataFrame) -> pd.DataFrame:
    """The share of what was lost that a copied state gives back by layer, and a step as far at random."""
    if layers.empty:
        return layers
    room = (layers.source - layers["into"]).where(layers.source - layers["into"] > 0.1)
    return layers.assign(
        share=(layers.copied - layers["into"]) / room, random_share=(layers.random - layers["into"]) / room
    )
