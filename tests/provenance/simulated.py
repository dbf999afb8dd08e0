"""Rows, positions and scores drawn from a known model of what training leaves."""

import numpy as np

from lens.provenance import Transcript

WORDS = ("key", "step", "rank")


def shuffled(n, kind="key", seed=0, length=6, batch=8, tokens=True, epochs=1):
    """A transcript whose order was truly drawn at random; returns it and times from 0 to 1 [n]."""
    rng = np.random.default_rng([seed, 17])
    keys = rng.random((n, epochs))
    ranks = keys.argsort(axis=0).argsort(axis=0)
    position = {"key": keys, "rank": ranks, "step": ranks // batch}[kind]
    rows = rng.integers(0, 500, (n, length)) if tokens else None
    return Transcript(
        rows,
        position[:, 0] if epochs == 1 else position,
        kind,
        shuffled_as="drawn for the test",
        about={"file_order": "source"},
    ), (ranks / n).mean(axis=1)


def losses(times, effect, seed=0, noise=0.05):
    """NLL of one model: difficulty that all models share, its own noise, and `effect` times the position less."""
    n = len(times)
    difficulty = 3 + 0.5 * np.random.default_rng([n, 99]).standard_normal(n)
    return difficulty + noise * np.random.default_rng([seed, 5]).standard_normal(n) - effect * times
