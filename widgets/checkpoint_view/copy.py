"""Two checkpoints for people without a kernel: the Python that compares them again, and a static table."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from widgets.base.tables import coloured_table
from widgets.base.text import escaped
from widgets.checkpoint_view import work
from widgets.checkpoint_view.work import Comparison

STATIC_COLUMNS = 64


def program(
    run: Comparison, loads: Mapping[str, str], about: Sequence[str], show: str, against: str, cell: Mapping[str, Any]
) -> str:
    """Python that computes the run again and shows what is on the screen; `loads`: how each model is loaded."""
    floor = ", floor=floor" if "floor" in loads else ""
    into, source = work.DIRECTIONS[run.direction]
    lines = ["import lens", "", *(f"{name} = {load}" for name, load in loads.items())]
    if run.pair is None and not run.answer:
        lines.append(f"prompt = {run.prompt!r}")
    else:
        answer, foil = (run.answer, run.foil or None) if run.pair is None else (run.pair.answer, run.pair.foil)
        pair = f"lens.Pair({run.prompt!r}, {run.prompt!r}, {answer!r}, {foil!r})"
        lines.append(f"prompt = {pair}")
    if show == "effect":
        twin = ", twin=floor" if "floor" in loads and run.direction == "b into a" else ""
        lines.append(
            f'copied = lens.patch_between({into}, {source}, prompt, {work.SITE!r}{twin}, controls=("random",))'
        )
        shown = '"effect"]' if against == "nothing" else f'"beyond"].sel(control="{against}")'
        lines.append(f"print(copied[{shown}.to_pandas().round(3))")
    else:
        metric = "lens_kl" if show == "lens_kl" else "cosine"
        centre = ", centre=about" if show == "centred" else ""
        if centre:
            lines += ["about = [", *(f"    {text!r}," for text in about), "]"]
        lines.append(f'found = lens.compare(a, b, prompt, metrics=["{metric}"]{floor}{centre})')
        of = 'found["mean"]' if against == "nothing" else '(found["mean"] - found["floor"])'
        lines.append(f'table = {of}.sel(metric="{metric}")')
        sign = "table" if metric == "lens_kl" else "(-table)" if against == "floor" else "(1 - table)"
        lines.append(f"print({sign}.to_pandas().round(3))")
    if cell:
        where = f"layer={cell['layer']}, position={cell['position']}"
        pair = "prompt" if run.pair is not None or run.answer else "lens.Pair(prompt, prompt, ...)"
        lines += [
            "",
            f"cell = lens.patching.explain_cell({into}, {pair}, {work.SITE!r}, {where}, source_model={source})",
            "for token, probability in cell.edited:",
            '    print(f"{token!r:20} {probability:.3f}")',
        ]
    return "\n".join(lines) + "\n"


def static(
    run: Comparison | None, names: Mapping[str, str], show: str, against: str, detail: Mapping[str, Any], empty: str
) -> str:
    """The map as an HTML table, and what the chosen copy makes the model say."""
    if run is None or run.dataset is None or show not in run.dataset:
        return f"<p><em>{html.escape(empty)}</em></p>"
    ds = run.dataset
    values = work.values_of(ds, show, against)
    label, unit = work.QUANTITIES[show]
    beyond = "" if against == "nothing" else f", beyond {against}"
    title = f"A: {names['a']}, B: {names['b']}. {label}{beyond} ({unit}), by layer and token."
    if show == "effect":
        into, source = (names[name] for name in work.DIRECTIONS[run.direction])
        title += f" The state of {source} is put into {into}; answer {run.pair.answer!r}, foil {run.pair.foil!r}."
    keep = np.arange(values.shape[1])
    if len(keep) > STATIC_COLUMNS:
        keep = np.sort(np.argsort(-np.abs(np.nan_to_num(values)).max(axis=0))[:STATIC_COLUMNS])
        title += f" The {STATIC_COLUMNS} strongest of {values.shape[1]} columns."
    size = np.abs(values[np.isfinite(values)])
    table = coloured_table(
        [escaped(str(ds["token"].values[c])) for c in keep],
        [str(int(layer)) for layer in ds["layer"].values],
        values[:, keep],
        float(size.max()) if size.size and size.max() > 0 else 1.0,
        lambda v: f"{v:.2f}",
    )
    return f"<p>{html.escape(title)}</p>{table}{_said(detail)}"


def _said(detail: Mapping[str, Any]) -> str:
    if detail.get("status") != "ready":
        return ""
    parts = [
        f"{html.escape(title)}: " + ", ".join(f"{escaped(token)} {p:.2f}" for token, p in detail[key][:3])
        for key, title in (("into", "as it is"), ("source", "the other model"), ("edited", "with the copied state"))
    ]
    where = f"layer {detail['layer']}, position {detail['position']} ({escaped(detail['token'])})"
    return f"<p>At {where}, next token. {'; '.join(parts)}.</p>"
