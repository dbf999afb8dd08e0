"""Accuracies over updates, how alike states are beside their floor, what a code's state does in the other model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, door
from ...figures.panels import framed, grid, legend_beside
from ...figures.style import MUTED, SERIES, FigureError, figure, finish, require_rows
from ..common import matching
from .bench import PAIR, ROLES

#: What is drawn of each checkpoint.
SHOWN = ("free", "forced", "sampled")


@door(FigureError)
def curves_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Shares of right answers to reported leaves over updates, a line a checkpoint; most likely answers, forced walks
    and sampled answers.

    ``frame``: rows with ``arm``, ``part``, ``updates``, ``measure``, ``share``, ``low`` and ``high``.
    """
    require_rows(frame, ("arm", "part", "updates", "measure", "share", "low", "high"))
    fig, panels = grid(1, len(SHOWN), 2.9, 3.0)
    axes = panels[0]
    of = frame[frame.part == "report"]
    for ax, measure in zip(axes, SHOWN, strict=True):
        for i, (arm, rows) in enumerate(matching(of, measure=measure).groupby("arm", sort=False)):
            colour = SERIES[i % len(SERIES)]
            # two runs of one recipe, and arms beyond the series' colours, are told by the line too
            dashes = ":" if i >= len(SERIES) else "--" if str(arm).endswith("again") else "-"
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1.2, "linestyle": dashes}
            ax.plot(rows.updates, rows.share, color=colour, label=str(arm), **style)
            ax.fill_between(rows.updates, rows.low, rows.high, color=colour, alpha=0.1, linewidth=0)
        ax.set_ylim(-0.03, 1.03)
        framed(ax, "updates", f"{measure}: right tops")
    legend_beside(axes[-1])
    return finish(fig, path)


@door(FigureError)
def likeness_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Raw and centred cosines of two checkpoints behind the first block by role of the prompt, beside their floor.

    ``frame``: rows with ``role``, ``metric``, ``layer``, ``mean``, ``low``, ``high`` and ``floor``.
    """
    require_rows(frame, ("role", "metric", "layer", "mean", "low", "high", "floor"))
    fig, panels = grid(1, 2, 3.4, 3.2, left=1.6)
    axes = panels[0]
    of = frame[frame.layer == frame.layer.min()]
    roles = [role for role in ROLES if role in set(of.role)][::-1]
    for ax, metric in zip(axes, ("cosine", "centred_cosine"), strict=True):
        rows = matching(of, metric=metric).groupby("role")[["mean", "low", "high", "floor"]].mean().reindex(roles)
        at = np.arange(len(rows))
        off = np.abs(np.stack([rows["mean"] - rows.low, rows.high - rows["mean"]]))
        ax.errorbar(rows["mean"], at, xerr=off, fmt="o", markersize=4, color=SERIES[0], label=" and ".join(PAIR))
        ax.plot(rows.floor, at, "|", markersize=12, color=MUTED, label="two runs of one recipe")
        ax.set_yticks(at, roles if ax is axes[0] else [""] * len(roles), fontsize=8)
        framed(ax, metric.replace("_", " "), "")
    legend_beside(axes[-1])
    return finish(fig, path)


@door(FigureError)
def patches_plot(frame: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """What the code's state of one checkpoint does to the other's log-odds of the leaf's name, beside other copies.

    ``frame``: rows with ``kind``, ``metric``, ``direction``, ``copy``, ``layer`` and ``effect``.
    """
    require_rows(frame, ("kind", "metric", "direction", "copy", "layer", "effect"))
    of = matching(frame, metric="log_odds", layer=int(frame.layer.min()))
    kinds = [f"{kind}\n{way}" for (kind, way), _ in of.groupby(["kind", "direction"], sort=False)]
    fig, ax = figure(7.2, 3.2)
    for i, (copy, rows) in enumerate(of.groupby("copy", sort=False)):
        each = [one.effect for _, one in rows.groupby(["kind", "direction"], sort=False)]
        at = np.arange(len(each)) + 0.18 * (i - 1.5)
        off = [1.96 * one.std() / len(one) ** 0.5 for one in each]
        colour = SERIES[i % len(SERIES)]
        ax.errorbar(at, [one.mean() for one in each], off, fmt="o", markersize=4, color=colour, label=str(copy))
    ax.axhline(0, color=MUTED, linewidth=0.6)
    ax.set_xticks(range(len(kinds)), kinds, fontsize=7)
    framed(ax, "", "change of log-odds")
    legend_beside(ax)
    return finish(fig, path)


#: name -> (tables, figure)
FIGURES = {
    "curves": (("curves",), curves_plot),
    "likeness": (("likeness",), likeness_plot),
    "patches": (("patches",), patches_plot),
}
