"""Tidy tables of a run: agreement with exact effects, circuits by size, areas, edges that are known, controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats as scipy_stats

from ... import stats
from ...organisms.wired import KINDS
from ...readout.agreement import compare
from ..common import mean_interval
from .bench import EXACT

Parts = Mapping[str, xr.Dataset]
#: What each set of edges is called.
SETS = {"indirect objects": "the checked edges", "wired": "all edges", "induction": "all edges"}


def tables(parts: Parts, seed: int = 0) -> dict[str, pd.DataFrame]:
    """All of them, of what was measured."""
    return {
        "agreement": agreement(parts, seed),
        "curves": curves(parts),
        "areas": areas(parts),
        "known": known(parts, seed),
        "controls": beside(parts),
    }


def agreement(parts: Parts, seed: int) -> pd.DataFrame:
    """By set and method: each measure of agreement with the exact effects, of the means and within one pair."""
    rows = []
    for which in SETS:
        if which not in parts:
            continue
        exact, *scored = _split(parts[which])
        for method, ds in scored:
            told = compare(exact[1], ds, same=(), seed=seed)
            table = told.table().reset_index().assign(set=which, method=method, n=told.n_prompts, edges=told.n_cells)
            rows.append(table)
    return pd.concat(rows, ignore_index=True)


def _split(ds: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    """The exact effects and then those of each method, as results over the same cells."""
    each = [(str(m), ds[["effect"]].sel({"method": m}, drop=True)) for m in ds.method.values]
    return sorted(each, key=lambda pair: pair[0] != EXACT)


def curves(parts: Parts) -> pd.DataFrame:
    """By method, ranking and size: f with its interval over held-out pairs, edges, and f of each random circuit."""
    rows = []
    for name, ds in _circuits(parts):
        for ranking in ds.ranking.values:
            one = ds.sel(ranking=ranking)
            for i, size in enumerate(ds.circuit.values):
                at = one.isel(circuit=i)
                line = {"method": name, "ranking": str(ranking), "size": float(size), "edges": int(at.n_edges)}
                line |= {"f": float(at.f), "low": float(at.f_low), "high": float(at.f_high)}
                if "random" in ds:
                    line |= {"random": float(at.random.mean()), "random_most": float(at.random.max())}
                    line |= {"complement": float(at.complement), "p": float(at.p)}
                rows.append(line | {"n": ds.sizes["prompt"]})
    return pd.DataFrame(rows)


def _circuits(parts: Parts) -> list[tuple[str, xr.Dataset]]:
    start = "circuits of "
    return [(name.removeprefix(start), ds) for name, ds in parts.items() if name.startswith(start)]


def areas(parts: Parts) -> pd.DataFrame:
    """By method: CPR of the signed and CMD of the absolute ranking, with intervals, and those of random circuits."""
    rows = []
    for name, ds in _circuits(parts):
        line: dict[str, Any] = {"method": name, "n": ds.sizes["prompt"]}
        for area, ranking in (("CPR", "signed"), ("CMD", "absolute")):
            at = ds.sel(ranking=ranking)
            line |= {f"{area}{end}": float(at[f"{area}{end}"]) for end in ("", "_low", "_high")}
            if f"random_{area}" in ds:
                random = at[f"random_{area}"].values
                line |= {f"random_{area}": float(random.mean()), f"random_{area}_most": float(random.max())}
        rows.append(line)
    return pd.DataFrame(rows)


def more_area(first: xr.Dataset, other: xr.Dataset, seed: int = 0) -> stats.Interval:
    """How much larger CPR is of one method's circuits than of another's, over the same held-out pairs."""
    size = first.circuit.values
    weight = np.concatenate([[0.0], np.diff(size)]) / 2 + np.concatenate([np.diff(size), [0.0]]) / 2
    own, theirs = (ds.value.sel(ranking="signed").transpose("circuit", "prompt").values for ds in (first, other))
    gap = (first.full - first["empty"]).values
    return stats.bootstrap_comparison((weight[:, None] * (own - theirs)).sum(0), gap, seed=seed)


def known(parts: Parts, seed: int = 0) -> pd.DataFrame:
    """By method: the AUROC of |effects| of the wired organism, edges of its list against all others, of three pairs,
    one of each kind: every kind sends its difference through other edges.
    """
    if "wired" not in parts:
        return pd.DataFrame()
    ds, rows = parts["wired"], []
    labels = ds.truth.values
    there = np.isfinite(labels)
    for method in ds.method.values:
        effects = ds.effect.sel({"method": method}).transpose("prompt", "edge").values
        threes = len(effects) // len(KINDS)
        each = np.abs(effects[: threes * len(KINDS)].reshape(threes, len(KINDS), -1).mean(1))[:, there]
        values = [auroc(one, labels[there] == 1) for one in each]
        whole = auroc(np.abs(ds.effect.sel({"method": method}).mean("prompt").values)[there], labels[there] == 1)
        interval = mean_interval(values, seed)
        rows.append(
            {
                "method": str(method),
                "of_means": whole,
                "auroc": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "interval_kind": interval.method,
                "n": len(values),
                "edges": int((labels == 1).sum()),
                "others": int((labels == 0).sum()),
                "values": tuple(values),
            }
        )
    return pd.DataFrame(rows)


def auroc(scores: np.ndarray, members: np.ndarray) -> float:
    """The share of pairs of a member and another in which the member has the larger score, ties half."""
    ranks, n = scipy_stats.rankdata(scores), int(members.sum())
    return float((ranks[members].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def within(ds: xr.Dataset, method: str, other: str, seed: int = 0) -> stats.Interval:
    """The mean over pairs of how much larger Spearman's correlation with the exact effects is of one method."""
    effects = [ds.effect.sel({"method": m}).transpose("prompt", "edge").values for m in (EXACT, method, other)]
    values = [scipy_stats.spearmanr(exact, a)[0] - scipy_stats.spearmanr(exact, b)[0] for exact, a, b in zip(*effects)]
    return mean_interval(values, seed)


def beside(parts: Parts) -> pd.DataFrame:
    """The circuit and what it is set beside: f, by how much less, edges in common."""
    ds = parts["controls"]
    names = ("f", "f_low", "f_high", "less", "less_low", "less_high", "jaccard", "jaccard_low", "jaccard_high")
    frame = ds[[*names, "n_edges", "n_pruned"]].to_dataframe().reset_index()
    return frame.assign(n=ds.sizes["prompt"])
