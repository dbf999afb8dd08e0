"""Sizes of tests under true nulls: how often p <= alpha, with intervals for one cell and for all cells together, and a
verdict in words.

A p-value is valid if it is at most alpha with probability at most alpha. What is asked of a test that calls itself
guaranteed: at no level may the interval of its size lie above the nominal level. An exact test has the nominal level
inside its interval; a bound may lie below it and is then called conservative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special, stats

from ...results import dataset as results
from ...results.record import _versions
from ...stats import proportion
from ...stats.planning import calibration

NOMINAL = (0.05, 0.01, 0.001)  # from large to small
LEVEL = 0.99
PROBABILITIES = np.unique(np.r_[np.geomspace(2e-5, 1, 90), np.linspace(0.05, 1, 20)])
GUARANTEED, APPROXIMATE, PUBLISHED, TRAP = "guaranteed", "approximate", "published", "wrong use"
INSIDE, CONSERVATIVE, TOO_SMALL = "inside", "conservative", "TOO SMALL"
COLUMNS = [
    "p-value",
    "kind",
    "level",
    "condition",
    "n",
    "size .05",
    "size .01",
    "size .001",
    "verdict",
    "verdict, all cells",
]


@dataclass(frozen=True, eq=False)
class Checked:
    """p-values of one test under one null.

    `kind`: what the test says of itself (guaranteed, approximate), or how it was published or misused. `level`: 1
    redrawn positions, 2 trained models, 3 retrained legs. `clusters`: for p-values that are not independent, the
    numbers of the units that they share, one array for each way of sharing.
    """

    name: str
    kind: str
    level: int
    condition: str
    p: np.ndarray
    clusters: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, name: str, kind: str, level: int, condition: str, ps: Iterable[Any]) -> Checked:
        """Of independent p-values one by one."""
        return cls(name, kind, level, condition, np.array([float(p) for p in ps]))


def summarise(cells: Iterable[Checked], call: dict, seed: int, resamples: int = 2000) -> xr.Dataset:
    """What is kept of the p-values: counts at the nominal levels, effective numbers, quantiles for a QQ plot,
    Kolmogorov-Smirnov tests (independent p-values only).

    Dimensions: `cell`, `nominal`, `probability`. `effective` [cell, nominal]: n, or for clustered p-values rate (1 -
    rate) / bootstrap variance (Korn & Graubard 1998), at most n; with no rejection at all, the number of clusters.
    """
    cells = list(cells)
    hits, effective = np.zeros((2, len(cells), len(NOMINAL)))
    quantile, ks = np.full((len(cells), len(PROBABILITIES)), np.nan), np.full((len(cells), 2), np.nan)
    sizes = np.zeros(len(cells), np.int64)
    for row, cell in enumerate(cells):
        p = np.asarray(cell.p, float)
        keep = ~np.isnan(p)
        p, clusters = p[keep], [np.asarray(units)[keep] for units in cell.clusters]
        reached = p[:, None] <= np.asarray(NOMINAL) * (1 + 1e-12)
        sizes[row], hits[row] = len(p), reached.sum(0)
        effective[row] = _effective(reached, clusters, resamples, seed) if clusters else len(p)
        shown = PROBABILITIES >= 0.5 / len(p)
        quantile[row, shown] = np.quantile(p, PROBABILITIES[shown], method="inverted_cdf")
        if not clusters and len(p) >= 20:
            tests = calibration(p, level=LEVEL)
            ks[row] = float(tests.too_small), float(tests.uniform)
    coords = {
        "nominal": list(NOMINAL),
        "probability": PROBABILITIES,
        "name": ("cell", [c.name for c in cells]),
        "kind": ("cell", [c.kind for c in cells]),
        "level": ("cell", [c.level for c in cells]),
        "condition": ("cell", [c.condition for c in cells]),
    }
    ds = xr.Dataset(
        {
            "hits": (("cell", "nominal"), hits.astype(np.int64)),
            "effective": (("cell", "nominal"), effective),
            "n": ("cell", sizes),
            "quantile": (("cell", "probability"), quantile.astype(np.float32)),
            "ks": (("cell", "side"), ks),
        },
        coords=coords | {"side": ["too small", "uniform"]},
    )
    return stamped(ds, "calibration", call, seed)


def stamped(ds: xr.Dataset, kind: str, call: dict, seed: int) -> xr.Dataset:
    """A Dataset with its record; no one model stands behind it."""
    return results.stamp(
        ds,
        {
            "kind": kind,
            "status": "complete",
            "seed": seed,
            "call": call,
            "model": {"name": "micro-models", "hash": ""},
            "versions": dict(_versions()),
        },
    )


def _effective(reached: np.ndarray, clusters: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """Effective number of independent p-values behind each rate: rate (1 - rate) over its variance, which is the sum of
    the bootstrap variances over each kind of unit less what is counted twice (Cameron, Gelbach & Miller 2011), and not
    below any one of them.
    """
    rate, n = reached.mean(0), len(reached)
    several = np.stack([_bootstrap_variance(reached, units, resamples, seed) for units in clusters])
    variance = np.maximum(several.sum(0) - (len(clusters) - 1) * rate * (1 - rate) / n, several.max(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            variance > 0, np.clip(rate * (1 - rate) / variance, 1, n), min(len(np.unique(units)) for units in clusters)
        )


def _bootstrap_variance(reached: np.ndarray, clusters: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Variance of each rate when whole units are drawn with replacement."""
    units, index = np.unique(clusters, return_inverse=True)
    wins = np.stack([np.bincount(index, column, len(units)) for column in reached.T.astype(float)], 1)
    count = np.bincount(index, minlength=len(units)).astype(float)
    drawn = np.random.default_rng([seed, 0xB0]).multinomial(
        len(units), np.full(len(units), 1 / len(units)), size=resamples
    )
    return ((drawn @ wins) / (drawn @ count)[:, None]).var(0)


