"""Figures of a run: losses by the count of repeats, the head over the steps, and sizes that do as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SERIES, figure, finish
from .arms import ALL, UNIQUE_ONLY, repeats
from .tables import LEAST


def _mixed(ends: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trainings of the size that has most arms, and of them those whose repeats are mixed with what is new."""
    of = ends[ends.d == ends.groupby("d").arm.nunique().idxmax()]
    return of, of[[row.arm == repeats(row.repeats) for row in of.itertuples()]]


def by_repeats(ends: pd.DataFrame, path: Path | None = None) -> Figure:
    """Text loss by how often the subset is seen, a dot a seed; the trainings on new rows alone as lines."""
    of, mixed = _mixed(ends)
    fig, ax = figure(5.6, 3.4)
    _dots(ax, mixed, "text")
    for i, arm in enumerate((ALL, *UNIQUE_ONLY)):
        ax.axhline(of[of.arm == arm].text.mean(), color=SERIES[1 + i], linewidth=1, linestyle="--", label=arm)
    framed(ax, "times that the subset is seen", "text loss, nats a token")
    legend_beside(ax)
    return finish(fig, path)


def known(ends: pd.DataFrame, path: Path | None = None) -> Figure:
    """The subset's own loss by how often it is seen, beside that of new rows."""
    of, mixed = _mixed(ends)
    fig, ax = figure(5.6, 2.8)
    _dots(ax, mixed, "subset")
    ax.axhline(of[of.arm == ALL]["all"].mean(), color=SERIES[1], linewidth=1, linestyle="--", label="new rows")
    framed(ax, "times that the subset is seen", "loss of the subset, nats a token")
    legend_beside(ax)
    return finish(fig, path)


def _dots(ax: Axes, mixed: pd.DataFrame, measure: str) -> None:
    means = mixed.groupby("repeats")[measure].mean()
    ax.plot(means.index, means, color=SERIES[0], linewidth=1.2)
    ax.plot(mixed.repeats, mixed[measure], "o", color=SERIES[0], markersize=4, label="with the subset")
    ax.set_xscale("log")


def heads(looks: pd.DataFrame, path: Path | None = None) -> Figure:
    """Prefix matching of the best head over the share of the steps, a line an arm (mean over seeds)."""
    of = looks[looks.d == looks.groupby("d").arm.nunique().idxmax()]
    fig, ax = figure(5.6, 3.4)
    for i, (arm, rows) in enumerate(of.groupby("arm", sort=False)):
        means = rows.assign(share=rows.step / rows.steps).groupby("share").prefix_matching.mean()
        style = ("-", "--", ":")[i // len(SERIES) % 3]
        ax.plot(means.index, means, style, color=SERIES[i % len(SERIES)], linewidth=1.2, label=str(arm))
    ax.axhline(LEAST, color=MUTED, linewidth=0.6)
    framed(ax, "share of the steps", "prefix matching of the best head")
    legend_beside(ax)
    return finish(fig, path)


def as_sizes(sizes: pd.DataFrame, path: Path | None = None) -> Figure:
    """The size that each arm is as good as, by text loss and by prefix matching, as a share of its own."""
    fig, ax = figure(5.6, 3.4)
    order = list(dict.fromkeys(sizes.arm))
    for i, measure in enumerate(("text", "prefix_matching")):
        of = sizes[(sizes.measure == measure) & sizes["size"].notna()]
        share, at = of["size"] / of.own, [order.index(arm) + 0.15 * i for arm in of.arm]
        off = np.stack([share - of.low / of.own, np.minimum(of.high, 4 * of.own) / of.own - share]).clip(0)
        ax.errorbar(at, share, off, fmt="o", markersize=4, color=SERIES[i], label=measure.replace("_", " "))
    ax.set_xticks(range(len(order)), order, rotation=30, ha="right", fontsize=7)
    ax.axhline(1, color=MUTED, linewidth=0.6)
    framed(ax, "", "size that does as well, of the own")
    legend_beside(ax)
    return finish(fig, path)


FIGURES = {
    "by_repeats": (("ends",), by_repeats),
    "known": (("ends",), known),
    "heads": (("looks",), heads),
    "as_sizes": (("sizes",), as_sizes),
}
