"""Files with arrays and tables in them that somebody else wrote: what they say of their sizes and kinds is looked at
before they are opened in full.

Faults are raised as in `lens.reading`, by what the caller gives as `refuse`. The limits are what this machine's memory
holds, and kinds that the package writes.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from lens import reading
from lens.reading import Refuse

#: Levels of lists and structs inside each other in a column of a table.
DEEP = 16
#: Chunks of one array of a Zarr folder: each is a file that is looked for.
MOST_CHUNKS = 1 << 22
#: Codecs of Zarr arrays: those of the Zarr 3 text and of texts. None of them makes objects out of bytes, as pickle
#: does.
CODECS = frozenset(
    ("bytes", "transpose", "crc32c", "gzip", "zstd", "blosc", "sharding_indexed", "vlen-utf8", "vlen-bytes")
)
_TEXTS = {"string": 8, "variable_length_bytes": 8}
_NETCDF = (b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02", b"CDF\x05")


def parquet(path: Path, refuse: Refuse, columns: Sequence[str] | None = None, *, checked: bool = False) -> Any:
    """A Parquet file as a pyarrow Table (`columns` of it); `checked` holds each page against its checksum.

    Raises: `refuse`: it is no plain file, no Parquet file, damaged, nested deeper than `DEEP`, or says that it holds
        more than the memory.
    """
    path = plain(path, refuse)
    with _of_parquet(path, refuse):
        file = _parquet_file(path, columns, checked=checked)
        return file.read(columns=None if columns is None else list(columns))


def parquet_batches(path: Path, refuse: Refuse, rows: int) -> Iterator[Any]:
    """The rows of a Parquet file as pyarrow RecordBatches of at most `rows`, read when they are asked for. Raises
    `refuse` as `parquet`; what has to fit is a group of rows, as the file is divided.
    """
    path = plain(path, refuse)
    with _of_parquet(path, refuse):
        file = _parquet_file(path, None, parts=True)
        for group in range(file.metadata.num_row_groups):
            yield from file.iter_batches(batch_size=rows, row_groups=[group])


def _parquet_file(path: Path, columns: Sequence[str] | None, *, checked: bool = False, parts: bool = False) -> Any:
    """The file, its sizes looked at; `parts`: each group of rows has to fit, not all together."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, page_checksum_verification=checked)
    about = file.metadata
    levels = max((about.schema.column(i).path.count(".") + 1 for i in range(about.num_columns)), default=0)
    if levels > DEEP:
        raise reading.Fault(f"has a column of {levels} levels where at most {DEEP} are read")
    sizes = [0]
    for group in (about.row_group(i) for i in range(about.num_row_groups)):
        sizes.append(
            sum(
                max(column.total_uncompressed_size, 4 * column.num_values)
                for column in (group.column(i) for i in range(group.num_columns))
                if columns is None or column.path_in_schema.split(".")[0] in columns
            )
        )
    size = max(sizes) if parts else sum(sizes)
    if size > reading.memory() or about.num_rows > reading.memory():
        raise reading.Fault(
            f"says that it holds {about.num_rows} rows of {size} bytes together, more than this machine's memory"
        )
    return file


@contextlib.contextmanager
def _of_parquet(path: Path, refuse: Refuse) -> Iterator[None]:
    """What reading a Parquet file raises, as `refuse`."""
    try:
        yield
    except reading.Fault as fault:
        raise refuse(f"{path} {fault}") from None
    except Exception as error:  # pyarrow's own kinds, and bare ones from depth
        raise refuse(f"{path} cannot be read as Parquet ({reading.said(error)})") from error


