"""Figures of a run: gain by count in two corpora and by window, traps, and how facts are acquired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SERIES, figure, finish
from .retention import CONSTANT, LARGER, READ
from .traps import NONE, TWIN


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


def traps(cells: pd.DataFrame, path: Path | None = None) -> Figure:
    """How well traps tell by how often they were put in: a line a length, beside the twin and by the loss alone."""
    fig, ax = figure(5.6, 3.4)
    for i, (length, of) in enumerate(cells.groupby("length")):
        for reference, style in ((TWIN, "o-"), (NONE, "o:")):
            at = of[of.reference == reference].sort_values("duplicates")
            off = np.abs(np.stack([at.auc - at.low, at.high - at.auc]))
            label = f"{length} tokens, {reference}"
            place = np.log2(at.duplicates) + 0.06 * i
            ax.errorbar(place, at.auc, off, fmt=style, markersize=4, linewidth=1.2, color=SERIES[i], label=label)
    ticks = sorted(cells.duplicates.unique())
    ax.set_xticks(np.log2(ticks), [str(t) for t in ticks])
    ax.axhline(0.5, color=MUTED, linewidth=0.6)
    framed(ax, "times that a trap was put in", "AUC")
    legend_beside(ax)
    return finish(fig, path)


def acquisition(curves: pd.DataFrame, path: Path | None = None) -> Figure:
    """The answer's log-probability over the training with a constant rate, a line a group; of those with a larger
    batch, those that were read again and again.
    """
    fig, ax = figure(5.6, 3.4)
    for i, group in enumerate(curves.group.unique()):
        for arm, style in ((CONSTANT, "-"), (LARGER, ":")):
            of = curves[(curves.arm == arm) & (curves.group == group)]
            if arm == CONSTANT or group in READ:
                ax.plot(of.step, of.log_p, style, linewidth=1.2, color=SERIES[i], label=f"{group}, {arm}")
    framed(ax, "steps (of the smaller batch)", "log p of the answer, nats")
    legend_beside(ax)
    return finish(fig, path)


FIGURES = {
    "by_count": (("counts",), by_count),
    "by_window": (("counts",), by_window),
    "traps": (("traps",), traps),
    "acquisition": (("acquisition_curves",), acquisition),
}
