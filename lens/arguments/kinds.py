"""What an argument may be: a check takes a value and hands it on, or says what was expected."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real as RealNumber
from typing import Any

from .checks import Check, Fitting, Unfit, tried

#: The most that a count may be where nothing else is said: more would not end, or not fit.
MOST = 10**9


def _truth(value: Any) -> bool:
    """Whether a value is a truth value, or an array of them."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).removeprefix("torch.") == "bool"


def _scalar(value: Any) -> bool:
    return not getattr(value, "ndim", 0)


@dataclass(frozen=True)
class Whole(Check):
    """A whole number from ``least`` to ``most``; no truth value and no float."""

    least: int | None = None
    most: int = MOST

    @property
    def expected(self) -> str:
        """A whole number and its limits, in words."""
        if self.least == -(2**63):
            return "a whole number of at most 64 bits"
        if self.least == -(2**31):
            return "one index, a whole number"
        return (
            "a whole number"
            + ("" if self.least is None else f" of at least {self.least}")
            + (" and" if self.least is not None else "")
            + f" at most {self.most}"
        )

    def take(self, value: Any) -> int:
        """The number as an int, without rounding."""
        whole = value if type(value) is int else tried(self._whole, value)
        if whole is None or whole > self.most or (self.least is not None and whole < self.least):
            raise Unfit(value if whole is None else whole, self.expected)
        return whole

    @staticmethod
    def _whole(value: Any) -> int | None:
        return None if _truth(value) or not _scalar(value) else operator.index(value)


@dataclass(frozen=True)
class Number(Check):
    """A finite number from ``low`` to ``high``; ``closed=False``: strictly between; ``above``: above ``low``."""

    low: float | None = None
    high: float | None = None
    closed: bool = True
    above: bool = False
    infinite: bool = False

    @property
    def expected(self) -> str:
        """A number and its limits, in words."""
        if self.low is None and self.high is None:
            return "a number that is not NaN" if self.infinite else "a finite number"
        if self.above and self.high is not None:
            return f"a number above {self.low} and at most {self.high}"
        if self.low is not None and self.high is not None:
            return f"a number between {self.low} and {self.high}, both {'included' if self.closed else 'excluded'}"
        if self.high is None:
            return (
                f"a finite number above {self.low}"
                if self.above or not self.closed
                else f"a finite number of at least {self.low}"
            )
        return f"a finite number of at most {self.high}"

    def take(self, value: Any) -> float:
        """The number as a float or an int within the limits."""
        if type(value) is not float and type(value) is not int:
            number = tried(self._number, value)
            if number is None:
                raise Unfit(value, self.expected)
            value = number
        try:
            fits = math.isfinite(value) or (self.infinite and not math.isnan(value))
        except OverflowError:
            fits = False
        if fits and self.low is not None:
            fits = value > self.low if self.above or not self.closed else value >= self.low
        if fits and self.high is not None:
            fits = value <= self.high if self.closed else value < self.high
        if fits and self.high == 1 and 0 < value < sys.float_info.min:
            raise Unfit(value, f"{self.expected}, and not so near to 0 that its digits are lost")
        if not fits:
            hint = (
                f" (did you mean {value / 100:g}?)"
                if self.high == 1 and isinstance(value, (int, float)) and 1 < value < 100
                else ""
            )
            raise Unfit(value, self.expected + hint)
        # what is no number of the machine, such as a fraction or a longer int, is handed on as the nearest that is
        return value if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63) else float(value)

    @staticmethod
    def _number(value: Any) -> int | float | None:
        if _truth(value) or not _scalar(value) or not (isinstance(value, RealNumber) or hasattr(value, "dtype")):
            return None
        value = value.item() if hasattr(value, "item") else value
        if not isinstance(value, RealNumber):
            return None
        return value if isinstance(value, (int, float)) else float(value)


class Flag(Check):
    """True or False, also NumPy's."""

    expected = "True or False"

    def take(self, value: Any) -> bool:
        """The value as a bool; 0 and 1 are no truth values."""
        if type(value) is bool:
            return value
        if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
            return bool(value)
        raise Unfit(value, self.expected)


@dataclass(frozen=True)
class Text(Check):
    """Text that can be encoded; ``filled``: of at least one character, none of them NUL."""

    filled: bool = False

    @property
    def expected(self) -> str:
        """Text, filled or not, in words."""
        return "text of at least one character, none of them NUL" if self.filled else "text"

    def take(self, value: Any) -> str:
        """The text itself, where UTF-8 can hold it."""
        if not isinstance(value, str):
            raise Unfit(value, self.expected)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Unfit(value, f"{self.expected}, without half characters (surrogates)") from None
        if self.filled and (not value or "\0" in value):
            raise Unfit(value, self.expected)
        return value if type(value) is str else str(value)


