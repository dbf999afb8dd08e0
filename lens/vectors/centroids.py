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
from ..results.dataset import ATTRIBUTE, BESIDE, provenance, stamp
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
        layer's variance of `train`, and of its centroids, lies in the plane. Kept for `place`, and no part of the
        table: ``centroid_state``, ``mean_state`` and ``spread`` of `train`, and ``plane``, in the model's own width.

    Raises: VectorError: items that are none; a label of `train` with fewer than five; items that are in `train`; a
        layer behind which all of `train`, or all its centroids, are the same.

    Source: task centroids over layers: SafeConstellations (arXiv 2508.11290). Cost: a run of every item.
    """
    view = Model.of(model)
    fit, of = read_items(train, "train", VectorError), read_items(items, "items", VectorError, ORDINARY)
    labels = _labels(fit)
    require_apart(of.hashes, fit.hashes, of, "items", "train", VectorError)

    known, asked = (_states(model, view, *one, start) for one in ((fit, "train"), (of, "items")))
    numbers = {label: i for i, label in enumerate(labels)}
    mine = np.array([numbers[label] for label in fit.labels])
    theirs = np.array([numbers.get(label, -1) for label in of.labels])
    middle = known.mean(1, keepdims=True)
    spread = np.sqrt(((known - middle) ** 2).sum(-1).mean(-1))
    centroids = _centroids(known, mine, len(labels))
    apart = (centroids - centroids.mean(1, keepdims=True)) / np.where(spread > 0, spread, np.nan)[:, None, None]
    between = (apart**2).sum((1, 2))
    if (flat := np.flatnonzero(~(between > 0))).size:
        site = Site("resid_post", layer=int(flat[0]))
        raise VectorError(f"train: its labels have one mean state at {site}; give prompts that end unlike.")
    distance = _distances(asked, centroids)
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
    plane = middle, spread, axes
    ds = xr.Dataset(
        {
            **_near(distance),
            "own": ("layer", missing if ends is None else np.asarray(ends.estimate, float)),
            "low": ("layer", missing if ends is None else np.asarray(ends.low, float)),
            "high": ("layer", missing if ends is None else np.asarray(ends.high, float)),
            "shuffled": ("layer", np.mean(chance, 0) / n if n else missing),
            "n": n,
            "interval_kind": "none: no item has a label of train" if ends is None else f"{ends.method}, exact",
            "place": (("layer", "item", "axis"), _drawn(asked, *plane)),
            "centroid": (("layer", "label", "axis"), _drawn(centroids, *plane)),
            "share": ("layer", (_drawn(known, *plane) ** 2).sum((1, 2)) / known.shape[1]),
            "share_between": ("layer", ((apart @ axes.T) ** 2).sum((1, 2)) / between),
            "spread": ("layer", spread),
            "centroid_state": (("layer", "label", "width"), centroids, BESIDE),
            "mean_state": (("layer", "width"), middle[:, 0], BESIDE),
            "plane": (("axis", "width"), axes, BESIDE),
        },
        {
            "layer": np.arange(view.n_layers),
            "label": labels,
            "item": np.arange(len(of)),
            "label_of_item": ("item", np.array(of.labels)),
        },
    )
    call = {
        "site": "resid_post",
        "train": dict(Counter(fit.labels)),
        "level": level,
        "shuffles": SHUFFLES,
        "start": start,
    }
    record = record_of(model, view, "trajectories", call, seed=seed, status="complete", state=view.state)
    return stamp(ds, record | {"texts": {"train": fit.hashes}})


@door(VectorError)
@of_one_model
def place(model: HFModel, paths: xr.Dataset, items: Any) -> xr.Dataset:
    """Where further items lie among the centroids, and in the plane, of trajectories that are at hand.

    Args:
        paths: what `trajectories` returned of this model, or `lens.open` read.
        items: as of `trajectories`; none may be in the `train` of `paths`.

    Returns: of the items ``distance``, ``nearest``, ``margin`` and ``place``, as `trajectories` has them.

    Raises: VectorError: a result that is none, is of another model or keeps no centroids; items that are in `train`.

    Cost: a run of every item of `items`, none of `train`.
    """
    view = Model.of(model)
    known = provenance(paths) if ATTRIBUTE in paths.attrs else {}
    if known.get("kind") != "trajectories":
        raise VectorError(
            f"paths is of kind {known.get('kind')!r}; expected a result of lens.vectors.trajectories, with its record."
        )
    call = known.get("call", {})
    gone = [name for name, dims in _KEPT.items() if name not in paths or {*paths[name].dims} != {*dims}]
    if gone:
        raise VectorError(
            f"paths has no {', '.join(gone)}: it is a selection, or of a version that kept none; run trajectories anew."
        )
    labels = [str(label) for label in paths["label"].values]
    if paths["layer"].values.tolist() != [*range(view.n_layers)] or labels != sorted(call.get("train", ())):
        raise VectorError(
            f"paths has {paths.sizes['layer']} layers and the labels {', '.join(labels)}; expected all"
            f" {view.n_layers} layers and all labels of its train, in order. Give it as trajectories returned it."
        )
    of = read_items(items, "items", VectorError, ORDINARY)
    require_apart(of.hashes, known.get("texts", {}).get("train", ()), of, "items", "the train of paths", VectorError)
    record = record_of(model, view, "places", {"site": "resid_post"}, status="complete", state=view.state)
    for what in ("hash", "state"):
        theirs, own = known.get("model", {}).get(what), record["model"].get(what)
        if theirs and own and theirs != own:
            raise VectorError(
                f"paths are of a model of {what} {str(theirs)[:12]}, and this one's is {str(own)[:12]}; run"
                " trajectories of this one."
            )
    centroids, middle, spread, axes = (paths[name].transpose(*dims).values for name, dims in _KEPT.items())
    asked = _states(model, view, of, "items", call.get("start", "auto"))
    drawn = _drawn(asked, middle[:, None], spread, axes)
    ds = xr.Dataset(
        {**_near(_distances(asked, centroids)), "place": (("layer", "item", "axis"), drawn)},
        {
            "layer": np.arange(view.n_layers),
            "label": labels,
            "item": np.arange(len(of)),
            "label_of_item": ("item", np.array(of.labels)),
        },
    )
    return stamp(ds, record)


#: What `place` needs of trajectories, with its dimensions.
_KEPT = {
    "centroid_state": ("layer", "label", "width"),
    "mean_state": ("layer", "width"),
    "spread": ("layer",),
    "plane": ("axis", "width"),
}


def _states(model: Any, view: Model, items: Items, name: str, start: Any) -> Float[np.ndarray, "layer item width"]:
    sites = [Site("resid_post", layer=layer) for layer in range(view.n_layers)]
    per_site = activations(view, model, items, sites, start, name, VectorError, only_last=True)
    return np.stack([torch.stack([x[-1] for x in one]).double().numpy() for one in per_site])


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


def _near(distance: Float[np.ndarray, "layer item label"]) -> dict[str, Any]:
    order = np.sort(distance, -1)
    return {
        "distance": (("layer", "item", "label"), distance),
        "nearest": (("layer", "item"), distance.argmin(-1)),
        "margin": (("layer", "item"), order[..., 1] - order[..., 0]),
    }


def _drawn(
    states: Float[np.ndarray, "layer item width"],
    middle: Float[np.ndarray, "layer 1 width"],
    spread: Float[np.ndarray, " layer"],
    axes: Float[np.ndarray, "2 width"],
) -> Float[np.ndarray, "layer item 2"]:
    """In the plane, in units of the layer's spread."""
    return np.asarray(((states - middle) / spread[:, None, None]) @ axes.T)


def _plane(apart: Float[np.ndarray, "layer label width"]) -> Float[np.ndarray, "2 width"]:
    """The two directions in which centroids vary most, over all layers; each with its largest entry positive."""
    axes = np.linalg.svd(apart.reshape(-1, apart.shape[-1]), full_matrices=False)[2][:2]
    turned: np.ndarray = axes * np.sign(axes[[0, 1], np.abs(axes).argmax(1)])[:, None]
    return turned
