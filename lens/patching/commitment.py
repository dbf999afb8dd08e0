"""Layers that a score calls settled, beside the depth that interventions give on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import Draws, Seed, Share, door
from ..results import dataset as results
from ..results.errors import ResultError
from ..stats.effects import clusters
from ..stats.intervals import bootstrap
from ..stats.means import MISSING
from ..stats.units import unit_means
from .grid import PatchError
from .summary import GUESS, fields

COLUMNS = ("distance", "constant", "gain", "low", "high")


@door(PatchError)
def commitment(
    depths: xr.Dataset,
    scores: xr.Dataset,
    *,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """Whether the layers that published scores call settled are the depths of reading, better than one layer for all.

    Args:
        depths: a result of `lens.depth`. scores: one of `lens.readout.alignment`, of the same prompts in their order.
        cluster: what counts as one, as in `lens.summary`: depth is a property of words more than of prompts.

    Returns: over ``marker``: ``distance``, the mean absolute difference from the depth of reading over the items for
        which both are there (``n``), ``constant``, that of the median depth of all other units' items, and ``gain``, by
        how much the marker is nearer, with ``low``, ``high`` and ``interval_kind`` over units (``n_units``); ``never``,
        the share of items for which the marker is never reached. No p-value: whether the interval of ``gain`` leaves 0
        is the test.

    Raises: PatchError: results of other kinds, or of other prompts.
    """
    for name, ds, kind in (("depths", depths, "depth"), ("scores", scores, "alignment")):
        try:
            found = results.provenance(ds).get("kind")
        except ResultError as error:
            raise PatchError(f"{name}: {error}") from None
        if found != kind:
            maker = "lens.depth" if kind == "depth" else "lens.readout.alignment"
            raise PatchError(f"{name} is a result of kind {found!r}; give one of {maker}.")
    if "prompt" not in scores.dims or depths.sizes["prompt"] != scores.sizes["prompt"]:
        raise PatchError(
            f"scores are of {scores.sizes.get('prompt', 1)} prompts and depths of {depths.sizes['prompt']}; give"
            " alignment the same list of pairs."
        )
    first, second = (
        [str(p.get("clean_text", p["clean"])) for p in results.provenance(ds).get("pairs", [])]
        for ds in (depths, scores)
    )
    if first != second:
        raise PatchError("scores are of other prompts than depths; give alignment the same pairs in the same order.")
    depth = depths.depth.sel(measure="reading").values
    there = np.isfinite(depth)
    marks = scores.settled.transpose("prompt", "marker").values
    table = {name: np.full(marks.shape[1], np.nan) for name in COLUMNS}
    kinds, n, counted = np.full(marks.shape[1], MISSING, dtype=object), *np.zeros((2, marks.shape[1]), int)
    record = results.provenance(depths)
    units, note = clusters(cluster, len(depth), fields(depths, record), GUESS)
    # of each item what all other units say, so that no layer is chosen on the unit that it is judged by
    own = np.arange(len(depth)) if units is None else units
    constant, deepest = np.full(len(depth), np.nan), float(depths["layer"].max())
    for k in np.flatnonzero(there):
        if len(others := depth[there & (own != own[k])]):
            constant[k] = abs(np.median(others) - depth[k])
    for m in range(marks.shape[1]):
        apart = np.abs(marks[:, m] - depth)
        both = np.isfinite(apart) & np.isfinite(constant)
        n[m] = both.sum()
        if not n[m]:
            continue
        gain = constant[both] - apart[both]
        gain = gain if units is None else unit_means(gain, units[both])[0]
        counted[m] = len(gain)
        table["distance"][m], table["constant"][m] = apart[both].mean(), constant[both].mean()
        table["gain"][m] = gain.mean()
        if len(gain) >= 2:
            interval = bootstrap(gain, level=level, resamples=resamples, seed=seed, bounds=(-deepest, deepest))
            table["low"][m], table["high"][m], kinds[m] = interval.low, interval.high, interval.kind
    ds = xr.Dataset(
        {
            **{name: ("marker", values, {"units": "layers"}) for name, values in table.items()},
            "interval_kind": ("marker", kinds.astype(str)),
            "n": ("marker", n),
            "n_units": ("marker", counted),
            "never": ("marker", np.isnan(marks).mean(0)),
        },
        {"marker": scores.marker.values},
    )
    about = {"level": level, "resamples": resamples, "seed": seed, "units": note}
    return results.stamp(ds, {**record, "kind": "commitment", "of": "depth", "statistics": about})
