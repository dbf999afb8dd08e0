"""A patching run for people without a kernel: the Python that makes it again, and a static table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from widgets.base.tables import coloured_table
from widgets.base.text import escaped
from widgets.patch_explorer.work import PatchMap, payload

STATIC_COLUMNS = 64


def program(
    model: Mapping[str, Any], run: PatchMap, show: str = "normalized", cell: Mapping[str, Any] | None = None
) -> str:
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


def static_table(run: PatchMap | None, model: str, empty: str, more: str = "") -> str:
    """The heat map as an HTML table with inline colours and rounded numbers: it survives sanitizers, printing and
    screen readers. `more`: what else is said of the run.
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
    return f"<p>{html.escape(title)}</p>{table}{f'<p>{html.escape(more)}</p>' if more else ''}"


def _heading(data: Mapping[str, Any], column: int) -> str:
    if data["column_name"] != "position":
        return str(data["columns"][column])
    clean, corrupted = data["clean_tokens"][column], data["corrupted_tokens"][column]
    return escaped(clean) if clean == corrupted else f"{escaped(clean)}<br>{escaped(corrupted)}"


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3g}"
