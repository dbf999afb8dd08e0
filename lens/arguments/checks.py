"""What a check is, what it makes of a value that fails when it is looked at, and the text of a refusal."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

#: Characters of a value that are shown.
_SHOWN = 60

_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = _short.maxdict = _short.maxarray = (
    _short.maxdeque
) = 4
_short.maxlevel, _short.maxstring, _short.maxother, _short.maxlong = 3, 40, 40, 40


class Unfit(Exception):
    """A value that an argument may not have; doors and checks turn it into their family's error."""

    def __init__(self, value: Any, expected: str, where: str = "", choice: bool = False):
        super().__init__(expected)
        self.value, self.expected, self.where, self.choice = value, expected, where, choice


def own_fault(error: Exception, value: Any) -> bool:
    """Whether an error shows a mistake of the code that looks at a value, as far as that can be told from the value's.

    Only an error that the code itself raises can be one: a name, module or method that is not there.
    """
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or place.tb_frame.f_globals.get("__name__", "").partition(".")[0] != __name__.partition(".")[0]:
        return False
    if isinstance(error, AttributeError):
        return isinstance(error.obj, (Check, ModuleType)) and error.obj is not value
    return isinstance(error, (NameError, ImportError))


def tried(look: Callable[[Any], Any], value: Any, otherwise: Any = None) -> Any:
    """What ``look`` makes of a value; ``otherwise`` where the value, which may fail in any way, lets it come to
    nothing.

    A mistake in ``look`` is raised as it is; see `own_fault`.
    """
    try:
        return look(value)
    except Exception as error:
        if own_fault(error, value):
            raise
        return otherwise


def shown(value: Any) -> str:
    """A value in an error: on one line, never long, also where its ``repr`` fails."""
    return tried(_shown, value, f"<{type(value).__name__}, whose repr fails>")


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, (str, bytes)):
        text = repr(value[:_SHOWN])
        return text if len(value) <= _SHOWN else f"{text[:-1]}...{text[-1]}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"<an int of {value.bit_length()} bits>"
    if callable(getattr(value, "parameters", None)) and not isinstance(value, type):
        return f"<{kind}>"
    if hasattr(value, "dtype") and getattr(value, "ndim", None):
        return f"<{kind} of {str(value.dtype).removeprefix('torch.')}, shape {tuple(value.shape)}>"
    text = " ".join(_short.repr(value).split())
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN - 3]}..."


def unfit(name: str, value: Any, expected: str, step: str = "", *, choice: bool = False) -> str:
    """The text of a refusal: argument, value, what was expected, and the next step.

    A class whose objects are likely to be given where they do not fit says in `instead` what to do with them.
    """
    what = "is not known" if choice else "does not fit"
    step = tried(_instead, value) or step
    return f"{name}={shown(value)} {what}; expected {expected}{'; ' + step if step else ''}."


def _instead(value: Any) -> str | None:
    text = getattr(type(value), "instead", None)
    return text if isinstance(text, str) else None


def truth(value: Any, name: str, error: type[Exception]) -> bool:
    """Whether what a person's function gave is true; ``error`` where that cannot be told."""
    flag = tried(bool, value)
    if flag is None:
        raise error(unfit(name, value, "a function that gives True or False"))
    return flag


class Check:
    """What a value may be. ``take`` hands the value on (a Python number in place of NumPy's), or raises ``Unfit``."""

    @property
    def expected(self) -> str:
        """What is expected, in words; a class may also have it as a plain attribute."""
        raise NotImplementedError

    def take(self, value: Any) -> Any:
        """The value as the function is to get it; raises `Unfit` where it does not fit."""
        raise NotImplementedError

    def of(self, value: Any, name: str, error: type[Exception], step: str = "") -> Any:
        """The value, or ``error`` with the text of every door: for what a function checks later than its door."""
        try:
            return self.take(value)
        except Unfit as found:
            raise error(unfit(f"{name}{found.where}", found.value, found.expected, step, choice=found.choice)) from None


class Fitting(Check):
    """A check that hands a value on as it is where it ``fits``, and refuses one that cannot be looked at."""

    def fits(self, value: Any) -> bool:
        """Whether the value fits; what the value itself raises meanwhile counts as no."""
        raise NotImplementedError

    def take(self, value: Any) -> Any:
        """The value itself, where it fits."""
        if not tried(self.fits, value, False):
            raise Unfit(value, self.expected)
        return value
