"""Transcripts from arrays and files: flat token files with an order, JSONL, Parquet, NumPy archives. Damaged parts are
named and the rest is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from lens import containers, reading

from ..arguments import Count, FilePath, Filled, Name, door
from .arguments import Kind, TokenDtype, array
from .errors import ProvenanceError
from .transcripts import Transcript

POSITIONS = (
    "key",
    "step",
    "rank",
    "position",
    "index",
)  # columns that hold positions; the last two are ranks unless told otherwise
NAMED = 5  # faults that a message lists
#: One file or folder, or several.
Paths = FilePath | Annotated[Sequence[FilePath], Filled()]


@door(ProvenanceError)
def read(path: Paths, **options) -> Transcript:
    """A transcript from a file by its suffix: .jsonl, .parquet (or several), .npz, or .npy / .bin with an `order`."""
    first = Path(path if isinstance(path, (str, os.PathLike)) else next(iter(path)))
    readers: dict[str, Callable[..., Transcript]] = {
        ".jsonl": from_jsonl,
        ".json": from_jsonl,
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
    return _from_columns(arrays | {"tokens": tokens}, path, position, kind, [], 0, options)


@door(ProvenanceError)
def from_jsonl(path: FilePath, *, position: Name | None = None, kind: Kind | None = None, **options) -> Transcript:
    """One JSON object a line: `tokens` (ids) or `text`, one of key, step, rank, position; optional `row_id`, `group`.

    Lines that cannot be read are counted and named.
    """
    path, columns, faults, lost = Path(path), {}, [], 0
    records = []
    for number, line in reading.lines(reading.content(path, _refuse, most=None)):
        try:
            records.append((number, _row(reading.value(line, dict), position)))
        except reading.Fault as fault:
            lost += 1
            faults.append(f"{path.name} line {number} ({fault})")
    for name in dict.fromkeys(key for _, record in records for key in record):
        columns[name] = [record.get(name) for _, record in records]
    return _from_columns(columns, path, position, kind, faults, lost, options)


def _row(record: dict[str, Any], position: str | None) -> dict[str, Any]:
    """A line's object with its tokens as an array. Raises reading.Fault: its tokens are no flat list of whole numbers,
    or its position is none that an array holds.
    """
    tokens = record.get("tokens")
    if tokens is not None and not isinstance(tokens, str):
        try:
            row = np.asarray(tokens)
        except (ValueError, OverflowError, TypeError):
            row = np.empty((), object)
        if not isinstance(tokens, list) or row.ndim != 1 or (row.dtype.kind not in "iu" and len(row)):
            raise reading.Fault("has tokens that are no flat list of whole numbers")
        record = record | {"tokens": row.astype(np.int64) if not len(row) else row}
    for name in (*POSITIONS, "row_id", *([position] if position else [])):
        at = record.get(name)
        if (
            isinstance(at, bool)
            or (at is not None and not isinstance(at, (int, float)))
            or (isinstance(at, int) and abs(at) >= 1 << 63)
        ):
            raise reading.Fault(f"has {name}={str(at)[:40]}, which is no number of 64 bits")
    return record


@door(ProvenanceError)
def from_parquet(
    path: Paths, *, position: Name | None = None, kind: Kind | None = None, tokens: Name = "tokens", **options
) -> Transcript:
    """Parquet files or a folder of them: a column of token lists (or `text`), one of key, step, rank, position, index;
    optional `row_id`, `group`.

    A file that cannot be read is named, and the rest goes on. Row ids are by default numbered over all the files that
    could be read.
    """
    import pyarrow as pa

    paths = [Path(p) for p in ([path] if isinstance(path, (str, os.PathLike)) else path)]
    paths = [file for p in paths for file in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])]
    if not paths:
        raise ProvenanceError(f"path={str(path)!r} holds no .parquet file")
    tables, whole, faults, lost = [], [], [], 0
    for file in paths:
        try:
            tables.append(containers.parquet(file, _refuse))
            whole.append(file)
        except ProvenanceError as error:
            faults.append(f"{file.name} ({str(error).removeprefix(f'{file} ')[:120]})")
            lost += _rows_of(file)
    if not tables:
        raise ProvenanceError(f"path: none of {len(paths)} files can be read: {'; '.join(faults[:NAMED])}")
    names = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    columns = {}
    for name in names:
        kinds = {str(table.schema.field(name).type): file for table, file in zip(tables, whole)}
        if len(kinds) > 1:
            raise _refuse(
                f"the files of {paths[0].parent} differ in the type of {name!r}:"
                f" {', '.join(f'{kind} in {file.name}' for kind, file in kinds.items())}; write them alike"
            )
        column = pa.chunked_array(
            [chunk for table in tables for chunk in table.column(name).chunks], tables[0].schema.field(name).type
        )
        columns["tokens" if name == tokens else name] = (
            _list_column(column)
            if pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            else column.to_pylist()
        )
    return _from_columns(
        columns,
        paths[0] if len(paths) == 1 else paths[0].parent,
        position,
        kind,
        faults,
        lost,
        options,
        [str(file) for file in paths],
    )


def _refuse(said: str) -> ProvenanceError:
    return ProvenanceError(f"path: {said}")


def _refuse_order(said: str) -> ProvenanceError:
    return ProvenanceError(f"order: {said}")


def _list_column(column) -> list[np.ndarray | None]:
    rows = []
    for chunk in column.chunks:
        values, offsets = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        present = chunk.is_valid().to_numpy(zero_copy_only=False)
        rows += [values[a:b] if there else None for a, b, there in zip(offsets[:-1], offsets[1:], present)]
    return rows


def _rows_of(file: Path) -> int:
    """How many rows a damaged file says that it has; 0 where even that cannot be read."""
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file).metadata.num_rows
    except Exception:
        return 0


#: columns whose name says what positions are
_KINDS: dict[str, Kind] = {"key": "key", "step": "step", "rank": "rank"}


def _from_columns(
    columns: dict[str, Any],
    path: Path,
    position: str | None,
    kind: Kind | None,
    faults: list[str],
    lost: int,
    options: dict,
    files: list[str] | None = None,
) -> Transcript:
    named = [position] if position else [name for name in POSITIONS if name in columns]
    if not named or named[0] not in columns:
        raise ProvenanceError(
            f"{path}: no column of positions; expected one of {', '.join(POSITIONS)}, or name it with position=. It has"
            f" {', '.join(map(str, columns)) or 'nothing'}"
        )
    if len(named) > 1:
        raise ProvenanceError(
            f"{path} has several columns of positions ({', '.join(named)}); say which with position= before any score"
            " is seen"
        )
    kind = kind or _KINDS.get(named[0], "rank")
    values = columns[named[0]]
    values = [np.nan if value is None else value for value in values] if isinstance(values, list) else values
    tokens = columns.get("tokens", columns.get("text"))
    if tokens is None:
        raise ProvenanceError(f"{path}: no column 'tokens' (ids) or 'text'; it has {', '.join(map(str, columns))}")
    if any(row is None for row in tokens):
        raise ProvenanceError(
            f"{path}: tokens are missing in {sum(row is None for row in tokens)} rows; leave such rows out, all of them"
        )
    notes: dict[str, Any] = {"files": files or [str(path)]}
    if faults:
        notes["lost"] = {
            "rows": lost,
            "where": [*faults[:NAMED], *([f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else [])],
        }
    about = notes | dict(options.pop("about", {}))
    extra = {
        name: np.asarray(columns[name]) for name in ("row_id", "group") if name in columns and columns[name] is not None
    }
    return Transcript(tokens, values, kind, about=about, **({"name": path.name} | extra | options))
