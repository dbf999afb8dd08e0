"""What the views share: safe trait changes from the worker thread, and a copy that a stored notebook can show."""

from __future__ import annotations

import contextlib
import threading
import uuid
from pathlib import Path
from typing import Any

import anywidget
import traitlets

import lens
from lens import files
from lens.arguments import FilePath, NonNegative, door
from lens.files import Taken, expanded
from lens.markup import as_written
from lens.models import weight_hash
from widgets.base import state
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

    @door(ViewError)
    def save_state(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write what is asked, where the person looks and what stands in the view as a small JSON, and return the path.
        `widgets.restore(path, model)` shows the same picture in another session.

        Raises ViewError for a name that does not end in .json, lens.FileError where it is taken or cannot be written.
        """
        target = expanded(path)
        if target.suffix != ".json":
            raise ViewError(f"path: {target.name!r} does not end in .json, which is what a view's state is written as")
        if target.exists() and not overwrite:
            raise Taken(f"path: {target} is there already; choose another name, or replace it (overwrite=True)")
        return files.write_json(target, self._state(), allow_nan=False)

    #: traits that say what is asked and where the person looks, and those that hold what stands in the view
    _asked_traits: tuple[str, ...] = ()
    _answer_traits: tuple[str, ...] = ()

    def _state(self) -> dict[str, Any]:
        with self._guard:
            fields = {name: getattr(self, name) for name in self._asked_traits}
            answers = {name: getattr(self, name) for name in self._answer_traits}
        return {
            "format": state.FORMAT,
            "version": state.VERSION,
            "package": lens.__version__,
            "view": type(self).__name__,
            "model": {"name": self.model_info.get("name", ""), "weights": self._weights()},
            "fields": state.to_json(fields),
            "answers": state.to_json(answers),
            "more": self._more_state(),
        }

    def _weights(self) -> str:
        """The hash of what the answers are of; "" where there is none."""
        with contextlib.suppress(Exception):  # what has no weights is not compared
            model: Any = getattr(self, "model", None)
            return weight_hash(model)
        return ""

    def _more_state(self) -> dict[str, Any]:
        """What traits do not hold, as JSON."""
        return {}

    @classmethod
    def _for_state(cls, saved: dict[str, Any], given: tuple, options: dict[str, Any]) -> View:
        """The view that a state is put into."""
        return cls(*given, **options)

    def _take_state(self, saved: dict[str, Any]) -> None:
        """Ask and show what a state holds. Raises ViewError for what a trait refuses."""
        fields, answers = state.from_json(saved["fields"]), state.from_json(saved["answers"])
        for values, allowed in ((fields, self._asked_traits), (answers, self._answer_traits)):
            if strange := [name for name in values if name not in allowed]:
                raise ViewError(
                    f"path: holds {strange[0]!r}, which {type(self).__name__} does not have; the file is damaged"
                )
        try:
            self._take_more(saved.get("more") or {})
            with self._guard:
                self.publish(**fields)
            self.wait()  # what the fields ask by themselves is answered before what was saved is shown
            self.publish(**answers)
        except ViewError:  # of another set of texts, say
            raise
        except (traitlets.TraitError, KeyError, TypeError, ValueError) as error:
            raise ViewError(
                f"path: holds what {type(self).__name__} cannot show ({error}); the file is damaged"
            ) from error

    def _take_more(self, more: dict[str, Any]) -> None:
        """Take back what `_more_state` wrote."""

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
