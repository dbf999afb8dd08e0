"""The edges of one pair token by token: scored when they are asked for, one edge's parts in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import traitlets
import xarray as xr

from lens.circuits import Edges, Graph
from lens.circuits.positions import columns
from lens.results.dataset import provenance
from widgets.base.text import finite
from widgets.circuit_view.judging import JudgedView
from widgets.circuit_view.work import MOST_DRAWN, Search, sign_of
from widgets.errors import ViewError

#: Single edges that an edge between layers is told with, and run exactly at its token.
PARTS = 3


class PositionView(JudgedView):
    """A view whose run can be looked at token by token. A subclass has `model`, `_edges`, `pair`, `edge` and `node`."""

    by = traitlets.Enum(("head", "position"), "head").tag(sync=True)
    columns = traitlets.Dict().tag(sync=True, echo_update=False)

    _edges: Callable[..., Edges]
    _on_edge: Callable[[], None]
    #: The pair whose tokens were scored last, by run and number, with their scores.
    _scored: tuple[tuple[int, int], Edges, int] | None = None

    def _on_by(self) -> None:
        """What was chosen, if it is no node or edge of this graph, is so no longer."""
        apart = self.by == "position"
        for name in ("node", "edge"):
            chosen = getattr(self, name)
            if ("@" in chosen) != apart and chosen != "logits":
                self.publish(**{name: ""})
        self._show_columns()

    def _show_columns(self) -> None:
        """The scores at each token of the pair shown, where they are looked at."""
        run = self._shown
        if self.by != "position" or run is None or run.dataset is None:
            return
        number = max(0, min(self.pair, len(run.pairs) - 1))
        if (self.columns.get("run"), self.columns.get("pair")) == (run.number, number):
            return
        self.publish(columns={"status": "running", "run": run.number, "pair": number})
        self._worker.quick("columns", lambda: self._take_columns(run, number))
        self._on_edge()

    def _take_columns(self, run: Search, number: int) -> None:
        at = {"run": run.number, "pair": number}
        try:
            answer = {"status": "ready"} | payload(*self._at(run, number))
        except BaseException as error:
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        if self._shown is run and (self.columns.get("run"), self.columns.get("pair")) == (run.number, number):
            self.publish(columns=at | answer)
            self._moved()

    def _at(self, run: Search, number: int) -> tuple[Edges, int]:
        """The scores of one pair by token, and its number among them.

        Raises: ViewError: of a result of exact effects.
        """
        if self._scored is None or self._scored[0] != (run.number, number):
            # a mean is over all pairs
            pairs = run.pairs if run.ablation == "mean" else [run.pairs[number]]
            found = self._edges(self.model, pairs, by="position", check=0, progress=False, **asked(run))
            self._scored = (run.number, number), found, number if run.ablation == "mean" else 0
        return self._scored[1:]

    def _position_edge(self, run: Search, name: str) -> None:
        """An edge at a token: its score at once, then the exact effects of the largest that it is the sum of."""
        number = max(0, min(self.pair, len(run.pairs) - 1))
        try:
            found, prompt = self._at(run, number)
            facts = edge_facts(found, prompt, name)
        except BaseException as error:
            self._tell_edge(run, name, {"edge": name, "status": "error", "text": str(error)})
            return
        self._tell_edge(run, name, facts | {"status": "running"})
        try:
            mean = run.ablation == "mean"
            exact = self._edges(
                self.model,
                run.pairs if mean else [run.pairs[number]],
                by="position",
                progress=False,
                method="exact",
                edges=[part["edge"] for part in facts["parts"]],
                **{name: given for name, given in asked(run).items() if name in ("metric", "ablation", "direction")},
            )
            effects = sign_of(exact) * exact["effect_at"].values[prompt, facts["position"]]
            parts = [part | {"exact": finite(effects[exact.graph.edge(part["edge"])])} for part in facts["parts"]]
            answer: dict[str, Any] = {"status": "ready", "parts": parts}
        except BaseException as error:
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        self._tell_edge(run, name, facts | answer)

    def _tell_edge(self, run: Search, name: str, detail: Mapping[str, Any]) -> None:
        if self.edge == name and self._shown is run:
            self.publish(detail=dict(detail))
            self._moved()


def asked(run: Search) -> dict[str, Any]:
    """How the run's scores were asked for, so that those of its tokens add up to them.

    Raises: ViewError: they are exact effects.
    """
    assert run.dataset is not None
    call = provenance(run.dataset)["call"]
    if call["method"] == "exact":
        raise ViewError("by: tokens are told apart in scores, and this result has exact effects; run to take scores")
    options = {name: call[name] for name in ("method", "metric", "ablation", "direction")}
    if call["method"] in ("inputs", "activations"):
        options |= {name: call[name] for name in ("steps", "sums", "freeze_norms") if call.get(name) is not None}
    return options


def payload(found: Edges, prompt: int) -> dict[str, Any]:
    """The `columns` trait: sizes, tokens, and the score of every edge between layers at each token as float32, token by
    token and reader by reader, NaN where there is none.
    """
    whole, call = columns(found.graph), provenance(found)["call"]
    scores = _layers(found, prompt).values[:, whole.exists]
    there, n = int(np.isfinite(scores).sum()), len(scores)
    return {
        "positions": n,
        "layers": whole.n_layers,
        "parallel": whole.parallel,
        "tokens": [str(token) for token in found["token_clean"].values[prompt][:n]],
        "edges": there,
        "scored": there,
        "most": min(MOST_DRAWN, there),
        "unit": call["unit"],
        "scores": np.ascontiguousarray(scores, dtype="<f4").tobytes(),
    }


def edge_facts(found: Edges, prompt: int, name: str) -> dict[str, Any]:
    """An edge between layers at a token, `a3->a7<q>@5`, and the largest single edges that it is the sum of.

    Raises: ViewError: no such edge.
    """
    layers = _layers(found, prompt)
    edge, _, at = name.partition("@")
    writer, _, reader = edge.partition("->")
    known = at.isdigit() and int(at) < layers.sizes["position"]
    known = known and writer in layers.writer.values and reader in layers.reader.values
    position = int(at) if known else 0
    score = float(layers.sel(position=position, writer=writer, reader=reader)) if known else float("nan")
    if not np.isfinite(score):
        raise ViewError(f"edge: {name!r} is no edge between layers at a token; expected one such as 'a0->m1@0'")
    size = np.abs(layers.values[np.isfinite(layers.values)])
    graph, own = found.graph, sign_of(found) * found["effect_at"].values[prompt, position].astype(float)
    single = np.argwhere(_belongs(graph, writer, reader))
    largest = single[np.argsort(-np.abs(own[single[:, 0], single[:, 1]]), kind="stable")[:PARTS]]
    return {
        "edge": name,
        "writer": writer,
        "reader": reader,
        "position": position,
        "token": str(found["token_clean"].values[prompt, position]),
        "score": {"mean": finite(score), "n": 1, "low": None, "high": None, "kind": "at this token alone"},
        "rank": int((size > abs(score)).sum()) + 1,
        "of": int(size.size),
        "unit": provenance(found)["call"]["unit"],
        "n_single": len(single),
        "parts": [{"edge": graph.name(*at), "score": finite(own[tuple(at)])} for at in largest.tolist()],
    }


def _layers(found: Edges, prompt: int) -> xr.DataArray:
    """Scores between layers at each token, ``[position, reader, writer]``, NaN where there is no edge; the logits read
    the last token alone.
    """
    layers: xr.DataArray = sign_of(found) * found.by_layer(prompt)
    layers[:-1, -1] = np.nan
    return layers


def _belongs(graph: Graph, writer: str, reader: str) -> np.ndarray:
    """The single edges of one between layers, ``[reader, writer]``."""

    def layer(name: str) -> str:
        node, _, kind = name.partition("<")
        return node.partition(".")[0] + (f"<{kind}" if kind else "")

    of_reader = np.array([layer(name) == reader for name in graph.readers])
    of_writer = np.array([layer(name) == writer for name in graph.writers])
    belonging: np.ndarray = graph.exists & of_reader[:, None] & of_writer
    return belonging
