"""A sweep on disk: written as it goes, taken up where it was cut."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..arguments import FilePath, HFModel, door
from ..models import same_weights, weight_hash
from ..models.state import identity
from . import dataset as results
from .errors import ResultError
from .files import check_path
from .identity import restate, unstated
from .store import Store, load_store


@door(ResultError)
def adopt(store: FilePath, model: HFModel) -> None:
    """Takes a store that was made before stores recorded their model's state for one of ``model``, on your word.

    What can be checked is: the store's values must be of weights with this model's hash and dtype. That nothing else
    was different then (hooks, an adapter's scale, buffers, the configuration) is what you vouch for; the record says so
    (``model.adopted``, with the date). From then on the store is taken up again like any other.

    Raises:
        ResultError: no store at ``store``; one that has its model's state already; values of other weights; a model
            whose state cannot be told.
    """
    path = check_path(store, "store", (".zarr",), "a store is a Zarr folder")
    record = results.provenance(load_store(path))
    if not unstated(record):
        raise ResultError(f"store={str(store)!r} records the state of its model already; there is nothing to adopt.")
    old, now, digest = record["model"], identity(model), weight_hash(model, anew=True)
    plain: Any = getattr(model, "original_model", model)
    dtype = str(next(iter(plain.parameters())).dtype).removeprefix("torch.")
    if not same_weights(model, old.get("hash")) or old.get("dtype", dtype) != dtype:
        raise ResultError(
            f"store={str(store)!r} holds values of weights {str(old.get('hash'))[:12]} in {old.get('dtype')}, this"
            f" model's are {digest[:12]} in {dtype}; load the model that the store was made with, or choose another"
            " path."
        )
    if now.digest is None:
        raise ResultError(
            f"model cannot be identified ({now.unidentified}), so that no store can be its own; take that off first."
        )
    said = {
        "on": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "why": "the store did not record its model's state; it was taken for this one on a person's word",
    }
    restate(path, record | {"model": old | now.record() | {"adopted": said}})


class SweepStore:
    """The store of one sweep over prompts (or items) and layers.

    Attributes:
        done: which regions were there when the sweep was taken up, in the order of ``regions``.
        adopted: what the stored record says of the adoption of its model, if it was adopted; goes into the record of
            what is returned.

    Raises:
        ResultError: ``path`` holds another sweep (the message lists what differs), or cannot be written.
    """

    def __init__(self, path: FilePath, template: xr.Dataset, *, regions: Mapping[str, int] | None = None):
        self.store = Store(path, template, regions=regions)
        model = results.provenance(self.store.load()).get("model")
        self.adopted = {k: v for k, v in (model or {}).items() if k == "adopted"}
        self.done = self.store.done.transpose(*(regions or ("prompt", "layer"))).values.copy()

    def load(self) -> xr.Dataset:
        """What the store holds, NaN where nothing was written yet."""
        return self.store.load()

    def write(self, part: xr.Dataset) -> None:
        """Writes the part just computed; one that another process has written meanwhile stays as it is."""
        if not self.store.has(part):
            self.store.write(part)

    def finish(self, ds: xr.Dataset) -> None:
        """Records status and duration."""
        record = results.provenance(ds)
        self.store.stamp(
            record
            | {"model": record.get("model", {}) | self.adopted, "status": "complete" if self.whole else "partial"}
        )

    @property
    def whole(self) -> bool:
        """Whether every cell is there, written by this process or another."""
        return bool(np.all(self.store.done.values))
