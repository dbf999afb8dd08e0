"""What a result says of its making, and numbers as a coloured HTML table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr


def read_record(dataset: xr.Dataset) -> dict[str, Any]:
    """What the Dataset knows about how it was made; {} where it knows nothing."""
    try:
        known = json.loads(dataset.attrs.get("mnemoscope", "{}"))
    except (TypeError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


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


def _cell(value: float, limit: float, style: str, write: Callable[[float], str]) -> str:
    if not np.isfinite(value):
        return f'<td style="{style}background-color:#d6d6d6;color:#333333">–</td>'
    end = (0x85, 0x37, 0x03) if value > 0 else (0x0A, 0x3A, 0x75)
    share = min(1.0, abs(value) / limit) ** 0.8
    colour = "#" + "".join(f"{round(249 + share * (c - 249)):02x}" for c in end)
    ink = "#ffffff" if share > 0.5 else "#1c1c1c"
    return f'<td style="{style}background-color:{colour};color:{ink}">{write(value)}</td>'
