"""VectorBench: what a few demonstrations tell a model to do, found in its heads, added up to a vector, and put back by
hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import traitlets
import xarray as xr

import lens
from lens.arguments import Count, FilePath, HFModel, Index, Real, Seed, Size, door
from lens.engine.stopping import Stopped
from lens.files import expanded
from widgets.base import tables
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.errors import ViewError
from widgets.vector_bench import copy, saved, work
from widgets.vector_bench.answering import AnswerView
from widgets.vector_bench.examples import examples
from widgets.vector_bench.tools import Tools
from widgets.vector_bench.work import OWN, SIDES, HeadSearch

EMPTY = "No heads had been looked for when this notebook was stored."


class VectorBench(AnswerView):
    """Choose or type a task, find the heads that carry it, and watch what their vector does to bare prompts.

    The traits are the state that Python and the browser share:

    - the task: `task` (a name of `tasks`, or "own pairs"), `pairs` (rows of input and output), `template` (a name of
      `templates`), `shots`, `seed`, and for the search `trials` (prompts whose heads are replaced) and `mean_prompts`
      (prompts over which the means are taken);
    - the vector: `k` (the strongest heads), or `by_hand` and `heads`; `layer`, `strength`; `queries` (validation
      prompts read live);
    - the answers: `table` (splits, notes and faults of the pairs), `map` (mean effect of every head), `live` (accuracy
      and next tokens on validation prompts without and with the vector), `samples` (continuations), `report` (the test
      split beside a random vector), `status`, `progress`, `error`, `code`, `saved`.

    `task` is a name, a `lens.vectors.Task`, or pairs; `after` a fine-tuned copy of `model`: the same heads and the same
    vector in both. `run()` finds the heads, `stop()` ends the search, `test()` reads the test split, `result` gives the
    effects and `tested` the test's Dataset, `vector` the vector shown; `wait()` blocks until everything asked for is
    there. Without a task it opens on one that ships, with `strength` 2 in the middle of the model; with one, `layer` is
    about a third of the depth and `strength` 1 where they are not given. Raises ViewError on an unknown task or
    template, a layer out of range, two models of different shapes.
    """

    _esm = script("vector_bench")
    _css = style("vector_bench")

    holds = traitlets.Enum(("heads", "test"), "heads").tag(sync=True)

    map = traitlets.Dict().tag(sync=True, echo_update=False)

    _titles: ClassVar[dict[str, str]] = {
        "VectorError": "This task cannot be used so",
        "ViewError": "This cannot be asked yet",
    }
    _noun = "The search"
    _begins = "Mean head outputs over prompts with demonstrations …"
    _fields = (
        "pairs",
        "template",
        "shots",
        "trials",
        "mean_prompts",
        "seed",
        "k",
        "by_hand",
        "heads",
        "layer",
        "strength",
        "queries",
        "holds",
    )
    _typed = ("task", "pairs")
    _asked_traits = ("task", *_fields)
    _answer_traits = ("map", "live", "samples", "report", "status", "progress")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self._take(fields["task"] if fields["task"] != OWN else fields["pairs"])
        if self._placed:  # a place that was asked for stays
            self.publish(**{name: value for name, value in fields.items() if name in ("layer", "strength")})

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return fields["task"] in (OWN, *self.tasks) and super()._can_ask(fields)

    def _waits(self) -> bool:
        return self._unasked and self.status == "idle"

    @door(ViewError)
    def __init__(
        self,
        model: HFModel,
        task: Any = None,
        *,
        after: HFModel | None = None,
        template: str = "qa",
        shots: Size = 10,
        k: Count = 10,
        layer: Index | None = None,
        strength: Real | None = None,
        trials: Count = 20,
        mean_prompts: Count = 50,
        queries: Count = 16,
        seed: Seed = 0,
        _tools: Any = None,
    ) -> None:
        info = describe_model(model)
        self.model, self.after, self._tools = model, after, _tools or Tools()
        other = describe_model(after) if after is not None else {}
        if other and (other["layers"], other["heads"]) != (info["layers"], info["heads"]):
            raise ViewError(
                f"after: has {other['layers']} layers of {other['heads']} heads, model has {info['layers']} of"
                f" {info['heads']}; give a fine-tuned copy of the same model"
            )
        templates = self._tools.templates()
        if template not in templates:
            raise ViewError(f"template: {template!r} is not one of {', '.join(templates)}")
        if layer is not None and info["layers"] and not 0 <= layer < info["layers"]:
            raise ViewError(
                f"layer: {layer} is out of range for {info['name']}, which has {info['layers']} of them (0 to"
                f" {info['layers'] - 1})"
            )
        same = other.get("name") == info["name"]
        super().__init__(
            model_info=info,
            after_info=other,
            names=(
                {
                    "before": info["name"] + " (before)" * bool(same),
                    "after": other.get("name", "") + " (after)" * bool(same),
                }
                if other
                else {"before": info["name"]}
            ),
            tasks=self._tools.names(),
            templates=templates,
            template=template,
            shots=shots,
            k=k,
            trials=trials,
            mean_prompts=mean_prompts,
            queries=queries,
            seed=seed,
            layer=round(0.3 * (info["layers"] - 1)) if layer is None else layer,
            strength=1.0 if strength is None else strength,
        )
        self._placed = layer is None and strength is None
        opening = examples(self.tasks, info["layers"])
        self._take(opening[0].fields["task"] if task is None and opening else task)
        self.observe(self._on_pairs, "pairs")
        self.observe(self._on_table, ["pairs", "task", "template", "shots", "seed"])
        self.observe(
            self._on_setting,
            ["pairs", "task", "template", "seed", "k", "by_hand", "heads", "layer", "strength", "queries"],
        )
        self._on_table(None)
        self._on_setting(None)
        self._unasked = task is None
        self._offer(opening)
        if _tools is None:
            self._worker.quick("hash", self._hash)

    # --- what Python users call

    @property
    def tested(self) -> xr.Dataset | None:
        """What `lens.vectors.evaluate` gave on the test split, both models' along an axis `side`; None before
        `test()`.
        """
        return work.joined([self._tests[s] for s in SIDES if s in self._tests], True) if self._tests else None

    @property
    def vector(self) -> Any:
        """The `lens.vectors.Vector` of the chosen heads in the first model; None before any heads were found."""
        run, heads = self._shown, self._chosen(self._now())
        return self._vectors.of(run, "before", heads) if run is not None and heads and "before" in run.means else None

    @door(ViewError)
    def test(self, wait: bool = False) -> None:
        """Read the test split with the vector, layer and strength that the fields show, beside a random vector of equal
        norm.
        """
        setting = self._now()
        self.publish(
            report={"status": "running", "what": work.vector_text(setting, self._chosen(setting), self._shown)}
        )
        self._worker.quick("test", lambda: self._test(setting))
        if wait:
            self.wait()

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write what `holds` names, the heads' effects or the test: .zarr opens with `lens.open`; .nc, .csv and
        .parquet are exports. Returns the path.
        """
        if self.holds == "heads":
            return super().save(path, overwrite=overwrite)
        if self.tested is None:
            raise ViewError("save: the test split has not been read yet; press “Report on test” first")
        target = expanded(path)
        (lens.save if target.suffix == ".zarr" else lens.export)(self.tested, target, overwrite=overwrite)
        return target

    # --- the heads

    def _question(self) -> HeadSearch:
        with self._guard:
            rows, ask = list(self.pairs), self._ask()
        if wrong := work.read_pairs(rows)[1]:
            raise ViewError("\n".join(w["text"] for w in wrong[:5]))
        if not ask.pairs:
            raise ViewError("pairs: the table is empty; choose a task or type pairs of an input and an output")
        return HeadSearch(ask, self._task_of(ask)[0], sides=self._sides())

    def _compute(
        self, run: HeadSearch, stop: Callable[[], bool], on_part: Callable[[xr.Dataset], None]
    ) -> xr.Dataset | None:
        whole = None
        for side in run.sides:
            if stop():
                break
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    means = self._tools.means(self._model(side), run.task, run.ask, stop)
            except Stopped:
                break
            run.notes += [f"{self.names[side]}: {note}" for note in work.noted(caught)]
            run.means[side] = means

            def shown(part: xr.Dataset, side: str = side) -> None:
                on_part(run.take(side, part))

            found = self._tools.effects(
                self._model(side),
                run.task,
                run.ask,
                run.means[side],
                stop,
                shown,
            )
            whole = run.take(side, found)
            if (
                tables.read_record(found).get("status") == "complete" and run.ask.trials > 1
            ):  # one prompt has no interval
                run.summaries[side] = self._tools.summary(found)
        return whole

    def _publish_run(self, run: HeadSearch) -> None:
        self.publish(map=work.payload(run, self.names))
        self._on_setting(None)

    def _progress(self, run: HeadSearch) -> dict[str, Any]:
        progress = super()._progress(run)
        if len(run.sides) > 1 and run.status == "running":
            progress["text"] = f"model {len(run.datasets)} of {len(run.sides)}: {progress['text']}"
        return progress

    # --- what a saved state keeps of the heads

    def _pack(self, run: HeadSearch) -> dict[str, Any]:
        return saved.pack(run, self._tests)

    def _unpack(self, packed: dict[str, Any]) -> HeadSearch:
        run, self._tests = saved.unpack(packed, self._task_of(saved.ask_of(packed))[0])
        return run

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {
            "task": self._on_task,
            "test": lambda _: self.test(),
        }

    def _on_task(self, message: dict) -> None:
        if isinstance(name := message.get("name"), str) and name in self.tasks:
            self._take(name)
        elif message.get("name") == OWN:
            with self._guard:
                self.publish(task=OWN, pairs=[])

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        setting = self._now()
        try:
            ask = self._shown.ask if self._shown is not None else setting.ask
            task = self._shown.task if self._shown is not None else self._task_of(ask)[0]
        except Exception:  # no valid task yet, so there is no program to show
            self.publish(code="")
            return
        tested = (
            self.report.get("seed")
            if self.report.get("status") == "ready" and self.report.get("fields") == setting.fields()
            else None
        )
        self.publish(
            code=copy.program(
                self.model_info,
                self.after_info or None,
                setting,
                self._chosen(setting),
                self._shown,
                task,
                self._is_given(ask),
                tested,
            )
        )

    def _static(self) -> str:
        return copy.static(self.names, self.live, self._shown, self.report, EMPTY)
