"""What probes read, layer by layer: accuracy beside the control task, by class, with intervals over units."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ..stats.bounds import DIFFERENCE, SHARE
from ..stats.effects import tested
from ..stats.means import mean_interval
from ..stats.units import unit_means
from .probe_design import Design
from .probe_fit import fit


def scores(layers: Iterable[np.ndarray], design: Design, level: float, seed: int) -> xr.Dataset:
    """The scores of every layer's states ``[rows, width]``."""
    right, control, ridges = [], [], []
    for states in layers:
        hits, chosen = _read(states, design, design.classes)
        right.append(hits)
        control.append(_read(states, design, design.control)[0])
        ridges.append(chosen)
    hits, others = (np.array(v, float).T for v in (right, control))
    by_unit = unit_means(hits, design.units)[0]
    whole = set(np.unique(by_unit).tolist()) <= {0.0, 1.0}
    found = mean_interval(by_unit, 0, level, values="share" if whole else "number", seed=seed, bounds=SHARE)
    test, _ = tested(hits - others, design.units, level=level, seed=seed, bounds=DIFFERENCE)
    n_classes = range(len(design.names))
    mine = [design.classes == c for c in n_classes]
    recall = np.array([hits[m].mean(0) for m in mine])
    counts = np.bincount(design.classes)
    # units count once, as they do in the accuracy beside it
    shares = unit_means(np.stack(mine, 1).astype(float), design.units)[0].mean(0)
    ds = xr.Dataset(
        {
            "accuracy": ("layer", unit_means(hits, design.units)[0].mean(0)),
            "low": ("layer", np.atleast_1d(found.low)),
            "high": ("layer", np.atleast_1d(found.high)),
            "interval_kind": ("layer", np.atleast_1d(np.asarray(found.kind, str))),
            "n": ("layer", np.atleast_1d(found.n)),
            "control": ("layer", unit_means(others, design.units)[0].mean(0)),
            "selectivity": ("layer", test["mean"]),
            "selectivity_low": ("layer", test["low"]),
            "selectivity_high": ("layer", test["high"]),
            "p": ("layer", test["p"]),
            "p_holm": ("layer", test["p_holm"]),
            "p_kind": ("layer", test["p_kind"]),
            "majority": ((), shares.max()),
            "balanced": ("layer", recall.mean(0)),
            "recall": (("label", "layer"), recall),
            "rows": ("label", counts),
            "units": ("label", [len(np.unique(design.units[m])) for m in mine]),
            "ridge": (("layer", "fold"), np.array(ridges)),
        },
        {"label": design.names, "fold": np.arange(int(design.fold.max()) + 1)},
    )
    for name in ("accuracy", "low", "high", "control", "selectivity", "balanced", "recall", "majority"):
        ds[name].attrs["units"] = "1"
    return ds


def _read(states: np.ndarray, design: Design, classes: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Whether each row is read right by the probe of its fold, and each fold's ridge."""
    hits, chosen = np.empty(len(states), bool), []
    n_classes = len(design.names)
    for f in range(int(design.fold.max()) + 1):
        learn, read = design.fold != f, design.fold == f
        best = design.ridges[0]
        if len(design.ridges) > 1:
            train, choose = learn & ~design.inner[f], design.inner[f]
            by_ridge = [
                (fit(states[train], classes[train], n_classes, r).classes(states[choose]) == classes[choose]).mean()
                for r in design.ridges
            ]
            # of equals the strongest
            best = max(zip(by_ridge, design.ridges))[1]
        chosen.append(best)
        hits[read] = fit(states[learn], classes[learn], n_classes, best).classes(states[read]) == classes[read]
    return hits, chosen
