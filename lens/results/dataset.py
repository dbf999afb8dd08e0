"""Labelled results: an ``xarray.Dataset`` that carries, in one attribute, what it takes to compute it again.

``ds.attrs["mnemoscope"]`` is a JSON text with a schema number (NetCDF attributes take neither None, booleans nor
dictionaries). Everything else is xarray: select, reduce, plot. ``lens`` returns ``Result``, a Dataset whose only
addition is that it says at the end of a notebook cell what it is; operations that xarray answers with a plain Dataset
(arithmetic between two results, ``where``) lose that sentence and nothing else. ``ds.mnemoscope`` works on both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Hashable, Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from .. import reading
from ..arguments import door
from ..markup import as_written
from . import titles
from .errors import ResultError

#: Number of the layout of the provenance record that this version writes and reads.
SCHEMA = 1
#: Name of the Dataset attribute that holds the record.
ATTRIBUTE = "mnemoscope"
#: Top-level entries of a record that differ between two runs of the same computation.
VOLATILE = ("started", "finished", "seconds", "duration", "elapsed", "timestamp")

#: Attributes of a variable that is kept to compute with: its axes are not the result's, its values not in the table.
BESIDE = {"beside": "table"}
_MAIN = ("effect", "mean", "contribution", "pattern", "eigenvalue_score", "hit_rate", "prob", "value")


# -- the record ---------------------------------------------------------------------------------------------------


@door(ResultError)
def stamp(ds: xr.Dataset, record: Mapping[Any, Any]) -> Result:
    """A ``Result`` with the data of ``ds`` (shared, not copied) and ``record`` as its provenance.

    Args:
        ds: any Dataset; it is left as it is.
        record: None, truth values, numbers, text, lists and dictionaries with text keys. ``kind`` is required;
            ``schema`` and ``status`` ("complete" or "partial") are filled in where absent, and the title that is
            registered for the kind (``lens.results.titles``).

    Raises:
        ResultError: an entry that JSON cannot hold exactly, an unknown status, another schema number.

    >>> made = stamp(xr.Dataset({"effect": ("layer", [0.1, 0.9])}), {"kind": "patch"})
    >>> provenance(made)["status"]
    'complete'
    """
    _check_dataset(ds)
    entries: dict[str, Any] = {"schema": SCHEMA, "status": "complete"} | _plain(record, "record")
    _check_record(entries, "record")
    titles.write(entries)
    # plain variables: arrays would each be aligned with the others once more, which takes milliseconds
    result = Result({name: ds.variables[name] for name in ds.data_vars}, ds.coords, ds.attrs)
    result.attrs[ATTRIBUTE] = json.dumps(entries, allow_nan=False)
    return result


@door(ResultError)
def provenance(ds: xr.Dataset) -> dict[str, Any]:
    """The record of a result as a dictionary: kind, status, model, call, pairs, seed, versions.

    Raises:
        ResultError: no record, or one that this version cannot read.
    """
    _check_dataset(ds)
    return read_record(ds.attrs.get(ATTRIBUTE), "this Dataset")


def read_record(text: Any, where: str) -> dict[str, Any]:
    """The record in ``text``, checked; ``where`` names its owner in errors (``ResultError``)."""
    if text is None:
        raise ResultError(
            f"{where} has no attribute {ATTRIBUTE!r}, so it does not say how it was computed; "
            "copy the record of the result it came from: lens.results.stamp(ds, lens.record(source))."
        )
    try:
        record: dict[str, Any] = reading.value(text)
    except ValueError as error:
        raise ResultError(
            f"the attribute {ATTRIBUTE!r} of {where} is not JSON ({error}); write it anew with"
            " lens.results.stamp(ds, record)."
        ) from None
    _check_record(record, f"the record of {where}")
    return record


@door(ResultError)
def fingerprint(record: Mapping[Any, Any]) -> str:
    """SHA-256 (hex) of a record in canonical JSON, without the top-level entries that are times (``VOLATILE``), and
    without its title.

    Two runs of the same computation have the same fingerprint, whatever the order of their entries.
    """
    lasting = {key: value for key, value in _plain(record, "record").items() if key not in (*VOLATILE, titles.ENTRY)}
    text = json.dumps(lasting, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_dataset(ds: Any) -> None:
    if not isinstance(ds, xr.Dataset):
        hint = "; use .to_dataset(name=...) first" if isinstance(ds, xr.DataArray) else ""
        raise ResultError(f"ds is a {type(ds).__name__}; expected an xarray.Dataset, as lens.patch returns{hint}.")


def _check_record(record: Any, where: str) -> None:
    schema = record.get("schema") if isinstance(record, dict) else None
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ResultError(f"{where} has schema={schema!r}; expected {SCHEMA}. It was not written by Mnemoscope.")
    if schema > SCHEMA:
        raise ResultError(
            f"{where} has schema={schema}, this version reads up to {SCHEMA}: "
            "it comes from a newer Mnemoscope; upgrade with pip install --upgrade mnemoscope."
        )
    if not isinstance(record.get("kind"), str) or not record["kind"]:
        raise ResultError(
            f"{where} has kind={record.get('kind')!r}; expected the name of a computation, such as 'patch'."
        )
    if record.get("status") not in ("complete", "partial"):
        raise ResultError(f"{where} has status={record.get('status')!r}; expected 'complete' or 'partial'.")


def _plain(value: Any, where: str) -> Any:
    """``value`` as what JSON gives back unchanged; tuples become lists and NumPy scalars Python ones."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultError(f"{where} is {value}, which JSON has no number for; use None or a text.")
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ResultError(
                    f"{where} has the key {key!r} ({type(key).__name__}); JSON keys are text: use {str(key)!r}."
                )
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise ResultError(
        f"{where} is a {type(value).__name__}; expected None, a truth value, a number, text, a list or "
        "a dictionary. Store its name (str(...)) or its list (.tolist())."
    )


