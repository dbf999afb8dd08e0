"""What an injection did: effects with intervals, tests and corrections, and what the choice of a cell is worth.

The effect of an item in a cell is its log-ratio, ``ln p(answer | injected) - ln p(answer | not)``, in nats: symmetric
in help and harm and additive over tokens. The paper's own measure, the mean percentage change of the first token's
probability after items beyond two standard deviations are dropped, stands beside
it: it is dominated by items of tiny probability and can rise while most items get worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from scipy import stats as scipy_stats

from .. import stats
from ..arguments import Draws, Index, Seed, Share, door, unfit
from ..results import dataset as results
from ..stats.effects import SKEWED, SYMMETRIC, UNITS, clusters, skewed
from ..stats.units import unit_means
from .controls import MEMORY
from .items import InjectionError

#: scores an effect can be of
Of = Literal["logprob", "first"]


@door(InjectionError)
def log_ratio(ds: xr.Dataset, of: Of = "logprob") -> xr.DataArray:
    """Change of the answer's log-probability against the unedited multi-hop prompt, ``[item, layer, strength,
    condition]`` in nats.

    ``of``: "logprob" (the whole answer) or "first" (its first token, as the paper scores it).
    """
    _check(ds)
    change = ds[of] - ds[f"multi_{of}"]
    change.name, change.attrs["units"] = "log_ratio", "nats"
    return change.transpose(*ds[of].dims)


@door(InjectionError)
def percent_change(ds: xr.Dataset, of: Of = "first") -> xr.DataArray:
    """Change of the answer's probability in percent of the unedited one, per item."""
    change: Any = 100 * np.expm1(log_ratio(ds, of).astype(np.float64))
    change.name, change.attrs["units"] = "percent_change", "%"
    return change


@door(InjectionError)
def trimmed_mean(x: Float[np.ndarray, " item *cells"], axis: Index = 0) -> Float[np.ndarray, "*cells"]:
    """The published mean: values further than two (population) standard deviations from the mean are dropped, then the
    rest is averaged.

    Source: inferred from the published tables, which it reproduces; the analysis code was not published.
    """
    if not -x.ndim <= axis < x.ndim:
        raise InjectionError(unfit("axis", axis, f"one of the {x.ndim} axes of x, from {-x.ndim} to {x.ndim - 1}"))
    x = np.asarray(x, dtype=np.float64)
    centre, spread = np.nanmean(x, axis=axis, keepdims=True), np.nanstd(x, axis=axis, keepdims=True)
    return np.nanmean(np.where(np.abs(x - centre) <= 2 * spread, x, np.nan), axis=axis)


