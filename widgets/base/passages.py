"""Texts before and after an edit: for the browser, as HTML, and the Python that makes them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lens.memorization import Sequences
from lens.tokens import PromptError, token_strings, tokenizer_of
from widgets.base.points import Point
from widgets.base.sets import APART, FOUND, are_texts
from widgets.base.text import escaped

LEFT = 'style="text-align:left"'
SHOWN = 6  # memorised sequences whose recitations are shown


def labels_of(model: Any, ids: np.ndarray) -> list[str]:
    """One label a token; without a tokenizer its number."""
    try:
        return list(token_strings(tokenizer_of(model), ids))
    except PromptError:
        return [f"[{int(i)}]" for i in ids]


def texts_of(
    model: Any,
    unedited: Point,
    points: Sequence[Point],
    sets: Mapping[str, Sequences],
    probes: Sequences | None,
    chosen: Sequence[int] | np.ndarray | None = None,
) -> dict[str, Any]:
    """What was given, is to be recited and was written, unedited and at each point; token numbers into `tokens`.

    Shown are the sequences `chosen` of the line; by default the first that the unedited model recites best, of those
    that nothing was chosen by where there are any.
    """
    line = unedited.line
    if chosen is None:
        part = APART if APART in sets else FOUND
        own = np.flatnonzero(line.set.values == part)
        chosen = own[np.argsort(line.lev.values[own], kind="stable")][:SHOWN]
    every = np.concatenate([sets[name].ids for name in dict.fromkeys(map(str, line.set.values))])
    prefix = next(iter(sets.values())).prefix

    def called(name: str) -> str:
        """Those without names are numbered."""
        return f"sequence {name}" if name.isdigit() else name

    items = [
        {
            "name": called(str(line.name.values[i])),
            "what": str(line.set.values[i]),
            "given": every[i][:prefix],
            "gold": every[i][prefix:],
            "made": [p.line.generated.values[i] for p in (unedited, *points)],
        }
        for i in chosen
    ]
    if probes is not None and unedited.probes is not None:
        items += [
            {
                "name": name,
                "what": "clean",
                "given": row[: probes.prefix],
                "gold": row[probes.prefix :],
                "made": [p.probes[i] for p in (unedited, *points) if p.probes is not None],
            }
            for i, (name, row) in enumerate(zip(probes.names, probes.ids, strict=True))
        ]
    used = (
        np.unique(np.concatenate([np.concatenate([item["given"], item["gold"], *item["made"]]) for item in items]))
        if items
        else np.zeros(0, int)
    )
    number = {int(token): i for i, token in enumerate(used)}
    as_numbers = lambda row: [number[int(token)] for token in row]  # noqa: E731
    return {
        "tokens": labels_of(model, used),
        "items": [
            item | {k: as_numbers(item[k]) for k in ("given", "gold")} | {"made": list(map(as_numbers, item["made"]))}
            for item in items
        ],
    }


def buffered(texts: dict[str, Any]) -> dict[str, Any]:
    """The texts with what was written as one float32 buffer, item by item, point by point."""
    made = np.concatenate([np.concatenate(item["made"]) for item in texts["items"]]) if texts["items"] else np.zeros(0)
    return {
        "tokens": texts["tokens"],
        "items": [{k: v for k, v in item.items() if k != "made"} for item in texts["items"]],
        "made": made.astype("<f4").tobytes(),
    }


def sequences_code(given: Any, source: str, prefix: int | None, suffix: int | None) -> str:
    """Python that makes `Sequences` of what was given under the name `source`."""
    if isinstance(given, Sequences):
        return source
    if hasattr(given, "ids") and hasattr(given, "prefix"):
        return f"memorization.Sequences.of({source})"
    return (
        f"memorization.Sequences.of_texts(model, {source}, {prefix}, {suffix})"
        if are_texts(given)
        else f"memorization.Sequences(np.asarray({source}), {prefix})"
    )


def rows_code(given: Any, source: str) -> str:
    """Python that makes rows of token ids of what was given under the name `source`."""
    if are_texts(given):
        return f"[np.array(lens.tokens.tokenize(lens.tokens.tokenizer_of(model), text)) for text in {source}]"
    return f"list({source}.ids)" if hasattr(given, "ids") else f"[np.asarray(row) for row in {source}]"


def text_blocks(texts: Mapping[str, Any], label: str, most: int = 4) -> str:
    """Texts before and after as HTML; tokens that differ from the gold ones are underlined and in brackets."""
    out = ""
    kinds: dict[str, int] = {}
    for item in texts["items"]:
        kinds[item["what"]] = kinds.get(item["what"], 0) + 1
        if kinds[item["what"]] > (most if item["what"] != "clean" else 1):
            continue
        names = ["before", label or "after"]
        rows = [("given", item["given"], item["given"]), ("in the data", item["gold"], item["gold"])] + [
            (names[min(i, 1)], made, item["gold"]) for i, made in enumerate(item["made"])
        ]
        body = "".join(
            f"<tr><th {LEFT}>{html.escape(name)}</th><td"
            f" {LEFT}><code>{_marked(texts['tokens'], made, gold)}</code></td></tr>"
            for name, made, gold in rows
        )
        out += f"<p><strong>{html.escape(item['name'])}</strong> ({html.escape(item['what'])})</p><table>{body}</table>"
    return f"<p>Tokens that differ from the data are underlined, in brackets.</p>{out}" if out else ""


def _marked(tokens: Sequence[str], made: Sequence[int], gold: Sequence[int]) -> str:
    return "".join(
        escaped(tokens[a]) if a == b else f"<u>[{escaped(tokens[a])}]</u>" for a, b in zip(made, gold, strict=True)
    )


def percent(value: float | None) -> str:
    return "no value" if value is None else f"{100 * value:.3g} %"