# -- what it says of itself -----------------------------------------------------------------------------------------


class Peak(NamedTuple):
    """The cell with the largest magnitude: which variable, its value, the label on each axis, the tokens there."""

    variable: str
    value: float
    at: dict[str, Any]
    tokens: dict[str, str]

    def __str__(self) -> str:
        place = ", ".join(
            f"{dim} {label!r}" if isinstance(label, str) else f"{dim} {label}" for dim, label in self.at.items()
        )
        clean, corrupted = self.tokens.get("token_clean"), self.tokens.get("token_corrupted")
        if clean is not None:
            place += f", token {_quoted(clean)}"
            if corrupted not in (None, clean):
                place += f" (corrupted {_quoted(corrupted)})"
        return f"{self.variable} {self.value:+.4g}" + (f" at {place}" if place else "")


@door(ResultError)
def peak(ds: xr.Dataset, variable: str | None = None, *, average: tuple[str, ...] = ("prompt",)) -> Peak | None:
    """The cell of largest absolute effect, with its labels; None where every cell is NaN.

    Args:
        variable: by default ``effect`` (in a summary ``mean``).
        average: axes over which the mean is taken first, NaN left out; pass ``()`` to search every prompt's cells.
    """
    _check_dataset(ds)
    names = [str(name) for name, array in ds.data_vars.items() if array.dtype.kind in "iuf"]
    name = variable if variable is not None else _main(ds)
    if name not in names:
        raise ResultError(
            f"variable={variable!r} is not a numeric variable of this result; it has {', '.join(names) or 'none'}."
        )
    cells = _averaged(ds[name], average)
    size = np.abs(cells.values.astype(float))
    if size.size == 0 or np.isnan(size).all():
        return None
    index = dict(zip(cells.dims, map(int, np.unravel_index(np.nanargmax(size), size.shape))))
    at = {str(dim): _python(cells[dim].values[i]) if dim in cells.coords else i for dim, i in index.items()}
    tokens = {}
    for coord, labels in ds.coords.items():
        if coord not in ds.dims and labels.dtype.kind in "OUT" and index.keys() & set(labels.dims):
            here = set(labels.isel({d: i for d, i in index.items() if d in labels.dims}).values.ravel().tolist())
            if len(here) == 1 and isinstance(token := here.pop(), str):
                tokens[str(coord)] = token
    return Peak(name, float(cells.isel(index)), at, tokens)


