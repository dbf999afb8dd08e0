"""Figures of a run: effects by layer, what tells errors, what the dose does, published markers beside the depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...figures.panels import framed, grid, line, points
from ...figures.style import MUTED, SERIES, figure, finish
from ..common import matching
from .tables import judged_items


def curves_plot(curves: pd.DataFrame, path: Path | None = None) -> Figure:
    """What another context still changes from each layer on, and what the last token's stream carries, of right and of
    wrong readings; means over words with intervals.
    """
    fig, (axes,) = grid(1, 2, 3.6, 3.2)
    for ax, measure in zip(axes, ("reading", "writing")):
        for answer, colour in zip(("right", "wrong"), SERIES):
            of = matching(curves, measure=measure, answer=answer)
            line(ax, of.layer, of.effect, of.low, of.high, "o-", colour, answer, markersize=3, linewidth=1.3)
        ax.axhline(0.1 if measure == "reading" else 0.9, color=MUTED, linewidth=0.8, linestyle=":")
        framed(ax, "layer", {"reading": "another context changes", "writing": "the last token carries"}[measure])
    axes[0].legend(fontsize=8, frameon=False)
    return finish(fig, path)


def predictors_plot(predictors: pd.DataFrame, path: Path | None = None) -> Figure:
    """How well errors are told, by what; with intervals over words."""
    fig, ax = figure(5.6, 3.4)
    of = predictors.iloc[::-1]
    at = np.arange(len(of))
    points(ax, at, of.auc, of.low, of.high, "o", SERIES[0], across=True, markersize=4, label="all items")
    ax.plot(of.within, at, "x", color=SERIES[1], label="items of one dose")
    ax.set_yticks(at, [f"{r.predictor}, layer {r.layer}" if r.layer >= 0 else r.predictor for r in of.itertuples()])
    ax.axvline(0.5, color=MUTED, linewidth=0.8)
    framed(ax, "AUC for wrong readings", "")
    ax.legend(fontsize=8, frameon=False)
    return finish(fig, path)


def doses_plot(doses: pd.DataFrame, path: Path | None = None) -> Figure:
    """Errors and depth of reading by how often the stronger sense is meant."""
    fig, (axes,) = grid(1, 2, 3.6, 3.0)
    for ax, measure, colour in zip(axes, ("wrong", "depth"), SERIES):
        of = matching(doses, measure=measure)
        points(ax, np.arange(len(of)), of["mean"], of.low, of.high, "o-", colour, markersize=4)
        ax.set_xticks(np.arange(len(of)), [f"{dose:g}" for dose in of.dose])
        framed(ax, "dose", {"wrong": "wrong readings, share", "depth": "depth of reading, layer"}[measure])
    return finish(fig, path)


def markers_plot(markers: pd.DataFrame, items: pd.DataFrame, path: Path | None = None) -> Figure:
    """Where each published marker lies beside the depth of reading of the same item; the area of a dot is how many."""
    depth = judged_items(items)[["seed", "item", "depth"]]
    of = matching(markers, moment="middle").merge(depth, on=["seed", "item"]).dropna(subset=["depth", "layer"])
    names = [name for name in of.marker.unique() if name.endswith("commitment")]
    fig, (axes,) = grid(1, max(1, len(names)), 2.0, 2.6)
    for ax, name, colour in zip(axes, names, SERIES * 2):
        count = of[of.marker == name].groupby(["depth", "layer"]).size().reset_index(name="n")
        ax.scatter(count.depth, count.layer, s=120 * count.n / count.n.max(), color=colour, alpha=0.6, linewidth=0)
        top = max(float(of.depth.max()), float(of.layer.max()))
        ax.plot([0, top], [0, top], color=MUTED, linewidth=0.8)
        title = name.removesuffix(" commitment")
        framed(ax, "depth of reading", "layer that is named" if name == names[0] else "", title)
    return finish(fig, path)


FIGURES = {
    "curves": (("curves",), curves_plot),
    "predictors": (("predictors",), predictors_plot),
    "doses": (("doses",), doses_plot),
    "markers": (("markers", "items"), markers_plot),
}
