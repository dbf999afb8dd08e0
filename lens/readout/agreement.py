"""How well an estimate of effects agrees with the exact ones, over the cells of one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from ..errors import Error
from ..results.dataset import provenance
from ..stats.bounds import DIFFERENCE
from ..stats.intervals import Interval
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
    within: list[Interval | None] = [None, None]
    if len(a) >= LEAST:
        by_prompt = np.array([_correlations(x, y) for x, y in zip(a, b)])
        within = [
            (
                mean_interval(
                    column,
                    level=level,
                    values="number",
                    resamples=resamples,
                    seed=seed,
                    name="correlation within a prompt",
                    bounds=DIFFERENCE,
                )
                if np.isfinite(column).sum() >= LEAST
                else None
            )
            for column in by_prompt.T
        ]
    k = min(k, a.shape[1])
    top_exact, top_estimate = (np.argsort(-np.abs(x))[:k] for x in whole)
    pearson, spearman = _correlations(*whole)
    return Agreement(
        pearson,
        spearman,
        within[0],
        within[1],
        float(whole[0] @ whole[1] / (whole[0] @ whole[0])),
        float(np.isin(top_exact, top_estimate).mean()),
        float((np.sign(whole[0][top_exact]) == np.sign(whole[1][top_exact])).mean()),
        k,
        int(a.shape[1]),
        len(a),
        "prompts" if units is None else "units",
    )


def _correlations(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Pearson's and Spearman's; NaN where a side is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    return float(stats.pearsonr(x, y)[0]), float(stats.spearmanr(x, y)[0])
