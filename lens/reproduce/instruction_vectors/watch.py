"""What is followed of a model while it forgets: how alike its vectors and hidden states are to the start model's, and
how far its weights are from the start's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ... import forgetting, vectors
from ...vectors.extraction import head_parts
from .bench import Bench

#: what is read of each old task at every evaluation, as cosine with what it was at the start
READINGS = ("vector", "hidden state", "vector from instruction", "hidden state of instruction")
#: parts whose relative change of weights is followed; the first entry is the plain distance of all
DISTANCES = ("distance", "all", "attention", "mlp")


def _directions(model: Any, prompts: Mapping[str, list], heads: Any) -> np.ndarray:
    """By task, the vector and the mean last hidden state at the prompts' last token, ``[2, task, d_model]``."""
    means = [vectors.mean_activations(model, p) for p in prompts.values()]
    parts = [head_parts(model, m.z, heads).sum(0).numpy() for m in means]
    last = [m.resid[-1].float().cpu().numpy() for m in means]
    return np.stack([np.stack(parts), np.stack(last)]).astype(np.float64)


def _adapted(model: Any) -> bool:
    return any(".lora_" in name for name, _ in model.named_parameters())


def similarities(bench: Bench, heads: Any) -> Callable[[Any], np.ndarray]:
    """A function of a model in training: cosines with the start model, ``[reading, old]`` in the order of `READINGS`;
    NaN while adapters are on, whose weights the vectors are not read through.

    Source: Jiang et al. 2025 (similarity of a task's vector; the last hidden state as the control).
    """
    course, n, shots = bench.course, bench.plan.vector_prompts, bench.plan.shots
    sets = [
        {t.name: course.prompts(t, "icl", n=n, shots=shots, split="test") for t in course.old},
        {t.name: course.prompts(t, course.told, n=min(2 * n, len(t.test)), split="test") for t in course.old},
    ]

    def read(model):
        return np.concatenate([_directions(model, s, heads) for s in sets])

    before = read(course.reader)

    def of(model: Any) -> np.ndarray:
        if _adapted(model):
            return np.full(before.shape[:2], np.nan)
        now = read(model)
        return (now * before).sum(-1) / np.linalg.norm(now, axis=-1) / np.linalg.norm(before, axis=-1)

    return of


def distances(bench: Bench) -> Callable[[Any], np.ndarray]:
    """A function of a model in training: how far its weights are from the start's, in the order of `DISTANCES`; NaN
    while adapters are on.
    """

    def of(model: Any) -> np.ndarray:
        if _adapted(model):
            return np.full(len(DISTANCES), np.nan)
        table = drift_of(bench.course.reader, model)
        return np.array([table["all"][1], *(table.get(p, (np.nan, 0))[0] for p in DISTANCES[1:])])

    return of


def drift_of(before: Any, after: Any) -> dict[str, tuple[float, float]]:
    """By part, the relative change of the weights and its plain length."""
    table = forgetting.weight_drift(before, after)
    return {r.part: (float(r.drift), float(r.distance)) for r in table[table.layer.isna()].itertuples()}
