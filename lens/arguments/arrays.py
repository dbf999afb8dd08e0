"""Checks that look into arrays, and what makes an array of whatever was given; NumPy is imported at the first use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .checks import Check, Fitting, Unfit, shown, tried, unfit
from .kinds import is_sequence


class Labels(Check):
    """A list or array of labels, one number or text for each unit, handed on as an array."""

    expected = "a list of labels, one number or text for each"

    def take(self, value: Any) -> Any:
        """The labels as a NumPy array with one axis."""
        labels = tried(_held, value) if tried(is_sequence, value) else None
        if labels is None or labels.ndim != 1 or labels.dtype.kind not in "biufUSO":
            raise Unfit(value, self.expected)
        return labels


class AllFinite(Fitting):
    """An array or tensor without NaN and infinity."""

    expected = "finite numbers, without NaN and infinity"

    def fits(self, value: Any) -> bool:
        """Whether every entry of an array or a tensor is finite."""
        import numpy as np

        return bool((value.isfinite() if hasattr(value, "isfinite") else np.isfinite(np.asarray(value))).all())


def array(value: Any, name: str, expected: str, error: type[Exception], kinds: str = "biuf", dtype: Any = None) -> Any:
    """A list, array or tensor as a NumPy array whose dtype is of one of the kinds, as ``dtype`` where that is given.

    Raises ``error`` with the text of every door.
    """

    def read(content: Any) -> Any:
        plain = _held(content)
        if plain.dtype.kind not in kinds and plain.size:
            return None
        return plain if dtype is None else plain.astype(dtype)

    result = tried(read, value)
    if result is None:
        raise error(unfit(name, value, expected))
    return result


def _held(value: Any) -> Any:
    """A value as a NumPy array, wherever it lies."""
    import numpy as np

    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _absent(value: Any) -> bool:
    """Whether a tensor has no values, or not each of them."""
    return getattr(value, "is_meta", False) or getattr(value, "is_sparse", False)


@dataclass(frozen=True)
class Numbers(Fitting):
    """An array, tensor or list of real numbers with so many axes; ``truth``: of truth values, also as 0 and 1."""

    axes: int = 1
    truth: bool = False

    @property
    def expected(self) -> str:
        """Numbers or truth values and their axes, in words."""
        what = f"{'truth values' if self.truth else 'numbers'} with {self.axes} ax{'i' if self.axes == 1 else 'e'}s"
        return f"{what}: an array, a tensor or a list"

    def fits(self, value: Any) -> bool:
        """Whether the value has so many axes and a dtype of the kind."""
        import numpy as np

        if not is_sequence(value) or _absent(value):
            return False
        # an array elsewhere than on the CPU is not fetched for this
        array = value if hasattr(value, "dtype") and hasattr(value, "ndim") else np.asarray(value)
        kinds = ("bool", "int", "uint") if self.truth else ("int", "uint", "float", "bfloat")
        return array.ndim == self.axes and str(array.dtype).removeprefix("torch.").startswith(kinds)


@dataclass(frozen=True)
class Ids(Fitting):
    """Rows of token ids: an array [n, length] or a list of rows, all of whole numbers; or an object with `ids`.

    ``one``: also the ids of one row.
    """

    one: bool = False

    @property
    def expected(self) -> str:
        """Rows of token ids and their forms, in words."""
        what = f"{'token ids, or ' if self.one else ''}rows of token ids, whole numbers"
        return f"{what}: an array [n, length], a list of rows, or an object with `ids`"

    def fits(self, value: Any) -> bool:
        """Whether the value, or its `ids`, holds whole numbers in rows."""
        ids = getattr(value, "ids", value)
        return self._whole(ids, 2) or (self.one and self._whole(ids, 1))

    @classmethod
    def _whole(cls, value: Any, axes: int) -> bool:
        """Whether a value is whole numbers of so many axes; rows need not be as long as each other."""
        if isinstance(value, (range, type)) or _absent(value):
            return False
        if hasattr(value, "dtype") and hasattr(value, "ndim"):
            return value.ndim == axes and "int" in str(value.dtype) and "uint64" not in str(value.dtype)
        if not is_sequence(value):
            return False
        if axes > 1:
            return all(cls._whole(row, axes - 1) for row in value)
        import numpy as np

        row = np.asarray(value)
        return not len(row) or (row.ndim == 1 and row.dtype.kind in "iu" and row.dtype != np.uint64)


def different_numbers(values: Any, name: str, error: type[Exception]) -> list[float]:
    """The numbers of one axis of a grid, one or several, each of them once.

    Raises ``error``: none at all, or one that comes twice.
    """
    numbers = [float(value) for value in (values if is_sequence(values) else [values])]
    if not numbers or len(set(numbers)) < len(numbers):
        raise error(f"{name}={shown(numbers)}: expected different numbers, at least one.")
    return numbers
