"""A report of one test that an expert of either side can check: assumptions, statistic, p-values and their worth,
hashes of inputs, the command.
"""

from __future__ import annotations

import hashlib
import html
import importlib.metadata as metadata
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..arguments import FilePath, door
from .errors import ProvenanceError
from .result import QueryResult

SCHEMA = 1
PACKAGES = ("mnemoscope", "numpy", "scipy", "torch", "transformers", "tokenizers")
HASHED_AT_MOST = 16 * 2**30  # bytes; of a larger file the rows that were read are hashed, not the whole
STYLE = """
body { color: #16181d; background: #fff; font: 15px/1.5 Georgia, 'Times New Roman', serif; max-width: 52em;
  margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; border-bottom: 1px solid #16181d; margin-top: 1.8em; }
table { border-collapse: collapse; width: 100%; font-size: .92em; }
th, td { text-align: left; vertical-align: top; padding: .25em .6em .25em 0; border-bottom: 1px solid #c9ccd3; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; }
code, pre { font: .88em/1.4 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; border: 1px solid #c9ccd3; padding: .6em; }
.warning { border-left: 4px solid #a33b00; padding-left: .8em; } svg { max-width: 100%; height: auto; }
@media print { body { font-size: 10.5pt; margin: 0; max-width: none; } h2 { break-after: avoid; }
  table, figure { break-inside: avoid; } }
"""


@door(ProvenanceError)
def report(
    result: QueryResult,
    path_html: FilePath | None = None,
    path_json: FilePath | None = None,
    *,
    command: str | None = None,
) -> dict[str, Any]:
    """Write a result as a self-contained HTML page and as JSON, and return what the JSON holds.

    `command`: what repeats the test; by default the one in the result's record, else the call in Python. Both files
    hold the same numbers. Raises ProvenanceError for a result without rows, lens.FileError where a file cannot be
    written; earlier reports are then as they were.
    """
    if result.n < 4:
        raise ProvenanceError(f"result has n = {result.n} rows; there is nothing to report yet. Wait for more rows")
    content = contents(result, command)
    parts: dict[str | os.PathLike[str], str] = {}
    names: dict[str | os.PathLike[str], str] = {}
    if path_json is not None:
        parts[path_json], names[path_json] = (
            json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            "path_json",
        )
    if path_html is not None:
        parts[path_html], names[path_html] = page(content, figure_svg(result)), "path_html"
    files.write_all(parts, arguments=names)
    return content


def contents(result: QueryResult, command: str | None = None) -> dict[str, Any]:
    """All that a report says, as plain JSON values (None where a number is not finite)."""
    record = result.record
    interval = {
        "low": result.interval.low,
        "high": result.interval.high,
        "level": result.interval.level,
        "method": result.interval.method,
    }
    return _plain(
        {
            "schema": SCHEMA,
            "test": record.get("kind", "provenance query"),
            "status": result.status,
            "names": record.get("names", {}),
            "started": record.get("started"),
            "seconds": record.get("seconds"),
            "assumed": record.get("assumed", []),
            "tested": _tested(record),
            "choices": {
                key: record.get(key)
                for key in (
                    "statistic",
                    "weights",
                    "trend",
                    "alternative",
                    "level",
                    "resamples",
                    "stop_at",
                    "seed",
                    "position",
                    "groups",
                    "epochs",
                )
            },
            "statistic": {
                "rho": result.rho,
                "interval": interval,
                "z": result.z,
                "n": result.n,
                "tokens": result.tokens,
                "e": result.e,
            },
            "p_values": result.p_values(),
            "guaranteed_if": result.conditions(),
            "e_worth": result.e_worth,
            "looks": record.get("looks"),
            "rows": record.get("rows", {}),
            "warnings": list(result.warnings),
            "quantiles": result.table().to_dict("records"),
            "null": {
                "draws": len(result.null),
                "mean": float(result.null.mean()) if len(result.null) else None,
                "deviation": float(result.null.std()) if len(result.null) else None,
                "least": float(result.null.min()) if len(result.null) else None,
                "most": float(result.null.max()) if len(result.null) else None,
            },
            "scores_sha256": _frame_hash(result.frame),
            "inputs": record.get("inputs", {}),
            "versions": record.get("versions") or versions(),
            "call": record.get("call", {}),
            "command": command or record.get("command") or _python(record),
        }
    )


