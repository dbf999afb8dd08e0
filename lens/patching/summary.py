"""Over prompts: the mean effect of each cell, how sure it is, and whether it is there at all."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..engine import results
from ..measure import statistics
from .grid import PatchError


def summary(ds: xr.Dataset, variable: str = "effect", *, level: float = 0.95, resamples: int = 2000, flips: int | None = None, method: str = "bca", seed: int = 0) -> xr.Dataset:
    """The mean over prompts of every cell, with a bootstrap interval and a sign-flip test, Holm-corrected over the cells.

    Args:
        ds: a result with a ``prompt`` axis.
        variable: ``effect`` (in the metric's units) or ``normalized``; the latter is the mean of ratios: prefer ``effect``
            where some pairs have a small gap between clean and corrupted.
        flips: sign patterns of the permutation test; all of them if there are no more (the p-value is then exact). None takes
            100 a cell and at least 10 000, so that Holm's correction can reach 0.05 however many cells there are.

    Returns: over the remaining axes ``mean``, ``low``, ``high``, ``n``, ``p`` (two-sided, null: effects symmetric about 0),
        ``p_holm`` (corrected over all cells), and ``mean_normalized`` = mean effect / mean gap (a ratio of means).

    Raises:
        PatchError: no ``prompt`` axis, fewer than two prompts.

    Source: sign flips: Good 2005, ch. 3; (1 + b) / (1 + m) rule: Phipson and Smyth 2010; Holm 1979.
    """
    if "prompt" not in ds.dims:
        raise PatchError("ds has no prompt axis; give lens.patch a list of pairs to average over.")
    if ds.sizes["prompt"] < 2:
        raise PatchError("ds has one prompt; an interval over prompts needs at least two.")
    x = ds[variable].transpose("prompt", ...)
    dims, values = x.dims[1:], np.asarray(x.values, float)
    shape = values.shape[1:]
    flat = values.reshape(len(values), -1)
    counted = np.isfinite(flat).sum(0) >= 2
    out = {k: np.full(flat.shape[1], np.nan) for k in ("mean", "low", "high", "p", "p_holm")}
    flips = max(10_000, 100 * int(counted.sum())) if flips is None else flips
    if counted.any():
        interval = statistics.bootstrap(flat[:, counted], level=level, resamples=resamples, seed=seed, method=method)
        test = statistics.sign_flip(flat[:, counted], resamples=flips, seed=seed)
        out["mean"][counted], out["low"][counted], out["high"][counted] = interval.estimate, interval.low, interval.high
        out["p"][counted] = test.p
        out["p_holm"][counted] = statistics.holm(np.atleast_1d(test.p))
        kind, floor = test.kind, float(np.max(test.floor))
    else:
        kind, floor = "none", None
    made = xr.Dataset({k: (dims, v.reshape(shape)) for k, v in out.items()}, {c: ds[c] for c in ds.coords if "prompt" not in ds[c].dims})
    made["n"] = (dims, np.isfinite(flat).sum(0).reshape(shape))
    if {"clean", "corrupted"} <= set(ds.data_vars):
        effect = ds["effect"].mean("prompt")
        # of the prompts that have the cell
        gap = (ds["clean"] - ds["corrupted"]).where(ds["effect"].notnull())
        sign = -1 if results.provenance(ds).get("call", {}).get("direction") == "noise" else 1
        made["mean_normalized"] = effect / (sign * gap.mean("prompt"))
    for k in ("mean", "low", "high"):
        made[k].attrs["units"] = ds[variable].attrs.get("units", "")
    record = results.provenance(ds)
    return results.stamp(made, {**record, "kind": "summary", "of": record.get("kind"), "statistics":
                                dict(variable=variable, level=level, resamples=resamples, flips=flips, method=method, p_kind=str(kind), p_floor=floor, n_cells=int(counted.sum()), seed=seed)})
