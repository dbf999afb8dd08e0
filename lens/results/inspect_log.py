"""A result as an Inspect log: a sample for each prompt or item, what it scored, and what is missing, so that `inspect
view` and `inspect_ai.log` read it.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .. import extras
from .dataset import ATTRIBUTE, fingerprint, provenance
from .errors import ResultError

#: Axes whose entries are samples, and axes that are repetitions of them.
ITEMS = ("prompt", "item", "pair", "row", "text", "sequence", "question", "fact")
EPOCHS = ("epoch", "seed", "repetition")
#: Cells of one variable in one sample, and those whose mean is told apart.
MOST, APART = 4096, 256
_STATUS = {"complete": "success", "partial": "cancelled"}


def write_inspect_log(ds: xr.Dataset, path: Path, item: str | None) -> None:
    """Writes the log of a result to `path`, whatever its name ends in.

    Raises: ExtraError: `inspect_ai` is not installed. ResultError: as `inspect_log`.
    """
    log = inspect_log(ds, item)
    from inspect_ai.log import write_eval_log

    write_eval_log(log, str(path), format="eval")


def inspect_log(ds: xr.Dataset, item: str | None = None) -> Any:
    """The `inspect_ai.log.EvalLog` of a result.

    A sample has a score a variable, of several cells as a dictionary by their labels; its text, answer and labels come
    along. Inspect leaves samples with an error, and scores that are no number, out of its means: here such a sample
    says so as its error, and each variable's metrics count what is `missing` beside the `mean` of the others. The
    record is the log's metadata; variables that do not lie along the samples are named there.

    Args: item: the axis whose entries are samples; None: the first of `ITEMS` that the result has, or one sample.

    Raises: ExtraError: `inspect_ai` is not installed. ResultError: no such axis; more than `MOST` cells a sample.
    """
    extras.require("inspect", "a result as an Inspect log")
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    record = provenance(ds)
    dims = [str(dim) for dim in ds.dims]
    if item is not None and item not in dims:
        raise ResultError(f"item={item!r} is no axis of this result; it has {', '.join(dims) or 'none'}.")
    along = item or next((dim for dim in ITEMS if dim in dims), None)
    epoch = next((dim for dim in EPOCHS if dim in dims and dim != along), None)
    numeric = [str(name) for name, array in ds.data_vars.items() if array.dtype.kind in "biuf"]
    scored = [name for name in numeric if along is None or along in ds[name].dims]
    if not scored:
        raise ResultError(
            f"ds has no numbers along {along!r}; name another axis of samples with item=, of {', '.join(dims)}."
        )
    cells = {
        name: math.prod(size for dim, size in ds[name].sizes.items() if dim not in (along, epoch)) for name in scored
    }
    if large := next((name for name, size in cells.items() if size > MOST), None):
        raise ResultError(
            f"ds[{large!r}] has {cells[large]} cells for each sample, and an Inspect log takes at most {MOST} here;"
            " select or average some axes first, or choose another axis of samples with item=."
        )
    samples = list(_samples(ds[scored], record, along, epoch))
    model: Mapping[str, Any] = record.get("model") or {}
    started = record.get("started") or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    mark = fingerprint(record)[:22]
    return EvalLog(
        status=_STATUS[record["status"]],
        eval=EvalSpec(
            created=started,
            task=record["kind"],
            eval_id=mark,
            run_id=mark,
            task_id=mark,
            task_display_name=record.get("title") or record["kind"],
            model=str(model.get("name") or "none"),
            dataset=EvalDataset(
                name=along or record["kind"],
                samples=1 if along is None else ds.sizes[along],
                sample_ids=list(dict.fromkeys(sample.id for sample in samples)),
                shuffled=False,
            ),
            config=EvalConfig(epochs=1 if epoch is None else ds.sizes[epoch]),
            packages={str(name): str(found) for name, found in (record.get("versions") or {}).items()},
            metadata={ATTRIBUTE: record, "left_out": [str(name) for name in ds.data_vars if name not in scored]},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=sum(sample.error is None for sample in samples),
            logged_samples=len(samples),
            scores=[_metrics(ds[name], along, epoch) for name in scored],
        ),
        stats=EvalStats(started_at=started, completed_at=started),
        samples=samples,
    )


def _samples(ds: xr.Dataset, record: Mapping[str, Any], along: str | None, epoch: str | None) -> Iterator[Any]:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.scorer import Score

    n, repeats = (1 if dim is None else ds.sizes[dim] for dim in (along, epoch))
    pairs = record.get("pairs") or []
    pairs = pairs if len(pairs) == n else [{}] * n
    for i, j in itertools.product(range(n), range(repeats)):
        one = ds if along is None else ds.isel({along: i})
        one = one if epoch is None else one.isel({epoch: j})
        scores, lacking = {}, []
        for name, array in one.data_vars.items():
            values = dict(zip(_labels(array), array.values.ravel().tolist()))
            missing = sum(value != value for value in values.values())
            said = f" in {missing} of {len(values)} cells" if array.ndim else ""
            said = f"{name} is not a number{said}" if missing else ""
            lacking += [said] if said else []
            scores[str(name)] = Score(value=values if array.ndim else values[""], explanation=said or None)
        said = "; ".join(lacking)
        yield EvalSample(
            id=i + 1,
            epoch=j + 1,
            input=str(pairs[i].get("clean") or (along and str(ds[along].values[i])) or record["kind"]),
            target=str(pairs[i].get("answer") or ""),
            scores=scores,
            metadata=_coordinates(one)
            | {key: value for key, value in pairs[i].items() if key not in ("clean", "answer")},
            error=EvalError(message=said, traceback="", traceback_ansi="") if said else None,
        )


def _labels(array: xr.DataArray) -> list[str]:
    """The place of each cell in words, in C order: "layer=3, head=2"; "" of a single number."""
    axes = [[f"{dim}={label}" for label in _values(array, str(dim))] for dim in array.dims]
    labels = [", ".join(parts) for parts in itertools.product(*axes)]
    if len(set(labels)) == len(labels):
        return labels
    # labels of an axis may repeat, as tokens do
    return [", ".join(f"{dim}={k}" for dim, k in zip(array.dims, at)) for at in np.ndindex(array.shape)]


def _values(array: xr.DataArray, dim: str) -> list[Any]:
    return array[dim].values.tolist() if dim in array.coords else list(range(array.sizes[dim]))


def _coordinates(one: xr.Dataset) -> dict[str, Any]:
    """What a sample's coordinates say of it as a whole."""
    return {str(name): array.values.item() for name, array in one.coords.items() if array.ndim == 0}


def _metrics(array: xr.DataArray, along: str | None, epoch: str | None) -> Any:
    """The mean over samples of each cell, what is no number left out, and how many numbers are missing."""
    from inspect_ai.log import EvalMetric, EvalScore

    over = [dim for dim in (along, epoch) if dim is not None and dim in array.dims]
    values = array.transpose(*over, ...).values.astype(float)
    values = values.reshape(math.prod(values.shape[: len(over)]), -1)
    there = ~np.isnan(values)
    rest = array.isel({dim: 0 for dim in over}, drop=True)
    metrics: dict[str, float] = {"missing": int((~there).sum())}
    if values.shape[1] <= APART:
        for label, column, known in zip(_labels(rest), values.T, there.T):
            if known.any():
                metrics[f"mean[{label}]" if label else "mean"] = float(column[known].mean())
    whole = there.all(1)
    return EvalScore(
        name=str(array.name),
        scorer=ATTRIBUTE,
        scored_samples=int(whole.sum()),
        unscored_samples=int((~whole).sum()),
        metrics={name: EvalMetric(name=name, value=value) for name, value in metrics.items()},
    )
