"""ProvenanceBench: does a model depend on the order in which a training run read its rows? Asked row by row, stopped
when the evidence is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import traitlets

import lens
from lens import provenance
from lens.arguments import Count, Seed, Share, door
from widgets.base.assets import script, style
from widgets.base.folder import folder_for
from widgets.base.planted import whole
from widgets.errors import ViewError
from widgets.provenance_bench import copy, saved, work
from widgets.provenance_bench.doubts import doubts
from widgets.provenance_bench.examples import EXAMPLES, SOURCE, planted
from widgets.provenance_bench.payload import compared, payload
from widgets.provenance_bench.reports import ReportView
from widgets.provenance_bench.work import RULES, STATISTICS, Inquiry, Question, counted, named

EMPTY = "No question had been asked when this notebook was stored."
ROWS = 2000


class ProvenanceBench(ReportView):
    """Ask whether suspects depend on a transcript's order: rows come in an order-blind random sequence, and the numbers
    move as they come.

    The traits are the state that Python and the browser share:

    - the question: `suspect`, `transcript`, `reference` ("" for none), `rows`, `statistic`, `rule` ("e": stop at e >= 1
      / alpha; "n": all rows), `alpha`, `seed`;
    - the answers: `doubts` (what speaks against transcript and reference before anything is run), `found` (numbers,
      p-values with what each is worth, curves), `lines` (every question asked, with Holm's correction over all of
      them), `status`, `progress`, `error`, `code`, `saved`, `document`.

    Args:
        suspects: by name, what `lens.provenance.query` takes: a model, "organism:<name>" or another name that
            `lens.load` takes, a `Scores` table, NLL of each row (nats a token), or an interface of
            `lens.provenance.suspects`.
        transcripts: one `Transcript`, or several by name.
        references: by name, the same kinds or a `lens.provenance.Reference` that declares whether it shares the order
            (or a list of them). One that does is refused; an undeclared one warns.
        rows: rows to ask for (by default 2000, or all if there are fewer). rule, alpha, statistic, seed: what the
            fields begin with.
        resamples: permutations of the final p. store: a folder in which scores are kept; by default a temporary one, so
            that no model scores a row twice. score_options: as in `query`.

    Given nothing it opens on the organisms of the family `palimpsest`, and asks.

    `run()` asks, `stop()` ends the run after the rows in progress, `result` is the `QueryResult` shown, `results` all
    of them by line; `wait()` blocks until everything asked for is there. Raises ViewError for empty or nameless
    mappings and for a transcript that is none.
    """

    _esm = script("provenance_bench")
    _css = style("provenance_bench")

    suspects: traitlets.List[Any] = traitlets.List().tag(sync=True)
    transcripts: traitlets.List[Any] = traitlets.List().tag(sync=True)
    references: traitlets.List[Any] = traitlets.List().tag(sync=True)
    statistics = traitlets.List([list(pair) for pair in STATISTICS.items()]).tag(sync=True)
    rules = traitlets.List([list(pair) for pair in RULES.items()]).tag(sync=True)

    suspect = traitlets.Unicode().tag(sync=True)
    transcript = traitlets.Unicode().tag(sync=True)
    reference = traitlets.Unicode().tag(sync=True)
    rows = traitlets.Int(ROWS).tag(sync=True)
    statistic = traitlets.Enum(tuple(STATISTICS), "difference").tag(sync=True)
    rule = traitlets.Enum(tuple(RULES), "e").tag(sync=True)
    alpha = traitlets.Float(0.01).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    doubts = traitlets.Dict().tag(sync=True)
    found = traitlets.Dict().tag(sync=True, echo_update=False)
    lines: traitlets.List[Any] = traitlets.List().tag(sync=True)

    _titles: ClassVar[dict[str, str]] = {
        "ProvenanceError": "This test cannot be made",
        "ViewError": "This cannot be asked yet",
    }
    _noun = "The test"
    _begins = "Loading, and scoring the first rows …"
    _fields = ("suspect", "transcript", "reference", "rows", "statistic", "rule", "alpha", "seed")
    _typed = ("suspect", "statistic", "rule")
    _asked_traits = _fields
    _answer_traits = ("found", "lines", "doubts", "status", "progress")

    def _waits(self) -> bool:
        return self._planted and self._asked == 0

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return fields["suspect"] in self._given["suspects"] and super()._can_ask(fields)

    @door(ViewError)
    def __init__(
        self,
        suspects: Mapping[str, Any] | None = None,
        transcripts: Any = None,
        references: Mapping[str, Any] | None = None,
        *,
        rows: Count | None = None,
        rule: str = "e",
        alpha: Share = 0.01,
        statistic: str = "difference",
        seed: Seed = 0,
        resamples: Count = 20_000,
        store: Any = None,
        score_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._planted = suspects is None and transcripts is None
        if self._planted:
            suspects, transcripts, references = planted()
        whole(suspects=suspects, transcripts=transcripts)
        if isinstance(transcripts, provenance.Transcript):
            transcripts = {transcripts.name: transcripts}
        self._given = {
            "suspects": named(suspects, "suspects"),
            "transcripts": named(transcripts, "transcripts"),
            "references": named(references or {}, "references", least=0),
        }
        for name, one in self._given["transcripts"].items():
            if not isinstance(one, provenance.Transcript):
                raise ViewError(
                    f"transcripts: {name!r} is a {type(one).__name__}; expected a lens.provenance.Transcript, such as"
                    " lens.provenance.from_arrays gives"
                )
        self._loaded: dict[str, Any] = {}
        self._doubts: dict[str, list[str]] = {}
        self._hashes: dict[str, str] = {}
        self._runs: dict[tuple, Inquiry] = {}
        self._asked = 0
        self._resamples, self._score_options = resamples, dict(score_options or {})
        self._store = folder_for(self, store, "scores")
        self.unit = "nats per row" if self._score_options.get("reduce") == "sum" else "nats per token"
        first = {name: next(iter(given), "") for name, given in self._given.items()}
        held = len(self._given["transcripts"][first["transcripts"]])
        counts = [counted(len(self._given[name]), name[:-1]) for name in ("suspects", "transcripts", "references")]
        super().__init__(
            model_info={"layers": 0, "text": " · ".join(counts), "unit": self.unit},
            suspects=list(self._given["suspects"]),
            transcripts=[[name, len(one), str(one)] for name, one in self._given["transcripts"].items()],
            references=[[name, work.declared(one)] for name, one in self._given["references"].items()],
            suspect=first["suspects"],
            transcript=first["transcripts"],
            reference=next(
                (name for name, one in self._given["references"].items() if "refused" not in work.declared(one)),
                first["references"],
            ),
            rows=min(ROWS, held) if rows is None else rows,
            rule=rule,
            alpha=alpha,
            statistic=statistic,
            seed=seed,
        )
        self.observe(self._on_transcript, "transcript")
        self.observe(self._on_choice, ["transcript", "reference"])
        self.observe(lambda _: self._refresh_static_soon(), "alpha")
        self.observe(lambda _: self._worker.quick("code", self._refresh_code), list(self._fields))
        self._offer(EXAMPLES if self._planted else ())
        self._on_choice(None)
        self._worker.quick("code", self._refresh_code)

    # --- what Python users call

    @property
    def result(self) -> Any:
        """The `lens.provenance.QueryResult` of the question shown, partial while it runs; None before the first run."""
        return self._shown.dataset if self._shown else None

    @property
    def results(self) -> list[Any]:
        """The result of each line of the table; None where a question could not be tested."""
        return [run.dataset for run in self._runs.values()]

    # --- the question

    def _question(self) -> Inquiry:
        with self._guard:
            question = Question(**{name: getattr(self, name) for name in self._fields})
        self._expect(question)
        if not 0 < question.alpha < 1:
            raise ViewError(f"alpha: {question.alpha:g}; expected a level between 0 and 1, such as 0.01")
        held = len(self._given["transcripts"][question.transcript])
        if not 4 <= question.rows <= held:
            raise ViewError(
                f"rows: {question.rows}; expected a number from 4 to {held}, which is what {question.transcript} has"
            )
        self._references(question.reference)  # one that shares the order is refused before anything is run
        self._asked += 1
        return Inquiry(question, self._ask, number=self._asked)

    def _expect(self, question: Question) -> None:
        """Raises ViewError for a name that was not given."""
        for name, value in (
            ("suspects", question.suspect),
            ("transcripts", question.transcript),
            *((("references", question.reference),) if question.reference else ()),
        ):
            if value not in self._given[name]:
                raise ViewError(f"{name[:-1]}: {value!r} is not one of {', '.join(self._given[name])}")

    def _references(self, name: str) -> list[Any]:
        return work.references_of(self._given["references"][name], name) if name else []

    def _model(self, given: Any, what: str, name: str) -> Any:
        """What was given, loaded where it is a name."""
        if not isinstance(given, str):
            return given
        if given not in self._loaded:
            try:
                self._loaded[given] = lens.load(given)
            except Exception as error:
                raise ViewError(f"{what} {name!r}: {error}") from error
        return self._loaded[given]

    def _ask(self, question: Question, on_part: Callable[[Any], None], stop: Callable[[], bool]) -> Any:
        references = [
            provenance.Reference(self._model(one.model, "reference", one.name), one.shares_order, one.name)
            for one in self._references(question.reference)
        ]
        return provenance.query(
            self._model(self._given["suspects"][question.suspect], "suspect", question.suspect),
            self._given["transcripts"][question.transcript],
            reference=references or None,
            on_part=on_part,
            stop=stop,
            store=self._store,
            score_options=self._score_options or None,
            ledger=False,  # the table below counts every question and corrects for all
            **question.options(self._resamples),
        )

    def _compute(self, run: Inquiry, stop: Callable[[], bool], on_part: Callable[[Any], None]) -> Any:
        return work.renamed(
            run.ask(run.question, lambda part: on_part(work.renamed(part, run.question.suspect)), stop),
            run.question.suspect,
        )

    def _publish_run(self, run: Inquiry) -> None:
        self.publish(found=payload(run, self.unit))

    def _ended(self, run: Inquiry) -> None:
        """Every question that was begun is a look: also one that was replaced or that failed."""
        if run.status == "error":
            run.error = self.error.get("text", "") or "the run failed"
        self._runs.pop(run.question.line(), None)
        self._runs[run.question.line()] = run
        self.publish(lines=compared(list(self._runs.values())))

    def _progress(self, run: Inquiry) -> dict[str, Any]:
        asked, total = run.asked, run.question.rows
        text = f"{asked:,} of {total:,} rows, {run.seconds:.1f} s"
        if run.status == "complete":
            text = (
                f"e reached {1 / run.question.alpha:g} after {text}"
                if run.dataset.status == "stopped"
                else f"all {total:,} rows asked, {run.seconds:.1f} s"
            )
        elif run.status == "stopped":
            text = f"stopped by hand after {text}"
        return {"done": asked, "total": total, "text": text}

    def _title(self, error: BaseException) -> str:
        if "shares_order=True" in str(error):
            return "Refused: this reference shares the order. Nothing was run"
        return super()._title(error)

    # --- before anything is run

    def _on_transcript(self, _change: Any) -> None:
        held = len(self._given["transcripts"].get(self.transcript, ()))
        if held and self.rows > held:
            self.publish(rows=held)

    def _on_choice(self, _change: Any) -> None:
        self._worker.quick("doubts", self._check)

    def _check(self) -> None:
        """What speaks against transcript and reference; no model is asked."""
        with self._guard:
            transcript, reference = self.transcript, self.reference
        self.publish(doubts=doubts(transcript, reference, self._given, self._doubts))

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {
            "show": self._on_show,
            "document": self._on_document,
        }

    def _on_show(self, message: dict) -> None:
        """Show an earlier question of the table again."""
        run = next((run for run in self._runs.values() if run.number == message.get("number")), None)
        if run is not None and run.dataset is not None and self.status not in ("running", "stopping"):
            self.publish(error={}, saved={})
            self._show(run, progress=self._progress(run))
            self._refresh_static()

    # --- what a saved state keeps of the questions: Holm's correction is over all of them

    def _runs_to_keep(self) -> list[Inquiry]:
        return list(self._runs.values())

    def _pack(self, run: Inquiry) -> dict[str, Any]:
        return saved.pack(run) | {"order": self._order(run.question.transcript)}

    def _unpack(self, packed: dict[str, Any]) -> Inquiry:
        run = saved.unpack(packed, self._ask)
        self._expect(run.question)
        if packed["order"] != self._order(run.question.transcript):
            raise ViewError(
                f"transcripts: {run.question.transcript!r} is another order than the state's; give that one, or"
                " any_weights=True to take the question without the answers"
            )
        self._asked = max(self._asked, run.number)
        self._runs[run.question.line()] = run
        return run

    def _order(self, transcript: str) -> str:
        """The hash of a transcript, taken once."""
        if transcript not in self._hashes:
            self._hashes[transcript] = self._given["transcripts"][transcript].sha256()
        return self._hashes[transcript]

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        with self._guard:
            question = (
                self._shown.question
                if self._shown
                else Question(**{name: getattr(self, name) for name in self._fields})
            )
        try:
            suspect, transcript = (
                self._given["suspects"][question.suspect],
                self._given["transcripts"][question.transcript],
            )
            reference = self._given["references"][question.reference] if question.reference else None
            stopped = (
                self._shown is not None
                and self._shown.dataset is not None
                and self._shown.dataset.status == "interrupted"
            )
            batches = -(-self._shown.asked // question.batch()) if stopped else None
            code = copy.program(
                question,
                suspect,
                reference,
                f"{transcript}",
                self._order(question.transcript),
                question.options(self._resamples),
                {"score_options": self._score_options},
                batches,
                *((SOURCE,) if self._planted else ()),
            )
        except (KeyError, ZeroDivisionError):  # half-typed fields: there is no program to show
            code = ""
        self.publish(code=code)

    def _static(self) -> str:
        return copy.static(self._shown, self.lines, self.alpha, self.unit, EMPTY)
