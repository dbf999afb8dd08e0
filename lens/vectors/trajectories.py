"""Prompts of several labels over the layers: the centroid that each is near, and a plane in which they are drawn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int

from ..arguments import HFModel, Seed, Share, Token, door
from ..engine.gate_fitting import FEWEST, Items, activations, read_items, require_apart
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..results.dataset import stamp
from ..results.record import record_of
from ..stats.intervals import proportion
from .errors import VectorError
from .gating import ORDINARY

#: How often the labels of `train` are dealt out at random for the control.
SHUFFLES = 20


@door(VectorError)
@of_one_model
def trajectories(
    model: HFModel,
    train: Any,
    items: Any,
    *,
    level: Share = 0.95,
    seed: Seed = 0,
    start: Token | None = "auto",
) -> xr.Dataset:
    """The centroid that the state of each item's last token is near behind every layer, and its way through one plane.

    Args:
        train: items of at least two labels, five of each, whose mean states are the centroids and fit the plane.
        items: rows with a "text" (or "messages") and, where they have one, a "label"; or bare texts. None may be in
            `train`.

    Returns: over ``layer``, ``item`` and ``label`` (of `train`, in order): ``distance`` to each centroid, in units of
        the mean distance between centroids of the layer; ``nearest``, the number of the label, and ``margin``, the
        next one's distance less the nearest's. Over ``layer``: ``own``, the share of items of these labels that are
        nearest to their own, with ``low``, ``high`` (exact, Clopper and Pearson 1934) and ``n``; ``shuffled``, the mean
        share where the labels of `train` are dealt out at random (20 times): what as many centroids tell without the
        labels. No p-value: the shuffles are a control, too few for a test. Over ``axis`` (two): ``place`` and
        ``centroid``, in units of the layer's spread, the root mean square distance of `train` from its mean; one plane
        for all layers, in which the centroids of `train` vary most. ``share`` and ``share_between``: how much of the
        layer's variance of `train`, and of its centroids, lies in the plane.

    Raises: VectorError: items that are none; a label of `train` with fewer than five; items that are in `train`; a
        layer behind which all of `train`, or all its centroids, are the same.

    Source: task centroids over layers: SafeConstellations (arXiv 2508.11290). Cost: a run of every item.
    """
    view = Model.of(model)
    sites = [Site("resid_post", layer=layer) for layer in range(view.n_layers)]
    fit, of = read_items(train, "train", VectorError), read_items(items, "items", VectorError, ORDINARY)
    labels = _labels(fit)
    require_apart(of.hashes, fit.hashes, of, "items", "train", VectorError)

    def states(what: Items, name: str) -> np.ndarray:
        per_site = activations(view, model, what, sites, start, name, VectorError, only_last=True)
        return np.stack([torch.stack([x[-1] for x in one]).double().numpy() for one in per_site])

    known, asked = states(fit, "train"), states(of, "items")
    numbers = {label: i for i, label in enumerate(labels)}
    mine = np.array([numbers[label] for label in fit.labels])
    theirs = np.array([numbers.get(label, -1) for label in of.labels])
    middle = known.mean(1, keepdims=True)
    spread = np.sqrt(((known - middle) ** 2).sum(-1).mean(-1))
    centroids = _centroids(known, mine, len(labels))
    apart = (centroids - centroids.mean(1, keepdims=True)) / np.where(spread > 0, spread, np.nan)[:, None, None]
    between = (apart**2).sum((1, 2))
    if (flat := np.flatnonzero(~(between > 0))).size:
        raise VectorError(
            f"train: its labels have one mean state at {sites[int(flat[0])]}; give prompts that end unlike."
        )
    distance = _distances(asked, centroids)
    order = np.sort(distance, -1)
    own = (distance.argmin(-1) == theirs).sum(-1)
    n = int((theirs >= 0).sum())
    draw = np.random.default_rng(seed)
    chance = [
        (_distances(asked, _centroids(known, draw.permutation(mine), len(labels))).argmin(-1) == theirs).sum(-1)
        for _ in range(SHUFFLES)
    ]
    axes = _plane(apart)
    ends = proportion(own, n, level) if n else None
    missing = np.full(view.n_layers, np.nan)

    def placed(x: np.ndarray) -> np.ndarray:
        return np.asarray(((x - middle) / spread[:, None, None]) @ axes.T)

    ds = xr.Dataset(
        {
            "distance": (("layer", "item", "label"), distance),
            "nearest": (("layer", "item"), distance.argmin(-1)),
            "margin": (("layer", "item"), order[..., 1] - order[..., 0]),
            "own": ("layer", missing if ends is None else np.asarray(ends.estimate, float)),
            "low": ("layer", missing if ends is None else np.asarray(ends.low, float)),
            "high": ("layer", missing if ends is None else np.asarray(ends.high, float)),
            "shuffled": ("layer", np.mean(chance, 0) / n if n else missing),
            "n": n,
            "interval_kind": "none: no item has a label of train" if ends is None else f"{ends.method}, exact",
            "place": (("layer", "item", "axis"), placed(asked)),
            "centroid": (("layer", "label", "axis"), placed(centroids)),
            "share": ("layer", (placed(known) ** 2).sum((1, 2)) / known.shape[1]),
            "share_between": ("layer", ((apart @ axes.T) ** 2).sum((1, 2)) / between),
        },
        {
            "layer": np.arange(view.n_layers),
            "label": labels,
            "item": np.arange(len(of)),
            "label_of_item": ("item", np.array(of.labels)),
        },
    )
    call = {"site": "resid_post", "train": dict(Counter(fit.labels)), "level": level, "shuffles": SHUFFLES}
    record = record_of(model, view, "trajectories", call, seed=seed, status="complete", state=view.state)
    return stamp(ds, record)


def _labels(train: Items) -> list[str]:
    counts = Counter(train.labels)
    if len(counts) < 2:
        raise VectorError(f"train: all items are {train.labels[0]!r}; give items of at least two labels.")
    for label, count in counts.items():
        if count < FEWEST:
            raise VectorError(
                f"train: {count} item{'s' if count > 1 else ''} of label {label!r}; a centroid needs at least {FEWEST}."
                " Give more, or leave the label out."
            )
    return sorted(counts)


def _centroids(
    states: Float[np.ndarray, "layer item width"], own: Int[np.ndarray, " item"], count: int
) -> Float[np.ndarray, "layer label width"]:
    return np.stack([states[:, own == k].mean(1) for k in range(count)], 1)


def _distances(
    states: Float[np.ndarray, "layer item width"], centroids: Float[np.ndarray, "layer label width"]
) -> Float[np.ndarray, "layer item label"]:
    """Of each item to each centroid, in units of the mean distance between centroids."""
    apart = np.stack([np.linalg.norm(states - centroid[:, None], axis=-1) for centroid in centroids.swapaxes(0, 1)], -1)
    count = centroids.shape[1]
    pairs = np.stack([np.linalg.norm(centroids - one[:, None], axis=-1) for one in centroids.swapaxes(0, 1)], -1)
    return np.asarray(apart / (pairs.sum((1, 2)) / (count * (count - 1)))[:, None, None])


def _plane(apart: Float[np.ndarray, "layer label width"]) -> Float[np.ndarray, "2 width"]:
    """The two directions in which centroids vary most, over all layers; each with its largest entry positive."""
    axes = np.linalg.svd(apart.reshape(-1, apart.shape[-1]), full_matrices=False)[2][:2]
    turned: np.ndarray = axes * np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    return turned
