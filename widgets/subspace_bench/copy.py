"""A curve of edits as the browser wants it, and for people without a kernel: payload, the Python that makes the numbers
again, the copy in a stored notebook.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from widgets.base.passages import LEFT, buffered, percent, rows_code, sequences_code, text_blocks, texts_of
from widgets.base.sets import APART, FOUND
from widgets.subspace_bench.locator import EACH_POINT
from widgets.subspace_bench.question import CURVATURE, METHODS
from widgets.subspace_bench.work import Curve, grid_of

UNITS = {"strict": "share recited", "loose": "share recited loosely"}


# --- for the browser


def payload(run: Curve, model: Any, what: str) -> dict[str, Any]:
    """The `found` trait: the table of every point as JSON, layer shares and texts as buffers."""
    q, there, unedited = run.question, run.strengths(), run.whole
    edits, controls = [run.points[s][0] for s in there], [run.points[s][1] for s in there]
    names = list(edits[0].shares) if edits else []
    grid = grid_of(model, names) if names else {"matrices": [], "blocks": [], "names": []}
    cells = [
        [point.shares.get(name, np.nan) if name else np.nan for row in grid["names"] for name in row] for point in edits
    ]
    return {
        "number": run.number,
        "fields": q.fields(),
        "kind": q.kind,
        "method": METHODS[q.method],
        "control": run.locator.control_text,
        "complete": run.complete(),
        "asked": len(q.strengths),
        "strengths": there,
        "shares": [point.share for point in edits],
        "unedited": unedited.table,
        "edit": [point.table for point in edits],
        "random": [point.table for point in controls],
        "sets": list(run.sides.sets),
        "reference": len(run.sides.reference),
        "failed": [
            [", ".join(f"{s:g}" for s, one in run.failed.items() if one == text), text]
            for text in dict.fromkeys(run.failed.values())
        ],
        "notes": run.locator.notes,
        "hashes": list(run.hashes),
        "what": what,
        "grid": grid,
        "cells": np.asarray(cells, "<f4").tobytes(),
        "texts": buffered(texts_of(model, unedited, edits, run.sides.sets, run.sides.probes)),
        "seconds": round(run.seconds, 2),
    }


# --- Python


def program(
    run: Curve,
    *,
    given: Mapping[str, Any],
    layers: Any,
    prefix: int | None,
    suffix: int | None,
    options: Mapping[str, Any],
    deficient: str,
    level: float,
    at: float | None,
    own_decomposition: bool,
    source: str = "# model, memorised, reference and clean: what the view was given",
) -> str:
    """Python that computes the curve of this run again; `at`: the strength that it ends with, the edit put in and taken
    out; `source`: where its data come from.
    """
    q, there = run.question, run.strengths()
    lines = [
        "import numpy as np",
        "import lens",
        "from lens import curvature, memorization, subspace",
        "from lens.stats import halves",
        "",
        source,
    ]
    lines += [f"every = {sequences_code(given['memorised'], f'memorised[{q.memorised!r}]', prefix, suffix)}"]
    if APART in run.sides.sets:
        lines += [
            f"half = halves(len(every), {q.seed}, every.duplicates)",
            f"sets = {{{APART!r}: every.subset(half.report), {FOUND!r}: every.subset(half.select)}}",
        ]
    else:
        lines += [f"sets = {{{FOUND!r}: every}}"]
    lines += [f"rows = {rows_code(given['reference'], f'reference[{q.reference!r}]')}"]
    if given["clean"] is None:
        lines += [
            f"half = halves(len(rows), {q.seed})",
            "rows, texts = [rows[i] for i in half.select], [rows[i] for i in half.report]",
        ]
    else:
        lines += [f"texts = {rows_code(given['clean'], 'clean')}"]
    lines += [f"strengths = {there!r}", ""]
    more = "".join(f", {k}={v!r}" for k, v in options.items())
    pattern = repr(layers if isinstance(layers, str) else list(layers))
    if q.method == CURVATURE:
        if not own_decomposition:
            lines += [
                "batches = [np.stack([row for row in rows if len(row) == n]) for n in dict.fromkeys(map(len, rows))]",
                (
                    f"decomposition = curvature.decompose(model, curvature.factors(model, {pattern}, batches,"
                    f" seed={q.seed}))"
                ),
            ]
        else:
            lines += ["# decomposition: what the view was given"]
        lines += [
            f"edits = {{s: curvature.keep(decomposition, s, deficient={deficient!r}) for s in strengths}}",
            (
                f"controls = {{s: curvature.control(decomposition, 'random', edit, match='norm', seed={q.seed}) for s,"
                " edit in edits.items()}"
            ),
        ]
    else:
        call = f"model, sets[{FOUND!r}], rows, method={q.method!r}, layers={pattern}, seed={q.seed}{more}"
        if q.method in EACH_POINT:
            lines += [f"edits = {{s: subspace.locate({call}, sparsity=s) for s in strengths}}"]
        else:
            lines += [f"scores = subspace.score({call})", "edits = {s: scores.mask(s) for s in strengths}"]
        by = "columns" if run.locator.control_text.startswith("random neurons") else "rows"
        lines += [f"controls = {{s: subspace.random_like(mask, {q.seed}, {by!r}) for s, mask in edits.items()}}"]
    lines += [
        "",
        "for name, family in (('edit', edits), ('control', controls)):",
        "    curve = memorization.tradeoff(model, family, sets, texts, copying=0, heads=False)",
        (
            f"    print(name, memorization.tradeoff_summary(curve, level={level!r}, seed={q.seed}).to_dataframe(),"
            " sep='\\n')"
        ),
    ]
    if at is not None:
        lines += [
            "",
            f"with lens.edited(model, edits[{at!r}]):  # undone on leaving, bit-equal",
            (
                "    print(memorization.extraction_summary(memorization.extract(model,"
                f" sets[{next(iter(run.sides.sets))!r}]), by=None).to_dataframe())"
            ),
        ]
    return "\n".join(lines) + "\n"


# --- a stored notebook


def static(run: Curve | None, model: Any, at: int, measure: str, what: str, empty: str) -> str:
    """The curve as a table and an image, and the texts at the point that was chosen, as plain HTML."""
    if run is None or run.unedited is None:
        return f"<p><em>{html.escape(empty)}</em></p>"
    e, part = html.escape, next(iter(run.sides.sets))
    body = ""
    for name, line, strength, point in run.lines():
        row = point.table[part]
        cells = [
            name if line != "control" else f"{strength:g}, {run.locator.control_text}",
            "" if line == "unedited" else percent(point.share),
        ]
        cells += [_span(row, m, percent) for m in ("strict", "loose")] + [
            _number(row["loss"]),
            "" if line == "unedited" else _span(row, "rise", _number),
            _number(row["ndcg"]),
        ]
        body += "<tr>" + "".join(f"<td {LEFT}>{e(c)}</td>" for c in cells) + "</tr>"
    taken = "coefficients" if run.question.kind == "kept" else "weights"
    head = "".join(
        f"<th {LEFT}>{t}</th>"
        for t in (
            "edit",
            f"{taken} taken",
            "recited (strict)",
            "recited (loose)",
            "clean loss, nats/token",
            "rise over unedited",
            "nDCG@10",
        )
    )
    picture = base64.b64encode(figure_png(run, measure)).decode()
    where = run.at(at)
    shown = [] if where is None else [run.points[where][0]]
    blocks = text_blocks(
        texts_of(model, run.unedited, shown, run.sides.sets, run.sides.probes),
        "" if where is None else f"{run.question.kind} {where:g}",
    )
    return (
        f"<p>{e(what)}. Recitation of the sequences {e(part)} (n = {run.unedited.table[part]['n']}), clean loss over"
        f" {run.unedited.table[part]['texts']} texts.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f'<img alt="Trade-off of recitation and clean loss for {e(METHODS[run.question.method])} and a random control" '
        f'src="data:image/png;base64,{picture}" style="max-width:100%">{blocks}'
    )


def figure_png(run: Curve, measure: str) -> bytes:
    """Two panels: recitation against the rise of the clean loss, and by strength; the random control dashed."""
    from matplotlib.figure import Figure

    from lens.figures.style import SERIES, as_written, picture

    part, there = next(iter(run.sides.sets)), run.strengths()
    fig = Figure(figsize=(9.6, 3.3), layout="constrained", dpi=110)
    left, right = fig.subplots(1, 2)
    for i, (name, style) in enumerate((("edit", "o-"), ("control", "s--"))):
        rows = [run.whole.table[part], *(run.points[s][i].table[part] for s in there)]
        y, low, high = ([_nan(row[measure + end]) for row in rows] for end in ("", "_low", "_high"))
        bars = [np.clip(np.subtract(y, low), 0, None), np.clip(np.subtract(high, y), 0, None)]
        label = run.question.method if name == "edit" else run.locator.control_text
        left.errorbar(
            [_nan(row["rise"]) for row in rows],
            y,
            yerr=bars,
            fmt=style,
            color=SERIES[i],
            capsize=2,
            markersize=4,
            linewidth=1.2,
            label=label,
        )
        right.errorbar(
            range(len(rows)), y, yerr=bars, fmt=style, color=SERIES[i], capsize=2, markersize=4, linewidth=1.2
        )
    left.set(xlabel="rise of the clean loss, nats per token", ylabel=f"{UNITS[measure]} ({part})", ylim=(-0.03, 1.03))
    right.set(
        xlabel="mass kept" if run.question.kind == "kept" else "sparsity",
        xticks=range(len(there) + 1),
        xticklabels=["unedited", *(f"{s:g}" for s in there)],
        ylim=(-0.03, 1.03),
    )
    left.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    as_written(fig)
    return picture(fig)


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3g}".replace("-", "−")


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _span(row: Mapping[str, Any], name: str, write: Any) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return write(row[name]) + ("" if low is None or high is None else f" [{write(low)}, {write(high)}]")


def progress(run: Curve) -> dict[str, Any]:
    """The `progress` trait."""
    done, total = run.there(), len(run.question.strengths)
    out = sum(strength in run.failed for strength in run.question.strengths)
    text = f"{done} of {total} points, each with its control,{f' {out} left out,' if out else ''} {run.seconds:.1f} s"
    if run.status == "stopped":
        text = f"stopped: {text}"
    elif not run.complete() and run.status != "error":
        text += "; the weights are edited and restored meanwhile"
    return {"done": done + out, "total": total, "text": text}


def names(sequences: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The `names` trait: the sets by name, with their sizes in words."""
    return {
        "memorised": [[n, f"{n} ({len(s)} of {s.prefix} + {s.suffix} tokens)"] for n, s in sequences.items()],
        "reference": [[n, f"{n} ({len(texts)} texts)"] for n, texts in rows.items()],
    }
