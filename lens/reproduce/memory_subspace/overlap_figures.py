"""Where masks of prompt sets overlap: pair by pair, by kind of caption, by layer and by denoising step.

Tables come as the study's steps make them. White dots are trained models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, door
from ...figures.panels import GREY, MARKS, bar, colour_bar, framed, grid, legend_below, spanned
from ...figures.style import INK, SEQUENTIAL, SERIES, FigureError, finish, require_rows
from ..common import several
from . import tables as frames
from .shared_figures import KINDS, flat, p_text

PAIRS = {"memorised": "both memorised", "other": "both seen once", "mixed": "one of each"}
TEMPLATES = {"same template": "same template", "other template": "two templates"}
METHODS = {
    "published": "published:\nempty caption",
    "ordinary": "published:\nordinary captions",
    "corrected": "corrected:\nits own kind",
}


@door(FigureError)
def overlap_plot(specificity: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """IoU of the masks of disjoint prompt sets: above every pair of sets of the first model (captions with codes),
    below means by kind of caption, method and pair, beside chance.
    """
    require_rows(specificity, ("kind", "method", "pair", "mean", "chance", "matrix", "seed"), "specificity")
    table = specificity[specificity["mean"].notna()]
    methods, kinds = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.kind))
    first = table[(table.seed == table.seed.min()) & (table.kind == "code") & table.matrix.notna()]
    first = first.set_index("method").matrix
    fig = Figure(figsize=(1.4 + 2.9 * max(len(methods), len(kinds)), 6.2), layout="constrained", dpi=130)
    halves: Any = fig.subfigures(2, 1, height_ratios=(1, 1.0))
    above, below = halves
    axes = above.subplots(1, max(len(methods), 1), squeeze=False)[0]
    squares = {method: _square(first[method]) for method in methods if method in first.index}
    top = max((float(np.nanmax(m)) for m in squares.values()), default=1.0)
    for ax, method in zip(axes, methods):
        ax.set_title(flat(METHODS.get(method, method)), fontsize=8)
        if method in squares:
            image = _matrix(ax, squares[method], top)
        else:
            ax.set_axis_off()
    if squares:
        colour_bar(list(axes), image, "IoU", ticks=8, shrink=0.85)
    above.suptitle(f"Every pair of prompt sets with codes, model {int(table.seed.min())}", fontsize=9)
    lines = frames.specificity(table)
    axes = below.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for ax, kind in zip(axes, kinds):
        _overlaps(ax, table[table.kind == kind], methods, lines[lines.kind == kind] if len(lines) else lines)
    axes[0].set_ylim(0, 1.3 * max(table["mean"].max(), 0.1))
    axes[0].set_ylabel("mean IoU of two sets' masks", fontsize=9)
    how = " and ".join(dict.fromkeys(map(str, lines.p_kind))) if len(lines) else "exact"
    chance = table.chance.dropna()
    dashes = f" (dashes: chance, {chance.min():.3f} to {chance.max():.3f})" if len(chance) else ""
    below.suptitle(
        f"Means of {several(table.seed.nunique(), 'model')}{dashes}; p: {how} label permutation, both memorised"
        " against both seen once,\nlargest over models after Holm",
        fontsize=8,
    )
    return finish(fig, path)


@door(FigureError)
def step_layer_plot(specificity: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The overlap by layer (above) and by denoising step (below), a panel a method: pairs of memorised sets and of sets
    seen once; thick the mean, thin each model.
    """
    require_rows(specificity, ("kind", "method", "pair", "layers", "steps", "seed"), "specificity")
    table = specificity[specificity.layers.notna() & specificity.pair.isin(("memorised", "other"))]
    require_rows(table, ("layers", "steps"), "table")
    methods, kinds = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.kind))
    fig, axes = grid(2, len(methods), 2.7, 2.4, sharey=True)
    for r, (column, label) in enumerate(
        {"layers": "layer, from input to output", "steps": "denoising step (0: from pure noise)"}.items()
    ):
        for ax, method in zip(axes[r], methods):
            for k, kind in enumerate(kinds):
                for i, pair in enumerate(("memorised", "other")):
                    of = table[(table.method == method) & (table.kind == kind) & (table.pair == pair)]
                    if of.empty:
                        continue
                    runs = np.array([list(map(float, v)) for v in of[column]])
                    x = np.arange(runs.shape[1]) + (column == "layers")
                    if len(runs) > 1:
                        ax.plot(x, runs.T, color=SERIES[i], linewidth=0.5, alpha=0.45)
                    named = f"{PAIRS[pair]}, {KINDS.get(kind, kind).removeprefix('caption ')}"
                    look = {"markersize": 4, "linewidth": 1.5, "markerfacecolor": SERIES[i] if k == 0 else "white"}
                    style = MARKS[i] + ("-", "--")[k % 2]
                    ax.plot(x, runs.mean(0), style, color=SERIES[i], label=named, **look)
            framed(ax, label, title=flat(METHODS.get(method, method)), size=8)
        axes[r][0].set_ylabel("mean IoU of two sets' masks", fontsize=8)
    axes[0][0].set_ylim(0, 1.02)
    legend_below(fig, axes[0][0], 4, 7.5)
    count = f": {several(table.seed.nunique(), 'model')}, {spanned(table.n)} pairs of sets each" if "n" in table else ""
    fig.suptitle(f"Overlap by layer and by step{count}", fontsize=9)
    return finish(fig, path)


