"""CheckpointView: two models on one prompt; where they differ, and what the state of one does in the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import traitlets

import lens
from lens import models, patching
from lens.arguments import HFModel, door
from widgets.base import state
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.base.planted import whole
from widgets.base.sweep import SweepView
from widgets.checkpoint_view import copy, work
from widgets.checkpoint_view.examples import SENTENCES, examples_of, sides
from widgets.checkpoint_view.work import Comparison, Tools
from widgets.errors import ViewError

EMPTY = "Nothing had been compared when this notebook was stored."


class CheckpointView(SweepView):
    """Two checkpoints on one prompt: where their states differ by layer and token, beyond two runs of one recipe, and
    what the state of one does in the other when it is put there.

    `a` and `b` are models of one tokenizer, width and depth; `floor` another run of `a`'s recipe; `about` texts whose
    mean state is taken off for the centred distance (None: ordinary sentences). Given nothing, an example is shown.
    Traits: `prompt`, `answer`, `foil` (empty: the models' own next tokens), `direction` ("b into a", "a into b");
    `show` (distance, centred, lens_kl, effect), `against` (nothing, floor, random, twin), `cell` ({layer, position}),
    whose copy is run and told in `detail`. `result` gives the Dataset. Raises ViewError for one model twice.
    """

    _esm = script("checkpoint_view")
    _css = style("checkpoint_view")

    prompt = traitlets.Unicode().tag(sync=True)
    answer = traitlets.Unicode().tag(sync=True)
    foil = traitlets.Unicode().tag(sync=True)
    direction = traitlets.Enum(tuple(work.DIRECTIONS), "b into a").tag(sync=True)
    show = traitlets.Enum(tuple(work.QUANTITIES), "centred").tag(sync=True)
    against = traitlets.Enum(work.AGAINST, "nothing").tag(sync=True)
    cell = traitlets.Dict().tag(sync=True)
    map = traitlets.Dict().tag(sync=True, echo_update=False)
    detail = traitlets.Dict().tag(sync=True)

    _noun = "The comparison"
    _begins = "Both models read the prompt …"
    _unsaved = "save: nothing has been compared yet; run first"
    _titles: ClassVar[dict[str, str]] = {
        "PromptError": "The prompt cannot be asked",
        "PatchError": "The states cannot be copied",
        "ReadoutError": "The models cannot be compared",
    }

    @door(ViewError)
    def __init__(
        self,
        a: HFModel | None = None,
        b: HFModel | None = None,
        prompt: str = "",
        *,
        floor: HFModel | None = None,
        about: Sequence[str] | None = None,
        direction: str = "b into a",
        _tools: Tools | None = None,
    ) -> None:
        if direction not in work.DIRECTIONS:
            raise ViewError(f"direction: {direction!r} is not one of {', '.join(work.DIRECTIONS)}")
        if a is None and b is None:
            a, b, floor, about = sides()
        whole(a=a, b=b)
        if a is b:
            raise ViewError("b: it is the very model `a`; load the other checkpoint beside it")
        self._sides = {"a": a, "b": b, "floor": floor}
        self.model = a
        self._about = list(SENTENCES if about is None else about)
        self._tools = _tools or Tools(lens.compare, lens.patch_between, patching.explain_cell)
        self._numbers = itertools.count(1)
        self._info = {name: describe_model(model) for name, model in self._sides.items() if model is not None}
        first = self._info["a"]
        said = [f"{name.upper() if len(name) == 1 else name}: {of['name']}" for name, of in self._info.items()]
        text = " · ".join([*said, f"{first['layers'] or '?'} layers", first["dtype"]])
        super().__init__(model_info=first | {"text": text}, prompt=prompt, direction=direction)
        self._offer(examples_of(first["name"]))
        self.observe(lambda _: self._on_cell(), "cell")
        self.observe(lambda _: self._moved(), ["show", "against", "prompt", "answer", "foil"])
        self._refresh_code()

    # --- the question

    def _question(self) -> Comparison:
        if not self.prompt:
            raise ViewError("prompt: is empty; write one, or choose an example")
        if self.foil and not self.answer:
            raise ViewError("answer: is empty and the foil is not; give both, or neither to take the models' own")
        with self._guard:
            return Comparison(next(self._numbers), self.prompt, self.answer, self.foil, self.direction)

    def _compute(self, run: Comparison, stop: Callable[[], bool], on_part: Callable[[Any], None]) -> Any:
        return work.computed(run, self._sides, self._about, self._tools, stop, on_part)

    def _part_seconds(self) -> float:
        return 0.0

    def _progress(self, run: Comparison) -> dict[str, Any]:
        there = [name for name in work.QUANTITIES if run.dataset is not None and name in run.dataset]
        if run.status == "complete" and run.dataset is not None:
            text = f"{run.dataset.sizes['layer']} layers × {run.dataset.sizes['position']} tokens"
        else:
            text = "distances are there, states are being copied" if there else "reading"
            if run.status == "stopped":
                text = f"stopped: {'distances, some or no copies' if there else 'nothing yet'}"
        return {"done": len(there), "total": len(work.QUANTITIES), "text": f"{text}, {run.seconds:.1f} s"}

    def _publish_run(self, run: Comparison) -> None:
        names = {name: of["name"] for name, of in self._info.items()}
        self.publish(map=work.payload(run, names))

    def _show(self, run: Comparison, progress: dict[str, Any] | None = None) -> None:
        super()._show(run, progress)
        if run.dataset is None or run.pair is None:
            return
        cell: dict[str, Any] = {"layer": self.cell.get("layer"), "position": self.cell.get("position")}
        try:
            work.cell_facts(run, **cell)
        except (KeyError, TypeError):
            layer, position = work.strongest(run.dataset)
            cell = {"layer": layer, "position": position}
        if dict(self.cell) == cell:
            self._on_cell()
        else:
            self.publish(cell=cell)

    # --- one copied state

    def _on_cell(self) -> None:
        run, cell = self._shown, dict(self.cell)
        if run is None or run.dataset is None or not cell:
            self.publish(detail={})
            return
        try:
            facts = work.cell_facts(run, cell["layer"], cell["position"])
        except (KeyError, TypeError, ValueError):
            return
        self._moved()
        if run.pair is None:
            self.publish(detail=facts | {"status": "waiting"})
            return
        self.publish(detail=facts | {"status": "running"})
        self._worker.quick("cell", lambda: self._copy(run, facts, cell))

    def _copy(self, run: Comparison, facts: Mapping[str, Any], cell: Mapping[str, Any]) -> None:
        if dict(self.cell) != cell or self._shown is not run:
            return
        into, source = (self._sides[name] for name in work.DIRECTIONS[run.direction])
        try:
            said = self._tools.explain(
                into, run.pair, work.SITE, cell["layer"], cell["position"], source_model=source, k=8
            )
            parts = {"into": said.corrupted, "source": said.clean, "edited": said.edited}
            answer: dict[str, Any] = {
                name: [[str(token), float(p)] for token, p in values] for name, values in parts.items()
            }
            answer |= {"status": "ready"}
        except BaseException as error:  # the panel is where the person looks
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        if dict(self.cell) == cell and self._shown is run:
            self.publish(detail=dict(facts) | answer)
            self._moved()

    # --- what the browser asks for

    _typed: tuple[str, ...] = ("prompt", "answer", "foil")
    _fields = ("prompt", "answer", "foil", "direction", "show", "against", "cell")
    _asked_traits = _fields
    _answer_traits = ("status", "progress", "error", "map", "detail", "code")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self.publish(cell={}, **fields)

    # --- what a saved state keeps

    def _weights(self) -> str:
        return " ".join(models.weight_hash(model) for model in self._sides.values() if model is not None)

    def _pack(self, run: Comparison) -> dict[str, Any]:
        if run.dataset is None:
            raise ViewError("run: has no numbers yet; wait for it")
        plain = {n: getattr(run, n) for n in ("number", "prompt", "answer", "foil", "direction", "status", "seconds")}
        pair = None if run.pair is None else [run.pair.answer, run.pair.foil]
        return plain | {"notes": run.notes, "pair": pair, "dataset": state.pack(run.dataset)}

    def _unpack(self, packed: dict[str, Any]) -> Comparison:
        prompt, pair = packed["prompt"], packed["pair"]
        run = Comparison(**packed | {"dataset": state.unpack(packed["dataset"]), "pair": None})
        run.pair = None if pair is None else lens.Pair(prompt, prompt, *pair)
        return run

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        try:
            run = self._shown or self._question()
        except ViewError:  # no question yet, so there is no program to show
            self.publish(code="")
            return
        loads = {name: f"lens.load({of['name']!r}{_precision(of)})" for name, of in self._info.items()}
        self.publish(code=copy.program(run, loads, self._about, self.show, self.against, self.cell))

    def _static(self) -> str:
        names = {name: of["name"] for name, of in self._info.items()}
        run = self._shown
        known = run is not None and run.dataset is not None and self.show in run.dataset
        against = self.against if known and self.against in work.against(run.dataset, self.show) else "nothing"
        return copy.static(run, names, self.show, against, self.detail, EMPTY)


def _precision(info: Mapping[str, Any]) -> str:
    return "" if info.get("dtype", "float32") == "float32" else f", dtype={info['dtype']!r}"
