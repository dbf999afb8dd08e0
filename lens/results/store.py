"""A result that is written region by region while a sweep runs, and resumed where it stopped.

A store is a Zarr folder with the full axes from the start and a truth value ``done`` for each cell of the axes that are
cut into regions. Each region is one chunk of each variable, so that processes that write different regions never
touch the same file; a region's data are written first and its ``done`` last, each by an atomic rename. Whatever was
written without its ``done`` (the process was killed in between) is NaN to a reader and pending to the next run.
"""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from ..arguments import FilePath
from .dataset import ATTRIBUTE, Result, _check_dataset, fingerprint, provenance, stamp
from .errors import ResultError
from .files import about, check_path, failure, new_path, settle
from .identity import identity_of, mark_of, refuse_other, short
from .saving import COMPRESSORS, STORE_MARK, _prepared, consolidate, read_zarr, write_zarr

#: Axes that are cut into regions of one cell unless told otherwise.
REGIONS = ("prompt", "layer")


class Store:
    """A Zarr folder that a sweep fills region by region; opening it again with the same sweep goes on where it stopped.

    A write takes about 10 ms. Regions are read back one file each, so keep them to a few thousand.

    Args:
        path: a folder that ends in ``.zarr``; made if absent.
        template: a stamped Dataset with every axis and label. Variables with an axis of ``regions`` must be floats;
            their values are not read (the store starts as NaN). All others are written as they are.
        regions: cells to a region on each axis that is cut; by default one on each of ``prompt`` and ``layer``. Cut
            only along the axes that the sweep writes piece by piece.

    The identity of a sweep is its kind, call, pairs, seed, its grid, and the model as it is: the hash of its weights,
    its state (what weights do not say: hooks, adapters' scales, buffers, replaced methods, configuration) and dtype.
    Versions, device and engine are not part of it: the record keeps those of the process that made the store.

    Raises:
        ResultError: the path holds something else or another sweep (the message lists what differs), cannot be
            written, or the template does not fit.
    """

    def __init__(self, path: FilePath, template: xr.Dataset, *, regions: Mapping[str, int] | None = None):
        self.path = check_path(path, "path", (".zarr",), "a store is a Zarr folder")
        _check_dataset(template)
        self.regions = _checked_regions(template, regions)
        identity = identity_of(template, self.regions)
        self.fingerprint = fingerprint(identity)
        if not self.path.exists():
            self._create(template)
        refuse_other(self.path, identity)
        try:
            group = zarr.open_group(self.path, mode="r+", zarr_format=3, use_consolidated=True)
            # Zarr leaves out chunks that are all NaN; written ones can be told from lost ones.
            self._arrays = {name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()}
            self._group = group
        except Exception as error:
            raise failure("open", self.path, error) from error
        self._template = template
        self._grid = {str(name): _names(template[name].dims) for name in template.data_vars}
        self._constants: dict[str, np.ndarray] = {}  # as last written here; writing them again would cost a file each

    def _create(self, template: xr.Dataset) -> None:
        cut = [name for name, array in template.data_vars.items() if set(array.dims) & set(self.regions)]
        constant = _prepared(stamp(template, provenance(template) | {"status": "partial"})).drop_vars(cut)
        mark = json.dumps({"schema": 1, "regions": self.regions, "fingerprint": self.fingerprint})
        try:
            with new_path(self.path, "create the store", new=True) as part:
                write_zarr(constant, part, write_empty_chunks=True)
                group = zarr.open_group(part, mode="r+", zarr_format=3, use_consolidated=False)
                layout: dict[str, tuple[tuple[str, ...], Any, float, dict[str, Any]]] = {
                    str(name): (_names(template[name].dims), template[name].dtype, np.nan, dict(template[name].attrs))
                    for name in cut
                }
                layout["done"] = (tuple(self.regions), np.dtype(bool), False, {STORE_MARK: mark})
                for name, (dims, dtype, fill, attrs) in layout.items():
                    group.create_array(
                        name,
                        shape=[template.sizes[d] for d in dims],
                        dtype=dtype,
                        fill_value=fill,
                        chunks=tuple(self.regions.get(d, template.sizes[d]) for d in dims),
                        compressors=COMPRESSORS,
                        dimension_names=dims,
                        attributes=attrs,
                    )
                consolidate(part)
        except ResultError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not self.path.is_dir():
                raise  # else another process made it first; whether it is the same sweep is checked next

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, part: xr.Dataset) -> None:
        """Write one or more whole regions; they are placed by the labels of ``part``, in any order.

        Args:
            part: every variable that has an axis of ``regions``; constants may be left out. An axis of which ``part``
                is a single label (``ds.isel(layer=3)``) may be a scalar coordinate.

        Raises:
            ResultError: labels that the store does not have, a region that is not whole, a missing variable, a dtype
                that would lose digits, a disk that is full or read-only. The region then stays pending.
        """
        _check_dataset(part)
        arrays = {
            name: self._fitting(part, name, dims)
            for name, dims in self._grid.items()
            if name in part.data_vars or set(dims) & set(self.regions)
        }
        spans = [self._spans(part, dim) for dim in self.regions]
        try:
            for span in itertools.product(*spans):
                self._write_block(arrays, dict(zip(self.regions, span)))
        except BaseException as error:
            settle()
            if isinstance(error, Exception):
                raise failure("write a region to", self.path, error) from error
            raise

    def has(self, part: xr.Dataset) -> bool:
        """Whether every region of `part` is written already, by whomever."""
        try:
            spans = [[place for place, _ in self._spans(part, dim)] for dim in self.regions]
            return all(bool(np.all(self._arrays["done"][region])) for region in itertools.product(*spans))
        except ResultError:
            raise
        except Exception as error:
            raise failure("read", self.path, error) from error

    def _write_block(self, arrays: Mapping[str, np.ndarray], where: Mapping[str, tuple[slice, list[int]]]) -> None:
        """Write one block of neighbouring regions: ``where`` has its place in the store and its indices in the part."""
        region = tuple(place for place, _ in where.values())
        if np.any(self._arrays["done"][region]):
            self._arrays["done"][region] = False  # a rewrite that is cut short must not look finished
        for name, block in arrays.items():
            dims = self._grid[name]
            for axis, d in enumerate(dims):
                if d in where:
                    block = block.take(where[d][1], axis)
            block = np.asarray(block, dtype=self._arrays[name].dtype, order="C")
            if set(dims) & where.keys():
                self._arrays[name][tuple(where[d][0] if d in where else slice(None) for d in dims)] = block
            elif name not in self._constants or not np.array_equal(self._constants[name], block):
                self._arrays[name][...] = self._constants[name] = block
        self._mark(region)

    def _mark(self, region: tuple[slice, ...]) -> None:
        self._arrays["done"][region] = True

    def _spans(self, part: xr.Dataset, dim: str) -> list[tuple[slice, list[int]]]:
        """Where on axis ``dim`` of the store the labels of ``part`` lie, by spans of neighbours, and their indices in
        it.
        """
        if dim not in part.coords:
            raise ResultError(
                f"part has no coordinate {dim!r}, by which it is placed; keep it: template.isel({dim}=[...])."
            )
        labels, index, step = np.atleast_1d(part[dim].values), self._template.indexes[dim], self.regions[dim]
        at = index.get_indexer(labels)
        if (at < 0).any():
            raise ResultError(
                f"part has {dim}={labels[at < 0].tolist()}, which the store {str(self.path)!r} does not have; "
                f"it has {short(index.tolist())}."
            )
        order = np.argsort(at, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(at[order]) != 1) + 1)
        spans = [(slice(int(at[group[0]]), int(at[group[-1]]) + 1), group.tolist()) for group in groups if len(group)]
        if (
            not spans
            or len(set(at.tolist())) != len(at)
            or any(span.start % step or (span.stop % step and span.stop != len(index)) for span, _ in spans)
        ):
            raise ResultError(
                f"part covers {dim}={short(labels.tolist())}, not whole regions; a region is {step} {dim}(s) "
                "counted from the first, as in store.pending()."
            )
        return spans

    def _fitting(self, part: xr.Dataset, name: str, dims: tuple[str, ...]) -> np.ndarray:
        """Variable ``name`` of ``part`` with the axes of the store in its order, after checks."""
        if name not in part.data_vars:
            raise ResultError(
                f"part lacks the variable {name!r}; it has {', '.join(map(str, part.data_vars)) or 'none'}."
            )
        variable, stored = part.variables[name], self._arrays[name].dtype
        single = tuple(d for d in dims if d in self.regions and d not in variable.dims)
        if {*single, *variable.dims} != set(dims):
            raise ResultError(f"variable {name!r} of part has axes {variable.dims}; the store has {dims}.")
        if not np.can_cast(variable.dtype, stored, "safe"):
            raise ResultError(
                f"variable {name!r} of part is {variable.dtype}, the store holds {stored}, which would lose "
                f"digits; make the template {variable.dtype}."
            )
        for d in set(dims) - set(self.regions):
            labels = self._template.indexes.get(d)
            if variable.sizes[d] != self._template.sizes[d] or (
                labels is not None and not labels.equals(part.indexes.get(d))
            ):
                raise ResultError(
                    f"axis {d!r} of part does not have the store's {self._template.sizes[d]} labels; "
                    f"pad it: part.reindex({d}=template.{d})."
                )
        has = (*single, *variable.dims)
        return variable.values[(None,) * len(single)].transpose([has.index(d) for d in dims])

    def stamp(self, record: Mapping[str, Any]) -> None:
        """Replace the record on disk, at the end of a sweep with its duration, say; the sweep must be the same.

        Raises:
            ResultError: status "complete" while regions are pending, or the record of another sweep.
        """
        stamped = stamp(self._template, record)
        refuse_other(self.path, identity_of(stamped, self.regions))
        if provenance(stamped)["status"] == "complete" and not self.done.all():
            raise ResultError(
                about(self.path, f"has {len(self.pending())} regions pending; stamp it with status='partial'")
            )
        try:
            self._group.attrs[ATTRIBUTE] = stamped.attrs[ATTRIBUTE]
        except Exception as error:
            raise failure("stamp", self.path, error) from error

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def done(self) -> xr.DataArray:
        """Which cells of the cut axes are written, as it stands on disk now (other processes included)."""
        dims = tuple(self.regions)
        try:
            values = self._arrays["done"][...]
        except Exception as error:
            raise failure("read", self.path, error) from error
        return xr.DataArray(values, dims=dims, coords={d: self._template[d].variable for d in dims}, name="done")

    def pending(self) -> list[dict[str, slice]]:
        """Regions that are not written yet, as slices for ``template.isel(**region)``, first axis slowest."""
        done = self.done.values
        starts = [range(0, self._template.sizes[d], step) for d, step in self.regions.items()]
        cut = [
            tuple(slice(a, min(a + step, n)) for a, step, n in zip(at, self.regions.values(), done.shape))
            for at in itertools.product(*starts)
        ]
        return [dict(zip(self.regions, key)) for key in cut if not done[key].all()]

    def load(self) -> Result:
        """What is there, in memory: status "complete" when no region is pending, else "partial" with NaN for the
        rest.
        """
        return load_store(self.path)

    def __repr__(self) -> str:
        done = self.done.values
        return f"Store({str(self.path)!r}: {int(done.sum())} of {done.size} cells of {' × '.join(self.regions)} done)"


