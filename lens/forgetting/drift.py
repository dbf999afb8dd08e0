"""How far a fine-tuning sequence moved a model: its weights, a task's vector, the heads that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from ..arguments import Count, HFModel, Index, array, door
from ..engine.probe import ATTENTION, MLP
from ..models.quantised_layers import FLOATS, is_codes
from .data import ForgettingError, core

Head = tuple[Index, Index]


@door(ForgettingError)
def weight_drift(before: Mapping[str, Tensor] | HFModel, after: Mapping[str, Tensor] | HFModel) -> pd.DataFrame:
    """How far weights moved, by part and layer: ``||after - before|| / ||before||`` over all weights of the group
    (layer -1: outside the blocks; part "all": the whole model).

    Args:
        before, after: plain models, or mappings of named weights.

    Raises: ForgettingError: weights that differ in names or shapes.
    """
    a, b = (_weights(x) for x in (before, after))
    if a.keys() != b.keys() or any(a[n].shape != b[n].shape for n in a):
        odd = next(iter(sorted(a.keys() ^ b.keys())), None) or next(n for n in a if a[n].shape != b[n].shape)
        raise ForgettingError(f"before and after are not the same model: they differ in {odd!r}; merge adapters first.")
    groups: dict[tuple[str, int | None], list[float]] = {}
    for name in a:
        distance, size = (
            float((b[name].double() - a[name].double()).square().sum()),
            float(a[name].double().square().sum()),
        )
        part, layer = _part(name)
        for key in ((part, layer), (part, None), ("all", None)):
            total = groups.setdefault(key, [0.0, 0.0, 0])
            total[0], total[1], total[2] = total[0] + distance, total[1] + size, total[2] + a[name].numel()
    rows = [
        {"part": p, "layer": l, "drift": (m / s) ** 0.5 if s else np.nan, "distance": m**0.5, "weights": int(n)}
        for (p, l), (m, s, n) in groups.items()
    ]
    return (
        pd.DataFrame(rows)
        .astype({"layer": "Int64"})
        .sort_values(["part", "layer"], na_position="first", ignore_index=True)
    )


def _weights(x: Any) -> dict[str, Tensor]:
    named = list(x.items() if isinstance(x, Mapping) else core(x).named_parameters())
    if codes := next((n for n, p in named if is_codes(p)), None):
        raise ForgettingError(
            f"the weight {codes!r} is quantised, and a distance of codes is none of weights; {FLOATS}."
        )
    return {n: p.detach() for n, p in named}


def _part(name: str) -> tuple[str, int]:
    parts = name.split(".")
    layer = next((int(p) for p in parts if p.isdigit()), -1)
    if any("norm" in p.lower() or p.startswith("ln_") for p in parts):
        return "norm", layer
    kind = (
        "attention"
        if any(p in ATTENTION for p in parts)
        else "mlp"
        if any(p in MLP for p in parts)
        else "embedding"
        if layer == -1
        else "other"
    )
    return kind, layer


@door(ForgettingError)
def cosine(a: Any, b: Any) -> float:
    """Cosine of two vectors (tensors, arrays, or objects with ``direction``).

    Raises: ForgettingError: vectors of different widths, or one of length zero.
    """
    x, y = (_direction(v, name) for name, v in (("a", a), ("b", b)))
    if x.shape != y.shape:
        raise ForgettingError(f"a and b: vectors have widths {len(x)} and {len(y)}; expected two of one model.")
    sizes = float(np.linalg.norm(x) * np.linalg.norm(y))
    if sizes == 0:
        raise ForgettingError(f"{'b' if x.any() else 'a'}: a vector has length zero, so no angle; extract it again.")
    return float(x @ y / sizes)


def _direction(vector: Any, name: str) -> np.ndarray:
    """A vector's numbers, float64."""
    try:
        own = getattr(vector, "direction", vector)
        own = own.detach().double() if isinstance(own, Tensor) and own.is_floating_point() else own
    except Exception:  # an object may fail in any way
        own = None
    return np.asarray(
        array(own, name, "a vector: a tensor, an array, or an object with direction", ForgettingError), np.float64
    ).ravel()


@door(ForgettingError)
def similarity(watched: Any) -> np.ndarray:
    """Cosine of a watched vector with what it was at the start, over ``[stage, step]``; NaN where it was not taken.

    Source: Jiang et al. 2025 (similarity of a task's vector before and after).
    """
    x = np.asarray(
        array(watched, "watched", "an array [stage, step, d_model], as in Sequence.watched", ForgettingError),
        dtype=np.float64,
    )
    if x.ndim != 3 or not x.size:
        raise ForgettingError(f"watched has shape {x.shape}; expected [stage, step, d_model], as in Sequence.watched.")
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x @ x[0, 0]) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(x[0, 0]))


@door(ForgettingError)
def overlap(a: Sequence[Head] | Set[Head], b: Sequence[Head] | Set[Head], total: Count) -> dict[str, float]:
    """How far two sets of heads of a model with ``total`` heads agree: shared, Jaccard, what chance would share, and
    P(as many or more by chance) (hypergeometric).

    Raises: ForgettingError: an empty set, or more heads than there are.
    """
    a, b = (set((int(l), int(h)) for l, h in s) for s in (a, b))
    if not a or not b or len(a | b) > total:
        raise ForgettingError(
            f"a and b: sets of {len(a)} and {len(b)} heads of total={total}: expected two sets that are not empty, of"
            " at most so many heads."
        )
    shared = len(a & b)
    return {
        "shared": shared,
        "jaccard": shared / len(a | b),
        "by_chance": len(a) * len(b) / total,
        "p": float(stats.hypergeom.sf(shared - 1, total, len(a), len(b))),
    }
