"""An estimate against the exact effects, and effects against their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr

from ..arguments import Count, FilePath, Filled, door
from .panels import framed, points
from .style import MUTED, SERIES, FigureError, figure, finish, numbers, require_variables


@door(FigureError)
def agreement_plot(
    exact: xr.Dataset, estimates: Annotated[Mapping[str, xr.Dataset], Filled()], path: FilePath | None = None
):
    """Each cell's estimate against its exact effect, means over prompts; the line is equality."""

    def mean(ds):
        return ds.effect.mean("prompt") if "prompt" in ds.effect.dims else ds.effect

    for ds, name in ((exact, "exact"), *((ds, f"estimates[{key!r}]") for key, ds in estimates.items())):
        require_variables(ds, ("effect",), (), name)
        if ds.effect.dtype.kind not in "biuf" or mean(ds).sizes != mean(exact).sizes:
            raise FigureError(
                f"{name} has effects {dict(ds.effect.sizes)} of type {ds.effect.dtype}; expected numbers over the same"
                " cells as the exact ones."
            )
    x = mean(exact).values.ravel()
    fig, ax = figure(4.8, 4.2)
    for (name, ds), colour in zip(estimates.items(), SERIES):
        ax.plot(x, mean(ds).values.ravel(), "o", markersize=3, alpha=0.6, color=colour, label=name, markeredgewidth=0)
    low, high = np.nanmin(x), np.nanmax(x)
    ax.plot([low, high], [low, high], color=MUTED, linewidth=1, label="equal")
    unit = exact.effect.attrs.get("units", "")
    framed(ax, f"exact effect ({unit})", f"estimated effect ({unit})")
    ax.legend(fontsize=8, frameon=False)
    return finish(fig, path)


@door(FigureError)
def control_plot(
    names: Annotated[Sequence[str], Filled()],
    estimate: Any,
    low: Any,
    high: Any,
    path: FilePath | None = None,
    *,
    label: str = "mean effect",
    n: Count | None = None,
    groups: Count = 1,
):
    """Effects beside their controls, with intervals; one row each, zero marked. ``groups`` rows that belong together
    share a gap and a run of colours.
    """
    estimate, low, high = (
        numbers(estimate, "estimate", len(names)),
        numbers(low, "low", len(names)),
        numbers(high, "high", len(names)),
    )
    for name, side in (("low", estimate - low), ("high", high - estimate)):
        if (side < 0).any():
            raise FigureError(
                f"{name} lies on the wrong side of the estimate in row {int(np.flatnonzero(side < 0)[0])}; expected low"
                " <= estimate <= high."
            )
    fig, ax = figure(5.6, 0.9 + 0.3 * len(names))
    row = np.arange(len(names))
    at = -(row + (row // groups if groups > 1 else 0) * 0.7)
    for kind in range(groups):
        mine = row % groups == kind
        look = {"elinewidth": 1.4, "capsize": 2.5, "markersize": 4.5}
        interval = (at[mine], estimate[mine], low[mine], high[mine])
        points(ax, *interval, "o", SERIES[kind % len(SERIES)], across=True, **look)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.set_yticks(at, names, fontsize=8)
    ax.set_xlabel(label + (f", n = {n}" if n else ""), fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return finish(fig, path)
