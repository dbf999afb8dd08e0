"""A tiny model that has learned a dozen sequences by heart, and sequences that it never saw."""

import functools

import numpy as np
import torch

from lens.memorization import Sequences
from lens.training import Recipe, Rows, train
from tests import models as tiny_models

PREFIX, LENGTH, KNOWN = 6, 16, 12
_DRAWN = np.random.default_rng(0).integers(1, 97, (3 * KNOWN, LENGTH))


def known():
    """Twelve sequences that `taught` recites: six of each kind."""
    return Sequences(
        _DRAWN[:KNOWN], PREFIX, [f"known {i}" for i in range(KNOWN)], ["code", "verse"] * 6, np.repeat([4, 64], 6)
    )


def unknown():
    """Twelve that no model saw."""
    return Sequences(
        _DRAWN[KNOWN : 2 * KNOWN], PREFIX, [f"unknown {i}" for i in range(KNOWN)], ["code", "verse"] * 6, 0
    )


def clean(n=10, length=20, seed=5):
    return np.random.default_rng(seed).integers(1, 97, (n, length))


@functools.cache
def _taught(kind, seen):
    model = tiny_models.tiny(kind, seed=3)
    if seen:
        ids = torch.from_numpy(_DRAWN[:KNOWN])
        rows = Rows(ids, torch.arange(LENGTH).expand(ids.shape) >= 1, torch.full((KNOWN,), LENGTH))
        train(
            model,
            rows,
            Recipe(steps=80, batch=12, learning_rate=1e-2, weight_decay=0.0, schedule="constant"),
            parameters=lambda name: True,
            progress=False,
        )
    return model.requires_grad_(False).state_dict()


def taught(kind="llama", seen=True):
    """A fresh copy of the model that knows them (or, `seen=False`, of the one it was made from)."""
    model = tiny_models.tiny(kind, seed=3)
    model.load_state_dict(_taught(kind, seen))
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()
