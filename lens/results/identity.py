"""What a sweep is, as a store knows it again, and the error that lists what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from .. import reading
from ..arguments import FilePath
from ..models.hash import older
from ..models.loaded import told_apart
from .dataset import ATTRIBUTE, _entries, fingerprint, provenance, stamp
from .errors import ResultError
from .files import about, check_path, failure
from .saving import STORE_MARK, consolidate, folder_metadata, read_zarr

_SHOWN = 8
_ABSENT = object()
#: Where a record was made before models had a state.
_ABSENT_STATE = "not recorded"


def identity_of(ds: xr.Dataset, regions: Mapping[str, int]) -> dict[str, Any]:
    """What makes a sweep the same one: its kind, call, pairs, seed, grid, and the model as it is."""
    record = provenance(ds)
    model = _entries(record, "model")
    variables = {
        str(n): f"{'text' if a.dtype.kind in 'OUT' else a.dtype} over ({', '.join(map(str, a.dims))})"
        for n, a in ds.data_vars.items()
    }
    labels = {str(n): [str(v) for v in np.ravel(c.values)] for n, c in ds.coords.items()}
    return {
        "kind": record["kind"],
        "call": record.get("call"),
        "pairs": record.get("pairs"),
        "seed": record.get("seed"),
        "model": {
            "hash": model.get("hash"),
            "state": model.get("state", _ABSENT_STATE),
            "dtype": model.get("dtype"),
            # empty, and so left out, for a load as ever: older stores have no such entry
            **({"loaded": loaded} if (loaded := told_apart(model.get("loaded"))) else {}),
        },
        "grid": {"variables": variables, "labels": labels, "regions": dict(regions)},
    }


def unstated(record: Mapping[str, Any]) -> bool:
    """Whether a record has the hash of a model, but was made before models had a state."""
    model = record.get("model")
    return (
        isinstance(model, Mapping)
        and model.get("hash") is not None
        and model.get("state", _ABSENT_STATE) == _ABSENT_STATE
    )


def restate(path: FilePath, record: Mapping[str, Any]) -> None:
    """Gives the store at ``path`` a record with another identity of its model; see ``lens.adopt``, which checks what
    can be checked.

    Raises:
        ResultError: no store there, or it cannot be written.
    """
    path = check_path(path, "store", (".zarr",), "a store is a Zarr folder")
    mark = mark_of(path)
    stored = stamp(read_zarr(path, whole=False).drop_vars("done"), record)
    mark = mark | {"fingerprint": fingerprint(identity_of(stored, mark["regions"]))}
    try:
        group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=True)
        group.attrs[ATTRIBUTE] = stored.attrs[ATTRIBUTE]
        group["done"].attrs[STORE_MARK] = json.dumps(mark)
        consolidate(path)
    except Exception as error:
        raise failure("adopt", path, error) from error


def mark_of(path: Path) -> dict[str, Any]:
    """What a store says of itself: its regions, and the fingerprint of its sweep.

    Raises:
        ResultError: there is no store that can be written to.
    """
    node = folder_metadata(path).get("done", {})
    try:
        mark: dict[str, Any] = reading.value(node["attributes"][STORE_MARK], dict)
        if mark["schema"] == 1 and list(mark["regions"]) == list(node["dimension_names"]):
            return mark
        problem = f"its layout has number {mark['schema']}, expected 1"
    except (KeyError, TypeError, ValueError):
        problem = "it is a finished result" if not node else "its variable 'done' carries no layout"
    raise ResultError(about(path, f"is not a store to write to ({problem}); choose another path"))


def refuse_other(path: Path, identity: Mapping[str, Any]) -> None:
    """ResultError, with a list of what differs, unless the store at ``path`` belongs to the sweep ``identity``."""
    mark = mark_of(path)
    if mark["fingerprint"] == fingerprint(identity) or mark["fingerprint"] == fingerprint(older(identity)):
        return
    stored = read_zarr(path, whole=False).drop_vars("done")
    if unstated(provenance(stored)) and not unstated({"model": identity["model"]}):
        raise ResultError(
            about(
                path,
                "was made before stores recorded the state of their model (hooks, adapters, buffers, configuration), so"
                " it cannot be told whether its values are this model's; lens.adopt(store, model) takes them on your"
                " word, or choose another path",
            )
        )
    changed = [f"  {key}: {old} -> {new}" for key, old, new in _changes(identity_of(stored, mark["regions"]), identity)]
    more = [f"  and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else []
    raise ResultError(
        "\n".join(
            [
                about(path, "belongs to another sweep; choose another path, or delete it to start anew"),
                "Changed, as stored -> as asked for:",
                *changed[:_SHOWN],
                *more,
            ]
        )
    )


def _changes(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two records differ: (path of the entry, old, new)."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{key}.{name}" if key else str(name))
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield key, f"{len(old)} entries", f"{len(new)} entries"
        for i, (a, b) in enumerate(zip(old, new) if len(old) == len(new) else ()):
            yield from _changes(a, b, f"{key}[{i}]")
    elif old != new:
        yield key, "absent" if old is _ABSENT else short(old), "absent" if new is _ABSENT else short(new)


def short(value: Any, limit: int = 70) -> str:
    """A value in so many characters at most."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
