"""How alike two sets of states are, row by row the same prompts: cosines, CKA, Procrustes, identification.

Each measure comes as one number a row whose mean is the measure (`Rows`): the row's own value, or what the measure owes
to the row. That makes an interval over rows, and the difference of two measures of the same rows, plain means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from scipy import linalg

from lens.arguments import Draws, Labels, Seed, Share, door
from lens.stats.bounds import DIFFERENCE, SHARE, Bounds, clip
from lens.stats.means import mean_interval
from lens.stats.samples import Interval, StatisticsError, as_array, generator
from lens.stats.units import unit_means

#: Rows below which only single cosines are told.
LEAST = 10
#: Rows of a Gram matrix that are made at once.
_BLOCK = 2048
#: A set of states whose spread is below this share of their size, both squared, does not vary.
_STILL = 1e-12

Array = Float[np.ndarray, "row width"]


@dataclass(frozen=True)
class Measure:
    """What is known of a measure: its value for equal states, its bounds, and what it asks of the states."""

    same: float
    bounds: Bounds
    values: str = "number"
    equal_width: bool = True
    least: int = LEAST


MEASURES = {
    "cosine": Measure(1.0, DIFFERENCE, least=1),
    "centred_cosine": Measure(1.0, DIFFERENCE),
    "cka": Measure(1.0, DIFFERENCE, equal_width=False),
    "procrustes": Measure(0.0, (0.0, np.inf), equal_width=False),
    "identification": Measure(1.0, SHARE, "share"),
}


@door(StatisticsError)
def likeness(
    x: Any,
    y: Any,
    measure: str = "cka",
    *,
    units: Annotated[Any, Labels()] | None = None,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
) -> Interval:
    """How alike two sets of states of the same prompts are, with its interval over prompts.

    - ``cosine``: the mean cosine of the two states of a row; 1 for equal states, and of unrelated ones whatever their
      means share. Equal widths.
    - ``centred_cosine``: the same, each set's own mean taken off first; about 0 for unrelated states. Equal widths.
    - ``cka``: linear centred kernel alignment, debiased; 1 for equal states, turned and stretched ones too, 0 expected
      of unrelated ones.
    - ``procrustes``: the share of y's variance that the best rotation, scale and shift of x leave, between the leading
      directions of each (a quarter as many as fitted rows), fitted on one half of the units and read on the other, both
      ways round; 0 for equal states, 1 or more for unrelated ones.
    - ``identification``: the share of rows of x whose nearest row of y, by centred cosine and among all, is their own;
      1 for equal states, 1 / rows for unrelated ones. Equal widths.

    Args:
        x, y: ``[rows, width]``, row by row the same prompts.
        units: a label for each row; rows of one unit (a person, a template) count once. None: each row.
        level, resamples, seed: of the interval; the seed also draws the halves.

    Returns: the estimate with its interval, see `mean_interval`; of CKA by jackknife values, of Procrustes given the
        rotations.

    Raises: StatisticsError: shapes that do not fit, fewer than 10 rows (``cosine``: 2), states that are all equal.

    Source: Kornblith et al. 2019, section 3 (CKA); Song et al. 2012, equation 5 (the unbiased HSIC in it); Williams et
        al. 2021 (Procrustes); the jackknife: Efron & Tibshirani 1993, chapter 11.

    Cost: n^2 d operations, and of Procrustes min(n / 2, d)^3; memory bounded in n.

    >>> import numpy as np
    >>> states = np.random.default_rng(0).standard_normal((50, 8))
    >>> print(f"{likeness(states, states[:, ::-1]).estimate:.3f}")
    1.000
    """
    if measure not in MEASURES:
        raise StatisticsError(f"measure = {measure!r} is not known; expected one of {', '.join(MEASURES)}.")
    about = MEASURES[measure]
    a, b = (_states(v, n) for v, n in ((x, "x"), (y, "y")))
    if len(a) != len(b) or (about.equal_width and a.shape != b.shape):
        raise StatisticsError(
            f"y has shape {b.shape} and x {a.shape}; expected the same rows"
            f"{' and the same width' if about.equal_width else ''} for measure = {measure!r}."
        )
    if len(a) < max(2, about.least):
        raise StatisticsError(
            f"x has {len(a)} rows; measure = {measure!r} needs at least {max(2, about.least)}. Add prompts."
        )
    if measure != "cosine" and (still(a) or still(b)):
        raise StatisticsError(f"{'x' if still(a) else 'y'} has equal rows; nothing about them can be alike or not.")
    labels = None if units is None else np.asarray(units).astype(str)
    if labels is not None and labels.shape != (len(a),):
        raise StatisticsError(f"units has shape {labels.shape}; expected one label for each of the {len(a)} rows.")
    rows = rows_of(measure, a, b, halves(len(a), labels, seed))
    return interval_of(rows, measure, labels, level, resamples, seed)


def interval_of(
    rows: np.ndarray, measure: str, units: np.ndarray | None, level: float, resamples: int, seed: int
) -> Interval:
    """The interval of measures given by rows ``[row, ...cells]``."""
    about = MEASURES[measure]
    values = rows if units is None else unit_means(rows, units)[0]
    kind = about.values if units is None or about.values == "number" else "number"
    found = mean_interval(values, 0, level, values=kind, resamples=resamples, seed=seed, name=measure)
    return clip(found, about.bounds)


def rows_of(measure: str, x: Array, y: Array, half: np.ndarray) -> np.ndarray:
    """One number a row, whose mean is the measure; ``half``: the half of each row."""
    if measure == "cosine":
        return cosines(x, y)
    if measure == "cka":
        return _cka(x, y)
    if measure == "procrustes":
        return _share_left(_leading_of_halves(x, y, half))
    if measure == "centred_cosine":
        return _centred(x, y)
    return _identified(x, y)


def rows_and_unrelated(
    measure: str, x: Array, y: Array, half: np.ndarray, shift: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """`rows_of`, and the measure between x and other rows' y: what it is where nothing is shared but the form.

    ``shift``: for each row another one of its half; None where there is none, and then nothing is known of that.
    """
    if shift is None and measure not in ("identification", "cka"):
        return rows_of(measure, x, y, half), np.nan
    if measure == "procrustes":
        leading = _leading_of_halves(x, y, half)
        return _share_left(leading), float(_share_left(leading, shift).mean())
    rows = rows_of(measure, x, y, half)
    if measure == "identification":
        return rows, 1 / len(x)
    # debiased
    return rows, 0.0 if measure == "cka" else float(rows_of(measure, x, y[shift], half).mean())


def shifts(half: np.ndarray, seed: int, units: np.ndarray | None = None) -> np.ndarray | None:
    """For each row another one of its half, and of another unit, all of a half along one circle; None where a unit is
    more than half of a half.
    """
    rng = generator(seed)
    shift = np.empty(len(half), int)
    for one in (0, 1):
        order = rng.permutation(np.flatnonzero(half == one))
        step = 1
        if units is not None and len(order):
            # rows of a unit side by side: as many places on as the largest has rows, everybody is in another one
            _, number, counts = np.unique(units[order], return_inverse=True, return_counts=True)
            order, step = order[np.argsort(rng.permutation(len(counts))[number], kind="stable")], int(counts.max())
            if 2 * step > len(order):
                return None
        shift[order] = np.roll(order, step)
    return shift


def halves(n: int, units: np.ndarray | None, seed: int) -> Float[np.ndarray, " row"]:
    """Of each row, which half it belongs to (0 or 1); units stay whole."""
    rng = generator(seed)
    if units is None:
        return rng.permutation(n) % 2
    _, number = np.unique(units, return_inverse=True)
    return (rng.permutation(number.max() + 1) % 2)[number]


def still(x: Array) -> bool:
    """Whether the rows do not vary beyond rounding."""
    spread = x - x.mean(0)
    return bool((spread * spread).sum() <= _STILL * (x * x).sum())


def cosines(x: Array, y: Array) -> Float[np.ndarray, " row"]:
    """The cosine of each row of x with that of y; NaN where one is 0."""
    dot = np.einsum("id,id->i", x, y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(dot / np.sqrt(np.einsum("id,id->i", x, x) * np.einsum("id,id->i", y, y)), -1.0, 1.0)


def _centred(x: Array, y: Array) -> np.ndarray:
    """Cosines of centred rows, with what the measure owes to each row through the two means."""
    u, v = x - x.mean(0), y - y.mean(0)
    c = cosines(u, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        nu, nv = (1 / np.sqrt(np.einsum("id,id->i", w, w)) for w in (u, v))
    there = np.isfinite(c)
    # the mean cosine's derivative by each set's mean
    gu = -np.mean((v * (nu * nv)[:, None] - u * (c * nu * nu)[:, None])[there], 0)
    gv = -np.mean((u * (nu * nv)[:, None] - v * (c * nv * nv)[:, None])[there], 0)
    return c + u @ gu + v @ gv


def _cka(x: Array, y: Array) -> np.ndarray:
    """Debiased linear CKA by jackknife values, moved so that their mean is the estimate."""
    x, y = x - x.mean(0), y - y.mean(0)
    n = len(x)
    xy, xx, yy = (_hsic(a, b, q) for (a, b), q in zip(((x, y), (x, x), (y, y)), _products(x, y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        whole, without = (h / np.sqrt(k * l) for h, k, l in ((xy[0], xx[0], yy[0]), (xy[1], xx[1], yy[1])))
    # what each row adds: the jackknife value about the estimate
    owed = (n - 1) * (without.mean() - without)
    return np.asarray(whole + owed)


def _products(x: Array, y: Array) -> list[np.ndarray]:
    """Of each row i, the sums over j != i of K L, K K and L L, of the Gram matrices K of x and L of y."""
    own = [np.einsum("id,id->i", a, a) for a in (x, y)]
    n = len(x)
    if n > 4 * max(x.shape[1], y.shape[1]):
        sums = [np.einsum("id,id->i", a @ (a.T @ b), b) for a, b in ((x, y), (x, x), (y, y))]
    else:
        sums = [np.empty(n) for _ in range(3)]
        for i in range(0, n, _BLOCK):
            k, l = (a[i : i + _BLOCK] @ a.T for a in (x, y))
            for out, (a, b) in zip(sums, ((k, l), (k, k), (l, l))):
                out[i : i + _BLOCK] = np.einsum("ij,ij->i", a, b)
    return [s - own[p] * own[q] for s, (p, q) in zip(sums, ((0, 1), (0, 0), (1, 1)))]


def _hsic(x: Array, y: Array, q: np.ndarray) -> tuple[float, np.ndarray]:
    """The unbiased HSIC of two sets of rows with linear kernels, and that without each row; q: see `_products`."""
    n = len(x)
    own = [np.einsum("id,id->i", a, a) for a in (x, y)]
    r, s = (a @ a.sum(0) - o for a, o in zip((x, y), own))
    across = x @ (x.T @ s) - own[0] * s + y @ (y.T @ r) - own[1] * r
    total, mixed = q.sum(), (r * s).sum()

    def value(total: Any, mixed: Any, k: Any, l: Any, n: int) -> Any:
        return (total + k * l / ((n - 1) * (n - 2)) - 2 * mixed / (n - 2)) / (n * (n - 3))

    without = value(total - 2 * q, mixed - r * s - across + q, r.sum() - 2 * r, s.sum() - 2 * s, n - 1)
    return float(value(total, mixed, r.sum(), s.sum(), n)), without


def _leading_of_halves(x: Array, y: Array, half: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Fitted on each half: which rows it is, and all rows of x and of y along their leading directions there."""
    parts = []
    for fitted in (0, 1):
        fit = half == fitted
        k = max(1, min(x.shape[1], y.shape[1], int(fit.sum()) // 4))
        parts.append((fit, *(_leading(a, fit, k) for a in (x, y))))
    return parts


def _share_left(parts: list[tuple[np.ndarray, ...]], shift: np.ndarray | None = None) -> np.ndarray:
    """The share of variance left, as a ratio of sums over rows, with what it owes to each row."""
    left, whole = (np.empty(len(parts[0][0])) for _ in range(2))
    for fit, p, of_y in parts:
        q = of_y if shift is None else of_y[shift]
        u, size, v = linalg.svd(p[fit].T @ q[fit])
        scale = size.sum() / (p[fit] * p[fit]).sum()
        rest = q[~fit] - scale * (p[~fit] @ (u @ v))
        left[~fit], whole[~fit] = (rest * rest).sum(1), (q[~fit] * q[~fit]).sum(1)
    share = left.sum() / whole.sum()
    return np.asarray(share + (left - share * whole) / whole.mean())


def _leading(x: Array, fit: np.ndarray, k: int) -> np.ndarray:
    """All rows along the k directions of largest variance of some, about their mean."""
    x = x - x[fit].mean(0)
    some = x[fit]
    n, d = some.shape
    if d <= n:
        _, axes = linalg.eigh(some.T @ some, subset_by_index=(d - k, d - 1))
    else:
        size, rows = linalg.eigh(some @ some.T, subset_by_index=(n - k, n - 1))
        axes = some.T @ (rows / np.sqrt(np.maximum(size, np.finfo(float).tiny)))
    return np.asarray(x @ axes)


def _identified(x: Array, y: Array) -> np.ndarray:
    u, v = x - x.mean(0), y - y.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
    v = np.nan_to_num(v)
    out = np.empty(len(x))
    for i in range(0, len(x), _BLOCK):
        near = u[i : i + _BLOCK] @ v.T
        out[i : i + _BLOCK] = near.argmax(1) == np.arange(i, i + len(near))
    return out


def _states(value: Any, name: str) -> Array:
    array = as_array(value, name)
    if array.ndim != 2 or not array.shape[1] or not np.isfinite(array).all():
        raise StatisticsError(
            f"{name} has shape {array.shape}; expected finite states, [rows, width]. Flatten heads into the width."
        )
    return array
