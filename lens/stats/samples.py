"""What every statistic here shares: input checks, missing values, seeds, and the two result types.

Rules that hold in the whole package:

- NaN means missing. Each cell (each position on the axes that are not resampled) uses its own present values.
- An infinite value is refused: it is a fault upstream and no interval can hold it.
- A seed is an integer argument. The same seed gives the same numbers, whatever the memory budget or the other cells.
- One sample that is too small raises; in an array of many cells the small ones become NaN, unless all of them are too
  small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arguments import Number, Unfit, Whole, shown, unfit
from ..errors import Error

ALTERNATIVES = ("two-sided", "greater", "less")
GUARANTEED = ("exact", "monte carlo", "bound", "e-value")


class StatisticsError(Error, ValueError):
    """A statistic was asked of input that cannot give it; the text names the argument and the next step."""


@dataclass(frozen=True, eq=False)
class Interval:
    """An estimate with its confidence interval; arrays of one shape when many cells were given.

    `n` counts the values that were present; `method` says how the interval was made, `statistic` what it is of. `kind`
    names the interval of each cell (a text, or an array of them), or says why there is none; by default it is `method`.
    """

    estimate: Any
    low: Any
    high: Any
    level: float
    n: Any
    method: str
    statistic: str = "mean"
    kind: Any = ""

    def __post_init__(self) -> None:
        if isinstance(self.kind, str) and not self.kind:
            missing = np.isnan(np.asarray(self.low, float)) | np.isnan(np.asarray(self.high, float))
            named = self.method if self.method.startswith(("none", "not available")) else "not available"
            object.__setattr__(self, "kind", plain(np.where(missing, named, self.method)))

    def excludes(self, value: float = 0.0):
        """True where `value` lies outside the interval (False where the interval is NaN)."""
        return plain((np.asarray(self.low) > value) | (np.asarray(self.high) < value))

    def __str__(self) -> str:
        how = f"{percent(self.level)} % {self.method}"
        if np.ndim(self.estimate) == 0:
            value, n = f"{self.statistic} {short(self.estimate)}", f"n = {whole(self.n)}"
            if np.isnan(float(self.low)) and np.isnan(float(self.high)):
                why = str(self.kind).removeprefix("not available").removeprefix("none").lstrip(":, ")
                return f"{value} (no interval{f': {why}' if why else ''}), {n}"
            return f"{value} [{short(self.low)}, {short(self.high)}], {n}, {how}"
        cells = f"{self.statistic} of {shape_text(self.estimate)} cells: {span(self.estimate)}"
        return f"{cells}, n = {counts(self.n)}, {how}; excludes 0 in {whole(np.sum(self.excludes()))}"


@dataclass(frozen=True, eq=False)
class PValue:
    """A p-value that says which kind it is: "exact", "monte carlo", "bound", "e-value", "approximate", or "mixed" over
    cells.

    `method` says what was counted, `statistic` is the observed value, `floor` the smallest p this test can return.
    `condition`: what the data cannot show and a guarantee rests on; `reason`: why a test that is guaranteed elsewhere
    is only approximate here.
    """

    p: Any
    kind: str
    n: Any
    method: str
    statistic: Any = np.nan
    alternative: str = "two-sided"
    floor: Any = 0.0
    condition: str = ""
    reason: str = ""

    @property
    def guaranteed(self) -> bool:
        """True if under the test's null, and its `condition`, P(p <= a) is at most a for every a and n; false for an
        approximation.
        """
        return self.kind in GUARANTEED

    @property
    def worth(self) -> str:
        """What p may be called: "guaranteed", "guaranteed if ..." with its condition, or "an approximation" with the
        reason.
        """
        if self.guaranteed:
            return f"guaranteed if {self.condition}" if self.condition else "guaranteed"
        return f"an approximation: {self.reason}" if self.reason else "an approximation"

    @property
    def kind_if(self) -> str:
        """The kind with its condition or its doubt, as columns of tables say it: "exact if ...", "approximate: ..."."""
        about = (
            f" if {self.condition}" if self.guaranteed and self.condition else f": {self.reason}" if self.reason else ""
        )
        return f"{self.kind}{about}"

    def given(self, condition: str) -> PValue:
        """The same p with one more condition."""
        return replace(self, condition="; ".join(dict.fromkeys(text for text in (self.condition, condition) if text)))

    def doubted(self, reason: str) -> PValue:
        """The same p, approximate for this reason: a check can only take a guarantee away, so that it never makes a p
        too small.
        """
        return replace(
            self,
            kind="approximate",
            condition="",
            reason="; ".join(dict.fromkeys(text for text in (self.reason, reason) if text)),
        )

    def __float__(self) -> float:
        return float(self.p)

    def __str__(self) -> str:
        kind = "Monte Carlo" if self.kind == "monte carlo" else self.kind
        side = "" if self.alternative == "two-sided" else f", {self.alternative}"
        if np.ndim(self.p) == 0:
            at_floor = ", the smallest it can be" if self.p <= self.floor else ""
            return f"p = {probability(self.p)}{at_floor} ({kind}, {self.method}, n = {whole(self.n)}{side})"
        small = whole(np.sum(np.asarray(self.p) <= 0.05))
        cells = f"p of {shape_text(self.p)} cells: {span(self.p)}, {small} at most 0.05"
        return f"{cells} ({kind}, {self.method}, n = {counts(self.n)}{side})"


# ---- input -------------------------------------------------------------------------------------------------------


def as_array(x, name: str, infinite: bool = False) -> np.ndarray:
    """Float64 NumPy array from a list, NumPy array, xarray DataArray or torch tensor; infinite values only where
    allowed.
    """
    try:
        if hasattr(x, "detach"):
            x = x.detach().cpu().double()
        array = np.asarray(x)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        array = array.astype(np.float64)
    except Exception as error:  # an object may fail in any way
        raise StatisticsError(
            f"{name} = {excerpt(x)} is not an array of real numbers ({error}); "
            "give numbers, NaN where a value is missing."
        ) from error
    if not infinite and np.isinf(array).any():
        where = tuple(int(i) for i in np.argwhere(np.isinf(array))[0])
        raise StatisticsError(
            f"{name} has an infinite value at index {where}; expected finite numbers or NaN. "
            "Find where it overflows, or set it to NaN to leave it out."
        )
    return array


def as_sample(x, name: str = "x", axis: int = 0) -> np.ndarray:
    """`as_array` with the resampled axis first; refuses an empty sample and one that is missing throughout."""
    array = as_array(x, name)
    if array.ndim == 0:
        raise StatisticsError(f"{name} = {excerpt(x)} is a single number; expected a sample with at least one axis.")
    check_axis(axis, array, name)
    if array.size == 0:
        raise StatisticsError(
            f"{name} is empty (shape {array.shape}); expected at least one value. Check the filter that made it."
        )
    if np.isnan(array).all():
        raise StatisticsError(
            f"{name} (shape {array.shape}) is NaN throughout: every value is missing. Check the step that computed it."
        )
    return np.moveaxis(array, axis, 0)


def check_axis(axis, array: np.ndarray, name: str) -> None:
    """Refuse an axis that `array` does not have."""
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -array.ndim <= axis < array.ndim:
        raise StatisticsError(
            f"axis = {shown(axis)} is not an axis of {name}, which has shape {array.shape}; give an integer from"
            f" {-array.ndim} to {array.ndim - 1}."
        )


def as_weights(weights, shape: tuple[int, ...], of: str) -> np.ndarray:
    """Weights of at least 0, not all 0, broadcast to `shape`; ones when None."""
    if weights is None:
        return np.ones(shape)
    array = as_array(weights, "weights")
    if np.isnan(array).any() or (array < 0).any() or not array.any():
        raise StatisticsError(
            "weights must be numbers of at least 0, not all 0; give one for each value, or leave weights out."
        )
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise StatisticsError(
            f"weights has shape {array.shape} and {of} has shape {shape}; expected shapes that broadcast. Give one"
            f" weight for each value of {of}."
        ) from error


def as_p_values(p, name: str = "p") -> np.ndarray:
    """Float64 array of p-values in [0, 1] or NaN, from arrays or a `PValue`."""
    array = as_array(p.p if isinstance(p, PValue) else p, name)
    if array.size == 0:
        raise StatisticsError(f"{name} is empty; expected at least one p-value.")
    bad = (array < 0) | (array > 1)
    if bad.any():
        raise StatisticsError(
            f"{name} has the value {array[bad].flat[0]:g}; expected p-values from 0 to 1, NaN where missing."
        )
    return array


def refuse_copies(values: np.ndarray, axis: int | None, independent: bool | None, name: str, what: str) -> None:
    """Refuse equal values where independent ones are asked for (NaN apart), unless the caller says that they are
    independent and tie by themselves.
    """
    if independent:
        return
    lines = values.reshape(-1, 1) if axis is None else np.moveaxis(values, axis, 0)
    lines = np.sort(lines.reshape(lines.shape[0], -1), axis=0)
    twice = lines[1:] == lines[:-1]
    if twice.any():
        raise StatisticsError(
            f"{name} has the value {lines[1:][twice][0]:g} more than once; {what} holds for independent tests, and"
            " equal values look like copies of one. Give each test once; if they are independent and tie because they"
            " are discrete, say independent=True."
        )


def check_open_unit(value, name: str) -> float:
    """`value` as a float strictly between 0 and 1."""
    return float(Number(0, 1, closed=False).of(value, name, StatisticsError, "give a fraction such as 0.05 or 0.95"))


def check_count(value, name: str, least: int = 1, reason: str = "") -> int:
    """`value` as an int of at least `least`."""
    try:
        return Whole(least).take(value)
    except Unfit as found:
        why = f"at least {least} {reason}" if reason else f"at least {least}"
        raise StatisticsError(unfit(name, value, found.expected.replace(f"at least {least}", why))) from None


def check_choice(value, name: str, choices) -> str:
    """`value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise StatisticsError(f"{name} = {shown(value)}; expected one of {', '.join(repr(c) for c in choices)}.")
    return value


def check_same_shape(x: np.ndarray, y: np.ndarray, names: tuple[str, str], next_step: str) -> None:
    """Refuse two arrays whose shapes differ."""
    if x.shape != y.shape:
        raise StatisticsError(
            f"{names[0]} has shape {x.shape} and {names[1]} has shape {y.shape}; expected equal shapes. {next_step}"
        )


def generator(seed) -> np.random.Generator:
    """The one source of randomness: PCG64 started from an integer seed."""
    return np.random.Generator(
        np.random.PCG64(
            Whole(0, 2**63 - 1).of(seed, "seed", StatisticsError, "a second run with it gives the same numbers")
        )
    )


# ---- cells and memory --------------------------------------------------------------------------------------------


def groups_by_missing(present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each set of cells that miss the same rows; `present` is bool [rows, cells]."""
    if present.all():
        yield np.arange(present.shape[0]), np.arange(present.shape[1])
        return
    _, pattern = np.unique(np.packbits(present, axis=0), axis=1, return_inverse=True)
    order = np.argsort(pattern.ravel(), kind="stable")
    for cells in np.split(order, np.flatnonzero(np.diff(pattern.ravel()[order])) + 1):
        yield np.flatnonzero(present[:, cells[0]]), cells


def blocks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(total)."""
    size = max(1, int(size))
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def budget(memory_mb: float) -> int:
    """How many float64 numbers one working array may hold; four such arrays are alive at once."""
    Number(0, above=True).of(memory_mb, "memory_mb", StatisticsError, "give a number of megabytes, such as 200")
    return max(1, int(memory_mb * 2**20 / 8 / 4))


def unwrap(values: np.ndarray, shape: tuple[int, ...]):
    """Cells back in their own shape; a Python number when there is one cell and no axis."""
    return plain(np.asarray(values).reshape(shape))


# ---- text --------------------------------------------------------------------------------------------------------


def plain(array):
    """An array without an axis as a Python number; others as they are."""
    return array.item() if np.ndim(array) == 0 and hasattr(array, "item") else array


def excerpt(x) -> str:
    """A value, cut to what an error message has room for."""
    return shown(x)


def short(value) -> str:
    """A number with three digits."""
    return f"{float(value):.3g}"


def probability(value) -> str:
    """A probability with two digits."""
    return f"{float(value):.2g}"


def percent(level: float) -> str:
    """A level between 0 and 1 in per cent, without the sign."""
    return f"{100 * level:.10g}"


def whole(value) -> str:
    """A whole number with a space between the thousands."""
    return f"{int(value):,}".replace(",", " ")


def shape_text(array) -> str:
    """The shape of an array, as in "3 x 4"."""
    return " x ".join(str(size) for size in np.shape(array))


def span(array) -> str:
    """The smallest and the largest entry; missing ones do not count."""
    array = np.asarray(array, dtype=float)
    if np.isnan(array).all():
        return "all missing"
    return f"{short(np.nanmin(array))} to {short(np.nanmax(array))}"


def counts(n) -> str:
    """The smallest and the largest of some counts, or the one they share."""
    low, high = int(np.min(n)), int(np.max(n))
    return whole(low) if low == high else f"{whole(low)} to {whole(high)}"
