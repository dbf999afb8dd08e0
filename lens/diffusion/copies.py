"""Is a generated picture a copy of a training picture? Measures by picture, and a copy rate whose false positives are
known.

Stable Diffusion's studies use SSCD, a learned copy detector; where the background is told by no caption its correlation
with the training picture's is a measure that needs no network, and stands for SSCD here (a substitute). What counts as
a copy is set on pairs that were never trained, of the same kind: two digits of one label correlate untrained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..arguments import Count, Draws, Seed, Share, array, door
from ..extras import require
from ..results import dataset as results
from ..stats import Interval, bootstrap, proportion
from ..stats.bounds import SHARE
from .arguments import Seeds
from .errors import DiffusionError

#: Pixels a side of the window of the structural similarity.
WINDOW = 7

Images = Float[Tensor, "caption seed 3 h w"] | Float[Tensor, "n 3 h w"] | Float[np.ndarray, "..."]


def pixels(
    images: Any, argument: str = "images", ndim: Sequence[int] = (4, 5), size: Sequence[int] | None = None
) -> Float[np.ndarray, "..."]:
    """Pictures [n, 3, h, w] or [caption, seed, 3, h, w] as float64.

    Raises: DiffusionError: another number of axes, channels or pixels (`size`: those expected), an empty array, numbers
        that are not finite or lie outside -1 to 1.
    """
    held = array(images, argument, "pictures: numbers [n, 3, h, w] or [caption, seed, 3, h, w]", DiffusionError)
    if held.dtype.kind not in "fiu" or held.ndim not in ndim or held.shape[-3] != 3 or not held.size:
        shapes = " or ".join({4: "[n, 3, h, w]", 5: "[caption, seed, 3, h, w]"}[k] for k in ndim)
        raise DiffusionError(
            f"{argument} has shape {held.shape} and type {held.dtype}; expected numbers {shapes}: `Samples.images`, or"
            " pictures stacked."
        )
    if size is not None and held.shape[-2:] != tuple(size):
        raise DiffusionError(
            f"{argument} has {held.shape[-1]} x {held.shape[-2]} pixels; expected {size[1]} x {size[0]}, as those it is"
            " compared with: resize it."
        )
    held = held.astype(np.float64)
    if not np.isfinite(held).all() or abs(held).max() > 1 + 1e-4:
        raise DiffusionError(
            f"{argument} has numbers that are not finite or lie outside -1 to 1; scale pixels from 0-255 by x / 127.5"
            " - 1."
        )
    return held


def _paired(images: Any, truth: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Pictures [caption, seed, 3, h, w], the training picture of each caption [caption, 3, h, w], and the shape that a
    value by picture has.
    """
    x = pixels(images)
    y = pixels(truth, "truth", (4,), x.shape[-2:])
    if len(x) != len(y):
        raise DiffusionError(
            f"images are of {len(x)} captions and truth has {len(y)} pictures; expected the training picture of each"
            " caption, in the same order."
        )
    return x.reshape(len(x), -1, *x.shape[-3:]), y, x.shape[:-3]


@door(DiffusionError)
def background_correlation(images: Any, truth: Any, seen: Any) -> Float[np.ndarray, "caption seed"]:
    """Pearson correlation of a picture's background with that of its caption's training picture, each channel's mean
    removed; stands for SSCD.

    Args:
        seen: the background pixels that count, by caption. A generated background without any spread correlates 0.

    Raises: DiffusionError: pictures that do not fit, no background pixel, a training picture whose background is one
        colour.
    """
    x, y, shape = _paired(images, truth)
    mask = array(
        seen, "seen", f"truth values {(len(y), *y.shape[2:])}, two pixels or more of each picture", DiffusionError
    )
    if mask.dtype != bool or mask.shape != (len(y), *y.shape[2:]) or not (mask.sum((1, 2)) > 1).all():
        raise DiffusionError(
            f"seen has type {mask.dtype} and shape {mask.shape}; expected truth values {(len(y), *y.shape[2:])}, two"
            " pixels or more of each picture."
        )
    mask = mask[:, None, None].astype(np.float64)
    centred = [
        (z - (z * mask).sum((3, 4), keepdims=True) / mask.sum((3, 4), keepdims=True)) * mask for z in (x, y[:, None])
    ]
    lengths = [np.sqrt((z**2).sum((2, 3, 4))) for z in centred]
    if flat := np.flatnonzero(lengths[1][:, 0] < 1e-6).tolist():
        raise DiffusionError(
            f"truth: the background of picture {flat[0]} is one colour, which nothing can correlate with; leave it out,"
            " or give a mask `seen` with structure."
        )
    along = np.einsum("csijk,ctijk->cs", *centred)
    return np.where(lengths[0] < 1e-6, 0.0, along / np.maximum(lengths[0] * lengths[1], 1e-12)).reshape(shape)


