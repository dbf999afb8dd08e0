"""Tidy tables of a run: curves over updates, draws of the base, differences leaf by leaf."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
import pandas as pd

from ... import stats
from ...stats.units import nested
from ..common import by_group, columns, matching
from .bench import BASE

#: What an accuracy is of, and how it is read.
ACCURACIES = ("free", "sampled", "direct", "filler", "forced", "path")
#: Tuned answers that count as learnt.
LEARNT = 0.99


def tables(measured: Mapping[str, pd.DataFrame], seed: int = 0) -> dict[str, pd.DataFrame]:
    """Those that are made of what was measured."""
    return {"curves": curves(measured["behaviour"], seed), "draws": draws(measured["behaviour"])}


def values(behaviour: pd.DataFrame, arm: str, measure: str, updates: int | None = None) -> pd.Series:
    """A measure of a checkpoint on reported leaves by seed and leaf; updates: None, after the last look."""
    of = matching(behaviour, arm=arm, part="report")
    of = of[of.updates == (of.updates.max() if updates is None else updates)]
    scale = of.draws if measure.startswith("sampled") else 1
    series: pd.Series = (of[measure] / scale).set_axis(pd.MultiIndex.from_frame(of[["seed", "leaf"]]))
    return series.astype(float).sort_index()


def interval(by_leaf: pd.Series, seed: int = 0) -> stats.Interval:
    """The mean over leaves of one seed; where there are several that holds for other seeds and for other leaves."""
    return nested(by_leaf.to_numpy(), by_leaf.index.get_level_values("seed"), seed=seed).interval


def curves(
    behaviour: pd.DataFrame, seed: int = 0, measures: Sequence[str] = (*ACCURACIES, "free_walks", "sampled_walks")
) -> pd.DataFrame:
    """By checkpoint, updates and part every accuracy with its interval, and the share of draws that walk."""
    rows = []
    base = behaviour[behaviour.arm == BASE]
    arms = [arm for arm in behaviour.arm.unique() if arm != BASE]
    # every checkpoint begins as the base
    whole = pd.concat([behaviour[behaviour.arm != BASE], *[base.assign(arm=arm) for arm in arms]])

    def line(of: pd.DataFrame, measure: str) -> dict[str, float]:
        scale = of.draws if measure.startswith("sampled") else 1
        index = pd.MultiIndex.from_frame(of[["seed", "leaf"]])
        told = interval((of[measure] / scale).astype(float).set_axis(index), seed)
        return columns("share", told) | {"n": len(of)}

    for measure in measures:
        made = by_group(whole, ("arm", "part", "updates"), functools.partial(line, measure=measure))
        rows.append(made.assign(measure=measure))
    return pd.concat(rows, ignore_index=True).sort_values(["measure", "arm", "part", "updates"], ignore_index=True)


def draws(behaviour: pd.DataFrame) -> pd.DataFrame:
    """By checkpoint and k the share of reported leaves with at least one right of k draws, without bias."""
    of = behaviour[behaviour.part == "report"]
    of = of[of.updates == of.groupby("arm").updates.transform("max")]
    rows = []
    for arm, one in of.groupby("arm", sort=False):
        n = int(one.draws.iloc[0])
        for k in (k for k in (1, 4, 16) if k <= n):
            missed = [comb(n - int(right), k) / comb(n, k) for right in one.sampled]
            rows.append({"arm": arm, "k": k, "share": 1 - float(np.mean(missed)), "n": len(one)})
    return pd.DataFrame(rows)


def first_learnt(behaviour: pd.DataFrame) -> tuple[int, bool]:
    """The first look at which the supervised answers to tuned leaves reach `LEARNT` in every seed, and whether there is
    one; else the last look.
    """
    of = matching(behaviour, arm="answer", part="tuned")
    by_look = of.groupby(["updates", "seed"]).free.mean().groupby("updates").min()
    learnt = by_look[by_look >= LEARNT]
    return (int(learnt.index[0]), True) if len(learnt) else (int(by_look.index[-1]), False)


def depths(behaviour: pd.DataFrame) -> list[int]:
    """How many edges up walks are matched."""
    there = [c for c in behaviour.columns if c.startswith("match_") and behaviour[c].notna().all()]
    return sorted(int(c.removeprefix("match_")) for c in there)


def by_leaf(table: pd.DataFrame, value: str = "value", **where: object) -> pd.Series:
    """A column of the rows of a table that fit, by seed and leaf."""
    of = matching(table, **where)
    series: pd.Series = of[value].set_axis(pd.MultiIndex.from_frame(of[["seed", "leaf"]]))
    return series.astype(float).sort_index()
