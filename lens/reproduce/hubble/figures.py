"""Figures of a run: gain by count in two corpora, and by window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SERIES, figure, finish


def by_count(counts: pd.DataFrame, path: Path | None = None) -> Figure:
    """The gain over the standard model by how often an item was put in, in the base corpus and in the longer one."""
    fig, ax = figure(5.6, 3.4)
    _lines(ax, counts, [name for name in counts.training.unique() if "%" not in name])
    return finish(fig, path)


def by_window(counts: pd.DataFrame, path: Path | None = None) -> Figure:
    """The gain by how often an item was put in, a line for each quarter of the training."""
    fig, ax = figure(5.6, 3.4)
    _lines(ax, counts, [name for name in counts.training.unique() if "%" in name])
    return finish(fig, path)


def _lines(ax: Axes, counts: pd.DataFrame, names: list[str]) -> None:
    for i, name in enumerate(sorted(names, key=lambda name: int(name.split("-")[0]) if "%" in name else len(name))):
        of = counts[counts.training == name].sort_values("duplicates")
        off = np.abs(np.stack([of.gain - of.low, of.high - of.gain]))
        at = np.log2(of.duplicates + 1) + 0.06 * i
        ax.errorbar(at, of.gain, off, fmt="o-", markersize=4, linewidth=1.2, color=SERIES[i % len(SERIES)], label=name)
    ticks = sorted(counts.duplicates.unique())
    ax.set_xticks(np.log2(np.array(ticks) + 1), [str(t) for t in ticks])
    ax.axhline(0, color=MUTED, linewidth=0.6)
    framed(ax, "times that an item was put in", "gain, nats a token")
    legend_beside(ax)


FIGURES = {"by_count": (("counts",), by_count), "by_window": (("counts",), by_window)}
