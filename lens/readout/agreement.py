"""How well an estimate of effects agrees with the exact ones, over the cells of one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ..errors import Error
from ..results.dataset import provenance
from ..stats.bounds import DIFFERENCE, SHARE, Bounds
from ..stats.intervals import Interval, bootstrap_comparison
from ..stats.means import LEAST, mean_interval
from ..stats.units import unit_means


class AgreementError(Error, ValueError):
    """Two results that cannot be compared cell by cell; the message says what differs."""


@dataclass(frozen=True)
class Agreement:
    """How an estimate agrees with the exact effects over the same cells.

    Attributes:
        pearson, spearman: correlation over cells of the effects' means over prompts. They have no interval: noise that
            the means keep lowers such a correlation, and no interval that was tried covers the one without noise (95 %
            ones in simulations: bootstrap percentiles 0 to .97, on Fisher's z scale 0 to .97, the jackknife .11 to
            .96).
        pearson_within, spearman_within: the mean over prompts of the correlation over cells in one prompt, with the
            interval of `mean_interval`; None below five prompts.
        slope: least-squares slope of estimate on exact through the origin (1 is perfect).
        top: share of the ``k`` largest exact |effects| that are among the estimate's ``k`` largest.
        sign: share of those ``k`` cells on which the signs agree.
        slope_within: the same slope over all cells of all prompts, a ratio of two means over prompts, with the interval
            of `bootstrap_comparison`. top_within, sign_within: the means over prompts of those shares of one prompt's
            own ``k`` largest, with the interval of `mean_interval`. None below five prompts. All of them are of one
            prompt's effects: those of the mean effects, whose noise is smaller, are as a rule higher.
        n_cells, n_prompts, k: sizes; `unit`: what counts as a prompt.
    """

    pearson: float
    spearman: float
    pearson_within: Interval | None
    spearman_within: Interval | None
    slope: float
    top: float
    sign: float
    k: int
    n_cells: int
    n_prompts: int
    unit: str = "prompts"
    slope_within: Interval | None = None
    top_within: Interval | None = None
    sign_within: Interval | None = None

    def table(self) -> pd.DataFrame:
        """By measure: of the ``mean_effects``, and ``within`` one prompt with ``low``, ``high`` and ``interval_kind``,
        NaN where there are fewer than five prompts.
        """
        rows = []
        for name in ("pearson", "spearman", "slope", "top", "sign"):
            within: Interval | None = getattr(self, f"{name}_within")
            numbers = (np.nan,) * 3 if within is None else (within.estimate, within.low, within.high)
            kind = f"not available: fewer than {LEAST} {self.unit}" if within is None else within.method
            rows.append((name, getattr(self, name), *numbers, kind))
        columns = ["measure", "mean_effects", "within", "low", "high", "interval_kind"]
        return pd.DataFrame(rows, columns=columns).set_index("measure")

    def __str__(self) -> str:
        within = (
            ""
            if self.pearson_within is None or self.spearman_within is None
            else (
                f"; within one of the {self.unit} Pearson {_shown(self.pearson_within)}, Spearman"
                f" {_shown(self.spearman_within)} (means, {self.pearson_within.method})"
            )
        )
        return (
            f"Pearson {self.pearson:.2f}, Spearman {self.spearman:.2f} of the mean effects{within}; slope"
            f" {self.slope:.2f}, top-{self.k} overlap {self.top:.0%}, same sign there {self.sign:.0%} ({self.n_cells}"
            f" cells, {self.n_prompts} {self.unit})"
        )


def _shown(interval: Interval) -> str:
    bounds = "" if np.isnan(interval.low) else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"{interval.estimate:.2f}{bounds}"


def compare(
    exact: xr.Dataset,
    estimate: xr.Dataset,
    *,
    same: Sequence[str] = ("metric",),
    magnitude: bool = False,
    k: int = 10,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    units: Sequence[Any] | None = None,
) -> Agreement:
    """Compares the ``effect`` of two results over the same grid, on its mean over prompts.

    Args:
        same: arguments of the two calls that must be equal.
        magnitude: the estimate is of |effect|: it is compared with the mean over prompts of the exact effects' absolute
            values.
        units: the unit of each prompt (scene, entity), so that prompts of one unit are averaged first and count as one;
            None: each prompt.
        resamples, level, seed: of the intervals.

    Raises:
        AgreementError: grids or calls that differ, or a grid without three finite cells in common.
    """
    for name, ds in (("exact", exact), ("estimate", estimate)):
        if "effect" not in ds.data_vars or ds["effect"].dtype.kind not in "fiu":
            raise AgreementError(
                f"{name} has no numbers named effect; expected a result of a method that gives effects, such as"
                " lens.patch."
            )
    for axis in ("layer", "head", "position"):
        if (axis in exact.coords) != (axis in estimate.coords) or (
            axis in exact.coords and not np.array_equal(exact[axis], estimate[axis])
        ):
            raise AgreementError(
                f"estimate and exact are not over the same grid: their {axis} axes differ; compare results over the"
                " same grid."
            )
    calls = [provenance(ds).get("call", {}) for ds in (exact, estimate)] if same else []
    for key in same:
        if calls[0].get(key) != calls[1].get(key):
            raise AgreementError(
                f"estimate has {key}={calls[1].get(key)!r}, exact {calls[0].get(key)!r}; compare estimates of the same"
                " thing."
            )
    a, b = (np.asarray(ds["effect"].transpose(*exact["effect"].dims).values, float) for ds in (exact, estimate))
    if a.shape != b.shape:
        raise AgreementError(f"estimate has the shape {b.shape}, exact {a.shape}; compare results over the same grid.")
    if magnitude:
        a = np.abs(a)
    if "prompt" not in exact.dims:
        a, b = a[None], b[None]
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    if units is not None:
        a, b = unit_means(a, units)[0], unit_means(b, units)[0]
    # keep cells that every prompt has: a mean over different prompts is not one effect
    cells = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    if cells.sum() < 3:
        raise AgreementError(
            f"exact and estimate share {int(cells.sum())} finite cells; at least 3 are needed for a correlation."
        )
    a, b = a[:, cells], b[:, cells]
    whole = a.mean(0), b.mean(0)
    k = min(k, a.shape[1])
    within: dict[str, Interval | None] = {}
    if len(a) >= LEAST:
        options: dict[str, Any] = dict(level=level, resamples=resamples, seed=seed)
        each = np.array([(*_correlations(x, y), *_largest(x, y, k)) for x, y in zip(a, b)])
        bounds = (("pearson", DIFFERENCE), ("spearman", DIFFERENCE), ("top", SHARE), ("sign", SHARE))
        within = {name: _mean(column, name, bound, options) for (name, bound), column in zip(bounds, each.T)}
        if (a != 0).any():
            within["slope"] = bootstrap_comparison((a * b).mean(1), np.square(a).mean(1), **options)
    pearson, spearman = _correlations(*whole)
    top, sign = _largest(*whole, k)
    return Agreement(
        pearson,
        spearman,
        within.get("pearson"),
        within.get("spearman"),
        float(whole[0] @ whole[1] / (whole[0] @ whole[0])),
        top,
        sign,
        k,
        int(a.shape[1]),
        len(a),
        "prompts" if units is None else "units",
        **{f"{name}_within": within.get(name) for name in ("slope", "top", "sign")},
    )


def _mean(column: np.ndarray, name: str, bounds: Bounds, options: dict[str, Any]) -> Interval | None:
    """The mean over prompts; None where too few have the measure."""
    if np.isfinite(column).sum() < LEAST:
        return None
    said = "correlation within a prompt" if bounds == DIFFERENCE else f"{name} within a prompt"
    return mean_interval(column, values="number", name=said, bounds=bounds, **options)


def _largest(exact: np.ndarray, estimate: np.ndarray, k: int) -> tuple[float, float]:
    """Of the ``k`` largest exact effects, the share among the estimate's ``k`` largest, and that of equal signs."""
    largest, theirs = (np.argsort(-np.abs(x))[:k] for x in (exact, estimate))
    signs = np.sign(exact[largest]) == np.sign(estimate[largest])
    return float(np.isin(largest, theirs).mean()), float(signs.mean())


def _correlations(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Pearson's and Spearman's; NaN where a side is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    return float(stats.pearsonr(x, y)[0]), float(stats.spearmanr(x, y)[0])
