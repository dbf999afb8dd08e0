"""Ctrl-C at the wrong moment: held back while a model is being changed or put back, and handed on as soon as that is
done.

A signal's handler runs between any two instructions of the main thread, also before the first line of an ``__exit__``,
where no ``try`` can catch what it raises. So a handler of ours stands in front of the person's own from the way in of a
with block to its way out, and looks at where the program is: the innermost function that is marked decides. Inside a
*critical* one the press is noted and handed on when the outermost critical function ends; elsewhere, and inside an
*interruptible* one that a critical one calls, it is handed on at once. Other threads never see the signal, so nothing
is done there.
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])
#: id of a function's code -> (the code, whether it is critical)
_marked: dict[int, tuple[CodeType, bool]] = {}


def critical(function: _F) -> _F:
    """Marks a function (and what it calls) in which Ctrl-C is held back, between a `hold` and its `release`."""
    _marked[id(function.__code__)] = function.__code__, True
    return function


def interruptible(function: _F) -> _F:
    """Marks a function that a critical one calls and that may be interrupted at any line."""
    # a decorator's wrapper has one code for all that it wraps
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None:
        _marked[id(code)] = code, False
    return function


def _held_back(frame: FrameType | None) -> bool:
    while frame is not None:
        mark = _marked.get(id(frame.f_code))
        if mark is not None:
            return mark[1]
        frame = frame.f_back
    return False


class _Keyboard:
    """The one handler in front of the person's own, how many hold it there, and whether Ctrl-C was pressed
    meanwhile.
    """

    def __init__(self) -> None:
        self.holders, self.pressed = 0, False
        self.own: Any = signal.default_int_handler

    def handler(self, number: int, frame: FrameType | None) -> None:
        if _held_back(frame):
            self.pressed = True
        else:
            self.own(number, frame)


_keyboard = _Keyboard()
#: one object, so that it can be told from another's handler
_handler = _keyboard.handler


def _in_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident


#: What `hold` gives and `release` takes: nothing to do; or done; or done in front of a handler that somebody put in
#: front of ours, with the one behind that.
Held = bool | tuple[Any, Any]


@critical
def hold() -> Held:
    """Puts our handler in front, for a `release` that is owed. Does nothing in other threads, and where Ctrl-C is no
    Python function's business.
    """
    if not _in_main():
        return False
    now = signal.getsignal(signal.SIGINT)
    state: Held = True
    if now is not _handler:
        if not callable(now):
            return False
        if _keyboard.holders:
            state = now, _keyboard.own
        _keyboard.own = now
        signal.signal(signal.SIGINT, _handler)
    _keyboard.holders += 1
    return state


@critical
def release(state: Held) -> None:
    """Undoes `hold`, and hands on a Ctrl-C that was held back, unless a critical function further up still runs. To be
    called last by a critical function.
    """
    if not state:
        return
    _keyboard.holders = max(0, _keyboard.holders - 1)
    if not _in_main():
        return  # a with block that another thread leaves; the handler goes with the next one
    outer, own = _held_back(sys._getframe(2)), _keyboard.own
    ours = signal.getsignal(signal.SIGINT) is _handler
    if isinstance(state, tuple):
        _keyboard.own = state[1]
        if ours:
            signal.signal(signal.SIGINT, state[0])
    elif not _keyboard.holders and ours:
        signal.signal(signal.SIGINT, own)
    if _keyboard.pressed and not outer:
        _keyboard.pressed = False
        own(signal.SIGINT, None)


@critical
def deliver() -> None:
    """Hands on a Ctrl-C that was held back."""
    _keyboard.pressed = False
    _keyboard.own(signal.SIGINT, None)


def due() -> bool:
    """Whether a Ctrl-C is being held back by the calling function alone, so that it ends with that one's `release`."""
    return pressed() and not _held_back(sys._getframe(2))


def pressed() -> bool:
    """Whether a Ctrl-C is being held back (in the main thread)."""
    return _keyboard.pressed and _in_main()


def own_handler() -> Any:
    """The handler of Ctrl-C that is the person's, ours left out."""
    now = signal.getsignal(signal.SIGINT)
    return _keyboard.own if now is _handler else now


@critical
def replace(handler: Any) -> Any:
    """Another handler in the person's place, behind ours where that is in front; returns the one before. For the main
    thread.
    """
    before = own_handler()
    if signal.getsignal(signal.SIGINT) is _handler:
        _keyboard.own = handler
    else:
        signal.signal(signal.SIGINT, handler)
    return before
