"""Loss curvature: who uses which band of the spectrum, trade-off curves, what is left of each kind of task, extraction
by duplicates, relearning.

Tables come as `lens.reproduce.loss_curvature.tables` makes them: `estimate` with `low` and `high` (95 %, Student's t
over runs), `seeds` (each training run's value) and `n`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Name, NonNegative, Positive, door
from ...figures.panels import MARKS, dots, framed, grid, headed, legend_beside, line, points, slanted
from ...figures.style import INK, MUTED, SERIES, FigureError, figure, finish, require_rows
from ..common import several
from .bench import CURVATURE

_OWN = ("estimate", "low", "high", "seeds", "n")
SETS = {"val": "held-out codes and stories", "verse": "verse, never chosen on"}
MEASURES = {
    "estimate": "recited without fault (strict)",
    "loose": "recited, 3 tokens in 4 (loose)",
    "lev": "edit distance over length",
}
COLUMNS = {"estimate": "extracted (strict)", "auc": "AUC against never-planted", "tpr": "TPR at 1 % FPR"}
TASKS = ("recitation", "arithmetic", "closed-book", "open-book", "open-book-false", "copy", "rule")
STYLES = ("-", "--", ":")
BASES = {"kfac": "eigenvectors of curvature", "svd": "singular vectors", "random": "random bases"}


@door(FigureError)
def spectrum_plot(frame: pd.DataFrame, path: FilePath | None = None, *, title: str = "") -> Figure:
    """Share of the curvature mass (left) and of the squared weight (right) in each band of pairs, one line a layer:
    mean over training runs.

    ``frame``: rows with ``seed``, ``layer``, ``band``, ``mass`` and ``energy``.
    """
    require_rows(frame, ("seed", "layer", "band", "mass", "energy"))
    fig, ((*axes,),) = grid(1, 2, 3.25, 3.4, sharey=True)
    bands = list(dict.fromkeys(frame.band))
    parts = ("gate", "up", "down")
    columns = {"mass": "share of the curvature mass", "energy": "share of the squared weight"}
    for ax, (column, title_of) in zip(axes, columns.items()):
        mean = frame.groupby(["layer", "band"], sort=False)[column].mean()
        for layer in dict.fromkeys(frame.layer):
            number, part = layer.split(".")[2], next((p for p in parts if p in layer), "")
            block = int(number) if number.isdigit() else 0
            look = {"color": SERIES[block % len(SERIES)], "linestyle": STYLES[parts.index(part) if part else 0]}
            shares, label = [mean[layer, b] for b in bands], f"block {block}, {part or layer}"
            ax.plot(range(len(bands)), shares, linewidth=1.1, label=label, **look)
        ax.set_xticks(range(len(bands)), bands, fontsize=8)
        framed(ax, "pairs of eigenvectors, by mass", title=title_of, titled=9)
    axes[0].set_ylim(-0.02, 1.02)
    legend_beside(axes[1], 6)
    fig.suptitle(headed(title, f"mean of {several(frame.seed.nunique(), 'training run')}"), fontsize=9)
    return finish(fig, path)


@door(FigureError)
def activation_plot(frame: pd.DataFrame, path: FilePath | None = None, *, title: str = "") -> Figure:
    """Memorised over clean activation in each band, a panel a side of the layer and a line a basis; dots are training
    runs. ``frame``: ``basis``, ``side``, ``band``.
    """
    require_rows(frame, ("basis", "side", "band", *_OWN))
    frame = frame[frame.band != "last over first"]
    sides, bands = list(dict.fromkeys(frame.side)), list(dict.fromkeys(frame.band))
    fig, ((*axes,),) = grid(1, len(sides), 3.4, 3.4, left=0.8, sharey=True)
    for ax, side in zip(axes, sides):
        ax.axhline(1, color=MUTED, linewidth=0.8)
        for i, (basis, of) in enumerate(frame[frame.side == side].groupby("basis", sort=False)):
            x = np.arange(len(of)) + 0.12 * (i - 1)
            _bars(ax, x, of, SERIES[i], MARKS[i] + "-", BASES.get(basis, basis))
        ax.set_xticks(range(len(bands)), bands, fontsize=8)
        framed(ax, "band, by curvature (singular value)", title=f"{side} of the layer", size=8, titled=9)
    axes[0].set_ylabel("activation, memorised over clean", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    about = f"mean over layers; bars 95 %, {int(frame.n.max())} sequences; dots: training runs"
    fig.suptitle(headed(title, about), fontsize=8)
    return finish(fig, path)


@door(FigureError)
def curve_panels(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    methods: Sequence[str] | None = None,
    measure: Name = "estimate",
    rise: NonNegative | None = 0.05,
    most: Positive = 0.5,
    title: str = "",
) -> Figure:
    """Recitation against the rise of the clean loss, one panel a set and one line a method; points are means over
    training runs, small dots the runs.

    Args:
        frame: rows with ``method``, ``set``, ``strength``, ``rise``, ``rise_seeds`` and the interval's columns.
            methods: which, in this order.
        measure: "estimate" (strict, with runs and intervals), "loose" or "lev". rise: where methods are compared, a
            line. most: end of the axis.
    """
    require_rows(frame, ("method", "set", "strength", "rise", "rise_seeds", *_OWN))
    chosen = [m for m in methods or dict.fromkeys(frame.method) if m in set(frame.method)]
    sets = list(dict.fromkeys(frame["set"]))
    fig, ((*axes,),) = grid(1, len(sets), 3.3, 3.6, left=1.9, sharey=True)
    for ax, where in zip(axes, sets):
        for i, method in enumerate(chosen):
            of = frame[(frame.method == method) & (frame["set"] == where)].sort_values("rise")
            colour, mark, style = SERIES[i % len(SERIES)], MARKS[i % len(MARKS)], STYLES[i // len(SERIES) % 3]
            ax.plot(of.rise, of[measure], mark + style, color=colour, markersize=3.5, linewidth=1.2, label=method)
            if measure == "estimate":
                ax.vlines(of.rise, of.low, of.high, color=colour, alpha=0.3, linewidth=0.8)
                for row in of.itertuples():
                    ax.plot(row.rise_seeds, row.seeds, mark, color=colour, markersize=1.6, alpha=0.5, markeredgewidth=0)
        if rise is not None:
            ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle="--")
        ax.set_xscale("symlog", linthresh=0.004, linscale=0.6)  # most happens where the loss has hardly risen
        ticks = [t for t in (0, 0.004, 0.01, 0.03, 0.1, 0.3, 1, 3) if t <= most]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
        ax.set_xlim(-0.0005, most)
        said = f"{SETS.get(where, where)} (n = {int(frame[frame['set'] == where].n.max())})"
        framed(ax, "rise of the clean loss (nats a token)", title=said)
    axes[0].set_ylim(-0.03, 1.03)
    axes[0].set_ylabel(MEASURES[measure], fontsize=9)
    legend_beside(axes[-1])
    if title:
        fig.suptitle(title, fontsize=9)
    return finish(fig, path)


@door(FigureError)
def matched_bars(
    frame: pd.DataFrame, path: FilePath | None = None, *, measure: Name = "strict", title: str = ""
) -> Figure:
    """Recitation of every method where the clean loss has risen equally, on both sets; dots are training runs.
    ``frame``: ``method``, ``set``, ``measure``.
    """
    require_rows(frame, ("method", "set", "measure", "rise", *_OWN))
    frame = frame[(frame.measure == measure) & (frame.method != "unedited") & frame["set"].isin(SETS)]
    names = list(dict.fromkeys(frame.method))
    fig, ax = figure(6.4, 1.1 + 0.36 * len(names))
    for i, (where, of) in enumerate(frame.groupby("set", sort=False)):
        at = -np.array([names.index(m) for m in of.method]) - 0.16 * (2 * i - 1)
        _bars(ax, at, of, SERIES[i], MARKS[i], SETS.get(where, where), across=True)
    rises = frame.drop_duplicates("method").set_index("method").rise
    ax.set_yticks(-np.arange(len(names)), [f"{m}  ({rises[m]:+.3f})" for m in names], fontsize=8)
    ax.set_xlim(-0.03, 1.03)
    ax.legend(fontsize=7, frameon=False)
    said = headed(title, "bars 95 %, dots: training runs")
    framed(ax, f"{measure} (in brackets: rise of the loss on the reporting half)", title=said, size=8)
    return finish(fig, path)


@door(FigureError)
def retention_bars(
    frame: pd.DataFrame, path: FilePath | None = None, *, methods: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Share kept of every task, of facts by exposure, and of recitation; a group a task and a bar a method, dots are
    training runs. Tasks that no run does are left out.

    ``frame``: rows with ``method``, ``task``, ``bin``, ``kept``, ``low``, ``high``, ``seeds``, ``n`` and ``able``.
    """
    require_rows(frame, ("method", "task", "bin", "kept", "low", "high", "seeds", "n", "able"))
    frame = frame[(frame.n > 0) & (frame.bin != "never")].assign(
        label=lambda t: (t.task + " " + t.bin).str.replace("_", "-").str.strip()
    )
    chosen = [m for m in methods or dict.fromkeys(frame.method) if m in set(frame.method)]

    def place(label):
        task, size = label.split()[0].rstrip(","), label.rsplit(" ", 1)[-1]
        return TASKS.index(task) if task in TASKS else 9, int(size) + label.count("over") if size.isdigit() else -1

    labels = sorted(dict.fromkeys(frame.label), key=place)
    fig, ax = figure(1.6 + 0.19 * len(labels) * (len(chosen) + 1), 3.7)
    width = 0.84 / len(chosen)
    for i, method in enumerate(chosen):
        of = frame[frame.method == method].set_index("label").reindex(labels)
        x = np.arange(len(labels)) + (i - (len(chosen) - 1) / 2) * width
        ax.bar(x, of.kept, width * 0.94, color=SERIES[i % len(SERIES)], label=method, linewidth=0)
        ax.vlines(x, of.low, of.high, color=INK, linewidth=0.9)
        for at, seeds in zip(x, of.seeds):
            if isinstance(seeds, list):
                dots(ax, [at] * len(seeds), seeds, 2.2, 0.5)
    ax.axhline(1, color=MUTED, linewidth=0.8)
    runs = frame.drop_duplicates("label").set_index("label").able.map(len)
    names = [f"{x} ({runs[x]})" for x in labels]
    slanted(ax, names, 7.5)
    legend_beside(ax)
    said = headed(title, "in brackets: training runs that do the task; lines 95 %")
    framed(ax, y="kept (after / before)", title=said)
    return finish(fig, path)


