"""Results on disk: Zarr folders that are whole or absent, and exports to NetCDF, CSV, Parquet, Inspect and trackers.

A save writes a hidden sibling folder, flushes it to the disk and renames it, so that no reader ever sees half a result
under the name asked for. An overwrite first moves the old folder aside as ``.<name>.previous``; if the process dies
before the new one has the name, ``open_result`` reads that copy. Text is stored as variable-length UTF-8 (Zarr's
``string``), every chunk is written, NaN ones too, and carries a checksum: a chunk that is lost or cut is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from .. import containers, extras, reading
from ..arguments import FilePath, Name, door
from ..files import flush, previous
from .dataset import ATTRIBUTE, Result, _check_dataset, provenance, read_record, table
from .errors import ResultError
from .files import about, check_path, failure, new_path
from .inspect_log import write_inspect_log
from .tracking import track, tracker

COMPRESSORS = (ZstdCodec(level=3, checksum=True),)
SUFFIXES = (".nc", ".csv", ".parquet", ".eval")
#: Attribute of the variable ``done`` by which a folder that is written region by region is known (lens.results.store).
STORE_MARK = "mnemoscope_store"
#: Attribute of a NetCDF text variable that holds its labels as JSON, where one contains NUL (NetCDF ends text there).
EXACT = "exact_json"


# -- save -----------------------------------------------------------------------------------------------------------


@door(ResultError)
def save(ds: xr.Dataset, path: FilePath, *, overwrite: bool = False) -> Path:
    """Save a result as the Zarr folder ``path`` (it must end in ``.zarr``) and return the path.

    The folder appears whole or not at all; missing parent folders are made. ``overwrite=True`` replaces an older
    result, and only a result: any other folder is left alone.

    Raises:
        ResultError: the path is taken, cannot be written, the disk is full, or ``ds`` holds what a result cannot.
    """
    path = check_path(path, "path", (".zarr",), "to write another format use lens.export")
    prepared = _prepared(ds)
    if os.path.lexists(path) or previous(path).is_dir():
        if not overwrite:
            raise ResultError(about(path, "already exists; pass overwrite=True to replace it, or choose another path"))
        if os.path.lexists(path) and not _is_result(path):
            raise ResultError(
                about(path, "is not a Mnemoscope result, so overwrite=True leaves it alone; choose another path")
            )
    with new_path(path, "save", new=not overwrite) as part:
        write_zarr(prepared, part, write_empty_chunks=True)
    return path


@door(ResultError)
def export(
    ds: xr.Dataset,
    path: Any,
    *,
    overwrite: bool = False,
    classic: bool = False,
    item: Name | None = None,
    name: Name | None = None,
) -> Any:
    """Write a result for other programs, by suffix, and return the path; or add it to a run that is tracked. The record
    travels along.

    - ``.nc``: NetCDF 4, axes and labels kept; the record is the attribute ``mnemoscope``. ``lens.open`` reads it back.
      ``classic=True`` writes NetCDF 3 instead: whole numbers of at most 32 bits, no compression, and several KB less a
      file.
    - ``.csv``: long form, UTF-8, text always quoted, NaN as an empty field. The record is in ``<name>.csv.json`` beside
      it, with the file's SHA-256 (a comment line would clash with tokens that begin with "#"). Read text columns with
      ``pandas.read_csv(path, keep_default_na=False, na_values={"effect": [""]})``, as tokens may read "NA" or "".
    - ``.parquet``: long form; the record is the schema metadata entry ``mnemoscope``.
    - ``.eval``: a log of Inspect (the extra ``[inspect]``), a sample for each entry of the axis ``item`` (by default
      the first of prompt, item, pair, row, ... that the result has), an epoch for each of epoch, seed or repetition.
      A sample with a number that is missing has an error that says so, and metrics count the missing ones.
    - a run of ``wandb.init`` or ``mlflow.start_run`` (the extras ``[wandb]``, ``[mlflow]``; offline too): the whole
      result as an artifact ``name`` (by default its kind), which ``lens.open`` reads from where it is downloaded, its
      record, and its single numbers as summary or metrics. Returns W&B's artifact, or MLflow's run.

    Raises:
        ResultError: unknown suffix, path taken (``overwrite=True`` replaces it), cannot be written, disk full; a run
            that does not take it.
        ExtraError: the extra is not installed.
    """
    if tracker(path) is not None:
        return track(ds, path, name, save)
    path = check_path(path, "path", SUFFIXES, "to keep a result for Mnemoscope use lens.save(ds, 'name.zarr')")
    if path.suffix == ".eval":
        extras.require("inspect", "a result as an Inspect log")
    prepared = _prepared(ds)
    sidecar = path.with_name(path.name + ".json")
    for taken in (path, sidecar) if path.suffix == ".csv" else (path,):
        if os.path.lexists(taken) and (not overwrite or taken.is_dir()):
            raise ResultError(
                about(
                    taken,
                    (
                        "is a folder; choose another path"
                        if taken.is_dir()
                        else "already exists; pass overwrite=True to replace it, or choose another path"
                    ),
                )
            )
    with new_path(path, "export") as part:
        if path.suffix == ".nc":
            _write_netcdf(prepared, part, classic)
        elif path.suffix == ".parquet":
            _write_parquet(ds, part)
        elif path.suffix == ".eval":
            write_inspect_log(ds, part, item)
        else:
            _write_csv(ds, part)
            record = {
                "file": path.name,
                "sha256": hashlib.sha256(part.read_bytes()).hexdigest(),
                ATTRIBUTE: provenance(ds),
            }
            with new_path(sidecar, "export") as ready:
                ready.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                flush(part)  # before the record says what it holds
    return path


def _is_result(path: Path) -> bool:
    with contextlib.suppress(ResultError):
        return bool(folder_metadata(path))
    return False


# -- Zarr -----------------------------------------------------------------------------------------------------------


def _prepared(ds: xr.Dataset) -> xr.Dataset:
    """``ds`` checked and with its text as variable-length strings: the form in which it is written."""
    _check_dataset(ds)
    provenance(ds)
    out = ds.drop_encoding()
    for name, variable in ds.variables.items():
        kind = variable.dtype.kind
        if kind in "OUT":
            if name in ds.xindexes and isinstance(ds.indexes[name], pd.MultiIndex):
                raise ResultError(
                    f"coordinate {name!r} is a MultiIndex, which files cannot hold; call ds.reset_index({name!r})"
                    " first."
                )
            out[name] = (variable.dims, _text(str(name), variable.values), variable.attrs)
        elif kind not in "biuf":
            raise ResultError(
                f"variable {name!r} has dtype {variable.dtype}; a result holds numbers, truth values and text."
            )
    return out


def _text(name: str, values: np.ndarray) -> np.ndarray:
    for i, label in enumerate(values.ravel().tolist()):
        if not isinstance(label, str):
            raise ResultError(
                f'text variable {name!r} holds {label!r} at flat index {i}; expected text only, with "" where '
                f'there is none: ds[{name!r}].fillna("").'
            )
        try:
            label.encode()
        except UnicodeEncodeError:
            raise ResultError(
                f"text variable {name!r} holds {label!r} at flat index {i}, half of a surrogate pair, which no "
                'file format here can hold; replace it with "\\ufffd".'
            ) from None
    return values.astype(np.dtypes.StringDType())


def write_zarr(ds: xr.Dataset, folder: Path, *, write_empty_chunks: bool) -> None:
    """Write a prepared Dataset as a new Zarr 3 folder, its list of arrays (consolidated metadata) last."""
    with _quiet_consolidation():
        ds.to_zarr(
            folder,
            mode="w-",
            zarr_format=3,
            consolidated=True,
            write_empty_chunks=write_empty_chunks,
            encoding={name: {"compressors": COMPRESSORS} for name in ds.variables},
        )


def consolidate(folder: Path) -> None:
    """Renew the list of arrays in the root of a Zarr folder."""
    with _quiet_consolidation():
        zarr.consolidate_metadata(zarr.storage.LocalStore(folder), zarr_format=3)


@contextlib.contextmanager
def _quiet_consolidation() -> Iterator[None]:
    # The list of arrays lets plain xarray open the folder in one read (and without a warning of its own); it is not
    # yet in the Zarr 3 text, which zarr says at each write.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part", category=UserWarning)
        yield


def folder_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Metadata of each array of a saved folder, by name, after checks that the folder is a whole result
    (ResultError).
    """
    if not path.exists():
        raise ResultError(about(path, "does not exist; check the name, or compute and lens.save it"))
    if not path.is_dir():
        raise ResultError(about(path, "is a file; a saved result is a folder that ends in .zarr"))
    try:
        if (size := (path / "zarr.json").stat().st_size) > reading.MOST:
            raise reading.Fault(f"it has {size} bytes")
        root = reading.value((path / "zarr.json").read_bytes(), dict)
        attributes = root["attributes"] if root["zarr_format"] == 3 and root["node_type"] == "group" else None
    except FileNotFoundError:
        raise ResultError(
            about(
                path,
                "is not a saved result: it has no zarr.json (a Zarr 3 group); if a copy was cut short, copy it again",
            )
        ) from None
    except OSError as error:
        raise failure("read", path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            about(
                path,
                f"is damaged: its zarr.json cannot be read ({type(error).__name__}: {error}); "
                "copy it again or compute it anew",
            )
        ) from None
    if not isinstance(attributes, dict) or ATTRIBUTE not in attributes:
        raise ResultError(
            about(
                path,
                f"is a Zarr folder but not a Mnemoscope result (no attribute {ATTRIBUTE!r}); "
                "open it with xarray.open_zarr",
            )
        )
    read_record(attributes[ATTRIBUTE], repr(str(path)))
    listed = root.get("consolidated_metadata")
    nodes = listed.get("metadata") if isinstance(listed, dict) else None
    if not isinstance(nodes, dict):
        raise ResultError(
            about(
                path,
                "is incomplete: the list of its arrays, which is written last, is missing; delete it and save again",
            )
        )
    containers.require_known_nodes(nodes, path, ResultError)
    return nodes


