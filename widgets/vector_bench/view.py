"""VectorBench: what a few demonstrations tell a model to do, found in its heads, added up to a vector, and put back by
hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import traitlets
import xarray as xr

import lens
from lens.arguments import Count, FilePath, HFModel, Index, Real, Seed, Size, door
from lens.engine.stopping import Stopped
from lens.files import expanded
from widgets.base import tables, text
from widgets.base.assets import script, style
from widgets.base.examples import Example
from widgets.base.model_line import describe_model
from widgets.base.sweep import SweepView
from widgets.errors import ViewError
from widgets.vector_bench import copy, work
from widgets.vector_bench.tools import Tools, Vectors
from widgets.vector_bench.work import OWN, SIDES, Ask, Run, Setting

EMPTY = "No heads had been looked for when this notebook was stored."
SAMPLES = 6  # prompts whose answers are shown
COMPLETED = 3  # of them, continued by several tokens
NEW_TOKENS = 6
EXAMPLES = 5  # tasks that the menu offers first


class VectorBench(SweepView):
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
    there. Raises ViewError on an unknown task or template, a layer out of range, two models of different shapes.
    """

    _esm = script("vector_bench")
    _css = style("vector_bench")

    tasks: traitlets.List[Any] = traitlets.List().tag(sync=True)
    templates: traitlets.List[Any] = traitlets.List().tag(sync=True)
    after_info = traitlets.Dict().tag(sync=True)
    names = traitlets.Dict().tag(sync=True)

    task = traitlets.Unicode(OWN).tag(sync=True)
    pairs: traitlets.List[Any] = traitlets.List().tag(sync=True)
    template = traitlets.Unicode("qa").tag(sync=True)
    shots = traitlets.Int(10).tag(sync=True)
    trials = traitlets.Int(20).tag(sync=True)
    mean_prompts = traitlets.Int(50).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    k = traitlets.Int(10).tag(sync=True)
    by_hand = traitlets.Bool(False).tag(sync=True)
    heads: traitlets.List[Any] = traitlets.List().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    strength = traitlets.Float(1.0).tag(sync=True)
    queries = traitlets.Int(16).tag(sync=True)
    holds = traitlets.Enum(("heads", "test"), "heads").tag(sync=True)

    table = traitlets.Dict().tag(sync=True)
    map = traitlets.Dict().tag(sync=True, echo_update=False)
    live = traitlets.Dict().tag(sync=True)
    samples = traitlets.Dict().tag(sync=True)
    report = traitlets.Dict().tag(sync=True)

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
        strength: Real = 1.0,
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
        self._given: Any = None
        self._loaded: dict[tuple, tuple[Any, list[str]]] = {}
        self._prepared: dict[tuple, Any] = {}
        self._vectors = Vectors(self._tools, self._model)
        self._said: dict[tuple, str] = {}
        self._answered: tuple | None = None
        self._asked = 0
        self._looks: dict[tuple, int] = {}
        self._tests: dict[str, xr.Dataset] = {}
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
            strength=strength,
        )
        self._take(task)
        self.observe(self._on_pairs, "pairs")
        self.observe(self._on_table, ["pairs", "task", "template", "shots", "seed"])
        self.observe(
            self._on_setting,
            ["pairs", "task", "template", "seed", "k", "by_hand", "heads", "layer", "strength", "queries"],
        )
        self._on_table(None)
        self._on_setting(None)
        self._unasked = task is None
        self._offer(Example(name.replace("_", " "), {"task": name}) for name in self.tasks[:EXAMPLES])
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

    # --- the task

    def _sides(self) -> tuple[str, ...]:
        return SIDES if self.after is not None else SIDES[:1]

    def _model(self, side: str) -> Any:
        return self.model if side == "before" else self.after

    def _take(self, task: Any) -> None:
        """Fill the table from a name, a Task or pairs."""
        if task is None:
            task = self.tasks[0] if self.tasks else []
        if isinstance(task, str):
            made, name = self._tools.load(task), task
        elif hasattr(task, "train"):
            made, name, self._given = task, OWN, task
        else:
            made, name = None, OWN
        with self._guard:
            self.publish(pairs=[list(p) for p in (made.pairs if made is not None else task)], task=name)

    def _ask(self) -> Ask:
        pairs, _ = work.read_pairs(self.pairs)
        return Ask(self.task, pairs, self.template, self.shots, self.trials, self.mean_prompts, self.seed)

    def _now(self) -> Setting:
        with self._guard:
            return Setting(
                self._ask(), self.k, self.by_hand, self._heads_given(), self.layer, self.strength, max(1, self.queries)
            )

    def _heads_given(self) -> tuple[tuple[int, int], ...]:
        """The heads chosen by hand that the model has, each once."""
        layers, heads = self.model_info["layers"], self.model_info["heads"]
        whole = [
            tuple(h)
            for h in self.heads
            if isinstance(h, (list, tuple)) and len(h) == 2 and all(isinstance(x, int) for x in h)
        ]
        return tuple(dict.fromkeys(h for h in whole if 0 <= h[0] < layers and 0 <= h[1] < heads))

    def _is_given(self, ask: Ask) -> bool:
        return ask.task == OWN and self._given is not None and ask.pairs == tuple(tuple(p) for p in self._given.pairs)

    def _made(self, ask: Ask) -> tuple[Any, list[str]]:
        """The Task, and what was warned of while it was made. Raises VectorError."""
        key = ask.of_task()
        if key not in self._loaded:
            if len(self._loaded) > 8:
                self._loaded.clear()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                task = (
                    self._given
                    if self._is_given(ask)
                    else (
                        self._tools.load(ask.task, ask.seed)
                        if ask.task != OWN
                        else self._tools.own(ask.pairs, ask.seed)
                    )
                )
            self._loaded[key] = (task, work.noted(caught))
        return self._loaded[key]

    def _on_pairs(self, _change: Any) -> None:
        if self.task != OWN and (ask := self._ask()) is not None and ask.pairs != self._named_pairs(self.task):
            self.task = OWN

    def _named_pairs(self, name: str) -> tuple:
        return tuple(tuple(p) for p in self._tools.load(name, self.seed).pairs)

    def _on_table(self, _change: Any) -> None:
        self._worker.quick("table", self._check)

    def _check(self) -> None:
        with self._guard:
            rows, ask = list(self.pairs), self._ask()
        self.publish(
            table=work.checked(
                rows, ask.shots, lambda: self._made(ask), lambda task: self._tools.shared(self.model, task, ask)
            )
        )

    # --- the vector on validation prompts, at once

    def _on_setting(self, _change: Any) -> None:
        self._asked += 1
        if not self.live.get("sides"):
            self.publish(live={"status": "running", "text": "Reading the validation prompts …"})
        self._refresh_code()
        self._worker.quick("live", self._read)

    def _chosen(self, setting: Setting) -> tuple[tuple[int, int], ...]:
        return setting.heads if setting.by_hand else self._shown.top(setting.k) if self._shown is not None else ()

    def _read(self) -> None:
        setting, mine, run = self._now(), self._asked, self._shown
        heads = self._chosen(setting)
        key = (setting, heads, id(run), len(run.means) if run else 0)
        if key == self._answered:
            return  # several changes that came together are one question
        self._answered = key
        base = {
            "fields": setting.fields(),
            "heads": [list(h) for h in heads],
            "what": work.vector_text(setting, heads, run),
        }
        if not setting.ask.pairs:
            self.publish(
                live=base
                | {
                    "status": "empty",
                    "text": "Choose a task, or type its pairs: the model is asked without any demonstration.",
                },
                samples={},
            )
            return
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                data = self._answers(setting, run, heads)
            data = base | data | {"status": "ready", "warning": " ".join(work.noted(caught))}
        except BaseException as error:  # half-typed fields are the normal case here
            data = base | {"status": "error", "title": self._title(error), "text": str(error) or type(error).__name__}
        self.publish(live=data)
        self._refresh_static_soon()
        if data["status"] == "ready":
            self._worker.quick("samples", lambda: self._say(setting, run, heads, mine))

    def _answers(self, setting: Setting, run: Run | None, heads: tuple) -> dict[str, Any]:
        task, _ = self._made(setting.ask)
        found = self._vectors.of(run, "before", heads) if run is not None and heads and "before" in run.means else None
        data: dict[str, Any] = {
            "sides": [],
            "items": [],
            "text": (
                ""
                if found is not None
                else (
                    "Find heads to make a vector; until then the model is read without one."
                    if run is None
                    else "Choose at least one head."
                )
            ),
        }
        for side in self._sides():
            prepared, before = self._prompts(side, task, setting)
            after = (
                self._tools.read(self._model(side), prepared, found, setting.layer, setting.strength)
                if found is not None
                else None
            )
            data["sides"].append(
                {
                    "side": side,
                    "base": work.share(before.correct),
                    "with": work.share(after.correct) if after else None,
                    "prob": [float(before.prob.mean()), float(after.prob.mean()) if after else None],
                }
            )
            for i, p in enumerate(prepared.prompts[:SAMPLES]):
                if side == "before":
                    data["items"].append({"x": p.x, "y": p.y, "sides": []})
                data["items"][i]["sides"].append(
                    {
                        "base": [before.top[i], bool(before.correct[i])],
                        "with": [after.top[i], bool(after.correct[i])] if after else None,
                    }
                )
        if run is not None and found is not None:
            about = self._vectors.about(run, heads)
            data |= {"norm": text.finite(found.norm), "decoded": about["decoded"], "cosine": about.get("cosine")}
        return data

    def _prompts(self, side: str, task: Any, setting: Setting) -> tuple[Any, Any]:
        """The validation prompts, run once without any vector, and what they are answered with."""
        key = (side, setting.ask.of_task(), setting.ask.template, setting.queries)
        if key not in self._prepared:
            if len(self._prepared) > 8:
                self._prepared.clear()
            prepared = self._tools.prepare(self._model(side), task, setting.ask, setting.queries)
            self._prepared[key] = (prepared, self._tools.read(self._model(side), prepared))
        return self._prepared[key]

    def _say(self, setting: Setting, run: Run | None, heads: tuple, mine: int) -> None:
        """Continue a few prompts; ends where a newer question waits."""
        stopped = lambda: self._asked != mine  # noqa: E731
        try:
            task, _ = self._made(setting.ask)
            vector = (
                self._vectors.of(run, "before", heads) if run is not None and heads and "before" in run.means else None
            )
            rows: list[dict[str, Any]] = []
            for i in range(COMPLETED):
                row: dict[str, Any] = {"sides": []}
                for side in self._sides():
                    prompts = self._prompts(side, task, setting)[0].prompts
                    if i >= len(prompts):
                        continue
                    key = (side, prompts[i].text)
                    if key not in self._said:
                        self._said[key] = self._tools.complete(
                            self._model(side), prompts[i], None, 0, 1.0, NEW_TOKENS, stopped
                        )
                        if stopped():
                            self._said.pop(key)
                            return
                    row["sides"].append(
                        {
                            "base": self._said[key],
                            "with": (
                                self._tools.complete(
                                    self._model(side),
                                    prompts[i],
                                    vector,
                                    setting.layer,
                                    setting.strength,
                                    NEW_TOKENS,
                                    stopped,
                                )
                                if vector is not None
                                else None
                            ),
                        }
                    )
                    if stopped():
                        return
                if row["sides"]:
                    rows.append(row)
            self.publish(samples={"fields": setting.fields(), "heads": [list(h) for h in heads], "rows": rows})
        except BaseException as error:
            self.publish(samples={"fields": setting.fields(), "rows": [], "text": str(error) or type(error).__name__})

    # --- the test split

    def _test(self, setting: Setting) -> None:
        run, heads = self._shown, self._chosen(setting)
        report: dict[str, Any] = {
            "what": work.vector_text(setting, heads, run),
            "fields": setting.fields(),
            "heads": [list(h) for h in heads],
        }
        try:
            if run is None or not heads or "before" not in run.means:
                raise ViewError("There is no vector yet: find heads, and choose at least one of them.")
            task, _ = self._made(setting.ask)
            vector, rows, found = self._vectors.of(run, "before", heads), [], {}
            for side in self._sides():
                named = {"vector": vector} | (
                    {"its own vector": self._vectors.of(run, "after", heads)}
                    if side == "after" and "after" in run.means
                    else {}
                )
                named |= {work.CONTROL: self._tools.random(vector, setting.ask.seed)} | (
                    {"layer average": self._tools.average(run.means[side])} if side in run.means else {}
                )
                found[side] = self._tools.test(
                    self._model(side), task, named, setting.layer, setting.strength, setting.ask
                )
                rows += [{"side": side} | row for row in work.reported(found[side])]
            looks = self._looks[setting.ask.of_task()] = self._looks.get(setting.ask.of_task(), 0) + 1
            self._tests = found
            self.publish(
                report=report
                | {
                    "status": "ready",
                    "rows": rows,
                    "times": looks,
                    "n": rows[0]["n"],
                    "seed": setting.ask.seed,
                    "p_kinds": work.kinds_of_p(rows),
                }
            )
        except BaseException as error:
            self.publish(
                report=report
                | {
                    "status": "error",
                    "title": self._title(error),
                    "text": str(error) or type(error).__name__,
                }
            )
        self._refresh_code()
        self._refresh_static()

    # --- the heads

    def _question(self) -> Run:
        with self._guard:
            rows, ask = list(self.pairs), self._ask()
        if wrong := work.read_pairs(rows)[1]:
            raise ViewError("\n".join(w["text"] for w in wrong[:5]))
        if not ask.pairs:
            raise ViewError("pairs: the table is empty; choose a task or type pairs of an input and an output")
        return Run(ask, self._made(ask)[0], sides=self._sides())

    def _compute(self, run: Run, stop: Callable[[], bool], on_part: Callable[[xr.Dataset], None]) -> xr.Dataset | None:
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
            if tables.record(found).get("status") == "complete" and run.ask.trials > 1:  # one prompt has no interval
                run.summaries[side] = self._tools.summary(found)
        return whole

    def _publish_run(self, run: Run) -> None:
        self.publish(map=work.payload(run, self.names))
        self._on_setting(None)

    def _progress(self, run: Run) -> dict[str, Any]:
        progress = super()._progress(run)
        if len(run.sides) > 1 and run.status == "running":
            progress["text"] = f"model {len(run.datasets)} of {len(run.sides)}: {progress['text']}"
        return progress

    def _title(self, error: BaseException) -> str:
        titles = {"VectorError": "This task cannot be used so", "ViewError": "This cannot be asked yet"}
        return titles.get(type(error).__name__) or super()._title(error).replace("The sweep", "The search")

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return {
            "move": lambda _: None,
            "run": lambda _: self.run(),
            "stop": lambda _: self.stop(),
            "task": self._on_task,
            "test": lambda _: self.test(),
            "save": self._on_save,
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
            task = self._shown.task if self._shown is not None else self._made(ask)[0]
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
