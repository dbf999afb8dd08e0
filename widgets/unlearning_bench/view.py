"""UnlearningBench: choose what goes and what stays, a method and its dose; watch, attack, put back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import traitlets

from lens import models, unlearning
from lens.arguments import FilePath, HFModel, door
from lens.unlearning import Items, Questions
from widgets.base import state
from widgets.base.assets import script, style
from widgets.base.force import ForceView
from widgets.base.model_line import describe_model
from widgets.base.planted import whole
from widgets.base.sweep import SweepView
from widgets.errors import ViewError
from widgets.unlearning_bench import copy, work
from widgets.unlearning_bench.examples import EXAMPLES, SOURCE, false_documents
from widgets.unlearning_bench.rows import Pool
from widgets.unlearning_bench.work import Run

METHODS = tuple(name for name in unlearning.METHODS if name != work.RETAIN_ONLY)
EMPTY = "Nothing had been unlearned when this notebook was stored."
OWN = """model = ...  # the model, and below the sets, that the view was given
forget, retain = ..., ..."""


class UnlearningBench(ForceView):
    """Unlearning watched: rows to forget and to retain, a method and its dose, its path beside training on the retain
    set alone and a twin that never had the rows; attacks on what comes out; its weights set in force and put back.

    `forget` and `retain` are `lens.unlearning.Items`; `twin`, `clean`, `never_knew`, `questions` as
    `lens.unlearning.unlearn` has them. Given nothing, an example is shown. Traits: `method`, `steps`, `rate` (the
    dose), `roles` (of each row: forget, retain, neither); `curves` carries every measure with its intervals. No model
    is changed until `put()`. `result` gives the Dataset. Raises ViewError for half of what is needed.
    """

    _esm = script("unlearning_bench")
    _css = style("unlearning_bench")

    method = traitlets.Enum(METHODS, "gradient_difference").tag(sync=True)
    methods: traitlets.List[Any] = traitlets.List().tag(sync=True)
    steps = traitlets.Int(20).tag(sync=True)
    rate = traitlets.Float(1e-4).tag(sync=True)
    roles: traitlets.List[Any] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows: traitlets.List[Any] = traitlets.List().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True, echo_update=False)
    attack = traitlets.Dict({"status": "idle"}).tag(sync=True)

    _noun = "The unlearning"
    _begins = "Looking at the models …"
    _unsaved = "save: nothing has been unlearned yet; run first"
    _busy = "An unlearning is under way"
    _own = "what is unlearned begins at the model's own weights"
    _titles: ClassVar[dict[str, str]] = {"UnlearningError": "This cannot be unlearned"}

    @door(ViewError)
    def __init__(
        self,
        model: HFModel | None = None,
        forget: Items | None = None,
        retain: Items | None = None,
        *,
        twin: HFModel | None = None,
        clean: HFModel | None = None,
        never_knew: HFModel | None = None,
        questions: Questions | None = None,
        method: str = "gradient_difference",
        _unlearn: Callable[..., Any] | None = None,
    ) -> None:
        if method not in METHODS:
            raise ViewError(f"method: {method!r} is not one of {', '.join(METHODS)}")
        self._example = model is None and forget is None and retain is None
        if self._example:
            model, forget, retain, twin, clean, never_knew, questions = false_documents()
        whole(model=model, forget=forget, retain=retain)
        assert forget is not None and retain is not None
        self.model, self._pool = model, Pool(forget, retain)
        models_beside = {"twin": twin, "clean": clean, "never_knew": never_knew}
        self._beside: dict[str, Any] = {name: of for name, of in models_beside.items() if of is not None}
        if questions is not None:
            self._beside["questions"] = questions
        self._unlearn = _unlearn or unlearning.unlearn
        self._numbers = itertools.count(1)
        info = describe_model(model)
        twin_said = f" · twin {models.name_of(twin)}" if twin is not None else " · no twin"
        about = {name: unlearning.METHODS[name] for name in METHODS}
        super().__init__(
            model_info=info | {"text": info["text"] + twin_said},
            method=method,
            methods=[{"name": name, "title": of.title, "does": of.does} for name, of in about.items()],
            roles=self._pool.roles(),
            rows=self._pool.texts(model),
        )
        if self._example:
            self._offer(EXAMPLES)
        self.observe(lambda _: self._moved(), ["method", "steps", "rate", "roles"])
        self._refresh_code()

    # --- the question

    def _waits(self) -> bool:
        return self._example and self._shown is None

    def _run_now(self) -> Run:
        with self._guard:
            if self.steps < 1:
                raise ViewError(f"steps: {self.steps} is too few; expected a whole number from 1 on")
            if not 0 < self.rate < 1:
                raise ViewError(f"rate: {self.rate:g} is no learning rate; expected one above 0 and below 1")
            roles = list(self.roles)
            forget, retain = self._pool.sets(roles)
            return Run(next(self._numbers), self.method, self.steps, self.rate, roles, forget, retain)

    def _question(self) -> Run:
        self._refuse()
        self.publish(attack={"status": "idle"})
        return self._run_now()

    def _compute(self, run: Run, stop: Callable[[], bool], on_part: Callable[[Any], None]) -> Any:
        def counted() -> bool:
            run.calls += 1
            if self.status == "running":
                self.publish(progress=self._progress(run))
            return stop()

        return work.walked(run, self.model, self._beside, self._unlearn, counted)

    def _progress(self, run: Run) -> dict[str, Any]:
        total = 2 * run.steps
        if run.dataset is None:
            return {"done": min(run.calls, total), "total": total, "text": f"{run.arm}, {run.calls} steps asked for"}
        said = "stopped: partial paths" if run.status == "stopped" else f"{run.steps} steps an arm"
        return {"done": total, "total": total, "text": f"{said}, {run.seconds:.1f} s"}

    def _publish_run(self, run: Run) -> None:
        self.publish(curves=work.payload(run))

    # --- attacks

    @door(ViewError)
    def attack_with(self, name: str, *, wait: bool = True) -> None:
        """Put a copy of what the method ended with, of the start and of the twin through an attack: "int4", "int8"
        (every matrix rounded), "relearn" (ten steps of training on the retain set). What comes of it joins the table.
        """
        if name not in work.ATTACKS:
            raise ViewError(f"name: {name!r} is not one of {', '.join(work.ATTACKS)}")
        self._worker.quick("attack", lambda: self._attack(name))
        if wait:
            self.wait()

    def _attack(self, name: str) -> None:
        run = self._shown
        try:
            self._refuse()
            if run is None or run.weights is None:
                raise ViewError("attack: there are no unlearned weights at hand; run first")
            if name in run.attacks:
                return
            self.publish(attack={"status": "running", "text": f"{work.ATTACKS[name]} …"})
            run.dataset = work.attacked(run, name, self.model, self._beside)
            run.attacks.append(name)
        except BaseException as error:  # beside the button, where the person looks
            self.publish(attack={"status": "error", "text": str(error) or type(error).__name__})
            return
        if run is self._shown:
            self._show(run)
            self.publish(attack={"status": "ready", "text": f"{work.ATTACKS[name]}: in the table"})
            self._refresh_static_soon()

    # --- the weights in force

    def _edit_shown(self) -> tuple[Any, str]:
        run = self._shown
        if run is None or run.weights is None:
            raise ViewError("put: there are no unlearned weights at hand; run first")
        return run.weights, run.what() + " to retain"

    def _apply(self, edit: Any) -> Callable[[], None]:
        return work.put_state(self.model, edit).undo

    def _digest(self) -> str:
        model: Any = self.model
        return models.weight_hash(model)

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write the result: .zarr opens with `lens.open`; .nc, .csv, .parquet are exports. Returns the path."""
        return SweepView.save(self, path, overwrite=overwrite)

    # --- what the browser asks for

    _typed: tuple[str, ...] = ("method", "steps", "rate")
    _fields = ("method", "steps", "rate", "roles")
    _asked_traits = _fields
    _answer_traits = ("status", "progress", "error", "curves", "attack", "code")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self.publish(roles=self._pool.roles(), **fields)

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return False  # what a person chose is of these rows

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {"attack": self._on_attack, "document": lambda _: None}

    def _on_attack(self, message: dict) -> None:
        if (name := message.get("name")) in work.ATTACKS:
            self.attack_with(str(name), wait=False)

    # --- what a saved state keeps

    def _pack(self, run: Run) -> dict[str, Any]:
        if run.dataset is None:
            raise ViewError("run: has no looks yet; wait for it")
        names = ("number", "method", "steps", "rate", "roles", "status", "seconds", "attacks")
        return {name: getattr(run, name) for name in names} | {"dataset": state.pack(run.dataset)}

    def _unpack(self, packed: dict[str, Any]) -> Run:
        forget, retain = self._pool.sets(packed["roles"])
        return Run(**packed | {"dataset": state.unpack(packed["dataset"]), "forget": forget, "retain": retain})

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        try:
            run = self._shown or self._run_now()
        except ViewError:  # no question yet, so there is no program to show
            self.publish(code="")
            return
        source = SOURCE if self._example else "\n".join([OWN, *(f"{name} = ..." for name in self._beside)])
        sizes = (len(self._pool.forget), len(self._pool.retain))
        self.publish(code=copy.program(run, source, list(self._beside), sizes))

    def _static(self) -> str:
        return copy.static(self.curves, self.model_info["name"], EMPTY)
