"""CircuitView: who sends what to whom; scores of all edges, exact effects of those that are asked, faithfulness."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import traitlets

import lens
from lens import prompts
from lens.arguments import FilePath, HFModel, door
from lens.circuits import Circuit, Edges
from lens.files import Taken, expanded
from lens.results.dataset import provenance
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.base.pairs import pair_from
from widgets.circuit_view import copy, saved, work
from widgets.circuit_view.examples import examples_of, pairs_of
from widgets.circuit_view.positions import PositionView
from widgets.circuit_view.work import Search
from widgets.errors import ViewError

METHODS = ("inputs", "clean-corrupted", "gim")
METRICS = ("logit_diff", "logprob_diff", "prob", "logprob", "kl")
ABLATIONS = ("counterfactual", "mean", "zero")
RANKINGS = ("absolute", "signed")
EMPTY = "No edges had been scored when this notebook was stored."


class CircuitView(PositionView):
    """Edges between heads, MLPs, the input and the logits, drawn by their score; one edge's exact effect; faithfulness.

    `pairs` is a `lens.Pair` or several; `held_out` others, on which circuits are judged (none: the same, which is
    said). `result` is what `lens.edges` gave, shown at once. Given neither, an example is shown. Traits: `method`,
    `metric`, `ablation` (the question), `shown` (edges drawn), `ranking` (absolute, signed), `node`, `edge` (chosen, by
    name), `pair` (whose tokens are shown), `by` (`head`, or `position`: of that pair, layers at each token, heads
    summed); `graph` and `columns` carry the scores, `detail` the chosen edge, `curve` the faithfulness. `result` gives
    the `lens.circuits.Edges`, `circuit()` the edges shown, `faithfulness` the curve's Dataset. Raises ViewError on an
    unknown method, metric or ablation.
    """

    _esm = script("circuit_view")
    _css = style("circuit_view")

    task = traitlets.Unicode().tag(sync=True)
    method = traitlets.Enum(METHODS, "inputs").tag(sync=True)
    metric = traitlets.Enum(METRICS, "logit_diff").tag(sync=True)
    ablation = traitlets.Enum(ABLATIONS, "counterfactual").tag(sync=True)
    shown = traitlets.Int(100).tag(sync=True)
    ranking = traitlets.Enum(RANKINGS, "absolute").tag(sync=True)
    node = traitlets.Unicode().tag(sync=True)
    edge = traitlets.Unicode().tag(sync=True)
    pair = traitlets.Int(0).tag(sync=True)
    graph = traitlets.Dict().tag(sync=True, echo_update=False)
    kept = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    tokens = traitlets.Dict().tag(sync=True)

    _noun = "The search for edges"
    _begins = "Recording both runs of every pair …"
    _unsaved = "save: there are no edges to save yet; run first"
    _endings = ".zarr, .nc, .csv, .parquet or, the circuit shown, .json"
    _titles: ClassVar[dict[str, str]] = {
        "PromptError": "The prompts do not fit together",
        "MetricError": "The metric cannot be computed",
        "CircuitError": "The edges cannot be taken",
    }

    @door(ViewError)
    def __init__(
        self,
        model: HFModel,
        pairs: prompts.Pair | Sequence[prompts.Pair] | None = None,
        *,
        held_out: Sequence[prompts.Pair] = (),
        result: Edges | None = None,
        method: str = "inputs",
        metric: str = "logit_diff",
        ablation: str = "counterfactual",
        _edges: Callable[..., Edges] | None = None,
        _faithfulness: Callable[..., Any] | None = None,
        _encode: Callable[..., Any] | None = None,
    ) -> None:
        for name, value, allowed in (
            ("method", method, METHODS),
            ("metric", metric, METRICS),
            ("ablation", ablation, ABLATIONS),
        ):
            if value not in allowed:
                raise ViewError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        self.model = model
        self._edges, self._faithfulness = _edges or lens.edges, _faithfulness or lens.faithfulness
        self._encode = _encode or prompts.encode
        self._numbers = itertools.count(1)
        self._pairs = [] if pairs is None else [pairs] if isinstance(pairs, prompts.Pair) else list(pairs)
        self._held_out = list(held_out)
        if pairs is not None and not self._pairs:
            raise ViewError("pairs: holds no pair; give a lens.Pair or several, or none for an example")
        call: dict[str, Any] = {"method": method, "metric": metric, "ablation": ablation}
        if result is not None:
            call |= {n: v for n, v in provenance(result)["call"].items() if n in call and v in self._known(n)}
        super().__init__(model_info=describe_model(model), **call)
        if result is not None:
            self._take_result(result)
        elif not self._pairs:
            self._offer(examples_of(self.model_info["name"]))
        self.observe(lambda _: self._count(), ["shown", "ranking"])
        self.observe(lambda _: self._on_edge(), "edge")
        self.observe(lambda _: self._show_tokens(), "pair")
        self.observe(lambda _: self._show_columns(), "pair")
        self.observe(lambda _: self._on_by(), "by")
        self.observe(lambda _: self._moved(), ["method", "metric", "ablation"])
        self._show_tokens()
        self._refresh_code()

    @staticmethod
    def _known(name: str) -> tuple[str, ...]:
        return {"method": METHODS, "metric": METRICS, "ablation": ABLATIONS}[name]

    def _take_result(self, result: Edges) -> None:
        """A result of `lens.edges` and the pairs in its record.

        Raises: ViewError: it is of another model's shape, or of no pair that it names.
        """
        record = provenance(result)
        if not self._pairs:
            self._pairs = [pair_from(record, prompts.Pair, i) for i in range(len(record.get("pairs") or []))]
        layers, heads = self.model_info["layers"], self.model_info["heads"]
        if layers and (layers, heads) != (result.graph.n_layers, result.graph.n_heads):
            raise ViewError(
                f"result: is of {result.graph.n_layers} layers and {result.graph.n_heads} heads, and"
                f" {self.model_info['name']} has {layers} and {heads}; give its own"
            )
        run = self._search()
        run.dataset, run.status, run.exact = result, "complete", work.known_exact(result)
        run.method, run.metric, run.ablation = (record["call"][n] for n in ("method", "metric", "ablation"))
        self._show(run)
        self.publish(status="complete", progress={"done": 1, "total": 1, "text": "given as a result"})

    # --- what Python users call

    @door(ViewError)
    def circuit(self) -> Circuit:
        """The edges that are drawn, as a circuit. Raises ViewError before there is a score."""
        run = self._shown
        if run is None or run.dataset is None:
            raise ViewError("circuit: no edge has a score yet; run first")
        return run.dataset.circuit(self._drawn(run), absolute=self.ranking == "absolute")

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write the scores (.zarr opens with `lens.open`; .nc, .csv, .parquet are exports), or the circuit shown as
        MIB's .json. Returns the path.
        """
        target = expanded(path)
        if target.suffix != ".json":
            return super().save(path, overwrite=overwrite)
        if target.exists() and not overwrite:
            raise Taken(f"path: {target} is there already; choose another name, or replace it (overwrite=True)")
        return self.circuit().save(target)

    # --- the question

    def _search(self) -> Search:
        with self._guard:
            return Search(
                next(self._numbers), list(self._pairs), list(self._held_out), self.method, self.metric, self.ablation
            )

    def _question(self) -> Search:
        self.stop_judging()
        if not self._pairs:
            raise ViewError("pairs: there is none; choose an example, or give some: CircuitView(model, pairs)")
        return self._search()

    def _compute(self, run: Search, stop: Callable[[], bool], on_part: Callable[[Any], None]) -> Edges | None:
        def counted() -> bool:
            run.batches += 1
            self._tell(run)
            return stop()

        found = self._edges(
            self.model,
            run.pairs,
            method=run.method,
            metric=run.metric,
            ablation=run.ablation,
            progress=False,
            stop=counted,
        )
        some = work.whole(found)
        if some is not None:
            run.exact = work.known_exact(some)
        return some

    def _tell(self, run: Search) -> None:
        if self.status == "running":
            text = f"batch {run.batches}, {len(run.pairs)} pair{'s' * (len(run.pairs) != 1)}"
            self.publish(progress={"done": 0, "total": self.model_info["layers"], "text": text})

    def _progress(self, run: Search) -> dict[str, Any]:
        n = 0 if run.dataset is None else run.dataset.sizes["prompt"]
        pairs = f"{n} pair{'s' * (n != 1)}" if run.status == "complete" else f"stopped: {n} of {len(run.pairs)} pairs"
        return {"done": int(run.status == "complete"), "total": 1, "text": f"{pairs} in {run.seconds:.1f} s"}

    def _publish_run(self, run: Search) -> None:
        """A new picture: what was chosen in the last one stays where it exists."""
        self._shown = run
        names = [p.label or str(p.clean) for p in run.pairs]
        self.publish(
            graph=work.payload(run, self.model_info["name"]) | {"names": names}, curve={"status": "idle"}, detail={},
            columns={},
        )  # fmt: skip
        self._judged = self._scored = None
        self._count()
        self._show_columns()
        if not self.columns:
            self._on_edge()

    def _drawn(self, run: Search) -> int:
        assert run.dataset is not None
        return max(1, min(self.shown, self.graph.get("most", 1)))

    def _count(self) -> None:
        self._worker.quick("kept", self._count_now)
        self._refresh_static_soon()

    def _count_now(self) -> None:
        run = self._shown
        if run is None or run.dataset is None:
            return
        self.publish(kept=work.kept(run.dataset, self._drawn(run), self.ranking))
        self._refresh_code()

    # --- one edge

    def _on_edge(self) -> None:
        """The chosen edge's score at once, its exact effect as soon as it is computed."""
        run, name = self._shown, self.edge
        if run is None or run.dataset is None or not name:
            self.publish(detail={})
            return
        if self.by == "position":
            self.publish(detail={"edge": name, "status": "running"})
            self._worker.quick("edge", lambda: self._position_edge(run, name) if self.edge == name else None)
            return
        try:
            facts = work.edge_facts(run.dataset, name)
        except lens.Error as error:
            self.publish(detail={"edge": name, "status": "error", "text": str(error)})
            return
        if name in run.exact:
            self._tell_edge(run, name, facts | {"status": "ready", "exact": work.mean_of(run.exact[name])})
            return
        self.publish(detail=facts | {"status": "running"})
        self._worker.quick("edge", lambda: self._take_exact(run, name, facts))

    def _take_exact(self, run: Search, name: str, facts: Mapping[str, Any]) -> None:
        if self.edge != name:
            return
        try:
            assert run.dataset is not None
            found = self._edges(
                self.model,
                run.pairs,
                method="exact",
                edges=[name],
                metric=run.metric,
                ablation=run.ablation,
                direction=provenance(run.dataset)["call"]["direction"],
                progress=False,
            )
            run.exact |= work.known_exact(found)
            answer = {"status": "ready", "exact": work.mean_of(run.exact[name])}
        except BaseException as error:
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        self._tell_edge(run, name, dict(facts) | answer)

    # --- the tokens of one pair

    def _show_tokens(self) -> None:
        if self._pairs:
            self._worker.quick("tokens", self._tokens_now)

    def _tokens_now(self) -> None:
        number = max(0, min(self.pair, len(self._pairs) - 1))
        pair = self._pairs[number]
        facts = {"pair": number, "of": len(self._pairs), "answer": str(pair.answer), "foil": str(pair.foil or "")}
        try:
            encoded = self._encode(self.model, pair)
            self.publish(
                tokens=facts | {"clean": list(encoded.clean_tokens), "corrupted": list(encoded.corrupted_tokens)}
            )
        except Exception as error:  # Run shows the whole message
            self.publish(tokens=facts | {"text": str(error)})

    # --- what the browser asks for

    _typed: tuple[str, ...] = ("task",)
    _fields = ("task", "method", "metric", "ablation", "shown", "ranking", "by", "node", "edge", "pair")
    _asked_traits = _fields
    _answer_traits = ("status", "progress", "error", "graph", "columns", "kept", "detail", "curve", "tokens", "code")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self.publish(**fields)
        self._pairs, self._held_out = pairs_of(self.task)
        self.publish(node="", edge="", pair=0)
        self._show_tokens()

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return False  # pairs are given in Python: there is no input of a person's own to come back to

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {"judge": lambda _: self.judge(), "stop judging": lambda _: self.stop_judging()}

    # --- what a saved state keeps

    def _pack(self, run: Search) -> dict[str, Any]:
        return saved.pack(run)

    def _unpack(self, packed: dict[str, Any]) -> Search:
        run = saved.unpack(packed)
        self._pairs, self._held_out = list(run.pairs), list(run.held_out)
        return run

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        run = self._shown or (self._search() if self._pairs else None)
        if run is not None:
            n = self._drawn(run) if run.dataset is not None else 0
            self.publish(
                code=copy.program(
                    self.model_info, run, n, self.ranking, self.edge, self.curve.get("status") == "complete",
                    self.pair if self.by == "position" else None,
                )
            )  # fmt: skip

    def _static(self) -> str:
        return copy.static(self._shown, self.model_info["name"], self.detail, self.curve, EMPTY)