def read_zarr(path: Path, *, whole: bool) -> Result:
    """Read a folder into memory as a Result; with ``whole``, every chunk must be there (ResultError)."""
    folder_metadata(path)
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=True)
        if whole:
            lost = [name for name, array in group.arrays() if array.size and array.nchunks_initialized < array.nchunks]
            if lost:
                raise ResultError(
                    about(
                        path,
                        f"is incomplete: parts of {', '.join(sorted(lost))} are missing; "
                        "copy it again or compute it anew",
                    )
                )
        with xr.open_zarr(path, consolidated=True, zarr_format=3, chunks=None, decode_times=False) as opened:
            return _restored(opened.load())
    except ResultError:
        raise
    except Exception as error:
        raise ResultError(
            about(path, f"is damaged ({type(error).__name__}: {error}); copy it again or compute it anew")
        ) from error


def _restored(ds: xr.Dataset) -> Result:
    """A Dataset as read from a file, with text as Python strings (NumPy's own string type does not concatenate with
    NaN).
    """
    for name, variable in ds.variables.items():
        if variable.dtype.kind in "OUT":
            ds[name] = (variable.dims, variable.values.astype(object), variable.attrs)
    ds = ds.drop_encoding()
    return Result({name: ds.variables[name] for name in ds.data_vars}, ds.coords, ds.attrs)


