"""What figures share: a grid of panels, dots of single models, headings, legends, an axis without a frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import INK

GREY = "#9aa1ad"


def grid(
    rows: int, columns: int, width: float, height: float, *, left: float = 0.9, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of panels, [row, column]; width and height of one, and the room on the left, in inches."""
    fig = Figure(figsize=(left + width * columns, height * rows), layout="constrained", dpi=130)
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def dots(ax: Axes, x: Iterable[float], y: Iterable[float], size: float = 3.2, edge: float = 0.7) -> None:
    """White dots: one a trained model."""
    ax.plot(list(x), list(y), "o", color="white", markeredgecolor=INK, markersize=size, markeredgewidth=edge, zorder=4)


def plain(ax: Axes, size: float = 8) -> None:
    """Small labels, no frame above and to the right."""
    ax.tick_params(labelsize=size)
    ax.spines[["top", "right"]].set_visible(False)


def headed(title: str, text: str) -> str:
    """A heading: the title that was asked for, where there is one, before what the figure says of itself."""
    return f"{title}, {text}" if title else text


def slanted(ax: Axes, names: Iterable[object]) -> None:
    """Names under the x axis at 0, 1, 2 ...: underscores as spaces, slanted so that long ones fit."""
    labels = [str(name).replace("_", " ") for name in names]
    ax.set_xticks(range(len(labels)), labels, fontsize=8, rotation=35, ha="right", rotation_mode="anchor")


def legend_beside(ax: Axes, size: float = 7) -> None:
    """A legend to the right of an axis."""
    ax.legend(fontsize=size, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def legend_below(fig: Figure, ax: Axes, columns: int) -> None:
    """The legend of one axis below all panels."""
    labels = ax.get_legend_handles_labels()
    fig.legend(*labels, fontsize=7, frameon=False, loc="outside lower center", ncols=columns)
