"""Injection grids: layer by strength, a panel for each condition, the paper's cells and ours drawn alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..arguments import Count, FilePath, Filled, Fraction, Index, Name, Positive, door, unfit
from .maps import draw_plane
from .panels import colour_bar, framed, heat, line, wrapped
from .style import INK, MUTED, SERIES, FigureError, figure, finish, numbers, require_some, require_variables

LABELS = {
    "mean": "mean log-ratio of the answer (nats)",
    "median": "median log-ratio of the answer (nats)",
    "trimmed_percent": "trimmed mean change of p(first answer token) (%)",
    "improved": "share of items improved",
    "geometric": "geometric mean change (%)",
    "exact_change": "change of exact match",
}


@door(FigureError)
def injection_map(
    ds: xr.Dataset,
    path: FilePath | None = None,
    *,
    variable: Name = "mean",
    conditions: Annotated[Sequence[str], Filled()] | None = None,
    limit: Positive | None = None,
    alpha: Fraction = 0.05,
    title: str = "",
    columns: Count = 4,
    quantile: Fraction = 0.98,
) -> Figure:
    """Layer by strength, one panel a condition, all on one colour scale.

    Args:
        ds: what `lens.injection.summary` returned, or the published cells in the same form (`published_cells`).
        variable: a variable of it; ``improved`` is drawn round one half.
        conditions: which panels, in order; None for all.
        limit: the colour scale's end. None: for nats the largest gain, at least 1, since harm has no end and would pale
            every gain; else a quantile of the cells' sizes. What lies beyond is drawn in the end's colour, and the
            colour bar says so.
        alpha: cells with a positive effect and a Holm-corrected p of at most this get a dot.

    Source: the layout of Sakarvadia et al. 2023, figures of layer by strength.
    """
    if variable not in ds:
        raise FigureError(
            f"variable={variable!r} is not in the summary ds; it has {', '.join(map(str, ds.data_vars))}."
        )
    require_variables(ds, ("layer", "strength"), ("layer", "strength"))
    if "condition" not in ds[variable].dims:
        ds = ds.expand_dims(condition=["memory - control"])
    names = _known_conditions(ds, conditions)
    middle = 0.5 if variable == "improved" else 0.0
    planes = [ds[variable].sel(condition=c).transpose("layer", "strength").values - middle for c in names]
    everything = np.abs(np.concatenate([p[np.isfinite(p)] for p in planes]))
    gain = max((float(np.nanmax(p)) for p in planes if np.isfinite(p).any()), default=0.0)
    most = float(np.quantile(everything, quantile)) if len(everything) else 1.0
    end = limit or (max(1.0, gain) if variable in ("mean", "median") else most) or 1.0
    beyond = "both" if len(everything) and everything.max() > end else "neither"
    fig, axes = wrapped(len(names), columns, 2.5, 3.1, left=1.4, top=0.9, x="strength", y="layer", sharey=True)
    strengths = ds.strength.values
    for ax, name, plane in zip(axes, names, planes):
        image = heat(ax, plane, end, ds.layer.values, 12)
        if "p_holm" in ds and "mean" in ds:
            at = ds.sel(condition=name).transpose("layer", "strength", ...)
            rows, cols = np.nonzero((at.p_holm.values <= alpha) & (at["mean"].values > 0))
            ax.plot(cols, rows, "o", color=INK, markersize=2.2, markeredgecolor="white", markeredgewidth=0.5)
        ax.set_title(name, fontsize=9)
        every = max(1, len(strengths) // 8)
        ax.set_xticks(range(0, len(strengths), every), [f"{s:g}" for s in strengths[::every]], fontsize=7)
    label = LABELS.get(variable, variable) + (" above one half" if middle else "")
    colour_bar(fig.axes, image, label, pad=0.01, shrink=0.9, extend=beyond)
    dots = f"; dots: better, p ≤ {alpha} after Holm" if "p_holm" in ds else ""
    fig.suptitle(f"{title}{dots}" if title else dots.removeprefix("; "), fontsize=9)
    return finish(fig, path)


@door(FigureError)
def reading_map(
    ds: xr.Dataset, path: FilePath | None = None, *, variable: Name = "excess", alpha: Fraction = 0.05, title: str = ""
) -> Figure:
    """Layer by head: how much more of the bridge entity a head writes after the single-hop than after the multi-hop
    prompt, and more than of another entity.

    ``ds``: what `lens.injection.over_items` returned of a reading; dots mark cells with a Holm-corrected p of at
        most ``alpha``.
    """
    p = f"{variable}_p_holm" if f"{variable}_p_holm" in ds else "p_holm"
    if variable not in ds:
        raise FigureError(
            unfit("variable", variable, f"one of {', '.join(map(str, ds.data_vars))}, the variables of ds")
        )
    require_variables(ds, (p, "n", "layer", "head"), ("layer", "head"))
    if set(ds[variable].dims) != {"layer", "head"}:
        raise FigureError(unfit("variable", variable, "a variable of ds over layer and head"))
    plane = ds[variable].transpose("layer", "head")
    fig, ax = figure(max(4.6, 2.8 + 0.36 * plane.sizes["head"]), 4.8)
    draw_plane(ax, plane, f"{variable} (logits)", ds[p].transpose("layer", "head").values <= alpha)
    ax.set_xticks(range(plane.sizes["head"]), plane["head"].values, fontsize=8)
    ax.set_xlabel("head", fontsize=9)
    ax.set_title(
        f"{title}\nn = {int(ds['n'].max())} items; dots: p ≤ {alpha} after Holm over {plane.size} heads", fontsize=9
    )
    return finish(fig, path)


@door(FigureError)
def dose_plot(
    ds: xr.Dataset,
    layer: Index,
    path: FilePath | None = None,
    *,
    conditions: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """The mean log-ratio at one layer by strength, memory and controls with their intervals."""
    require_variables(ds, ("mean", "low", "high", "layer", "strength", "condition"), ("layer", "strength", "condition"))
    if layer not in ds.layer.values:
        raise FigureError(unfit("layer", layer, f"one of the layers {', '.join(map(str, ds.layer.values))}"))
    fig, ax = figure(5.6, 3.6)
    for name, colour in zip(_known_conditions(ds, conditions), SERIES * 2):
        at = ds.sel(condition=name, layer=layer)
        look = {"markersize": 3, "linewidth": 1.3, "alpha": 0.15}
        line(ax, at.strength, at["mean"], at.low, at.high, "o-", colour, str(name), **look)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    framed(ax, "strength", "mean log-ratio of the answer (nats)", title or f"layer {layer}", titled=9)
    ax.legend(fontsize=8, frameon=False)
    return finish(fig, path)


@door(FigureError)
def change_plot(changes: Mapping[str, Any], path: FilePath | None = None, *, title: str = "") -> Figure:
    """The distribution of an effect over items, one line a condition: the share of items whose log-ratio is at most
    x.
    """
    fig, ax = figure(5.6, 3.4)
    for (name, x), colour in zip(changes.items(), SERIES * 2):
        x = numbers(x, f"changes[{name!r}]")
        x = np.sort(x[np.isfinite(x)])
        said = f"{name} (mean {x.mean():.2f}, median {np.median(x):.2f})"
        ax.step(x, np.arange(1, len(x) + 1) / len(x), where="post", color=colour, label=said, linewidth=1.4)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    framed(ax, "log-ratio of the answer (nats; right of 0 is better)", "share of items", title, titled=9)
    ax.legend(fontsize=8, frameon=False)
    return finish(fig, path)


def _known_conditions(ds: xr.Dataset, asked: Sequence[str] | None) -> list[str]:
    """The names of the panels. Raises FigureError for one that is not there."""
    there = [str(c) for c in ds.condition.values]
    return there if asked is None else require_some(asked, there, "conditions")
