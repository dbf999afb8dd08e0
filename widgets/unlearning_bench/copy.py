"""Unlearning for people without a kernel: the Python that runs it again, and a static table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from widgets.unlearning_bench.rows import FORGET, RETAIN
from widgets.unlearning_bench.work import ATTACKS, BATCH, Run, looks_of

_CELL = "padding:1px 8px;text-align:left;border:none;font:11px monospace;"


def program(run: Run, source: str, beside: list[str], given: tuple[int, int]) -> str:
    """Python that walks the path again; `source` makes what the view was given, `given` the sizes of its sets."""
    n = given[0]
    changed = run.roles != [FORGET] * n + [RETAIN] * given[1]
    models = "".join(f", {name}={name}" for name in beside)
    lines = ["from lens import unlearning", "from lens.training import Recipe", source]
    if changed:
        rows = {
            role: [
                [i for i, own in enumerate(run.roles) if own == role and i < n],
                [i - n for i, own in enumerate(run.roles) if own == role and i >= n],
            ]
            for role in (FORGET, RETAIN)
        }
        lines += [
            "",
            f"# rows chosen in the view, of the forget and of the retain set given: {rows}",
        ]
        if not rows[FORGET][1] and not rows[RETAIN][0]:
            lines += [f"forget, retain = forget.take({rows[FORGET][0]}), retain.take({rows[RETAIN][1]})"]
    lines += [
        "",
        f"recipe = Recipe(steps={run.steps}, batch={BATCH}, learning_rate={run.rate!r}, weight_decay=0.0,",
        '                schedule="constant")',
    ]
    attacks = ""
    if run.attacks:
        calls = [
            f"{name!r}: " + ("unlearning.relearn(retain)" if name == "relearn" else f"unlearning.quantise({name[3:]})")
            for name in run.attacks
        ]
        attacks = f", attacks={{{', '.join(calls)}}}"
    lines += [
        f"result = unlearning.unlearn(model, forget, retain, [{run.method!r}], recipe=recipe,",
        f"                            looks={looks_of(run.steps)}{models}{attacks})",
        'table = unlearning.summary(result)[["mean", "low", "high", "n"]].to_dataframe()',
        'print(table.dropna(subset=["mean"]).round(3).to_string())',
    ]
    return "\n".join(lines) + "\n"


def static(curves: Mapping[str, Any], model: str, empty: str) -> str:
    """The last look of every arm as an HTML table with intervals."""
    if not curves:
        return f"<p><em>{html.escape(empty)}</em></p>"
    measures = curves["measures"]
    title = (
        f"{model}: {curves['method']}, {curves['steps']} steps at learning rate {curves['rate']:g};"
        f" {curves['forget']} rows to forget, {curves['retain']} to retain. The last look of every arm, with 95 %"
        " intervals over units where there are enough."
    )
    if curves["attacks"]:
        title += " Attacks: " + ", ".join(ATTACKS[name] for name in curves["attacks"]) + "."
    head = "".join(f'<th style="{_CELL}">{html.escape(m["name"])}</th>' for m in measures)
    body = ""
    for arm in curves["arms"]:
        cells = "".join(f'<td style="{_CELL}">{_last(m["lines"][arm])}</td>' for m in measures)
        body += f'<tr><th style="{_CELL}">{html.escape(arm)}</th>{cells}</tr>'
    return f"<p>{html.escape(title)}</p><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _last(line: list[Any]) -> str:
    if not line:
        return "–"
    _, mean, low, high = line[-1]
    return f"{mean:.3g}" + (f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None else "")
