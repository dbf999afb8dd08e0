"""Transcripts from tables: rows of any source that `lens.records` reads, JSONL and Parquet files among them. Damaged
parts of files are named and the rest is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lens import containers, reading, records

from ..arguments import FilePath, Filled, Name, door, tried
from .arguments import Kind
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
#: Columns of numbers whose text, in a CSV, is read as one.
_WHOLE = ("step", "rank", "index", "row_id")


@door(ProvenanceError)
def from_records(
    source: Any, *, position: Name | None = None, kind: Kind | None = None, tokens: Name = "tokens", **options
) -> Transcript:
    """Rows of any source that `lens.records` reads (a list, a frame, a dataset of Hugging Face, streaming or not, a
    CSV, JSONL, JSON or Parquet file): a column of token ids (or `text`), one of key, step, rank, position, index;
    optional `row_id`, `group`.

    Lines of a file that cannot be read are counted and named; of other sources the first is refused. A number of a CSV
    is one where its text is. All rows are held in memory.
    """
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix == ".parquet":
        return from_parquet(source, position=position, kind=kind, tokens=tokens, **options)
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    if path is None and (table := records.table(source)) is not None:
        return _from_tables([table], [], "source", position, kind, tokens, options)
    faults: list[str] = []

    def lost(place: str, fault: str) -> None:
        if path is None:
            raise _refuse_source(f"{place} {fault}")
        faults.append(f"{place.replace(str(path), path.name)} ({fault})")

    rows = []
    for row in records.rows(source, _refuse_source if path is None else _refuse, lost=lost):
        try:
            rows.append(_row(row, position, tokens))
        except reading.Fault as fault:
            lost(row.place, str(fault))
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)}
    return from_columns(columns, path or "source", position, kind, options, faults, len(faults))


@door(ProvenanceError)
def from_jsonl(path: FilePath, *, position: Name | None = None, kind: Kind | None = None, **options) -> Transcript:
    """One JSON object a line: `tokens` (ids) or `text`, one of key, step, rank, position; optional `row_id`, `group`.

    Lines that cannot be read are counted and named.
    """
    return from_records(path, position=position, kind=kind, **options)


def _row(record: records.Row, position: str | None, column: str) -> dict[str, Any]:
    """A row with its tokens as an array. Raises reading.Fault: its tokens are no flat list of whole numbers, or its
    position is none that an array holds.
    """
    found = dict(record)
    if column in found:
        found["tokens"] = found.pop(column)
    tokens = found.get("tokens")
    if tokens is not None and not isinstance(tokens, str):
        try:
            row = np.asarray(tokens)
        except (ValueError, OverflowError, TypeError):
            row = np.empty((), object)
        if not isinstance(tokens, list) or row.ndim != 1 or (row.dtype.kind not in "iu" and len(row)):
            raise reading.Fault("has tokens that are no flat list of whole numbers")
        found["tokens"] = row.astype(np.int64) if not len(row) else row
    for name in (*POSITIONS, "row_id", *([position] if position else [])):
        at = found.get(name)
        if isinstance(at, str) and record.plain:
            found[name] = at = tried(record.whole if name in _WHOLE else record.real, name, at)
        if (
            isinstance(at, bool)
            or (at is not None and not isinstance(at, (int, float)))
            or (isinstance(at, int) and abs(at) >= 1 << 63)
        ):
            raise reading.Fault(f"has {name}={str(at)[:40]}, which is no number of 64 bits")
    return found


@door(ProvenanceError)
def from_parquet(
    path: Paths, *, position: Name | None = None, kind: Kind | None = None, tokens: Name = "tokens", **options
) -> Transcript:
    """Parquet files or a folder of them: a column of token lists (or `text`), one of key, step, rank, position, index;
    optional `row_id`, `group`.

    A file that cannot be read is named, and the rest goes on. Row ids are by default numbered over all the files that
    could be read.
    """
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
    files, where = [str(file) for file in paths], paths[0] if len(paths) == 1 else paths[0].parent
    return _from_tables(tables, whole, where, position, kind, tokens, options, faults, lost, files)


def _from_tables(
    tables: list[Any],
    whole: list[Path],
    where: Path | str,
    position: str | None,
    kind: Kind | None,
    tokens: str,
    options: dict,
    faults: Sequence[str] = (),
    lost: int = 0,
    files: list[str] | None = None,
) -> Transcript:
    """The rows of pyarrow tables, one after the other; `whole`: the file of each, where they come from files."""
    import pyarrow as pa

    names = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    columns = {}
    for name in names:
        kinds = {str(table.schema.field(name).type): file for table, file in zip(tables, whole)}
        if len(kinds) > 1:
            raise _refuse(
                f"the files of {whole[0].parent} differ in the type of {name!r}:"
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
    return from_columns(columns, where, position, kind, options, faults, lost, files)


def _refuse(said: str) -> ProvenanceError:
    return ProvenanceError(f"path: {said}")


def _refuse_source(said: str) -> ProvenanceError:
    return ProvenanceError(f"source: {said}")


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


def from_columns(
    columns: Mapping[str, Any],
    path: Path | str,
    position: str | None,
    kind: Kind | None,
    options: dict,
    faults: Sequence[str] = (),
    lost: int = 0,
    files: list[str] | None = None,
) -> Transcript:
    """A transcript from columns by name; `path` says in errors whose they are, and `faults` what was lost."""
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
    notes: dict[str, Any] = {"files": files or [str(path)]} if isinstance(path, Path) else {}
    if faults:
        notes["lost"] = {
            "rows": lost,
            "where": [*faults[:NAMED], *([f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else [])],
        }
    about = notes | dict(options.pop("about", {}))
    extra = {
        name: np.asarray(columns[name]) for name in ("row_id", "group") if name in columns and columns[name] is not None
    }
    return Transcript(
        tokens, values, kind, about=about, **(({"name": path.name} if isinstance(path, Path) else {}) | extra | options)
    )