@door(FigureError)
def duplicates_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, column: Name = "estimate", by: Name = "kind", title: str = ""
) -> Figure:
    """Extraction (or another column) by the number of duplicates, a panel for each of `by` and a line a state of the
    model. ``frame``: ``state``, `by`, ``duplicates``.
    """
    require_rows(frame, ("state", by, "duplicates", column, "low", "high", "n"))
    groups = list(frame.groupby(by, sort=False))
    fig, ((*axes,),) = grid(1, len(groups), 2.3, 3.1, left=1.9, sharey=True)
    for ax, (name, part) in zip(axes, groups):
        counts = sorted(part.duplicates.unique())
        for i, (state, of) in enumerate(part.groupby("state", sort=False)):
            of = of.sort_values("duplicates")
            x = np.array([counts.index(d) for d in of.duplicates]) + 0.09 * (i - 1.5)
            colour = INK if state == "unedited" else SERIES[(i - 1) % len(SERIES)]
            ax.plot(x, of[column], MARKS[i % len(MARKS)] + "-", color=colour, markersize=3.2, linewidth=1, label=state)
            ax.vlines(x, of.low, of.high, color=colour, alpha=0.4, linewidth=0.9)
        ax.set_xticks(range(len(counts)), counts, fontsize=7)
        n = int(part.groupby(["state", "duplicates"]).n.sum().iloc[0])
        framed(ax, "duplicates", title=f"{name} (n = {n} or more a point)", size=8)
    axes[0].set_ylim(-0.03, 1.05)
    if column == "auc":
        for ax in axes:
            ax.axhline(0.5, color=MUTED, linewidth=0.8, linestyle="--")
    axes[0].set_ylabel(COLUMNS.get(column, column), fontsize=9)
    legend_beside(axes[-1])
    if title:
        fig.suptitle(title, fontsize=9)
    return finish(fig, path)