@door(ResultError)
def table(ds: xr.Dataset) -> pd.DataFrame:
    """The result in long form: one row a cell, with its labels, its tokens and every variable.

    Values that do not depend on an axis (``clean`` of a prompt, say) repeat along it. Padded and missing cells stay,
    as NaN; ``.dropna(subset=["effect"])`` leaves them out. What is kept for computing alone (`BESIDE`) has no column.
    """
    _check_dataset(ds)
    ds = _told(ds)
    named = [name for name in ds.coords if name not in ds.dims]
    order = [
        *_axes(ds),
        *named,
        *sorted(map(str, ds.data_vars), key=lambda v: (v not in _MAIN, _MAIN.index(v) if v in _MAIN else 0)),
    ]
    flat = ds.drop_encoding()
    if not ds.sizes:
        return pd.DataFrame({name: [_python(flat[name].values[()])] for name in order})
    return flat.to_dataframe(dim_order=_axes(ds)).reset_index()[order]


@door(ResultError)
def describe(ds: xr.Dataset) -> str:
    """What the result is, how much of it is there, where its peak lies and how to plot it: a few lines of text."""
    _check_dataset(ds)
    return "\n".join(f"{heading}: {text}" if heading else text for heading, text, _ in _facts(ds))


def _entries(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An entry of a record that holds entries itself; none where it does not."""
    entry = record.get(name)
    return entry if isinstance(entry, dict) else {}


def _facts(ds: xr.Dataset) -> list[tuple[str, str, bool]]:
    """Rows of (heading, text, whether the text is code)."""
    ds = _told(ds)
    try:
        record = provenance(ds)
    except ResultError:
        record = {}
    call, model = _entries(record, "call"), _entries(record, "model")
    axes = " × ".join(f"{size} {dim}{'' if size == 1 else 's'}" for dim, size in ((d, ds.sizes[d]) for d in _axes(ds)))
    kind = record.get("kind", "")
    title = titles.title_of(record) or (
        f"Result of kind {_quoted(kind)}" if kind else "Dataset without a Mnemoscope record"
    )
    words = [str(call[key]) for key in ("site", "direction", "metric", "method") if isinstance(call.get(key), str)]
    facts = [
        (
            "",
            ", ".join([title, *([str(model["name"])] if model.get("name") else []), *words, *([axes] if axes else [])]),
            False,
        )
    ]
    main = _main(ds)
    if record.get("status") == "partial":
        facts.append(("Partial", _progress(ds, main), False))
    if main is None:
        return facts
    averaged = [f"{ds.sizes[d]} {d}s" for d in ("prompt",) if d in ds[main].dims and ds.sizes[d] > 1]
    top = peak(ds, main)
    if top is None:
        facts.append(("Peak", f"no finite {main} in it yet", False))
        return facts
    share = ""
    if main == "effect" and "normalized" in ds and ds["normalized"].dims == ds[main].dims:
        value = float(_averaged(ds["normalized"], ("prompt",)).sel(top.at)) if _labelled(ds, top.at) else math.nan
        share = f"; normalized {value:+.3g}" if math.isfinite(value) else ""
    facts.append(("Peak", f"{top}{share}" + (f"; mean over {averaged[0]}" if averaged else ""), False))
    if code := _plot_code(ds, main, top):
        facts.append(("Plot", code, True))
    facts.append(("Table", "result.mnemoscope.table()", True))
    return facts


def _progress(ds: xr.Dataset, main: str | None) -> str:
    if main is None or "layer" not in ds[main].dims:
        return "the run ended early; cells that were not computed are NaN"
    cells = ds[main]
    done = int(cells.notnull().any([d for d in cells.dims if d != "layer"]).sum())
    return (
        f"the run ended early: {done} of {ds.sizes['layer']} layers have values, cells that were not computed are NaN"
    )


def _plot_code(ds: xr.Dataset, main: str, top: Peak) -> str:
    """Code that draws ``main`` with xarray's own plotting: a line, or a map through the peak."""
    dims = list(top.at)
    plain = main.isidentifier() and not hasattr(xr.Dataset, main)
    code = (f"result.{main}" if plain else f"result[{main!r}]") + "".join(
        f'.mean("{d}")' for d in ds[main].dims if d not in top.at
    )
    if len(dims) == 1:
        return f"{code}.plot()"
    if len(dims) < 2:
        return ""
    across = "position" if "position" in dims[1:] else dims[-1]
    down = "layer" if "layer" in dims and across != "layer" else next(d for d in dims if d != across)
    fixed = ", ".join(f"{d}={label!r}" for d, label in top.at.items() if d not in (across, down))
    return code + (f".sel({fixed})" if fixed else "") + f'.plot(x="{across}", y="{down}")'


def _told(ds: xr.Dataset) -> xr.Dataset:
    """Without what is kept to compute with alone."""
    return ds.drop_vars([name for name, array in ds.data_vars.items() if array.attrs == BESIDE])


def _main(ds: xr.Dataset) -> str | None:
    numeric = [str(name) for name, array in ds.data_vars.items() if array.dtype.kind in "iuf"]
    return next((name for name in _MAIN if name in numeric), max(numeric, key=lambda n: ds[n].ndim, default=None))


def _axes(ds: xr.Dataset) -> list[Hashable]:
    """The axes in the order of the main variable; a Dataset by itself has them in the order it met them."""
    main = _main(ds)
    return list(dict.fromkeys([*(ds[main].dims if main else ()), *ds.sizes]))


def _averaged(array: xr.DataArray, dims: tuple[str, ...]) -> xr.DataArray:
    return array.mean([d for d in dims if d in array.dims], skipna=True)


def _labelled(ds: xr.Dataset, at: Mapping[str, Any]) -> bool:
    return all(dim in ds.indexes and ds.indexes[dim].is_unique for dim in at)


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _quoted(text: str, limit: int = 40) -> str:
    """Text in quotes with line breaks visible, cut at ``limit`` characters."""
    return json.dumps(text if len(text) <= limit else text[: limit - 1] + "…", ensure_ascii=False)


# -- the notebook -----------------------------------------------------------------------------------------------------


class Result(xr.Dataset):
    """An ``xarray.Dataset`` that begins its repr with what it is, where its peak lies and how to plot it."""

    __slots__ = ()

    def __repr__(self) -> str:
        with contextlib.suppress(Exception):  # a repr that fails hides the data from the person who looks for the fault
            return f"{describe(self)}\n\n{super().__repr__()}"
        return super().__repr__()

    def itertuples(self) -> Iterator[Any]:
        """The cells one after another as named tuples of coordinates and values, as pandas gives the rows of a table:
        for the lines of a summary; whole grids are faster as arrays.

        >>> for line in lens.memorization.recognition_summary(result).itertuples():  # doctest: +SKIP
        ...     print(line.foil, line.recognised, line.p)
        """
        lines = self if self.sizes else self.expand_dims(line=1)
        return iter(lines.to_dataframe().reset_index(drop=not self.sizes).itertuples(index=False))

    def _repr_html_(self) -> str:
        head = ""
        if xr.get_options()["display_style"] == "html":
            with contextlib.suppress(Exception):
                head = _html(_facts(self))
        return as_written(head + super()._repr_html_())


def _html(facts: list[tuple[str, str, bool]]) -> str:
    """The facts as HTML in the page's own text colour: no colour of ours can clash with a dark or light theme."""
    rows = []
    for heading, text, code in facts:
        label = f"<strong>{escape(heading)}</strong> " if heading else ""
        body = f"<code style='color:inherit;background:none'>{escape(text)}</code>" if code else escape(text)
        rows.append(f"<div>{label}{body}</div>" if heading else f"<div><strong>{body}</strong></div>")
    style = (
        "color:inherit;background:none;border-left:3px solid currentColor;padding:2px 0 2px 10px;margin:0 0"
        " 8px;line-height:1.5"
    )
    return f"<div class='mnemoscope-result' role='note' style='{style}'>{''.join(rows)}</div>"