def _square(values: Sequence[float]) -> np.ndarray:
    """A stored matrix with the diagonal, which says nothing, left out."""
    side = round(len(values) ** 0.5)
    square = np.array(values, float).reshape(side, side)
    np.fill_diagonal(square, np.nan)
    return square


def _matrix(ax, square: np.ndarray, top: float) -> Any:
    side = len(square)
    image = ax.imshow(square, cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest")
    ax.set_facecolor("#d1d5db")
    for i, j in np.argwhere(np.isfinite(square)):
        said, colour = f"{square[i, j]:.2f}".removeprefix("0"), "white" if square[i, j] < 0.6 * top else INK
        ax.text(j, i, said, ha="center", va="center", fontsize=6, color=colour)
    middle = [side / 4 - 0.5, 3 * side / 4 - 0.5]
    ax.set_xticks(middle, ["memorised", "seen once"], fontsize=8)
    ax.set_yticks(middle, ["memorised", "seen once"], fontsize=8, rotation=90, va="center")
    ax.tick_params(length=0)
    for draw in (ax.axhline, ax.axvline):
        draw(side / 2 - 0.5, color="white", linewidth=2)
    return image


def _overlaps(ax, table: pd.DataFrame, methods: Sequence[str], lines: pd.DataFrame) -> None:
    """One kind of caption: bars by method and pair, dots models, p above."""
    kind = table.kind.iloc[0]
    pairs, colours = (TEMPLATES, (SERIES[5], GREY)) if kind == "template" else (PAIRS, SERIES)
    for x, method in enumerate(methods):
        of = table[table.method == method]
        for i, pair in enumerate(pairs):
            values = of[of.pair == pair]["mean"]
            at = x + 0.26 * (i - (len(pairs) - 1) / 2)
            if len(values):
                label = pairs[pair] if x == 0 else None
                bar(ax, at, values.mean(), 0.24, values, color=colours[i], label=label)
        if of.chance.notna().any():
            ax.plot([x - 0.42, x + 0.42], [of.chance.mean()] * 2, color=INK, linewidth=1.2, linestyle="--")
        test = lines[lines.method == method] if len(lines) else lines
        if len(test):
            said, look = p_text(max(test.holm_other.iloc[0])), {"ha": "center", "fontsize": 7}
            ax.annotate(said, (x, of["mean"].max()), xytext=(0, 5), textcoords="offset points", **look)
    ax.set_xticks(range(len(methods)), [METHODS.get(m, m) for m in methods])
    n = table.dropna(subset=["prompts"]) if "prompts" in table else table.iloc[:0]
    sets = table.groupby("pair").sets.max().max() if "sets" in table else np.nan
    size = f", sets of {int(n.prompts.iloc[0])} prompts" if len(n) else ""
    many = ""
    if np.isfinite(sets):
        many = f", {int(sets)} halves" if kind == "template" else f", {int(sets)} + {int(sets)}"
    called = {"code": "with a code", "generic": "without a code", "template": "templates"}.get(kind, kind)
    ax.legend(fontsize=6.5, frameon=False, loc="upper right", ncols=1)
    framed(ax, title=f"{called}{many}{size}")
    ax.tick_params(axis="x", labelsize=7)
