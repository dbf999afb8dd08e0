"""The result of a comparison: every measure at every cell, with interval, floor and what unrelated prompts have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..stats.bounds import AT_LEAST_0, clip
from ..stats.effects import clusters, tested
from ..stats.means import NONE, mean_interval
from ..stats.similarity import LEAST, MEASURES, halves, interval_of, rows_and_unrelated, rows_of, shifts, still
from ..stats.units import unit_means
from .side_by_side import Collected

#: Why a cell has no value.
FEW = f"{NONE}: fewer than {LEAST} prompts that differ up to there"
STILL = f"{NONE}: the states are equal"
HALF = f"{NONE}: fewer than 4 prompts in a half, of which clusters stay whole"
ONE = f"{NONE}: one prompt"
ELSEWHERE = f"{NONE}: it stands at the last layer"
_UNITS = {"kl": "nats", "lens_kl": "nats"}


def tables(
    collected: Collected, metrics: Sequence[str], cluster: Any, level: float, resamples: int, seed: int
) -> xr.Dataset:
    """The labelled result of what was collected."""
    sides, n = collected.sides, collected.n
    labels, _ = clusters(cluster, len(sides.readings), {}, ())
    labels = None if labels is None else labels[:n]
    rows, why, beside = _rows(collected, metrics, labels, seed)
    dims = ("metric", "layer", "position")
    out: dict[str, Any] = _intervals(rows[0], metrics, labels, level, resamples, seed)
    out["interval_kind"] = np.where(why == "", out["interval_kind"], why).astype(str)
    out["unrelated"] = beside
    if len(rows) > 1:
        floor = _intervals(rows[1], metrics, labels, level, resamples, seed)
        out |= {"floor": floor["mean"], "floor_low": floor["low"], "floor_high": floor["high"]}
        difference = np.moveaxis(rows[0] - rows[1], 0, 1)
        test, _ = tested(difference, labels, level=level, resamples=resamples, seed=seed)
        # rows of these hold what all prompts say together
        shared = np.array([m in MEASURES and m != "cosine" for m in metrics])[:, None, None]
        told = shared & np.isfinite(test["p"])
        test["p_kind"] = np.where(told, "approximate: rows share means, rotations or neighbours", test["p_kind"])
        names = {"mean": "beyond", "low": "beyond_low", "high": "beyond_high", "interval_kind": "beyond_kind"}
        out |= {names.get(k, k): v for k, v in test.items() if k != "n"}
    readings, where = sides.readings[:n], sides.where
    same = [MEASURES[m].same if m in MEASURES else 0.0 for m in metrics]
    coords: dict[str, Any] = {"metric": list(metrics), "same": ("metric", same), "layer": sides.layers[0]}
    coords |= {"layer_b": ("layer", sides.layers[1])}
    labelled = where.coords(sides.readings)
    coords["position"] = labelled["position"]
    if len(readings) == 1 or all(r.tokens == readings[0].tokens for r in readings):
        coords["token"] = ("position", labelled["token"][1][0])
    ds = xr.Dataset({k: (dims, v) for k, v in out.items()}, coords)
    for name in ("mean", "low", "high", "unrelated", "floor", "floor_low", "floor_high", "beyond"):
        if name in ds:
            ds[name].attrs["units"] = "nats" if set(metrics) <= set(_UNITS) else "1, of kl and lens_kl nats"
    return ds.isel(position=0) if where.scalar else ds


def _rows(
    collected: Collected, metrics: Sequence[str], labels: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of both pairs of models one number a prompt ``[pair, metric, prompt, layer, position]``, why a cell has none, and
    the measures of unrelated prompts.
    """
    sides, n = collected.sides, collected.n
    layers, slots, pairs = len(sides.layers[0]), sides.where.width, len(sides.views) - 1
    rows = np.full((pairs, len(metrics), n, layers, slots), np.nan)
    why = np.full((len(metrics), layers, slots), "", dtype=object)
    apart = np.full(why.shape, np.nan)
    distinct = sides.distinct()[:n]
    for j, metric in enumerate(metrics):
        if metric == "kl":
            rows[:, j, :, -1] = np.where(distinct, collected.kl[:, :n], np.nan)
            why[j, :-1] = ELSEWHERE
        if metric == "lens_kl":
            rows[:, j] = np.where(distinct[:, None], collected.lens_kl[:, :n], np.nan)
    for s in range(slots if collected.states else 0):
        there = np.flatnonzero(distinct[:, s])
        own = None if labels is None else labels[there]
        half = halves(len(there), own, seed)
        shift = shifts(half, seed, own)
        for i in range(layers):
            x, *others = (states.read(i * slots + s, there) for states in collected.states)
            varies = [not still(v) for v in (x, *others)]
            for j, metric in enumerate(metrics):
                if metric not in MEASURES:
                    continue
                if len(there) < MEASURES[metric].least:
                    why[j, i, s] = FEW
                    continue
                if metric == "procrustes" and min(half.sum(), (1 - half).sum()) < 4:
                    why[j, i, s] = HALF
                    continue
                if metric != "cosine" and not all(varies[:2]):
                    why[j, i, s] = STILL
                    continue
                if len(there) > 3:
                    rows[0, j, there, i, s], apart[j, i, s] = rows_and_unrelated(metric, x, others[0], half, shift)
                else:
                    rows[0, j, there, i, s] = rows_of(metric, x, others[0], half)
                for pair, y in enumerate(others[1:], 1):
                    if metric == "cosine" or varies[pair + 1]:
                        rows[pair, j, there, i, s] = rows_of(metric, x, y, half)
    return rows, why, apart


def _intervals(
    rows: np.ndarray, metrics: Sequence[str], labels: np.ndarray | None, level: float, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Mean, bounds, kind and n of every cell."""
    shape = (len(metrics), *rows.shape[2:])
    out = {k: np.full(shape, np.nan) for k in ("mean", "low", "high")}
    kind, count = np.full(shape, ONE, dtype=object), np.zeros(shape, int)
    for j, metric in enumerate(metrics):
        x = rows[j]
        units = x if labels is None else unit_means(x, labels)[0]
        count[j] = (~np.isnan(units)).sum(0)
        if count[j].max(initial=0) < 2:
            out["mean"][j] = np.where(count[j] > 0, np.nansum(units, 0) / np.maximum(count[j], 1), np.nan)
            continue
        if metric in MEASURES:
            found = interval_of(x, metric, labels, level, resamples, seed)
        else:
            found = clip(mean_interval(units, 0, level, values="number", resamples=resamples, seed=seed), AT_LEAST_0)
        for name, value in (("mean", found.estimate), ("low", found.low), ("high", found.high)):
            out[name][j] = value
        kind[j] = found.kind
    return out | {"interval_kind": kind.astype(str), "n": count}
