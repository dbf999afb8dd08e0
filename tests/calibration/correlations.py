"""How often the intervals of correlations cover: Spearman's of pairs of many shapes, and that of a map of layers with
an effect over items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from lens.injection import prediction
from lens.stats import rank_correlation
from tests.calibration.others import line

Draw = Callable[[np.random.Generator, tuple[int, int]], tuple[np.ndarray, np.ndarray]]


def normal(r: float) -> Draw:
    def draw(rng, size):
        x = rng.normal(size=size)
        return x, r * x + np.sqrt(1 - r * r) * rng.normal(size=size)

    return draw


def scale(rng, size):
    """Two answers on a scale of five points."""
    return tuple(np.digitize(v, [-1.5, -0.5, 0.5, 1.5]).astype(float) for v in normal(0.6)(rng, size))


def dependent(rng, size):
    """Uncorrelated, and yet large together."""
    x = rng.normal(size=size)
    return x, x * rng.normal(size=size)


def growing(rng, size):
    """The larger x, the wider y."""
    x = rng.exponential(size=size)
    return x, x + x**2 * rng.normal(size=size)


def wild(rng, size):
    """A strong relation, and 15 % that have none and lie far out."""
    x, y = normal(0.95)(rng, size)
    return x, np.where(rng.random(size) < 0.15, 3 * rng.normal(size=size), y)


PAIRS: dict[str, Draw] = {
    "normal, 0": normal(0),
    "normal, .5": normal(0.5),
    "normal, .9": normal(0.9),
    "normal, .98": normal(0.98),
    "scale of five": scale,
    "dependent": dependent,
    "growing spread": growing,
    "15 % wild": wild,
}
SIZES = (12, 30, 100)


def rank_pairs(
    draws: int = 1000, seed: int = 0, sizes: tuple[int, ...] = SIZES, interval: str = "bootstrap"
) -> list[dict[str, object]]:
    """Spearman's rho against that of 100,000 pairs (exact for normal ones). Fisher's z is for pairs that are near
    normal: nothing is wanted of it here.
    """
    wanted = 0.93 if interval == "bootstrap" else np.nan
    lines = []
    for number, (what, draw) in enumerate(PAIRS.items()):
        rng = np.random.default_rng([seed, 7, number])
        many = [v[:, 0] for v in draw(rng, (100_000, 1))]
        if what.startswith("normal"):
            truth = 6 / np.pi * np.arcsin(float(what.split(", ")[1]) / 2)
        else:
            truth = float(stats.spearmanr(*many).statistic)
        for n in sizes:
            some = max(50, draws * 30 // max(n, 30))
            x, y = draw(rng, (n, some))
            found = rank_correlation(x, y, test="t", interval=interval, seed=seed).interval
            there = np.isfinite(found.low)
            lines.append(
                line(
                    f"Spearman's rho, {interval}, {what}, n = {n}",
                    int(((found.low <= truth) & (truth <= found.high))[there].sum()),
                    int(there.sum()),
                    some,
                    wanted,
                )
            )
    return lines


#: noise -> draws of a size
NOISE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "lognormal": lambda rng, size: np.exp(rng.normal(size=size)),
    "Student's t(3)": lambda rng, size: rng.standard_t(3, size),
}
#: layers, size of what items share, noise, correlation of the map's truth with the effect's
MAPS = (
    (12, 0.5, "normal", 0.8),
    (12, 2.0, "normal", 0.8),
    (12, 0.3, "normal", 0.0),
    (6, 1.0, "normal", 0.9),
    (24, 0.5, "Student's t(3)", 0.5),
    (30, 1.0, "lognormal", 0.95),
)


def maps_of_layers(draws: int = 200, seed: int = 0, sizes: tuple[int, ...] = (8, 20, 60)) -> list[dict[str, object]]:
    """`injection.predicts` on fresh items; the truth is what it gives on average with as many. Items differ in how easy
    they are to read and to repair alike.
    """
    lines = []
    for number, (layers, signal, noise, shared) in enumerate(MAPS):
        for n in sizes:
            rng = np.random.default_rng([seed, 8, number, n])
            own = rng.normal(size=layers)
            other, slope = (
                shared * own + np.sqrt(1 - shared**2) * rng.normal(size=layers),
                1 + rng.normal(size=layers) / 2,
            )
            rows = []
            for s in range(draws):
                easy, a, b = (NOISE[noise](rng, size) for size in ((n, 1), (n, layers), (n, layers)))
                made, effect = (
                    xr.DataArray(v, dims=("item", "layer"))
                    for v in (signal * own + a + easy, signal * other + b + easy * slope)
                )
                found = prediction.predicts(made, effect, splits=10, resamples=200, permutations=99, seed=s)
                rows.append([found[k].item() for k in ("rho", "low", "high", "partial", "partial_low", "partial_high")])
            for what, (value, low, high) in (("rho", np.transpose(rows)[:3]), ("partial", np.transpose(rows)[3:])):
                there = np.isfinite(low) & np.isfinite(high)
                truth = np.nanmean(value)
                hits = int(((low <= truth) & (truth <= high))[there].sum())
                lines.append(
                    line(
                        f"{what} of a map, {layers} layers, signal {signal:g}, {noise}, {n} items",
                        hits,
                        int(there.sum()),
                        draws,
                    )
                )
    return lines


def correlations(scale: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """All of them; `scale` of the draws: a minute at 1."""
    return pd.DataFrame(
        [
            *rank_pairs(max(50, int(400 * scale)), seed),
            *rank_pairs(max(50, int(400 * scale)), seed, interval="fisher"),
            *maps_of_layers(max(20, int(100 * scale)), seed),
        ]
    )