@door(FigureError)
def relearning_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """Recitation of untouched sequences by step of training, a panel a thing trained on and a line a method, with its
    interval; the twin never had them.

    ``frame``: rows with ``method``, ``on`` and ``step``.
    """
    require_rows(frame, ("method", "on", "step", *_OWN))
    groups = list(frame.groupby("on", sort=False))
    fig, ((*axes,),) = grid(1, len(groups), 2.2, 3.1, left=1.8, sharey=True)
    for ax, (name, part) in zip(axes, groups):
        steps = sorted(part.step.unique())
        for i, (method, of) in enumerate(part.groupby("method", sort=False)):
            of = of.sort_values("step")
            twin, x = method == "twin", [steps.index(s) for s in of.step]
            colour, label = (MUTED, "twin that never had it") if twin else (SERIES[i % len(SERIES)], method)
            style = MARKS[i % len(MARKS)] + ("--" if twin else "-")
            line(ax, x, of.estimate, of.low, of.high, style, colour, label, markersize=3.2, linewidth=1.1)
        ax.set_xticks(range(len(steps)), steps, fontsize=7)
        framed(ax, "steps", title=f"on {(names or {}).get(name, name)}", size=8)
    axes[0].set_ylim(-0.03, 1.03)
    axes[0].set_ylabel("recited without fault (strict)", fontsize=9)
    legend_beside(axes[-1])
    fig.suptitle(headed(title, f"{int(frame.n.max())} held-out sequences, bands 95 %"), fontsize=9)
    return finish(fig, path)


