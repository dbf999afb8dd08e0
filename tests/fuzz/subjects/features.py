"""Features of dictionaries."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from lens import features
from tests.features.written import saelens

from . import Subject
from .common import ids, model

MODULES = ("lens.features",)
RESULTS = ("CrossLayer", "Dictionary")


@functools.cache
def folder():
    made = Path(tempfile.mkdtemp())
    saelens(made, "jumprelu", d=32, n=24)
    return made


@functools.cache
def sae():
    return features.load(folder())


def weights():
    generator = torch.Generator().manual_seed(0)
    return dict(
        W_enc=torch.randn(32, 24, generator=generator),
        b_enc=torch.zeros(24),
        W_dec=torch.randn(24, 32, generator=generator),
        b_dec=torch.zeros(32),
    )


def small():
    return features.from_weights(**weights(), tap="mlp_out", layer=1, k=4)


def subjects():
    yield Subject("load", features.load, lambda: dict(folder=folder()))
    yield Subject("from_weights", features.from_weights, lambda: weights() | dict(tap="mlp_out", layer=1, k=4))
    made = dict(model=model(), sae=sae())
    yield Subject("check", features.check, lambda: made | dict(texts=ids(5), length=6))
    yield Subject("read", features.read, lambda: dict(model=model(), prompts="w1 w2 w3", sae=sae(), top=2))
    yield Subject(
        "examples", features.examples, lambda: made | dict(texts=ids(3), feature=[1, 2], top=2, progress=False)
    )
    yield Subject(
        "save",
        features.save,
        lambda: dict(sae=small(), folder=Path(tempfile.mkdtemp()) / "sae"),
    )
    yield Subject("shipped", features.shipped, dict)
    yield Subject("random_like", features.random_like, lambda: dict(sae=sae()))
