"""Faithfulness of the circuits of a run: computed on a button, watched and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import traitlets
import xarray as xr

from lens.arguments import door
from widgets.base.sweep import SweepView
from widgets.circuit_view import work
from widgets.circuit_view.work import Search
from widgets.errors import ViewError

#: Seconds between two messages of how far it is.
TELL_SECONDS = 0.2
FIRST = "faithfulness: no edge has a score yet; run first"


class JudgedView(SweepView):
    """A view whose run can be judged. A subclass has `model` and `_faithfulness`."""

    curve = traitlets.Dict({"status": "idle"}).tag(sync=True, echo_update=False)

    model: Any
    _faithfulness: Callable[..., xr.Dataset]
    _judged: xr.Dataset | None = None
    _judging: threading.Event | None = None

    @property
    def faithfulness(self) -> xr.Dataset | None:
        """The Dataset of the curve shown; None before there is one."""
        return self._judged

    @door(ViewError)
    def judge(self, wait: bool = False) -> None:
        """Compute how faithful the circuits of the scores shown are, by size, on the held-out pairs."""
        self.stop_judging()
        run = self._shown
        if run is None or run.dataset is None:
            self.publish(curve={"status": "error", "text": FIRST})
            return
        stopped = self._judging = threading.Event()
        self.publish(curve={"status": "running", "text": "beginning …"})
        self._worker.long(lambda: self._judge(run, stopped))
        if wait:
            try:
                self.wait()
            except KeyboardInterrupt:
                self.stop_judging()
                self.wait()
                raise

    def stop_judging(self) -> None:
        """End it after the circuit in progress. A part of its circuits is no curve, so that none is shown."""
        if self._judging is not None and not self._judging.is_set():
            self._judging.set()
            if self.curve.get("status") == "running":
                self.publish(curve=dict(self.curve) | {"status": "stopping"})

    def _judge(self, run: Search, stopped: threading.Event) -> None:
        began, told, done = time.monotonic(), 0.0, 0

        def asked_to_stop() -> bool:
            nonlocal done, told
            self._worker.pause()
            now = time.monotonic()
            if now - told > TELL_SECONDS and not stopped.is_set():
                told = now
                self.publish(curve={"status": "running", "text": f"{done} circuits run, {now - began:.1f} s"})
            done += 1
            return stopped.is_set()

        def answer() -> dict[str, Any]:
            if stopped.is_set():
                return {"status": "stopped", "text": "stopped before its first circuit"}
            try:
                found = self._faithfulness(
                    self.model,
                    run.held_out or run.pairs,
                    run.dataset,
                    metric=run.metric,
                    ablation=run.ablation,
                    progress=False,
                    stop=asked_to_stop,
                )
                shown = {} if stopped.is_set() else work.curve_of(found)
            except BaseException as error:  # the curve's place is where the person looks
                return {"status": "error", "text": str(error) or type(error).__name__}
            if stopped.is_set():
                return {"status": "stopped", "text": f"stopped after {max(0, done - 1)} circuits; a curve needs all"}
            self._judged = found
            seconds = f"{done} circuits in {time.monotonic() - began:.1f} s"
            return {"status": "complete", "text": seconds} | shown

        said = answer()
        if self._judging is stopped and self._shown is run:
            stopped.set()
            self.publish(curve=said)
            self._moved()
        elif self._judging is stopped:
            self.publish(curve={"status": "idle"})