# -- exports --------------------------------------------------------------------------------------------------------


def _write_netcdf(ds: xr.Dataset, part: Path, classic: bool = False) -> None:
    for name, variable in ds.variables.items():
        if variable.dtype == np.float16:  # NetCDF has no half precision; float32 holds each value exactly
            ds = ds.assign({name: ds[name].astype(np.float32)})
        elif variable.dtype.kind == "T" and any("\0" in text for text in variable.values.ravel().tolist()):
            labels = json.dumps(variable.values.tolist())
            ds[name] = (variable.dims, variable.values, variable.attrs | {EXACT: labels})
        if classic and variable.dtype.kind == "T":  # written as characters
            ds[name] = (variable.dims, variable.values.astype(object), ds[name].attrs)
    ds.to_netcdf(part, engine="netcdf4", format="NETCDF3_64BIT" if classic else "NETCDF4")


def open_netcdf(path: Path) -> Result:
    """Read an exported NetCDF file into memory (ResultError)."""
    if not path.is_file():
        raise ResultError(
            about(path, "is a folder; expected a NetCDF file" if path.exists() else "does not exist; check the name")
        )
    containers.require_netcdf(path, ResultError)
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as opened:
            containers.require_fits(opened.nbytes, path, ResultError)
            ds = opened.load()
    except ResultError:
        raise
    except Exception as error:
        raise ResultError(
            about(path, f"cannot be read as NetCDF ({type(error).__name__}: {error}); export it again")
        ) from error
    read_record(ds.attrs.get(ATTRIBUTE), repr(str(path)))
    for name, variable in ds.variables.items():
        if EXACT in variable.attrs:
            attrs = dict(variable.attrs)
            try:
                labels = np.array(reading.value(attrs.pop(EXACT)), dtype=object).reshape(variable.shape)
            except ValueError as error:
                raise ResultError(about(path, f"is damaged: the texts of {name!r} cannot be read ({error})")) from None
            ds[name] = (variable.dims, labels, attrs)
    return _restored(ds)


def _write_csv(ds: xr.Dataset, part: Path) -> None:
    import csv

    table(ds).to_csv(part, index=False, quoting=csv.QUOTE_NONNUMERIC, encoding="utf-8", lineterminator="\n")


def _write_parquet(ds: xr.Dataset, part: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pa.Table.from_pandas(table(ds), preserve_index=False)
    record = {ATTRIBUTE.encode(): ds.attrs[ATTRIBUTE].encode()}
    pq.write_table(frame.replace_schema_metadata({**(frame.schema.metadata or {}), **record}), part)
