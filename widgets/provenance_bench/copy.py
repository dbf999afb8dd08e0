"""An answer of provenance for people without a kernel: the report, the Python that asks again, and the copy in a stored
notebook.
"""

from __future__ import annotations

import base64
import html
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lens import provenance
from widgets.base.text import finite
from widgets.provenance_bench.payload import payload
from widgets.provenance_bench.work import BINS, MEANING, Inquiry, Question, verdict, whole, written

LEFT = 'style="text-align:left"'


def document(run: Inquiry, kind: str, code: str) -> bytes:
    """The result as "html" or "json" (`lens.provenance.report`) or its rows as "csv"."""
    if kind == "csv":
        return run.dataset.frame.to_csv(index=False).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report.{kind}"
        provenance.report(run.dataset, **{f"path_{kind}": path}, command=code)
        return path.read_bytes()


def program(
    question: Question,
    suspect: Any,
    reference: Any,
    transcript: str,
    sha256: str,
    options: Mapping[str, Any],
    more: Mapping[str, Any],
    batches: int | None,
    source: str = "# suspects, transcripts and references: the mappings that the view was given",
) -> str:
    """Python that asks the question again; `batches`: after how many a person stopped it; `source`: where
    its data come from.
    """
    q = question

    def loaded(given: Any, mapping: str, name: str) -> str:
        return f"lens.load({given!r})" if isinstance(given, str) else f"{mapping}[{name!r}]"

    lines = [
        "import lens",
        "from lens import provenance",
        "",
        source,
        f"suspect = {loaded(suspect, 'suspects', q.suspect)}",
        f"transcript = transcripts[{q.transcript!r}]  # {' '.join(transcript.split())}",
        f"assert transcript.sha256() == {sha256!r}, 'another transcript'",
    ]
    if q.reference:
        ready = isinstance(reference, (provenance.Reference, list, tuple))
        lines.append(
            f"reference = references[{q.reference!r}]"
            if ready
            else (
                f"reference = provenance.Reference({loaded(reference, 'references', q.reference)}, shares_order=None,"
                f" name={q.reference!r})"
            )
        )
    else:
        lines.append("reference = None")
    chosen = {k: v for k, v in {**options, **more}.items() if v is not None and v != {}}
    call = ", ".join(f"{k}={v!r}" for k, v in chosen.items())
    stop = (
        "" if batches is None else f",\n                          stop=iter([False] * {batches - 1} + [True]).__next__"
    )
    lines += [
        f"result = provenance.query(suspect, transcript, reference=reference,\n                          {call}{stop})"
        + ("  # stopped by hand" if batches else ""),
        "print(result)",
    ]
    return "\n".join(lines) + "\n"


def static(run: Inquiry | None, lines: Sequence[Mapping[str, Any]], alpha: float, unit: str, empty: str) -> str:
    """The numbers, the figure as an image, and the suspects compared, as plain HTML."""
    if run is None or run.dataset is None:
        return f"<p><em>{html.escape(empty)}</em></p>" + _compared_table(lines, alpha)
    e, data, said = html.escape, payload(run, unit), verdict(run)
    rows = [
        (
            "rank correlation rho",
            f"{_number(data['rho'])} [{_number(data['low'])}, {_number(data['high'])}], {100 * data['level']:g} %",
            "interval approximate",
        ),
        ("z", _number(data["z"]), "standardised exactly; no p by itself"),
        ("e-value", _power(data["log10_e"]), data["e_worth"]),
    ]
    for row in data["ps"]:
        worth = (
            "not valid here"
            if row["worth"] in ("void", "waiting")
            else "guaranteed if"
            if row["worth"] == "guaranteed"
            else row["worth"]
        )
        rows.append(
            (row["label"], written(row["p"]).removeprefix("p = ").removeprefix("p "), f"{worth}: {row['note']}")
        )
    body = "".join(f"<tr><td {LEFT}>{e(a)}</td><td>{e(b)}</td><td {LEFT}>{e(c)}</td></tr>" for a, b, c in rows)
    warned = "".join(f"<li>{e(text)}</li>" for text in data["warnings"])
    picture = ""
    if run.dataset.n:
        data_url = f"data:image/png;base64,{base64.b64encode(figure_png(run, unit)).decode()}"
        words = f"{said['lead']} e-value by rows, score by position, null distribution."
        picture = f'<img alt="{e(words)}" src="{data_url}" style="max-width:100%">'
    return (
        f"<p>{e(data['what'])}, {whole(data['n'])} rows. <strong>{e(said['lead'])}</strong> {e(said['text'])}</p>"
        + (f"<ul>{warned}</ul>" if warned else "")
        + f"<table><thead><tr><th {LEFT}>number</th><th>value</th><th"
        f" {LEFT}>worth</th></tr></thead><tbody>{body}</tbody></table>"
        + (
            f"<p>Guaranteed if</p><ul>{''.join(f'<li>{e(text)}</li>' for text in data['conditions'])}</ul>"
            if data["conditions"]
            else ""
        )
        + picture
        + _compared_table(lines, alpha)
        + f"<p>{e(MEANING)}</p>"
    )


