"""What the benches that edit weights share: an edit set in force by hand and taken back bit for bit, and its mask as a file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import traitlets

from widgets._view import SweepView


class ForceView(SweepView):
    """A sweep whose edit can be set in force until it is undone.

    A subclass gives `mask`, `_edit_shown` (the edit to set in force, and its words), `_apply` (returns what undoes it), `_digest` (the hash of the weights as they are), the
    words `_busy` and `_own`, and may add `_savable` and `_undone`.
    """

    force = traitlets.Dict().tag(sync=True)
    document = traitlets.Dict().tag(sync=True, echo_update=False)

    _busy: str  # what is under way while a run is
    _own: str  # what a run is for which an edit in force must be undone

    def __init__(self, **traits: Any) -> None:
        self._lift: Callable[[], None] | None = None  # takes back what is in force
        self._saves = 0
        super().__init__(force={"state": "none"}, **traits)

    # --- what Python users call

    def put(self, wait: bool = False) -> None:
        """Set the edit shown in force until `undo()`: what the notebook asks the model then is answered by the edited one."""
        self.publish(force=dict(self.force) | {"doing": "Setting the edit in force …"})  # making it and hashing the weights takes seconds
        self._worker.quick("force", self._put)
        if wait:
            self.wait()

    def undo(self, wait: bool = False) -> None:
        """Take back the edit that `put` set in force; the weights are then bit-equal to what they were."""
        self._worker.quick("force", self._take_back)
        if wait:
            self.wait()

    def save(self, path: str, *, overwrite: bool = False) -> Path:
        """Write the result (.zarr opens with `lens.open`; .nc, .csv, .parquet are exports) or the mask shown (.npz). Returns the path."""
        target = Path(path).expanduser()
        if target.suffix != ".npz":
            return super().save(path, overwrite=overwrite)
        if target.exists() and not overwrite:
            raise FileExistsError(f"path: {target} is there already; choose another name, or replace it (overwrite=True)")
        return self._savable().save(target)

    def _savable(self) -> Any:
        """The mask that goes into a file. Raises ValueError where there is none."""
        return self.mask()

    # --- an edit in force

    def _refuse(self, meanwhile: bool = False) -> None:
        """Raises ValueError while an edit is in force."""
        if self._lift is not None:
            raise ValueError("weights: an edit was put in force meanwhile; undo it first" if meanwhile else f"weights: an edit is in force; undo it first, so that {self._own}")

    def _put(self) -> None:
        try:
            if self.status in ("running", "stopping"):
                raise ValueError(f"{self._busy}, which edits the weights itself; stop it or wait")
            edit, what = self._edit_shown()
            if self._lift is not None:
                self._release()
            before = self._digest()
            self._lift = self._apply(edit)
            self.publish(force={"state": "in force", "what": what, "before": before, "now": self._digest()})
        except Exception as error:  # the panel is where the person looks
            state = {"state": "in force"} | self._said() if self._lift is not None else {"state": "error"}
            self.publish(force=state | {"text": str(error) or type(error).__name__})

    def _release(self) -> None:
        lift, self._lift = self._lift, None
        lift()

    def _take_back(self) -> None:
        force = self._said()
        if self._lift is None:
            self.publish(force=force)
            return
        try:
            self._release()
            now = self._digest()
            self.publish(force={"state": "undone", "what": force.get("what", ""), "before": force.get("before", ""), "now": now, "same": now == force.get("before")})
        except Exception as error:
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
        return {"move": lambda _: None, "run": lambda _: self.run(), "stop": lambda _: self.stop(), "put": lambda _: self.put(), "undo": lambda _: self.undo(), "document": self._on_document,
                "save": self._on_save}  # fmt: skip

    def _on_document(self, message: dict) -> None:
        """The mask shown, for the browser to keep as a file."""
        if message.get("kind") == "npz":
            self._worker.quick("document", self._send_mask)

    def _send_mask(self) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                content = self._savable().save(Path(folder) / "mask.npz").read_bytes()
        except Exception as error:
            self.publish(saved={"ok": False, "text": str(error) or type(error).__name__})
            return
        self._saves += 1
        self.publish(saved={}, document={"number": self._saves, "kind": "npz", "type": "application/octet-stream", "data": content})

    def close(self) -> None:
        """Undo what is in force, and leave."""
        with contextlib.suppress(Exception):
            if self._lift is not None:
                self._release()
        super().close()
