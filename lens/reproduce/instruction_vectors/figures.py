"""Forgetting: what fine-tuning took, whether a task's vector tells it, whether putting the vector back helps, and which
training keeps what.

Tables come as `lens.reproduce.instruction_vectors.tables` makes them; their unit is a task of a seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Filled, Name, door
from ...figures.panels import (
    MARKS,
    framed,
    grid,
    headed,
    legend_below,
    legend_beside,
    line,
    plain,
    points,
    slanted,
    spanned,
)
from ...figures.style import INK, MUTED, SERIES, FigureError, figure, finish, require_rows, require_some
from ..common import several
from .tables import LEAST_EVALUATIONS

KIND_NAMES = {
    "instruction": "old tasks, told",
    "in_context": "old tasks, shown",
    "knowledge": "facts",
    "new": "task in training",
}
PREDICTORS = {
    "vector": "cosine of the vector with its start",
    "hidden state": "cosine of the last hidden state with its start",
    "distance": "distance of the weights from the start",
}


@door(FigureError)
def forgetting_scatter(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    predictors: Annotated[Mapping[str, str], Filled()] = PREDICTORS,
    title: str = "",
) -> Figure:
    """Accuracy of each old task at each evaluation against what might predict it: one panel a predictor, one line a
    task and seed, coloured by the seed.

    Args:
        frame: rows with ``seed``, ``task``, ``at`` (steps trained), ``accuracy`` and the predictors.
        predictors: by column, the axis' label. The panel's title gives the mean over tasks of Pearson's r along the
            training, of tasks whose accuracy moved.

    Source: the layout of Jiang et al. 2025, figure 6.
    """
    require_rows(frame, ("seed", "task", "at", "accuracy", *predictors))
    fig, (axes,) = grid(1, len(predictors), 3.1, 3.5, left=0.6, sharey=True)
    seeds = list(dict.fromkeys(frame.seed))
    for ax, (column, label) in zip(axes, predictors.items()):
        each = []
        for (seed, _), of in frame.groupby(["seed", "task"], sort=False):
            of = of.sort_values("at")
            colour, mark = SERIES[seeds.index(seed) % len(SERIES)], MARKS[seeds.index(seed) % len(MARKS)]
            ax.plot(of[column], of.accuracy, color=colour, linewidth=0.5, alpha=0.35)
            ax.plot(of[column], of.accuracy, mark, color=colour, markersize=2.8, alpha=0.75, markeredgewidth=0)
            if len(of) >= LEAST_EVALUATIONS and np.ptp(of.accuracy) > 0.05 and np.ptp(of[column]) > 0:
                each.append(np.corrcoef(of[column], of.accuracy)[0, 1])
        few = frame["at"].nunique() < LEAST_EVALUATIONS
        why = f"no r: fewer than {LEAST_EVALUATIONS} evaluations" if few else "no task's accuracy moved"
        mean = f"mean r along the training {np.mean(each):+.2f}, {len(each)} tasks x seeds" if each else why
        framed(ax, label, title=mean, size=8, ticks=7)
    axes[0].set_ylabel("accuracy by instruction", fontsize=8)
    axes[0].set_ylim(-0.03, 1.03)
    for i, seed in enumerate(seeds):
        axes[-1].plot([], [], MARKS[i % len(MARKS)], color=SERIES[i % len(SERIES)], markersize=4, label=f"seed {seed}")
    legend_below(fig, axes[-1], max(1, len(seeds)))
    said = f"{frame.task.nunique()} old tasks, {frame['at'].nunique()} evaluations"
    fig.suptitle(headed(title, said), fontsize=9)
    return finish(fig, path)


@door(FigureError)
def recovery_bars(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    conditions: Annotated[Sequence[str], Filled()] = ("old", "random", "new", "random of new"),
    title: str = "",
) -> Figure:
    """What comes back of each old task when its old vector is added, the new task's vector taken away, or random ones
    of the same lengths: mean over seeds, single seeds as dots.

    ``frame``: rows with ``task``, ``condition``, ``seed``, ``base`` (after training, nothing added), ``accuracy``,
    ``lost`` (before minus base) and ``n``; tasks come in the order of what they lost.
    """
    require_rows(frame, ("task", "condition", "seed", "base", "accuracy", "lost", "n"))
    named = {
        "old": "old vector added",
        "random": "random vector added",
        "new": "new task's vector taken away",
        "random of new": "random vector taken away",
    }
    first = frame[frame.condition == conditions[0]]
    base = first.groupby("task")[["base", "lost"]].mean().sort_values("lost", ascending=False)
    bars = {"before training": base.base + base.lost, "after training": base.base}
    bars |= {
        named.get(c, c): frame[frame.condition == c].groupby("task").accuracy.mean().reindex(base.index)
        for c in conditions
    }
    colours = ["#9aa1ad", "#d7dae0", *SERIES]
    width = 0.84 / len(bars)
    fig, ax = figure(max(5.4, 2.2 + 0.14 * len(base) * (len(bars) + 1.2)), 3.8)
    for i, (name, values) in enumerate(bars.items()):
        x = np.arange(len(base)) + (i - (len(bars) - 1) / 2) * width
        ax.bar(x, values, width * 0.94, color=colours[i % len(colours)], label=name, linewidth=0)
        if i >= 2:
            _seed_dots(ax, x, frame[frame.condition == conditions[i - 2]], base.index, "accuracy", 2)
    ax.set_ylim(0, 1.04)
    count = f"n = {spanned(frame.n)} a task, {frame.seed.nunique()} seed(s)"
    said = f"{count}\nreported on the half that did not choose layer and strength"
    framed(ax, y="accuracy by instruction", title=headed(title, said))
    slanted(ax, base.index)
    legend_beside(ax)
    return finish(fig, path)


def _seed_dots(ax, x: np.ndarray, rows: pd.DataFrame, tasks: Iterable[str], column: str, size: float) -> None:
    """Single seeds of each task as dots."""
    for at, task in zip(x, tasks):
        dots = rows[rows.task == task][column]
        ax.plot(np.full(len(dots), at), dots, ".", color=INK, markersize=size)


@door(FigureError)
def method_plot(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    metrics: Annotated[Sequence[str], Filled()] = ("instruction", "in_context", "knowledge", "final"),
    names: Mapping[str, str] | None = None,
    baseline: Name = "plain",
    title: str = "",
) -> Figure:
    """Every method minus plain fine-tuning, one panel a metric, with its interval over seeds and a tick for every seed;
    in the order of the first metric.

    ``frame``: rows with ``method``, ``metric``, ``title``, ``mean``, ``difference``, ``low``, ``high``, ``by_seed`` and
        ``units``. Bounds that are NaN are not drawn.
    """
    require_rows(frame, ("method", "metric", "title", "mean", "difference", "low", "high", "units"))
    some = [m for m in metrics if (frame.metric == m).any()]
    metrics = some or require_some(metrics, frame.metric, "metrics")
    first = frame[(frame.metric == metrics[0]) & (frame.method != baseline)].sort_values("difference")
    order, reference = list(first.method), frame[frame.method == baseline].set_index("metric")
    fig, (axes,) = grid(1, len(metrics), 2.6, 1.2 + 0.24 * max(3, len(order)), left=2.6, sharey=True)
    for i, (ax, metric) in enumerate(zip(axes, metrics)):
        rows = frame[frame.metric == metric].set_index("method").reindex(order)
        y = np.arange(len(order))
        ax.axvline(0, color=MUTED, linewidth=0.8)
        look = {"markersize": 4, "elinewidth": 1.1, "capsize": 2}
        points(ax, y, rows.difference, rows.low, rows.high, "o", SERIES[i % len(SERIES)], across=True, **look)
        for at, dots in zip(y, rows.get("by_seed", pd.Series([()] * len(order)))):
            if isinstance(dots, Sequence) and not isinstance(dots, str) and len(dots) > 1:
                ax.plot(dots, np.full(len(dots), at), "|", color=INK, markersize=5, markeredgewidth=0.7)
        base = reference.loc[metric] if metric in reference.index else None
        of = f" of {several(base.seeds, 'seed')}" if base is not None and "seeds" in base else ""
        start = f", start {base.start:.2f}" if base is not None and np.isfinite(base.get("start", np.nan)) else ""
        said = "" if base is None else f"\nplain {base['mean']:.2f}{start}, {int(base.units)} units{of}"
        called = f"{rows.title.iloc[0] if len(rows) else metric}{said}"
        framed(ax, f"minus {baseline}", title=called, size=8, ticks=7)
        ax.grid(axis="y", color="#e5e7eb", linewidth=0.5)
        ax.set_ylim(-0.6, len(order) - 0.4)
    axes[0].set_yticks(range(len(order)), [(names or {}).get(m, m) for m in order], fontsize=8)
    many = any(isinstance(dots, Sequence) and len(dots) > 1 for dots in frame.get("by_seed", ()))
    bars = (
        "bars: 95 % t interval over seeds, ticks: seeds"
        if many
        else "one seed: bars are 95 % over its tasks, none where these are fewer than six"
    )
    fig.suptitle(headed(title, bars), fontsize=9)
    return finish(fig, path)


@door(FigureError)
def tradeoff_plot(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    across: Name = "own",
    up: Name = "instruction",
    names: Mapping[str, str] | None = None,
    baseline: Name = "plain",
    title: str = "",
) -> Figure:
    """What a method keeps against what it learns: one point a method, means over units; up and to the right is better.

    A method that keeps old tasks because it learns the new ones less lies on the way from plain fine-tuning to the
    start model, which is drawn.

    ``frame``: rows with ``method``, ``metric``, ``title``, ``mean`` and ``start``.
    """
    require_rows(frame, ("method", "metric", "title", "mean", "start"))
    x, y = (frame[frame.metric == m].set_index("method") for m in (across, up))
    if x.empty or y.empty:
        raise FigureError(
            f"across={across!r}, up={up!r}: frame has the metrics {', '.join(dict.fromkeys(frame.metric))}; name two of"
            " them."
        )
    fig, ax = figure(7.2, 4.4)
    if baseline in y.index and np.isfinite(y.start[baseline]):
        way = [0, x["mean"][baseline]], [y.start[baseline], y["mean"][baseline]]
        ax.plot(*way, color=MUTED, linewidth=0.8, linestyle="--", zorder=0)
        ax.plot(0, y.start[baseline], "*", color=INK, markersize=9, label="start model (new tasks unknown)")
    for i, method in enumerate(y.sort_values("mean", ascending=False).index):
        at = x["mean"][method], y["mean"][method]
        colour = INK if method == baseline else SERIES[i % len(SERIES)]
        said = f"{(names or {}).get(method, method)}  {at[0]:.2f}, {at[1]:.2f}"
        ax.plot(*at, MARKS[i % len(MARKS)], color=colour, markersize=6, label=said)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    framed(ax, str(x.title.iloc[0]), str(y.title.iloc[0]), title, titled=9)
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def curve_plot(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    methods: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    kinds: Annotated[Mapping[str, str], Filled()] = KIND_NAMES,
    title: str = "",
) -> Figure:
    """Accuracy along the whole training, one panel a kind of question, one line a method: mean over seeds, with their
    range; stages are told apart by vertical lines.

    ``frame``: rows with ``seed``, ``method``, ``kind``, ``stage``, ``step``, ``at`` and ``accuracy``. What dips after a
        stage begins and comes back is the stability gap.
    """
    require_rows(frame, ("seed", "method", "kind", "stage", "step", "at", "accuracy"))
    methods = list(methods) if methods is not None else list(dict.fromkeys(frame.method))
    some = {k: v for k, v in kinds.items() if (frame["kind"] == k).any()}
    if not some:
        require_some(list(kinds), frame["kind"], "kinds")
    kinds = some
    fig, (axes,) = grid(1, len(kinds), 2.6, 3.4, left=0.8, sharey=True)
    starts = frame[frame.step == 0].drop_duplicates("stage")[["stage", "at"]]
    for ax, (kind, label) in zip(axes, kinds.items()):
        for i, method in enumerate(methods):
            of = frame[(frame["kind"] == kind) & (frame.method == method)]
            if of.empty:
                continue
            colour, style = SERIES[i % len(SERIES)], MARKS[i % len(MARKS)] + "-"
            for k, (_, part) in enumerate(of.groupby("stage", sort=False)):
                by = part.groupby("at").accuracy.agg(["mean", "min", "max"])
                named = (names or {}).get(method, method) if k == 0 else None
                look = {"markersize": 2.6, "linewidth": 1.2}
                line(ax, by.index, by["mean"], by["min"], by["max"], style, colour, named, **look)
        for row in starts.itertuples():
            ax.axvline(row.at, color=MUTED, linewidth=0.5, linestyle=":")
            ax.text(row.at, 1.05, f" {row.stage}", fontsize=6, color=MUTED, rotation=30, ha="left", va="bottom")
        ax.set_title(label, fontsize=9, pad=8 + 2.2 * max(len(str(n)) for n in starts.stage))
        ax.set_xlabel("steps trained", fontsize=8)
        ax.set_ylim(-0.03, 1.05)
        plain(ax, 7)
    axes[0].set_ylabel("accuracy", fontsize=9)
    legend_below(fig, axes[0], min(4, len(methods)))
    fig.suptitle(headed(title, f"mean over {frame.seed.nunique()} seed(s), band: their range"), fontsize=9)
    return finish(fig, path)


@door(FigureError)
def set_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """How many of the strongest heads are the same after training, by task (Jaccard), beside what chance would give;
    single seeds as dots.

    ``frame``: rows with ``seed``, ``method``, ``task``, ``jaccard``, ``chance``, ``k`` and ``heads``.

    Source: figure 10 of Jiang et al. 2025 shows the lists; the chance line is ours.
    """
    require_rows(frame, ("seed", "method", "task", "jaccard", "chance", "k", "heads"))
    tasks, methods = list(dict.fromkeys(frame.task)), list(dict.fromkeys(frame.method))
    width = 0.8 / len(methods)
    fig, ax = figure(max(4.6, 1.8 + 0.3 * len(tasks) * max(1, 0.6 * len(methods))), 3.4)
    for i, method in enumerate(methods):
        of = frame[frame.method == method]
        x = np.arange(len(tasks)) + (i - (len(methods) - 1) / 2) * width
        mean, named = of.groupby("task").jaccard.mean().reindex(tasks), (names or {}).get(method, method)
        ax.bar(x, mean, width * 0.92, color=SERIES[i % len(SERIES)], label=named)
        _seed_dots(ax, x, of, tasks, "jaccard", 2.5)
    ax.axhline(frame.chance.mean(), color=MUTED, linestyle="--", linewidth=1, label="by chance")
    ax.set_ylim(0, 1.03)
    said = f"before and after training, of {int(frame['heads'].iloc[0])} heads, {frame.seed.nunique()} seed(s)"
    framed(ax, y=f"Jaccard of the {int(frame.k.iloc[0])} strongest heads", title=f"{title}\n{said}")
    slanted(ax, tasks)
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def drift_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """Relative change of the weights by part, one row a method: mean over seeds, their range as a line.

    ``frame``: rows with ``seed``, ``method``, ``part`` and ``drift``; parts that no method moves are left out.
    """
    require_rows(frame, ("seed", "method", "part", "drift"))
    moved = frame.groupby("part").drift.max()
    parts = [p for p in ("attention", "mlp", "embedding", "norm", "other") if moved.get(p, 0) > 0]
    order = list(frame[frame.part == "all"].groupby("method").drift.mean().sort_values().index)
    fig, ax = figure(6.4, 1.1 + 0.26 * max(3, len(order)))
    for i, part in enumerate(parts):
        by = frame[frame.part == part].groupby("method").drift.agg(["mean", "min", "max"]).reindex(order)
        y = np.arange(len(order)) + (i - (len(parts) - 1) / 2) * 0.16
        look: dict[str, Any] = {"markersize": 3.6, "elinewidth": 0.9, "label": part, "across": True}
        points(ax, y, by["mean"], by["min"], by["max"], MARKS[i], SERIES[i % len(SERIES)], **look)
    ax.set_yticks(range(len(order)), [(names or {}).get(m, m) for m in order], fontsize=8)
    ax.set_xlim(left=0)
    ax.grid(axis="y", color="#e5e7eb", linewidth=0.5)
    said = f"{title}\nweights at the end, mean and range over {frame.seed.nunique()} seed(s)"
    framed(ax, "length of the change over length of the weights", title=said, size=8)
    legend_beside(ax)
    return finish(fig, path)
