"""A view's state as JSON: what is asked, where the person looks, and the answers that make the picture."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lens import files
from lens.cache import cache_dir
from lens.results import Result
from widgets.errors import ViewError

FORMAT = "mnemoscope view"
#: Of the form of the file; a file of another version is refused.
VERSION = 1
#: Characters of JSON up to which a part of a state lies in its file; a larger one lies in the cache.
INLINE = 1_000_000


def to_json(value: Any) -> Any:
    """A trait's value in what JSON can hold: buffers compressed, arrays with their form, numbers that are none by
    name.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$zlib": base64.b64encode(zlib.compress(bytes(value), 9)).decode()}
    if isinstance(value, np.ndarray):
        return {"$array": array(value)}
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
    if value.keys() == {"$array"}:
        return values_of(value["$array"])
    return {key: from_json(one) for key, one in value.items()}


def array(values: np.ndarray) -> dict[str, Any]:
    """An array of numbers or texts in what JSON can hold."""
    if values.dtype.kind in "biuf":
        order = values.dtype.newbyteorder("<")
        kind, data = order.str, to_json(np.ascontiguousarray(values, dtype=order).tobytes())
    else:
        kind, data = "str", values.astype(str).tolist()
    return {"shape": list(values.shape), "dtype": kind, "data": data}


def values_of(packed: dict[str, Any]) -> np.ndarray:
    """The array that `array` was given."""
    data = from_json(packed["data"])
    if packed["dtype"] == "str":
        return np.array(data, dtype=str).reshape(packed["shape"])
    return np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"]).copy()


def pack(dataset: xr.Dataset) -> dict[str, Any]:
    """A Dataset in what JSON can hold."""

    def labelled(one: xr.DataArray) -> dict[str, Any]:
        return {"dims": list(map(str, one.dims)), "attrs": to_json(one.attrs)} | array(np.asarray(one.values))

    return {
        "result": isinstance(dataset, Result),
        "attrs": {str(k): to_json(v) for k, v in dataset.attrs.items()},
        "coords": {str(name): labelled(one) for name, one in dataset.coords.items()},
        "variables": {str(name): labelled(one) for name, one in dataset.data_vars.items()},
    }


def unpack(packed: dict[str, Any]) -> xr.Dataset:
    """The Dataset that `pack` was given."""

    def variable(one: dict[str, Any]) -> xr.Variable:
        return xr.Variable(one["dims"], values_of(one), from_json(one.get("attrs", {})))

    kind = Result if packed.get("result") else xr.Dataset
    return kind(
        {name: variable(one) for name, one in packed["variables"].items()},
        {name: variable(one) for name, one in packed["coords"].items()},
        {name: from_json(one) for name, one in packed["attrs"].items()},
    )


def deposit(part: Any) -> Any:
    """A part of a state as it stands in the file: itself where its JSON is short, else what names it in the cache."""
    text = json.dumps(part, allow_nan=False)
    if len(text) <= INLINE:
        return part
    digest = hashlib.sha256(text.encode()).hexdigest()
    files.write(_place(digest), text, parents=True)
    return {"$cache": digest}


def withdraw(part: Any) -> Any:
    """The part that `deposit` was given; None where this machine's cache does not hold it as it was."""
    if not (isinstance(part, dict) and part.keys() == {"$cache"}):
        return part
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = _place(str(part["$cache"])).read_text(encoding="utf-8")
        if hashlib.sha256(text.encode()).hexdigest() == part["$cache"]:
            return json.loads(text)
    return None


def _place(digest: str) -> Path:
    return cache_dir() / "views" / "states" / f"{Path(digest).name}.json"


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
