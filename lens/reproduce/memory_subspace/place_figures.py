"""One place of the U-Net cut at a time: what it takes and costs, from the table `places` of
`lens.reproduce.memory_subspace`.
"""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from ...arguments import FilePath, NonNegative, door
from ...figures.panels import GREY, MARKS, bar, framed, grid, legend_beside, plain, signs_below
from ...figures.style import INK, MUTED, FigureError, finish, require_rows
from . import places
from . import tables as frames
from .bench import REPORTED, RISE
from .shared_figures import CUT, INTERVAL, cost_axis, over


@door(FigureError)
def places_plot(table: pd.DataFrame, path: FilePath | None = None, *, rise: NonNegative = RISE) -> Figure:
    """A row a method: copying against cost for each place (means over models), and what each leaves at one cost (small
    dots: models; bars: Student's t), beside it cut whole.

    The place that the tune set chooses has its number of models behind its name; results are of a set that it was not
    chosen on.
    """
    read = ("copy", "rise", "rise_chosen", "density", "likeness", "seed")
    require_rows(table, ("method", "place", "dose", "located", "set", "caption", *read), "table")
    found = places.carried(table, rise)
    methods, count = list(dict.fromkeys(table.method)), table.seed.nunique()
    fig, axes = grid(len(methods), 2, 4.6, 3.4)
    for (left, right), method in zip(axes, methods):
        of = table[(table.method == method) & (table.located == REPORTED[0])]
        order = [p for p in dict.fromkeys(of.place) if p != places.EVERY]
        names = dict(zip(order, frames.short(order))) | {places.EVERY: "all together"}
        colours: dict[str, Any] = {
            p: colormaps["viridis"](0.92 * i / max(1, len(order) - 1)) for i, p in enumerate(order)
        }
        colours[places.EVERY] = INK
        _curves(left, of, names, colours, rise)
        _left(right, found[found.method == method], names, colours)
        left.set_title(f"{fill(frames.title(method), 44)}: dose by dose", fontsize=8)
        n = int(found[found.method == method].groupby("seed").n.first().sum())
        said = f"{n} captions{' of all models' * (count > 1)}"
        right.set_title(f"at a rise of {100 * rise:g} % at most; {said}", fontsize=8)
    axes[-1][0].set_xlabel("rise of the held-out error (%)", fontsize=8)
    axes[-1][1].set_xlabel("share of seeds that give a copy", fontsize=8)
    signs = {
        "the place cut whole, at whatever cost (mean)": ("D", {**CUT, "markeredgecolor": MUTED}),
        "unedited": ("--", {"color": MUTED, "linewidth": 1}),
    }
    signs_below(fig, axes[0][1], 2, signs)
    said = over(table) if count > 1 else "1 model, no interval"
    fig.suptitle(f"One place of the U-Net cut at a time: {said}", fontsize=9)
    return finish(fig, path)


def _curves(ax, of: pd.DataFrame, names: dict, colours: dict, rise: float) -> None:
    ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle=":")
    for i, (place, name) in enumerate(names.items()):
        by = of[of.place == place].groupby("dose")[["rise", "copy"]].mean().sort_values("rise")
        style = MARKS[i % len(MARKS)] + ("--" if place == places.EVERY else "-")
        ax.plot(by.rise, by["copy"], style, color=colours[place], markersize=3.6, linewidth=1.2, label=name)
    cost_axis(ax, of.rise)
    ax.set_ylim(-0.03, 1.04)
    legend_beside(ax, 6.5)
    framed(ax, y="share of seeds that give a copy", size=8)


def _left(ax, found: pd.DataFrame, names: dict, colours: dict) -> None:
    lines = frames.means(found, ("place",), "copy", (0.0, 1.0)).set_index("place")
    labels = []
    for y, (place, name) in enumerate(names.items()):
        of, row = found[found.place == place], lines.loc[place]
        look: dict[str, Any] = {
            "color": GREY if place == places.EVERY else colours[place],
            "alpha": 0.75,
            "interval": INTERVAL,
        }
        bounds = (row.low, row.high) if len(row.runs) > 1 else (np.nan, np.nan)
        bar(ax, -y, row["copy"], 0.62, row.runs, bounds, across=True, **look)
        if place != places.EVERY:
            ax.plot(of.whole.mean(), -y - 0.2, "D", markeredgecolor=MUTED, zorder=5, **CUT)
        times = int(of.chosen.sum())
        labels.append(name + (f"\nchosen by {times} of {len(of)}" if times else ""))
    ax.axvline(found.groupby("seed").before.first().mean(), color=MUTED, linewidth=1, linestyle="--")
    ax.set_yticks(-np.arange(len(labels)), labels, fontsize=7.5)
    ax.set_xlim(-0.02, 1.04)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    plain(ax)
