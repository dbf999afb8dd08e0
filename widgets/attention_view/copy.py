"""A head's attention for people without a kernel: the Python that computes it again, and a static table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from widgets.base.text import escaped

STATIC_TOKENS = 40


def program(model: Mapping[str, Any], texts: Mapping[str, str], which: str, layer: int, head: int) -> str:
    """Python that computes the pattern shown again."""
    precision = "" if model.get("dtype", "float32") == "float32" else f", dtype={model['dtype']!r}"
    calls = {name: f"lens.attention(model, {text!r})" for name, text in texts.items()}
    lines = ["import lens", "", f"model = lens.load({model['name']!r}{precision})"]
    if which == "difference":
        lines += [f"{name} = {call}" for name, call in calls.items()]
        lines += ['pattern = clean["pattern"] - corrupted["pattern"].values']
    else:
        lines += [f'pattern = {calls[which]}["pattern"]']
    lines += [f"print(pattern.sel(layer={layer}, head={head}).to_pandas().round(3))  # rows are queries"]
    return "\n".join(lines) + "\n"


def static(model: str, pattern: Mapping[str, Any], which: str, empty: str) -> str:
    """The chosen head as an HTML table, the last `STATIC_TOKENS` tokens of it."""
    if not pattern:
        return f"<p><em>{html.escape(empty)}</em></p>"
    tokens, size = pattern["tokens"], pattern["size"]
    values = np.frombuffer(pattern["values"], dtype="<f4").reshape(size, size)
    keep = range(max(0, size - STATIC_TOKENS), size)
    style = "padding:1px 3px;text-align:right;border:none;font:11px monospace;"
    head = "".join(f'<th style="{style}">{escaped(tokens[k])}</th>' for k in keep)
    body = "".join(
        f'<tr><th style="{style}">{escaped(tokens[q])}</th>'
        + "".join(_cell(values[q, k], k > q, style) for k in keep)
        + "</tr>"
        for q in keep
    )
    title = (
        f"{model}: attention of layer {pattern['layer']}, head {pattern['head']}"
        f" ({which}), × 100; rows are queries, columns are keys."
    )
    return (
        f'<p>{html.escape(title)}</p><div style="overflow-x:auto"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: float, masked: bool, style: str) -> str:
    if masked:
        return f'<td style="{style}"></td>'
    share, end = min(1.0, abs(float(value))) ** 0.5, (0x85, 0x37, 0x03) if value < 0 else (0x08, 0x26, 0x4F)
    colour = "#" + "".join(f"{round(249 + share * (c - 249)):02x}" for c in end)
    ink = "#ffffff" if share > 0.5 else "#1c1c1c"
    return f'<td style="{style}background-color:{colour};color:{ink}">{round(100 * float(value))}</td>'