def _tested(record: Mapping[str, Any]) -> str:
    names = record.get("names", {})
    direction = {"less": "falls", "greater": "rises", "two-sided": "changes"}[record.get("alternative", "less")]
    if record.get("kind") == "partition test":
        return (
            f"whether the match of the text {names.get('suspect', '')} with rows of {names.get('transcript', '')}"
            f" {direction} with the rows' position in training"
        )
    against = (
        f", compared with {' and '.join(names['references'])} ({record.get('statistic')}),"
        if names.get("references")
        else ""
    )
    return (
        f"whether the negative log-likelihood of rows of {names.get('transcript', '')} under"
        f" {names.get('suspect', '')}{against} {direction} with the rows' position in training. Under the null"
        " hypothesis every arrangement of the positions within exchange groups is as likely as the one that was drawn"
    )


def _python(record: Mapping[str, Any]) -> str:
    names, call = record.get("names", {}), record.get("call", {})
    if record.get("kind") == "partition test":
        return "lens.provenance.partition(matches, transcript)"
    references = record.get("inputs", {}).get("references", [])
    declared = [one.get("shares_order") for one in references] or [None] * len(names.get("references", []))
    lines = [
        f"lens.provenance.Reference({n!r}, shares_order={s})" for n, s in zip(names.get("references") or [], declared)
    ]
    reference = f"reference=[{', '.join(lines)}], " if lines else ""
    chosen = ", ".join(
        f"{k}={v!r}" for k, v in call.items() if v is not None and v != {} and not (k == "score_options" and not v)
    )
    return f"lens.provenance.query({names.get('suspect', 'suspect')!r}, transcript, {reference}{chosen})"


