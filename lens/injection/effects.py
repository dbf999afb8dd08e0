"""What an injection did: effects with intervals, tests and corrections, and what the choice of a cell is worth.

The effect of an item in a cell is its log-ratio, ``ln p(answer | injected) - ln p(answer | not)``, in nats: symmetric in help and harm and additive over
tokens. The paper's own measure, the mean percentage change of the first token's probability after items beyond two standard deviations are dropped, stands beside
it: it is dominated by items of tiny probability and can rise while most items get worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..engine import results
from ..measure import statistics
from .controls import MEMORY
from .items import InjectionError

#: scores an effect can be of
OF = ("logprob", "first")


def log_ratio(ds: xr.Dataset, of: str = "logprob") -> xr.DataArray:
    """Change of the answer's log-probability against the unedited multi-hop prompt, ``[item, layer, strength, condition]`` in nats.

    ``of``: "logprob" (the whole answer) or "first" (its first token, as the paper scores it).
    """
    _check(ds)
    if of not in OF:
        raise InjectionError(f"of={of!r} is not known; expected one of {', '.join(OF)}.")
    change = ds[of] - ds[f"multi_{of}"]
    change.name, change.attrs["units"] = "log_ratio", "nats"
    return change.transpose(*ds[of].dims)


def percent_change(ds: xr.Dataset, of: str = "first") -> xr.DataArray:
    """Change of the answer's probability in percent of the unedited one, per item."""
    change = 100 * np.expm1(log_ratio(ds, of).astype(np.float64))
    change.name, change.attrs["units"] = "percent_change", "%"
    return change


def trimmed_mean(x: Float[np.ndarray, "item *cells"], axis: int = 0) -> Float[np.ndarray, "*cells"]:
    """The published mean: values further than two (population) standard deviations from the mean are dropped, then the rest is averaged.

    Source: inferred from the published tables, which it reproduces; the analysis code was not published.
    """
    x = np.asarray(x, dtype=np.float64)
    centre, spread = np.nanmean(x, axis=axis, keepdims=True), np.nanstd(x, axis=axis, keepdims=True)
    return np.nanmean(np.where(np.abs(x - centre) <= 2 * spread, x, np.nan), axis=axis)


def summary(ds: xr.Dataset, *, of: str = "logprob", against: str | None = None, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> xr.Dataset:
    """Effects over the items, for every layer, strength and condition.

    Args:
        ds: what `sweep` returned.
        of: "logprob" (the whole answer) or "first" (its first token).
        against: a condition: intervals and tests are then of the paired difference memory - this condition; None: against no injection.

    Returns, over ``layer, strength, condition`` (without the condition axis when ``against`` is given):
        mean, low, high: mean log-ratio (nats) with a percentile bootstrap interval over items; median; improved: share of items that got better;
        p, p_holm: Wilcoxon signed-rank test, two-sided (exact up to 50 untied items, else the normal approximation: see the record), and after Holm over all cells
        of one condition; trimmed_percent: the paper's measure, of the first token; exact_match, and its change; geometric: the mean log-ratio as percent.

    Intervals and p-values hold cell by cell; the best of many cells is judged by `held_out`.
    """
    effect = log_ratio(ds, of)
    if against is not None:
        if against not in ds.condition.values or against == MEMORY:
            raise InjectionError(f"against={against!r} is no control of this sweep; it has {', '.join(c for c in ds.condition.values if c != MEMORY) or 'none'}.")
        effect = effect.sel(condition=MEMORY, drop=True) - effect.sel(condition=against, drop=True)
    dims = effect.dims[1:]
    x = effect.transpose("item", ...).values.astype(np.float64)
    interval = statistics.bootstrap(x, level=level, resamples=resamples, seed=seed)
    test = statistics.wilcoxon(x)
    p = np.asarray(test.p)
    # Holm within a condition: the family is the grid of layers and strengths
    holm = statistics.holm(p.reshape(-1, p.shape[-1]), axis=0).reshape(p.shape) if against is None else statistics.holm(p.reshape(-1)).reshape(p.shape)
    out = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "median": np.nanmedian(x, axis=0), "improved": np.where(np.isnan(x).all(0), np.nan, (x > 0).mean(0)),
           "geometric": 100 * np.expm1(interval.estimate), "p": p, "p_holm": holm}
    if against is None:
        first = percent_change(ds, "first").transpose("item", ...).values
        exact = ds["exact"].transpose("item", ...).values.astype(np.float64)
        out |= {"trimmed_percent": trimmed_mean(first), "mean_percent": np.nanmean(first, axis=0), "exact_match": np.nanmean(exact, axis=0),
                "exact_change": np.nanmean(exact, axis=0) - float(ds["multi_exact"].mean())}
    units = {"mean": "nats", "low": "nats", "high": "nats", "median": "nats", "geometric": "%", "trimmed_percent": "%", "mean_percent": "%"}
    coords = {d: ds[d] for d in dims}
    made = xr.Dataset({k: (dims, np.asarray(v, dtype=np.float64), {"units": units.get(k, "1")}) for k, v in out.items()}, coords=coords)
    known = results.provenance(ds)
    call = {"of": of, "against": against, "level": level, "resamples": resamples, "test": test.method, "p_kind": test.kind, "interval": interval.method, "n": int(ds.sizes["item"])}
    return results.stamp(made, known | {"kind": "injection summary", "call": known["call"] | {"summary": call}})