def load_store(path: Path) -> Result:
    """The store at ``path`` as a Result, without the variable ``done``; regions not done are NaN, whatever was
    written.
    """
    mark = mark_of(path)
    try:
        # before the data, which may still grow
        there = np.asarray(zarr.open_array(path, path="done", mode="r", zarr_format=3)[...])
    except Exception as error:
        raise failure("read", path, error) from error
    done = xr.DataArray(there, dims=tuple(mark["regions"]))
    loaded = read_zarr(path, whole=bool(done.all()))
    loaded = loaded.drop_vars("done")
    for name, array in loaded.data_vars.items():
        if set(array.dims) & set(done.dims):
            known = (
                done.any([d for d in done.dims if d not in array.dims]) if set(done.dims) - set(array.dims) else done
            )
            loaded[name] = array.where(known).transpose(*array.dims).astype(array.dtype)
            loaded[name].attrs.update(array.attrs)
    return stamp(loaded, provenance(loaded) | {"status": "complete" if bool(done.all()) else "partial"})


def _names(dims: Sequence[Hashable]) -> tuple[str, ...]:
    """The axes by name: those of a result are texts."""
    return tuple(map(str, dims))


def _checked_regions(template: xr.Dataset, regions: Mapping[str, int] | None) -> dict[str, int]:
    if regions is None:
        regions = {dim: 1 for dim in REGIONS if dim in template.dims}
    if not isinstance(regions, Mapping) or not regions:
        raise ResultError(
            f"regions={regions!r}; expected cells per region by axis, such as {{'layer': 1}}; the template has "
            f"the axes {', '.join(map(str, template.dims)) or 'none'}."
        )
    for dim, size in regions.items():
        if dim not in template.dims or dim not in template.indexes or not template.indexes[dim].is_unique:
            raise ResultError(
                f"regions has the axis {dim!r}; expected an axis of the template with unique labels "
                f"({', '.join(map(str, template.indexes))})."
            )
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ResultError(f"regions[{dim!r}]={size!r}; expected a positive number of cells.")
    if "done" in template.variables:
        raise ResultError("template has a variable 'done', the name under which a store keeps its progress; rename it.")
    for name, array in template.data_vars.items():
        if set(array.dims) & set(regions) and array.dtype.kind != "f":
            raise ResultError(
                f"template variable {name!r} is {array.dtype}; what is written by region must be a float, "
                "as NaN stands for what is not there yet."
            )
        if array.size == 0:
            raise ResultError(
                f"template variable {name!r} has no cells (axes {dict(array.sizes)}); nothing can be written."
            )
    return {str(dim): int(min(size, template.sizes[dim])) for dim, size in regions.items()}