def _bars(ax, at: np.ndarray, of: pd.DataFrame, colour: str, style: str, label: str, across: bool = False) -> None:
    """Estimates with intervals, and training runs as small dots."""
    look: dict[str, Any] = {
        "markersize": 4.5,
        "linewidth": 1,
        "elinewidth": 1.1,
        "capsize": 2,
        "label": label,
        "across": across,
    }
    points(ax, at, of.estimate, of.low, of.high, style, colour, **look)
    for place, seeds in zip(at, of.seeds):
        runs = [place] * len(seeds)
        ax.plot(*((seeds, runs) if across else (runs, seeds)), ".", color=colour, markersize=3, alpha=0.6)


_EDITS = ("K-FAC", "SVD", "random bases", "inputs alone", "BalancedSubnet", "gradient ascent", "contrast mask")
_BASES = ("random bases", "random bases, equal count", "inputs alone", "gradients alone")
_CONTROLS = ("K-FAC", *_BASES, "magnitude", "keep bottom")
#: file name -> (function, table of the run, options)
FIGURES: dict[str, tuple[Callable[..., Figure], str, dict[str, Any]]] = {
    "spectrum": (spectrum_plot, "spectrum", {}),
    "activation": (activation_plot, "activation", {}),
    "curves": (curve_panels, "curves", {"methods": _EDITS}),
    "curves_controls": (curve_panels, "curves", {"methods": _CONTROLS}),
    "curves_statistics": (curve_panels, "curves", {"methods": tuple(CURVATURE)}),
    "curves_distance": (curve_panels, "curves", {"methods": _EDITS, "measure": "lev"}),
    "matched": (matched_bars, "matched", {}),
    "retention": (retention_bars, "retention", {}),
    "duplicates": (duplicates_plot, "duplicates", {}),
    "membership": (duplicates_plot, "membership", {"column": "auc", "by": "score"}),
    "relearning": (relearning_plot, "relearning", {}),
}
