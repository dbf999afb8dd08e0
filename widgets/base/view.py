"""What the views share: safe trait changes from the worker thread, and a copy that a stored notebook can show."""

from __future__ import annotations

import contextlib
import threading
import uuid
from typing import Any

import anywidget
import traitlets

from lens.arguments import NonNegative, door
from lens.markup import as_written
from widgets.base.worker import Worker
from widgets.errors import ViewError

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
