"""Calibration figures: p-values of true nulls against the uniform, sizes with their intervals, and the picture of all
suspects against all orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from ..arguments import FilePath, Filled, Positive, Share, door
from .panels import colour_bar, framed, legend_below, plain
from .style import DIVERGING, INK, MUTED, SERIES, FigureError, finish, require_rows, require_variables

MARKS = {"inside": SERIES[0], "conservative": SERIES[2], "TOO SMALL": SERIES[1]}


@door(FigureError)
def qq_plot(
    ds: xr.Dataset,
    path: FilePath | None = None,
    *,
    panels: Annotated[Sequence[tuple[str, Annotated[Sequence[tuple[str, str]], Filled()]]], Filled()],
    level: Share = 0.99,
    title: str = "",
) -> Figure:
    """p-values of a true null against uniform quantiles, both axes logarithmic, one panel a group; above the diagonal
    is safe, below it p is too small.

    Args:
        ds: with `quantile` [cell, probability], `n`, and the coordinates `name` and `condition` of each cell.
        panels: (title, [(name, condition), ...]) for each; a condition may be the beginning of one.
        level: of the pointwise band in which quantiles of the smallest n shown lie if p is uniform.

    Raises: ValueError: no such cell.
    """
    require_variables(ds, ("quantile", "n", "name", "condition", "probability"), ("cell", "probability"))
    fig = Figure(
        figsize=(0.6 + (4.3 if len(panels) < 3 else 3.0) * len(panels), 6.0 if len(panels) < 3 else 5.0),
        layout="constrained",
        dpi=130,
    )
    axes = fig.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    probability = ds.probability.values
    lowest = 1.0
    for ax, (heading, wanted) in zip(axes, panels):
        counts = []
        for (name, condition), colour in zip(wanted, (*SERIES, INK, MUTED)):
            cell = _cell(ds, name, condition)
            q = cell["quantile"].values.astype(float)
            keep = np.isfinite(q) & (probability >= 1 / float(cell.n))
            ax.plot(probability[keep], q[keep], color=colour, linewidth=1.5, label=f"{name}\n{cell.condition.item()}")
            counts.append(int(cell.n))
            lowest = min(lowest, float(q[keep].min()))
        n = min(counts)
        at = probability[probability >= 1 / n]
        rank = np.clip(np.ceil(at * n), 1, n)
        band = [stats.beta.ppf(side, rank, n - rank + 1) for side in ((1 - level) / 2, (1 + level) / 2)]
        ax.fill_between(
            at, *band, color=MUTED, alpha=0.18, linewidth=0, label=f"uniform, {100 * level:g} % of {n} values"
        )
        ax.plot([1e-5, 1], [1e-5, 1], color=MUTED, linewidth=0.9)
        ax.set_title(heading, fontsize=9)
        ax.set_xlabel("expected under the null: share of p-values", fontsize=9)
        ax.legend(fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.13))
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlim=(1e-4, 1), ylim=(min(1e-5, max(lowest, 1e-12)), 1))
        plain(ax)
    axes[0].set_ylabel("p-value seen (below the line: too small)", fontsize=9)
    if title:
        fig.suptitle(title, fontsize=10)
    return finish(fig, path)


@door(FigureError)
def size_bars(sizes: pd.DataFrame, path: FilePath | None = None, *, nominal: Share = 0.05, title: str = "") -> Figure:
    """Sizes at one nominal level with their intervals, a row a cell, by kind of p-value; the line is the nominal level.

    `sizes`: with the columns p-value, kind, condition, nominal, size, low, high, verdict. Rates are drawn on a
    square-root scale, which shows 0.
    """
    require_rows(sizes, ("p-value", "kind", "condition", "nominal", "size", "low", "high", "verdict"), "sizes")
    some = sizes[np.isclose(sizes["nominal"], nominal)]
    if some.empty:
        raise FigureError(
            f"nominal={nominal} is not there; sizes has the levels"
            f" {', '.join(f'{x:g}' for x in sizes['nominal'].unique())}."
        )
    kinds = list(dict.fromkeys(some["kind"]))
    some = pd.concat([some[some["kind"] == kind] for kind in kinds])
    place = -np.arange(len(some)) - 1.2 * np.array([kinds.index(k) for k in some["kind"]])
    fig = Figure(figsize=(9.0, 1.0 + 0.19 * (len(some) + 1.2 * len(kinds))), layout="constrained", dpi=90)
    ax = fig.subplots()
    scale = np.sqrt
    for y, (_, row) in zip(place, some.iterrows()):
        colour = MARKS[row["verdict"]]
        ax.plot(scale([row["low"], row["high"]]), [y, y], color=colour, linewidth=1.4)
        ax.plot(scale(row["size"]), y, "o", color=colour, markersize=3.2)
    for kind in kinds:
        ax.text(0, place[(some["kind"] == kind).values].max() + 0.75, kind, fontsize=7, fontweight="bold", color=INK)
    ax.axvline(scale(nominal), color=INK, linewidth=0.9)
    ax.set_yticks(place, [f"{r['p-value']} | {r['condition']}" for _, r in some.iterrows()], fontsize=6)
    ticks = np.array([0, 0.01, 0.05, 0.1, 0.2, 0.4, 1])
    ticks = ticks[ticks <= max(float(some["high"].max()), nominal) * 1.3]
    ax.set_xticks(scale(ticks), [f"{t:g}" for t in ticks], fontsize=8)
    ax.set_xlabel(f"share of true nulls with p ≤ {nominal:g}, 99 % interval (square-root scale)", fontsize=8)
    for name, colour in MARKS.items():
        ax.plot([], [], "o-", color=colour, markersize=3.2, label=name)
    legend_below(fig, ax, len(MARKS))  # intervals may lie anywhere in the axes
    ax.set_ylim(place.min() - 1, 1.6)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_title(title, fontsize=9)
    return finish(fig, path)


@door(FigureError)
def order_matrix(z: xr.DataArray, path: FilePath | None = None, *, limit: Positive = 5.0, title: str = "") -> Figure:
    """Z of every suspect (row) against every order (column): power on the diagonal, the null everywhere else, and
    beside it the reference's own order as a line of its own.
    """
    if set(z.dims) != {"suspect", "order"} or not z.size or z.dtype.kind not in "biuf":
        raise FigureError(f"z has the axes {tuple(z.dims)} and type {z.dtype}; expected numbers, suspect by order.")
    fig = Figure(figsize=(10.4, 4.9), layout="constrained", dpi=120)
    left, right = fig.subplots(1, 2, width_ratios=(1.15, 1))
    values = z.transpose("suspect", "order").values
    image = left.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    left.set_xlabel("order of model", fontsize=9)
    left.set_ylabel("suspect", fontsize=9)
    left.tick_params(labelsize=8)
    said = "z (negative: later rows are known better)"
    colour_bar(left, image, said, pad=0.01, shrink=0.85, extend="both")
    models = len(values)
    own = np.eye(models, dtype=bool)
    trap = np.zeros_like(own)
    if "reference" in z.coords:
        trap[np.arange(models), z.reference.values] = True
    edges = np.linspace(min(-6, values.min()), max(6, values.max()), 90)
    for mask, label, colour in (
        (~own & ~trap, "innocent of this order", MUTED),
        (own, "its own order", SERIES[0]),
        (trap, "its reference's order", SERIES[1]),
    ):
        if mask.any():
            of = values[mask]
            said = f"{label}: {mask.sum()} cells, mean {of.mean():.2f}, sd {of.std():.2f}"
            right.hist(of, edges, density=True, color=colour, alpha=0.65, label=said)
    right.plot(edges, stats.norm.pdf(edges), color=INK, linewidth=1, label="standard normal")
    framed(right, "z", "density")
    right.legend(fontsize=7, frameon=False)
    fig.suptitle(title, fontsize=10)
    return finish(fig, path)


def _cell(ds: xr.Dataset, name: str, condition: str) -> xr.Dataset:
    found = [
        i
        for i, (a, b) in enumerate(zip(ds.name.values, ds.condition.values))
        if a == name and str(b).startswith(condition)
    ]
    if not found:
        raise FigureError(
            f"panels asks for {name!r} under {condition!r}, which is not there; there are"
            f" {', '.join(sorted({str(n) for n in ds.name.values}))}."
        )
    return ds.isel(cell=found[0])
