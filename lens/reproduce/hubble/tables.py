"""Tables of a run: the gain of each item over the standard model of its seed and corpus, and means by count."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ...stats.bounds import SHARE, clip
from ..common import student
from . import retention, traps
from .standin import Plan


def tables(parts: Mapping[tuple[str, int], xr.Dataset], plan: Plan) -> dict[str, pd.DataFrame]:
    """All of them, of what was measured by training and seed."""
    gains = pd.concat(
        [_gain(parts, one.name, one.corpus, seed) for one in plan.trainings if one.window for seed in plan.seeds],
        ignore_index=True,
    )
    areas = traps.areas(traps.losses_of(parts, plan))
    made = {"gains": gains, "counts": by_count(gains), "areas": areas, "traps": traps.by_cell(areas)}
    return made | retention.tables(parts, plan.acquisition)


def _gain(parts: Mapping[tuple[str, int], xr.Dataset], name: str, corpus: int, seed: int) -> pd.DataFrame:
    own, standard = parts[name, seed], parts["standard" if corpus == 1 else "standard, longer", seed]
    return pd.DataFrame(
        {
            "training": name,
            "corpus": corpus,
            "seed": seed,
            "item": np.arange(own.sizes["item"]),
            "duplicates": own.duplicates.values.astype(int),
            "nll": own.nll.values.astype(float),
            "gain": standard.nll.values.astype(float) - own.nll.values,
            "strict": own.strict.values.astype(float),
        }
    )


def by_count(gains: pd.DataFrame) -> pd.DataFrame:
    """By training and count: the mean gain over seeds with its interval, AUC of the gain against what was never put in,
    and the share that is recited.
    """
    lines = []
    for (training, count), of in gains.groupby(["training", "duplicates"], sort=False):
        each = of.groupby("seed").gain.mean()
        mean = student(each)
        areas = [
            _auc(gains[(gains.training == training) & (gains.seed == seed)], int(count)) for seed in of.seed.unique()
        ]
        area = clip(student(areas), SHARE) if count else student([np.nan])
        lines.append(
            {
                "training": training,
                "duplicates": int(count),
                "items": len(of),
                "seeds": len(each),
                "gain": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "auc": area.estimate,
                "auc_low": area.low,
                "auc_high": area.high,
                "strict": float(of.strict.mean()),
            }
        )
    return pd.DataFrame(lines).sort_values(["training", "duplicates"], kind="stable").reset_index(drop=True)


def _auc(of: pd.DataFrame, count: int) -> float:
    """How well the gain tells items of a count from those that were never put in, within a training."""
    if not count:
        return np.nan
    chosen = of[of.duplicates.isin((0, count))]
    return traps.area(chosen.gain, chosen.duplicates > 0)


def by_seed(gains: pd.DataFrame, training: str, least: int) -> pd.Series:
    """The mean gain of items put in at least so many times, by seed."""
    of = gains[(gains.training == training) & (gains.duplicates >= least)]
    return of.groupby("seed").gain.mean()


def beyond(gains: pd.DataFrame, training: str, least: int) -> pd.Series:
    """The same beyond what items gain in that training that were never put in: what a model learns of the sort of text
    that items are is no memory of one.
    """
    never = gains[(gains.training == training) & (gains.duplicates == 0)]
    return by_seed(gains, training, least) - never.groupby("seed").gain.mean()
