"""What is measured of each training of the stand-in: losses of its items, and which it recites."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from ... import memorization
from ...models import weight_hash
from ...results import dataset as results
from .standin import ITEM, PREFIX, Plan, Training, trained, write


def measured(plan: Plan, one: Training, seed: int) -> xr.Dataset:
    """Of a training, over `item`: `nll` (nats a token of what is to be recited), `strict`, `duplicates`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, plan, one, seed)
        model = trained(folder, plan, one, seed)
        asked = memorization.hubble_items(folder / "items.jsonl", prefix=PREFIX, suffix=ITEM - PREFIX, kind="codes")
    recited = memorization.extract(model, asked, progress=False)
    ds = xr.Dataset(
        {
            "nll": ("item", memorization.losses(model, asked)),
            "strict": ("item", np.asarray(recited.strict.values, float)),
            "duplicates": ("item", asked.duplicates),
        }
    )
    record = {"kind": "hubble_standin", "training": one.name, "seed": seed, "weights": weight_hash(model)[:16]}
    return results.stamp(ds, record)
