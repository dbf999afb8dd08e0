"""How far forgetting spreads, what other tasks lose, what probes read, and what old states bring back."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, door
from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SEQUENTIAL, SERIES, FigureError, figure, finish, require_rows
from ..common import matching
from . import tables as frames
from .hidden import WORDS


@door(FigureError)
def spread_plot(runs: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The ability lost on the items trained on and on unseen ones, a mark a task and model, by kind of answers; open
    marks are asked without instruction words.

    ``runs``: rows with ``task``, ``labels``, ``form``, ``reached``, ``chance``, and accuracies before and after.
    """
    require_rows(runs, ("task", "labels", "form", "reached", "chance", "train", "held"))
    of = frames.spread(runs)
    if of.empty:
        return _nothing(path)
    tasks = list(dict.fromkeys(of.task))
    fig, ax = figure(6.4, 3.4)
    for i, (labels, rows) in enumerate(of.groupby("labels", sort=False)):
        for form, part in rows.groupby("form", sort=False):
            at = np.array([tasks.index(task) for task in part.task]) + 0.14 * i - 0.2
            full = SERIES[i % len(SERIES)] if form == "instruction" else "none"
            name = f"{labels}" if form == "instruction" else None
            ax.scatter(at, part.G, s=22, facecolors=full, edgecolors=SERIES[i % len(SERIES)], label=name, linewidths=1)
    for level in (0, 1):
        ax.axhline(level, color=MUTED, linewidth=0.8)
    ax.set_xticks(range(len(tasks)), tasks, fontsize=7, rotation=30)
    framed(ax, "", "G: lost on unseen items / lost on trained ones")
    legend_beside(ax)
    return finish(fig, path)


def _nothing(path: FilePath | None) -> Figure:
    fig, ax = figure(5.6, 1.2)
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no run reached its stop", ha="center", va="center", color=MUTED)
    return finish(fig, path)


@door(FigureError)
def matrix_plot(matrix: pd.DataFrame, runs: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The share of its ability that each other task lost, by the task that was forgotten; with the instruction, means
    over models and kinds of answers that reached their stop.

    ``runs``: which did. ``matrix``: rows with ``task``, ``tested``, ``labels``, ``form``, ``before``, ``after`` and
    ``chance``.
    """
    require_rows(matrix, ("task", "tested", "labels", "form", "before", "after", "chance"))
    of = frames.at_the_stop(matrix[matrix.labels.isin(("fixed", "redrawn"))], runs)
    of = matching(of, form="instruction")
    if of.empty:
        return _nothing(path)
    wide = of.assign(lost=frames.losses(of)).pivot_table(index="task", columns="tested", values="lost", sort=False)
    fig, ax = figure(6.0, 0.9 + 0.32 * len(wide))
    image = ax.imshow(wide.to_numpy(float), cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(wide.shape[1]), wide.columns, fontsize=7, rotation=45, ha="right")
    ax.set_yticks(range(len(wide)), wide.index, fontsize=7)
    ax.set_ylabel("forgotten", fontsize=8)
    fig.colorbar(image, ax=ax, label="share of the ability lost")
    return finish(fig, path)


@door(FigureError)
def probes_plot(probes: pd.DataFrame, runs: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Accuracy of probes on new symbols by layer, before, after and of the untrained network, with the commonest answer
    as a line; means over tasks and models whose run reached its stop. Layer -1 reads the words of the question.

    ``runs``: which did. ``probes``: rows with ``model``, ``split``, ``layer``, ``accuracy`` and ``majority``.
    """
    require_rows(probes, ("model", "split", "layer", "accuracy", "majority"))
    of = matching(frames.at_the_stop(probes, runs), split="symbol")
    fig, ax = figure(5.6, 3.2)
    for i, (name, rows) in enumerate(of.groupby("model", sort=False)):
        mean = rows.groupby("layer").accuracy.mean()
        label = name if name in ("before", "untrained") else f"after {name} answers"
        ax.plot(mean.index, mean, "o-", color=SERIES[i % len(SERIES)], markersize=3, linewidth=1.3, label=str(label))
    ax.axhline(of.majority.mean(), color=MUTED, linewidth=0.8, linestyle="--")
    layers = sorted(set(of.layer))
    ax.set_xticks(layers, ["words" if layer == WORDS else str(layer) for layer in layers])
    framed(ax, "layer", "probe right on new symbols")
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def layers_plot(layers: pd.DataFrame, runs: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The share of the lost answers that the old state at the last token brings back, by layer, a line a task; a step
    as far at random dashed; of runs that reached their stop.

    ``runs``: which did. ``layers``: rows with ``task``, ``labels``, ``layer``, ``into``, ``source``, ``copied`` and
    ``random``.
    """
    require_rows(layers, ("task", "labels", "layer", "into", "source", "copied", "random"))
    of = frames.repaired(frames.at_the_stop(layers, runs))
    if of.empty:
        return _nothing(path)
    fig, ax = figure(5.6, 3.2)
    for i, (task, rows) in enumerate(of.groupby("task", sort=False)):
        mean, colour = rows.groupby("layer")[["share", "random_share"]].mean(), SERIES[i % len(SERIES)]
        ax.plot(mean.index, mean.share, "o-", color=colour, markersize=3, linewidth=1.3, label=str(task))
        ax.plot(mean.index, mean.random_share, "--", color=colour, linewidth=0.9)
    for level in (0, 1):
        ax.axhline(level, color=MUTED, linewidth=0.6)
    ax.set_xticks(sorted(set(of.layer)))
    framed(ax, "layer of the copied state", "share brought back")
    legend_beside(ax)
    return finish(fig, path)


#: name -> (tables, figure)
FIGURES = {
    "spread": (("runs",), spread_plot),
    "matrix": (("matrix", "runs"), matrix_plot),
    "probes": (("probes", "runs"), probes_plot),
    "layers": (("layers", "runs"), layers_plot),
}
