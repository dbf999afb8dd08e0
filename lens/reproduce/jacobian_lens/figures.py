"""Figures of a run: where the bridges stand by layer, and what edits do."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ...figures import change_plot
from ...figures.panels import framed
from ...figures.style import MUTED, SERIES, figure, finish
from ..common import matching
from .verdicts import READINGS, curves


def by_layer(ranks: pd.DataFrame, path: Path | None = None) -> Figure:
    """The mean place of the bridges at their subject's last token by layer, one line a reading; reported half."""
    table, (fig, ax) = matching(curves(ranks), position="subject"), figure(5.6, 3.4)
    for name, colour in zip(READINGS, SERIES * 2):
        one = matching(table, reading=name)
        ax.plot(one.layer, one.share, "o-", color=colour, label=name.replace("_", " "), markersize=3, linewidth=1.3)
    ax.axhline(0.5, color=MUTED, linewidth=0.8)
    framed(ax, "layer", "place of the bridge (1: first, 0: last)")
    ax.legend(fontsize=8, frameon=False)
    return finish(fig, path)


def of_edits(edits: pd.DataFrame, path: Path | None = None) -> Figure:
    """What each edit does to the answer's log-probability, question by question."""
    values = edits.pivot_table(index="item", columns="condition", values="logprob")
    changes = {str(name): values[name] - values["plain"] for name in values.columns if name != "plain"}
    return change_plot(changes, path)


FIGURES = {"by_layer": (("ranks",), by_layer), "edits": (("edits",), of_edits)}
