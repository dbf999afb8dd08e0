"""Figures of a run: frontiers of the arms, what each cures and costs; when gates open; accuracy against length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ...figures.panels import MARKS, framed, legend_beside, points
from ...figures.style import MUTED, SERIES, figure, finish
from .arms import ALWAYS, BIAS, GATED, GLOBAL_GATED, ON_REFUSAL, PUBLISHED, RANDOM

SHOWN = (GATED, ON_REFUSAL, ALWAYS, GLOBAL_GATED, BIAS, PUBLISHED, RANDOM)


def _look(number: int) -> dict[str, Any]:
    """The colour and mark of a line; colours begin anew with another mark."""
    return {"color": SERIES[number % len(SERIES)], "marker": MARKS[number // len(SERIES)]}


def frontiers(frontier: pd.DataFrame, path: Path | None = None) -> Figure:
    """Over-refused lists answered right by disguised refusals lost, a line an arm over its sizes."""
    fig, ax = figure(5.8, 3.6)
    for k, arm in enumerate(SHOWN):
        rows = frontier[frontier.arm == arm].sort_values("size")
        style = "--" if arm in (BIAS, RANDOM) else "-"
        ax.plot(rows.disguised_lost, rows.right, style, markersize=3, label=arm, linewidth=1.2, **_look(k))
    ax.axvline(0.03, color=MUTED, linewidth=0.6)
    framed(ax, "disguised refusals lost", "over-refused lists answered right")
    legend_beside(ax)
    return finish(fig, path)


def lengths(by_arm: pd.DataFrame, path: Path | None = None) -> Figure:
    """Accuracy by mean length of the reasoner's chains, a line an arm over its sizes; the useful organism."""
    fig, ax = figure(5.8, 3.4)
    of = by_arm[by_arm.model == "useful"]
    for i, (arm, rows) in enumerate(of.groupby("arm", sort=False)):
        rows = rows.sort_values("size")
        ax.plot(rows.tokens, rows.right, "-", markersize=4, linewidth=1.2, label=str(arm), **_look(i))
    framed(ax, "tokens of a chain, mean", "right")
    legend_beside(ax)
    return finish(fig, path)


def gates(rates: pd.DataFrame, path: Path | None = None) -> Figure:
    """Share of prompts at whose colon each gate is open, by kind of prompt, with exact intervals; a mark each."""
    fig, ax = figure(5.8, 3.6)
    labels = list(dict.fromkeys(rates.label))
    for k, ((kind, task), rows) in enumerate(rates.groupby(["gate", "task"], sort=False)):
        style, colour = ("s" if kind == "refusal" else "D" if task == "all" else "o"), SERIES[k % len(SERIES)]
        at = [labels.index(label) + 0.1 * (k - 3) for label in rows.label]
        look = {"markersize": 3, "elinewidth": 0.8, "label": f"{task}, {kind}"}
        points(ax, at, rows["mean"], rows.low, rows.high, style, colour, across=True, **look)
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.invert_yaxis()
    framed(ax, "gate open, share of prompts")
    legend_beside(ax)
    return finish(fig, path)


FIGURES = {
    "frontiers": (("frontier",), frontiers),
    "gates": (("rates",), gates),
    "lengths": (("lengths",), lengths),
}
