"""The task and the vector that the fields of VectorBench ask for."""

from __future__ import annotations

import warnings
from typing import Any

import traitlets

from widgets.base.sweep import SweepView
from widgets.vector_bench import work
from widgets.vector_bench.tools import Tools
from widgets.vector_bench.work import OWN, SIDES, Ask, Setting


class TaskView(SweepView):
    """Fields that say a task, its prompts, and a vector; one model, or two of them."""

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
    table = traitlets.Dict().tag(sync=True)

    model: Any
    after: Any
    _tools: Tools

    def __init__(self, **traits: Any) -> None:
        self._given: Any = None
        self._loaded: dict[tuple, tuple[Any, list[str]]] = {}
        super().__init__(**traits)

    def _sides(self) -> tuple[str, ...]:
        return SIDES if self.after is not None else SIDES[:1]

    def _model(self, side: str) -> Any:
        return self.model if side == "before" else self.after

    def _take(self, task: Any) -> None:
        """Fill the table from a name, a Task or pairs."""
        if task is None:
            task = self.tasks[0] if self.tasks else []
        if isinstance(task, str):
            whole, name = self._tools.load(task), task
        elif hasattr(task, "train"):
            whole, name, self._given = task, OWN, task
        else:
            whole, name = None, OWN
        with self._guard:
            self.publish(pairs=[list(p) for p in (whole.pairs if whole is not None else task)], task=name)

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

    def _task_of(self, ask: Ask) -> tuple[Any, list[str]]:
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
                rows, ask.shots, lambda: self._task_of(ask), lambda task: self._tools.shared(self.model, task, ask)
            )
        )
