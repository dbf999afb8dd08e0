"""TrajectoryView: labelled prompts over the layers, a gate on one label, and answers with and without its edit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import traitlets

from lens import vectors
from lens.arguments import HFModel, door
from widgets.base import state
from widgets.base.assets import script, style
from widgets.base.examples import Example
from widgets.base.model_line import describe_model
from widgets.base.planted import whole
from widgets.base.sweep import SweepView
from widgets.errors import ViewError
from widgets.trajectory_view import copy, work
from widgets.trajectory_view.examples import SOURCES, offered
from widgets.trajectory_view.items import Items
from widgets.trajectory_view.work import Run

EMPTY = "Nothing had been computed when this notebook was stored."


class TrajectoryView(SweepView):
    """Labelled prompts over the layers in one plane, the centroid that each is near, a gate fitted for one label, and
    answers with and without the edit behind it, beside what the gate and the edit have to beat.

    `items` are rows (a list, a frame, or the path of a JSONL file) with a "text" and a "label", and, where known, an
    "answer" and a "split" (train: centroids; tune: the gate's threshold; report: the numbers); without splits they are
    dealt in turn. Those of the labels `held_out`, and `ordinary` texts, are reported on alone. `stop` ends answers.
    Given nothing, an example is shown.

    Traits: `target` (the label at which the gate opens), `toward` (whose mean state it is pushed to), `kind` (nearest,
    cosine, projection), `layer`, `strength` (1: the difference of the two means), `acts` ("first": at the prompt's last
    token; "each": at every new one too); `item` is the report item looked at (-1: the
    first of the target's), or `prompt`, a person's own. `picture`
    carries the numbers, `detail` the one prompt. `gate` and `edit` are those of the run shown, `result` its Dataset.
    Raises ViewError for items that are none.
    """

    _esm = script("trajectory_view")
    _css = style("trajectory_view")

    source = traitlets.Unicode().tag(sync=True)
    labels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    target = traitlets.Unicode().tag(sync=True)
    toward = traitlets.Unicode().tag(sync=True)
    kind = traitlets.Enum(work.KINDS, "nearest").tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    strength = traitlets.Float(1.0).tag(sync=True)
    acts = traitlets.Enum(tuple(work.ACTS), "first").tag(sync=True)
    item = traitlets.Int(-1).tag(sync=True)
    prompt = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Dict().tag(sync=True, echo_update=False)
    detail = traitlets.Dict().tag(sync=True)

    _noun = "The fit of the gate"
    _begins = "Every item is read at every layer …"
    _unsaved = "save: there are no trajectories to save yet; run first"
    _titles: ClassVar[dict[str, str]] = {
        "GateError": "The gate cannot be fitted",
        "VectorError": "The items have no trajectories",
    }

    @door(ViewError)
    def __init__(
        self,
        model: HFModel | None = None,
        items: Any = None,
        target: str = "",
        *,
        toward: str = "",
        ordinary: Sequence[str] = (),
        held_out: Sequence[str] = (),
        stop: str = "",
        layer: int | None = None,
    ) -> None:
        self._example = model is None and items is None
        self._sources: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        if self._example:
            source = next(iter(SOURCES))
            self.model, self._items = self._sources[source] = SOURCES[source]()
        else:
            whole(model=model, items=items)
            source = ""
            self.model, self._items = model, Items.of(items, ordinary, held_out, stop)
        labels = self._items.labels
        for name, value in (("target", target), ("toward", toward)):
            if value and value not in labels:
                raise ViewError(f"{name}: {value!r} is no label of the items; they have {', '.join(labels)}")
        target = target or next(label for label in labels if label != toward)
        info = self._info()
        super().__init__(
            model_info=info,
            source=source,
            labels=labels,
            target=target,
            toward=toward or next(label for label in labels if label != target),
            layer=info["layers"] // 2 if layer is None else layer,
        )
        if self._example:
            self._offer(offered())
        self.observe(lambda _: self._enter(), "source")
        self.observe(lambda _: self._on_item(), ["item", "prompt"])
        self.observe(lambda _: self._moved(), ["target", "toward", "kind", "layer", "strength", "acts"])
        self._refresh_code()

    def _info(self) -> dict[str, Any]:
        info, items = describe_model(self.model), self._items
        sizes = " · ".join(f"{len(of)} {name}" for name, of in items.splits.items())
        beside = f" · {len(items.ordinary)} ordinary texts" if items.ordinary else ""
        return info | {"text": f"{info['text']} · {len(items.labels)} labels · {sizes}{beside}"}

    # --- what Python users call

    @property
    def gate(self) -> Any:
        """The gate of the run shown; None before there is one."""
        return None if self._shown is None else self._shown.gate

    @property
    def edit(self) -> Any:
        """The gated edit of the run shown; None before there is one."""
        return None if self._shown is None else self._shown.edit

    # --- the question

    def _waits(self) -> bool:
        return self._example and self._shown is None

    def _number_of(self, typed: Mapping[str, Any]) -> int | None:
        return super()._number_of(typed) if self._example else None

    def _enter(self) -> None:
        """The model and items of another example."""
        if not self._example or self.source not in SOURCES:
            return
        if self.source not in self._sources:
            self._sources[self.source] = SOURCES[self.source]()
        self.model, self._items = self._sources[self.source]
        self._stopped.set()
        self._shown = None
        labels = self._items.labels
        self.publish(model_info=self._info(), labels=labels, picture={}, detail={}, item=-1, prompt="")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self.publish(source=fields["source"])  # first: labels are of its items
        self.publish(**fields)

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return (
            self._example
            and fields.get("source") in [one.fields["source"] for one in self._offered]
            and (super()._can_ask(fields))
        )

    _offered: tuple[Example, ...] = ()

    def _question(self) -> Run:
        with self._guard:
            for name in ("target", "toward"):
                if (value := getattr(self, name)) not in self._items.labels:
                    raise ViewError(
                        f"{name}: {value!r} is no label of the items; expected one of {', '.join(self._items.labels)}"
                    )
            if self.target == self.toward:
                raise ViewError(f"toward: {self.toward!r} is the label itself; choose another to be pushed to")
            if not 0 < abs(self.strength) <= 100:
                raise ViewError(f"strength: {self.strength:g}; expected a number other than 0, of at most 100 in size")
            asked = [getattr(self, name) for name in ("target", "toward", "kind", "layer", "strength", "acts")]
            return Run(next(self._numbers), *asked)

    def _compute(self, run: Run, stop: Callable[[], bool], on_part: Callable[[Any], None]) -> Any:
        return work.computed(run, self.model, self._items, stop, on_part)

    def _part_seconds(self) -> float:
        return 0.0

    def _progress(self, run: Run) -> dict[str, Any]:
        there = [says for name, says in work.PARTS.items() if run.dataset is not None and name in run.dataset]
        missing = [says for says in work.PARTS.values() if says not in there]
        if run.status == "complete" and run.dataset is not None:
            text = f"{run.dataset.sizes['item']} texts × {run.dataset.sizes['layer']} layers"
        else:
            said = f"without {' and '.join(missing)}" if there else "nothing yet"
            text = f"stopped: {said}" if run.status == "stopped" else f"next: {(missing or ['the end'])[0]}"
        return {"done": len(there), "total": len(work.PARTS), "text": f"{text}, {run.seconds:.1f} s"}

    def _publish_run(self, run: Run) -> None:
        self.publish(picture=work.payload(run, self._items))

    def _show(self, run: Run, progress: dict[str, Any] | None = None) -> None:
        super()._show(run, progress)
        self._on_item()

    # --- one prompt

    def _looked_at(self) -> tuple[int, str]:
        """The number of the report item looked at, -1 of a person's own prompt, and its text."""
        assert self._shown is not None and self._shown.dataset is not None
        if self.prompt.strip():
            return -1, self.prompt
        ds = self._shown.dataset
        number = self.item
        if not 0 <= number < ds.sizes["item"]:  # none was chosen: the first of what the gate is for
            number = int((ds["label_of_item"].values == self._shown.target).argmax())
        return number, str(ds["text"].values[number])

    def _on_item(self) -> None:
        run = self._shown
        if run is None or run.dataset is None:
            self.publish(detail={})
            return
        number, text = self._looked_at()
        known = {} if number < 0 else work.ways(run.dataset, number)
        about = {"run": run.number, "item": number, "text": text, **known}
        self.publish(detail=about | {"status": "running"})
        self._worker.quick("item", lambda: self._write(run, number, text, about))

    def _write(self, run: Run, number: int, text: str, about: dict[str, Any]) -> None:
        if self._shown is not run or self._looked_at() != (number, text):
            return
        try:
            if number < 0:
                about |= work.ways(self._placed(run, text), 0)
            written = {} if run.gate is None else work.written(run, self.model, text, self._items.stop)
            answer: dict[str, Any] = {"status": "ready" if written else "waiting"} | written
        except BaseException as error:  # where the answers would stand
            answer = {"status": "error", "why": str(error) or type(error).__name__}
        if self._shown is run and self._looked_at() == (number, text):
            self.publish(detail=about | answer)
            self._moved()

    def _placed(self, run: Run, text: str) -> Any:
        if "centroid_state" not in run.dataset:  # type: ignore[operator]  # of a state that an older version saved
            return vectors.trajectories(self.model, self._items.splits["train"], [text])
        return vectors.place(self.model, run.dataset, [text])

    # --- what the browser asks for

    _typed: tuple[str, ...] = ("source", "target", "toward", "kind", "layer", "strength", "acts")
    _fields = ("target", "toward", "kind", "layer", "strength", "acts", "item", "prompt")
    _asked_traits = ("source", *_fields)
    _answer_traits = ("status", "progress", "error", "picture", "detail", "code")

    # --- what a saved state keeps

    @classmethod
    def _for_state(cls, saved: dict[str, Any], given: tuple, options: dict[str, Any]) -> TrajectoryView:
        view = cls(*given, **options)
        if view._example and (source := saved["fields"].get("source")) in SOURCES:
            view.publish(source=source)
        return view

    def _pack(self, run: Run) -> dict[str, Any]:
        if run.dataset is None:
            raise ViewError("run: has no numbers yet; wait for it")
        names = ("number", "target", "toward", "kind", "layer", "strength", "acts", "status", "seconds", "about")
        return {name: getattr(run, name) for name in names} | {
            "dataset": state.pack(run.dataset),
            "items": self._items.digest(),
        }

    def _unpack(self, packed: dict[str, Any]) -> Run:
        if packed["items"] != self._items.digest():
            raise ViewError("items: the state is of other items than those given; give the ones that it was saved with")
        own = {name: value for name, value in packed.items() if name != "items"}
        run = Run(**own | {"dataset": state.unpack(packed["dataset"])})
        if run.about:
            work.fit_gate(run, self.model, self._items)
        return run

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        try:
            run = self._shown or self._question()
        except ViewError:  # no question yet, so there is no program to show
            self.publish(code="")
            return
        self.publish(code=copy.program(run, self.source, self.model_info["name"], self._items.stop, self._text()))

    def _text(self) -> str:
        return self._looked_at()[1] if self._shown is not None and self._shown.dataset is not None else ""

    def _static(self) -> str:
        return copy.static(self.picture, self.model_info["name"], self.detail, EMPTY)
