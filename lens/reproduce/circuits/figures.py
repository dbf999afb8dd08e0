"""Circuits by size beside random ones, areas, agreement with exact effects, edges that are known, controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, door
from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SERIES, FigureError, figure, finish, require_rows


@door(FigureError)
def curves_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """What circuits keep of held-out pairs, f, by their size, a line a method, ranked by magnitude; random ones grey.

    ``frame``: rows with ``method``, ``ranking``, ``size``, ``f``, ``low`` and ``high``.
    """
    require_rows(frame, ("method", "ranking", "size", "f", "low", "high"))
    fig, ax = figure(5.6, 3.4)
    of = frame[frame.ranking == "absolute"]
    for i, (method, rows) in enumerate(of.groupby("method", sort=False)):
        colour = SERIES[i % len(SERIES)]
        ax.plot(rows["size"], rows.f, color=colour, marker="o", markersize=3, linewidth=1.2, label=str(method))
        ax.fill_between(rows["size"], rows.low, rows.high, color=colour, alpha=0.15, linewidth=0)
    if "random" in of:
        rows = of[of.random.notna()]
        ax.plot(rows["size"], rows.random, color=MUTED, linestyle="--", linewidth=1.2, label="random")
    ax.set_xscale("log")
    ax.axhline(1, color=MUTED, linewidth=0.6)
    framed(ax, "share of all edges", "f on held-out pairs")
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def agreement_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Spearman's correlation of scores with exact effects within a pair, with intervals over pairs, by set and method.

    ``frame``: rows with ``set``, ``method``, ``measure``, ``within``, ``low`` and ``high``.
    """
    require_rows(frame, ("set", "method", "measure", "within", "low", "high"))
    of = frame[frame.measure == "spearman"]
    sets = list(dict.fromkeys(of.set))
    fig, ax = figure(5.6, 3.2)
    for i, (method, rows) in enumerate(of.groupby("method", sort=False)):
        at = np.array([sets.index(which) for which in rows.set]) + 0.12 * i - 0.2
        off = np.abs(np.stack([rows.within - rows.low, rows.high - rows.within]))
        ax.errorbar(at, rows.within, off, fmt="o", markersize=4, color=SERIES[i % len(SERIES)], label=str(method))
    ax.set_xticks(range(len(sets)), sets, fontsize=8)
    framed(ax, "", "Spearman with exact effects, one pair")
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def controls_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """What is kept, f, by the circuit and by what it is set beside, by the share of edges in common.

    ``frame``: rows with ``circuit``, ``f``, ``f_low``, ``f_high`` and ``jaccard``.
    """
    require_rows(frame, ("circuit", "f", "f_low", "f_high", "jaccard"))
    fig, ax = figure(5.6, 3.2)
    for i, row in enumerate(frame.itertuples()):
        off = np.abs([[row.f - row.f_low], [row.f_high - row.f]])
        ax.errorbar([row.jaccard], [row.f], off, fmt="o", color=SERIES[i % len(SERIES)], label=str(row.circuit))
    framed(ax, "edges in common (Jaccard)", "f on held-out pairs")
    legend_beside(ax)
    return finish(fig, path)


#: name -> (tables, figure)
FIGURES = {
    "circuits": (("curves",), curves_plot),
    "agreement": (("agreement",), agreement_plot),
    "controls": (("controls",), controls_plot),
}
