"""A view's state as JSON: what is asked, where the person looks, and the answers that make the picture."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from widgets.errors import ViewError

FORMAT = "mnemoscope view"
#: Of the form of the file; a file of another version is refused.
VERSION = 1
SMALL = 256  # bytes from which a buffer is compressed


def to_json(value: Any) -> Any:
    """A trait's value in what JSON can hold: buffers compressed, numbers that are none by name."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$zlib": base64.b64encode(zlib.compress(bytes(value), 9)).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, dict):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    return value


def from_json(value: Any) -> Any:
    """What `to_json` was given."""
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$zlib"}:
        return zlib.decompress(base64.b64decode(value["$zlib"]))
    if value.keys() == {"$float"}:
        return float(value["$float"])
    return {key: from_json(one) for key, one in value.items()}


def pack(dataset: xr.Dataset) -> dict[str, Any]:
    """A Dataset in what JSON can hold."""

    def array(one: xr.DataArray) -> dict[str, Any]:
        values = np.asarray(one.values)
        if values.dtype.kind in "biuf":
            data: Any = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
            kind = values.dtype.newbyteorder("<").str
        else:
            data, kind = values.astype(str).tolist(), "str"
        return {"dims": list(map(str, one.dims)), "shape": list(values.shape), "dtype": kind, "data": to_json(data)}

    return {
        "attrs": {str(k): to_json(v) for k, v in dataset.attrs.items()},
        "coords": {str(name): array(one) for name, one in dataset.coords.items()},
        "variables": {str(name): array(one) for name, one in dataset.data_vars.items()},
    }


def unpack(packed: dict[str, Any]) -> xr.Dataset:
    """The Dataset that `pack` was given."""

    def array(one: dict[str, Any]) -> tuple[list[str], np.ndarray]:
        data = from_json(one["data"])
        if one["dtype"] == "str":
            return one["dims"], np.array(data, dtype=str).reshape(one["shape"])
        return one["dims"], np.frombuffer(data, dtype=one["dtype"]).reshape(one["shape"]).copy()

    return xr.Dataset(
        {name: array(one) for name, one in packed["variables"].items()},
        {name: array(one) for name, one in packed["coords"].items()},
        {name: from_json(one) for name, one in packed["attrs"].items()},
    )


def read(path: Path) -> dict[str, Any]:
    """The state in a file. Raises ViewError for what is no such file, and for another version."""
    again = "save the view again: view.save_state(path, overwrite=True)"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ViewError(f"path: {path} is not there; view.save_state(path) writes such a file") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ViewError(f"path: {path} cannot be read as a view's state ({error}); {again}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ViewError(f"path: {path} is JSON, but no view's state; expected what view.save_state wrote")
    if state.get("version") != VERSION:
        raise ViewError(
            f"path: {path} holds a view's state of version {state.get('version')!r}, written by mnemoscope"
            f" {state.get('package', '(unknown)')}; this one reads version {VERSION}. Open it there, or {again}"
        )
    missing = [key for key, kind in (("view", str), ("model", dict), ("fields", dict), ("answers", dict))
               if not isinstance(state.get(key), kind)]  # fmt: skip
    if missing:
        raise ViewError(f"path: {path} is damaged, {', '.join(missing)} is not in it as it was written; {again}")
    return state
