"""A patching run: its question, its Dataset, and its cells as the browser wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from widgets.base.tables import read_record
from widgets.base.text import finite

DIRECTIONS = {
    "denoise": ("corrupted", "clean"),
    "noise": ("clean", "corrupted"),
}  # the run that is edited, the run copied from


@dataclass
class PatchMap:
    """One sweep: its question, and its answer so far."""

    number: int
    name: str
    pair: Any
    site: str
    over: str
    metric: str
    direction: str
    method: str = "exact"
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0

    @property
    def column(self) -> str:
        return self.over if self.over in ("head", "expert") else "position"

    def what(self) -> str:
        """The question in one line."""
        return f"{self.site}, layer × {self.column}, {self.metric}, {self.direction}, {self.method}"

    def layers_done(self) -> list[int]:
        """Layers that hold at least one number."""
        if self.dataset is None:
            return []
        done = self.dataset["value"].notnull().any(self.column)
        return [int(layer) for layer in self.dataset["layer"].values[done.values]]

    def complete(self) -> bool:
        """Whether the Dataset says that nothing is missing."""
        return self.dataset is not None and read_record(self.dataset).get("status", self.status) == "complete"


def column_labels(dataset: xr.Dataset, column: str) -> list[int]:
    return [int(c) for c in dataset[column].values] if column in dataset.coords else list(range(dataset.sizes[column]))


def tokens(dataset: xr.Dataset, which: str) -> list[str]:
    """The clean or corrupted token of each position; [] for a map over heads or experts."""
    name = f"token_{which}"
    return [str(t) for t in dataset[name].values] if name in dataset and "position" in dataset["value"].dims else []


def payload(run: PatchMap, model: str) -> dict[str, Any]:
    """The `map` trait: labels as JSON, numbers as float32 buffers of shape (layer, column), row-major, NaN where not
    computed.
    """
    assert run.dataset is not None
    dataset = run.dataset.transpose("layer", run.column, ...).sortby("layer")
    clean, corrupted = (finite(dataset[name].mean()) for name in ("clean", "corrupted"))
    base_name, source_name = DIRECTIONS[run.direction]
    baseline = {"clean": clean, "corrupted": corrupted}
    numbers = {
        name: np.ascontiguousarray(dataset[name].values, dtype="<f4").tobytes()
        for name in ("value", "effect", "normalized")
    }
    return {
        "run": run.number,
        "name": run.name,
        "model": model,
        "site": run.site,
        "metric": run.metric,
        "direction": run.direction,
        "method": run.method,
        "shape": [dataset.sizes["layer"], dataset.sizes[run.column]],
        "rows": [int(layer) for layer in dataset["layer"].values],
        "columns": column_labels(dataset, run.column),
        "column_name": run.column,
        "clean_tokens": tokens(dataset, "clean"),
        "corrupted_tokens": tokens(dataset, "corrupted"),
        "clean": clean,
        "corrupted": corrupted,
        "base": baseline[base_name],
        "base_name": base_name,
        "source_name": source_name,
        "complete": run.complete(),
        **numbers,
    }


def cell_facts(run: PatchMap, layer: int, column: int) -> dict[str, Any]:
    """The numbers and tokens of one cell. Raises KeyError when the run has no such cell."""
    assert run.dataset is not None
    dataset = run.dataset
    here = dataset.isel({run.column: column_labels(dataset, run.column).index(column)}).sel(layer=layer)
    facts: dict[str, Any] = {name: finite(here[name]) for name in ("value", "effect", "normalized")}
    if run.column == "position":
        facts |= {
            f"{which}_token": str(here[f"token_{which}"].values)
            for which in ("clean", "corrupted")
            if f"token_{which}" in dataset
        }
    return facts | {
        "run": run.number,
        "name": run.name,
        "layer": layer,
        "column": column,
        "column_name": run.column,
        "site": run.site,
        "metric": run.metric,
        "direction": run.direction,
        "base_name": DIRECTIONS[run.direction][0],
        "answer": run.pair.answer,
        "foil": run.pair.foil,
    }


def spans_in(text: str, spans: Mapping[str, Any]) -> dict[str, Any]:
    """The named spans (a part, or a part and its occurrence) that `text` still has after a person edited it."""
    parts = {name: (value, 1) if isinstance(value, str) else value for name, value in spans.items()}
    return {name: spans[name] for name, (part, occurrence) in parts.items() if text.count(part) >= occurrence}


def spans_as_text(text: str, spans: Mapping[str, Any]) -> dict[str, Any]:
    """Spans with those that are characters of `text` (a chat's turns) as what stands there and which time it does."""
    return {
        name: (text[slice(*value)], text.count(text[slice(*value)], 0, value[0]) + 1)
        if isinstance(value[0], int)
        else value
        for name, value in spans.items()
    }


def pair_fields(pair: Any) -> dict[str, str]:
    """The text fields of a pair as the view's traits."""
    return {
        name: value or ""
        for name, value in asdict(pair).items()
        if name in ("clean", "corrupted", "answer", "foil", "start")
    }
