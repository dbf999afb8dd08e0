"""The chosen cell of a patching map, what the model predicts under its edit, and the cells that are pinned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import traitlets

from widgets.base.sweep import SweepView
from widgets.patch_explorer import work
from widgets.patch_explorer.streams import Streams
from widgets.patch_explorer.work import PatchMap


class CellView(SweepView):
    """A map whose cells are explained by running their one edit. A subclass has `_runs` and `_explain`."""

    cell = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    readout = traitlets.Dict().tag(sync=True)
    pins: traitlets.List[Any] = traitlets.List().tag(sync=True)

    model: Any
    _runs: dict[int, PatchMap]
    _explain: Callable[..., Any]
    _pin_numbers: Iterator[int]
    _streams: Streams | None

    def _on_cell(self, _change: Any) -> None:
        cell = dict(self.cell)
        run = self._cell_run(cell)
        if run is None:
            return
        try:
            facts = work.cell_facts(run, cell["layer"], cell["column"])
        except (KeyError, ValueError):
            return
        self.publish(detail=facts | {"status": "running"})
        self._refresh_code()
        self._worker.quick("cell", lambda: self._explain_now(run, facts, cell))

    def _cell_run(self, cell: dict) -> PatchMap | None:
        run = self._runs.get(number_of(cell)) or (
            self._shown if self._shown and self._shown.number == cell.get("run") else None
        )
        return run if run is not None and run.dataset is not None else None

    def _predict(self, run: PatchMap, facts: dict) -> dict[str, Any]:
        cell = self._explain(
            self.model,
            run.pair,
            run.site,
            facts["layer"],
            direction=run.direction,
            metric=run.metric,
            k=10,
            **{run.column: facts["column"]},
        )
        return {
            name: [[str(token), float(p)] for token, p in getattr(cell, name)]
            for name in ("clean", "corrupted", "edited")
        }

    def _explain_now(self, run: PatchMap, facts: dict, cell: dict) -> None:
        try:
            answer = self._predict(run, facts) | {"status": "ready"}
        except BaseException as error:
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        if dict(self.cell) == cell:
            self.publish(detail=facts | answer)
            self._read_out(run, facts, cell)

    def _read_out(self, run: PatchMap, facts: dict, cell: dict) -> None:
        """What a lens and a dictionary say at the cell, once its predictions are there."""
        if self._streams is None:
            return
        where = {name: facts[name] for name in ("run", "layer", "column")}
        self.publish(readout=where | {"status": "running"})
        try:
            answer = self._streams.of(run, facts) | {"status": "ready"}
        except BaseException as error:
            answer = {"status": "error", "text": str(error) or type(error).__name__}
        if dict(self.cell) == cell:
            self.publish(readout=where | answer)

    def _pin(self, message: dict) -> None:
        run = self._cell_run(message)
        if run is None or any(
            (p["run"], p["layer"], p["column"]) == (run.number, message.get("layer"), message.get("column"))
            for p in self.pins
        ):
            return
        try:
            facts = work.cell_facts(run, message["layer"], message["column"]) | {"id": next(self._pin_numbers)}
        except (KeyError, ValueError):
            return
        self.publish(pins=[*self.pins, facts])
        self._worker.quick(f"pin {facts['id']}", lambda: self._fill_pin(run, facts))

    def _fill_pin(self, run: PatchMap, facts: dict) -> None:
        try:
            answer = self._predict(run, facts)
        except BaseException as error:
            answer = {"edited": [], "text": str(error)}
        with self._guard:
            self.pins = [pin | answer if pin["id"] == facts["id"] else pin for pin in self.pins]

    def _unpin(self, message: dict) -> None:
        self.publish(pins=[pin for pin in self.pins if pin["id"] != message.get("id")])


def number_of(message: dict) -> int:
    """The run that a message speaks of; 0, which no run has, for anything that is not a whole number."""
    return number if isinstance(number := message.get("run"), int) else 0
