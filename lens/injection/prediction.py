"""Whether a map of the model tells where injection works: rank correlations between halves of the items."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from scipy import special
from scipy import stats as scipy_stats

from .. import stats
from ..arguments import Draws, Seed, Share, Whole, door
from ..results import dataset as results
from ..stats.means import NONE
from .items import InjectionError

KIND = "Student's t and bootstrap over items, on Fisher's z scale"
CELLS = "layers and heads are exchangeable, which neighbours are not where they are alike (see p_shift)"


@door(InjectionError)
def predicts(
    maps: xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray],
    effect: xr.DataArray,
    *,
    over_heads: Literal["mean", "max"] = "mean",
    splits: Draws = 50,
    resamples: Annotated[int, Whole(100, 10**7)] = 2000,
    permutations: Annotated[int, Whole(99, 10**7)] = 10_000,
    level: Share = 0.95,
    seed: Seed = 0,
) -> xr.Dataset:
    """Whether a map of the model tells where injection works: the rank correlation, over layers (and heads), of the
    map's mean on one half of the items with the injection effect's mean on the other half.

    The halves share no item, so that items which are easy both to read and to repair cannot carry it. ``rho`` is the
    mean of Spearman's correlation over ``splits`` random halvings. Its interval resamples items inside each half
    (bootstrap standard error on Fisher's z scale, see below): it speaks of as many other items, not of other layers.
    ``p`` permutes the cells: it takes neighbouring layers as independent, and is too small where they are alike;
    ``p_shift`` turns the layers in a circle instead, which keeps their likeness (its smallest value is 1 / n_layers).
    ``partial`` takes the depth out of both: a map that merely grows with depth has none.

    Args:
        maps: a DataArray over (item, layer) or (item, layer, head), or several by name (a Dataset: all its variables of
            such axes).
        effect: the injection effect over (item, layer[, head]), e.g. the log-ratio in nats at one strength. Items are
            matched by ``label`` where both have it.
        over_heads: for maps with heads and an effect without: "mean" or "max" over heads, taken after the mean over
            items.

    Measured at 95 % (`python -m tests.calibration --correlations --draws 8000`; 6 to 30 layers, normal, lognormal and t
    (3) noise, 8 to 80 items): the intervals of rho and partial cover at least .93, of eight items .99 and more, since
    Student's quantile of half as many items stands there. Normal quantiles covered .79 to .92.

    Returns: over ``map``: ``rho``, ``low``, ``high``, ``interval_kind``, ``p``, ``p_kind``, ``p_holm`` (over maps),
        ``p_shift``, ``partial``, ``partial_low``, ``partial_high``, ``depth`` (rho of the layer's number with the
        effect), ``reliability`` (rho of the effect on one half with itself on the other; a map without noise could
        reach about its square root), ``n_items``, ``n_cells``, ``n_layers``.

    Raises: InjectionError: axes that do not fit, fewer than 8 items or 4 cells, a map that is constant.

    Source: Spearman 1904; Fisher 1921 (z); Efron and Tibshirani 1993, chapter 6; Phipson and Smyth 2010.
    """
    if isinstance(maps, xr.DataArray):
        by_name = {str(maps.name or "map"): maps}
    else:
        by_name = {str(name): values for name, values in maps.items()}
    if isinstance(maps, xr.Dataset):
        by_name = {n: m for n, m in by_name.items() if set(m.dims) in ({"item", "layer"}, {"item", "layer", "head"})}
    if not by_name:
        raise InjectionError(
            f"maps is a {type(maps).__name__} without a map; expected DataArrays over (item, layer) or (item, layer,"
            " head)."
        )
    rows = [
        _predicted(*_matched(name, m, effect), name, over_heads, splits, resamples, permutations, level, seed)
        for name, m in by_name.items()
    ]
    ds = xr.Dataset({n: ("map", np.array([r[n] for r in rows])) for n in rows[0]}, {"map": list(by_name)})
    ds["p_holm"] = ("map", np.atleast_1d(stats.holm(ds.p.values)))
    ds["interval_kind"] = (
        "map",
        np.where(np.isfinite(ds.low.values), KIND, f"{NONE}: too few resamples have a correlation"),
    )
    ds["p_kind"] = ("map", [f"monte carlo if {CELLS}"] * len(by_name))
    call = dict(over_heads=over_heads, splits=splits, resamples=resamples, permutations=permutations, level=level)
    return results.stamp(ds, {"kind": "prediction", "call": call, "seed": seed})


def _matched(name: str, reading: Any, effect: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map ``[item, layer, head]``, the effect ``[item, layer, head or 1]`` on the same items and layers, and the
    layers; incomplete layers and items are left out.
    """
    for argument, x in ((f"maps[{name!r}]", reading), ("effect", effect)):
        if set(x.dims) not in ({"item", "layer"}, {"item", "layer", "head"}) or x.dtype.kind not in "fiub":
            raise InjectionError(
                f"{argument} has axes {x.dims} and values of {x.dtype}; expected a DataArray of numbers over "
                "(item, layer) or (item, layer, head): select one strength and condition."
            )
    if "head" in effect.dims and "head" not in reading.dims:
        raise InjectionError(
            f"maps[{name!r}] has no head axis but effect has; take effect.mean('head'), or a map by head."
        )
    if "label" in reading.coords and "label" in effect.coords:
        at = {label: i for i, label in enumerate(effect.label.values)}
        mine = [i for i, label in enumerate(reading.label.values) if label in at]
        if len(at) != effect.sizes["item"] or len(set(reading.label.values)) != reading.sizes["item"]:
            raise InjectionError(
                f"maps[{name!r}] and effect: labels of items repeat, so they cannot be matched; give each item its own"
                " label."
            )
        reading, effect = reading.isel(item=mine), effect.isel(item=[at[reading.label.values[i]] for i in mine])
    elif reading.sizes["item"] != effect.sizes["item"]:
        raise InjectionError(
            f"maps[{name!r}] has {reading.sizes['item']} items and effect {effect.sizes['item']}; give both of the same"
            " items, in one order."
        )
    layers = (
        np.intersect1d(reading.layer.values, effect.layer.values)
        if "layer" in reading.coords and "layer" in effect.coords
        else None
    )
    if layers is None and reading.sizes["layer"] != effect.sizes["layer"]:
        raise InjectionError(
            f"maps[{name!r}] has {reading.sizes['layer']} layers and effect {effect.sizes['layer']}, without layer"
            " coordinates; name the layers of both."
        )
    if layers is not None:
        reading, effect = reading.sel(layer=layers), effect.sel(layer=layers)
    if "head" in effect.dims and reading.sizes["head"] != effect.sizes["head"]:
        raise InjectionError(
            f"maps[{name!r}] has {reading.sizes['head']} heads and effect {effect.sizes['head']}; give both of the same"
            " heads."
        )
    a, b = (
        np.asarray((x if "head" in x.dims else x.expand_dims("head")).transpose("item", "layer", "head").values, float)
        for x in (reading, effect)
    )
    complete = np.isfinite(a).any((0, 2)) & np.isfinite(b).any((0, 2))
    whole = np.isfinite(a[:, complete]).all((1, 2)) & np.isfinite(b[:, complete]).all((1, 2))
    if whole.sum() < 8 or complete.sum() * b.shape[2] < 4:
        raise InjectionError(
            f"maps[{name!r}] and effect share {int(whole.sum())} complete items and {int(complete.sum() * b.shape[2])}"
            " cells; a split-half correlation needs at least 8 items and 4 cells."
        )
    numbers = np.arange(len(complete)) if layers is None else layers
    return a[np.ix_(whole, complete)], b[np.ix_(whole, complete)], numbers[complete]


def _predicted(
    reading: np.ndarray,
    effect: np.ndarray,
    layers: np.ndarray,
    name: str,
    over_heads: str,
    splits: int,
    resamples: int,
    permutations: int,
    level: float,
    seed: int,
) -> dict[str, float]:
    n, n_layers, n_heads = effect.shape
    rng = np.random.default_rng(seed)
    reduce = (lambda x: x.max(-1, keepdims=True)) if over_heads == "max" else (lambda x: x.mean(-1, keepdims=True))

    def mean(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Ranks ``[rows, cells]``, centred and of length one, of the mean under the weights ``[rows, item]``."""
        cells = (weight @ x.reshape(n, -1) / weight.sum(1, keepdims=True)).reshape(-1, n_layers, x.shape[2])
        return _unit_ranks((cells if x.shape[2] == n_heads else reduce(cells)).reshape(len(cells), -1))

    depth = _unit_ranks(np.repeat(layers.astype(float), n_heads)[None])
    chosen = np.zeros((splits, n), bool)
    for s in range(splits):
        chosen[s, stats.halves(n, seed=seed + s).select] = True
    first, second = mean(reading, chosen * 1.0), mean(effect, ~chosen * 1.0)
    if not np.isfinite(first).all() or not np.isfinite(second).all():
        raise InjectionError(
            f"maps[{name!r}] or effect is the same in every cell; a rank correlation needs values that differ. Check"
            " that the right variable was given."
        )

    def along(a, b):
        return np.clip((a * b).sum(-1), -1, 1)

    def part(r: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The correlation r without what both share with the depth; NaN where the depth is all there is to one of
        them.
        """
        left = (1 - a**2) * (1 - b**2)
        return np.where(left > 1e-8, (r - a * b) / np.sqrt(np.maximum(left, 1e-8)), np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        rho, deep = along(first, second), along(depth, second)
        partial = part(rho, along(first, depth), deep)
        # the same bootstrap sample serves every split; its items stay on the side where the split has them
        resampled, counted = np.zeros((resamples, 2)), np.zeros((resamples, 2))
        weight = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
        for side in chosen:
            a, b = mean(reading, weight * side), mean(effect, weight * ~side)
            r = along(a, b)
            of_split = np.stack([r, part(r, along(a, depth), along(b, depth))], -1)
            resampled, counted = resampled + np.nan_to_num(of_split), counted + np.isfinite(of_split)
        # a resample without an item on one side of a split has no correlation there
        resampled = resampled / counted
        mean_partial = float(partial[np.isfinite(partial)].mean()) if np.isfinite(partial).any() else math.nan
    both = first.T @ second / splits
    order = np.stack([rng.permutation(both.shape[1]) for _ in range(permutations)])
    turned = (np.arange(n_layers)[:, None] + np.arange(n_layers)) % n_layers
    turned = (turned[..., None] * n_heads + np.arange(n_heads)).reshape(n_layers, -1)

    def reach(orders):
        return np.abs(both[np.arange(len(both)), orders].sum(-1)) >= abs(rho.mean()) - 1e-10

    limits = [_interval(d, e, level, both.shape[0], n) for d, e in zip(resampled.T, (rho.mean(), mean_partial))]
    return {
        "rho": rho.mean(),
        "low": limits[0][0],
        "high": limits[0][1],
        "p": (1 + reach(order).sum()) / (1 + permutations),
        "p_shift": reach(turned).mean(),
        "partial": mean_partial,
        "partial_low": limits[1][0],
        "partial_high": limits[1][1],
        "depth": deep.mean(),
        "reliability": along(mean(effect, chosen * 1.0), second).mean(),
        "n_items": n,
        "n_cells": n_layers * n_heads,
        "n_layers": n_layers,
    }


def _unit_ranks(x: np.ndarray) -> np.ndarray:
    """Average ranks along the last axis, centred and of length one; NaN where all are equal."""
    ranks = scipy_stats.rankdata(x, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return ranks / np.linalg.norm(ranks, axis=-1, keepdims=True)


def _interval(resampled: np.ndarray, estimate: float, level: float, n_cells: int, n_items: int) -> tuple[float, float]:
    """Estimate +- Student's quantile x bootstrap standard error, on Fisher's z scale. Percentiles would not do: the
    means of resampled halves are noisier, which pulls their correlation to 0.

    The standard error is widened for two reasons: a half of h items, resampled, varies by (h - 1) / h of what new items
    do; and where both means are mostly noise a resample's correlation has three of four parts of the variance of a new
    sample's (the data's own noise is in every resample). By simulation 3 / 2 serves better than 4 / 3, under heavy
    tails too.
    """
    if not np.isfinite(resampled).sum() > 0.5 * len(resampled) or not np.isfinite(estimate):
        return math.nan, math.nan
    # half a step of the ranks short of 1, where z would be infinite
    limit = 1 - 6 / (n_cells * (n_cells**2 - 1))

    def z(r):
        return np.arctanh(np.clip(r, -limit, limit))

    h = n_items // 2
    half = (
        special.stdtrit(h - 1, (1 + level) / 2)
        * math.sqrt(h / (h - 1) * 3 / 2)
        * z(resampled[np.isfinite(resampled)]).std(ddof=1)
    )
    return float(min(np.tanh(z(estimate) - half), estimate)), float(max(np.tanh(z(estimate) + half), estimate))
