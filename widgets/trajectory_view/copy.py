"""Trajectories for people without a kernel: the Python that computes them again, and static tables."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from widgets.base.text import escaped
from widgets.trajectory_view import examples
from widgets.trajectory_view.work import ACTS, ARMS, NEW_TOKENS, RIVALS_AT, SITE, Run, rates_of

_CELL = "padding:1px 8px;text-align:left;border:none;font:11px monospace;"
#: What the arms are called.
NAMES = {
    "none": "the model",
    "gated": "gated edit",
    "always": "without its gate",
    "random gate": "random gate",
    "random direction": "random direction",
}


def program(run: Run, source: str, name: str, stop: str, text: str) -> str:
    """Python that fits the gate again, and answers `text` with and without the edit behind it."""
    given = (
        examples.program(source)
        if source
        else f"from widgets.trajectory_view.items import Items\n\nmodel = lens.load({name!r})\n"
        f"items = Items.of(..., stop={stop!r})  # the rows that the view was given"
    )
    options = f"max_new_tokens={NEW_TOKENS}, stop={stop or ()!r}"
    schedule = f", schedule={ACTS[run.acts]!r}" if ACTS[run.acts] else ""
    lines = [
        "import lens",
        given,
        'train, tune, asked = items.splits["train"], items.splits["tune"], items.asked()',
        "paths = lens.vectors.trajectories(model, train, asked)",
        'print(paths[["own", "low", "high", "shuffled", "share", "share_between"]].to_dataframe().round(3))',
        "",
        f"site = lens.Site({SITE!r}, layer={run.layer})",
        f"gate = lens.Gate.fit(model, train, tune, site, {run.target!r}, kind={run.kind!r})",
        "rates = lens.vectors.fire_rates(model, gate, asked)",
        'print(rates[["mean", "low", "high", "n", "tokens"]].to_dataframe().round(3))',
        "",
        f"push = lens.vectors.contrast(model, items.texts({run.toward!r}), items.texts({run.target!r}),",
        f"                             layer={run.layer})",
        f"at = lens.Site({SITE!r}, layer={run.layer}, position=-1)",
        f'edit = lens.Edit(at, "add", push.direction, scale={run.strength!r}, when=gate)',
        f'arms = {{"none": (), **lens.vectors.gate_rivals(model, edit, asked, at={RIVALS_AT[run.acts]!r})}}',
    ]
    if text:
        lines += [
            "for name, edits in arms.items():",
            f"    said = lens.generate(model, {text!r}, edits, {options}{schedule})",
            '    print(f"{name:20} {said}")',
        ]
    return "\n".join(lines) + "\n"


def static(picture: Mapping[str, Any], model: str, detail: Mapping[str, Any], empty: str) -> str:
    """How well centroids tell the labels by layer, how often the gate opens and what it changes, and the one prompt."""
    if not picture:
        return f"<p><em>{html.escape(empty)}</em></p>"
    parts = [
        f"<p>{html.escape(model)}: {picture['n']} report items of {len(picture['labels'])} labels; the share nearest to"
        " their own label's centroid, with 95 % intervals.</p>",
        _table(
            ("layer", "nearest to its own", "labels at random", "variance in the plane", "of centroids"),
            [
                (str(layer), _span(*own[:3]), *(_share(value) for value in own[3:]))
                for layer, own in enumerate(picture["own"])
            ],
        ),
    ]
    if rates := rates_of(picture):
        gate = (
            f"A gate for {picture['target']!r} behind block {picture['layer']}, {picture['kind']}; the edit pushes to"
            f" {picture['toward']!r}, strength {picture['strength']:g}. Shares with 95 % intervals."
        )
        heads = ["label", "n", "gate open at the last token"]
        if "changed" in rates[0]:
            heads += [f"changed: {NAMES[arm]}" for arm in ARMS[1:]] + ["right before", "right gated"]
        rows = [
            (
                row["label"],
                str(row["n"]),
                _span(*row["fired"]),
                *(_span(*one) for one in row.get("changed", [])[1:]),
                *(_span(*one) for one in row.get("right", [])[:2]),
            )
            for row in rates
        ]
        parts += [f"<p>{html.escape(gate)}</p>", _table(heads, rows)]
    if detail.get("status") == "ready":
        parts.append(
            f"<p>{escaped(detail['text'])}<br>Without the edit: {escaped(detail['plain']['text'])}<br>"
            f"With it: {escaped(detail['gated']['text'])}</p>"
        )
    return "".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th style="{_CELL}">{html.escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{html.escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _span(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else "")