# -- the table ---------------------------------------------------------------------------------------------------------


def sizes(summaries: Sequence[xr.Dataset], level: float = LEVEL) -> pd.DataFrame:
    """One line a cell and nominal level of all summaries: size, its Clopper-Pearson and Wilson intervals at `level`,
    the interval that holds for all lines together (Bonferroni), verdicts from both.
    """
    rows = []
    lines = sum(ds.hits.size for ds in summaries)
    for at in (ds.isel(cell=cell) for ds in summaries for cell in range(ds.sizes["cell"])):
        n = int(at.n)
        # a bootstrap over units sees too little of what few units do rarely: no level is worth more tests than a higher
        # one
        worth = np.minimum.accumulate(at.effective.values.astype(float))
        for nominal, hits, effective in zip(map(float, at.nominal), at.hits.values, worth):
            rate = float(hits) / n
            low, high = _bounds(rate, effective, level)
            all_low, all_high = _bounds(rate, effective, 1 - (1 - level) / lines)
            wilson = proportion(round(rate * effective), round(effective), level, method="wilson")
            rows.append(
                {
                    "p-value": str(at["name"].item()),
                    "kind": str(at.kind.item()),
                    "level": int(at.level),
                    "condition": str(at.condition.item()),
                    "n": n,
                    "effective n": effective,
                    "nominal": nominal,
                    "size": rate,
                    "low": low,
                    "high": high,
                    "wilson low": float(wilson.low),
                    "wilson high": float(wilson.high),
                    "low, all cells": all_low,
                    "high, all cells": all_high,
                    "verdict": word(nominal, low, high),
                    "verdict, all cells": word(nominal, all_low, all_high),
                    "ks too small": float(at.ks[0]),
                    "ks uniform": float(at.ks[1]),
                }
            )
    return pd.DataFrame(rows)


def word(nominal: float, low: float, high: float) -> str:
    """Where a nominal level stands against the interval of a size."""
    return TOO_SMALL if low > nominal else CONSERVATIVE if high < nominal else INSIDE


def worst(words: Iterable[str]) -> str:
    """One verdict over several levels."""
    words = set(words)
    return next(w for w in (TOO_SMALL, CONSERVATIVE, INSIDE) if w in words)


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """One line a cell: its sizes as `estimate [low, high]` at each nominal level, and its verdicts for this cell alone
    and among all.
    """
    rows = []
    for (name, kind, level, condition), part in long.groupby(["p-value", "kind", "level", "condition"], sort=False):
        shown = [f"{_short(s)} [{_short(a)}, {_short(b)}]" for s, a, b in zip(part["size"], part["low"], part["high"])]
        rows.append(
            [
                name,
                kind,
                level,
                condition,
                int(part["n"].iloc[0]),
                *shown,
                worst(part["verdict"]),
                worst(part["verdict, all cells"]),
            ]
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def criterion(long: pd.DataFrame) -> dict[str, object]:
    """Whether any test that calls itself guaranteed was seen to be too small, in one cell at a time and over all cells
    together.
    """
    mine = long[long.kind == GUARANTEED]
    alone, together = (mine[mine[column] == TOO_SMALL] for column in ("verdict", "verdict, all cells"))

    def named(part):
        return [f"{r['p-value']} | {r['condition']} | {r['nominal']:g}: {r['size']:.4g}" for _, r in part.iterrows()]

    return {
        "lines": len(mine),
        "cells": int(mine.groupby(["p-value", "level", "condition"]).ngroups),
        "too_small_alone": named(alone),
        "expected_alone_by_chance": (1 - LEVEL) / 2 * len(mine),
        "too_small_among_all": named(together),
        "conservative": int((mine["verdict"] == CONSERVATIVE).sum()),
        "inside": int((mine["verdict"] == INSIDE).sum()),
        "holds": bool(together.empty),
    }


def _bounds(rate: float, effective: float, level: float) -> tuple[float, float]:
    """Clopper-Pearson bounds of a rate behind which stand `effective` independent trials, a whole number or not."""
    tail, hits = (1 - level) / 2, rate * effective
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, effective - hits + 1, tail))
    high = 1.0 if hits >= effective else float(special.betaincinv(hits + 1, effective - hits, 1 - tail))
    return low, high


def rate_of(p: np.ndarray, alpha: float, level: float = LEVEL) -> tuple[float, float, float, int]:
    """Share of p-values at most `alpha` with its Clopper-Pearson interval, and how many there were."""
    p = np.asarray(p, float)
    found = proportion(int((p <= alpha).sum()), len(p), level)
    return float(found.estimate), float(found.low), float(found.high), len(p)


def one_sided_t(rho: np.ndarray, n: int) -> np.ndarray:
    """Student's approximation for "less" of correlations over n rows."""
    return stats.t.cdf(rho * np.sqrt((n - 2) / np.maximum(1 - rho**2, 1e-300)), n - 2)


def two_sided_t(rho: np.ndarray, n: int) -> np.ndarray:
    """Student's approximation, two-sided: how the p-values of the paper were computed."""
    return 2 * stats.t.sf(np.abs(rho) * np.sqrt((n - 2) / np.maximum(1 - rho**2, 1e-300)), n - 2)


def _short(value: float) -> str:
    return f"{value:.4f}" if value < 0.02 else f"{value:.3f}"
