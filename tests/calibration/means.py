"""How often the interval of a mean covers it: normal, skewed, heavy-tailed and 0/1 samples of 5 to 100."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lens.stats import mean_interval

SIZES = (5, 8, 12, 30, 100)
#: name -> (draw, mean, smallest n at which there must be an interval)
CELLS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float, int]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0, 5),
    "lognormal(1)": (lambda rng, size: np.exp(rng.normal(size=size)), float(np.exp(0.5)), 12),
    "Student's t(3)": (lambda rng, size: rng.standard_t(3, size), 0.0, 12),
    **{
        f"0/1, share {p:g}": (lambda rng, size, p=p: (rng.random(size) < p).astype(float), p, 1)
        for p in (0.02, 0.1, 0.5)
    },
}
LEAST = 0.93


def coverage(
    draws: int = 4000,
    seed: int = 0,
    cells: Iterable[str] = tuple(CELLS),
    sizes: Iterable[int] = SIZES,
    interval: Callable[..., Any] | None = None,
    together: int = 200,
) -> pd.DataFrame:
    """One line a cell: `kind`, `n`, `required`, `draws`, `available` (share of samples that got an interval),
    `coverage` of those and its 99 % Clopper-Pearson ends `low`, `high`.

    `interval(x, seed)`: bounds of samples [n, draws]; by default `mean_interval` at 95 %. `together` samples share
    their resamples, so that they are many for a cell.
    """
    interval = interval or (lambda x, seed: mean_interval(x, seed=seed))
    lines = []
    for name in cells:
        draw, mean, least = CELLS[name]
        for n in sizes:
            rng = np.random.default_rng([seed, list(CELLS).index(name), n])
            given = hit = done = 0
            while done < draws:
                some = min(together, draws - done)
                found = interval(draw(rng, (n, some)), int(rng.integers(2**31)))
                low, high = np.asarray(found.low, float), np.asarray(found.high, float)
                there = np.isfinite(low) & np.isfinite(high)
                given, hit, done = (
                    given + int(there.sum()),
                    hit + int((there & (low <= mean) & (mean <= high)).sum()),
                    done + some,
                )
            ends = stats.binomtest(hit, given).proportion_ci(0.99) if given else (np.nan, np.nan)
            lines.append(
                {
                    "kind": name,
                    "n": n,
                    "required": n >= least,
                    "draws": draws,
                    "available": given / draws,
                    "coverage": hit / given if given else np.nan,
                    "low": ends[0],
                    "high": ends[1],
                }
            )
    return pd.DataFrame(lines)


def required(table: pd.DataFrame) -> pd.DataFrame:
    """The cells in which there must be an interval."""
    return table[table.required]


def figures(table: pd.DataFrame) -> dict[str, Any]:
    """`coverage_min` over the cells that must be available, `coverage_cells_available`: in how many of them every
    sample got an interval, of `coverage_cells`.
    """
    of = required(table)
    return {
        "coverage_min": round(float(of.coverage.min()), 4),
        "coverage_cells_available": int((of.available >= 0.999).sum()),
        "coverage_cells": len(of),
    }
