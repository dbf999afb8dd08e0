"""What comes back of pictures that an edit took away: pictures to look at, attacks, relearning, and by how many
pictures.

Tables come as the study's steps make them. Small dots are trained models; titles say what an interval is over.
"""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Size, door
from ...figures.panels import framed, grid, legend_below, points, signs_below, spanned
from ...figures.style import MUTED, SERIES, FigureError, finish, require_rows
from ..common import several
from . import images as recovery
from . import tables as frames
from .attacks import decoded
from .shared_figures import over

COLUMNS = {
    "training": "training\npicture",
    "before": "before\nthe edit",
    "after": "after",
    "attacked": "after, embedding\noptimised",
    "twin attacked": "twin, embedding\noptimised",
}


@door(FigureError)
def grid_plot(pictures: pd.DataFrame, path: FilePath | None = None, *, seed: Size | None = None) -> Figure:
    """Pictures of one model, a row a caption: the training picture, before an edit, after each edit, with its embedding
    optimised, and the twin attacked alike.

    Below each its likeness to the training picture (background correlation). `seed`: which model; None: the first that
    has most methods.
    """
    require_rows(pictures, ("method", "column", "caption", "likeness", "pixels", "seed"), "pictures")
    if seed is None:
        seed = int(pictures.groupby("seed").method.nunique().idxmax())
    of = pictures[pictures.seed == seed]
    require_rows(of, ("column", "caption"), "of")
    methods, captions = list(dict.fromkeys(of.method)), list(dict.fromkeys(of.caption))
    known = list(dict.fromkeys(of.column))
    shown = [(methods[0], c) for c in ("training", "before") if c in known]
    shown += [(m, c) for m in methods for c in ("after", "attacked") if c in known]
    shown += [(methods[0], "twin attacked")] if "twin attacked" in known else []
    cells = {(row.method, row.column, row.caption): row for row in of.itertuples()}
    fig = Figure(figsize=(1.9 + 0.98 * len(shown), 1.3 + 1.06 * len(captions)), layout="constrained", dpi=130)
    axes = fig.subplots(len(captions), len(shown), squeeze=False)
    for r, caption in enumerate(captions):
        for ax, (method, column) in zip(axes[r], shown):
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            row = cells.get((method, column, caption))
            if row is not None:
                ax.imshow(decoded(row.pixels), interpolation="nearest")
                ax.set_xlabel("" if column == "training" else f"{row.likeness:.2f}", fontsize=8, labelpad=2)
            if not r:
                edit = f"{fill(frames.title(method), 15)}:\n" if column in ("after", "attacked") else ""
                ax.set_title(edit + COLUMNS[column], fontsize=7)
        axes[r][0].set_ylabel(fill(caption, 18), fontsize=7.5, rotation=0, ha="right", va="center")
    fig.suptitle(f"Model {seed}; below each picture its background correlation with the training picture", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def attack_plot(attacks: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of the captions that an edit took away whose picture comes back, by attack, in the edited model and in the
    twin that never saw it; last, pictures that no model saw.
    """
    require_rows(attacks, ("method", "attack", "caption", "edited", "twin", "before", "after", "seed"), "attacks")
    table = frames.recovered(attacks)
    methods = list(dict.fromkeys(table.method))
    names = list(dict.fromkeys(table.sort_values("never", kind="stable").attack))
    fig, (axes,) = grid(1, len(methods), 3.2 if len(methods) > 1 else 5.2, 1.9 + 0.42 * len(names), sharey=True)
    for ax, method in zip(axes, methods):
        of = table[table.method == method].set_index("attack")
        for y, name in enumerate(names):
            if name not in of.index or not of.n[name]:
                continue
            row = of.loc[name]
            for model, shift, colour, mark in (("edited", 0.15, SERIES[1], "o"), ("twin", -0.15, SERIES[0], "s")):
                if row.never and model == "twin":
                    continue
                at, colour = shift * (not row.never) - y, MUTED if row.never else colour
                look, runs = {"markersize": 4.8, "elinewidth": 1.3, "capsize": 2}, row[f"{model}_runs"]
                bounds = row[f"{model}_low"], row[f"{model}_high"]
                points(ax, at, row[model], *bounds, mark, colour, across=True, **look)
                ax.plot(runs, np.full(len(runs), at - 0.11), ".", color=colour, markersize=3, alpha=0.7)
            if row.models:
                weight = "bold" if row.counts else "normal"
                ax.text(1.06, -y, f"{row.counts} of {row.models}", fontsize=7, va="center", fontweight=weight)
        taken = of[~of.never].n
        if not len(taken) or not taken.max():
            said = "the edit took no caption away:\nnothing to bring back"
            ax.text(0.5, -(len(names) - 2) / 2, said, fontsize=8, color=MUTED, ha="center", va="center")
        ax.set_xlim(-0.03, 1.36)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        most = several(int(taken.max()) if len(taken) else 0, "caption")
        said = f"{fill(frames.title(method), 34)}\n{fill(f'{of.word.iloc[0]}; {most} taken away', 40)}"
        framed(ax, "share brought back", title=said, size=8)
    axes[0].set_yticks(-np.arange(len(names)), [fill(name, 16) for name in names], fontsize=8)
    axes[0].set_ylim(-len(names) + 0.5, 0.5)
    signs = {
        "edited model": ("o", {"color": SERIES[1], "markersize": 5}),
        "twin that never saw the pictures": ("s", {"color": SERIES[0], "markersize": 5}),
        "edited model, pictures that no model saw": ("o", {"color": MUTED, "markersize": 5}),
    }
    signs_below(fig, axes[0], min(3, len(methods)), signs)
    fig.suptitle(
        f"Is it gone? {several(attacks.seed.nunique(), 'model')} (small dots), 95 % exact intervals over captions;\n"
        "right: in how many models more is brought back than in the twin (sign flips, Holm over attacks, Bonferroni"
        " over models)",
        fontsize=9,
    )
    return finish(fig, path)


@door(FigureError)
def relearning_plot(relearning: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Copying of the located pictures while the model learns other memorised ones again, the edited model beside the
    twin that never saw them, a panel a method.
    """
    require_rows(relearning, ("method", "model", "step", "caption", "copy", "seed"), "relearning")
    table = frames.means(relearning, ("method", "model", "step"), "copy", (0.0, 1.0))
    methods, steps = list(dict.fromkeys(table.method)), sorted(table.step.unique())
    fig, (axes,) = grid(1, len(methods), 2.7, 3.4, sharey=True)
    for ax, method in zip(axes, methods):
        for i, (model, label) in enumerate({"edited": "edited model", "twin": "twin that never saw them"}.items()):
            of = table[(table.method == method) & (table.model == model)].sort_values("step")
            x, colour = np.array([steps.index(s) for s in of.step]) + 0.05 * (2 * i - 1), SERIES[1 - i]
            look: dict[str, Any] = {
                "markersize": 4.5,
                "linewidth": 1.3,
                "elinewidth": 0.9,
                "capsize": 2,
                "label": label,
            }
            points(ax, x, of["copy"], of.low, of.high, ("o-", "s--")[i], colour, **look)
            for at, runs in zip(x, of.runs):
                ax.plot([at + 0.09 * (2 * i - 1)] * len(runs), runs, ".", color=colour, markersize=3, alpha=0.7)
        ax.set_xticks(range(len(steps)), steps)
        ax.set_xlim(-0.4, len(steps) - 0.6)
        n = relearning[(relearning.method == method)].groupby("seed").caption.nunique().sum()
        said = f"{fill(frames.title(method), 32)}\n{n} captions of all models"
        framed(ax, "steps of training on other memorised pictures", title=said, size=7.5)
    axes[0].set_ylim(-0.03, 1.05)
    axes[0].set_ylabel("share of seeds that give a copy", fontsize=8)
    legend_below(fig, axes[0], 2, 7.5)
    fig.suptitle(f"Relearning: {over(relearning)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def images_plot(images: pd.DataFrame, images_by_caption: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """The share of what an edit took away that is back after relearning on k pictures, by source and k, in the edited
    model beside the twin, a panel a method; above each how many steps are saved to half of it.
    """
    require_rows(images, ("method", "source", "k", "savings", "low", "high", "censored", "steps", "seed"), "images")
    require_rows(images_by_caption, ("method", "source", "k", "caption", "edited", "twin"), "images_by_caption")
    table = recovery.by_source(images_by_caption)
    methods = list(dict.fromkeys(table.method))
    cells = [(s, k) for s in recovery.SOURCES for k in sorted(table[table.source == s].k.unique())]
    fig, (axes,) = grid(1, len(methods), 1.0 + 0.72 * len(cells), 3.6, sharey=True)
    for ax, method in zip(axes, methods):
        for i, (model, label) in enumerate({"edited": "edited model", "twin": "twin that never saw them"}.items()):
            of = table[(table.method == method) & (table.model == model)].set_index(["source", "k"])
            of = of.loc[[cell for cell in cells if cell in of.index]]
            x, color = np.array([cells.index(cell) for cell in of.index]) + 0.1 * (2 * i - 1), SERIES[1 - i]
            points(ax, x, of["copy"], of.low, of.high, "os"[i], color, label=label, capsize=2, markersize=5)
            for at, runs in zip(x, of.runs):
                ax.plot([at + 0.09 * (2 * i - 1)] * len(runs), runs, ".", color=SERIES[1 - i], markersize=3, alpha=0.7)
        for at, (source, k) in enumerate(cells):
            of = images[(images.method == method) & (images.source == source) & (images.k == k)]
            if len(of):
                saved = "?" if recovery.unknown(of).all() else f"{recovery.saving(of).estimate:+.0f}"
                ax.text(at, 1.04, saved, fontsize=7, ha="center", va="bottom")
        names = [f"{fill(recovery.SOURCES[source], 13)}\nk = {k}" for source, k in cells]
        ax.set_xticks(range(len(cells)), names, fontsize=6.5)
        ax.set_xlim(-0.5, len(cells) - 0.5)
        taken = images_by_caption[images_by_caption.method == method].groupby("seed").caption.nunique().sum()
        said = f"{fill(frames.title(method), 34)}; {several(int(taken), 'caption')} taken away"
        framed(ax, "pictures that are trained on", title=said, size=7.5)
    axes[0].set_ylim(-0.03, 1.14)
    axes[0].set_ylabel("share of seeds that give a copy", fontsize=8)
    legend_below(fig, axes[0], 2, 7.5)
    fig.suptitle(
        f"After {spanned(images.steps)} steps: {over(images)}\nabove: steps saved over the twin to half (?: neither has"
        " half back)",
        fontsize=8.5,
    )
    return finish(fig, path)