@door(DiffusionError)
def ssim(images: Any, truth: Any, window: Count = WINDOW) -> Float[np.ndarray, "caption seed"]:
    """Structural similarity to the caption's training picture (scikit-image, windows of `window` x `window` pixels,
    values two apart at most), mean over the channels.

    Raises: DiffusionError: pictures that do not fit; a window that is even or larger than they are.
    """
    require("diffusion", "lens.diffusion.ssim")
    from skimage.metrics import structural_similarity

    x, y, shape = _paired(images, truth)
    h, w = x.shape[-2:]
    if window % 2 != 1 or not 3 <= window <= min(h, w):
        raise DiffusionError(f"window={window!r}; expected an odd number from 3 to {min(h, w)}.")
    # one call for all: pictures stand on top of each other, and only windows within one of them are taken
    tall = [np.ascontiguousarray(z).reshape(-1, w) for z in (x, np.broadcast_to(y[:, None], x.shape))]
    _, each = structural_similarity(*tall, win_size=window, data_range=2.0, full=True)
    rim = window // 2
    return each.reshape(x.shape)[..., rim : h - rim, rim : w - rim].mean((2, 3, 4)).reshape(shape)


@door(DiffusionError)
def normalised_distance(images: Any, truth: Any, pool: Any, nearest: Count = 50) -> Float[np.ndarray, "caption seed"]:
    """Distance of a picture x to its caption's training picture over half its mean distance to the `nearest` pictures
    of the training set: |x - x_i| / (0.5 mean |x - y|).

    Args:
        pool: the training set, each picture once or more; those equal to the caption's own are left out.

    Raises: DiffusionError: pictures that do not fit, a pool of fewer than `nearest` other pictures.

    Source: Carlini et al. 2023, Extracting Training Data from Diffusion Models (their measure for CIFAR-10, with 50
        neighbours and a half).
    """
    require("diffusion", "lens.diffusion.normalised_distance")
    from sklearn.neighbors import NearestNeighbors

    x, y, shape = _paired(images, truth)
    other = pixels(pool, "pool", (4,), y.shape[-2:])
    flat = other.reshape(len(other), -1)
    own = [np.flatnonzero((abs(flat - picture.ravel()) < 1e-6).all(1)) for picture in y]
    most = max(len(numbers) for numbers in own)
    if nearest > len(other) - most:
        raise DiffusionError(
            f"nearest={nearest!r}; expected 1 to {len(other) - most}: pool has {len(other)} pictures, up to {most} of"
            " which are a caption's own. Give more of the training set."
        )
    search = NearestNeighbors(n_neighbors=nearest + most, algorithm="brute").fit(flat)
    found, who = search.kneighbors(x.reshape(-1, flat.shape[1]))
    found, who = (z.reshape(len(x), -1, nearest + most) for z in (found, who))
    means = np.empty(x.shape[:2])
    for caption, numbers in enumerate(own):
        left = ~np.isin(who[caption], numbers)
        left &= left.cumsum(1) <= nearest
        means[caption] = (found[caption] * left).sum(1) / nearest
    return (np.sqrt(((x - y[:, None]) ** 2).sum((2, 3, 4))) / (0.5 * means)).reshape(shape)


@door(DiffusionError)
def nearest_identity(images: Any, pool: Any, picture: Any = None) -> Int[np.ndarray, "caption seed"]:
    """The number of the nearest picture of the training set; `picture`: the numbers of the pool's pictures, equal ones
    being one (default: 0, 1, ...).

    Compare with the number of the caption's own picture for the share whose nearest picture it is. Raises:
    DiffusionError: pictures or numbers that do not fit.
    """
    require("diffusion", "lens.diffusion.nearest_identity")
    from sklearn.neighbors import NearestNeighbors

    x = pixels(images)
    flat = pixels(pool, "pool", (4,), x.shape[-2:]).reshape(-1, math.prod(x.shape[-3:]))
    numbers = (
        np.arange(len(flat))
        if picture is None
        else array(picture, "picture", f"{len(flat)} whole numbers", DiffusionError, "iu")
    )
    if numbers.shape != (len(flat),):
        raise DiffusionError(
            f"picture has shape {numbers.shape} and pool {len(flat)} pictures; expected a number for each, in the same"
            " order."
        )
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(flat)
    return numbers[search.kneighbors(x.reshape(-1, flat.shape[1]), return_distance=False)[:, 0]].reshape(x.shape[:-3])


@door(DiffusionError)
def diversity(images: Any) -> Float[np.ndarray, " caption"]:
    """Mean root-mean-square distance between the pictures of a caption's seeds; low where it gives the same picture
    whatever the seed. Raises: DiffusionError: one seed.
    """
    from scipy.spatial.distance import pdist

    x = pixels(images, ndim=(5,))
    if x.shape[1] < 2:
        raise DiffusionError(
            f"images has shape {x.shape}; diversity needs at least two seeds a caption: denoise(..., seeds=range(4))."
        )
    flat = x.reshape(*x.shape[:2], -1)
    return np.array([pdist(seeds).mean() for seeds in flat]) / math.sqrt(flat.shape[2])


# -- copy or not ------------------------------------------------------------------------------------------------------


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
    for name, given, n in (("captions", captions, len(x)), ("seeds", seeds, x.shape[1]), ("own", own, len(x))):
        if given is not None and len(given) != n:
            raise DiffusionError(
                f"{name} has {len(given)} entries and images {x.shape[0]} captions of {x.shape[1]} seeds; expected one"
                " for each, in the same order."
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
    found = bootstrap(share, level=level, resamples=resamples, seed=seed, values="number", bounds=SHARE)
    if np.isnan(found.low):
        return Interval(mean, np.nan, np.nan, level, n, str(found.kind), "rate")
    return Interval(mean, found.low, found.high, level, n, f"{found.kind}, over captions", "rate")
