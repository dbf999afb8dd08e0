"""Scores on disk: a folder of Parquet parts for each model and set of options, written atomically, read by row.

A row is known by a 64-bit hash of its id and its tokens, so that another transcript with the same ids is never mistaken
for it. A part's name follows from
the rows in it: two processes that score the same rows write the same files, and a row that two parts hold is read once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lens import containers, files, reading
from lens.models.hash import older

SCHEMA = 1
COLUMNS = ("logprob", "mean", "variance")


def row_key(row_id: int, tokens: np.ndarray) -> int:
    """A 64-bit hash of a row's id and its tokens."""
    digest = hashlib.blake2b(int(row_id).to_bytes(8, "little", signed=True), digest_size=8)
    digest.update(np.ascontiguousarray(tokens, "<i8").data)
    return int.from_bytes(digest.digest(), "little")


def fingerprint(options: dict) -> str:
    """24 hexadecimal digits for a model's hash and the options that its numbers depend on."""
    return hashlib.sha256(json.dumps({"schema": SCHEMA, **options}, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that are written together: ids int64 [n], keys uint64 [n], and per row one float32 array for each column."""

    row_id: np.ndarray
    key: np.ndarray
    values: list[tuple[np.ndarray, ...]]

    @staticmethod
    def name(keys: Sequence[int] | np.ndarray) -> str:
        """The file's name, from a hash of the keys of its rows."""
        return hashlib.sha256(np.asarray(keys, "<u8").tobytes()).hexdigest()[:24] + ".parquet"


class Store:
    """The parts of one model and one set of options, in a folder of their own below `folder`.

    `corrupt`: names of the parts that could not be read; they are set aside (renamed) and their rows count as not
    scored.
    """

    def __init__(self, folder: str | os.PathLike, options: dict):
        self.folder, self.options = Path(folder) / fingerprint(options), options
        self.corrupt: list[str] = []
        if not self.folder.is_dir() and any(Path(folder).glob("*/options.json")):
            before = older(options)
            if (Path(folder) / fingerprint(before)).is_dir():
                self.folder, self.options = Path(folder) / fingerprint(before), before
        files.make_folder(self.folder)
        files.sweep(self.folder)
        self.columns = COLUMNS if options.get("moments") else COLUMNS[:1]
        about = self.folder / "options.json"
        if not about.is_file():
            files.write_json(about, options, sort_keys=True)
        self._known: dict[str, np.ndarray] = {}

    def has(self, name: str) -> bool:
        """Whether a part of that name was stored."""
        return (self.folder / name).is_file()

    def write(self, part: Part) -> str:
        """Write a part and return its name; where it is there already the file is replaced by an equal one."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = [pa.array(part.row_id, pa.int64()), pa.array(part.key, pa.uint64())]
        offsets = np.zeros(len(part.values) + 1, np.int32)
        np.cumsum([len(v[0]) for v in part.values], out=offsets[1:])
        for i in range(len(self.columns)):
            flat = (
                np.concatenate([np.asarray(v[i], np.float32) for v in part.values])
                if part.values
                else np.empty(0, np.float32)
            )
            arrays.append(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.float32())))
        table = pa.table(arrays, names=["row_id", "key", *self.columns])
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="none", use_dictionary=False, write_page_checksum=True)
        name = Part.name(part.key)
        files.write(self.folder / name, memoryview(sink.getvalue()))
        self._known[name] = part.key
        return name

    def fetch(self, keys: np.ndarray, sizes: np.ndarray | None = None) -> dict[int, tuple[np.ndarray, ...]]:
        """The values of those of `keys` (uint64) that the store holds and can read. `sizes`: how many each has; a part
        with another number is corrupt.
        """
        wanted = np.unique(keys)
        parts: dict[int, tuple[np.ndarray, ...]] = {}
        expected = None if sizes is None else dict(zip(keys.tolist(), np.asarray(sizes).tolist()))
        for name in self._names():
            there = self._keys(name)
            if there is None or not len(hits := np.flatnonzero(np.isin(there, wanted))):
                continue
            new = [int(h) for h in hits if int(there[h]) not in parts]
            if new and (part := self.read(name, expected)) is not None:
                parts.update((int(part.key[h]), part.values[h]) for h in new)
        return parts

    def read(self, name: str, sizes: Mapping[int, int] | None = None) -> Part | None:
        """A whole part; None where it is corrupt (it is then set aside). `sizes`: by key, how many values a row has,
        for those that are known.
        """
        table = self._table(name, None)
        if table is None:
            return None
        try:
            part = self._part(name, table)
            for key, row in zip(part.key.tolist(), part.values):
                if any(len(v) != (sizes or {}).get(key, len(row[0])) for v in row):
                    raise ValueError("a row has another number of values than tokens")
            return part
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
            self._set_aside(name)
            return None

    def _part(self, name: str, table: Any) -> Part:
        """A table as a part. Raises ValueError: it is no table of this store, or not the rows that its name stands
        for.
        """
        columns = []
        for column in self.columns:
            lists = table[column].combine_chunks()
            lists = lists.chunk(0) if hasattr(lists, "chunk") else lists
            columns.append((lists.offsets.to_numpy(), lists.values.to_numpy()))
            if lists.null_count or lists.values.null_count or columns[-1][1].dtype != np.float32:
                raise ValueError("it lacks values")
        values = [tuple(flat[o[i] : o[i + 1]] for o, flat in columns) for i in range(table.num_rows)]
        part = Part(table["row_id"].to_numpy(), table["key"].to_numpy(), values)
        if part.key.dtype != np.uint64 or part.row_id.dtype != np.int64 or Part.name(part.key) != name:
            raise ValueError("its rows are others")
        return part

    def rows(self) -> np.ndarray:
        """The keys of every row of every part, as often as they are there."""
        keys = [k for name in self._names() if (k := self._keys(name)) is not None]
        return np.concatenate(keys) if keys else np.empty(0, np.uint64)

    def _names(self) -> list[str]:
        return sorted(p.name for p in self.folder.glob("*.parquet"))

    def _keys(self, name: str) -> np.ndarray | None:
        if name not in self._known:
            table = self._table(name, ["key"])
            if table is None:
                return None
            self._known[name] = table["key"].to_numpy()
        return self._known[name]

    def _table(self, name: str, columns: list[str] | None) -> Any:
        if not (self.folder / name).exists():
            return None
        try:
            table = containers.parquet(self.folder / name, ValueError, columns, checked=True)
            if set(table.column_names) != set(columns or {"row_id", "key", *self.columns}):
                raise ValueError("its columns are others")
            return table
        except ValueError:
            if (self.folder / name).exists():  # another process may have set it aside
                self._set_aside(name)
            return None

    def _set_aside(self, name: str) -> None:
        self.corrupt.append(name)
        self._known.pop(name, None)
        with contextlib.suppress(OSError):
            os.replace(self.folder / name, self.folder / f"{name}.corrupt")


def remembered(folder: str | os.PathLike, digest: str) -> dict | None:
    """What an earlier run noted of the model whose files have this digest: its weight hash, vocabulary, context and
    start token.
    """
    try:
        return reading.json_file(Path(folder) / "models" / f"{digest}.json", ValueError)
    except ValueError:
        return None


def remember(folder: str | os.PathLike, digest: str, facts: dict) -> None:
    """Note it for the next run, which then need not load the weights."""
    files.write_json(Path(folder) / "models" / f"{digest}.json", facts, parents=True, sort_keys=True)
