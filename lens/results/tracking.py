"""A result as an artifact of a run that W&B or MLflow tracks: the whole result, which `lens.open` reads back, its
record, and its single numbers.

Arrays go as files and not as logged steps.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from .. import files, reading
from .dataset import fingerprint, provenance
from .errors import ResultError
from .tracked import Tracked

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def tracker(run: Any) -> Callable[[Tracked, Any], Any] | None:
    """What writes to a run: that of W&B or of MLflow, told by its class; None for anything else."""
    for kind in type(run).__mro__:
        package, name = kind.__module__.split(".")[0], kind.__name__
        if package == "wandb" and name == "Run":
            from .wandb_run import add

            return add
        if package == "mlflow" and name in ("ActiveRun", "Run"):
            from .mlflow_run import add

            return add
    return None


def track(ds: xr.Dataset, run: Any, name: str | None, save: Callable[[xr.Dataset, Path], Any]) -> Any:
    """Adds a result to a run; see `lens.export`. `save` writes it as a folder."""
    record = provenance(ds)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", record["kind"]) if name is None else name
    if not _NAME.fullmatch(name):
        raise ResultError(
            f"name={name!r} does not fit; expected letters, digits, '_', '.' and '-', at most 100, which both trackers"
            " take."
        )
    write = tracker(run)
    assert write is not None
    with tempfile.TemporaryDirectory() as folder:
        save(ds, Path(folder) / f"{name}.zarr")
        files.write_json(Path(folder) / f"{name}.json", record)
        try:
            sizes = {str(dim): size for dim, size in ds.sizes.items()}
            return write(Tracked(name, Path(folder), _facts(record), sizes, _numbers(ds)), run)
        except ResultError:
            raise
        except Exception as error:  # each tracker raises its own kinds
            raise ResultError(
                f"path: the run did not take the result {name!r} ({reading.said(error)}); look at whether it is still"
                " open, and give name= where it has one of that name."
            ) from error


def _numbers(ds: xr.Dataset) -> dict[str, float]:
    """The variables that are one number each."""
    return {
        str(name): float(array.values)
        for name, array in ds.data_vars.items()
        if array.ndim == 0 and array.dtype.kind in "biuf"
    }


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What one filters results by."""
    model = record.get("model") or {}
    facts = {"kind": record["kind"], "status": record["status"], "seed": record.get("seed"), "model": model.get("name")}
    return {k: v for k, v in facts.items() if v is not None} | {
        **({"weights": model["hash"]} if model.get("hash") else {}),
        "fingerprint": fingerprint(record),
    }
