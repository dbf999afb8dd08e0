"""Results from disk, whatever wrote them: a saved folder, a store that a sweep fills, or a NetCDF file."""

from __future__ import annotations

from ..arguments import FilePath, door
from ..files import previous
from .dataset import Result
from .errors import ResultError
from .files import check_path
from .saving import STORE_MARK, folder_metadata, open_netcdf, read_zarr
from .store import load_store


@door(ResultError)
def open_result(path: FilePath) -> Result:
    """Open a saved result (a ``.zarr`` folder, a region-by-region store, or an exported ``.nc`` file), all in memory.

    A store that is still being filled opens with status "partial" and NaN in the regions that are not there yet.

    Raises:
        ResultError: nothing there, incomplete, damaged, foreign, or written by a newer version.
    """
    path = check_path(path, "path", (".zarr", ".nc"), "CSV and Parquet exports are read with pandas")
    if path.suffix == ".nc":
        return open_netcdf(path)
    if not path.exists() and previous(path).is_dir():
        path = previous(path)  # an overwrite was cut short between its two renames
    if STORE_MARK in folder_metadata(path).get("done", {}).get("attributes", {}):
        return load_store(path)
    return read_zarr(path, whole=True)
