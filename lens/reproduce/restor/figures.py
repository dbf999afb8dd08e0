"""Figures of a run: every arm's path, R against the loss on the documents, and what the arms bring back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...figures.panels import framed, legend_beside
from ...figures.style import MUTED, SERIES, figure, finish
from ..common import matching
from .bench import CHOOSE, REPORT
from .tables import KEYS, MODELS

#: Losses, in nats a token, up to which an axis is linear.
LINEAR = 10


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of the main cell, which comes first."""
    return table[(table[KEYS[1:]] == table[KEYS[1:]].iloc[0]).all(axis=1)]


def of_paths(paths: pd.DataFrame, losses: pd.DataFrame, path: Path | None = None) -> Figure:
    """R of the reported people against the loss on the forget set, a line an arm at the rate that restores most of the
    choosing people, the first seed; the twin is a star. Main cell.
    """
    paths, losses = _first(paths), _first(losses)
    seed = paths.seed.iloc[0]

    def shares(part: str) -> pd.DataFrame:
        own = matching(paths, part=part, seed=seed)
        share = own.groupby(["arm", "rate", "look"], dropna=False, sort=False)[["right", "n"]].sum()
        return (share.right / share.n).rename("right").reset_index()

    right, choose = shares(REPORT), shares(CHOOSE)
    start, clean = (float(right[right.arm == name].right.iloc[0]) for name in ("start", "clean"))
    right = right.assign(R=(right.right - start) / ((clean - start) or np.nan))
    right = right.merge(matching(losses, seed=seed)[["arm", "rate", "look", "forget"]], on=["arm", "rate", "look"])
    fig, ax = figure(6.2, 3.8)
    arms, ends = [arm for arm in dict.fromkeys(right.arm) if arm not in MODELS], []
    for i, arm in enumerate(arms):
        each = matching(right, arm=arm)
        best = matching(choose, arm=arm)
        rate = best.loc[best.right.idxmax()].rate if best.right.notna().any() else each.rate.iloc[0]
        line = matching(each, rate=rate).sort_values("look")
        style, said = "--" if i >= len(SERIES) else "-", arm.replace("_", " ")
        ax.plot(line.forget, line.R, style, color=SERIES[i % len(SERIES)], marker="o", markersize=3, label=said)
        ends.append(line.forget.max())
    twin = matching(right, arm="twin")
    ax.plot(twin.forget, twin.R, "*", color=MUTED, markersize=12, label="twin")
    if max(ends, default=0) > LINEAR:
        # a diverging arm leaves the others visible
        ax.set_xscale("symlog", linthresh=LINEAR)
        beyond = [LINEAR * 10**power for power in range(1 + int(np.log10(max(ends) / LINEAR)))]
        marks = [*range(0, LINEAR, 2), *beyond]
        ax.set_xticks(marks, [str(mark) for mark in marks])
    framed(ax, "loss on the false documents (nats a token)", "R, reported people")
    legend_beside(ax)
    return finish(fig, path)


def of_arms(arms: pd.DataFrame, path: Path | None = None) -> Figure:
    """R of every arm with its interval, at its best setting and where the rule stops it; main cell."""
    table = _first(arms)
    names = list(dict.fromkeys(table.arm))
    fig, ax = figure(5.6, 0.6 + 0.34 * len(names))
    for i, (reading, of) in enumerate(table.groupby("reading", sort=False)):
        at = np.array([names.index(arm) for arm in of.arm]) + 0.16 * i
        off = np.abs(np.stack([of.R - of.R_low, of.R_high - of.R]))
        ax.errorbar(of.R, at, xerr=off, fmt="o", markersize=4, color=SERIES[i], label=str(reading))
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    ax.invert_yaxis()
    ax.axvline(0, color=MUTED, linewidth=0.8)
    framed(ax, "R, reported people", "")
    legend_beside(ax)
    return finish(fig, path)


FIGURES = {"paths": (("paths", "losses"), of_paths), "arms": (("arms",), of_arms)}
