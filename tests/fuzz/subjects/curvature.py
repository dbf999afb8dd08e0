"""Loss curvature."""

from __future__ import annotations

import functools

import torch

from lens import curvature

from . import Subject
from .common import enter, ids
from .common import model as shared

MODULES = ("lens.curvature",)
DOWN = "model.layers.1.mlp.down_proj"


def model():
    return shared(12)


@functools.cache
def factors():
    return curvature.factors(model(), [DOWN], ids(16, 8), progress=False)


@functools.cache
def decomposition():
    return curvature.decompose(model(), factors())


@functools.cache
def edit():
    return curvature.keep(decomposition(), 0.9)


def fields(of, *names):
    return {name: getattr(of, name) for name in names}


def subjects():
    quiet = dict(progress=False)
    made, layer = decomposition(), decomposition()[DOWN]
    yield Subject(
        "factors", curvature.factors, lambda: dict(model=model(), layers=[DOWN], batches=ids(2, 4), rows=2, **quiet)
    )
    yield Subject("Factors", curvature.Factors, lambda: fields(factors(), "a", "g", "tokens", "fisher", "model"))
    yield Subject("decompose", curvature.decompose, lambda: dict(model=model(), factors=factors()))
    yield Subject("eigen", curvature.eigen, lambda: dict(matrix=torch.eye(3)))
    yield Subject(
        "LayerCurvature",
        curvature.LayerCurvature,
        lambda: fields(layer, "name", "weight", "u_a", "mu", "u_g", "lam", "tokens", "moments"),
    )
    yield Subject("LayerCurvature.mass", layer.mass, lambda: dict(by="kfac"))
    yield Subject("LayerCurvature.rank", layer.rank, lambda: dict(side="a"))
    yield Subject("Decomposition", curvature.Decomposition, lambda: fields(made, "layers", "fisher", "model", "record"))
    yield Subject("Decomposition.select", made.select, lambda: dict(which="*.down_proj"))
    yield Subject(
        "second_moments",
        curvature.second_moments,
        lambda: dict(model=model(), decomposition=decomposition(), batches=ids(2, 4), **quiet),
    )
    yield Subject("keep", curvature.keep, lambda: dict(decomposition=decomposition(), rho=0.8))
    yield Subject("keep_set", curvature.keep_set, lambda: dict(layer=layer, rho=0.8))
    yield Subject(
        "Edit", curvature.Edit, lambda: fields(edit(), "name", "new", "old", "counts", "sizes", "mass", "by", "record")
    )
    yield Subject("Edit.removed_from", edit().removed_from, lambda: dict(name=DOWN))
    yield Subject("Edit.summary", edit().summary, dict)
    yield Subject("Edit.applied", edit().applied, lambda: dict(model=model()), use=enter)
    yield Subject(
        "control", curvature.control, lambda: dict(decomposition=decomposition(), kind="magnitude", like=edit())
    )
    yield Subject(
        "curve",
        curvature.curve,
        lambda: dict(
            model=model(),
            decomposition=decomposition(),
            rhos=[0.8],
            evaluate=lambda model: {"value": 1.0},
            controls=["magnitude"],
            **quiet,
        ),
    )
    yield Subject("spectrum", curvature.spectrum, lambda: dict(decomposition=decomposition()))
    yield Subject(
        "activation_ratio",
        curvature.activation_ratio,
        lambda: dict(
            model=model(),
            decomposition=decomposition(),
            memorised=ids(3, 6, seed=1),
            clean=ids(3, 6, seed=2),
            bases=["kfac"],
            **quiet,
        ),
    )