@dataclass(frozen=True)
class Choice(Check):
    """One of a few values."""

    among: tuple[Any, ...]

    @property
    def expected(self) -> str:
        """The values to choose from."""
        return (
            " or ".join(map(repr, self.among)) if len(self.among) < 3 else f"one of {', '.join(map(repr, self.among))}"
        )

    def take(self, value: Any) -> Any:
        """The one of the allowed values that was given."""
        for choice in self.among:
            if value is choice or (
                type(choice) in (str, int, bytes)
                and isinstance(value, type(choice))
                and not isinstance(value, bool)
                and value == choice
            ):
                return choice
        raise Unfit(value, self.expected, choice=True)


class PathLike(Check):
    """The name of a file or folder."""

    expected = "the path of a file or folder, as text or a pathlib.Path"

    def take(self, value: Any) -> Any:
        """The path as it was given, where the system could hold a file of that name."""
        name = tried(self._encoded, value)
        if name is None:
            raise Unfit(value, self.expected)
        if any(len(part) > 255 for part in name.split(os.sep.encode())):
            raise Unfit(value, f"{self.expected}, each of its names at most 255 bytes long")
        if not name or b"\0" in name:
            raise Unfit(value, f"{self.expected}, not empty and without NUL")
        return value

    @staticmethod
    def _encoded(value: Any) -> bytes | None:
        text = os.fspath(value)
        return os.fsencode(text) if isinstance(text, str) else None


@dataclass(frozen=True)
class ModelLike(Fitting):
    """Something with parameters."""

    expected: str = "a model, such as lens.load gives, or a Hugging Face model"

    def fits(self, value: Any) -> bool:
        """Whether the value has parameters, as a torch module has."""
        return not isinstance(value, type) and callable(getattr(value, "parameters", None))


@dataclass(frozen=True)
class Indices(Check):
    """Indices on an axis: one, a slice, a range, a sequence of them, or None for all; no floats and no truth values."""

    axis: str = "index"
    one: Check = Whole(-(2**31), 2**31)

    @property
    def expected(self) -> str:
        """The ways to name the indices of the axis."""
        return f"{self.axis} numbers: an int, a slice, a range, a list of ints, or None for all"

    def take(self, value: Any) -> Any:
        """The indices as they were given, each item of a list checked."""
        if value is None or (type(value) is int and -(2**31) <= value <= 2**31):
            return value
        if type(value) is tuple and all(type(one) is int and -(2**31) <= one <= 2**31 for one in value):
            return value  # what sweeps make thousands of
        if isinstance(value, slice):
            for part in (value.start, value.stop, value.step):
                if (part is not None and (type(part) is not int or abs(part) > 2**63 - 1)) or part is value.step == 0:
                    raise Unfit(value, f"{self.expected}; a slice is of whole numbers, and its step is not 0")
            return value
        if isinstance(value, range):
            for end in value[:1], value[-1:]:
                for i in end:
                    self.item(i)
            return value
        if hasattr(value, "dtype") and getattr(value, "ndim", None):
            if value.ndim != 1 or _truth(value) or "int" not in str(value.dtype):
                hint = "; of truth values take numpy.flatnonzero" if _truth(value) else ""
                raise Unfit(value, self.expected + hint)
            return value.tolist()
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            return items(value, self.item)
        return self.item(value)

    def item(self, value: Any) -> Any:
        """One index of a list."""
        try:
            return self.one.take(value)
        except Unfit:
            raise Unfit(value, self.expected) from None


@dataclass(frozen=True)
class Places(Indices):
    """Token positions: indices, names, slices and groups."""

    axis: str = "position"

    @property
    def expected(self) -> str:
        """The ways to name token positions."""
        return "token positions: an int, a name, a slice, a range, a list of those, or None for all"

    def take(self, value: Any) -> Any:
        """The positions as they were given, names among them."""
        return Text().take(value) if isinstance(value, str) else super().take(value)

    def item(self, value: Any) -> Any:
        """One position of a list, or one group of them."""
        if isinstance(value, (str, slice, range)):
            return self.take(value)
        if isinstance(value, (tuple, list)):
            return items(value, super().item)
        return super().item(value)


class Filled(Fitting):
    """Of at least one item."""

    expected = "at least one item"

    def fits(self, value: Any) -> bool:
        """Whether there is at least one item."""
        return len(value) > 0


def items(value: Sequence[Any], take: Callable[[Any], Any]) -> Any:
    """The items of a list or tuple, each taken; the very list where all were handed on as they are."""
    checked, same = [], True
    for i, item in enumerate(value):
        try:
            checked.append(take(item))
        except Unfit as found:
            raise Unfit(found.value, found.expected, f"[{i}]{found.where}", found.choice) from None
        same = same and checked[-1] is item
    return value if same else tuple(checked) if isinstance(value, tuple) else checked


def is_sequence(value: Any) -> bool:
    """Whether a value has a length and items in an order, and is no text."""
    if isinstance(value, (list, tuple)):
        return True
    if (
        isinstance(value, (str, bytes, bytearray, memoryview, Mapping, Set))
        or not (hasattr(value, "__len__") and hasattr(value, "__getitem__"))
        or isinstance(value, type)
    ):
        return False
    return getattr(value, "ndim", 1) != 0 and not hasattr(value, "data_vars")
