"""How alike a generated picture and a training picture are, by several measures.

Stable Diffusion's studies use SSCD, a learned copy detector; where the background is told by no caption its correlation
with the training picture's is a measure that needs no network, and stands for SSCD here (a substitute).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..arguments import Count, array, door
from ..extras import require
from .errors import DiffusionError
from .pictures import pixels

#: Pixels a side of the window of the structural similarity.
WINDOW = 7


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
    distance, who = search.kneighbors(x.reshape(-1, flat.shape[1]))
    distance, who = (z.reshape(len(x), -1, nearest + most) for z in (distance, who))
    means = np.empty(x.shape[:2])
    for caption, numbers in enumerate(own):
        left = ~np.isin(who[caption], numbers)
        left &= left.cumsum(1) <= nearest
        means[caption] = (distance[caption] * left).sum(1) / nearest
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
