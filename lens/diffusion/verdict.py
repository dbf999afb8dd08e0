"""From measured tables to one word, hides or erases; the rule, its words and its margin are `lens.stats.erasure`'s,
the same for every family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from ..stats import erasure
from ..stats.erasure import WORDS, Attack, Verdict
from .errors import DiffusionError

__all__ = ["COPIED", "WORDS", "Attack", "Verdict", "attack_of", "recalled", "verdict"]

#: A caption's picture counts as recalled where at least this share of its samples are copies.
COPIED = 0.5


def recalled(values: xr.DataArray | Any, least: float = COPIED) -> Bool[np.ndarray, " caption"]:
    """Which captions' pictures are recalled: at least the share `least` of the seeds give a copy, at any of the looks.

    Args:
        values: whether each sample is a copy, or its share: over `caption`, `seed` if there is one, and looks (steps,
            variants, shares of noise); or an array [caption].

    Raises: DiffusionError: numbers that are no shares, another shape, no look that is whole.
    """
    if not isinstance(values, xr.DataArray):
        values = xr.DataArray(np.asarray(values, dtype=float), dims=("caption",) if np.ndim(values) == 1 else None)
    if "caption" not in values.dims or not values.size:
        raise DiffusionError(
            f"values have the axes {', '.join(map(str, values.dims)) or 'none'} and shape {values.shape}; expected"
            " 'caption' among them, or an array [caption]."
        )
    shares = values.astype(float).mean("seed", skipna=False) if "seed" in values.dims else values.astype(float)
    over = [dim for dim in shares.dims if dim != "caption"]
    looks = shares.transpose(*over, "caption").values.reshape(-1, values.sizes["caption"])
    looks = looks[~np.isnan(looks).any(1)]  # a run that was stopped
    if not len(looks):
        raise DiffusionError("values: no look is whole, each has missing numbers; let the run go on to its end.")
    if looks.min() < 0 or looks.max() > 1:
        raise DiffusionError(
            f"values go from {looks.min():g} to {looks.max():g}; expected truth values or shares from 0 to 1: apply the"
            " copy measure's threshold first."
        )
    return looks.max(0) >= least


def attack_of(
    edited: xr.DataArray | Any, control: xr.DataArray | Any, *, paired: bool = True, least: float = COPIED
) -> Attack:
    """An attack as `verdict` takes it, from values as `recalled` takes them: the most that any look found, in the
    edited model and in its control alike.

    `control`: the same captions in a twin that never saw the pictures (`paired`), or pictures that no model saw. Raises
    as `recalled`.

    >>> target, control = (table.value.isel(caption=table.set == of) for of in ("target", "control"))  # doctest: +SKIP
    >>> attack_of(target, control, paired=False)  # doctest: +SKIP
    >>> attack_of(trained.value.sel(model="edited"), trained.value.sel(model="twin"))  # doctest: +SKIP
    """
    return Attack(recalled(edited, least), recalled(control, least), paired)


def verdict(
    before: xr.DataArray | Any,
    after: xr.DataArray | Any,
    attacks: Mapping[str, Attack],
    *,
    least: float = COPIED,
    **options: Any,
) -> Verdict:
    """One word for an edit, see `lens.stats.erasure.verdict`: an attack counts by what it brings back, of the
    pictures that the edit took away, beyond its control.

    `before`, `after`: copying by the captions themselves, as `recalled` takes it. `options`: `alpha`, `margin`,
    `level`, `resamples`, `seed`.

    Raises: DiffusionError: as `recalled`. StatisticsError: arrays that do not fit; nothing recalled before the edit.
    """
    return erasure.verdict(recalled(before, least), recalled(after, least), attacks, **options)