def held_out(ds: xr.Dataset, *, of: str = "logprob", condition: str = MEMORY, against: str | None = None, measure: str = "mean", splits: int = 200, seed: int = 0,
             level: float = 0.95) -> dict[str, Any]:
    """Chooses the best cell on one half of the items and reports it on the other; then over many splits.

    Args:
        condition: which condition's best cell; a control chosen the same way shows what choice alone yields.
        against: report the paired difference to this condition in the chosen cell; the choice is still by ``condition`` alone.
        measure: what the choice maximises: ``mean`` (log-ratio) or ``trimmed_percent`` (as published).

    Items that share a memory stay in one half, and the interval is over memories (the mean of a memory's items counts once).

    Returns a dictionary: ``layer``, ``strength`` chosen on the first split; ``selected`` and ``reported``: mean log-ratio of the chosen cell on the choosing and on the other
    half, averaged over splits, and ``bias``, their difference; ``interval``: the first split's other half (an `Interval`, studentized bootstrap: those items had no part in the
    choice); ``trimmed_selected``, ``trimmed_reported``: the same two averages of the paper's percentage; ``stability``: share of splits that choose the commonest cell.
    """
    if measure not in ("mean", "trimmed_percent"):
        raise InjectionError(f"measure={measure!r} is not known; expected 'mean' or 'trimmed_percent'.")
    log = log_ratio(ds, of).sel(condition=condition).transpose("item", "layer", "strength").values.astype(np.float64)
    shown = log if against is None else log - log_ratio(ds, of).sel(condition=against).transpose("item", "layer", "strength").values
    percent = percent_change(ds, "first").sel(condition=condition).transpose("item", "layer", "strength").values
    shape = log.shape[1:]
    unit = np.unique(ds["memory"].values, return_inverse=True)[1] if "memory" in ds.coords else np.arange(len(log))
    n = int(unit.max()) + 1
    if n < 4:
        raise InjectionError(f"items: {n} different memories cannot be split in two halves of at least two; add items.")
    of_units = lambda values, chosen: np.array([values[unit == u].mean() for u in chosen])
    draw = np.random.default_rng(seed)
    picks, rows = [], []
    for number, own in enumerate(draw.integers(2**31, size=splits)):
        half = statistics.halves(n, int(own))
        select, report = np.isin(unit, half.select), np.isin(unit, half.report)
        score = log[select].mean(0) if measure == "mean" else trimmed_mean(percent[select])
        cell = np.unravel_index(np.nanargmax(score), shape)
        at = (slice(None), *cell)
        picks.append(cell)
        rows.append((shown[select][at].mean(), shown[report][at].mean(), trimmed_mean(percent[select][at]), trimmed_mean(percent[report][at])))
        if number == 0:
            interval, first = statistics.bootstrap(of_units(shown[at], half.report), method="studentized", level=level, seed=seed), cell
    mean = np.asarray(rows).mean(0)
    flat = [int(np.ravel_multi_index(c, shape)) for c in picks]
    common = max(set(flat), key=flat.count)
    at = lambda cell: {"layer": int(ds.layer.values[cell[0]]), "strength": float(ds.strength.values[cell[1]])}
    return {**at(first), "condition": condition, "against": against, "measure": measure, "interval": interval, "selected": float(mean[0]), "reported": float(mean[1]),
            "bias": float(mean[0] - mean[1]), "trimmed_selected": float(mean[2]), "trimmed_reported": float(mean[3]), "commonest": at(np.unravel_index(common, shape)),
            "stability": flat.count(common) / splits, "splits": splits, "n": n}


def best(summary_ds: xr.Dataset, by: str = "mean", condition: str = MEMORY) -> dict[str, Any]:
    """The cell with the largest value of a summary: its layer, strength and all numbers. It is chosen and described on the same items: see `held_out`."""
    of = summary_ds.sel(condition=condition) if "condition" in summary_ds.dims else summary_ds
    cell = of[by].stack(cell=("layer", "strength"))
    if bool(np.isnan(cell).all()):
        raise InjectionError(f"summary: no cell has a value of {by!r}; was the sweep stopped before its first layer?")
    layer, strength = cell.cell.values[int(np.nanargmax(cell.values))]
    at = of.sel(layer=layer, strength=strength)
    return {"layer": int(layer), "strength": float(strength), "condition": condition, **{k: float(v) for k, v in at.data_vars.items()}}


def _check(ds: Any) -> None:
    if not isinstance(ds, xr.Dataset) or not {"item", "layer", "strength", "condition"} <= set(ds.dims) or "multi_logprob" not in ds:
        raise InjectionError("ds: expected what lens.injection.sweep returned, with item, layer, strength and condition.")
