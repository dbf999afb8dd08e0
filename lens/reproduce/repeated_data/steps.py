"""The trainings of a run, each a step that is kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import xarray as xr

from ..common import Steps
from .arms import Arm, Preset, arms
from .bench import trained


def trainings(plan: Preset, kept: Steps, say: Callable[[str], None]) -> Mapping[str, xr.Dataset]:
    """Every training of a preset by its key, each told of as it ends; on Ray several at once."""
    every = list(arms(plan))

    def told(arm: Arm) -> xr.Dataset:
        ds = trained(arm, plan)
        say(f"{arm.key}: text loss {float(ds.text[-1]):.3f}, prefix matching {float(ds.prefix_matching[-1]):.2f}")
        return ds

    makers = {arm.key: partial(told, arm) for arm in every}
    return dict(zip(makers, kept.all(makers)))
