"""Layers with chosen spectra, made without a model."""

import numpy as np
import torch

from lens.curvature import Decomposition, LayerCurvature


def orthogonal(n, seed):
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[
        0
    ].float()


def layer(shape=(7, 9), seed=0, lam=None, mu=None, tokens=1000, name="layer", **options):
    """A random weight, random eigenvectors, and eigenvalues that fall by powers unless they are given."""
    out, width = shape
    rng = np.random.default_rng(seed)

    def down(n, given):
        return torch.tensor(np.sort(rng.random(n) ** 3)[::-1].copy() if given is None else given, dtype=torch.float64)

    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return LayerCurvature(
        name,
        weight,
        orthogonal(width, seed + 1),
        down(width, mu),
        orthogonal(out, seed + 2),
        down(out, lam),
        tokens,
        **options,
    )


def decomposition(*layers):
    return Decomposition(
        {one.name: one for one in layers or (layer(),)},
        "true",
        "none",
        {"kind": "curvature factors", "call": {}, "seed": 0},
    )
