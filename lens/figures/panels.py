"""What figures of several panels share: their grid, dots of single models, an axis without a frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import INK

GREY = "#9aa1ad"


def grid(rows: int, columns: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A figure of panels, [row, column]; width and height of one in inches."""
    fig = Figure(figsize=(0.9 + width * columns, height * rows), layout="constrained", dpi=130)
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def dots(ax: Axes, x: Iterable[float], y: Iterable[float]) -> None:
    """White dots: one a trained model."""
    ax.plot(list(x), list(y), "o", color="white", markeredgecolor=INK, markersize=3.2, markeredgewidth=0.7, zorder=4)


def plain(ax: Axes) -> None:
    """Small labels, no frame above and to the right."""
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
