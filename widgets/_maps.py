"""A patching Dataset as the browser wants it, as a static table, and as the Python that makes it again."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np
import xarray as xr

from widgets._view import escaped, finite

DIRECTIONS = {
    "denoise": ("corrupted", "clean"),
    "noise": ("clean", "corrupted"),
}  # the run that is edited, the run copied from
STATIC_COLUMNS = 64


@dataclass
class Run:
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
        return self.dataset is not None and record(self.dataset).get("status", self.status) == "complete"


def record(dataset: xr.Dataset) -> dict[str, Any]:
    """What the Dataset knows about how it was made; {} where it knows nothing."""
    try:
        known = json.loads(dataset.attrs.get("mnemoscope", "{}"))
    except (TypeError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def column_labels(dataset: xr.Dataset, column: str) -> list[int]:
    return [int(c) for c in dataset[column].values] if column in dataset.coords else list(range(dataset.sizes[column]))


def tokens(dataset: xr.Dataset, which: str) -> list[str]:
    """The clean or corrupted token of each position; [] for a map over heads or experts."""
    name = f"token_{which}"
    return [str(t) for t in dataset[name].values] if name in dataset and "position" in dataset["value"].dims else []


def payload(run: Run, model: str) -> dict[str, Any]:
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


def cell_facts(run: Run, layer: int, column: int) -> dict[str, Any]:
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


def program(model: Mapping[str, Any], run: Run, show: str = "normalized", cell: Mapping[str, Any] | None = None) -> str:
    """Python that computes the run again and shows it, with its chosen cell."""
    arguments = [
        f"    {f.name}={getattr(run.pair, f.name)!r},"
        for f in fields(run.pair)
        if f.name in ("clean", "corrupted", "answer") or getattr(run.pair, f.name) != _default(f)
    ]
    precision = "" if model.get("dtype", "float32") == "float32" else f", dtype={model['dtype']!r}"
    method = "" if run.method == "exact" else f", method={run.method!r}"
    lines = [
        "import lens",
        "",
        f"model = lens.load({model['name']!r}{precision})",
        "pair = lens.Pair(",
        *arguments,
        ")",
        f"trace = lens.patch(model, pair, {run.site!r}, over={('layer', run.column)!r},",
        f"                   metric={run.metric!r}, direction={run.direction!r}{method})",
        f"print(trace[{show!r}].to_pandas().round(3))",
    ]
    if cell:
        where = f"{run.column}={cell['column']}"
        lines += [
            "",
            f"cell = lens.patching.explain_cell(model, pair, {run.site!r}, layer={cell['layer']}, {where},",
            f"                                  direction={run.direction!r}, metric={run.metric!r})",
            "for token, probability in cell.edited:",
            '    print(f"{token!r:20} {probability:.3f}")',
        ]
    return "\n".join(lines) + "\n"


def _default(pair_field: Any) -> Any:
    return pair_field.default if pair_field.default_factory is MISSING else pair_field.default_factory()


def static_table(run: Run | None, model: str, empty: str) -> str:
    """The heat map as an HTML table with inline colours and rounded numbers: it survives sanitizers, printing and
    screen readers.
    """
    if run is None or run.dataset is None:
        return f"<p><em>{html.escape(empty)}</em></p>"
    data = payload(run, model)
    values = np.frombuffer(data["normalized"], dtype="<f4").reshape(data["shape"])
    limit = max(1e-9, float(np.nanmax(np.abs(values)))) if np.isfinite(values).any() else 1.0
    title = (
        f"{model}: {run.what()}. Clean {_number(data['clean'])}, corrupted {_number(data['corrupted'])}. Normalized"
        f" effect × 100: 0 is the {data['base_name']} run, 100 the {data['source_name']} run."
    )
    keep = np.arange(values.shape[1])
    if len(keep) > STATIC_COLUMNS:
        strength = np.nan_to_num(np.abs(values)).max(axis=0)
        keep = np.sort(np.argsort(-strength)[:STATIC_COLUMNS])
        title += f" The {STATIC_COLUMNS} strongest of {values.shape[1]} columns."
    table = coloured_table(
        [_heading(data, c) for c in keep],
        [str(row) for row in data["rows"]],
        values[:, keep],
        limit,
        lambda v: str(round(100 * v)),
    )
    return f"<p>{html.escape(title)}</p>{table}"


def coloured_table(
    headings: list[str], rows: list[str], values: np.ndarray, limit: float, write: Callable[[float], str]
) -> str:
    """Numbers (row, column) as an HTML table, the last row on top, coloured blue to orange up to +-`limit`; headings
    and row labels are HTML already.
    """
    style = "padding:1px 3px;text-align:right;border:none;font:11px monospace;"
    head = "".join(f'<th style="{style}vertical-align:bottom">{text}</th>' for text in headings)
    body = "".join(
        f'<tr><th style="{style}">{rows[r]}</th>'
        + "".join(_cell(float(v), limit, style, write) for v in values[r])
        + "</tr>"
        for r in reversed(range(len(rows)))
    )
    return (
        '<div style="overflow-x:auto"><table><thead><tr><th'
        f' style="{style}">layer</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _heading(data: Mapping[str, Any], column: int) -> str:
    if data["column_name"] != "position":
        return str(data["columns"][column])
    clean, corrupted = data["clean_tokens"][column], data["corrupted_tokens"][column]
    return escaped(clean) if clean == corrupted else f"{escaped(clean)}<br>{escaped(corrupted)}"


def _cell(value: float, limit: float, style: str, write: Callable[[float], str]) -> str:
    if not np.isfinite(value):
        return f'<td style="{style}background-color:#d6d6d6;color:#333333">–</td>'
    end = (0x85, 0x37, 0x03) if value > 0 else (0x0A, 0x3A, 0x75)
    share = min(1.0, abs(value) / limit) ** 0.8
    colour = "#" + "".join(f"{round(249 + share * (c - 249)):02x}" for c in end)
    ink = "#ffffff" if share > 0.5 else "#1c1c1c"
    return f'<td style="{style}background-color:{colour};color:{ink}">{write(value)}</td>'


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3g}"


def pair_from(known: Mapping[str, Any], pair_type: Any, prompt: int = 0) -> Any:
    """The pair that a stored Dataset was computed from; None where it does not say."""
    pairs = known.get("pairs") or []
    if prompt >= len(pairs):
        return None
    names = {f.name for f in fields(pair_type)}
    return pair_type(
        **{name: _spans(value) if name == "spans" else value for name, value in pairs[prompt].items() if name in names}
    )


def spans_in(text: str, spans: Mapping[str, Any]) -> dict[str, Any]:
    """The named spans (a part, or a part and its occurrence) that `text` still has after a person edited it."""
    parts = {name: (value, 1) if isinstance(value, str) else value for name, value in spans.items()}
    return {name: spans[name] for name, (part, occurrence) in parts.items() if text.count(part) >= occurrence}


def _spans(spans: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in (spans or {}).items()}


def pair_fields(pair: Any) -> dict[str, str]:
    """The text fields of a pair as the view's traits."""
    return {
        name: value or ""
        for name, value in asdict(pair).items()
        if name in ("clean", "corrupted", "answer", "foil", "start")
    }
