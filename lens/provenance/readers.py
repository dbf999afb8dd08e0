"""Transcripts from arrays and files: flat token files with an order, NumPy archives, and by suffix the tables of
`tables`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lens import containers

from ..arguments import Count, FilePath, Name, door
from .arguments import Kind, TokenDtype, array
from .errors import ProvenanceError
from .tables import Paths, from_columns, from_parquet, from_records
from .transcripts import Transcript


@door(ProvenanceError)
def read(path: Paths, **options) -> Transcript:
    """A transcript from a file by its suffix: .jsonl, .csv, .parquet (or several), .npz, or .npy / .bin with an
    `order`.
    """
    first = Path(path if isinstance(path, (str, os.PathLike)) else next(iter(path)))
    readers: dict[str, Callable[..., Transcript]] = {
        **dict.fromkeys((".jsonl", ".ndjson", ".json", ".csv", ".tsv"), from_records),
        ".parquet": from_parquet,
        ".npz": from_npz,
        ".npy": from_file,
        ".bin": from_file,
    }
    if first.suffix not in readers:
        raise ProvenanceError(f"path={str(first)!r} ends in {first.suffix!r}; expected one of {', '.join(readers)}")
    return readers[first.suffix](path, **options)


@door(ProvenanceError)
def from_arrays(tokens: Any, position: Any = None, *, order: Any = None, kind: Kind = "rank", **options) -> Transcript:
    """A transcript from arrays: `position` [n] says when each row came, `order` [n] lists the rows in the sequence of
    training (rank t is row order[t]).

    The two are inverse permutations; a mix-up costs all power and no test would notice. Give exactly one. Other options
    are those of `Transcript`.
    """
    if (position is None) == (order is None):
        raise ProvenanceError(
            "position and order: give exactly one. position[i] is when row i came; order[t] is the row that came at"
            " time t"
        )
    if order is not None:
        order = array(order, "order", "the row numbers in the sequence of training, a permutation")
        if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ProvenanceError(
                f"order (shape {order.shape}, {order.dtype}) is no permutation of 0 to {max(order.size - 1, 0)}; it"
                " lists each row once, in the sequence of training. Where it holds each row's time, pass it as"
                " position"
            )
        if kind != "rank":
            raise ProvenanceError(f"order with kind={kind!r}: an order gives ranks; give keys or steps as position")
        position = np.empty(len(order))
        position[order] = np.arange(len(order))
    about = {"complete": order is not None} | dict(options.pop("about", {}))
    return Transcript(tokens, position, kind, about=about, **options)


@door(ProvenanceError)
def from_file(
    path: FilePath,
    order: Any = None,
    *,
    length: Count | None = None,
    dtype: TokenDtype = "uint16",
    order_is: Literal["order", "position"] = "order",
    kind: Kind = "rank",
    **options,
) -> Transcript:
    """A local token file, not read into memory: .npy ([n, length], or flat with `length`), or .bin (flat `dtype`);
    `order` is an array or .npy file.

    `order_is`: "order" (row numbers in the sequence of training) or "position" (each row's rank, step or key).
    """
    path = Path(path)
    if order is None:
        raise ProvenanceError(
            f"order is missing for {path}: give an array or .npy file, with order_is='order' or 'position'"
        )
    flat = containers.array(path, _refuse, dtype=None if path.suffix == ".npy" else dtype)
    values = np.array(containers.array(Path(order), _refuse_order)) if isinstance(order, (str, os.PathLike)) else order
    if flat.ndim == 1:
        if not length or not len(flat) or len(flat) % length:
            raise ProvenanceError(
                f"length={length!r} with {path}, {len(flat)} tokens in one line; expected a row length that divides"
                " their number"
            )
        flat = flat.reshape(-1, length)
    elif length not in (None, flat.shape[-1]):
        raise ProvenanceError(
            f"length={length} and {path} holds rows of {flat.shape[-1]} tokens; leave length out, or give the right one"
        )
    options = {"name": path.name, "about": {"files": [str(path)]}} | options
    return from_arrays(flat, kind=kind, **{order_is: values}, **options)


@door(ProvenanceError)
def from_npz(path: FilePath, *, position: Name | None = None, kind: Kind | None = None, **options) -> Transcript:
    """A NumPy archive: `tokens` [n, length], or flat `tokens` with `offsets` [n + 1]; one of key, step, rank, position;
    optional `row_id`, `group`.
    """
    path = Path(path)
    arrays = containers.archive(path, _refuse)
    tokens: Any = arrays.get("tokens")
    if tokens is not None and "offsets" in arrays:
        offsets = arrays["offsets"]
        if (
            tokens.ndim != 1
            or offsets.ndim != 1
            or offsets.dtype.kind not in "iu"
            or not len(offsets)
            or offsets[0] != 0
            or offsets[-1] != len(tokens)
            or (np.diff(offsets.astype(np.int64)) < 0).any()
        ):
            raise _refuse(
                f"{path}: offsets (shape {offsets.shape}, {offsets.dtype}) do not cut tokens (shape {tokens.shape})"
                " into rows; expected rising whole numbers from 0 to their number"
            )
        tokens = np.split(tokens, offsets[1:-1])
    return from_columns(arrays | {"tokens": tokens}, path, position, kind, options)


def _refuse(said: str) -> ProvenanceError:
    return ProvenanceError(f"path: {said}")


def _refuse_order(said: str) -> ProvenanceError:
    return ProvenanceError(f"order: {said}")