def _compared_table(lines: Sequence[Mapping[str, Any]], alpha: float) -> str:
    if not lines:
        return ""
    body = ""
    for line in lines:
        values = [line["suspect"], line["reference"] or "none", line["transcript"]]
        if line["p"] is None:
            values += ["", "", "", "", f"could not be tested, counts as p = 1: {line['note']}"]
        else:
            said = (
                "depends on this order"
                if line["holm"] is not None and line["holm"] <= alpha * (1 + 1e-9)
                else "not shown"
            )
            said = f"approximate: {line['reason']}" if line["reason"] else said
            values += [
                whole(line["n"]),
                _number(line["rho"]),
                written(line["p"]),
                "" if line["holm"] is None else written(line["holm"]),
                said,
            ]
        body += "<tr>" + "".join(f"<td {LEFT}>{html.escape(str(v))}</td>" for v in values) + "</tr>"
    head = "".join(
        f"<th {LEFT}>{t}</th>"
        for t in ("suspect", "reference", "transcript", "rows", "rho", "p, guaranteed if", "Holm", f"at α = {alpha:g}")
    )
    title = (
        f"{len(lines)} question{'s' * (len(lines) > 1)} asked, Holm’s correction over all of them; each p is guaranteed"
        " if the conditions of its answer hold."
    )
    return f"<p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def score_name(question: Question, against: bool) -> str:
    """What a row's score is, for the title of an axis."""
    if not against or question.statistic == "none":
        return "NLL of the suspect"
    return "NLL, suspect − reference" if question.statistic == "difference" else "residual NLL"


def figure_png(run: Inquiry, unit: str) -> bytes:
    """Three panels: e by rows with the stop line, score by tenth of the position, the statistic over permutations with
    the observed one.
    """
    from matplotlib.figure import Figure

    from lens.figures.style import MUTED, SERIES, as_written, picture

    q, result = run.question, run.dataset
    fig = Figure(figsize=(10.8, 3.1), layout="constrained", dpi=110)
    left, middle, right = fig.subplots(1, 3)
    if len(result.log_e):
        left.plot(np.arange(1, len(result.log_e) + 1), result.log_e / math.log(10), color=SERIES[0])
    left.axhline(-math.log10(q.alpha), color=SERIES[1], linestyle="--", linewidth=1)
    left.set(xlabel="rows used", ylabel="e-value, powers of 10", title=f"e-value (dashed: {1 / q.alpha:g})")
    if result.n >= 4:
        table = result.table()
        middle.errorbar(
            table["quantile"],
            table["score"],
            yerr=[table["score"] - table["score_low"], table["score_high"] - table["score"]],
            fmt="o",
            color=SERIES[0],
            capsize=2.5,
            markersize=4,
        )
        middle.axhline(float(result.frame["score"].mean()), color=MUTED, linewidth=0.8)
    middle.set(
        xlabel="tenth of the rows by position in training",
        ylabel=f"{score_name(q, bool(result.record.get('names', {}).get('references')))}, {unit}",
        title=f"mean with {100 * result.level:g} % interval",
    )
    if len(result.null):
        right.hist(result.null, bins=BINS, color=SERIES[5])
        right.axvline(result.rho, color=SERIES[1], linewidth=2)
    right.set(
        xlabel="rho over permutations", ylabel="permutations", title=f"null, observed {_number(finite(result.rho))}"
    )
    for ax in (left, middle, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(10)
        ax.tick_params(labelsize=8)
        ax.xaxis.label.set_fontsize(8.5)
        ax.yaxis.label.set_fontsize(8.5)
    as_written(fig)
    return picture(fig)


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3g}".replace("-", "−")


def _power(log10: float) -> str:
    return f"{10**log10:.3g}" if abs(log10) < 4 else f"{10 ** (log10 % 1):.1f}e{math.floor(log10):+d}"
