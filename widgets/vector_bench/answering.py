"""What the validation prompts are answered with, and the report on the test split."""

from __future__ import annotations

import warnings
from typing import Any

import traitlets
import xarray as xr

from widgets.base import text
from widgets.errors import ViewError
from widgets.vector_bench import work
from widgets.vector_bench.asking import TaskView
from widgets.vector_bench.tools import Vectors
from widgets.vector_bench.work import HeadSearch, Setting

SAMPLES = 6  # prompts whose answers are shown
COMPLETED = 3  # of them, continued by several tokens
NEW_TOKENS = 6


class AnswerView(TaskView):
    """A task whose validation prompts are read at once with the vector that the fields show."""

    live = traitlets.Dict().tag(sync=True)
    samples = traitlets.Dict().tag(sync=True)
    report = traitlets.Dict().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._prepared: dict[tuple, Any] = {}
        self._vectors = Vectors(self._tools, self._model)
        self._said: dict[tuple, str] = {}
        self._answered: tuple | None = None
        self._asked = 0
        self._looks: dict[tuple, int] = {}
        self._tests: dict[str, xr.Dataset] = {}
        super().__init__(**traits)

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

    def _answers(self, setting: Setting, run: HeadSearch | None, heads: tuple) -> dict[str, Any]:
        task, _ = self._task_of(setting.ask)
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

    def _say(self, setting: Setting, run: HeadSearch | None, heads: tuple, mine: int) -> None:
        """Continue a few prompts; ends where a newer question waits."""
        stopped = lambda: self._asked != mine  # noqa: E731
        try:
            task, _ = self._task_of(setting.ask)
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
            task, _ = self._task_of(setting.ask)
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
