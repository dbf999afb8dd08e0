"""Memorised pictures in a diffusion model: what is copied, how it is told, and where layers tell it.

Tables come as the study's steps make them. White dots are trained models; titles say what an interval is over: for
several models Student's t, for one the bootstrap over its captions. `FIGURES` names those of a run, with their tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ...arguments import FilePath, door
from ...figures.panels import MARKS, bar, colour_bar, framed, grid, line, points, spanned
from ...figures.style import MUTED, SEQUENTIAL, SERIES, FigureError, finish, require_rows
from ..common import several
from . import tables as frames
from .attack_figures import attack_plot, grid_plot, images_plot, relearning_plot
from .edit_figures import families_plot, tradeoff_plot, utility_plot
from .overlap_figures import overlap_plot, step_layer_plot
from .place_figures import places_plot
from .shared_figures import KINDS, over
from .tables import short

__all__ = [
    "attack_plot",
    "copying_plot",
    "detection_plot",
    "families_plot",
    "grid_plot",
    "images_plot",
    "map_plot",
    "overlap_plot",
    "places_plot",
    "relearning_plot",
    "step_layer_plot",
    "tradeoff_plot",
    "utility_plot",
]
SEEN = {"many": ("-", "many copies"), "once": ("--", "seen once"), "never": (":", "never trained")}
TOLD = {"code": "code", "generic": "no code", "digit": "digit", "code, seen once": "code, seen\nonce (control)"}


@door(FigureError)
def copying_plot(copying: pd.DataFrame, thresholds: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Share of the seeds that give a copy: left by number of copies with and without a code, right digits, templates
    and pictures with two captions.
    """
    require_rows(copying, ("cell", "copies", "copy", "caption", "seed"), "copying")
    require_rows(thresholds, ("family", "threshold"), "thresholds")
    table = frames.cells(copying).set_index("cell")
    count = copying.groupby("cell").copies.max()
    fig = Figure(figsize=(8.6, 3.5), layout="constrained", dpi=130)
    axes = fig.subplots(1, 2, sharey=True, width_ratios=(3, 2.6))
    for i, kind in enumerate(("code", "generic")):
        for x, seen in enumerate(("many", "once", "never")):
            label = None if x else KINDS[kind]
            _bar(axes[0], x + 0.36 * (i - 0.5), 0.34, table, f"{kind}-{seen}", SERIES[i], label)
    axes[0].set_xticks(range(3), [_times(count, f"code-{seen}") for seen in ("many", "once", "never")], fontsize=8)
    axes[0].set_xlabel("how often the picture was in the training data", fontsize=8)
    axes[0].legend(fontsize=7.5, frameon=False, loc="upper right")
    others = {f"digit-{seen}": "digit" for seen in ("many", "once", "never")}
    others |= {"template": "template", "two-captions": "two\ncaptions"}
    others = {cell: name for cell, name in others.items() if cell in table.index}
    for x, cell in enumerate(others):
        _bar(axes[1], x, 0.6, table, cell, SERIES[2])
    labels = [f"{name},\n{_times(count, cell)}" for cell, name in others.items()]
    axes[1].set_xticks(range(len(others)), labels, fontsize=7.5)
    for ax, cells in zip(axes, (("code-many", "generic-many"), others)):
        n = table.captions.reindex(list(cells)).dropna()
        framed(ax, title=f"{spanned(n)} captions a cell and model" if len(n) else "")
    axes[0].set_ylim(0, 1.06)
    axes[0].set_ylabel("share of seeds that give a copy", fontsize=9)
    limit = thresholds.groupby("family").threshold.agg(["min", "max"])
    said = [f"background correlation above {_range(*limit.loc['cards'])}"] if "cards" in limit.index else []
    said += [f"distance of a digit below {_range(*sorted(-limit.loc['digits']))}"] if "digits" in limit.index else []
    fig.suptitle(f"What is copied: {over(copying)}\na copy: {', '.join(said)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def detection_plot(copying: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Norm of the caption's part of the predicted noise by denoising step, a panel a kind of caption; right how well it
    tells memorised captions from never-trained ones.
    """
    require_rows(copying, ("cell", "by_step", "seed"), "copying")
    steps, told = frames.by_step(copying), frames.told(copying)
    kinds = [kind for kind in KINDS if f"{kind}-many" in set(copying.cell)]
    fig = Figure(figsize=(1.0 + 2.5 * len(kinds) + 3.2, 3.5), layout="constrained", dpi=130)
    axes = fig.subplots(1, len(kinds) + 1, width_ratios=(*[2.5] * len(kinds), 3.0))
    count = copying.groupby("cell").size() / copying.seed.nunique()
    for ax, kind in zip(axes, kinds):
        for i, (seen, (style, label)) in enumerate(SEEN.items()):
            of = steps[steps.cell == f"{kind}-{seen}"].sort_values("step")
            if len(of):
                low, look = of.low.clip(lower=steps.difference.min() / 2), {"linewidth": 1.6, "alpha": 0.18}
                line(ax, of.step, of.difference, low, of.high, style, SERIES[i], label, **look)
        ax.set_yscale("log")
        ax.set_ylim(steps.difference.min() / 1.6, 1.6 * steps.difference.max())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
        ax.yaxis.set_minor_locator(NullLocator())
        said = f"{KINDS[kind]}, n = {count[f'{kind}-many']:.0f} a model"
        framed(ax, "denoising step (0: from pure noise)", title=said, size=8)
        if ax is not axes[0]:
            ax.tick_params(labelleft=False)
    axes[0].set_ylabel("norm of the caption's part of the noise", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False, loc="upper left")
    _told(axes[-1], told)
    fig.suptitle(f"Are memorised captions told by the noise? Bands: {over(copying)}", fontsize=9)
    return finish(fig, path)


@door(FigureError)
def map_plot(maps: pd.DataFrame, path: FilePath | None = None) -> Figure:
    """Layer by denoising step: share of the neurons that tell a set from never-trained captions of the same kind;
    memorised beside seen once on one colour scale, means of models.
    """
    require_rows(maps, ("set", "step", "layer", "share", "seed"), "maps")
    sets, layers = list(dict.fromkeys(maps["set"])), list(dict.fromkeys(maps.layer))
    names = short(layers)
    fig, (axes,) = grid(1, len(sets), 3.9, 1.4 + 0.26 * len(layers), sharey=True)
    mean = maps.groupby(["set", "layer", "step"]).share.mean()
    top = max(float(mean.max()), 1e-6)
    for ax, name in zip(axes, sets):
        plane = mean[name].unstack("step").loc[layers]
        image = ax.imshow(plane, aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest")
        ax.set_xticks(range(0, plane.shape[1], 5), plane.columns[::5])
        ax.set_yticks(range(len(layers)), names)
        ax.set_xlabel("denoising step (0: from pure noise)", fontsize=8)
        ax.set_title(f"{name}: {plane.to_numpy().mean():.2f} on average", fontsize=8)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("feed-forward layer", fontsize=9)
    colour_bar(list(axes), image, "share of neurons beyond\n3 standard errors", ticks=8)
    said = f"mean of {several(maps.seed.nunique(), 'model')}; by chance .003"
    fig.suptitle(f"Where captions with codes differ from never-trained ones: {said}", fontsize=9)
    return finish(fig, path)


def _bar(ax, x: float, width: float, table: pd.DataFrame, cell: str, colour: str, label: str | None = None) -> None:
    if cell in table.index:
        row = table.loc[cell]
        bar(ax, x, row["copy"], width, row.runs, (row.low, row.high), color=colour, alpha=0.85, label=label)


def _times(count: pd.Series, cell: str) -> str:
    n = int(count.get(cell, -1))
    return {0: "never", 1: "once", -1: ""}.get(n, f"{n} times")


def _range(low: float, high: float) -> str:
    a, b = f"{low:.2f}", f"{high:.2f}"
    return a if a == b else f"{a} to {b}"


def _told(ax, told: pd.DataFrame) -> None:
    """AUC by kind of caption and number of steps, each model with its interval (DeLong)."""
    names = [name for name in TOLD if name in set(told.pair)]
    counts, seeds = sorted(told.steps.unique()), sorted(told.seed.unique())
    ax.axvline(0.5, color=MUTED, linewidth=0.8, linestyle="--")
    for y, name in enumerate(names):
        for i, steps in enumerate(counts):
            of = told[(told.pair == name) & (told.steps == steps)].sort_values("seed")
            at = -y + 0.2 * (0.5 - i) * 2 + 0.08 * (np.arange(len(of)) - (len(of) - 1) / 2) * -1
            label = ("first step" if steps == 1 else f"all {steps} steps") if not y else None
            look: dict[str, Any] = {
                "markersize": 3.6,
                "elinewidth": 0.9,
                "linewidth": 0,
                "label": label,
                "across": True,
            }
            points(ax, at, of.auc, of.low, of.high, MARKS[i], (SERIES[4], SERIES[3])[i % 2], **look)
    ax.set_yticks(-np.arange(len(names)), [TOLD[name] for name in names], fontsize=8)
    ax.set_ylim(-len(names) + 0.45, 0.95)
    ax.set_xlim(min(0.3, float(told.low.min()) - 0.03), 1.02)
    said = f"{f'each of {len(seeds)} models' if len(seeds) > 1 else '1 model'}, 95 % DeLong over captions"
    framed(ax, "AUC against never trained (dashed: chance)", title=said, size=8)
    ax.legend(fontsize=7, framealpha=1, edgecolor="none", loc="upper left", ncols=2, columnspacing=1)


#: by name, the tables that a figure is of, and its function
FIGURES: Mapping[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "copying": (("copying", "thresholds"), copying_plot),
    "detection": (("copying",), detection_plot),
    "overlap": (("specificity",), overlap_plot),
    "map": (("maps",), map_plot),
    "layers": (("specificity",), step_layer_plot),
    "tradeoff": (("curves",), tradeoff_plot),
    "places": (("places",), places_plot),
    "pictures": (("pictures",), grid_plot),
    "attacks": (("attacks",), attack_plot),
    "relearning": (("relearning",), relearning_plot),
    "images": (("images", "images_by_caption"), images_plot),
    "families": (("families",), families_plot),
    "utility": (("utility", "errors"), utility_plot),
}
