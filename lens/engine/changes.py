"""What is changed in a model for a while: by whom, how it was, and who computes with it meanwhile.

Everything in the library that writes weights, puts hooks or switches something in a model goes through here, so that

- it is undone whatever happens: an undo can be called again and finishes, Ctrl-C waits on the way in and out
  (``interrupts``), and `restore` undoes what nobody holds any more;
- a computation is of one model: a `Session` is one thread's at a time, what another thread wants to change waits for it
  or is refused, and a session that only reads looks at its end whether the model is what it was.

All of it is known to the model's registry (`change_registry`).
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from ..arguments import HFModel, door
from .change_registry import ACTIVATIONS, REGISTRY, TEMPORARY, WEIGHTS, ChangeError, Changes, core_of
from .interrupts import Held, critical, hold, release

if TYPE_CHECKING:
    from .sessions import Snapshot

#: Seconds that a change waits for another thread before it is refused, and a session for another thread's edits of
#: activations.
PATIENCE = 3.0
_numbers = itertools.count()


class Undo:
    """Something that is changed in a model until `undo()`, which may be called again: it finishes what an earlier call
    did not, and then does nothing.

    Args:
        what: in words. make: does it, given the change; before each step it names what puts that step back (`back`),
            which can be done twice.
        kind: WEIGHTS, ACTIVATIONS or TEMPORARY; the last is what a computation does to the model for its own length,
            and is in nobody's way.
        block: whether a with block ends it; whatever a session leaves of such changes is undone with it.

    Attributes: thread, since: who put it in force, and when (seconds since the epoch).
    """

    def __init__(self, model: Any, what: str, make: Callable[[Undo], None], kind: str = WEIGHTS, block: bool = False):
        self.registry, self.what, self.make, self.kind, self.block = Changes.of(model), what, make, kind, block
        self.thread, self.since = threading.current_thread(), time.time()
        #: tells it from every other one, also from those that are gone
        self.number = next(_numbers)
        self.session: Session | None = None
        #: called once it is undone
        self.after: Callable[[], None] | None = None
        self._model = model
        self._back: list[Callable[[], None]] = []
        self._held: Held = False
        self._own: Session | None = None
        self._strangers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def mine(self) -> bool:
        """Whether it is this thread's: its own, or one that was started while it was in force (a generation that is
        read from a streamer).
        """
        return threading.current_thread() not in self._strangers

    @property
    def in_force(self) -> bool:
        """Whether the change has not been taken back yet."""
        return self in self.registry.changes

    def back(self, step: Callable[[], None]) -> None:
        """Names what will put back what is changed next."""
        self._back.append(step)

    @critical
    def begin(self) -> None:
        """Puts it in force, whole or not at all.

        Raises ChangeError: another thread computes with the model, or has edits of activations in force; or a
            computation of this thread's own reads it.
        """
        held = hold()
        try:
            with self.registry.lock:
                self._admitted()
                self.thread, self.session = threading.current_thread(), self.registry.mine()
                if self.kind == ACTIVATIONS:
                    self._strangers = weakref.WeakSet(t for t in threading.enumerate() if t is not self.thread)
                self.registry.changes.append(self)
                try:
                    self.make(self)
                except BaseException:
                    self._take_back()
                    raise
        finally:
            release(held)

    def _admitted(self) -> None:
        if self.kind == TEMPORARY:
            return
        registry, me = self.registry, threading.current_thread()
        reading = next((s for s in registry.sessions if s.reads and s.thread is me), None)
        if self.kind == WEIGHTS and reading is not None:
            raise ChangeError(
                f"model: {self.what} is refused: {reading.what} is computing with the model in this thread, and its"
                " numbers would be of two models. Put it in force before or after."
            )
        why = registry.wait([(registry.session_elsewhere, PATIENCE), (registry.edits_of_others, PATIENCE)])
        if why is not None:
            raise ChangeError(
                f"model: {self.what} is refused: {why}. Wait for its end, or stop it, and try again;"
                " lens.restore(model) undoes what nobody holds."
            )

    @critical
    def put(self, make: Callable[[], Callable[[], None]]) -> None:
        """One more step of it: `make` does it and returns what puts it back."""
        self._back.append(make())

    @critical
    def undo(self) -> None:
        """Puts back what was there. Waits for another thread's computation; Ctrl-C ends the waiting, not the
        undoing.
        """
        held = hold()
        try:
            if self.kind != TEMPORARY and self.in_force:
                self.registry.wait([(self.registry.session_elsewhere, None)])
            self._take_back()
            after, self.after = self.after, None
            if after is not None:
                after()
        finally:
            release(held)

    @critical
    def _take_back(self) -> None:
        failed: BaseException | None = None
        with self.registry.lock:
            left = []
            while self._back:
                step = self._back[-1]
                try:
                    step()
                except BaseException as error:
                    left.append(step)
                    failed = failed or error
                self._back.pop()
            self._back.extend(reversed(left))
            if not self._back and self in self.registry.changes:
                self.registry.changes.remove(self)
            self.registry.freed.notify_all()
        if failed is not None:
            raise failed

    # a change for the length of a computation is its own with block, and a session with the model
    @critical
    def __enter__(self) -> Undo:
        held = hold()
        own, outer = Session(self._model, self.what), self.registry.mine()
        try:
            own.enter()
            self.begin()
            self.session, self._own, self._held = outer, own, held
        except BaseException:
            own.leave()
            release(held)
            raise
        return self

    @critical
    def __exit__(self, *exc: object) -> None:
        try:
            self._take_back()
        finally:
            try:
                if self._own is not None:
                    self._own.leave()
            finally:
                release(self._held)


def temporary(model: Any, what: str = "a computation") -> Undo:
    """Hooks and switches for the length of a computation, a session of its own.

    >>> with temporary(model) as here: here.put(lambda: hook(...).remove)  # doctest: +SKIP
    """
    return Undo(model if core_of(model) is not None else nn.Identity(), what, _nothing, TEMPORARY, block=True)


def _nothing(undo: Undo) -> None:
    pass


#: How edited runs are computed, from the fastest way to the slowest; see `lens.engine.model`.
PATHS = ("walk", "layers", "hooks")


class Session:
    """A computation with a model: one thread's at a time (of one thread, sessions nest).

    Args: reads: no weights may be changed meanwhile, not by this thread either (``sessions``). stop: asked while
        waiting. changes: it prepares a change, for which it must not be inside another thread's block of edits either.
    """

    def __init__(
        self, model: Any, what: str, reads: bool = False, stop: Callable[[], bool] | None = None, changes: bool = False
    ):
        self.core: Any = core_of(model)
        self.what, self.reads, self.stop, self.changes = what, reads, stop, changes
        #: of a session that reads: what was seen of the model at its beginning
        self.before: Snapshot | None = None
        #: the weights' hash, once it was asked for in such a session
        self.hash: str | None = None
        #: which path served, the slowest of those that did, and why not a faster one
        self.path: dict[str, str | None] = {"name": None, "why": None}
        self.registry, self.thread = Changes.of(model), threading.current_thread()

    def serve(self, path: str, why: str | None) -> None:
        """Notes that a path served; ``path`` is one of ``PATHS``."""
        if self.path["name"] is None or PATHS.index(path) > PATHS.index(self.path["name"]):
            self.path.update(name=path, why=why)

    @critical
    def enter(self, patience: float | None = None) -> None:
        """Waits for other threads' sessions, at most `patience` seconds. Raises ChangeError where patience, `stop` or
        Ctrl-C ended the waiting, or another thread's edits stay in force.
        """
        registry = self.registry
        edits = registry.edits_of_others if self.changes else registry.edits_elsewhere
        why = registry.wait(
            [(registry.session_elsewhere, patience), (edits, PATIENCE)],
            lambda: registry.sessions.append(self),
            self.stop,
        )
        if why is not None:
            raise ChangeError(
                f"model: {self.what} cannot begin: {why}. Leave its with block or wait for its end; lens.restore(model)"
                " undoes what nobody holds."
            )

    @critical
    def leave(self) -> None:
        """Ends it, and what it left in force of changes that a with block should have ended."""
        registry = self.registry
        with registry.lock:
            if self not in registry.sessions:
                return
            # those begun later are within it, and should have ended
            inner = registry.sessions[registry.sessions.index(self) :]
            try:
                for change in [c for c in registry.changes if c.block and c.session in inner]:
                    change._take_back()
            finally:
                del registry.sessions[-len(inner) :]
                registry.freed.notify_all()


def edits_in_force(model: Any) -> bool:
    """Whether edits of activations are in force on a model (`lens.edited`)."""
    core = core_of(model)
    return core is not None and REGISTRY in core.__dict__ and bool(core.__dict__[REGISTRY].in_force(ACTIVATIONS))


@door(ChangeError)
def restore(model: HFModel) -> list[str]:
    """Undoes everything that this library has in force on a model, and says what that was: for a person who has lost
    what would undo it.

    Edits of weights are undone bit for bit, hooks are taken off; hooks and changes of the person's own stay. With
    nothing in force it returns an empty list.

    Raises: ChangeError: another thread is computing with the model.

    >>> lens.restore(model)                                                       # doctest: +SKIP
    """
    registry = Changes.of(model)
    why = _free(registry)
    if why is not None:
        raise ChangeError(
            f"model: nothing is undone: {why}. Stop it, or wait for its end, and call lens.restore(model) again."
        )
    undone = []
    for change in list(reversed(registry.changes)):
        if change.kind == TEMPORARY and change.session in registry.sessions:
            continue
        change.undo()
        if change.kind != TEMPORARY:
            undone.append(
                f"{change.what}, put in force by thread {change.thread.name!r} at"
                f" {time.strftime('%H:%M:%S', time.localtime(change.since))}"
            )
    return undone


@critical
def _free(registry: Changes) -> str | None:
    held = hold()
    try:
        return registry.wait([(registry.session_elsewhere, PATIENCE)])
    finally:
        release(held)
