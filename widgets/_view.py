"""What both views share: safe trait changes from the worker thread and a copy that a stored notebook can show."""

from __future__ import annotations

import contextlib
import html
import math
import threading
import uuid
from typing import Any

import anywidget
import traitlets

from widgets._worker import Worker


class View(anywidget.AnyWidget):
    """An anywidget whose traits may be changed from its worker thread.

    A change that the browser sends is applied while trait notifications are held back; a change from another thread in that
    moment would be swallowed. One lock round both keeps them apart (ipykernel 7 may handle the browser's messages in a
    subshell thread, too).
    """

    model_info = traitlets.Dict().tag(sync=True)
    static_key = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._guard = threading.RLock()
        self._worker = Worker(f"mnemoscope-{type(self).__name__}")
        self._handles: list[Any] = []
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

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the computations under way have ended; False when `timeout` seconds passed first."""
        return self._worker.wait(timeout)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Run a command of the browser, `{"type": name, ...}`; anything that is not in `_commands` is ignored."""
        if isinstance(content, dict) and isinstance(name := content.get("type"), str) and (command := self._commands().get(name)) is not None:
            self._take_fields(content.get("fields"))
            command(content)

    def _take_fields(self, fields: Any) -> None:
        """The fields as the browser shows them, sent along with a command: the front end may still hold back their own messages."""
        for name, value in (fields if isinstance(fields, dict) else {}).items():
            if name in self._fields and getattr(self, name) != value:
                with contextlib.suppress(traitlets.TraitError):  # a page can send anything; what a trait refuses is not taken
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
        """Show the live view and, as a second output that a live view hides, a static copy for readers without a kernel.

        Stored notebooks keep only what an output holds; a widget's own state would need a script from a CDN. So the copy is plain
        HTML, which forges and nbconvert show.
        """
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        display(data, metadata=metadata, raw=True)
        handle = display(self._static_bundle(), raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def _static_bundle(self) -> dict[str, str]:
        return {"text/html": f'<div class="mnemoscope-static-{self.static_key}">{self._static()}</div>', "text/plain": repr(self)}

    def _refresh_static(self) -> None:
        for handle in self._handles:
            with contextlib.suppress(RuntimeError, OSError):  # a closed kernel channel only costs the stored copy
                handle.update(self._static_bundle(), raw=True)


def finite(value: Any) -> float | None:
    """A float that JSON can carry: NaN and infinities become None."""
    number = float(value)
    return number if math.isfinite(number) else None


def describe_model(model: Any) -> dict[str, Any]:
    """Name, shape, device and dtype of a bridge, as shown in a view's header."""
    cfg = getattr(model, "cfg", None)
    name = str(getattr(cfg, "model_name", None) or type(model).__name__)
    dtype = "float32"
    facts = [f"{getattr(cfg, 'n_layers', '?')} layers", f"{getattr(cfg, 'n_heads', '?')} heads"]
    try:
        parameter = next(iter(model.parameters()))
        dtype = str(parameter.dtype).removeprefix("torch.")
        facts += [str(parameter.device), dtype]
    except (AttributeError, StopIteration, TypeError):
        facts += [str(getattr(cfg, "device", "")) or "no device"]
    return {"name": name, "dtype": dtype, "layers": int(getattr(cfg, "n_layers", 0) or 0), "heads": int(getattr(cfg, "n_heads", 0) or 0), "text": " · ".join([name, *facts])}


def visible(token: str) -> str:
    """A token as a person can read it, as in `static/common.js`: spaces and control characters get a visible sign."""
    if token == "":
        return "∅"
    signs = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": ""}
    return "".join(signs.get(c, c if c.isprintable() else f"‹{ord(c):04x}›") for c in token)


def escaped(token: str) -> str:
    """`visible`, safe inside HTML."""
    return html.escape(visible(token))
