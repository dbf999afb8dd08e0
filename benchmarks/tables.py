"""Numbers and tables as every benchmark prints them."""

from __future__ import annotations

import math
import statistics
import sys
from typing import Sequence


def say(text: str) -> None:
    """Progress and warnings, on standard error."""
    print(text, file=sys.stderr, flush=True)


def median(values: Sequence[float]) -> float:
    """NaN where there is none."""
    return statistics.median(values) if values else math.nan


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}{unit}" if abs(value) < 10**digits else f"{value:.0f}{unit}"


def spread(values: Sequence[float]) -> str:
    return "-" if not values else f"{min(values):.3g}-{max(values):.3g}"


def table(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """A head and rows; the first ``left`` columns flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    line = lambda row: "  ".join(cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
    return "\n".join([line(rows[0]), "  ".join("-" * w for w in widths), *map(line, rows[1:])])


def rounded(value):
    """Four digits, and null for what was not measured or is no number."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
