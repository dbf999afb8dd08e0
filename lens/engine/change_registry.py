"""The registry of what is in force on a model, and of who computes with it.

It stands on the model itself, a bridge and the plain model in it having one, and dies with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import Error
from ..notices import warn
from .interrupts import pressed
from .stopping import says_stop

if TYPE_CHECKING:
    from .changes import Session, Undo

#: Seconds after which somebody who waits for another thread's session is told so.
SILENCE = 2.0
WEIGHTS, ACTIVATIONS, TEMPORARY = "weights", "activations", "for a computation"
_POLL = 0.05
#: Which registry a thread waits for, while it does; read and written under the lock beside it.
_WAITING: dict[threading.Thread, Changes] = {}
_WAITING_LOCK = threading.Lock()
#: Where a model keeps its registry.
REGISTRY = "_mnemoscope_changes"


class ChangeError(Error, RuntimeError):
    """A model that cannot be changed or computed with now, because another change or computation holds it; or that was
    changed while it was computed with.
    """


def core_of(model: Any) -> nn.Module | None:
    """The Hugging Face model in a bridge, a PEFT wrapper or a pipeline; any other module is itself, and what is none
    gives None.
    """
    hf = getattr(model, "original_model", model)
    if hasattr(hf, "peft_config") and hasattr(hf, "get_base_model"):
        hf = hf.get_base_model()
    if not isinstance(hf, nn.Module):
        hf = getattr(hf, "hf", None) or getattr(hf, "unet", None)
    return hf if isinstance(hf, nn.Module) else None


class Changes:
    """What is in force on one model, and the sessions that compute with it. Use ``Changes.of(model)``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.freed = threading.Condition(self.lock)
        self.changes: list[Undo] = []
        self.sessions: list[Session] = []

    @classmethod
    def of(cls, model: Any) -> Changes:
        """The registry of a model. Raises ChangeError for what is no PyTorch model."""
        core = core_of(model)
        if core is None:
            raise ChangeError(
                f"model={model!r:.80} is no PyTorch model; give one from lens.load, or the Hugging Face model itself."
            )
        registry: Changes | None = core.__dict__.get(REGISTRY)
        if registry is None:
            registry = core.__dict__.setdefault(REGISTRY, cls())
        return registry

    # a copy of a model begins with nothing in force, and no lock can be copied
    def __deepcopy__(self, memo: Any) -> Changes:
        return Changes()

    def __reduce__(self) -> tuple[Any, ...]:
        return Changes, ()

    def in_force(self, kind: str) -> list[Undo]:
        """The changes of a kind that have not been taken back, oldest first."""
        return [change for change in list(self.changes) if change.kind == kind]

    def edits_elsewhere(self) -> str | None:
        """Another thread's edits of activations, in words."""
        return next(
            (
                f"{c.what} is in force, put there by thread {c.thread.name!r}"
                for c in self.in_force(ACTIVATIONS)
                if not c.mine()
            ),
            None,
        )

    def edits_of_others(self) -> str | None:
        """The same, for who wants to change the model: also in a thread that was started inside their with block."""
        me = threading.current_thread()
        return next(
            (
                f"{c.what} is in force, put there by thread {c.thread.name!r}"
                for c in self.in_force(ACTIVATIONS)
                if c.thread is not me
            ),
            None,
        )

    def session_elsewhere(self) -> str | None:
        """Another thread's session, in words."""
        me = threading.current_thread()
        return next(
            (f"thread {s.thread.name!r} is using it ({s.what})" for s in list(self.sessions) if s.thread is not me),
            None,
        )

    def mine(self) -> Session | None:
        """The innermost session, where it is this thread's."""
        me = threading.current_thread()
        return next((s for s in reversed(list(self.sessions)) if s.thread is me), None)

    def wait(
        self,
        reasons: Sequence[tuple[Callable[[], str | None], float | None]],
        take: Callable[[], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> str | None:
        """Waits until nothing is in the way and takes the model in the same step; returns what was still in the way
        when patience, `stop` or a Ctrl-C ended it, or where threads would wait for each other without end.

        Args: reasons: what may be in the way, in words, and for how many seconds that is waited for (None: without
            end).
        """
        began, announced = time.monotonic(), False
        try:
            while True:
                with self.lock:
                    why, limit = next(
                        ((why, limit) for reason, limit in reasons if (why := reason()) is not None), (None, None)
                    )
                    if why is None:
                        if take is not None:
                            take()
                        return None
                    if pressed() or (limit is not None and time.monotonic() - began >= limit):
                        return why
                    if self._in_a_circle():
                        return f"{why} and waits, in its turn, for a model that this thread uses"
                    self.freed.wait(_POLL)
                if says_stop(stop):
                    return why
                if limit is None and not announced and time.monotonic() - began > SILENCE:
                    announced = True
                    warn(f"model: {why}; waiting for it.")
        finally:
            with _WAITING_LOCK:
                _WAITING.pop(threading.current_thread(), None)

    def _in_a_circle(self) -> bool:
        """Notes that this thread waits for the model; whether one of those who use it waits for this thread. Of the
        threads of a circle one is told so, and the others go on when it has left.
        """
        me = threading.current_thread()
        with _WAITING_LOCK:
            _WAITING[me], seen, left = self, {me}, [self]
            while left:
                for holder in {session.thread for session in list(left.pop().sessions)}:
                    if holder is me and len(seen) > 1:
                        del _WAITING[me]
                        return True
                    if holder not in seen:
                        seen.add(holder)
                        left += [_WAITING[holder]] if holder in _WAITING else []
        return False


def share(module: nn.Module, model: Any) -> None:
    """Lets a module that runs on the very parameters of a model have the registry of that model."""
    module.__dict__[REGISTRY] = Changes.of(model)
