"""SubspaceBench: which weights hold what a model recites; cut out by hand along a trade-off curve, beside a random
control, and put back bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import traitlets
import xarray as xr

from lens.arguments import Count, HFModel, Seed, Share, door
from lens.curvature.edit import Deficient
from lens.memorization import MemorizationError
from lens.models import weight_hash
from lens.scoring.likelihood import plain
from widgets.base import model_line, planted, sets
from widgets.base.assets import script, style
from widgets.base.folder import folder_for
from widgets.base.force import ForceView
from widgets.errors import ViewError
from widgets.subspace_bench import copy, saved, work
from widgets.subspace_bench.examples import EXAMPLES
from widgets.subspace_bench.locator import Locator
from widgets.subspace_bench.question import (
    CURVATURE,
    MASSES,
    METHODS,
    SPARSITIES,
    Question,
    strengths_of,
    strengths_text,
)
from widgets.subspace_bench.work import Curve

EMPTY = "No curve had been computed when this notebook was stored."
DEFICIENT: tuple[Deficient, ...] = ("refuse", "drop", "keep")


class SubspaceBench(ForceView):
    """Locate the weights that hold memorised text, move along the curve of recitation against clean loss, and read what
    the model recites at each point.

    The traits are the state that Python and the browser share:

    - the question: `memorised` and `reference` (names), `method` (of `lens.subspace.METHODS`, or "curvature"),
      `sparsities` and `kept` (the points, "0.01, 0.02"), `seed`;
    - where the person looks: `at` (place on the slider; 0: unedited), `measure` ("strict" or "loose");
    - the answers: `doubts` (sets that overlap), `found` (the curve, its control, layer shares, texts), `force` (an edit
      put in force by hand, and the weight hash), `status`, `progress`, `error`, `code`, `saved`, `document`.

    Args:
        memorised: by name, `lens.memorization.Sequences`, anything with ids and a prefix, texts (with `prefix` and
            `suffix`) or rows of ids (with `prefix`). A set of 4 or more is halved by `seed`: the edit is found on one
            half, recitation is reported on the other as well.
        reference: by name, texts or rows of token ids that are not memorised: what the contrast is with, and what the
            curvature factors are taken over.
        clean: texts or rows whose loss is reported; None: the reference is halved, and the half that no edit saw
            counts.
        sparsities, kept: points of the curve. layers: as for `lens.engine.linear.linears`. level: of the intervals.
        decomposition: for the curvature edit, if it is there. deficient: see `lens.curvature.keep`. folder: keeps
            statistics (default: for the life of the view).
        options: of the method, as for `lens.subspace.score`.

    Without model, memorised and reference it opens on sequences planted in the organism `canaries`, and computes.
    `run()` computes the curve, `stop()` ends it after the point in progress and keeps what is there; points are kept,
    so that another run computes only new ones. `result` is the curve as a Dataset, `mask()` the edit of the point
    shown, `put()` sets it in force and `undo()` takes it back. While a curve is being computed the model is edited and
    restored again and again: leave it alone until the end. Raises ViewError, MemorizationError for sets that cannot be
    used.
    """

    _esm = script("subspace_bench")
    _css = style("subspace_bench")

    names = traitlets.Dict().tag(sync=True)
    methods = traitlets.List([list(pair) for pair in METHODS.items()]).tag(sync=True)

    memorised = traitlets.Unicode().tag(sync=True)
    reference = traitlets.Unicode().tag(sync=True)
    method = traitlets.Enum(tuple(METHODS), "contrast").tag(sync=True)
    sparsities = traitlets.Unicode().tag(sync=True)
    kept = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    measure = traitlets.Enum(("strict", "loose"), "strict").tag(sync=True)

    doubts = traitlets.Dict().tag(sync=True)
    found = traitlets.Dict().tag(sync=True, echo_update=False)

    _titles: ClassVar[dict[str, str]] = {
        "ViewError": "This cannot be asked yet",
        "MemorizationError": "These sets cannot be used",
        "SubspaceError": "Nothing could be located",
        "LinearError": "No such layers",
        "CurvatureError": "The curvature edit cannot be made",
        "WeightError": "The weights are edited already",
    }
    _noun = "The curve"
    _begins = "Reading the unedited model …"
    _busy = "a curve is being computed"
    _own = "the curve is of the model's own weights"
    _endings = ".zarr, .nc, .csv or .parquet (the curve) or .npz (the mask)"
    _fields = ("memorised", "reference", "method", "sparsities", "kept", "seed", "at", "measure")
    _typed = ("memorised", "method", "sparsities", "kept")
    _asked_traits = _fields
    _answer_traits = ("found", "doubts", "status", "progress")

    def _waits(self) -> bool:
        return self._planted and self._asked == 0

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return fields["memorised"] in self._sequences and super()._can_ask(fields)

    @door(ViewError)
    def __init__(
        self,
        model: HFModel | None = None,
        memorised: Any = None,
        reference: Any = None,
        *,
        clean: Any = None,
        prefix: Count | None = None,
        suffix: Count | None = None,
        method: str = "contrast",
        sparsities: tuple[float, ...] = SPARSITIES,
        kept: tuple[float, ...] = MASSES,
        layers: Any = "mlp",
        seed: Seed = 0,
        level: Share = 0.95,
        decomposition: Any = None,
        deficient: str = "refuse",
        folder: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._planted = all(one is None for one in (model, memorised, reference))
        if self._planted:
            model, memorised, reference, planted_clean = planted.text_sets()
            clean = planted_clean if clean is None else clean
        planted.whole(model=model, memorised=memorised, reference=reference)
        if method not in METHODS:
            raise ViewError(f"method: {method!r} is not one of {', '.join(METHODS)}")
        if deficient not in DEFICIENT:
            raise ViewError(f"deficient: {deficient!r} is not one of {', '.join(DEFICIENT)}")
        self.model, self.layers, self.level = model, layers, sets.level_of(level)
        self.deficient: Deficient = next(known for known in DEFICIENT if known == deficient)
        self._given = {
            "memorised": sets.named(memorised, "memorised"),
            "reference": sets.named(reference, "reference"),
            "clean": clean,
        }
        self._prefix, self._suffix, self._decomposition = prefix, suffix, decomposition
        self._options, self._options_of = dict(options or {}), method
        self._sequences = {
            name: sets.sequences_of(one, model, prefix, suffix, f"memorised[{name!r}]")
            for name, one in self._given["memorised"].items()
        }
        self._rows = {
            name: sets.rows_of(one, model, f"reference[{name!r}]") for name, one in self._given["reference"].items()
        }
        self._clean = None if clean is None else sets.rows_of(clean, model, "clean")
        self._runs: dict[tuple, Curve] = {}
        self._locators: list[Curve] = []
        self._asked, self._seen = 0, False
        self._kept = folder_for(self, folder, "subspace")
        self._ran: Any = None
        super().__init__(
            model_info=model_line.shape_of(model) | {"level": level},
            names=copy.names(self._sequences, self._rows),
            memorised=next(iter(self._sequences)),
            reference=next(iter(self._rows)),
            method=method,
            sparsities=strengths_text(sparsities, "sparsity"),
            kept=strengths_text(kept, "kept"),
            seed=seed,
        )
        self.observe(self._on_choice, ["memorised", "reference", "method", "seed"])
        self.observe(lambda _: self._moved(), ["at", "measure"])
        self._offer(EXAMPLES if self._planted else ())
        self._on_choice(None)
        self._worker.quick("hash", self._hash)

    # --- what Python users call

    @property
    def strength(self) -> float | None:
        """The strength of the point shown; None: the unedited model."""
        return self._shown.at(self.at) if self._shown is not None else None

    def mask(self) -> Any:
        """The edit of the point shown: a `lens.subspace.Mask`, or a `lens.curvature.Edit`. Raises ViewError where no
        point is.
        """
        run, strength = self._shown, self.strength
        if run is None or strength is None:
            raise ViewError("at: the model is shown unedited; move the slider to a point of a curve first")
        return run.locator.edit(strength).edit

    def _savable(self) -> Any:
        if self._shown is not None and self._shown.question.method == CURVATURE:  # known before the edit is made
            raise ViewError(
                "mask: the curvature edit changes every weight a little and has no mask; keep its decomposition, the"
                " Python below makes it again"
            )
        return self.mask()

    # --- the question

    def _now(self) -> Question:
        with self._guard:
            question = Question(self.memorised, self.reference, self.method, self.seed)
            text = self.kept if question.kind == "kept" else self.sparsities
        self._expect(question)
        return replace(question, strengths=strengths_of(text, question.kind))

    def _expect(self, question: Question) -> None:
        """Raises ViewError for a set that was not given."""
        for name, value in (("memorised", question.memorised), ("reference", question.reference)):
            if value not in self._given[name]:
                raise ViewError(f"{name}: {value!r} is not one of {', '.join(self._given[name])}")

    def _question(self) -> Curve:
        self._refuse()
        question = self._now()
        if refused := sets.overlap(
            self._sequences[question.memorised], self._rows[question.reference], self._clean, question.seed
        ):
            raise MemorizationError(refused)
        self._asked += 1
        return self._begun(question)

    def _begun(self, question: Question) -> Curve:
        """A run of a question, with the points that are there."""
        if (old := self._runs.get(question.key())) is not None:
            return replace(old, question=question, number=self._asked, failed={}, dataset=None, status="running")
        sides = sets.sides_of(
            self._sequences[question.memorised], self._rows[question.reference], self._clean, question.seed
        )
        options = self._options if question.method == self._options_of else {}
        locator = Locator(
            self._running,
            question,
            sides,
            layers=self.layers,
            folder=self._kept,
            options=options,
            deficient=self.deficient,
            decomposition=self._decomposition,
        )
        return Curve(question, sides, locator, self._asked)

    def _running(self) -> Any:
        """The plain model that shares the weights, made once and in the worker's thread."""
        if self._ran is None:
            self._ran = plain(self.model)
        return self._ran

    def _compute(
        self, run: Curve, stop: Callable[[], bool], on_part: Callable[[xr.Dataset | None], None]
    ) -> xr.Dataset | None:
        self._refuse(meanwhile=True)
        before = weight_hash(self._running())
        self._only(run)

        def begins(text: str) -> None:
            self.publish(progress={"done": run.there(), "total": len(run.question.strengths), "text": text})

        try:
            work.trace(self._running(), run, self.level, stop, lambda: on_part(run.joined(self.layers)), begins)
        finally:
            run.hashes = (before, weight_hash(self._running()))
            self._runs[run.question.key()] = run
        return run.joined(self.layers)

    def _only(self, run: Curve) -> None:
        """Scores and decompositions are as large as the weights: those of the last two questions are kept."""
        self._locators = [*[one for one in self._locators if one.locator is not run.locator][-1:], run]
        for other in self._runs.values():
            if all(other.locator is not one.locator for one in self._locators):
                other.locator.forget()

    def _what(self, run: Curve) -> str:
        q = run.question
        return f"{METHODS[q.method]}: {q.memorised} against {q.reference}, seed {q.seed}"

    def _publish_run(self, run: Curve) -> None:
        if run.unedited is None:
            return
        self.publish(found=copy.payload(run, self.model, self._what(run)))
        if run.status in ("complete", "stopped") and run.points and self.at == 0 and not self._seen:
            self._seen = True
            self.publish(at=(len(run.points) + 1) // 2)  # the first curve opens in its middle

    def _progress(self, run: Curve) -> dict[str, Any]:
        return copy.progress(run)

    # --- before and beside a run

    def _on_choice(self, _change: Any) -> None:
        self._worker.quick("doubts", self._check)
        self._worker.quick("shown", self._again)

    def _check(self) -> None:
        """Whether the sets overlap; no model is asked."""
        with self._guard:
            names: dict[str, Any] = {"memorised": self.memorised, "reference": self.reference, "seed": self.seed}
        text = ""
        with contextlib.suppress(KeyError):  # a name that is not there is refused by the run
            text = sets.overlap(
                self._sequences[names["memorised"]], self._rows[names["reference"]], self._clean, names["seed"]
            )
        self.publish(doubts=names | {"refused": text})

    def _again(self) -> None:
        """Show the curve that the fields ask for, where it was computed before."""
        with contextlib.suppress(ValueError):
            run = self._runs.get(self._now().key())
            if (
                run is not None
                and run is not self._shown
                and self.status not in ("running", "stopping")
                and run.unedited is not None
            ):
                self.publish(error={}, saved={})
                self._show(run, progress=self._progress(run))
        self._moved()

    # --- an edit in force

    def _edit_shown(self) -> tuple[Any, str]:
        edit, q = self.mask(), self._shown.question
        return edit, f"{q.method}, {'mass kept' if q.kind == 'kept' else 'sparsity'} {self.strength:g}"

    def _apply(self, edit: Any) -> Callable[[], None]:
        stack = contextlib.ExitStack()
        stack.enter_context(edit.applied(self._running()))
        return stack.close

    def _digest(self) -> str:
        return weight_hash(self._running())

    # --- what the browser asks for

    def _on_save(self, message: dict) -> None:
        self._worker.quick("save", lambda: super(SubspaceBench, self)._on_save(message))

    # --- what a saved state keeps of the curves

    def _runs_to_keep(self) -> list[Curve]:
        return [run for run in self._runs.values() if run.unedited is not None]

    def _pack(self, run: Curve) -> dict[str, Any]:
        return saved.pack(run)

    def _unpack(self, packed: dict[str, Any]) -> Curve:
        self._expect(question := saved.question_of(packed))
        self._asked, self._seen = self._asked + 1, True
        run = self._begun(question)
        saved.fill(run, packed)
        run.dataset = run.joined(self.layers)
        self._runs[question.key()] = run
        return run

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        run = self._shown
        if run is None or run.unedited is None:
            self.publish(code="")
            return
        given = {
            "memorised": self._given["memorised"][run.question.memorised],
            "reference": self._given["reference"][run.question.reference],
            "clean": self._given["clean"],
        }
        self.publish(
            code=copy.program(
                run,
                given=given,
                layers=self.layers,
                prefix=self._prefix,
                suffix=self._suffix,
                options=run.locator.options,
                deficient=self.deficient,
                level=self.level,
                at=run.at(self.at),
                own_decomposition=self._decomposition is not None,
                **({"source": planted.SOURCE} if self._planted else {}),
            )
        )

    def _static(self) -> str:
        run = self._shown
        return copy.static(run, self.model, self.at, self.measure, self._what(run) if run is not None else "", EMPTY)
