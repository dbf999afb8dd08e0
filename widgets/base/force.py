"""What the benches that edit weights share: an edit set in force by hand and taken back bit for bit, and its mask as a
file.
"""

from __future__ import annotations

import contextlib
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from lens.arguments import FilePath, door
from lens.engine.change_registry import Changes, core_of
from lens.files import Taken, expanded
from widgets.base.sweep import SweepView
from widgets.errors import ViewError

#: by model, the view whose edit is in force: the registry of widgets keeps a view alive that nobody has a name for any
#: more
_forcing: weakref.WeakKeyDictionary[Any, weakref.ref[ForceView]] = weakref.WeakKeyDictionary()


class ForceView(SweepView):
    """A sweep whose edit can be set in force until it is undone.

    A subclass gives `mask`, `_edit_shown` (the edit to set in force, and its words), `_apply` (returns what undoes it),
    `_digest` (the hash of the weights as they are), the words `_busy` and `_own`, and may add `_savable` and `_undone`.
    """

    force = traitlets.Dict().tag(sync=True)
    document = traitlets.Dict().tag(sync=True, echo_update=False)

    _busy: str  # what is under way while a run is
    _own: str  # what a run is for which an edit in force must be undone

    def __init__(self, **traits: Any) -> None:
        self._lift: Callable[[], None] | None = None  # takes back what is in force
        self._saves = 0
        self._let_go()
        super().__init__(force={"state": "none"}, **traits)

    def _core(self) -> Any:
        return core_of(getattr(self, "model", None)) or core_of(getattr(self, "pipeline", None))

    def _let_go(self) -> None:
        """Another view's edit of the same model is taken back first: its variable may have been deleted, or its cell
        run again.
        """
        core = self._core()
        other = None if core is None else _forcing.pop(core, _nobody)()
        if other is not None and other is not self and other._lift is not None:
            if other._worker.mine():
                other._take_back()
            else:
                other.undo(wait=True)

    # --- what Python users call

    @door(ViewError)
    def put(self, on: bool = True, *, wait: bool = True) -> None:
        """Set the edit shown in force until `undo()`: what the notebook asks the model then is answered by the edited
        one.

        `on=False` takes it back, as `undo()` does. `wait`: until that is done, so that what is asked next is answered
        by the model that is meant; during a run, or in a function that the view itself calls, it is left to the view.
        """
        if not on:
            return self.undo(wait=wait)
        self.publish(
            force=dict(self.force) | {"doing": "Setting the edit in force …"}
        )  # making it and hashing the weights takes seconds
        self._worker.quick("force", self._put)
        self._done(wait)

    @door(ViewError)
    def undo(self, *, wait: bool = True) -> None:
        """Take back the edit that `put` set in force; the weights are then bit-equal to what they were. `wait`: as
        there.
        """
        self._worker.quick("force", self._take_back)
        self._done(wait)

    def _done(self, wait: bool) -> None:
        if wait and self.status not in ("running", "stopping") and not self._worker.mine():
            self.wait()

    @door(ViewError)
    def save(self, path: FilePath, *, overwrite: bool = False) -> Path:
        """Write the result (.zarr opens with `lens.open`; .nc, .csv, .parquet are exports) or the mask shown (.npz).
        Returns the path.
        """
        target = expanded(path)
        if target.suffix != ".npz":
            return super().save(path, overwrite=overwrite)
        if target.exists() and not overwrite:
            raise Taken(f"path: {target} is there already; choose another name, or replace it (overwrite=True)")
        return self._savable().save(target)

    def _savable(self) -> Any:
        """The mask that goes into a file. Raises ViewError where there is none."""
        return self.mask()

    # --- an edit in force

    def _refuse(self, meanwhile: bool = False) -> None:
        """Raises ViewError while an edit is in force."""
        if self._lift is not None and (core := self._core()) is not None and not Changes.of(core).changes:
            self._take_back()  # it was undone by lens.restore
        if self._lift is not None:
            raise ViewError(
                "weights: an edit was put in force meanwhile; undo it first"
                if meanwhile
                else f"weights: an edit is in force; undo it first, so that {self._own}"
            )

    def _put(self) -> None:
        try:
            if self.status in ("running", "stopping"):
                raise ViewError(f"{self._busy}, which edits the weights itself; stop it or wait")
            edit, what = self._edit_shown()
            if self._lift is not None:
                self._release()
            before = self._digest()
            self._lift = self._apply(edit)
            if (core := self._core()) is not None:
                _forcing[core] = weakref.ref(self)
            self.publish(force={"state": "in force", "what": what, "before": before, "now": self._digest()})
        except BaseException as error:  # the panel is where the person looks
            state = {"state": "in force"} | self._said() if self._lift is not None else {"state": "error"}
            self.publish(force=state | {"text": str(error) or type(error).__name__})

    def _release(self) -> None:
        if self._lift is None:
            return
        self._lift()
        self._lift = None

    def _take_back(self) -> None:
        force = self._said()
        if self._lift is None:
            self.publish(force=force)
            return
        try:
            self._release()
            now = self._digest()
            self.publish(
                force={
                    "state": "undone",
                    "what": force.get("what", ""),
                    "before": force.get("before", ""),
                    "now": now,
                    "same": now == force.get("before"),
                }
            )
        except BaseException as error:
            self.publish(force={"state": "error", "text": str(error) or type(error).__name__})
        else:
            self._undone()

    def _said(self) -> dict[str, Any]:
        """`force` without what is only under way."""
        return {key: value for key, value in self.force.items() if key != "doing"}

    def _undone(self) -> None:
        """Called once the weights are back."""

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {
            "put": lambda _: self.put(wait=False),
            "undo": lambda _: self.undo(wait=False),
            "document": self._on_document,
        }

    def _on_document(self, message: dict) -> None:
        """The mask shown, for the browser to keep as a file."""
        if message.get("kind") == "npz":
            self._worker.quick("document", self._send_mask)

    def _send_mask(self) -> None:
        try:
            content = file_of(self._savable())
        except BaseException as error:
            self.publish(saved={"ok": False, "text": str(error) or type(error).__name__})
            return
        self._saves += 1
        self.publish(
            saved={},
            document={"number": self._saves, "kind": "npz", "type": "application/octet-stream", "data": content},
        )

    def close(self) -> None:
        """Undo what is in force, and leave."""
        with contextlib.suppress(Exception):
            if self._lift is not None:
                self._release()
        super().close()


def file_of(mask: Any) -> bytes:
    """What `mask.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        return mask.save(Path(folder) / "mask.npz").read_bytes()


def _nobody() -> None:
    """In the place of a reference to a view."""
