"""Rows of data as dicts, one after the other, from wherever people have them: a list, a pandas frame, a dataset of
Hugging Face, a CSV, JSONL, JSON or Parquet file.

Values are those of the source: a text stays a text, whatever it looks like ("2021-03-01", "007", "NA", "null", "1e3"),
and is a number only where the source has one. What one row lacks another may have. Rows are read when they are asked
for, and counted from 0 over the whole source, so that a reading can go on where one ended (`start`).

Faults are raised as in `lens.reading`, by what the caller gives as `refuse`; they name file, line and column. Nothing
here imports `datasets` or pandas: an object of theirs is known by its class.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from itertools import chain, count
from pathlib import Path
from typing import Any

from lens import containers, reading
from lens.arguments import shown, tried
from lens.reading import Fault, Refuse

#: What a file's suffix says of it.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
EXPECTED = (
    "a list of dicts, a pandas frame, a datasets.Dataset or IterableDataset, or the path of a file that ends in "
    + ", ".join(SUFFIXES)
)
#: Rows of a table that are made into dicts together.
BLOCK = 1024
#: Where a row stands, in words, and what is there.
Place = tuple[str, Any]

_WHOLE = re.compile(r"[+-]?[0-9]+")


class Row(dict[str, Any]):
    """One row, by column. `number`: which of its source, from 0; `place`: where it stands, as in "qa.csv, line 3";
    `plain`: whether its source, a CSV, holds texts alone.

    What it is asked for and is not there, or of another kind, raises the error of whoever reads.
    """

    def __init__(self, values: Mapping[str, Any], number: int, place: str, refuse: Refuse, plain: bool = False):
        super().__init__(values)
        self.number, self.place = number, place
        self._refuse, self.plain = refuse, plain

    def fault(self, column: str, said: str) -> Exception:
        """The error for a column of this row: "<place>, column 'answer' <said>"."""
        return self._refuse(f"{self.place}, column {column!r} {said}")

    def require(self, *columns: str) -> Row:
        """The row itself, where it has these columns."""
        if lacking := [column for column in columns if column not in self]:
            there = ", ".join(map(repr, self)) or "none"
            raise self._refuse(f"{self.place} lacks {', '.join(map(repr, lacking))}; its columns are {there:.300}")
        return self

    def text(self, column: str) -> str:
        """The text of a column."""
        value = self.require(column)[column]
        if not isinstance(value, str):
            raise self.fault(column, f"holds {_said(value)} where a text was expected{_advice(value)}")
        if tried(str.encode, value) is None:
            raise self.fault(column, f"holds {shown(value)}, half of a surrogate pair, which is no text")
        return value

    def optional(self, column: str) -> str | None:
        """The text of a column; None where the row lacks it, or holds null, or an empty field of a CSV."""
        empty = self.get(column) is None or (self.plain and self[column] == "")
        return None if empty else self.text(column)

    def whole(self, column: str) -> int:
        """The whole number of a column, of a CSV written in digits."""
        value = self.require(column)[column]
        if self.plain and _WHOLE.fullmatch(value) and len(value) < 20:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self.fault(column, f"holds {_said(value)} where a whole number was expected")

    def real(self, column: str) -> float:
        """The number of a column, of a CSV as Python writes it."""
        value = self.require(column)[column]
        read = tried(float, value) if self.plain else value
        if isinstance(read, (int, float)) and not isinstance(read, bool):
            return float(read)
        raise self.fault(column, f"holds {_said(value)} where a number was expected")


def _said(value: Any) -> str:
    return "null" if value is None else f"{shown(value)} ({type(value).__name__})"


def _advice(value: Any) -> str:
    """What to do about a value that a reader made of a text."""
    if isinstance(value, (date, time, timedelta, int, float)):
        return "; whatever read it made that of a text: give the file's path, or name the column's type as text there"
    return ""


def rows(
    source: Any,
    refuse: Refuse,
    columns: Sequence[str] = (),
    *,
    start: int = 0,
    lost: Callable[[str, str], None] | None = None,
) -> Iterator[Row]:
    """The rows of a source, one after the other; a file or stream is not read into memory, a .json file aside.

    Args:
        source: rows as mappings in any iterable; a pandas frame; a `datasets.Dataset` or `IterableDataset`, whose
            values are as its own format made them where that is a function, else plain; or the path of a file. A CSV
            (.csv, .tsv) has a header and is UTF-8; each of its fields is a text. A .json file is a list of objects, or
            an object a line as .jsonl.
        columns: those that each row has.
        start: rows at the beginning that are passed over.
        lost: told the place and fault of a line that cannot be read, and the rest goes on; None: it is raised.

    Raises:
        `refuse`: at once where the source is none of these or the file is absent; while reading where a row is damaged,
            is no object or lacks a column. A stream that was put in the middle by its `load_state_dict` is refused,
            since a shuffled one then loses and repeats rows: `start` goes on by number.
    """
    places, plain = _places(source, refuse)
    return _rows(places, plain, refuse, tuple(columns), start, lost)


def table(source: Any) -> Any:
    """The columns of a `datasets.Dataset` as a pyarrow Table, for who reads long lists of numbers without making them
    Python's; None of every other source, and of a dataset whose format is a function.
    """
    if not _is(source, "datasets", "Dataset") or _format(source) == "custom":
        return None
    return source.with_format("arrow")[:]


def _format(dataset: Any) -> Any:
    return tried(lambda data: data.format["type"], dataset)


def _rows(
    places: Iterator[Place],
    plain: bool,
    refuse: Refuse,
    columns: tuple[str, ...],
    start: int,
    lost: Callable[[str, str], None] | None,
) -> Iterator[Row]:
    for number, (place, found) in enumerate(places):
        if number < start:
            continue
        if not isinstance(found, Fault) and not isinstance(found, Mapping):
            found = Fault(f"is a {type(found).__name__}, not a row of columns and their values")
        if not isinstance(found, Fault) and (odd := next((key for key in found if not isinstance(key, str)), None)):
            found = Fault(f"has a column {odd!r:.40}, whose name is no text")
        if not isinstance(found, Fault):
            yield Row(found, number, place, refuse, plain).require(*columns)
        elif lost is None:
            raise refuse(f"{place} cannot be read: it {found}")
        else:
            lost(place, str(found))


def _places(source: Any, refuse: Refuse) -> tuple[Iterator[Place], bool]:
    """Each row with its place, and whether all values are texts because the file knows no other."""
    if isinstance(source, (str, os.PathLike)):
        path, suffix = Path(source), Path(source).suffix.lower()
        if suffix not in SUFFIXES:
            raise refuse(f"{path} ends in {suffix!r}; expected {', '.join(SUFFIXES)}")
        containers.plain(path, refuse)
        if suffix in (".csv", ".tsv"):
            return _csv(path, refuse, "," if suffix == ".csv" else "\t"), True
        if suffix == ".parquet":
            return _parquet(path, refuse), False
        return (_json if suffix == ".json" else _json_lines)(path, refuse), False
    if _is(source, "pandas", "DataFrame"):
        return _frame(source, refuse), False
    if _is(source, "datasets", "Dataset", "IterableDataset"):
        return _dataset(source, refuse), False
    if _is(source, "datasets", "DatasetDict", "IterableDatasetDict"):
        raise refuse(f"the source has the splits {', '.join(map(repr, source))}; give one of them, as data['train']")
    given = None if isinstance(source, (Mapping, bytes, bytearray)) else tried(iter, source)
    if given is None:
        raise refuse(f"the source is {shown(source)} ({type(source).__name__}); expected {EXPECTED}")
    return ((f"row {i}", row) for i, row in enumerate(given)), False


def _is(value: Any, package: str, *names: str) -> bool:
    return any(one.__module__.split(".")[0] == package and one.__name__ in names for one in type(value).__mro__)


# -- files ----------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, refuse: Refuse) -> Iterator[Place]:
    for number, line in reading.line_stream(path, refuse):
        if line.strip():
            yield f"{path}, line {number}", _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        return reading.value(line, dict)
    except Fault as fault:
        return fault


def _json(path: Path, refuse: Refuse) -> Iterator[Place]:
    """A file of one list, or of an object a line, as its first character says."""
    first = next((line.lstrip()[:1] for _, line in reading.line_stream(path, refuse) if line.strip()), b"")
    if first != b"[":
        yield from _json_lines(path, refuse)
        return
    for i, row in enumerate(reading.json_file(path, refuse, list)):
        yield f"{path}, row {i}", row


def _csv(path: Path, refuse: Refuse, delimiter: str) -> Iterator[Place]:
    texts = _decoded(path, refuse)
    reader, header = csv.reader(texts, delimiter=delimiter, strict=True), None
    while True:
        place = f"{path}, line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # nothing tells where the next row would begin
            raise refuse(f"{place} cannot be read as CSV: {_of_csv(str(error))}") from None
        if not cells:
            continue
        if header is None:
            header = cells
            if repeated := next((name for i, name in enumerate(header) if name in header[:i]), None):
                raise refuse(f"{path} has the column {repeated!r} twice; rename one of them")
            continue
        if len(cells) == len(header):
            yield place, dict(zip(header, cells))
        else:
            yield place, Fault(f"has {len(cells)} fields where the header names {len(header)} columns")
    if header is None:
        raise refuse(f"{path} is empty; expected a header with the names of its columns")


def _of_csv(error: str) -> str:
    if "field larger than field limit" in error:
        return (
            f"a {error}; a quote may be left open, and longer texts are for JSONL or Parquet (or raise"
            " csv.field_size_limit)"
        )
    return error


def _decoded(path: Path, refuse: Refuse) -> Iterator[str]:
    for number, line in reading.line_stream(path, refuse):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            said = f"{error.reason} at byte {error.start} of the line"
            raise refuse(f"{path}, line {number} is not UTF-8 ({said}); save the file as UTF-8") from None


def _parquet(path: Path, refuse: Refuse) -> Iterator[Place]:
    number = 0
    for batch in containers.parquet_batches(path, refuse, BLOCK):
        for row in batch.to_pylist():
            yield f"{path}, row {number}", row
            number += 1


# -- objects --------------------------------------------------------------------------------------------------------


def _frame(frame: Any, refuse: Refuse) -> Iterator[Place]:
    names = [name for name in frame.columns]
    if repeated := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise refuse(f"the frame has the column {repeated!r} twice; rename one of them")
    return chain.from_iterable(_frame_block(frame, names, begin) for begin in range(0, len(frame), BLOCK))


def _frame_block(frame: Any, names: list[Any], begin: int) -> Iterator[Place]:
    block = frame.iloc[begin : begin + BLOCK]
    columns = []
    for i in range(len(names)):
        column = block.iloc[:, i]
        values = column.tolist()
        if str(column.dtype) not in ("float64", "float32", "float16"):  # in those NaN is a number, elsewhere nothing
            values = [None if absent is True else value for value, absent in zip(values, column.isna().tolist())]
        columns.append([value.tolist() if hasattr(value, "dtype") else value for value in values])
    for i, row in enumerate(zip(*columns), begin):
        yield f"row {i}", dict(zip(names, row))


def _dataset(dataset: Any, refuse: Refuse) -> Iterator[Place]:
    if getattr(dataset, "_starting_state_dict", None):
        raise refuse(
            "the source is a stream that load_state_dict has put in its middle, where a shuffled one loses rows and"
            " repeats others; give it as it was made, and start= for the number of rows to pass over"
        )
    return _dataset_rows(iter(dataset if _format(dataset) == "custom" else dataset.with_format(None)), refuse)


def _dataset_rows(examples: Iterator[Any], refuse: Refuse) -> Iterator[Place]:
    for number in count():
        try:
            row = next(examples)
        except StopIteration:
            return
        except Exception as error:  # what a block of another type than the first, a damaged file or a function raises
            raise refuse(f"row {number} of the dataset cannot be read ({reading.said(error)})") from error
        yield f"row {number}", row
