"""What figures share: a grid of panels, bars and lines with intervals, dots of single models, heat maps, headings,
legends, an axis without a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from .style import DIVERGING, INK

GREY = "#9aa1ad"
MARKS = ("o", "s", "^", "D", "v", "P", "X")


def grid(
    rows: int, columns: int, width: float, height: float, *, left: float = 0.9, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of panels, [row, column]; width and height of one, and the room on the left, in inches."""
    fig = Figure(figsize=(left + width * columns, height * rows), layout="constrained", dpi=130)
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def wrapped(
    count: int, columns: int, width: float, height: float, *, left: float, top: float, x: str, y: str, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, at most `columns` side by side, and these; `x` stands below the lowest of each
    column, `y` beside the first of each row.
    """
    across = min(columns, count)
    down = -(-count // across)
    fig = Figure(figsize=(left + width * across, top + height * down), layout="constrained", dpi=130)
    axes = fig.subplots(down, across, squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel(y, fontsize=9)
    for ax in axes.flat[max(0, count - across) : count]:
        ax.set_xlabel(x, fontsize=9)
    return fig, list(axes.flat[:count])


def heat(ax: Axes, values: np.ndarray, limit: float, rows: Sequence[Any], most: int, size: float = 7) -> AxesImage:
    """A heat map that diverges round zero, its colours ending at the limit; rows are named, about `most` of them."""
    ax.set_facecolor("#d1d5db")
    look: dict[str, Any] = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    image = ax.imshow(values, origin="lower", aspect="auto", **look)
    step = max(1, len(rows) // most)
    ax.set_yticks(range(0, len(rows), step), rows[::step], fontsize=size)
    return image


def colour_bar(ax: Any, image: AxesImage, label: str, size: float = 8, ticks: float = 7, **options: Any) -> Axes:
    """A colour bar with its label, beside an axis or several; its own axis."""
    bar = image.figure.colorbar(image, ax=ax, **options)
    bar.set_label(label, fontsize=size)
    bar.ax.tick_params(labelsize=ticks)
    return bar.ax


def dots(ax: Axes, x: Iterable[float], y: Iterable[float], size: float = 3.2, edge: float = 0.7) -> None:
    """White dots: one a trained model."""
    ax.plot(list(x), list(y), "o", color="white", markeredgecolor=INK, markersize=size, markeredgewidth=edge, zorder=4)


def bar(
    ax: Axes,
    at: Any,
    value: float,
    width: float,
    runs: Any = (),
    bounds: Sequence[float] = (np.nan, np.nan),
    *,
    across: bool = False,
    interval: Mapping[str, Any] = {"color": INK, "linewidth": 1},
    size: float = 3.2,
    **look: Any,
) -> None:
    """A bar, up or `across`, with its interval where there is one, and trained models as white dots."""

    def turned(along: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        places = [at] * len(along)
        return (along, places) if across else (places, along)

    (ax.barh if across else ax.bar)(at, value, width, linewidth=0, **look)
    if np.isfinite(bounds).all():
        ax.plot(*turned(bounds), **interval)
    if len(runs):
        dots(ax, *turned(runs), size)


def sides(value: Any, low: Any, high: Any) -> np.ndarray:
    """Lengths of the two sides of intervals, [side, estimate]; NaN where there is no bound."""
    return np.array([np.subtract(value, low), np.subtract(high, value)], float).reshape(2, -1).clip(min=0)


def points(
    ax: Axes, at: Any, value: Any, low: Any, high: Any, style: str, colour: str, *, across: bool = False, **look: Any
) -> None:
    """Estimates with their intervals, up or `across`."""
    x, y, side = (value, at, "xerr") if across else (at, value, "yerr")
    look[side] = sides(value, low, high)
    ax.errorbar(x, y, fmt=style, color=colour, **look)


def line(
    ax: Axes,
    x: Any,
    y: Any,
    low: Any,
    high: Any,
    style: str,
    colour: str,
    label: str | None,
    *,
    alpha: float = 0.12,
    **look: Any,
) -> None:
    """A line with marks, and its interval as a band of so much opacity."""
    ax.plot(x, y, style, color=colour, label=label, **look)
    ax.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)


def plain(ax: Axes, size: float = 8) -> None:
    """Small labels, no frame above and to the right."""
    ax.tick_params(labelsize=size)
    ax.spines[["top", "right"]].set_visible(False)


def framed(
    ax: Axes, x: str = "", y: str = "", title: str = "", *, size: float = 9, titled: float = 8, ticks: float = 8
) -> None:
    """What a panel says where it is given: the labels of its axes, in `size`, and its title; and a plain frame."""
    if x:
        ax.set_xlabel(x, fontsize=size)
    if y:
        ax.set_ylabel(y, fontsize=size)
    if title:
        ax.set_title(title, fontsize=titled)
    plain(ax, ticks)


def headed(title: str, text: str) -> str:
    """A heading: the title that was asked for, where there is one, before what the figure says of itself."""
    return f"{title}, {text}" if title else text


def spanned(counts: Iterable[float]) -> str:
    """A number, or the least and the largest."""
    low, high = int(np.min(list(counts))), int(np.max(list(counts)))
    return str(low) if low == high else f"{low} to {high}"


def slanted(ax: Axes, names: Iterable[object], size: float = 8, rotation: float = 35) -> None:
    """Names under the x axis at 0, 1, 2 ...: underscores as spaces, slanted so that long ones fit."""
    labels = [str(name).replace("_", " ") for name in names]
    ax.set_xticks(range(len(labels)), labels, fontsize=size, rotation=rotation, ha="right", rotation_mode="anchor")


def legend_beside(ax: Axes, size: float = 7, *labels: Any, **options: Any) -> None:
    """A legend to the right of an axis: its own, or of other lines and their names."""
    ax.legend(*labels, fontsize=size, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), **options)


def legend_below(fig: Figure, ax: Axes, columns: int, size: float = 7) -> None:
    """The legend of one axis below all panels."""
    labels = ax.get_legend_handles_labels()
    fig.legend(*labels, fontsize=size, frameon=False, loc="outside lower center", ncols=columns)


def signs_below(fig: Figure, ax: Axes, columns: int, signs: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """A legend below all panels of signs that it names itself, each with its look."""
    shown = [ax.plot([], [], style, label=name, **look)[0] for name, (style, look) in signs.items()]
    fig.legend(handles=shown, fontsize=7.5, frameon=False, loc="outside lower center", ncols=columns)
