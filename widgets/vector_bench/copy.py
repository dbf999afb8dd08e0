"""Heads and their vector for people without a kernel: the Python that makes them again, and HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from widgets.base.tables import coloured_table
from widgets.base.text import escaped
from widgets.vector_bench.work import CONTROL, OWN, SHARES, Ask, HeadSearch, Setting


def task_lines(task: Any, ask: Ask, given: bool) -> list[str]:
    """Python that makes the task again."""
    if given:
        splits = ", ".join(f"{name}={getattr(task, name)!r}" for name in ("train", "valid", "test"))
        return [
            "task = vectors.Task(",
            f"    {task.name!r}, (",
            *(f"        {pair!r}," for pair in task.pairs),
            "    ),",
            f"    {splits},",
            ")",
        ]
    if ask.task != OWN:
        return [f"task = vectors.load_task({ask.task!r}, seed={ask.seed}, shares={SHARES})"]
    return [
        "task = vectors.Task.from_pairs([",
        *(f"    {pair!r}," for pair in ask.pairs),
        f"], name={OWN!r}, seed={ask.seed}, shares={SHARES})",
    ]


def program(
    info: Mapping[str, Any],
    other: Mapping[str, Any] | None,
    setting: Setting,
    heads: Sequence[tuple[int, int]],
    run: HeadSearch | None,
    task: Any,
    given: bool,
    tested: int | None,
) -> str:
    """Python that finds the heads, makes the vector and reads the accuracies again; `tested` is the control's seed once
    the test split was read.
    """
    ask = run.ask if run is not None else setting.ask
    precision = "" if info.get("dtype", "float32") == "float32" else f", dtype={info['dtype']!r}"
    lines = ["import lens", "from lens import vectors", "", f"model = lens.load({info['name']!r}{precision})"]
    if other is not None:
        lines.append(
            f"after = lens.load({other['name']!r}{precision})"
            + ("  # the fine-tuned copy: name where its weights are" if other["name"] == info["name"] else "")
        )
    lines += task_lines(task, ask, given)
    asked = (
        f"split='valid', n=min({setting.queries}, len(task.valid)), template={setting.ask.template!r},"
        f" seed={setting.ask.seed}"
    )
    if run is None:
        lines += [
            f"prompts = vectors.build(model, task, 'zero_shot', {asked})",
            "correct = vectors.answered(model, prompts)",
            "print(correct.mean(), 'of', len(correct))",
        ]
        return "\n".join(lines) + "\n"
    how = f"shots={ask.shots}, template={ask.template!r}, seed={ask.seed}"
    models = [("before", "model", "")] + ([("after", "after", "_after")] if other is not None else [])
    for _side, name, tail in models:
        lines += [
            "",
            f"demonstrations{tail} = vectors.build({name}, task, 'icl', n={ask.mean_prompts}, split='train', {how})",
            f"means{tail} = vectors.mean_activations({name}, demonstrations{tail}, known=True, task=task.name)",
            (
                f"effects{tail} = vectors.head_effects({name}, task, means=means{tail}, trials={ask.trials},"
                f" split='train', {how})"
            ),
        ]
    chosen = [tuple(h) for h in heads]
    lines += [
        "",
        f"heads = {chosen!r}" + ("" if setting.by_hand else f"  # vectors.top_heads(effects, {setting.k})"),
        "vector = vectors.extract(model, task, heads=heads, means=means)",
    ]
    if other is not None:
        lines += [
            "vector_after = vectors.extract(after, task, heads=heads, means=means_after)",
            "print('cosine of the two vectors', vector.cosine(vector_after))",
        ]
    for _side, name, tail in models:
        lines += [
            (
                f"valid{tail} = vectors.evaluate({name}, task, {{'vector': vector}}, layers=[{setting.layer}],"
                f" strengths=[{setting.strength!r}], {asked})"
            ),
            (
                f"print('{name}, validation:', float(valid{tail}['base_correct'].mean()), '->',"
                f" float(valid{tail}['correct'].mean()))"
            ),
        ]
    lines += ["for token, probability in vector.decode(model):", '    print(f"{token!r:20} {probability:.3f}")']
    if tested is not None:
        for side, name, tail in models:
            own = ", 'its own vector': vector_after" if side == "after" else ""
            lines += [
                "",
                (
                    f"compared{tail} = {{'vector': vector{own}, {CONTROL!r}: vectors.random_like(vector,"
                    f" seed={tested}), 'layer average': vectors.layer_average(means{tail})}}"
                ),
                (
                    f"test{tail} = vectors.evaluate({name}, task, compared{tail}, layers=[{setting.layer}],"
                    f" strengths=[{setting.strength!r}], split='test', template={setting.ask.template!r},"
                    f" seed={setting.ask.seed})"
                ),
                f"print(test{tail}['correct'].mean('item').squeeze().to_pandas())",
            ]
    return "\n".join(lines) + "\n"


def static(
    names: Mapping[str, str], live: Mapping[str, Any], run: HeadSearch | None, report: Mapping[str, Any], empty: str
) -> str:
    """The head maps, the accuracies and the completions as plain HTML."""
    parts = []
    if run is not None and run.datasets:
        means = {side: run.mean(side) for side in run.sides if side in run.datasets}
        every = np.concatenate([np.abs(m[np.isfinite(m)]) for m in means.values()])
        for side, mean in means.items():
            title = (
                f"{names[side]}: mean effect of each head on the answer’s probability × 1000, by layer and head; task"
                f" {run.ask.name()}"
            )
            rows, columns = range(mean.shape[0]), range(mean.shape[1])
            parts.append(
                f"<p>{html.escape(title)}</p>"
                + coloured_table(
                    [str(c) for c in columns],
                    [str(r) for r in rows],
                    mean,
                    float(every.max(initial=1e-9)),
                    lambda v: f"{1000 * v:.0f}",
                )
            )
    if live.get("sides"):
        parts.append(
            f"<p>{html.escape(live.get('what') or 'no vector')}</p>"
            + _accuracies(
                [
                    (names[s["side"]], name, s[key])
                    for s in live["sides"]
                    for name, key in (("without", "base"), ("with the vector", "with"))
                    if s.get(key)
                ]
            )
        )
        head = "".join(
            f'<th style="text-align:left">{html.escape(t)}</th>'
            for t in (
                "input",
                "expected",
                *(f"{names[s['side']]}, {w}" for s in live["sides"] for w in ("without", "with")),
            )
        )

        def cells(item):
            return [
                item["x"],
                item["y"],
                *(v for side in item["sides"] for v in (side["base"][0], (side.get("with") or ["–"])[0])),
            ]

        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left"><code>{escaped(c)}</code></td>' for c in cells(item))
            + "</tr>"
            for item in live["items"]
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    if report.get("rows"):
        parts.append(
            f"<p>Test split: {html.escape(report['what'])}</p>"
            + _accuracies([(names[r["side"]], r["name"], r) for r in report["rows"]])
        )
    return "".join(parts) or f"<p><em>{html.escape(empty)}</em></p>"


def _accuracies(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    left = 'style="text-align:left"'
    body = "".join(
        f"<tr><td {left}>{html.escape(model)}</td><td {left}>{html.escape(name)}</td><td>{a['k']} of"
        f" {a['n']}</td><td>{100 * a['low']:.0f}–{100 * a['high']:.0f} %</td></tr>"
        for model, name, a in rows
    )
    return (
        f"<table><thead><tr><th {left}>model</th><th {left}>vector</th><th>right</th><th>95 %"
        f" interval</th></tr></thead><tbody>{body}</tbody></table>"
    )
