"""Figures of small tables and results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from lens import figures
from lens.reproduce.instruction_vectors import figures as forgetting_figures
from lens.reproduce.palimpsest import figures as provenance_figures
from lens.results.dataset import stamp
from tests import (
    test_figures_forgetting as forgetting,
)
from tests import (
    test_figures_provenance as provenance,
)
from tests import (
    test_figures_unlearning as unlearning,
)
from tests import (
    test_figures_vectors as vectors,
)

from . import Subject

MODULES = ("lens.figures",)


def grid(*dims: str, **more: float) -> xr.Dataset:
    """An effect over some axes of three, and variables of the same shape."""
    shape, coords = (3,) * len(dims), {d: list("abc") if d == "condition" else range(3) for d in dims}
    draw = np.random.default_rng(0)
    return stamp(
        xr.Dataset({name: (dims, draw.random(shape) + add) for name, add in {"effect": 0.0, **more}.items()}, coords),
        {"kind": "patch"},
    )


def lens_of() -> xr.Dataset:
    ds = xr.Dataset(
        {
            "top_prob": (("layer", "position", "top"), np.full((2, 3, 2), 0.5)),
            "top_token": (("layer", "position", "top"), np.full((2, 3, 2), " a", dtype=object)),
        }
    )
    return stamp(ds.assign_coords(layer=[0, 1], token=("position", ["a", "b", "c"])), {"kind": "readout"})


def doses() -> xr.Dataset:
    return grid("condition", "layer", "strength", mean=0.0, low=-1.0, high=1.0, p_holm=0.0, n=9.0)


def nulls() -> xr.Dataset:
    p = np.linspace(0.01, 1, 20)
    return xr.Dataset(
        {"quantile": (("cell", "probability"), p[None]), "n": ("cell", [100])},
        {"probability": p, "name": ("cell", ["one"]), "condition": ("cell", ["n = 20"])},
    )


def sizes() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "p-value": "one",
                "kind": "rank",
                "condition": "n = 20",
                "nominal": 0.05,
                "size": 0.05,
                "low": 0.04,
                "high": 0.06,
                "verdict": "inside",
            }
        ]
    )


def subjects():
    sets = pd.DataFrame(
        [
            {"seed": s, "method": "plain", "task": "a", "jaccard": 0.5, "chance": 0.2, "k": 10, "heads": 32}
            for s in range(2)
        ]
    )
    drift = pd.DataFrame(
        [{"seed": s, "method": "plain", "part": part, "drift": 0.1} for s in range(2) for part in ("all", "attention")]
    )
    own = np.eye(3) * -3
    task = ("copy", "sort")
    frames = {
        "forgetting_scatter": forgetting.points(),
        "recovery_bars": forgetting.back(),
        "method_plot": forgetting.compared(),
        "curve_plot": forgetting.curves(),
        "set_plot": sets,
        "drift_plot": drift,
        "position_plot": provenance.positions(),
        "null_plot": pd.DataFrame({"suspect": "a", "null": np.arange(9) / 9 - 0.5, "observed": -0.4}),
        "power_plot": provenance.curves(),
        "survival_bars": provenance.survived(),
        "arm_plot": provenance.survived().rename(columns={"title": "arm"}).assign(n=4000),
        "retrain_plot": provenance.retrains(),
        "sweep_plot": vectors.rows("vector", "layer", range(4)),
        "accuracy_bars": vectors.rows("vector", "task", task),
    }
    for name, frame in frames.items():
        room = next(room for room in (figures, forgetting_figures, provenance_figures) if hasattr(room, name))
        yield Subject(name, getattr(room, name), lambda frame=frame: dict(frame=frame))
    yield Subject(
        "tradeoff_plot", forgetting_figures.tradeoff_plot, lambda: dict(frame=forgetting.compared(), across="final")
    )
    yield Subject("unlearning_paths", figures.unlearning_paths, lambda: dict(summary=unlearning.paths()))
    yield Subject("patch_map", figures.patch_map, lambda: dict(ds=grid("layer", "position")))
    yield Subject("head_map", figures.head_map, lambda: dict(ds=grid("layer", "head")))
    yield Subject("logit_lens_map", figures.logit_lens_map, lambda: dict(ds=lens_of()))
    yield Subject(
        "agreement_plot",
        figures.agreement_plot,
        lambda: dict(exact=grid("layer", "head"), estimates={"a": grid("layer", "head")}),
    )
    yield Subject(
        "control_plot",
        figures.control_plot,
        lambda: dict(names=["a", "b"], estimate=[1.0, 2.0], low=[0.5, 1.5], high=[1.5, 3.0], n=4),
    )
    yield Subject("injection_map", figures.injection_map, lambda: dict(ds=doses()))
    yield Subject("dose_plot", figures.dose_plot, lambda: dict(ds=doses(), layer=1))
    yield Subject("change_plot", figures.change_plot, lambda: dict(changes={"a": np.arange(3.0)}))
    yield Subject(
        "reading_map", figures.reading_map, lambda: dict(ds=grid("layer", "head", excess=0.0, p_holm=0.0, n=9.0))
    )
    yield Subject(
        "effects_map",
        figures.effects_map,
        lambda: dict(effects={"copy": vectors.effects(), "sort": vectors.effects(1)}, heads={"copy": [(0, 1)]}),
    )
    yield Subject("source_plot", figures.source_plot, lambda: dict(first=vectors.effects(), second=vectors.effects(1)))
    yield Subject("qq_plot", figures.qq_plot, lambda: dict(ds=nulls(), panels=[("one", [("one", "n = 20")])]))
    yield Subject("size_bars", figures.size_bars, lambda: dict(sizes=sizes()))
    yield Subject("order_matrix", figures.order_matrix, lambda: dict(z=xr.DataArray(own, dims=("suspect", "order"))))
