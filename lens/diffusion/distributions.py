"""How alike two sets of pictures are: the Frechet distance of their features, precision and recall.

In a small classifier's features the distance stands for FID, and is read beside its floor, the distance between
pictures of one source.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import xarray as xr

from ..arguments import Count, Draws, Seed, Share, Whole, door
from ..arguments import array as numbers
from ..extras import require
from ..results import dataset as results
from ..stats import Interval, bootstrap, bootstrap_comparison
from ..stats.bounds import AT_LEAST_0, clip
from .copies import rate
from .errors import DiffusionError


@door(DiffusionError)
def frechet(a: Any, b: Any) -> float:
    """Frechet distance of two sets of features, each taken as a Gaussian: |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a
    C_b)^(1/2)); with `Classifier.features` a substitute for FID.

    It is above 0 for two samples of one source, the more so the fewer there are: read it beside `frechet_floor`, and
    compare only sets of equal size.

    Raises: DiffusionError: features that do not fit, or not more pictures than features.

    Source: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium.
    """
    return _frechet(_features(a, "a"), _features(b, "b"))[0]


@door(DiffusionError)
def frechet_interval(a: Any, b: Any, *, level: Share = 0.95, resamples: Draws = 2000, seed: Seed = 0) -> Interval:
    """`frechet` with an interval over pictures, over captions where features are [caption, seed, d].

    The distance is linearised in each picture's share (its influence function) and the interval is of that: a plain
    bootstrap would move the whole interval up, as resampled sets have fewer different pictures. What finite sets add to
    the distance stays in the estimate and its interval; `frechet_floor` says how much.
    """
    x, y = _features(a, "a"), _features(b, "b")
    value, matrix, mean = _frechet(x, y)
    other = _frechet(y, x)[1]
    parts = []
    for features, z, m, sign in ((a, x, matrix, 1), (b, y, other, -1)):
        moved = z - z.mean(0)
        share = sign * 2 * moved @ mean + np.einsum("ni,ij,nj->n", moved, m, moved)
        share = (share - share.mean()).reshape(len(features), -1).mean(1)
        parts.append(share)
    shift = bootstrap_comparison(
        parts[0], -parts[1], statistic="difference", paired=False, level=level, resamples=resamples, seed=seed
    )
    method = f"{shift.method}, of the linearised distance, {len(parts[0])} and {len(parts[1])} units"
    low, high = value + shift.low, value + shift.high
    one = Interval(value, low, high, level, shift.n, method, "Frechet distance", str(shift.kind))
    return clip(one, AT_LEAST_0)


@door(DiffusionError)
def frechet_floor(
    a: Any, b: Any, *, splits: Annotated[int, Whole(2, 10**7)] = 20, level: Share = 0.95, seed: Seed = 0
) -> Interval:
    """The control of `frechet`: mean distance between random sets of these sizes drawn from both put together, in which
    no difference of source is left.

    Captions [caption, seed, d] stay whole. The interval is of the mean over the splits.
    """
    x, y = _features(a, "a"), _features(b, "b")
    if np.ndim(a) != np.ndim(b) or np.shape(a)[1:] != np.shape(b)[1:]:
        raise DiffusionError(
            f"a has shape {np.shape(a)} and b {np.shape(b)}; expected sets alike but for their length (so many seeds a"
            " caption in both)."
        )
    both = np.concatenate([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    rng = np.random.default_rng(seed)
    distances = []
    for _ in range(splits):
        order = rng.permutation(len(both))
        distances.append(
            _frechet(*(both[part].reshape(-1, x.shape[1]) for part in (order[: len(a)], order[len(a) :])))[0]
        )
    one = bootstrap(distances, level=level, seed=seed, bounds=AT_LEAST_0)
    return Interval(
        one.estimate,
        one.low,
        one.high,
        level,
        splits,
        f"{one.method} over random splits of {len(x)} and {len(y)} pictures",
        "Frechet distance by chance",
        str(one.kind),
    )


@door(DiffusionError)
def precision_recall(
    real: Any, generated: Any, *, nearest: Count = 3, level: Share = 0.95, seed: Seed = 0
) -> xr.Dataset:
    """Precision: the share of generated pictures that lie among the real ones, within the distance of any of them to
    its `nearest`-th neighbour; recall: the other way round.

    Returns: over `measure` ("precision", "recall"): `value`, `low`, `high` (over pictures or captions with the
        neighbourhoods as given, see `rate`), `n`. Both depend on the numbers of pictures: the same on two sets of real
        pictures is what to compare with.

    Raises: DiffusionError: features that do not fit, or too few.

    Source: Kynkaanniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative Models (nearest =
        3).
    """
    require("diffusion", "lens.diffusion.precision_recall")
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    x, y = _features(real, "real", few=True), _features(generated, "generated", few=True)
    if x.shape[1] != y.shape[1] or nearest >= min(len(x), len(y)):
        raise DiffusionError(
            f"real has shape {x.shape}, generated {y.shape}, nearest={nearest!r}; expected equal numbers of features"
            " and more pictures than neighbours in both."
        )
    lines = []
    for manifold, points, features in ((x, y, generated), (y, x, real)):
        radius = (
            NearestNeighbors(n_neighbors=nearest, algorithm="brute").fit(manifold).kneighbors()[0][:, -1]
        )  # without itself
        inside = np.concatenate(
            [
                (pairwise_distances(points[at : at + 512], manifold) <= radius).any(1)
                for at in range(0, len(points), 512)
            ]
        )
        one = rate(inside.reshape(len(features), -1), level=level, seed=seed)
        lines.append((one.estimate, one.low, one.high, one.n))
    ds = xr.Dataset(
        {name: ("measure", np.array(value)) for name, value in zip(("value", "low", "high", "n"), zip(*lines))},
        {"measure": ["precision", "recall"]},
    )
    return results.stamp(
        ds,
        {
            "kind": "precision and recall",
            "seed": seed,
            "call": {"nearest": nearest, "level": level, "real": len(x), "generated": len(y)},
        },
    )


def _frechet(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The distance; its derivative by the covariance of x, I - C^(-1/2) (C^(1/2) D C^(1/2))^(1/2) C^(-1/2); the
    difference of the means.
    """
    from scipy.linalg import eigh

    if x.shape[1] != y.shape[1]:
        raise DiffusionError(f"a has {x.shape[1]} features and b {y.shape[1]}; take both from one classifier.")
    mean, (c, d) = x.mean(0) - y.mean(0), (np.cov(z, rowvar=False).reshape(z.shape[1], -1) for z in (x, y))
    values, vectors = eigh(c)
    roots = np.sqrt(values.clip(0))
    inverse = np.where(roots > 1e-7 * roots.max(initial=1e-300), 1 / np.maximum(roots, 1e-300), 0)
    root, back = ((vectors * power) @ vectors.T for power in (roots, inverse))
    # symmetric, so that its root is real: the same eigenvalues as C D
    values, vectors = eigh(root @ d @ root)
    roots = np.sqrt(values.clip(0))
    value = float(mean @ mean + np.trace(c) + np.trace(d) - 2 * roots.sum())
    return max(0.0, value), np.eye(len(c)) - back @ ((vectors * roots) @ vectors.T) @ back, mean


def _features(features: Any, argument: str, few: bool = False) -> np.ndarray:
    values = numbers(
        features,
        argument,
        "finite features [n, d] or [caption, seed, d], from `Classifier.features`",
        DiffusionError,
        dtype=np.float64,
    )
    if values.ndim not in (2, 3) or not values.size or not np.isfinite(values).all():
        raise DiffusionError(
            f"{argument} has shape {values.shape}; expected finite features [n, d] or [caption, seed, d], from"
            " `Classifier.features`."
        )
    flat = values.reshape(-1, values.shape[-1])
    if not few and len(flat) <= flat.shape[1]:
        raise DiffusionError(
            f"{argument} has {len(flat)} pictures of {flat.shape[1]} features; their covariance needs more pictures"
            " than features. Generate more."
        )
    return flat
