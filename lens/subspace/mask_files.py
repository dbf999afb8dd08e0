"""Masks as files: one archive without pickle, of which nothing is believed that is not looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import containers, reading
from ..results.files import check_path, new_path
from .errors import SubspaceError

SCHEMA = 1


class MaskFields(NamedTuple):
    """What a mask is made of; see `Mask`."""

    layers: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, int]]
    model: str
    about: dict[str, Any]


def write_mask(
    path: str | os.PathLike[str],
    layers: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, int]],
    model: str,
    about: Mapping[str, Any],
) -> Path:
    """Write a mask as one `.npz` file, replacing what is there. Raises: SubspaceError: another ending."""
    path = check_path(path, "path", (".npz",), "a mask is one file")
    header = json.dumps(
        {
            "schema": SCHEMA,
            "model": model,
            "about": dict(about),
            "layers": [[name, *map(int, shape)] for name, shape in shapes.items()],
        }
    )
    arrays: dict[str, Any] = {f"layer{i}": layers[name] for i, name in enumerate(shapes)}
    with new_path(path, "save the mask") as part:
        with open(part, "wb") as ready:  # by name it would get another ending
            np.savez_compressed(ready, about=np.frombuffer(header.encode(), np.uint8), **arrays)
    return path


def read_mask(path: str | os.PathLike[str]) -> MaskFields:
    """What `write_mask` wrote. Raises: SubspaceError: a missing or damaged file."""
    try:
        archive = containers.archive(Path(path), SubspaceError)
        header = reading.value(bytes(archive["about"]), dict)
        shapes = {name: (int(out), int(d_in)) for name, out, d_in in header["layers"]}
        layers = {name: archive[f"layer{i}"] for i, name in enumerate(shapes)}
        for name, (out, d_in) in shapes.items():
            if not (out > 0 and d_in > 0 and out * d_in < 1 << 62):
                raise ValueError(f"the layer {name!r} has no shape that a matrix has")
        if not isinstance(header["model"], str) or not isinstance(header["about"], dict):
            raise ValueError("its model is no text, or what it tells of itself no object")
        for (name, index), (out, d_in) in zip(layers.items(), shapes.values()):
            if not _sorted_below(index, out * d_in):
                raise ValueError(f"the weights of {name!r} are not sorted numbers below {out * d_in}")
    except SubspaceError as error:
        if not Path(path).exists():
            raise SubspaceError(
                f"path={str(path)!r} does not exist; check the name, or locate the mask and save it."
            ) from None
        raise SubspaceError(f"path={str(path)!r} is no mask that can be read ({error}); save it again.") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SubspaceError(
            f"path={str(path)!r} is no mask that can be read ({type(error).__name__}: {error}); save it again."
        ) from None
    return MaskFields(layers, shapes, header["model"], header["about"])


def _sorted_below(index: np.ndarray, total: int) -> bool:
    """Whether it is different whole numbers from 0 to below `total`, in their order."""
    if index.ndim != 1 or index.dtype.kind not in "iu":
        return False
    if not len(index):
        return True
    return bool(0 <= index[0] and index[-1] < total and (np.diff(index.astype(np.int64)) > 0).all())
