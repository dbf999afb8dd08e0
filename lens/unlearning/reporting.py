"""What an unlearning experiment found, as files: curves, measures, and a page that says what each number is."""

from __future__ import annotations

import html
import json
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .. import files
from ..arguments import FilePath, Seed, Share, door
from ..results import dataset as results
from .errors import UnlearningError
from .openunlearning import measures
from .outcome import MEASURES, Result, stopping, summary

STYLE = """
body { color: #16181d; background: #fff; font: 15px/1.5 Georgia, 'Times New Roman', serif; max-width: 60em;
  margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; border-bottom: 1px solid #16181d; margin-top: 1.8em; }
table { border-collapse: collapse; font-size: .92em; } caption { text-align: left; font-style: italic; }
th, td { text-align: left; vertical-align: top; padding: .2em .9em .2em 0; border-bottom: 1px solid #c9ccd3; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .88em/1.4 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
"""


@door(UnlearningError)
def report(
    result: Result, folder: FilePath, *, command: str = "", level: Share = 0.95, seed: Seed = 0
) -> dict[str, pd.DataFrame]:
    """Write `curves.csv` (every measure of `summary`, each arm and look), `measures.csv` (OpenUnlearning's, by its
    names), `report.json` (both, with the record) and `report.html` (the last looks, with the curves drawn) into a
    folder, and return the two tables.

    `command`: what repeats it. Raises: UnlearningError; lens.FileError: a file cannot be written; earlier ones are then
    as they were.
    """
    found = summary(result, level=level, seed=seed)
    curves, named = tidy(found), measures(result, level=level, seed=seed)
    record = results.provenance(result) if results.ATTRIBUTE in result.attrs else {}
    place = files.expanded(folder)
    content = {
        "record": record,
        "command": command,
        "status": dict(zip(map(str, result.arm.values), map(str, result.status.values))),
        "stopping": _stops(result),
        "curves": _plain(curves),
        "measures": _plain(named),
    }
    files.make_folder(place)
    files.write_all(
        {
            place / "curves.csv": curves.to_csv(index=False),
            place / "measures.csv": named.to_csv(index=False),
            place / "report.json": json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            place / "report.html": page(result, found, named, record, command),
        }
    )
    return {"curves": curves, "measures": named}


def tidy(found: xr.Dataset) -> pd.DataFrame:
    """A summary as a table: one line a measure, arm and look that there is."""
    table = found.to_dataframe().reset_index()
    return table[table["mean"].notna()].reset_index(drop=True)


def _stops(result: xr.Dataset) -> list[dict[str, Any]] | str:
    try:
        return _plain(stopping(result))
    except UnlearningError as error:
        return str(error)


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's lines as JSON can hold them: None where a number is not finite."""

    def value(x: Any) -> Any:
        x = x.item() if isinstance(x, np.generic) else x
        return None if isinstance(x, float) and not np.isfinite(x) else x

    return [{str(k): value(v) for k, v in line.items()} for line in table.to_dict("records")]


def last_looks(result: xr.Dataset) -> dict[str, int]:
    """The last look of each arm that has one."""
    out = {}
    for a, arm in enumerate(map(str, result.arm.values)):
        there = np.flatnonzero(~np.isnan(result.dose.values[a]))
        if len(there):
            out[arm] = int(there[-1])
    return out


def page(result: xr.Dataset, found: xr.Dataset, named: pd.DataFrame, record: dict[str, Any], command: str) -> str:
    """The report as a page that needs nothing else."""
    from ..figures.unlearning import unlearning_svg

    drawn = unlearning_svg(found)
    last, own = last_looks(result), tidy(found)
    rows = [
        (arm, str(result.status.sel(arm=arm).item()), line.measure, line.dose, line.mean, line.low, line.high, line.n)
        for arm, look in last.items()
        for line in own[(own.arm == arm) & (own.look == look)].itertuples()
    ]
    theirs = [
        (line.arm, line.measure, line.dose, line.value, line.low, line.high, line.n)
        for line in named.itertuples()
        if last.get(line.arm) == line.look
    ]
    model = record.get("model", {})
    control = record.get("call", {}).get("never_knew_control", "")
    listed = [m for m in MEASURES if m in found.measure.values]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Unlearning</title>",
        f"<style>{STYLE}</style><h1>Unlearning</h1>",
        f"<p>Model {_text(model.get('name', ''))}, weights <code>{_text(str(model.get('hash', ''))[:16])}</code>."
        f" What never knew: {_text(control)}. Every arm is beside training on the retain set alone.</p>",
        f"<h2>Paths</h2>{drawn}",
        "<h2>At the last look</h2>",
        _table(("arm", "status", "measure", "dose", "mean", "low", "high", "n"), rows),
        "<ul>" + "".join(f"<li><b>{_text(m)}</b>: {_text(MEASURES[m])}</li>" for m in listed) + "</ul>",
        "<h2>OpenUnlearning's measures</h2>",
        _table(("arm", "measure", "dose", "value", "low", "high", "n"), theirs),
        "<p>Intervals are over units of these sets in this one training; of another seed they say nothing. Where there"
        " is none, <code>measures.csv</code> says why.</p>",
        f"<h2>Again</h2><p><code>{_text(command)}</code></p>" if command else "",
        "</html>\n",
    ]
    return "".join(parts)


def _text(value: Any) -> str:
    return html.escape(str(value))


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"<td class='number'>{'' if np.isnan(value) else f'{value:.4g}'}</td>"
        kind = " class='number'" if isinstance(value, (int, np.integer)) else ""
        return f"<td{kind}>{_text(value)}</td>"

    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows) + "</table>"
