"""Features of dictionaries."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from lens import features
from tests.features.written import saelens

from . import Subject

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


def subjects():
    yield Subject("load", features.load, lambda: dict(folder=folder()))
    yield Subject("from_weights", features.from_weights, lambda: weights() | dict(tap="mlp_out", layer=1, k=4))
    yield Subject("random_like", features.random_like, lambda: dict(sae=sae()))
