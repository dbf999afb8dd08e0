"""Edits of a diffusion model: what they take and cost, and what the model can still do.

Tables come as the study's steps make them. Small dots are trained models; titles say what an interval is over.
"""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import Count, FilePath, NonNegative, door
from ...figures.panels import GREY, MARKS, bar, framed, grid, legend_beside, points, signs_below, spanned
from ...figures.style import INK, MUTED, SERIES, FigureError, finish, require_rows
from . import tables as frames
from .bench import RISE
from .shared_figures import CUT, INTERVAL, cost_axis, over

CELLS = {
    "generic-many": "captions without a code",
    "template": "templates",
    "two-captions": "two captions of a picture",
    "digit-many": "digits",
}


@door(FigureError)
def tradeoff_plot(
    curves: pd.DataFrame, path: FilePath | None = None, *, rise: NonNegative = RISE, columns: Count = 4
) -> Figure:
    """Copying against the rise of the held-out error, a panel a method and a mark a dose (means over models, small dots
    models): the located set, and the other sets.

    The vertical line is where methods are compared; the marks with intervals on it are what is read there: the least
    that is left at that cost at most.
    """
    require_rows(
        curves, ("method", "dose", "located", "set", "caption", "copy", "rise", "density", "likeness", "seed"), "curves"
    )
    methods = list(dict.fromkeys(curves.method))
    across = min(columns, len(methods))
    rows = -(-len(methods) // across)
    fig, axes = grid(rows, across, max(2.25, 6.0 / across), 2.5 if rows > 1 else 3.4, sharex=True, sharey=True)
    read = {own: frames.at_rise(curves, own, rise).set_index("method") for own in (True, False)}
    for ax, method in zip(axes.flat, methods):
        of, blind = curves[curves.method == method], method in frames.BLIND
        ax.axvline(rise, color=MUTED, linewidth=0.8, linestyle=":")
        for own, (colour, mark, style) in {True: (SERIES[0], "o", "-"), False: (SERIES[1], "^", "--")}.items():
            if blind and not own:
                continue
            by = pd.concat([frames.curve(part, None if blind else own) for _, part in of.groupby("seed")])
            colour = INK if blind else colour
            ax.plot(by.rise, by["copy"], ".", color=colour, markersize=2.5, alpha=0.5)
            mean = by.groupby("dose")[["rise", "copy"]].mean().sort_values("rise")
            ax.plot(mean.rise, mean["copy"], mark + style, color=colour, markersize=3.8, linewidth=1.3)
            row, x = read[own].loc[method], rise * (1 if blind else 0.9 if own else 1.12)
            ax.plot([x, x], [row.low, row.high], color=colour, linewidth=1)
            look = {**CUT, "markeredgecolor": colour, "markeredgewidth": 1.2}
            ax.plot(x, row["copy"], "D", zorder=5, **look)
        cost_axis(ax, curves.rise)
        ends = "" if bool(read[True].loc[method].reached) else " (ends before)"
        n = int(of[of.dose == 0].groupby("seed").caption.nunique().sum())
        framed(ax, title=f"{fill(frames.title(method), 30)}\nn = {n}{ends}", titled=7.5)
    for ax in list(axes.flat)[len(methods) :]:
        ax.set_axis_off()
    for i, ax in enumerate(list(axes.flat)[: len(methods)]):
        ax.tick_params(labelbottom=i + across >= len(methods))
    axes[0][0].set_ylim(-0.03, 1.04)
    for ax in list(axes.flat)[max(0, len(methods) - across) : len(methods)]:
        ax.set_xlabel("rise of the held-out error (%)", fontsize=8)
    fig.supylabel("share of seeds that give a copy", fontsize=9)
    signs: dict[str, tuple[str, Any]] = {
        "located set": ("o-", {"color": SERIES[0], "markersize": 4}),
        "other memorised sets": ("^--", {"color": SERIES[1], "markersize": 4}),
        "every set (looks at none)": ("o-", {"color": INK, "markersize": 4}),
        f"least left at a rise of {100 * rise:g} % at most": ("D", {"color": "white", "markeredgecolor": MUTED}),
    }
    signs_below(fig, axes.flat[0], 4 if across > 2 else 2, signs)
    fig.suptitle(f"What an edit takes and costs: {over(curves)}; n: captions of all models", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def families_plot(families: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Copying of families that nothing was located or chosen on, unedited and under each method at the dose that
    removes what it was located on: a panel a family.
    """
    require_rows(families, ("method", "cell", "caption", "copy", "seed"), "families")
    table = frames.means(families, ("method", "cell"), "copy", (0.0, 1.0))
    methods, cells = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.cell))
    fig, (axes,) = grid(1, len(cells), 2.3, 1.4 + 0.36 * len(methods), sharey=True)
    for ax, cell in zip(axes, cells):
        of = table[table.cell == cell].set_index("method")
        for y, method in enumerate(methods):
            if method in of.index:
                _across(ax, y, of.loc[method], "copy", method)
        ax.set_xlim(-0.02, 1.04)
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        framed(ax, title=f"{CELLS.get(cell, cell)}\n{spanned(of.n)} captions of all models")
    axes[0].set_yticks(-np.arange(len(methods)), [fill(frames.title(m), 34) for m in methods], fontsize=8)
    fig.supxlabel("share of seeds that give a copy", fontsize=9)
    fig.suptitle(f"Families that nothing was located on: {over(families)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def utility_plot(utility: pd.DataFrame, errors: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """What the model can still do: attributes of held-out captions that are right (beside the classifier's ceiling),
    Frechet distance, and the held-out error by bin against before.
    """
    measures = ("accuracy", "accuracy_low", "accuracy_high", "ceiling", "frechet", "frechet_low", "frechet_high")
    require_rows(utility, ("method", *measures, "pictures", "captions", "seed"), "utility")
    require_rows(errors, ("method", "bin", "error", "before", "seed"), "errors")
    methods = list(dict.fromkeys(utility.method))
    fig = Figure(figsize=(12.8, 2.3 + 0.34 * len(methods)), layout="constrained", dpi=130)
    axes = fig.subplots(1, 3, width_ratios=(1, 1, 1.35))
    for ax, measure in zip(axes, ("accuracy", "frechet")):
        table = frames.means(utility, ("method",), measure).set_index("method")
        if utility.seed.nunique() == 1:  # what the bootstrap gave over captions or pictures
            table[["low", "high"]] = utility.set_index("method")[[f"{measure}_low", f"{measure}_high"]]
        for y, method in enumerate(methods):
            _across(ax, y, table.loc[method], measure, method)
        named = [fill(frames.title(m), 30) for m in methods] if measure == "accuracy" else []
        ax.set_yticks(-np.arange(len(methods)), named, fontsize=8)
        ax.set_xlim(left=0)
    axes[0].set_xlim(0, 1.03)
    axes[0].axvline(utility.ceiling.mean(), color=INK, linewidth=1, linestyle="--")
    said = f"caption accuracy\nceiling {utility.ceiling.mean():.2f} (dashed)"
    framed(axes[0], "share of attributes that are right", title=said, size=8)
    said = "Frechet distance to fresh cards of the captions"
    if "frechet_floor" in utility and np.isfinite(floor := utility.frechet_floor.mean()):
        axes[1].axvline(floor, color=INK, linewidth=1, linestyle="--")
        said += f"\nfloor {floor:.2f} (dashed)"
    framed(axes[1], "in the classifier's features, less is nearer", title=said, size=8)
    rise = frames.means(errors.assign(rise=100 * (errors.error / errors.before - 1)), ("method", "bin"), "rise")
    axes[2].axhline(0, color=MUTED, linewidth=0.8)
    edits = [m for m in methods if m != "unedited"]
    for i, method in enumerate(edits):
        of = rise[rise.method == method].sort_values("bin")
        colour, x = SERIES[i % len(SERIES)], of.bin + 0.1 * (i - (len(edits) - 1) / 2)
        look: dict[str, Any] = {
            "markersize": 3.6,
            "linewidth": 1.2,
            "elinewidth": 0.7,
            "label": fill(frames.title(method), 30),
        }
        points(axes[2], x, of.rise, of.low, of.high, MARKS[i % len(MARKS)] + "-", colour, **look)
    said = f"noise level (bin; 0: almost clean, {errors.bin.max()}: almost noise)"
    framed(axes[2], said, "rise of the error (%)", "held-out denoising error", size=8)
    axes[2].set_yscale("symlog", linthresh=10)
    axes[2].set_yticks([0, 10, 100, 1000], ["0", "10", "100", "1000"])
    axes[2].minorticks_off()
    legend_beside(axes[2])
    one = "1 model, 95 % bootstrap over captions and pictures; no interval for the error"
    said = over(utility) if utility.seed.nunique() > 1 else one
    asked = f"{spanned(utility.pictures)} pictures of {spanned(utility.captions)} captions each"
    fig.suptitle(f"What the edited model can still do: {said}; {asked}", fontsize=9)
    return finish(fig, path)


def _across(ax, y: int, row: pd.Series, measure: str, method: str) -> None:
    """One bar along x with its interval and the models' dots; the unedited model in grey."""
    look: dict[str, Any] = {"color": GREY if method == "unedited" else SERIES[0], "alpha": 0.85, "interval": INTERVAL}
    bar(ax, -y, row[measure], 0.62, row.runs, (row.low, row.high), across=True, **look)
