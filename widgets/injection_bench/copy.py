"""An injection for people without a kernel: the Python that makes it again, and the copy in a stored notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from widgets.base.tables import coloured_table
from widgets.base.text import escaped
from widgets.injection_bench.work import InjectionMap, Setting, count


def program(model: Mapping[str, Any], setting: Setting, run: InjectionMap | None, new_tokens: int) -> str:
    """Python that computes the lists, the map's numbers and the texts (0 new tokens: none) again. "" while there is no
    prompt.
    """
    if not setting.prompt.strip():
        return ""
    precision = "" if model.get("dtype", "float32") == "float32" else f", dtype={model['dtype']!r}"
    lines = [
        "import lens",
        "from lens import injection",
        "",
        f"model = lens.load({model['name']!r}{precision})",
        f"prompt = {setting.prompt!r}",
    ]
    memory = (
        ["memory = None", "where = {}"]
        if not setting.memory
        else [
            f"memory = injection.encode(model, {setting.memory!r}, {_arguments(setting.encoding)})",
            f"where = dict({_arguments(setting.where)})",
        ]
    )
    answer = f", answer={setting.answer!r}" if setting.answer else ""
    lines += [
        *memory,
        f"found = injection.next_tokens(model, prompt, memory{answer}, **where)",
        "for (token, p), (edited, q) in zip(found.before, found.after):",
        '    print(f"{token!r:20} {p:.3f}    {edited!r:20} {q:.3f}")',
    ]
    if answer:
        lines.append(
            'print(f"ln p of the whole answer: {found.answer_before:.3f} {found.answer_after:.3f} nats, change'
            ' {found.answer_change:+.3f}")'
        )
    if run is not None:
        lines += ["", "items = ["]
        for item in run.items():
            lines += [
                "    injection.Item(",
                *(f"        {k}={v!r}," for k, v in item.items() if v is not None),
                "    ),",
            ]
        lines += [
            "]",
            f"grid = injection.sweep(model, items, {_arguments(run.call())})",
            "change = injection.log_ratio(grid)  # of the answer, nats",
        ]
        where = {"memory": (0, "memory"), "control": (1, "memory") if run.control == "shuffled" else (0, run.control)}
        for which in ("memory", "control") if run.control else ("memory",):
            lines.append(f"{which}_map = change.isel(item={where[which][0]}).sel(condition={where[which][1]!r})")
        lines.append("print(memory_map.to_pandas().round(2))")
    if new_tokens:
        lines += [
            "",
            f"print(injection.generate(model, prompt, max_new_tokens={new_tokens}))",
            f"print(injection.generate(model, prompt, memory, **where, max_new_tokens={new_tokens}))",
        ]
    return "\n".join(lines) + "\n"


def _arguments(call: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in call.items() if not (k == "relative" and not v))


def static(
    model: str, shown: Mapping[str, Any], run: InjectionMap | None, generation: Mapping[str, Any], empty: str
) -> str:
    """The lists, the maps and the texts as plain HTML."""
    parts = []
    if shown.get("before"):
        parts += [
            (
                f"<p>{html.escape(model)}: next token after"
                f" {html.escape(repr(shown['fields']['prompt']))}"
                f"{', injected ' + html.escape(shown['what']) if shown.get('after') else ''}.</p>"
            ),
            _lists(shown),
            _answered(shown.get("answer")),
        ]
    if run is not None and run.dataset is not None:
        names = run.names()
        maps = {which: run.pick(which) for which in names}
        every = np.concatenate([np.abs(m.values[np.isfinite(m.values)]) for m in maps.values()])
        for which, values in maps.items():
            title = (
                f"Change of the log-probability of {run.setting.answer!r} (nats) by layer and strength;"
                f" {run.setting.how()}; "
            )
            title += f"memory {run.setting.memory}" if which == "memory" else f"control: {run.control_text()}"
            table = coloured_table(
                [f"{s:g}" for s in values["strength"].values],
                [str(int(x)) for x in values["layer"].values],
                values.values,
                float(every.max(initial=1e-9)),
                _nats,
            )
            parts.append(f"<p>{html.escape(title)}</p>{table}")
    for which, title in (("before", "unedited"), ("after", f"injected {generation.get('what')}")):
        if generation.get("status") in ("ready", "stopped") and which in generation:
            cut = " <em>(stopped here)</em>" if generation.get("cut") == which else ""
            parts.append(
                f"<p>{html.escape(title)}:"
                f" {html.escape(generation['prompt'])}<b>{html.escape(generation[which])}</b>{cut}</p>"
            )
    return "".join(parts) or f"<p><em>{html.escape(empty)}</em></p>"


def _answered(answer: Mapping[str, Any] | None) -> str:
    if not answer or answer["change"] is None:
        return ""
    return (
        f"<p>Log-probability of {html.escape(repr(answer['text']))} ({count(answer['tokens'])}):"
        f" {answer['before']:.2f} nats, injected {answer['after']:.2f}, change {answer['change']:+.2f}.</p>"
    )


def _nats(value: float) -> str:
    return f"{value:+.1f}"


def _lists(shown: Mapping[str, Any]) -> str:
    both = [("unedited", shown["before"])] + ([("with the injection", shown["after"])] if shown.get("after") else [])
    head = "".join(f'<th style="text-align:left" colspan="2">{title}</th>' for title, _ in both)

    def cell(row: Sequence[Any]) -> str:
        return f'<td style="text-align:left"><code>{escaped(row[0])}</code></td><td>{100 * row[1]:.1f} %</td>'

    rows = "".join(
        "<tr>" + "".join(cell(row) for row in line) + "</tr>" for line in zip(*(rows for _, rows in both), strict=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
