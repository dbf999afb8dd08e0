"""How often the other intervals cover, and how often tests of nested units are wrong: differences, ratios,
true-positive rates, rates and shares over training runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd
from scipy import stats

from lens.stats import auc, bootstrap, bootstrap_comparison, holm
from lens.stats.units import nested, rate_over_runs


def line(what: str, hits: int, given: int, draws: int, wanted: float = 0.93) -> dict[str, object]:
    low, high = stats.binomtest(hits, given).proportion_ci(0.99) if given else (np.nan, np.nan)
    return {
        "what": what,
        "wanted": wanted,
        "draws": draws,
        "available": given / draws,
        "rate": hits / given if given else np.nan,
        "low": low,
        "high": high,
    }


def comparisons(draws: int = 4000, seed: int = 0) -> list[dict[str, object]]:
    """Differences and ratios of two means, paired and not."""
    rng, lines = np.random.default_rng([seed, 1]), []

    def skewed(size):
        return np.exp(rng.normal(size=size))

    for n in (5, 12, 30):
        for what, draw in (("normal", lambda size: rng.normal(size=size)), ("lognormal", skewed)):
            for paired in (True, False):
                found = bootstrap_comparison(
                    draw((n, draws)), draw((n, draws)), statistic="difference", paired=paired, seed=seed
                )
                there = np.isfinite(found.low)
                lines.append(
                    line(
                        f"difference, {what}, n = {n}, {'paired' if paired else 'unpaired'}",
                        int(((found.low <= 0) & (found.high >= 0))[there].sum()),
                        int(there.sum()),
                        draws,
                    )
                )
        x = skewed((n, draws))
        found = bootstrap_comparison(x, x / 2 + skewed((n, draws)), seed=seed)
        there = np.isfinite(found.low)
        lines.append(
            line(
                f"ratio, lognormal, n = {n}, paired",
                int(((found.low <= 2 / 3) & (found.high >= 2 / 3))[there].sum()),
                int(there.sum()),
                draws,
            )
        )
        a, b = (rng.random((n, draws)) < 0.2) * 1.0, (rng.random((n, draws)) < 0.05) * 1.0
        found = bootstrap_comparison(a, b, statistic="difference", seed=seed)
        lines.append(
            line(
                f"difference of shares .2 and .05, n = {n}",
                int(((found.low <= 0.15) & (found.high >= 0.15)).sum()),
                draws,
                draws,
            )
        )
    return lines


def curves(draws: int = 500, seed: int = 0) -> list[dict[str, object]]:
    """A function of the units that is no mean: the ratio of two sums, as curves and savings read."""
    rng, lines = np.random.default_rng([seed, 2]), []
    for n in (12, 30):
        hits = given = 0
        for s in range(draws):
            x = np.exp(rng.normal(size=(n, 2)))
            x[:, 1] += x[:, 0]
            found = bootstrap(
                np.arange(n),
                statistic=lambda i, axis, x=x: x[i.astype(int), 0].sum(axis) / x[i.astype(int), 1].sum(axis),
                seed=s,
                resamples=400,
            )
            given += bool(np.isfinite(found.low))
            hits += bool(found.low <= 0.5 <= found.high)
        lines.append(line(f"a function of n = {n} units (ratio of sums, lognormal)", hits, given, draws))
    return lines


def true_positives(draws: int = 1000, seed: int = 0) -> list[dict[str, object]]:
    """The true-positive rate at 1 % false positives of two normals one apart."""
    rng, lines, truth = np.random.default_rng([seed, 3]), [], float(stats.norm.sf(stats.norm.isf(0.01) - 1))
    for n in (100, 1000):
        hits = 0
        for s in range(draws):
            found = auc(
                np.r_[rng.normal(1, 1, n), rng.normal(0, 1, n)], np.r_[np.ones(n), np.zeros(n)], resamples=99, seed=s
            ).tpr_at[0.01]
            hits += found.low <= truth <= found.high
        lines.append(line(f"true positives at 1 % false positives, {n} + {n}", hits, draws, draws))
    return lines


def shares_over_runs(draws: int = 1000, seed: int = 0) -> list[dict[str, object]]:
    """A share over three training runs of 8 to 32 captions each, runs alike or not."""
    rng, lines = np.random.default_rng([seed, 4]), []
    for n, mean, spread in (
        (32, 0.02, 0),
        (32, 0.9, 0),
        (8, 0.1, 0),
        (16, 0.98, 0),
        (32, 0.7, 0.1),
        (32, 0.7, 0.2),
        (16, 0.5, 0.15),
    ):
        hits = given = 0
        for s in range(draws):
            rates = (
                np.full(3, mean)
                if not spread
                else rng.beta(*(np.array([mean, 1 - mean]) * (mean * (1 - mean) / spread**2 - 1)), 3)
            )
            found = nested(
                (rng.random((3, n)) < rates[:, None]).astype(float), of="share", resamples=99, seed=s
            ).interval
            given += bool(np.isfinite(found.low))
            hits += bool(found.low <= mean <= found.high)
        lines.append(line(f"share {mean} over 3 runs of {n}, spread {spread}", hits, given, draws))
    return lines


def rates_over_runs(draws: int = 2000, seed: int = 0) -> list[dict[str, object]]:
    """A detection rate over three or five training runs of 200 draws each."""
    rng, lines = np.random.default_rng([seed, 6]), []
    for runs in (3, 5):
        for mean, spread in ((0.7, 0.1), (0.7, 0.2), (0.95, 0.1), (0.5, 0.3), (0.99, 0.01)):
            concentration = mean * (1 - mean) / spread**2 - 1
            rates = rng.binomial(200, rng.beta(mean * concentration, (1 - mean) * concentration, (draws, runs))) / 200
            hits = sum(found.low <= mean <= found.high for found in (rate_over_runs(r, 200) for r in rates))
            lines.append(line(f"rate {mean} over {runs} runs, spread {spread}", hits, draws, draws))
    return lines


def families(
    draws: int = 400, seed: int = 0, comparisons: int = 16, only: Collection[str] | None = None
) -> list[dict[str, object]]:
    """Family-wise error of 16 nested comparisons by Holm over three runs under the null; beside it that of Student's t
    over the runs. `only`: some of the cases.
    """
    rng = np.random.default_rng([seed, 5])

    def two_draws(n: int, spread: float = 0.0) -> np.ndarray:
        rate = rng.beta(4, 2, (3, 1))
        return (rng.random((3, n)) < np.clip(rate + spread * rng.normal(size=(3, 1)), 0, 1)) * 1.0 - (
            rng.random((3, n)) < rate
        )

    def few_change(n: int) -> np.ndarray:
        at = rng.random((3, n))
        return (at < 1 / n) * 1.0 - (at > 1 - 1 / n)

    def shares(n: int, of: int) -> np.ndarray:
        rate = rng.choice([0.08, 0.5, 0.92], size=(3, n))
        return (rng.binomial(of, rate) - rng.binomial(of, rate)) / of

    cases: dict[str, Callable[[], np.ndarray]] = {
        "two draws of 12": lambda: two_draws(12),
        "two draws of 32": lambda: two_draws(32),
        "two draws of 12, runs differ by .1": lambda: two_draws(12, 0.1),
        "two draws of 32, runs differ by .1": lambda: two_draws(32, 0.1),
        "the same 32, one changes each way": lambda: few_change(32),
        "12 of 4 pictures each": lambda: shares(12, 4),
    }
    lines = []
    for what in cases if only is None else only:
        draw, wrong, by_t = cases[what], 0, 0
        for s in range(draws):
            values = [draw() for _ in range(comparisons)]
            wrong += bool(holm([float(nested(v, resamples=4000, seed=s).p) for v in values]).min() <= 0.05)
            with np.errstate(all="ignore"):
                means = np.array([v.mean(1) for v in values])
                spread = means.std(1, ddof=1)
                t = np.where(
                    spread > 0,
                    stats.t.sf(np.abs(means.mean(1)) / (spread / np.sqrt(3)), 2) * 2,
                    np.where(means.mean(1) == 0, 1.0, 0.0),
                )
            by_t += bool(t.min() * comparisons <= 0.05)
        lines.append(line(f"family-wise error, nested, {what}", wrong, draws, draws, 0.06) | {"by_t": by_t / draws})
    return lines


def table(scale: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """All of them; `scale` of the draws."""

    def of(n):
        return max(50, int(n * scale))

    return pd.DataFrame(
        [
            *comparisons(of(4000), seed),
            *curves(of(500), seed),
            *true_positives(of(1000), seed),
            *shares_over_runs(of(1000), seed),
            *rates_over_runs(of(2000), seed),
            *families(of(400), seed),
        ]
    )
