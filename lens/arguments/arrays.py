"""Checks that look into arrays, and what makes an array of whatever was given; NumPy is imported when the first is made use of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .kinds import Check, Unfit, is_sequence, unfit


class Labels(Check):
    """A list or array of labels, one number or text for each unit, handed on as an array."""

    expected = "a list of labels, one number or text for each"

    def take(self, value: Any) -> Any:
        import numpy as np

        try:
            if not is_sequence(value):
                raise TypeError
            made = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
            if made.ndim != 1 or made.dtype.kind not in "biufUSO":
                raise TypeError
        except Exception:
            raise Unfit(value, self.expected) from None
        return made


class AllFinite(Check):
    """An array or tensor without NaN and infinity."""

    expected = "finite numbers, without NaN and infinity"

    def take(self, value: Any) -> Any:
        try:
            import numpy as np

            fits = (
                bool(value.isfinite().all())
                if hasattr(value, "isfinite")
                else bool(np.isfinite(np.asarray(value)).all())
            )
        except Exception:
            fits = False
        if not fits:
            raise Unfit(value, self.expected)
        return value


def array(value: Any, name: str, expected: str, error: type[Exception], kinds: str = "biuf", dtype: Any = None) -> Any:
    """A list, array or tensor as a NumPy array whose dtype is of one of the kinds, as ``dtype`` where that is given.

    Raises ``error`` with the text of every door.
    """
    import numpy as np

    try:
        held = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if held.dtype.kind not in kinds and held.size:
            raise TypeError(held.dtype)
        return held if dtype is None else held.astype(dtype)
    except Exception:  # an object may fail in any way
        raise error(unfit(name, value, expected)) from None


def _absent(value: Any) -> bool:
    """Whether a tensor has no values, or not each of them."""
    return getattr(value, "is_meta", False) or getattr(value, "is_sparse", False)


@dataclass(frozen=True)
class Numbers(Check):
    """An array, tensor or list of real numbers with so many axes; ``truth``: of truth values, also as 0 and 1."""

    axes: int = 1
    truth: bool = False

    @property
    def expected(self) -> str:
        what = f"{'truth values' if self.truth else 'numbers'} with {self.axes} ax{'i' if self.axes == 1 else 'e'}s"
        return f"{what}: an array, a tensor or a list"

    def take(self, value: Any) -> Any:
        try:
            import numpy as np

            fits = is_sequence(value) and not _absent(value)
            if fits:
                # an array elsewhere than on the CPU is not fetched for this
                array = value if hasattr(value, "dtype") and hasattr(value, "ndim") else np.asarray(value)
                kind = str(array.dtype).removeprefix("torch.")
                kinds = ("bool", "int", "uint") if self.truth else ("int", "uint", "float", "bfloat")
                fits = array.ndim == self.axes and kind.startswith(kinds)
        except Exception:
            fits = False
        if not fits:
            raise Unfit(value, self.expected)
        return value


@dataclass(frozen=True)
class Ids(Check):
    """Rows of token ids: an array [n, length] or a list of rows, all of whole numbers; or an object with `ids`.

    ``one``: also the ids of one row.
    """

    one: bool = False

    @property
    def expected(self) -> str:
        what = f"{'token ids, or ' if self.one else ''}rows of token ids, whole numbers"
        return f"{what}: an array [n, length], a list of rows, or an object with `ids`"

    def take(self, value: Any) -> Any:
        try:
            given = getattr(value, "ids", value)
            fits = self._whole(given, 2) or self.one and self._whole(given, 1)
        except Exception:
            fits = False
        if not fits:
            raise Unfit(value, self.expected)
        return value

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
        return not len(row) or row.ndim == 1 and row.dtype.kind in "iu" and row.dtype != np.uint64
