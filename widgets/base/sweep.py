"""A view whose answer is a sweep: started, watched, stopped, saved."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import traitlets
import xarray as xr

import lens
from lens.arguments import FilePath, door
from lens.files import expanded
from widgets.base import state
from widgets.base.examples import ExampleView
from widgets.errors import ViewError

PART_SECONDS = 0.08  # layers that finish faster than this are shown together
#: What a restored view says where the numbers behind its picture are not at hand.
NOT_HERE = "The picture was restored without the numbers behind it: run again to save them."


class SweepView(ExampleView):
    """A view whose answer is a sweep: started, watched, stopped, saved.

    A subclass gives `_question` (the run that the fields describe), `_compute` (its Dataset), `_publish_run` (its map
    as traits), and may add `_ended`, `_title` and `_refresh_code`; and for a saved state `_runs_to_keep`, `_pack` and
    `_unpack`. A run has `dataset`, `status`, `seconds`, `layers_done()` and `complete()`.
    """

    status = traitlets.Unicode("idle").tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    error = traitlets.Dict().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)
    saved = traitlets.Dict().tag(sync=True)

    _begins = "Both unedited runs …"
    #: what is said of errors, by their name; and what fails otherwise
    _titles: ClassVar[dict[str, str]] = {}
    _noun = "The sweep"
    #: what `save` says while there is nothing to save, and the endings that it knows
    _unsaved = "save: there is no run to save yet; run a sweep first"
    _endings = ".zarr, .nc, .csv or .parquet"

    def __init__(self, **traits: Any) -> None:
        self._stopped = threading.Event()
        self._shown: Any = None
        super().__init__(**traits)

    @property
    def result(self) -> xr.Dataset | None:
        """The Dataset of the run shown, partial while it runs; None before the first run."""
        return self._shown.dataset if self._shown else None

    @door(ViewError)
    def run(self, wait: bool = False) -> None:
        """Start the sweep that the fields describe; a sweep under way is stopped first.

        `wait` blocks until it has ended; interrupting the kernel then stops the sweep and keeps what is finished.
        """
        self._stopped.set()
        stopped = self._stopped = threading.Event()
        self.publish(
            error={},
            saved={},
            status="running",
            progress={"done": 0, "total": self.model_info["layers"], "text": self._begins},
        )
        try:
            run = self._question()
        except BaseException as error:  # a question that cannot be asked is shown where its fields are
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return
        self._worker.long(lambda: self._sweep(run, stopped))
        if wait:
            try:
                self.wait()
            except KeyboardInterrupt:
                self.stop()
                self.wait()
                raise

    def stop(self) -> None:
        """End the sweep after the layer in progress; what is finished stays."""
        self._stopped.set()
        if self.status == "running":
            self.publish(status="stopping")

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write the run shown: .zarr keeps everything and opens with `lens.open`; .nc, .csv and .parquet are exports.
        Returns the path.

        Raises ViewError before the first run, and what `lens.save` and `lens.export` raise.
        """
        dataset = self._dataset()
        if dataset is None:
            raise ViewError(self._unsaved)
        target = expanded(path)
        (lens.save if target.suffix == ".zarr" else lens.export)(dataset, target, overwrite=overwrite)
        return target

    def _dataset(self) -> xr.Dataset | None:
        """What `save` writes; None while there is nothing."""
        return self.result

    def _part_seconds(self) -> float:
        return PART_SECONDS

    def _sweep(self, run: Any, stopped: threading.Event) -> None:
        if stopped.is_set() and self._stopped is not stopped:
            return  # a newer run replaced this one before it began
        started, shown_at = time.monotonic(), 0.0

        def asked_to_stop() -> bool:
            self._worker.pause()
            return stopped.is_set()

        def on_part(part: xr.Dataset | None) -> None:
            nonlocal shown_at
            run.dataset, run.seconds = part, time.monotonic() - started
            if self._stopped is stopped and time.monotonic() - shown_at > self._part_seconds():
                self._show(run, progress=self._progress(run))
                shown_at = time.monotonic()

        try:
            run.dataset = self._compute(run, asked_to_stop, on_part)
            run.seconds = time.monotonic() - started
            run.status = "complete" if run.complete() else "stopped"
        except BaseException as error:
            # stopped while it waited for another thread's computation with the model
            waited = stopped.is_set() and isinstance(error, lens.ChangeError)
            run.seconds, run.status = time.monotonic() - started, "stopped" if waited else "error"
            if self._stopped is stopped and not waited:
                self._fail(error)
        if self._stopped is stopped and run.dataset is not None:
            self._show(run, progress=self._progress(run))
        elif self._stopped is stopped and run.status == "stopped":
            self.publish(progress=self._progress(run))
        self._ended(run)
        if self._stopped is stopped:
            self.publish(status=run.status)
            self._refresh_static()

    def _ended(self, run: Any) -> None:
        """Called once a sweep is over, complete or not, also for one that a newer run replaced."""

    def _progress(self, run: Any) -> dict[str, Any]:
        done, total = (
            run.layers_done(),
            self.model_info["layers"] or (len(run.dataset["layer"]) if run.dataset is not None else 0),
        )
        if run.status == "complete":
            text = f"{total} layers in {run.seconds:.1f} s"
        else:
            span = f"layers {min(done)}–{max(done)} of {total}" if done else f"no layer of {total}"
            text = f"{'stopped: ' if run.status == 'stopped' else ''}{span}, {run.seconds:.1f} s"
        return {"done": total if run.status == "complete" else len(done), "total": total, "text": text}

    def _show(self, run: Any, progress: dict[str, Any] | None = None) -> None:
        self._shown = run
        self._publish_run(run)
        if progress:
            self.publish(progress=progress)
        self._refresh_code()

    def _fail(self, error: BaseException) -> None:
        self.publish(
            error={"title": self._title(error), "text": str(error) or type(error).__name__}, status="error", progress={}
        )

    def _broke(self, error: BaseException) -> None:
        if self.status in ("running", "stopping"):
            self._fail(error)

    def _title(self, error: BaseException) -> str:
        name = type(error).__name__
        if title := self._titles.get(name):
            return title
        if isinstance(error, lens.ChangeError):
            return "The model is in use, or was changed meanwhile"
        return "Out of memory" if name == "OutOfMemoryError" else f"{self._noun} failed ({name})"

    # --- what a saved state keeps of the runs

    def _runs_to_keep(self) -> list[Any]:
        """Runs whose results a state keeps."""
        return [] if self._shown is None or self._shown.dataset is None else [self._shown]

    def _pack(self, run: Any) -> dict[str, Any]:
        """A run in what JSON can hold."""
        raise NotImplementedError

    def _unpack(self, packed: dict[str, Any]) -> Any:
        """The run that `_pack` was given, among the view's own. Raises ViewError where the view is of another set."""
        raise NotImplementedError

    def _more_state(self) -> dict[str, Any]:
        runs = self._runs_to_keep()
        return {
            "results": [state.deposit(self._pack(run)) for run in runs],
            "shown": next((i for i, run in enumerate(runs) if run is self._shown), None),
        }

    def _take_more(self, more: dict[str, Any]) -> None:
        for i, part in enumerate(more.get("results", ())):
            if (packed := state.withdraw(part)) is not None:
                run = self._unpack(packed)
                if i == more.get("shown"):
                    self._show(run, progress=self._progress(run))

    def _take_state(self, saved: dict[str, Any]) -> None:
        super()._take_state(saved)
        shown = saved["answers"].get("status") in ("complete", "stopped")
        if shown and self.result is None:  # said where the person looks for what was computed
            self.publish(progress=dict(self.progress) | {"text": NOT_HERE})
        self._refresh_code()

    def _refresh_code(self) -> None:
        """Write the Python that reproduces the view into `code`."""

    def _moved(self) -> None:
        """The person looks elsewhere: code and stored copy follow."""
        self._worker.quick("code", self._refresh_code)
        self._refresh_static_soon()

    def _hash(self) -> None:
        """Hash the weights now: every result carries the hash, and the first run shows its first layers sooner."""
        with contextlib.suppress(Exception):  # a model that cannot be hashed is reported by the run itself
            lens.models.weight_hash(self.model)

    def _commands(self) -> dict[str, Any]:
        return {
            "move": lambda _: None,  # the fields that come with it are all
            "run": lambda _: self.run(),
            "stop": lambda _: self.stop(),
            "save": self._on_save,
        }

    def _on_save(self, message: dict) -> None:
        try:
            path = str(message.get("path", "")).strip()
            if not path:
                raise ViewError(f"path: is empty; name a file that ends in {self._endings}")
            self.publish(
                saved={
                    "ok": True,
                    "text": f"Saved as {self.save(path, overwrite=bool(message.get('overwrite'))).resolve()}",
                }
            )
        except Exception as error:  # the text field is where the person looks
            self.publish(saved={"ok": False, "text": str(error) or type(error).__name__})
