"""Many p-values: adjustment for having looked often, and combination into one."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from lens.arguments import door
from lens.stats.samples import StatisticsError, as_p_values, as_weights, check_axis, check_choice, refuse_copies


@door(StatisticsError)
def holm(p, axis: int | None = None) -> np.ndarray:
    """Holm's step-down adjusted p-values: family-wise error, under any dependence.

    `axis=None` takes all of `p` as one family, an integer each line along that axis. NaN stays NaN and is not counted.
    Returns the shape of `p`. Raises `StatisticsError`. Source: Holm 1979.
    """
    return _adjust(p, axis, lambda sorted_p, rank, m: np.maximum.accumulate((m - rank + 1) * sorted_p, axis=0))


@door(StatisticsError)
def benjamini_hochberg(p, axis: int | None = None, dependence: str = "positive") -> np.ndarray:
    """Step-up adjusted p-values: false discovery rate.

    `dependence`: "positive" (independent or positively dependent tests; Benjamini & Hochberg 1995) or "any" (Benjamini
    & Yekutieli 2001). Families and NaN as in `holm`. Raises `StatisticsError`.
    """
    check_choice(dependence, "dependence", ("positive", "any"))

    def step_up(sorted_p, rank, m):
        scaled = np.where(rank <= m, sorted_p * m / rank, np.inf)
        if dependence == "any":
            scaled = scaled * (special.digamma(m + 1) + np.euler_gamma)
        return np.minimum.accumulate(scaled[::-1], axis=0)[::-1]

    return _adjust(p, axis, step_up)


@door(StatisticsError)
def combine_p(p, method: str = "fisher", weights=None, axis: int | None = None, independent: bool | None = None):
    """One p-value from several independent ones, testing that all their nulls hold: valid if the tests are independent
    and each of them is.

    `method`: "fisher" (strong when one is small; Fisher 1932) or "stouffer" (strong when all lean the same way; takes
    `weights`, as a rule the root of each sample size; Stouffer 1949). Give one-sided p-values when the direction
    matters. `axis=None` combines all of `p`, an integer each line along that axis. NaN takes no part; a line of NaN
    gives NaN. Equal values below 1, as copies of one test are (five copies are small in 17 % of true nulls), are
    refused unless you say `independent=True`. Raises `StatisticsError`.
    """
    values = as_p_values(p)
    check_choice(method, "method", ("fisher", "stouffer"))
    if weights is not None and method == "fisher":
        raise StatisticsError("weights with method = 'fisher': Fisher's method has none; use method = 'stouffer'.")
    if axis is not None:
        check_axis(axis, values, "p")
    refuse_copies(np.where(values == 1, np.nan, values), axis, independent, "p", "a combined p-value")
    axis_of = tuple(range(values.ndim)) if axis is None else axis
    present = ~np.isnan(values)
    count = present.sum(axis=axis_of)
    if method == "fisher":
        with np.errstate(divide="ignore"):
            total = np.where(present, np.log(np.where(present, values, 1.0)), 0.0).sum(axis=axis_of)
        combined = stats.chi2.sf(-2 * total, 2 * np.maximum(count, 1))
    else:
        weight = np.where(present, as_weights(weights, values.shape, "p"), 0.0)
        z = -special.ndtri(np.where(present, values, 0.5))
        norm = np.sqrt((weight**2).sum(axis=axis_of))
        with np.errstate(invalid="ignore", divide="ignore"):
            combined = stats.norm.sf((weight * z).sum(axis=axis_of) / norm)
    combined = np.where(count > 0, combined, np.nan)
    return combined.item() if combined.ndim == 0 else combined


def _adjust(p, axis, step):
    values = as_p_values(p)
    if axis is not None:
        check_axis(axis, values, "p")
    lines = values.reshape(-1, 1) if axis is None else np.moveaxis(values, axis, 0)
    flat = lines.reshape(lines.shape[0], -1)
    order = np.argsort(flat, axis=0, kind="stable")
    sorted_p = np.take_along_axis(flat, order, axis=0)
    m = (~np.isnan(flat)).sum(axis=0)
    rank = np.arange(1, flat.shape[0] + 1)[:, None]
    filled = np.where(np.isnan(sorted_p), np.inf, sorted_p)
    with np.errstate(invalid="ignore"):
        adjusted = np.minimum(step(filled, rank, m), 1.0)
    out = np.empty_like(flat)
    np.put_along_axis(out, order, np.where(np.isnan(sorted_p), np.nan, adjusted), axis=0)
    out = out.reshape(lines.shape)
    return out.reshape(values.shape) if axis is None else np.moveaxis(out, 0, axis)
