"""Over prompts: the mean effect of each cell, how sure it is, and whether it is there at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import xarray as xr

from ..arguments import Draws, Name, Seed, Share, door, unfit
from ..results import dataset as results
from ..stats.bounds import effect_bounds
from ..stats.effects import UNITS, clusters, tested
from .grid import PatchError

#: Fields by which prompts are taken for one unit where nothing is said: equal prompts, one scene in two word orders,
#: one entity.
GUESS = ("prompt", *UNITS)
_ORDER = re.compile(r"(?<![a-z])(abba|baba)(?![a-z])")


@door(PatchError)
def summary(
    ds: xr.Dataset,
    variable: Name = "effect",
    *,
    level: Share = 0.95,
    resamples: Draws = 2000,
    flips: Draws | None = None,
    method: str = "auto",
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """The mean over prompts of every cell, with an interval and a sign-flip test, Holm-corrected over the cells.

    Args:
        ds: a result with a ``prompt`` axis.
        variable: ``effect`` (in the metric's units) or ``normalized``; the latter is the mean of ratios: prefer
            ``effect`` where some pairs have a small gap between clean and corrupted.
        flips: sign patterns of the permutation test; all of them if there are no more (the p-value is then exact). None
            takes 100 a cell and at least 10 000, so that Holm's correction can reach 0.05 however many cells there are.
        method: of the interval, see `lens.stats.intervals.bootstrap`; "auto" covers what it says (measured), or gives
            none.
        cluster: what counts as one. "auto": equal prompts, pairs whose labels differ in the word order only (abba,
            baba), and pairs whose spans name the same subject or entity are one unit, the mean of their effects; None:
            each prompt; "label", another field of the pairs or a coordinate of the prompts; or a label for each prompt.

    Returns: over the remaining axes ``mean``, ``low``, ``high``, ``interval_kind``, ``n`` (units), ``p`` (two-sided;
        guaranteed if effects are symmetric about 0 under the null), ``p_kind`` ("approximate" where they are seen to be
        skewed), ``p_holm`` (corrected over all cells), ``mean_normalized`` = mean effect / mean gap over prompts (a
        ratio of means); ``units``: in words, what counted as one.

    Raises:
        PatchError: no ``prompt`` axis, fewer than two prompts. StatisticsError: a cluster that fits no prompt.

    Source: sign flips: Good 2005, ch. 3; (1 + b) / (1 + m) rule: Phipson and Smyth 2010; Holm 1979.
    """
    if variable not in ds.data_vars:
        raise PatchError(
            unfit(
                "variable",
                variable,
                f"one of {', '.join(map(str, ds.data_vars)) or 'the variables of a result (ds has none)'}",
            )
        )
    if "prompt" not in ds.dims:
        raise PatchError("ds has no prompt axis; give lens.patch a list of pairs to average over.")
    if ds.sizes["prompt"] < 2:
        raise PatchError("ds has one prompt; an interval over prompts needs at least two.")
    x = ds[variable].transpose("prompt", ...)
    record = results.provenance(ds)
    units, note = clusters(cluster, ds.sizes["prompt"], fields(ds, record), GUESS)
    bounds = effect_bounds(x.attrs.get("units", ""))
    tests, about = tested(
        x.values, units, level=level, resamples=resamples, flips=flips, method=method, seed=seed, bounds=bounds
    )
    table = xr.Dataset(
        {k: (x.dims[1:], v) for k, v in tests.items()}, {c: ds[c] for c in ds.coords if "prompt" not in ds[c].dims}
    )
    table["units"] = ((), note)
    if {"clean", "corrupted"} <= set(ds.data_vars):
        effect = ds["effect"].mean("prompt")
        # of the prompts that have the cell
        gap = (ds["clean"] - ds["corrupted"]).where(ds["effect"].notnull())
        sign = -1 if record.get("call", {}).get("direction") == "noise" else 1
        table["mean_normalized"] = effect / (sign * gap.mean("prompt"))
    for k in ("mean", "low", "high"):
        table[k].attrs["units"] = ds[variable].attrs.get("units", "")
    return results.stamp(
        table,
        {
            **record,
            "kind": "summary",
            "of": record.get("kind"),
            "statistics": {"variable": variable, **about, "units": note},
        },
    )


def fields(ds: xr.Dataset, record: dict[str, Any]) -> dict[str, list[Any]]:
    """What the prompts of a result are known by: their coordinates, and the fields of their pairs from the record."""
    n = ds.sizes["prompt"]
    known: dict[str, list[Any]] = {
        str(c): ds[c].values.tolist() for c in ds.coords if ds[c].dims == ("prompt",) and c != "prompt"
    }
    pairs, at = record.get("pairs") or [], ds["prompt"].values.tolist() if "prompt" in ds.coords else list(range(n))
    if pairs and all(isinstance(i, int) and 0 <= i < len(pairs) for i in at):
        chosen = [pairs[i] for i in at]
        known.setdefault(
            "prompt",
            # of a chat the text that was read
            [
                tuple(p.get(f"{k}_text", p.get(k)) for k in ("start", "clean", "corrupted", "answer", "foil"))
                for p in chosen
            ],
        )
        known.setdefault("entity", [_entity(p) for p in chosen])
        known.setdefault("label", [p.get("label", "") for p in chosen])
    known.setdefault(
        "scene",
        [_ORDER.sub("", str(label)) if _ORDER.search(str(label)) else None for label in known.get("label", [""] * n)],
    )
    return known


def _entity(pair: dict[str, Any]) -> Any:
    """The text of the first span that names what the prompt is about."""
    for name in ("subject", "entity", "memory"):
        span = (pair.get("spans") or {}).get(name)
        if span is not None:
            return name, span if isinstance(span, str) else span[0]
    return None