@door(InjectionError)
def summary(
    ds: xr.Dataset,
    *,
    of: Of = "logprob",
    against: str | None = None,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """Effects over the items, for every layer, strength and condition.

    Args:
        ds: what `sweep` returned.
        of: "logprob" (the whole answer) or "first" (its first token).
        against: a condition: intervals and tests are then of the paired difference memory - this condition; None:
            against no injection.
        cluster: what counts as one. "auto": items that share a memory are one unit, the mean of their effects (as in
            `held_out`); None: each item; a coordinate of the items; or a label for each.

    Returns: over ``layer, strength, condition`` (without the condition axis when ``against`` is given): ``mean``,
        ``low``, ``high``, ``interval_kind``: mean log-ratio (nats) over units with its interval
        (`lens.stats.means.mean_interval`); ``n``: units; ``median`` and ``improved`` (share that got better) of
        units; ``p``, ``p_kind``, ``p_holm``: Wilcoxon signed-rank test of the units, two-sided (exact up to 50 untied
        units, guaranteed if effects are symmetric about 0 under the null; else the normal approximation), and after
        Holm over all cells of one condition; over items: ``trimmed_percent``, the paper's measure, of the first token;
        ``exact_match``, and its change; ``geometric``: the mean log-ratio as percent. ``units``: in words, what counted
        as one.

    Intervals and p-values hold cell by cell; the best of many cells is judged by `held_out`.
    """
    effect = log_ratio(ds, of)
    if against is not None:
        if against not in ds.condition.values or against == MEMORY:
            raise InjectionError(
                f"against={against!r} is no control of this sweep; it has"
                f" {', '.join(c for c in ds.condition.values if c != MEMORY) or 'none'}."
            )
        effect = effect.sel(condition=MEMORY, drop=True) - effect.sel(condition=against, drop=True)
    dims = effect.dims[1:]
    x = effect.transpose("item", ...).values.astype(np.float64)
    fields = {str(c): ds[c].values.tolist() for c in ds.coords if ds[c].dims == ("item",) and c != "item"}
    units, note = clusters(cluster, len(x), fields, UNITS, "items")
    x = x if units is None else unit_means(x, units)[0]
    interval = stats.bootstrap(x, level=level, resamples=resamples, seed=seed, values="number")
    test = stats.wilcoxon(x)
    p = np.asarray(test.p)
    # Holm within a condition: the family is the grid of layers and strengths
    holm = (
        stats.holm(p.reshape(-1, p.shape[-1]), axis=0).reshape(p.shape)
        if against is None
        else stats.holm(p.reshape(-1)).reshape(p.shape)
    )
    out = {
        "mean": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "median": np.nanmedian(x, axis=0),
        "improved": np.where(np.isnan(x).all(0), np.nan, (x > 0).mean(0)),
        "geometric": 100 * np.expm1(interval.estimate),
        "p": p,
        "p_holm": holm,
    }
    if against is None:
        first = percent_change(ds, "first").transpose("item", ...).values
        exact = ds["exact"].transpose("item", ...).values.astype(np.float64)
        out |= {
            "trimmed_percent": trimmed_mean(first),
            "mean_percent": np.nanmean(first, axis=0),
            "exact_match": np.nanmean(exact, axis=0),
            "exact_change": np.nanmean(exact, axis=0) - float(ds["multi_exact"].mean()),
        }
    measured = {
        "mean": "nats",
        "low": "nats",
        "high": "nats",
        "median": "nats",
        "geometric": "%",
        "trimmed_percent": "%",
        "mean_percent": "%",
    }
    coords = {d: ds[d] for d in dims}
    table = xr.Dataset(
        {k: (dims, np.asarray(v, dtype=np.float64), {"units": measured.get(k, "1")}) for k, v in out.items()},
        coords=coords,
    )
    table["interval_kind"], table["n"] = (dims, np.broadcast_to(interval.kind, p.shape)), (dims, (~np.isnan(x)).sum(0))
    kind = np.where(
        skewed(x.reshape(len(x), -1)).reshape(p.shape),
        SKEWED,
        f"{test.kind} {SYMMETRIC}" if test.guaranteed else test.kind,
    )
    table["p_kind"] = (dims, np.where(np.isnan(p), "none: no values", kind))
    table["units"] = ((), note)
    record = results.provenance(ds)
    call = {
        "of": of,
        "against": against,
        "level": level,
        "resamples": resamples,
        "test": test.method,
        "p_kind": test.kind,
        "interval": interval.method,
        "n": len(x),
        "n_items": int(ds.sizes["item"]),
        "units": note,
    }
    return results.stamp(table, record | {"kind": "injection summary", "call": record["call"] | {"summary": call}})


@door(InjectionError)
def held_out(
    ds: xr.Dataset,
    *,
    of: Of = "logprob",
    condition: str = MEMORY,
    against: str | None = None,
    rival: xr.Dataset | None = None,
    measure: Literal["mean", "trimmed_percent"] = "mean",
    splits: Draws = 200,
    seed: Seed = 0,
    level: Share = 0.95,
) -> dict[str, Any]:
    """Chooses the best cell on one half of the memories and reports it on the other; then over many splits.

    Args:
        condition: which condition's best cell; a control chosen the same way shows what choice alone yields.
        against: report the paired difference to this condition in the chosen cell; the choice is still by ``condition``
            alone.
        rival: another sweep of the same items (of another encoder, say), whose best cell is chosen on the same half:
            reported is the paired difference to it.
        measure: what the choice maximises: ``mean`` (log-ratio) or ``trimmed_percent`` (as published).

    Items that share a memory stay in one half, and what is reported is over memories (the mean of a memory's items
    counts once).

    Returns a dictionary: ``layer``, ``strength`` chosen on the first split; ``selected`` and ``reported``: mean
    log-ratio of the chosen cell on the choosing and on the other half, averaged over splits, and ``bias``, their
    difference; ``over_splits``: the median split's value with an `Interval` that holds over all splits, and ``p``,
    two-sided and approximate: twice the median of the splits' p by Student's t over the other half's memories, inverted
    for the interval; ``interval``: the first split's other half alone (an `Interval` over memories);
    ``trimmed_selected``, ``trimmed_reported``: averages of the paper's percentage; ``stability``: share of splits that
    choose the commonest cell.

    Raises: InjectionError: an unknown measure, fewer than four memories, a rival of other items.

    Source of the p over splits: Meinshausen, Meier & Buehlmann 2009, p-values for high-dimensional regression (the
        median, at factor two).
    """
    _check(ds)
    for argument, name in (("condition", condition), ("against", against)):
        if name is not None and name not in ds.condition.values:
            raise InjectionError(
                unfit(argument, name, f"a condition of this sweep, {' or '.join(ds.condition.values)}")
            )
    if rival is not None:
        _check(rival, "rival")
        if condition not in rival.condition.values:
            raise InjectionError(
                f"rival has no condition {condition!r}, which is chosen; it has {', '.join(rival.condition.values)}."
            )
    ours = _cells(ds, of, condition)
    shown = (
        ours[0]
        if against is None
        else ours[0] - log_ratio(ds, of).sel(condition=against).transpose("item", "layer", "strength").values
    )
    unit = _memories(ds)
    theirs = None if rival is None else _cells(rival, of, condition)
    if rival is not None and not np.array_equal(unit, _memories(rival)):
        raise InjectionError("rival: its items are not those of ds, in their order; sweep both over the same items.")
    n = int(unit.max()) + 1
    if n < 4:
        raise InjectionError(f"items: {n} different memories cannot be split in two halves of at least two; add items.")
    draw = np.random.default_rng(seed)
    picks, rows, each = [], [], []
    for number, own in enumerate(draw.integers(2**31, size=splits)):
        half = stats.halves(n, int(own))
        select, report = np.isin(unit, half.select), np.isin(unit, half.report)
        layer, strength = _best_cell(*ours, select, measure)
        values, percent = shown[:, layer, strength], ours[1][:, layer, strength]
        if theirs is not None:
            its_layer, its_strength = _best_cell(*theirs, select, measure)
            values = values - theirs[0][:, its_layer, its_strength]
        other = _by_memory(values, unit, half.report)
        picks.append((layer, strength))
        rows.append(
            (
                _by_memory(values, unit, half.select).mean(),
                other.mean(),
                trimmed_mean(percent[select]),
                trimmed_mean(percent[report]),
            )
        )
        each.append(_student(other, 1 - (1 - level) / 2))
        if number == 0:
            interval = stats.bootstrap(other, level=level, seed=seed)
    mean, (low, high, p) = np.asarray(rows).mean(0), np.median(each, axis=0)
    shape = ours[0].shape[1:]
    flat = [int(np.ravel_multi_index(c, shape)) for c in picks]
    common = max(set(flat), key=flat.count)

    def named(cell):
        return {"layer": int(ds.layer.values[cell[0]]), "strength": float(ds.strength.values[cell[1]])}

    return {
        **named(picks[0]),
        "condition": condition,
        "against": against,
        "measure": measure,
        "interval": interval,
        "selected": float(mean[0]),
        "reported": float(mean[1]),
        "over_splits": stats.Interval(
            float(np.median([row[1] for row in rows])),
            float(low),
            float(high),
            level,
            len(half.report),
            f"Student's t over memories, the median of {splits} splits at half the error",
        ),
        "p": float(min(1.0, 2 * p)),
        "bias": float(mean[0] - mean[1]),
        "trimmed_selected": float(mean[2]),
        "trimmed_reported": float(mean[3]),
        "commonest": named(np.unravel_index(common, shape)),
        "stability": flat.count(common) / splits,
        "splits": splits,
        "n": n,
    }


def _cells(ds: xr.Dataset, of: Of, condition: str) -> tuple[np.ndarray, np.ndarray]:
    """Log-ratio and percentage change of every item, ``[item, layer, strength]``."""
    ratio, percent = (
        change.sel(condition=condition).transpose("item", "layer", "strength").values.astype(np.float64)
        for change in (log_ratio(ds, of), percent_change(ds, "first"))
    )
    return ratio, percent


def _memories(ds: xr.Dataset) -> np.ndarray:
    """The number of every item's memory, in the order in which they come, so that other names change nothing; each item
    its own where the sweep does not say.
    """
    return pd.factorize(ds["memory"].values.astype(str))[0] if "memory" in ds.coords else np.arange(ds.sizes["item"])


def _by_memory(values: np.ndarray, unit: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The mean over items of each of these memories."""
    return (np.bincount(unit, values) / np.bincount(unit))[chosen]


def _best_cell(log: np.ndarray, percent: np.ndarray, select: np.ndarray, measure: str) -> tuple[int, int]:
    """The layer and the strength, as numbers on their axes, that are best on these items."""
    score = log[select].mean(0) if measure == "mean" else trimmed_mean(percent[select])
    layer, strength = np.unravel_index(int(np.nanargmax(score)), log.shape[1:])
    return int(layer), int(strength)


def _student(values: np.ndarray, level: float) -> tuple[float, float, float]:
    """Bounds of Student's t at a level, and the two-sided p of the mean being 0 (1 where nothing varies)."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    half = float(scipy_stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return (
        mean - half,
        mean + half,
        float(2 * scipy_stats.t.sf(abs(mean) / error, len(values) - 1)) if error > 0 else float(mean == 0),
    )


@door(InjectionError)
def best(summary_ds: xr.Dataset, by: str = "mean", condition: str = MEMORY) -> dict[str, Any]:
    """The cell with the largest value of a summary: its layer, strength and all numbers. It is chosen and described on
    the same items: see `held_out`.
    """
    numbers = [
        str(n)
        for n, v in summary_ds.data_vars.items()
        if {"layer", "strength"} <= set(v.dims) <= {"layer", "strength", "condition"} and v.dtype.kind in "fiu"
    ]
    if not numbers:
        raise InjectionError(
            "summary_ds has no numbers over layer and strength; give what lens.injection.summary returned."
        )
    if by not in numbers:
        raise InjectionError(unfit("by", by, f"one of {', '.join(numbers)}"))
    if "condition" in summary_ds.dims and condition not in summary_ds.condition.values:
        raise InjectionError(
            unfit("condition", condition, f"one of {', '.join(map(str, summary_ds.condition.values))}")
        )
    of = summary_ds.sel(condition=condition) if "condition" in summary_ds.dims else summary_ds
    cell = of[by].stack(cell=("layer", "strength"))
    if bool(np.isnan(cell).all()):
        raise InjectionError(f"summary: no cell has a value of {by!r}; was the sweep stopped before its first layer?")
    layer, strength = cell.cell.values[int(np.nanargmax(cell.values))]
    at = of.sel(layer=layer, strength=strength)
    return {
        "layer": int(layer),
        "strength": float(strength),
        "condition": condition,
        **{str(k): float(v) if v.dtype.kind in "fiub" else str(v.values) for k, v in at.data_vars.items()},
    }


def _check(ds: xr.Dataset, name: str = "ds") -> None:
    if not {"item", "layer", "strength", "condition"} <= set(ds.dims) or "multi_logprob" not in ds:
        raise InjectionError(
            f"{name}: expected what lens.injection.sweep returned, with item, layer, strength and condition."
        )
