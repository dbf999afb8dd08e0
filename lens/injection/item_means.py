"""Means over items of a reading or a patch, with intervals and tests, beside those of the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import Draws, Seed, Share, door, shown
from ..results import dataset as results
from ..stats.effects import UNITS, clusters, tested
from .items import InjectionError


@door(InjectionError)
def over_items(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    level: Share = 0.95,
    resamples: Draws = 2000,
    flips: Draws | None = None,
    method: str = "auto",
    seed: Seed = 0,
    cluster: str | Sequence[Any] | None = "auto",
) -> xr.Dataset:
    """The mean over items of every cell with its interval and sign-flip test, Holm-corrected over the cells, beside the
    control's.

    Args:
        ds: what ``bridge_reading``, ``lens_reading`` or ``from_explicit`` returned.
        variable: by default ``reading`` or ``effect``, whichever is there. Its control is ``<variable>_other``.
        flips: sign patterns of the test; None takes 100 a cell and at least 10 000, so that Holm's correction can reach
            0.05.
        method: of the interval, see `lens.stats.intervals.bootstrap`. cluster: what counts as one, as in `summary`:
            by default the memory.

    Returns: over the remaining axes ``mean``, ``low``, ``high``, ``interval_kind``, ``n`` (units), ``p`` (two-sided,
        guaranteed if symmetric about 0 under the null), ``p_kind``, ``p_holm``; ``units``: in words, what counted as
        one; where there is a control the same with ``_other``, and of ``excess`` = item by item, variable - control:
        ``excess``, ``excess_low``, ``excess_high``, ``excess_p``, ``excess_p_holm``.

    Raises: InjectionError: no item axis, fewer than two items, no such variable.

    Source: Efron and Tibshirani 1993; Phipson and Smyth 2010; Holm 1979.
    """
    variable = variable or next((n for n in ("reading", "effect") if n in ds), None)
    if (
        variable is None
        or variable not in ds
        or "item" not in ds[variable].dims
        or ds[variable].dtype.kind not in "fiub"
    ):
        raise InjectionError(
            f"variable={shown(variable)} names no numbers over items of ds; it has"
            f" {', '.join(map(str, ds.data_vars)) or 'none'}."
        )
    if ds.sizes["item"] < 2:
        raise InjectionError("ds has one item; an interval over items needs at least two.")
    own, control = ds[variable], ds.get(f"{variable}_other")
    coords = {c: ds[c] for c in ds.coords if not set(ds[c].dims) - set(own.dims) and "item" not in ds[c].dims}
    table, options = (
        xr.Dataset(coords=coords),
        dict(level=level, resamples=resamples, flips=flips, method=method, seed=seed),
    )
    fields = {str(c): ds[c].values.tolist() for c in ds.coords if ds[c].dims == ("item",) and c != "item"}
    units, note = clusters(cluster, ds.sizes["item"], fields, UNITS, "items")
    table.update(_tested(own, "mean", "", units, options))
    if control is not None and control.notnull().any():
        table.update(_tested(control, "mean", "_other", units, options))
        table.update(_tested(own - control, "excess", "excess", units, options))
    for name in table.data_vars:
        if (
            str(name).startswith(("mean", "low", "high", "excess"))
            and "_p" not in str(name)
            and table[name].dtype.kind == "f"
        ):
            table[name].attrs["units"] = own.attrs.get("units", "")
    table["units"] = ((), note)
    return results.stamp(
        table,
        {
            **results.provenance(ds),
            "kind": "items summary",
            "statistics": {"variable": variable, **options, "units": note},
        },
    )


def _tested(x: xr.DataArray, mean: str, label: str, units: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    x = x.transpose("item", ...)
    out, _ = tested(np.asarray(x.values, float), units, **options)
    rename = {
        "": lambda n: n,
        "_other": lambda n: f"{n}_other",
        "excess": lambda n: mean if n == "mean" else f"{mean}_{n}",
    }[label]
    return {rename(n): (x.dims[1:], v) for n, v in out.items()}
