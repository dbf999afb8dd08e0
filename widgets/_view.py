"""What the views share: safe trait changes from the worker thread and a copy that a stored notebook can show."""

from __future__ import annotations

import contextlib
import html
import math
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import anywidget
import traitlets
import xarray as xr

import lens
from lens.arguments import FilePath, NonNegative, door
from lens.files import expanded
from lens.markup import as_written
from lens.models import name_of
from widgets._worker import Worker
from widgets.errors import ViewError

PART_SECONDS = 0.08  # layers that finish faster than this are shown together
STILL_SECONDS = 1.0  # after so long without a move the stored copy follows


class View(anywidget.AnyWidget):
    """An anywidget whose traits may be changed from its worker thread.

    A change that the browser sends is applied while trait notifications are held back; a change from another thread in
    that moment would be swallowed. One lock round both keeps them apart (ipykernel 7 may handle the browser's messages
    in a subshell thread, too).
    """

    model_info = traitlets.Dict().tag(sync=True)
    static_key = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._guard = threading.RLock()
        self._worker = Worker(f"mnemoscope-{type(self).__name__}", self._broke)
        self._handles: list[Any] = []
        self._timer: threading.Timer | None = None
        super().__init__(static_key=uuid.uuid4().hex, **traits)
        self.on_msg(self._on_message)

    def publish(self, **traits: Any) -> None:
        """Set traits, each as one message, from any thread; the order given is kept."""
        with self._guard:
            for name, value in traits.items():
                setattr(self, name, value)

    def set_state(self, sync_data: dict) -> None:
        with self._guard:
            super().set_state(sync_data)

    @door(ViewError)
    def wait(self, timeout: NonNegative | None = None) -> bool:
        """Block until the computations under way have ended; False when `timeout` seconds passed first."""
        return self._worker.wait(timeout)

    def _broke(self, error: BaseException) -> None:
        """Called with what came through a task of the worker: nothing is left running."""

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Run a command of the browser, `{"type": name, ...}`; anything that is not in `_commands` is ignored."""
        if (
            isinstance(content, dict)
            and isinstance(name := content.get("type"), str)
            and (command := self._commands().get(name)) is not None
        ):
            self._take_fields(content.get("fields"))
            command(content)

    def _take_fields(self, fields: Any) -> None:
        """The fields as the browser shows them, sent along with a command: the front end may still hold back their own
        messages.
        """
        with self._guard:  # whoever reads the fields under the guard sees all of them changed, or none
            for name, value in (fields if isinstance(fields, dict) else {}).items():
                if name in self._fields and getattr(self, name) != value:
                    with contextlib.suppress(
                        traitlets.TraitError
                    ):  # a page can send anything; what a trait refuses is not taken
                        self.publish(**{name: value})

    #: traits that a command may bring with it
    _fields: tuple[str, ...] = ()

    def _commands(self) -> dict[str, Any]:
        return {}

    def _static(self) -> str:
        """HTML for a stored notebook; each view writes its own."""
        return ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.model_info.get('text', '')}; interactive while its kernel runs>"

    def _ipython_display_(self) -> None:
        """Show the live view and, as a second output that a live view hides, a static copy for readers without a
        kernel.

        Stored notebooks keep only what an output holds; a widget's own state would need a script from a CDN. So the
        copy is plain HTML, which forges and nbconvert show.
        """
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        display(data, metadata=metadata, raw=True)
        handle = display(self._static_bundle(), raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def _static_bundle(self) -> dict[str, str]:
        return {
            "text/html": as_written(f'<div class="mnemoscope-static-{self.static_key}">{self._static()}</div>'),
            "text/plain": repr(self),
        }

    def _refresh_static(self) -> None:
        for handle in self._handles:
            with contextlib.suppress(RuntimeError, OSError):  # a closed kernel channel only costs the stored copy
                handle.update(self._static_bundle(), raw=True)

    def _refresh_static_soon(self) -> None:
        """A slider makes many answers; the stored copy follows once it rests."""
        if self._timer is not None:
            self._timer.cancel()
        if self._handles:
            self._timer = threading.Timer(STILL_SECONDS, self._refresh_static)
            self._timer.daemon = True
            self._timer.start()


class SweepView(View):
    """A view whose answer is a sweep: started, watched, stopped, saved.

    A subclass gives `_question` (the run that the fields describe), `_compute` (its Dataset), `_publish_run` (its map
    as traits), and may add `_ended`, `_title` and `_refresh_code`. A run has `dataset`, `status`, `seconds`,
    `layers_done()` and `complete()`.
    """

    status = traitlets.Unicode("idle").tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    error = traitlets.Dict().tag(sync=True)
    code = traitlets.Unicode().tag(sync=True)
    saved = traitlets.Dict().tag(sync=True)

    _begins = "Both unedited runs …"

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
        if self.result is None:
            raise ViewError("save: there is no run to save yet; run a sweep first")
        target = expanded(path)
        (lens.save if target.suffix == ".zarr" else lens.export)(self.result, target, overwrite=overwrite)
        return target

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
        if isinstance(error, lens.ChangeError):
            return "The model is in use, or was changed meanwhile"
        return (
            "Out of memory"
            if type(error).__name__ == "OutOfMemoryError"
            else f"The sweep failed ({type(error).__name__})"
        )

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

    def _on_save(self, message: dict) -> None:
        try:
            path = str(message.get("path", "")).strip()
            if not path:
                raise ViewError("path: is empty; name a file that ends in .zarr, .nc, .csv or .parquet")
            self.publish(
                saved={
                    "ok": True,
                    "text": f"Saved as {self.save(path, overwrite=bool(message.get('overwrite'))).resolve()}",
                }
            )
        except Exception as error:  # the text field is where the person looks
            self.publish(saved={"ok": False, "text": str(error) or type(error).__name__})


def finite(value: Any) -> float | None:
    """A float that JSON can carry: NaN and infinities become None."""
    number = float(value)
    return number if math.isfinite(number) else None


#: What configurations call the number of routed experts.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def describe_model(model: Any) -> dict[str, Any]:
    """Name, shape, device and dtype of a bridge or a plain model, as shown in a view's header."""
    cfg: Any = getattr(model, "cfg", None)
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers = getattr(cfg, "n_layers", None) or getattr(config, "num_hidden_layers", None)
    heads = getattr(cfg, "n_heads", None) or getattr(config, "num_attention_heads", None)
    own: Any = getattr(getattr(model, "original_model", model), "config", None)
    own = own.get_text_config() if hasattr(own, "get_text_config") else own
    experts = max((n for name in _EXPERTS if isinstance(n := getattr(own, name, None), int)), default=0)
    name, dtype = name_of(model), "float32"
    facts = [f"{layers or '?'} layers", f"{heads or '?'} heads"]
    try:
        parameter = next(iter(model.parameters()))
        dtype = str(parameter.dtype).removeprefix("torch.")
        facts += [str(parameter.device), dtype]
    except (AttributeError, StopIteration, TypeError):
        facts += [str(getattr(cfg, "device", "")) or "no device"]
    return {
        "name": name,
        "dtype": dtype,
        "layers": int(layers or 0),
        "heads": int(heads or 0),
        "experts": experts,
        "text": " · ".join([name, *facts]),
    }


def visible(token: str) -> str:
    """A token as a person can read it, as in `static/common.js`: spaces and control characters get a visible sign."""
    if token == "":
        return "∅"
    signs = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": ""}
    return "".join(signs.get(c, c if c.isprintable() else f"‹{ord(c):04x}›") for c in token)


def escaped(token: str) -> str:
    """`visible`, safe inside HTML."""
    return html.escape(visible(token))