def tensors(path: Path, refuse: Refuse, framework: str = "pt") -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors of a safetensors file by name ("pt", or "np" for arrays), and the texts that lie beside them.

    Raises: `refuse`: it is no such file, or damaged.
    """
    from safetensors import safe_open

    path = plain(path, refuse)
    reading.safetensors_header(path, refuse)
    try:
        with reading.no_panic(refuse, f"{path} cannot be read"), safe_open(path, framework=framework) as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except Exception as error:  # safetensors' own kind, and what NumPy and torch raise from depth
        raise refuse(f"{path} cannot be read ({reading.said(error)})") from error


def archive(path: Path, refuse: Refuse) -> dict[str, np.ndarray]:
    """The arrays of a NumPy archive (.npz), by name; never pickled objects.

    Raises: `refuse`: it is no plain file, no archive, damaged, or larger unpacked than the memory.
    """
    path = plain(path, refuse)
    try:
        with zipfile.ZipFile(path) as file:
            if (size := sum(entry.file_size for entry in file.infolist())) > reading.memory():
                raise ValueError(f"unpacked it has {size} bytes, more than this machine's memory")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib and NumPy raise
        raise refuse(f"{path} cannot be read as a NumPy archive ({reading.said(error)})") from error


def array(path: Path, refuse: Refuse, *, dtype: Any = None) -> np.ndarray:
    """The array of a .npy file, or with `dtype` the flat numbers of a file without a header, mapped and not read.
    Raises `refuse`.
    """
    path = plain(path, refuse)
    try:
        return (
            np.load(path, mmap_mode="r", allow_pickle=False)
            if dtype is None
            else np.memmap(path, dtype=dtype, mode="r")
        )
    except Exception as error:  # a damaged header makes NumPy raise many kinds
        raise refuse(f"{path} cannot be read as an array ({reading.said(error)})") from error


def require_netcdf(path: Path, refuse: Refuse) -> None:
    """Raises `refuse` where a file does not begin as NetCDF 3 or 4 does: the libraries beneath are not asked to
    guess.
    """
    path = plain(path, refuse)
    try:
        with open(path, "rb") as file:
            begin = file.read(8)
    except OSError as error:
        raise refuse(f"{path} cannot be read ({reading.said(error)})") from error
    if not begin.startswith(_NETCDF):
        raise refuse(f"{path} cannot be read as NetCDF: it does not begin as such a file does")


def require_fits(size: int, path: Path, refuse: Refuse) -> None:
    """Raises `refuse` where what a file says that it holds, in bytes, is more than the memory."""
    if size > reading.memory():
        raise refuse(f"{path} says that it holds {size} bytes of numbers, more than this machine's memory")


def require_known_nodes(nodes: Mapping[str, Any], path: Path, refuse: Refuse) -> None:
    """Looks at what a Zarr folder says of its arrays: sizes, chunks, types and codecs.

    Raises: `refuse`: an array of another form, with a codec that is not in `CODECS`, of more chunks than are looked
        for, or that does not fit.
    """
    size = 0
    for name, node in nodes.items():
        if (
            not isinstance(node, Mapping)
            or not name
            or name.startswith("/")
            or "\\" in name
            or any(part in ("", ".", "..") for part in name.split("/"))
        ):
            raise refuse(f"{path} lists {name!r:.80}, which is no array of that folder")
        if node.get("node_type") == "group":
            continue
        grid = node.get("chunk_grid")
        shape, chunks = (
            node.get("shape"),
            ((grid.get("configuration") or {}).get("chunk_shape") if isinstance(grid, Mapping) else None),
        )
        if not _lengths(shape, 0) or not _lengths(chunks, 1) or len(shape) != len(chunks) or len(shape) > 32:
            raise refuse(
                f"{path} lists {name!r} with shape {shape!r:.80} and chunks {chunks!r:.80}; expected as many whole"
                " numbers in both"
            )
        for codec in _codecs(node.get("codecs")):
            if codec not in CODECS:
                raise refuse(f"{path} has {name!r} packed by {codec!r}; expected codecs of {', '.join(sorted(CODECS))}")
        if math.prod(-(-n // c) for n, c in zip(shape, chunks)) > MOST_CHUNKS:
            raise refuse(f"{path} lists {name!r} of shape {shape} in chunks of {chunks}: more than {MOST_CHUNKS} files")
        wide = max(math.prod(shape), math.prod(chunks)) * _width(node.get("data_type"), name, path, refuse)
        size += wide
    require_fits(size, path, refuse)


def _lengths(values: Any, least: int) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and least <= n < 1 << 62 for n in values)


def _codecs(entries: Any) -> list[Any]:
    """The names of codecs, those inside a sharding codec too."""
    found: list[Any] = []
    for entry in entries if isinstance(entries, list) else [None]:
        found.append(entry.get("name") if isinstance(entry, Mapping) else entry)
        inside = entry.get("configuration") if isinstance(entry, Mapping) else None
        for key in ("codecs", "index_codecs"):
            if isinstance(inside, Mapping) and key in inside:
                found += _codecs(inside[key])
    return found


def _width(kind: Any, name: str, path: Path, refuse: Refuse) -> int:
    """Bytes of one number of a Zarr type. Raises `refuse`: a type that no result has."""
    if isinstance(kind, str) and kind in _TEXTS:
        return _TEXTS[kind]
    named = kind.get("name") if isinstance(kind, Mapping) else kind
    if named in ("fixed_length_utf32", "null_terminated_bytes"):
        inside = kind.get("configuration") if isinstance(kind, Mapping) else None
        length = inside.get("length_bytes") if isinstance(inside, Mapping) else None
        if type(length) is int and 0 <= length < 1 << 40:
            return length
    elif isinstance(named, str):
        try:
            if (found := np.dtype(named)).kind in "biufc":
                return found.itemsize
        except TypeError:
            pass
    raise refuse(f"{path} lists {name!r} of type {kind!r:.80}; expected numbers, true and false, or texts")


def plain(path: Any, refuse: Refuse) -> Path:
    """A path that names a plain file. Raises `refuse`."""
    path = Path(path)
    try:
        if path.is_file():
            return path
        why = "cannot be read: it is no plain file" if path.exists() else "cannot be read: it does not exist"
    except (OSError, ValueError) as error:
        why = f"cannot be read ({reading.said(error)})"
    raise refuse(f"{path} {why}")