def figure_svg(result: QueryResult) -> str:
    """Two panels as inline SVG: the score by quantile of position with intervals, and the statistic over permutations
    with the observed one.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from ..figures.style import MUTED, SERIES, as_written, picture

    with matplotlib.rc_context({"svg.hashsalt": "provenance", "svg.fonttype": "none", "font.size": 9}):
        fig = Figure(figsize=(9.2, 3.5), layout="constrained")
        left, right = fig.subplots(1, 2)
        table = result.table()
        middle = (table.low + table.high) / 2
        left.errorbar(
            middle,
            table.score,
            yerr=[table.score - table.score_low, table.score_high - table.score],
            fmt="o",
            color=SERIES[0],
            capsize=2.5,
            markersize=4.5,
        )
        left.axhline(float(result.frame["score"].mean()), color=MUTED, linewidth=0.8)
        left.set(xlabel="position in training (tenths of the rows)", ylabel="mean score with interval")
        if len(result.null):
            right.hist(result.null, bins=60, color=SERIES[5], density=True)
            right.axvline(result.rho, color=SERIES[1], linewidth=2, label="observed")
            right.legend(frameon=False)
        right.set(xlabel="statistic over permutations of the positions", ylabel="density")
        for ax in (left, right):
            ax.spines[["top", "right"]].set_visible(False)
        as_written(fig)
        text = picture(fig, "svg", metadata={"Date": None, "Creator": None}).decode()
    return text[text.index("<svg") :]


def page(content: Mapping[str, Any], svg: str) -> str:
    """The HTML page: no scripts, nothing loaded from elsewhere, every text escaped. `svg` must be trusted."""
    e, number = (
        lambda text: html.escape(str(text), quote=True),
        lambda v: "–" if v is None else f"{v:.4g}" if isinstance(v, float) else f"{v:,}".replace(",", " "),
    )
    s, names = content["statistic"], content["names"]
    from .result import worth

    scored = f"; {number(s['tokens'])} tokens scored" if s["tokens"] else ""
    p_rows = "".join(
        f"<tr><td>{e(v['name'])}</td><td class=number>{v['p']:.3g}</td><td>{e(worth(v))}</td><td>{e(v['kind'])}:"
        f" {e(v['method'])}, {e(v['alternative'])}"
        + (f"; never below {v['floor']:.2g}" if v["floor"] > 1e-300 else "")
        + "</td></tr>"
        for v in content["p_values"]
    )
    q_rows = "".join(
        "<tr>"
        + "".join(
            f"<td class=number>{number(row[k])}</td>"
            for k in ("quantile", "low", "high", "n", "score", "score_low", "score_high")
        )
        + "</tr>"
        for row in content["quantiles"]
    )

    def bullets(texts):
        return "<ul>" + "".join(f"<li>{e(text)}</li>" for text in texts) + "</ul>"

    def pairs(values):
        return (
            "<table>"
            + "".join(
                f"<tr><th>{e(k)}</th><td><code>"
                f"{e(json.dumps(v, ensure_ascii=False) if isinstance(v, (dict, list)) else v)}</code></td></tr>"
                for k, v in values.items()
            )
            + "</table>"
        )

    warnings = f"<div class=warning>{bullets(content['warnings'])}</div>" if content["warnings"] else "<p>None.</p>"
    title = f"Provenance report: {names.get('suspect', 'suspect')} and {names.get('transcript', 'transcript')}"
    interval, look = s["interval"], content["looks"]
    looks = (
        "Looks at this suspect in this order were not counted."
        if not look
        else f"Look {look['number']} at this suspect in this order in this process"
        + (f", of {look['planned']} planned." if look["planned"] else ".")
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{e(title)}</title>
<style>{STYLE}</style></head><body>
<h1>{e(title)}</h1>
<p>Test: {e(content["test"])}, {e(content["status"])}. {e(content["started"] or "")}</p>
<h2>What was assumed</h2>{bullets(content["assumed"])}
<h2>What was tested</h2><p>{e(content["tested"])}.</p>
<h2>What was found</h2>
<p>Rank correlation rho = <b>{number(s["rho"])}</b>, interval
[{number(interval["low"])}, {number(interval["high"])}] ({100 * interval["level"]:g} %,
{e(interval["method"])}); z = {number(s["z"])};
n = {number(s["n"])} rows{scored}; e-value {number(s["e"])} ({e(content["e_worth"])}).</p>
<table><thead><tr><th>p-value</th><th class=number>p</th><th>worth</th><th>kind and how it was made</th></tr></thead>
<tbody>{p_rows}</tbody></table>
<p>A guaranteed p-value is at most a with probability at most a, for every a and every number of rows, if the conditions
hold. An approximation has no such guarantee, least of all where it is tiny.</p>
<p>Guaranteed if:</p>{bullets(content["guaranteed_if"])}
<p>{e(looks)}</p>
<h2>Warnings</h2>{warnings}
<h2>The rows by position</h2><figure>{svg}</figure>
<table><thead><tr><th class=number>part</th><th class=number>from</th><th class=number>to</th><th class=number>n</th>
<th class=number>mean score</th><th class=number>low</th><th class=number>high</th></tr></thead>
<tbody>{q_rows}</tbody></table>
<h2>Choices made before the test</h2>{pairs(content["choices"] | {"rows": content["rows"]})}
<h2>Inputs and their SHA-256</h2>{pairs(content["inputs"] | {"scores of the rows used": content["scores_sha256"]})}
<h2>Software</h2>{pairs(content["versions"])}
<h2>To repeat it</h2><pre>{e(content["command"])}</pre>
</body></html>
"""


def file_hashes(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of files; a remote or very large one has a note instead of its hash."""
    hashes: list[dict[str, Any]] = []
    for path in map(str, paths):
        if path.startswith(("http://", "https://")):
            hashes.append(
                {"file": path, "sha256": None, "note": "remote: the rows read are part of the transcript's hash"}
            )
            continue
        try:
            size = Path(path).stat().st_size
            if size > HASHED_AT_MOST:
                hashes.append(
                    {
                        "file": path,
                        "bytes": size,
                        "sha256": None,
                        "note": "large: the rows read are part of the transcript's hash",
                    }
                )
                continue
            with open(path, "rb") as file:
                hashes.append({"file": path, "bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
        except OSError as error:
            hashes.append({"file": path, "sha256": None, "note": f"could not be read: {error.strerror}"})
    return hashes


def versions() -> dict[str, str]:
    """Versions of what computed the result."""
    versions_of = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions_of[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions_of


def _frame_hash(frame) -> str:
    """SHA-256 over row ids, positions and scores of the rows used: the numbers that the statistic is made of."""
    digest = hashlib.sha256()
    for name, dtype in (("row_id", "<i8"), ("position", "<f8"), ("group", "<i8"), ("score", "<f8")):
        if name in frame:
            digest.update(frame[name].to_numpy().astype(dtype).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
