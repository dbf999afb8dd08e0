"""The one error of this family, and the record that its results carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..arguments import Check, Unfit, Whole, unfit
from ..errors import Error
from ..results import dataset as results
from ..results.record import Plainly, record_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel
from ..scoring.likelihood import ScoringError, plain


class MemorizationError(Error, ValueError):
    """Sequences, a model or an argument of this family that cannot be used; the message names it, its value and the
    next step.
    """


@dataclass(frozen=True)
class Holds(Check):
    """A result that holds what a function reads of it: `variables` (or coordinates), along `axes`."""

    made_by: str
    variables: tuple[str, ...]
    axes: tuple[str, ...] = ("sequence",)

    @property
    def expected(self) -> str:
        """The call that makes such a result, with its variables and axes."""
        return f"a result of {self.made_by}, with {', '.join(self.variables) or 'values'} over {', '.join(self.axes)}"

    def take(self, value: Any) -> Any:
        """The dataset itself, where it has the variables and no axis is empty."""
        if (
            not isinstance(value, xr.Dataset)
            or any(name not in value.variables for name in self.variables)
            or any(not value.sizes.get(axis) for axis in self.axes)
        ):
            raise Unfit(value, self.expected)
        return value


def stamp(
    ds: xr.Dataset, model: Any, core: PreTrainedModel, kind: str, call: Mapping[str, Any], seed: int | None = None
) -> xr.Dataset:
    """The result with its record: the model as it is now (an edit in force is in its weight hash), the call and the
    seed.
    """
    source = model if hasattr(model, "cfg") else core
    view = Plainly(source, core.dtype, core.device)
    return results.stamp(ds, record_of(source, view, kind, call, seed=seed, status="complete"))


def labels(value: Any, n: int, name: str, of: str = "sequence") -> np.ndarray:
    """One label for each of n units: an array of them, or one for all."""
    try:
        array = np.asarray(value if not isinstance(value, (tuple, set)) else list(value))
        if array.dtype.kind not in "biufUOM" or (
            array.dtype.kind == "O" and not all(isinstance(v, (str, int, float, tuple, type(None))) for v in array.flat)
        ):
            raise TypeError
    except Exception:  # nothing that labels can be made of
        raise MemorizationError(
            unfit(name, value, f"a label, a number or text, for each {of}, or one for all")
        ) from None
    array = np.repeat(array[None], n, 0) if array.ndim == 0 else array
    if array.shape != (n,):
        raise MemorizationError(f"{name} has shape {array.shape}; expected one for each {of}, ({n},).")
    return array


def counts(value: Any, n: int, name: str) -> np.ndarray:
    """One count of at least 0 for each of n sequences, or one for all."""
    array = labels(value, n, name)
    if array.dtype.kind not in "iuf" or not (
        np.isfinite(array).all() and (array == np.round(array)).all() and (array >= 0).all() and (array < 2**62).all()
    ):
        raise MemorizationError(unfit(name, value, "counts of at least 0"))
    return array.astype(np.int64)


def token_rows(value: Any) -> list[np.ndarray]:
    """Rows of token ids, of any lengths, as arrays; of an object with `ids` these."""
    rows: Any = getattr(value, "ids", value)
    return [np.asarray(row.cpu() if hasattr(row, "cpu") else row, np.int64) for row in rows]


def table(value: Any, name: str) -> np.ndarray:
    """Token ids [n, length]: rows of one length."""
    rows = token_rows(value)
    if len({len(row) for row in rows}) > 1:
        raise MemorizationError(unfit(name, value, "rows of one length"))
    return np.array(rows, np.int64)


def causal(model: Any, name: str) -> None:
    """Refuse what is no causal language model that can be read, by the name of the argument that it is."""
    try:
        plain(model)
    except ScoringError as error:
        raise MemorizationError(f"{name}: {error}") from None


def whole(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`."""
    return Whole(least).of(value, name, MemorizationError)
