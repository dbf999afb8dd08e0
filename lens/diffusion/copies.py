"""Is a generated picture a copy of a training picture? A table of measures, and a copy rate whose false positives are
known.

What counts as a copy is set on pairs that were never trained, of the same kind: two digits of one label correlate
untrained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool

from ..arguments import Count, Draws, Seed, Share, array, door
from ..results import dataset as results
from ..stats import Interval, bootstrap, proportion
from ..stats.bounds import SHARE
from .arguments import Seeds
from .errors import DiffusionError
from .likeness import background_correlation, diversity, nearest_identity, normalised_distance, ssim
from .pictures import pixels


@dataclass(frozen=True)
class Threshold:
    """Beyond `value` a picture counts as a copy. `rate`: false positives asked for; `bound`: those of a fresh caption
    are at most that on average; `beyond`: how many of the `n` pictures of `captions` never-trained captions lie beyond
    it themselves; `copies`: "above" or "below" it.
    """

    value: float
    rate: float
    bound: float
    beyond: int
    n: int
    captions: int
    copies: str = "above"

    @property
    def resolved(self) -> bool:
        """False where so few captions cannot show the rate that was asked for; the most extreme value was taken
        then.
        """
        return self.bound <= self.rate + 1e-12

    def of(self, values: Any) -> Bool[np.ndarray, "..."]:
        """Which values count as copies."""
        return np.asarray(values) > self.value if self.copies == "above" else np.asarray(values) < self.value

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        short = "" if self.resolved else f"; {self.captions} captions cannot show less than 1/{self.captions + 1}"
        return (
            f"{self.copies} {self.value:.3g}: {self.beyond} of {self.n} never-trained pictures of {self.captions}"
            f" captions; expected false-positive rate at most {self.bound:.2g} (asked for {self.rate:g}{short})"
        )


@door(DiffusionError)
def threshold(never: Any, rate: Share = 0.01, copies: Literal["above", "below"] = "above") -> Threshold:
    """The value of a measure that at most the share `rate` of the pictures of a fresh never-trained caption is expected
    to pass.

    Args:
        never: the measure on never-trained pairs, [caption, seed] or [caption]. copies: have values "above"
            (correlations) or "below" (distances).

    With C captions of S seeds it is the k-th most extreme value, k the largest for which (k + S - 1) / (S (C + 1)) is
    at most `rate`: a bound for captions that are exchangeable, however much a caption's seeds depend on each other.
    Where even k = 1 does not reach it (C + 1 < 1 / rate), k is 1 and the bound 1 / (C + 1).

    Raises: DiffusionError: no values, or values that are not finite; a rate outside 0 to 1.
    """
    values = array(
        never,
        "never",
        "finite values [caption, seed] or [caption] of pairs that were never trained",
        DiffusionError,
        dtype=np.float64,
    )
    if values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all():
        raise DiffusionError(
            f"never has shape {values.shape}; expected finite values [caption, seed] or [caption] of pairs that were"
            " never trained."
        )
    captions, seeds = len(values), values.size // len(values)
    k = max(1, math.floor(round(rate * seeds * (captions + 1), 9)) - seeds + 1)
    value = np.sort(values.ravel())[-k if copies == "above" else k - 1]
    beyond = int((values > value).sum() if copies == "above" else (values < value).sum())
    return Threshold(
        float(value), float(rate), (k + seeds - 1) / (seeds * (captions + 1)), beyond, values.size, captions, copies
    )


@door(DiffusionError)
def copied(
    images: Any,
    truth: Any,
    seen: Any,
    pool: Any,
    *,
    above: Threshold | float,
    own: Any = None,
    picture: Any = None,
    captions: Sequence[str] | None = None,
    seeds: Seeds | None = None,
    nearest: Count = 50,
) -> xr.Dataset:
    """All measures of copying in one table.

    Args:
        images: `Samples.images`. truth: each caption's training picture (of a never-trained caption: the picture it
            would have had). pool: the training set.
        above: a background correlation above this is a copy; `threshold` on never-trained pairs of the same kind gives
            it.
        own, picture: numbers of the captions' and the pool's pictures, equal ones being one; without them a picture is
            its caption's own if its pixels are.

    Returns: over `caption, seed`: `copied`, `background_correlation` (substitute for SSCD), `ssim`,
        `normalised_distance`, `nearest` (number of the nearest training picture) and `identity` (it is the caption's
        own); over `caption`: `diversity` (NaN with one seed). Intervals: `rate`.

    Raises: DiffusionError: pictures or numbers that do not fit one another.
    """
    x = pixels(images, ndim=(5,))
    if (own is None) != (picture is None):
        raise DiffusionError(
            "own and picture: give the numbers of both the captions' and the pool's pictures, or neither."
        )
    if own is not None:
        own = np.atleast_1d(
            array(own, "own", f"{len(x)} whole numbers, that of each caption's picture", DiffusionError, "iu")
        )
    for name, entries, n in (("captions", captions, len(x)), ("seeds", seeds, x.shape[1]), ("own", own, len(x))):
        if entries is not None and len(entries) != n:
            raise DiffusionError(
                f"{name} has {len(entries)} entries and images {x.shape[0]} captions of {x.shape[1]} seeds; expected"
                " one for each, in the same order."
            )
    if (isinstance(above, Threshold) and above.copies != "above") or not math.isfinite(float(above)):
        raise DiffusionError(
            f"above={above}: expected a finite number or a threshold of the background correlation, whose copies lie"
            " above it."
        )
    correlation = background_correlation(x, truth, seen)
    number = nearest_identity(x, pool, picture)
    if own is None:
        identity = (abs(pixels(pool, "pool", (4,))[number] - pixels(truth, "truth", (4,))[:, None]) < 1e-6).all(
            (2, 3, 4)
        )
    else:
        identity = number == own[:, None]
    both = ("caption", "seed")
    ds = xr.Dataset(
        {
            "copied": (both, correlation > float(above)),
            "background_correlation": (both, correlation),
            "ssim": (both, ssim(x, truth)),
            "normalised_distance": (both, normalised_distance(x, truth, pool, nearest)),
            "nearest": (both, number),
            "identity": (both, identity),
            "diversity": ("caption", diversity(x) if x.shape[1] > 1 else np.full(len(x), np.nan)),
        },
        {"caption": np.arange(len(x)), "seed": np.arange(x.shape[1]) if seeds is None else np.asarray(seeds)},
    )
    if captions is not None:
        ds = ds.assign_coords(text=("caption", np.array(list(captions), dtype=str)))
    criterion = f"background correlation {above if isinstance(above, Threshold) else f'above {above:g}'}"
    call = {
        "criterion": criterion,
        "above": float(above),
        "nearest": nearest,
        "pool": len(pool),
        "substitutes": {"background_correlation": "SSCD"},
    }
    return results.stamp(ds, {"kind": "copies", "call": call})


@door(DiffusionError)
def rate(copy: Any, *, level: Share = 0.95, resamples: Draws = 2000, seed: Seed = 0) -> Interval:
    """The share of pictures for which `copy` [caption, seed] (or [caption]) is True, with an interval over captions:
    the seeds of one are not independent.

    Clopper-Pearson with captions as the units where all seeds of each agree, or where every caption has the same share;
    else `lens.stats.means.mean_interval` of the captions' shares (none below 5 captions).

    Raises: DiffusionError: no truth values.
    """
    values = array(copy, "copy", "truth values [caption, seed], such as `copied(...).copied`", DiffusionError)
    if values.dtype != bool or values.ndim not in (1, 2) or not values.size:
        raise DiffusionError(
            f"copy has type {values.dtype} and shape {values.shape}; expected truth values [caption, seed], such as"
            " `copied(...).copied`."
        )
    share = values.reshape(len(values), -1).mean(1)
    n, mean = len(share), float(share.mean())
    if np.isin(share, (0.0, 1.0)).all() or share.min() == share.max():
        k = round(mean * n, 9)
        low, high = proportion(math.floor(k), n, level).low, proportion(math.ceil(k), n, level).high
        return Interval(mean, low, high, level, n, "Clopper-Pearson over captions", "rate")
    if n < 2:
        return Interval(mean, np.nan, np.nan, level, n, "not available: one caption", "rate")
    interval = bootstrap(share, level=level, resamples=resamples, seed=seed, values="number", bounds=SHARE)
    if np.isnan(interval.low):
        return Interval(mean, np.nan, np.nan, level, n, str(interval.kind), "rate")
    return Interval(mean, interval.low, interval.high, level, n, f"{interval.kind}, over captions", "rate")
