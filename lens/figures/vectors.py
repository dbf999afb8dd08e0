"""Instruction vectors: which heads carry a task, where the vector acts, how many heads it takes, and what it does
beside its controls.

Accuracies come as tidy tables: one row a point, with ``accuracy``, ``low``, ``high`` and ``n``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ..arguments import Count, FilePath, Filled, Fraction, Index, Name, Size, door
from .maps import plane_of
from .panels import MARKS, colour_bar, framed, headed, heat, legend_beside, line, sides, slanted, spanned, wrapped
from .style import INK, MUTED, SERIES, FigureError, figure, finish, limits, require_column, require_rows


@door(FigureError)
def effects_map(
    effects: Annotated[Mapping[str, xr.Dataset], Filled()],
    path: FilePath | None = None,
    *,
    mean: bool = True,
    heads: Mapping[str, Sequence[tuple[Index, Index]]] | None = None,
    columns: Count = 4,
    unit: str = "probability",
    quantile: Fraction = 0.995,
    title: str = "",
) -> Figure:
    """Layer by head, one panel a task and one for the mean of the tasks, all on one colour scale.

    Args:
        effects: by task, what `lens.vectors.head_effects` returned (averaged over prompts here) or its summary
            (``mean``).
        mean: whether the last panel shows the tasks' mean; left out with a single task.
        heads: by task (and "mean of tasks"), the heads that get a ring: a head set as ``(layer, head)``.
        quantile: of the cells' sizes, where the colour scale ends, since one head can be far above all others; what
            lies beyond has the end's colour, and the bar says so.

    Source: the layout of Todd et al. 2024, the average indirect effect of every head.
    """
    planes = {name: _plane(ds) for name, ds in effects.items()}
    if mean and len(planes) > 1:
        first, *others = planes.values()
        planes["mean of tasks"] = sum(others, first) / len(planes)
    sizes = np.abs(np.concatenate([p.values.ravel() for p in planes.values()]))
    end = limits(np.quantile(sizes[np.isfinite(sizes)], [quantile])) if np.isfinite(sizes).any() else 1.0
    width = max(2.0, 0.22 * next(iter(planes.values())).sizes["head"])
    fig, axes = wrapped(len(planes), columns, width, 3.1, left=1.5, top=0.7, x="head", y="layer", sharey=True)
    for ax, (name, plane) in zip(axes, planes.items()):
        layers, numbers = plane.layer.values.tolist(), plane["head"].values.tolist()
        image = heat(ax, plane.values, end, layers, 10)
        for l, h in (heads or {}).get(name, ()):
            if l in layers and h in numbers:
                look: dict[str, Any] = {
                    "markersize": 6,
                    "markerfacecolor": "none",
                    "markeredgecolor": INK,
                    "markeredgewidth": 0.9,
                }
                ring = ax.plot(numbers.index(h), layers.index(l), "o", **look)[0]
                ring.set_path_effects([withStroke(linewidth=2.4, foreground="white")])  # seen on a dark cell too
        every = max(1, len(numbers) // 10)
        ax.set_xticks(range(0, len(numbers), every), numbers[::every], fontsize=7)
        top = plane.argmax(...)
        ax.set_title(
            f"{name}\nmost: {int(plane.layer[top['layer']])}.{int(plane['head'][top['head']])},"
            f" {float(plane.max()):+.3f}",
            fontsize=8,
        )
    beyond = "both" if np.nanmax(sizes) > end else "neither"
    colour_bar(fig.axes, image, f"mean indirect effect ({unit})", pad=0.01, shrink=0.85, extend=beyond)
    rings = "rings: the head set that the vector is made of" if heads else ""
    fig.suptitle("; ".join(t for t in (title, rings) if t), fontsize=9)
    return finish(fig, path)


def _plane(ds: xr.Dataset, argument: str = "effects") -> xr.DataArray:
    name = "effect" if "effect" in ds else "mean" if "mean" in ds else None
    if name is None:
        raise FigureError(
            f"{argument} has neither 'effect' nor 'mean'; it has {', '.join(map(str, ds.data_vars))}. Pass what"
            " lens.vectors.head_effects returned."
        )
    return plane_of(ds, name, "head", argument)


@door(FigureError)
def sweep_plot(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    by: Name = "vector",
    over: Name = "layer",
    base: float | None = None,
    marks: Mapping[str, float] | None = None,
    label: str = "accuracy",
    title: str = "",
) -> Figure:
    """Accuracy along `over` (the layer of insertion, the number of heads, the strength), one line for each value of
    `by`, with its interval.

    Args:
        frame: rows with `by`, `over`, ``accuracy``, ``low``, ``high`` and ``n``.
        base: accuracy without a vector, a dashed line.
        marks: places on the axis that get a vertical line, by name (a third of the depth, the chosen layer).
    """
    require_column(frame, by, "by")
    require_column(frame, over, "over")
    require_rows(frame, (by, over, "accuracy", "low", "high", "n"))
    fig, ax = figure(6.2, 3.7)
    for i, (name, rows) in enumerate(frame.groupby(by, sort=False)):
        rows, colour = rows.sort_values(over), SERIES[i % len(SERIES)]
        style = MARKS[i % len(MARKS)] + ("-" if i < len(SERIES) else "--")
        look = {"markersize": 3.2, "linewidth": 1.3, "alpha": 0.1}
        line(ax, rows[over].astype(float), rows.accuracy, rows.low, rows.high, style, colour, str(name), **look)
    if base is not None:
        ax.axhline(base, color=MUTED, linewidth=1, linestyle=":", label="no vector")
    for i, (name, x) in enumerate((marks or {}).items()):
        ax.axvline(x, color=MUTED, linewidth=0.8)
        said = ax.annotate(name, (x, 1.0 + 0.04 * (i % 2)), xycoords=ax.get_xaxis_transform(), fontsize=7, color=MUTED)
        said.set(ha="center", va="bottom")
    ax.set_ylim(-0.03, 1.03)
    if over in ("heads", "shots"):
        if over == "heads":
            ax.set_xscale("log")
        ticks = sorted(frame[over].unique())
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
    names = {
        "layer": "layer at whose output the vector is added",
        "heads": "number of heads in the vector",
        "strength": "strength",
        "shots": "number of demonstrations",
    }
    framed(ax, names.get(over, over), label)
    legend_beside(ax)
    ax.set_title(headed(title, _counts(frame)), fontsize=9, pad=20 if marks else 6)
    return finish(fig, path)


@door(FigureError)
def accuracy_bars(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    by: Name = "vector",
    across: Name = "task",
    label: str = "accuracy",
    title: str = "",
) -> Figure:
    """Accuracies as grouped bars with intervals: a group for each value of `across` (task, template), a bar for each
    value of `by` (vector or control).

    ``frame``: rows with `across`, `by`, ``accuracy``, ``low``, ``high`` and ``n``. A combination that is absent leaves
        a gap.
    """
    require_column(frame, by, "by")
    require_column(frame, across, "across")
    require_rows(frame, (by, across, "accuracy", "low", "high", "n"))
    groups, kinds = list(dict.fromkeys(frame[across])), list(dict.fromkeys(frame[by]))
    width = 0.82 / len(kinds)
    fig, ax = figure(min(11.0, max(4.8, 1.9 + 0.16 * len(groups) * (len(kinds) + 1.5))), 3.7)
    for i, kind in enumerate(kinds):
        rows = frame[frame[by] == kind].drop_duplicates(across).set_index(across).reindex(groups)
        x = np.arange(len(groups)) + (i - (len(kinds) - 1) / 2) * width
        ax.bar(
            x,
            rows.accuracy,
            width * 0.92,
            color=SERIES[i % len(SERIES)],
            label=str(kind),
            hatch="" if i < len(SERIES) else "///",
            edgecolor="white",
            linewidth=0.3,
        )
        span = sides(rows.accuracy, rows.low, rows.high)
        ax.errorbar(x, rows.accuracy, yerr=span, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.5)
    ax.set_ylim(0, 1.03)
    framed(ax, y=label, title=headed(title, _counts(frame)), titled=9)
    if max(len(str(g)) for g in groups) > 8:
        slanted(ax, groups)
    else:
        ax.set_xticks(range(len(groups)), [str(g).replace("_", " ") for g in groups], fontsize=8)
    legend_beside(ax)
    return finish(fig, path)


@door(FigureError)
def source_plot(
    first: xr.Dataset,
    second: xr.Dataset,
    path: FilePath | None = None,
    *,
    labels: tuple[str, str] = ("demonstrations", "instruction text"),
    k: Count = 10,
    name_top: Size = 3,
    unit: str = "probability",
    title: str = "",
) -> Figure:
    """Each head's mean effect with vectors from one source against the other; the `k` strongest of either are coloured,
    those strongest in both stand out.

    ``first``, ``second``: what `lens.vectors.head_effects` returned with each source, or the summaries.
    """
    x, y = _plane(first, "first"), _plane(second, "second")
    if x.shape != y.shape:
        raise FigureError(
            f"second has layers x heads {y.shape}, first {x.shape}; expected the same model's heads in both."
        )
    fig, ax = figure(5.0, 4.2)
    a, b = x.values.ravel(), y.values.ravel()

    def top(v):
        return set(np.argsort(-v, kind="stable")[:k].tolist())

    of_a, of_b = top(a), top(b)
    for heads, colour, name in (
        (set(range(a.size)) - of_a - of_b, "#c4c8cf", "other heads"),
        (of_a - of_b, SERIES[0], f"among the {k} strongest from {labels[0]}"),
        (of_b - of_a, SERIES[1], f"... from {labels[1]}"),
        (of_a & of_b, SERIES[2], "... from both"),
    ):
        at = sorted(heads)
        size = 4 if name != "other heads" else 2.5
        ax.plot(a[at], b[at], "o", color=colour, markersize=size, markeredgewidth=0, label=f"{name} ({len(at)})")
    low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
    ax.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=0)
    ax.axhline(0, color=MUTED, linewidth=0.4, zorder=0)
    ax.axvline(0, color=MUTED, linewidth=0.4, zorder=0)
    named: list[int] = []
    for i in np.argsort(-np.maximum(a, b))[:name_top]:
        l, h = np.unravel_index(i, x.shape)
        right = a[i] > low + 0.8 * (high - low)
        # a label close to one that is there already goes below its point
        down = any(max(abs(a[i] - a[j]), abs(b[i] - b[j])) < 0.06 * (high - low) for j in named)
        ax.annotate(
            f"{int(x.layer[l])}.{int(x['head'][h])}",
            (a[i], b[i]),
            xytext=(-4 if right else 4, -4 if down else 4),
            textcoords="offset points",
            fontsize=7,
            ha="right" if right else "left",
            va="top" if down else "bottom",
        )
        named.append(int(i))
    ax.legend(fontsize=7, frameon=False, loc="best")
    if a.std() and b.std():
        title = f"{title}\nline: equal; r = {np.corrcoef(a, b)[0, 1]:.2f} over {a.size} heads"
    x_label, y_label = (f"mean effect, means from {source} ({unit})" for source in labels)
    framed(ax, x_label, y_label, title, titled=9)
    return finish(fig, path)


def _counts(frame: pd.DataFrame) -> str:
    return f"n = {spanned(frame.n)}"
