"""Palimpsestic provenance: loss against position, the null beside what was observed, power, and what survives of the
trace.

Tables come as `lens.reproduce.palimpsest.tables` makes them; intervals whose unit is a training run say so in the
title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...arguments import FilePath, Name, door
from ...figures.panels import MARKS, bar, framed, grid, headed, legend_beside, points, slanted
from ...figures.style import MUTED, SERIES, FigureError, figure, finish, require_rows, require_some
from .tables import p_text


@door(FigureError)
def position_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """Suspect minus reference against the position in the training order: one line a suspect, a point a quantile of
    position, bars the 95 % interval of its mean.

    ``frame``: rows with ``suspect``, ``low`` and ``high`` of the positions, ``score`` (centred) with ``score_low`` and
    ``score_high``, ``n``, ``rho`` and ``p``.
    """
    require_rows(frame, ("suspect", "low", "high", "score", "score_low", "score_high", "n", "rho", "p"))
    fig, ax = figure(5.6, 3.6)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    for i, (suspect, of) in enumerate(frame.groupby("suspect", sort=False)):
        colour, first = SERIES[i % len(SERIES)], of.iloc[0]
        label = f"{(names or {}).get(suspect, suspect)}: rho {first.rho:+.3f}, p = {p_text(first.p)}"
        look: dict[str, Any] = {"markersize": 3.5, "linewidth": 0.9, "elinewidth": 0.8, "capsize": 1.5}
        at, mark = (of.low + of.high) / 2, MARKS[i % len(MARKS)] + "-"
        points(ax, at, of.score, of.score_low, of.score_high, mark, colour, label=label, **look)
    ax.legend(fontsize=7, frameon=False)
    n = int(frame.groupby("suspect", sort=False).n.sum().iloc[0])
    said = headed(title, f"n = {n:,} rows, bars: 95 % of a quantile's mean")
    framed(ax, "position in the training order (key)", "loss of suspect minus reference,\ncentred (nats a token)", said)
    return finish(fig, path)


@door(FigureError)
def null_plot(
    frame: pd.DataFrame, path: FilePath | None = None, *, names: Mapping[str, str] | None = None, title: str = ""
) -> Figure:
    """The statistic over redrawn positions (grey) and the observed one (line), one panel a suspect. ``frame``: rows
    with ``suspect``, ``null`` and ``observed``.
    """
    require_rows(frame, ("suspect", "null", "observed"))
    groups = list(frame.groupby("suspect", sort=False))
    fig, (axes,) = grid(1, len(groups), 2.9, 2.7, left=0.8, sharex=True)
    for i, (ax, (suspect, of)) in enumerate(zip(axes, groups)):
        observed = float(of.observed.iloc[0])
        ax.hist(of.null, 60, color="#c3c8d0", linewidth=0)
        ax.axvline(observed, color=SERIES[i % len(SERIES)], linewidth=1.6)
        reached = f"{int((of.null <= observed).sum()):,} of {len(of):,} draws as low"
        said = f"{(names or {}).get(suspect, suspect)}: {observed:+.3f}\n{reached}"
        framed(ax, "rank correlation", title=said, size=8, ticks=7)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    if title:
        fig.suptitle(title, fontsize=9)
    return finish(fig, path)


@door(FigureError)
def power_plot(
    frame: pd.DataFrame,
    path: FilePath | None = None,
    *,
    across: Name = "n",
    suspects: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Detection rate against the number of rows (or of tokens, one line a window): bars are intervals whose unit is the
    training run.

    Args:
        frame: rows with ``suspect``, ``title``, ``window``, ``n``, ``tokens``, ``rate``, ``low``, ``high`` and
            ``seeds``.
        across: "n" (all tokens of a row, one line a suspect) or "tokens" (the first suspect, one line a window).
        suspects: which, in this order; None: all.
    """
    require_rows(frame, ("suspect", "title", "window", "n", "tokens", "rate", "low", "high", "seeds"))
    if across not in ("n", "tokens"):
        raise FigureError(f"across={across!r}; expected 'n' or 'tokens'.")
    known = list(dict.fromkeys(frame.suspect))
    chosen = known if suspects is None else require_some(suspects, known, "suspects")
    fig, ax = figure(6.6, 3.8)
    if across == "n":
        lines: list[Any] = [(frame[(frame.suspect == s) & (frame.window == 0)], None) for s in chosen]
    else:
        of = frame[frame.suspect == chosen[0]]
        lines = [(part, "all bytes" if w == 0 else f"first {w} bytes") for w, part in of.groupby("window")]
    for i, (part, label) in enumerate(lines):
        part, colour = part.sort_values(across), SERIES[i % len(SERIES)]
        ax.plot(
            part[across],
            part.rate,
            marker=MARKS[i % len(MARKS)],
            color=colour,
            markersize=3.5,
            linewidth=1,
            linestyle=("-", "--", ":")[i // len(SERIES) % 3],
            label=label or part.title.iloc[0],
        )
        at = part[across] * (1 + 0.025 * (i - len(lines) / 2))  # bars beside each other
        ax.vlines(at, part.low, part.high, color=colour, alpha=0.35, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    ax.axhline(0.8, color=MUTED, linewidth=0.6, linestyle="--")
    legend_beside(ax, 6.5)
    asked, said = "rows asked" if across == "n" else "tokens asked", f"{int(frame.seeds.max())} training runs"
    framed(ax, asked, "detection rate", headed(title, said))
    return finish(fig, path)


@door(FigureError)
def survival_bars(frame: pd.DataFrame, path: FilePath | None = None, *, title: str = "") -> Figure:
    """What is left of the trace by derivative: mean rank correlation (sign turned) with Student's t interval over
    training runs, single runs as dots.

    ``frame``: rows with ``title``, ``rho``, ``low``, ``high``, ``seeds`` (each run's rho), ``detected`` and ``of``.
    """
    require_rows(frame, ("title", "rho", "low", "high", "seeds", "detected", "of"))
    fig, ax = figure(6.2, 0.9 + 0.26 * len(frame))
    for y, row in zip(-np.arange(len(frame)), frame.itertuples()):
        colour = SERIES[0] if row.detected == row.of else SERIES[4] if row.detected else "#9aa1ad"
        bar(ax, y, -row.rho, 0.62, -np.array(row.seeds), (-row.high, -row.low), across=True, color=colour)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.set_yticks(-np.arange(len(frame)), [f"{r.title}  ({r.detected}/{r.of})" for r in frame.itertuples()], fontsize=8)
    said = headed(title, "dots: training runs, lines: 95 % over them\n(detected at .01 after Holm / runs)")
    framed(ax, "minus rank correlation with position", title=said)
    return finish(fig, path)


@door(FigureError)
def arm_plot(frame: pd.DataFrame, path: FilePath | None = None, *, title: str = "") -> Figure:
    """The trace by learning-rate schedule: mean with Student's t interval over training runs, single runs as dots.
    ``frame``: ``arm``, ``rho``, ``low``, ``high``, ``seeds``, ``n``.
    """
    require_rows(frame, ("arm", "rho", "low", "high", "seeds", "n"))
    fig, ax = figure(1.6 + 0.8 * len(frame), 3.2)
    for x, row in enumerate(frame.itertuples()):
        bar(ax, x, -row.rho, 0.6, -np.array(row.seeds), (-row.high, -row.low), size=3.5, color=SERIES[0])
    ax.axhline(0, color=MUTED, linewidth=0.8)
    slanted(ax, [a.replace(": ", ":\n") for a in frame.arm], rotation=30)
    said = headed(title, f"n = {int(frame.n.iloc[0]):,} rows, dots: training runs")
    framed(ax, y="minus rank correlation\nwith position", title=said)
    return finish(fig, path)


@door(FigureError)
def retrain_plot(frame: pd.DataFrame, path: FilePath | None = None, *, title: str = "") -> Figure:
    """Shuffle-retrain by temperature of the text: three p-values of the same numbers, of which only the rank is
    guaranteed; the published one falls below what m retrainings can show.

    ``frame``: rows with ``writer``, ``temperature``, ``tokens``, ``m``, ``p_rank``, ``floor``, ``p_t`` and
    ``p_published``; the largest number of tokens of each is drawn.
    """
    require_rows(frame, ("writer", "temperature", "tokens", "m", "p_rank", "floor", "p_t", "p_published"))
    most = frame.loc[frame.groupby(["writer", "temperature"], sort=False).tokens.idxmax()]
    fig, ax = figure(2.4 + 0.55 * len(most), 3.4)
    labels = [f"{r.writer}\nT = {r.temperature:g}" for r in most.itertuples()]
    columns = {
        "p_rank": "rank (guaranteed)",
        "p_t": "Student's t (approximate)",
        "p_published": "published plug-in (no p-value)",
    }
    for i, (column, name) in enumerate(columns.items()):
        p = -np.log10(np.maximum(most[column].to_numpy(float), 1e-300))
        ax.plot(range(len(most)), p, MARKS[i], color=SERIES[i], markersize=6, label=name)
    least, m = -np.log10(most.floor.iloc[0]), int(most.m.iloc[0])
    ax.axhline(least, color=MUTED, linewidth=0.8, linestyle="--", label=f"least rank p, m = {m}")
    slanted(ax, labels, 7.5, 30)
    ax.legend(fontsize=7, frameon=False)
    said = f"{int(most.tokens.min()):,} to {int(most.tokens.max()):,} tokens of text"
    framed(ax, y="minus log10 p", title=headed(title, said))
    return finish(fig, path)
