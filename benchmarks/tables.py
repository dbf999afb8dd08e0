"""Numbers and tables as every benchmark prints them."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: The machine's speed may change by this factor during a run.
DRIFT = 1.1


def say(text: str) -> None:
    """Progress and warnings, on standard error."""
    print(text, file=sys.stderr, flush=True)


def median(values: Sequence[float]) -> float:
    """NaN where there is none."""
    return statistics.median(values) if values else math.nan


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    return (
        "-"
        if value is None or math.isnan(value)
        else f"{value:.{digits}g}{unit}"
        if abs(value) < 10**digits
        else f"{value:.0f}{unit}"
    )


def spread(values: Sequence[float]) -> str:
    return "-" if not values else f"{min(values):.3g}-{max(values):.3g}"


def table(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """A head and rows; the first ``left`` columns flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row):
        return "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()

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


def finish(
    report: Mapping[str, Any],
    show: Callable[[dict], str],
    *,
    speeds: Sequence[Sequence[float]],
    tolerance: float,
    what: str,
    more: Mapping[str, Any],
    file: Path | None,
) -> bool:
    """Prints the tables and, last, the report as one JSON line; True where the numbers compared agree.

    Args:
        show: makes the tables of the rounded report.
        speeds: measures of the machine taken during the run, each a list; warns where one of them changed by more than
            `DRIFT`.
        tolerance: of the report's ``max_abs_diff``; `what` says of which numbers it is. None: nothing was compared.
        more: all timings, for `file`.
    """
    drift = max(max(s) / min(s) for s in speeds)
    if drift > DRIFT and not report["quick"]:
        say(
            f"warning: the machine's speed changed by a factor of {drift:.2f} during the run; the ratios are not to be"
            " trusted"
        )
    # a number that is none must not pass for one that was not measured
    missing, worst = report["max_abs_diff"] is None, report["max_abs_diff"]
    made = rounded(report)
    print(show(made))
    agree = missing or worst <= tolerance
    if not agree:
        print(f"the {what} differ by {worst:.2g}, more than {tolerance:g}: the timings compare different things")
    if file is not None:
        from lens import files  # not above: beside an earlier build this module is imported with that build's package

        files.write_json(file, {**made, **more})
    print(json.dumps(made))
    return agree
