"""Paths of unlearning: what is forgotten, restored and kept by how far an arm has gone."""

from __future__ import annotations

from typing import Annotated, Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..arguments import FilePath, Filled, door
from .panels import MARKS, legend_below, line, plain, points, wrapped
from .style import INK, MUTED, SERIES, FigureError, finish, picture, require_some, require_variables

#: What is drawn where it is there.
MEASURES = ("restoration", "forgetting", "forgetting of probability", "retain probability")
#: Models that are drawn as points, and their marks.
MODELS = {"start": "o", "clean": "*", "twin": "X", "never_knew": "s"}


@door(FigureError)
def unlearning_paths(
    summary: xr.Dataset,
    path: FilePath | None = None,
    *,
    measures: Annotated[tuple[str, ...], Filled()] | None = None,
    x: str = "forget loss",
    title: str = "",
) -> Figure:
    """One panel a measure, one line an arm with its intervals, over the loss on the forget set; the models are points.

    Args:
        summary: what `lens.unlearning.summary` returned. measures: which; None: restoration, forgetting and what is
            kept, as far as they are there. x: the measure that is drawn across.
    """
    require_variables(summary, ("mean", "low", "high"), ("measure", "arm", "look"), "summary")
    there = [str(m) for m in summary.measure.values]
    require_some((x,), there, "x")
    chosen = [m for m in MEASURES if m in there] if measures is None else require_some(measures, there, "measures")
    fig, axes = wrapped(
        len(chosen), 2, 3.4, 2.7, left=1.6, top=0.5, x=f"{x} (nats a token)" if "loss" in x else x, y=""
    )
    across = summary["mean"].sel(measure=x)
    arms = [str(a) for a in summary.arm.values]
    lines = [arm for arm in arms if arm not in MODELS]
    for ax, measure in zip(axes, chosen):
        of = summary.sel(measure=measure)
        for number, arm in enumerate(lines):
            at, values = across.sel(arm=arm).values, of.sel(arm=arm)
            order = np.argsort(np.where(np.isnan(at), np.inf, at), kind="stable")
            order = order[~np.isnan(at[order])]
            look: dict[str, Any] = {"markersize": 3.5, "linewidth": 1.3}
            line(
                ax,
                at[order],
                values["mean"].values[order],
                values.low.values[order],
                values.high.values[order],
                f"{MARKS[number % len(MARKS)]}-",
                SERIES[number % len(SERIES)],
                arm,
                **look,
            )
        for model in [arm for arm in arms if arm in MODELS]:
            one = of.sel(arm=model, look=0)
            place = float(across.sel(arm=model, look=0))
            points(
                ax,
                [place],
                [float(one["mean"])],
                [float(one.low)],
                [float(one.high)],
                MODELS[model],
                INK,
                label=model,
                markersize=6,
                capsize=2,
                linestyle="none",
            )
        ax.axhline(0, color=MUTED, linewidth=0.7)
        ax.set_title(measure, fontsize=9)
        plain(ax)
    legend_below(fig, axes[0], 4)
    if title:
        fig.suptitle(title, fontsize=10)
    return finish(fig, path)


def unlearning_svg(summary: xr.Dataset) -> str:
    """The paths as inline SVG, the same text for the same numbers."""
    with matplotlib.rc_context({"svg.hashsalt": "unlearning", "svg.fonttype": "none"}):
        drawn = picture(unlearning_paths(summary), "svg").decode()
    return drawn[drawn.index("<svg") :]
