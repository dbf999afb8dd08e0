"""With blocks and calls that put a change of a model in force: nothing is missed by Ctrl-C between what is changed and
who can undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .change_registry import Changes
from .changes import PATIENCE, Session, Undo
from .interrupts import Held, critical, deliver, due, hold, interruptible, release


class InForce:
    """A with block in which a change is in force; yields `value`.

    Args: prepare: makes the change without beginning it (checks, new weights); nothing is changed by it, and Ctrl-C may
        end it. The model is this thread's meanwhile.
    """

    def __init__(self, model: Any, prepare: Callable[[], Undo], value: Any = None, what: str = "preparing an edit"):
        self.model, self.prepare, self.value, self.what = model, interruptible(prepare), value, what
        self._change: Undo | None = None
        self._held: Held = False

    @critical
    def __enter__(self) -> Any:
        held = hold()
        try:
            outer = Changes.of(self.model).mine()
            self._change = _begun(self.model, self.prepare, self.what)
            self._change.block, self._change.session = True, outer
            self._held = held
            if due():
                deliver()
        except BaseException:
            try:
                if self._change is not None:
                    self._change.undo()
            finally:
                release(held)
            raise
        return self.value

    @critical
    def __exit__(self, *exc: object) -> None:
        try:
            if self._change is not None:
                self._change.undo()
        finally:
            release(self._held)


class Within:
    """Another's with block that yields `value`; its way out is not missed by Ctrl-C either."""

    def __init__(self, inner: Any, value: Any):
        self.inner, self.value = inner, value
        self._held: Held = False

    @critical
    def __enter__(self) -> Any:
        self._held = hold()
        try:
            self.inner.__enter__()
        except BaseException:
            release(self._held)
            raise
        return self.value

    @critical
    def __exit__(self, *exc: Any) -> Any:
        try:
            return self.inner.__exit__(*exc)
        finally:
            release(self._held)


class Together:
    """Several with blocks as one, entered in order and left in reverse; yields `value`.

    Where one cannot be entered, those before it are left again.
    """

    def __init__(self, parts: Sequence[Any], value: Any):
        self.parts, self.value = list(parts), value
        self._held: Held = False

    @critical
    def __enter__(self) -> Any:
        held, entered = hold(), []
        try:
            for part in self.parts:
                part.__enter__()
                entered.append(part)
        except BaseException:
            try:
                _leave(entered)
            finally:
                release(held)
            raise
        self._held = held
        return self.value

    @critical
    def __exit__(self, *exc: object) -> None:
        try:
            _leave(self.parts, *exc)
        finally:
            release(self._held)


def _leave(parts: Sequence[Any], *exc: object) -> None:
    """Leaves with blocks, the last first; all of them, whatever one of them raises."""
    if parts:
        try:
            parts[-1].__exit__(*(exc or (None, None, None)))
        finally:
            _leave(parts[:-1], *exc)


@critical
def put(model: Any, prepare: Callable[[], Undo], what: str = "preparing an edit") -> Undo:
    """A prepared change in force until its `undo()`; arguments as `InForce`."""
    interruptible(prepare)
    held = hold()
    change = None
    try:
        change = _begun(model, prepare, what)
        return (release(held), change)[1]
    except BaseException:
        if change is None:
            release(held)
        else:
            change.undo()
        raise


@critical
def _begun(model: Any, prepare: Callable[[], Undo], what: str) -> Undo:
    session = Session(model, what, changes=True)
    session.enter(PATIENCE)
    try:
        change = prepare()
        change.begin()
        return change
    finally:
        session.leave()
