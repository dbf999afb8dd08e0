"""Edges for people without a kernel: the Python that takes them again, and a static table."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from lens.circuits import top_edges
from lens.prompts import Pair
from widgets.circuit_view import work
from widgets.circuit_view.work import Search

STATIC_EDGES = 20


def _default(of: Any) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _pairs(name: str, pairs: Sequence[Any]) -> list[str]:
    lines = [f"{name} = ["]
    for pair in pairs:
        given = [
            f"{f.name}={getattr(pair, f.name)!r}"
            for f in fields(Pair)
            if f.name in ("corrupted", "answer") or (f.name != "clean" and getattr(pair, f.name) != _default(f))
        ]
        lines.append(f"    lens.Pair({', '.join([repr(pair.clean), *given])}),")
    return [*lines, "]"]


def program(
    model: Mapping[str, Any], run: Search, n: int, ranking: str, edge: str, judged: bool, pair: int | None = None
) -> str:
    """Python that takes the edges shown again, with the chosen edge's exact effect and the curve; of `pair` also its
    tokens' scores.
    """
    precision = "" if model.get("dtype", "float32") == "float32" else f", dtype={model['dtype']!r}"
    chat = any(not isinstance(pair.clean, str) for pair in [*run.pairs, *run.held_out])
    question = f"metric={run.metric!r}, ablation={run.ablation!r}"
    lines = [
        "import lens",
        *(["from lens.prompts import Chat, Message"] if chat else []),
        "",
        f"model = lens.load({model['name']!r}{precision})",
        *_pairs("pairs", run.pairs),
        f"found = lens.edges(model, pairs, method={run.method!r}, {question})",
        "print(found.top(20))",
    ]
    if n:
        absolute = "" if ranking == "absolute" else ", absolute=False"
        lines += [f"circuit = found.circuit({n}{absolute})", "print(circuit, circuit.edges)"]
    if pair is not None:
        lines += [
            "",
            f'at = lens.edges(model, pairs[{pair}], method={run.method!r}, {question}, by="position", check=0)',
            "print(at.top_at(20))",
            "print(at.by_layer())",
        ]
    elif edge:
        lines += [
            "",
            f'exact = lens.edges(model, pairs, method="exact", edges=[{edge!r}], {question})',
            "print(exact.top(1))",
        ]
    if judged:
        lines += [
            "",
            *(_pairs("held_out", run.held_out) if run.held_out else ["held_out = pairs  # better others"]),
            f"curve = lens.faithfulness(model, held_out, found, {question})",
            'print(curve[["f", "f_low", "f_high", "n_edges"]].to_dataframe())',
        ]
    return "\n".join(lines) + "\n"


def static(run: Search | None, model: str, detail: Mapping[str, Any], curve: Mapping[str, Any], empty: str) -> str:
    """The largest edges as an HTML table, with intervals over pairs and the exact effects that are known."""
    if run is None or run.dataset is None:
        return f"<p><em>{html.escape(empty)}</em></p>"
    found = run.dataset
    graph, scores = found.graph, found.scores
    scored = int((graph.exists & (scores == scores)).sum())
    mask = top_edges(graph, scores, min(STATIC_EDGES, scored))
    names = sorted(graph.names(mask), key=lambda name: -abs(scores[graph.edge(name)]))
    rows = []
    for name in names:
        facts = work.edge_facts(found, name)
        exact = work.mean_of(run.exact[name]) if name in run.exact else None
        rows.append([html.escape(name), _said(facts["score"]), _said(exact)])
    n = found.sizes["prompt"]
    title = (
        f"{model}: the {len(rows)} largest of {graph.n_edges:,} edges ({run.what()}), {n} pair{'s' * (n != 1)}. How"
        " much each speaks for the answer, in the metric’s units; 95 % intervals over pairs, from five on."
    )
    style = "padding:1px 8px;text-align:left;border:none;font:11px monospace;"
    head = "".join(f'<th style="{style}">{t}</th>' for t in ("edge", "score (estimate)", "exact effect"))
    body = "".join("<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return (
        f"<p>{html.escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{_curve(curve, style)}"
    )


def _curve(curve: Mapping[str, Any], style: str) -> str:
    if curve.get("status") != "complete":
        return ""
    rows = "".join(
        f'<tr><td style="{style}">{line["n_edges"]:,}</td><td style="{style}">'
        f"{_span(line['f'], line['f_low'], line['f_high'])}</td></tr>"
        for line in next(iter(curve["lines"].values()))
    )
    of = f"{curve['n']} pair{'s' * (curve['n'] != 1)}"
    same = f" The edges were found on {curve['found_on']} of them: too high." if curve["found_on"] else ""
    return f"<p>Faithfulness on {of}, with 95 % intervals.{same}</p><table><tbody>{rows}</tbody></table>"


def _span(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.3g}" + (f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None else "")


def _said(of: Mapping[str, Any] | None) -> str:
    return "–" if of is None else _span(of["mean"], of["low"], of["high"])
