"""Is a forgotten ability still there? Add the old vector, take the new one away, and see what comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..arguments import Draws, HFModel, Layers, Seed, array, different_numbers, door, unfit
from ..cluster import Workers, backend_of
from ..engine.edits import Edit
from ..engine.model import Model
from ..engine.pieces import Cell
from ..engine.places import evaluating
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..engine.sweep import Sweep, Values, alone
from ..engine.sweep_parts import Backend
from ..readout.answers import ANSWER, SCORES
from ..results import dataset as results
from ..results.record import record_of
from ..stats import bootstrap, bootstrap_comparison, halves
from ..stats.bounds import DIFFERENCE
from .data import ForgettingError, Probe, accuracy, anatomy, core

_VECTOR = "a vector [d_model], or anything with direction or at_site(site)"
_DIMS = ("condition", "layer", "strength", "prompt")
#: what a random vector stands beside: condition -> its control
RANDOM = {"old": "random", "new": "random of new"}


@door(ForgettingError)
@of_one_model(reads=False)
def recover(
    model: HFModel,
    probe: Probe,
    old: Any,
    new: Any = None,
    *,
    layers: Layers = None,
    strengths: float | Sequence[float] = (1.0,),
    randoms: Draws = 5,
    seed: Seed = 0,
    progress: Callable[[int, int], None] | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """Accuracy of a fine-tuned model with an old vector put in, a new one taken out, and random vectors of the same
    lengths, at every layer and strength.

    Args:
        model: after fine-tuning; plain, or with its adapters merged.
        old: the task's vector before the training. new: the trained task's vector after it; None to leave that out.
            Each a tensor ``[d_model]``, or anything with ``direction`` or ``at_site(site)``. They enter at the blocks'
            output at the last prompt token, as published.
        layers: which; None for all. strengths: factors. randoms: random vectors for each condition; they follow from
            `seed` and the probe's name, so that every task has directions of its own.
        backend, workers: as ``lens.patch``.

    Returns: a result over ``condition, layer, strength, prompt`` with ``correct`` (whole answer, greedy) and ``base
        [prompt]`` without any vector. Conditions: "old", "new" (taken away), "random" (in the old one's place), "random
        of new" (taken away); of several random vectors "random 1", "random 2", ...

    Raises: ForgettingError: a vector of another width, no strengths, fewer than one random vector.

    Source: Jiang et al. 2024 and 2025 (there the best of five layers on the prompts reported; here `recovered` chooses
        on one half and reports the other).
    """
    plain, a = core(model), anatomy(model)
    strengths = different_numbers(strengths, "strengths", ForgettingError)
    layers = indices(layers, a.n_layers, "layer")
    if not layers or len(set(layers)) < len(layers):
        raise ForgettingError(unfit("layers", layers, "different ones, at least one"))
    # by condition: added or taken away, and the vector of each layer
    vectors: dict[str, tuple[float, list[Tensor]]] = {"old": (1.0, _by_layer(old, layers, a.d_model, "old"))}
    if new is not None:
        vectors["new"] = (-1.0, _by_layer(new, layers, a.d_model, "new"))
    for source, label in RANDOM.items():
        for r in range(randoms if source in vectors else 0):
            sign, real = vectors[source]
            draw = torch.randn(
                a.d_model, generator=torch.Generator().manual_seed(_own_seed(seed, probe.name, label, r))
            )
            vectors[label if randoms == 1 else f"{label} {r + 1}"] = (
                sign,
                [draw * (v.norm() / draw.norm()) for v in real],
            )
    signed = list(vectors.values())

    def edit_of(cell: tuple[int, int, int], at: int) -> Edit:
        condition, layer, strength = cell
        sign, by_layer = signed[condition]
        return Edit(
            Site("resid_post", layer=layers[layer], position=at),
            "add",
            by_layer[layer].to(a.device, a.dtype),
            scale=sign * strengths[strength],
        )

    with evaluating(plain):
        base = accuracy(plain, probe)
        view = Model.of(plain)
        where = backend_of(backend, workers)
        right = _right(view, probe, (len(vectors), len(layers), len(strengths)), edit_of, progress, where)
    ds = xr.Dataset(
        {
            "correct": (_DIMS, right),
            "base": ("prompt", base),
            "norm": (("condition", "layer"), np.array([[float(v.norm()) for v in of] for _, of in signed])),
        },
        coords={"condition": list(vectors), "layer": layers, "strength": strengths},
    )
    call = dict(
        probe=probe.name,
        kind=probe.kind,
        n=len(probe.prompts),
        layers=layers,
        strengths=strengths,
        randoms=randoms,
        position="last",
        site="resid_post",
    )
    return results.stamp(ds, record_of(plain, view, "recovery", call, seed=seed) | {"status": "complete"})


def _own_seed(*parts: Any) -> int:
    """A generator's seed out of everything that a draw belongs to."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:7], "big")


def _by_layer(vector: Any, layers: Sequence[int], d_model: int, name: str) -> list[Tensor]:
    try:
        own = None if hasattr(vector, "at_site") else getattr(vector, "direction", vector)
    except Exception:  # an object may fail in any way
        raise ForgettingError(unfit(name, vector, _VECTOR)) from None
    vectors = [
        vector.at_site(Site("resid_post", layer=l)) if own is None and vector is not None else own for l in layers
    ]
    vectors = [v.detach().float() if isinstance(v, Tensor) and v.is_floating_point() else v for v in vectors]
    out = [torch.as_tensor(array(v, name, _VECTOR, ForgettingError, dtype=np.float64)).float() for v in vectors]
    if bad := [v for v in out if v.ndim != 1 or len(v) != d_model]:
        raise ForgettingError(
            f"{name} has shape {tuple(bad[0].shape)}, this model d_model {d_model}; expected one vector of that width,"
            " extracted from this model."
        )
    if not all(bool(torch.isfinite(v).all()) and float(v.norm()) > 0 for v in out):
        raise ForgettingError(f"{name} is zero or not finite; extract it again.")
    return out


@dataclass(frozen=True)
class _Answered:
    """A prompt's answer, as a metric reads it."""

    answer_ids: tuple[int, ...]


def _right(
    model: Model, probe: Probe, shape: tuple[int, int, int], edit_of, progress, backend: Backend | None
) -> np.ndarray:
    """Whether greedy decoding gives each prompt's whole answer under every edit: ``[condition, layer, strength,
    prompt]``.
    """
    conditions, layers, strengths = shape
    lengths = [len(p) for p, _ in probe.prompts]

    def cells(i: int, source: Runs, number: int) -> Iterator[Cell]:
        for at in range(layers):
            for c in range(conditions):
                for s in range(strengths):
                    yield Cell((at, c, s), at, (edit_of((c, at, s), lengths[i] - 1),))

    complete: set[int] = set()

    def told(values: Values, batch: Sequence[int], span: tuple[int, int]) -> None:
        complete.update(batch)
        progress(len(complete), len(lengths))

    grid = Sweep(
        model,
        [_Answered(tuple(a)) for _, a in probe.prompts],
        lengths,
        (layers, conditions, strengths),
        cells,
        alone(model, [torch.tensor(p) for p, _ in probe.prompts]),
        ANSWER,
        label="recovery",
    )
    values = grid.values(
        on_part=None if progress is None else told, layer_groups=layers, progress=False, backend=backend
    )
    return values.value[..., list(SCORES).index("exact")].transpose(2, 1, 3, 0) == 1


@door(ForgettingError)
def recovered(result: xr.Dataset, before: Any = None, *, seed: Seed = 0) -> pd.DataFrame:
    """Per condition, the layer and strength that were best on one half of the prompts, and what they give on the other
    half.

    Args:
        result: from `recover`. before: whether each prompt was right before the fine-tuning; then `share` says how much
            of the loss came back.

    Returns: layer, strength, selected (accuracy on the choosing half), accuracy, base, difference with a paired
        bootstrap interval over the reporting half, n; against each condition's random control (its best cell chosen the
        same way) `over_random` with its interval. Several random vectors make one row, their mean (each at a layer and
        strength of its own, which are then NaN), with their number as `draws`.

    Raises: ForgettingError: fewer than four prompts.
    """
    if not {"correct", "base"} <= set(result.data_vars) or set(result["correct"].dims) != set(_DIMS):
        raise ForgettingError(unfit("result", result, "what lens.forgetting.recover returned"))
    n = result.sizes["prompt"]
    if n < 4:
        raise ForgettingError(
            f"the probe has {n} prompts; choosing on one half and reporting on the other needs at least 4."
        )
    half, correct, base = halves(n, seed), result.correct.values.astype(float), result.base.values.astype(float)
    before = (
        None
        if before is None
        else array(before, "before", f"one truth value for each of the {n} prompts", ForgettingError)
    )
    if before is not None and np.shape(before) != (n,):
        raise ForgettingError(
            f"before has shape {np.shape(before)}; expected one truth value for each of the {n} prompts."
        )
    outcomes: dict[str, list[np.ndarray]] = {}
    cells: dict[str, list[tuple[float, float, float]]] = {}
    for c, condition in enumerate(map(str, result.condition.values)):
        means = correct[c][..., half.select].mean(-1)
        l, s = np.unravel_index(int(means.argmax()), means.shape)
        name = next((label for label in RANDOM.values() if condition.removeprefix(f"{label} ").isdigit()), condition)
        outcomes.setdefault(name, []).append(correct[c, l, s][half.report])
        cells.setdefault(name, []).append((float(result.layer[l]), float(result.strength[s]), float(means[l, s])))
    rows = []
    for condition, draws in outcomes.items():
        values, where = np.mean(draws, 0), cells[condition]
        apart = bootstrap(values - base[half.report], seed=seed, bounds=DIFFERENCE)
        layer, strength = where[0][:2] if len(draws) == 1 else (np.nan, np.nan)
        gain = float(apart.estimate)
        row: dict[str, Any] = {
            "condition": condition,
            "layer": layer,
            "strength": strength,
            "selected": float(np.mean([w[2] for w in where])),
            "accuracy": float(values.mean()),
            "base": float(base[half.report].mean()),
            "difference": gain,
            "low": float(apart.low),
            "high": float(apart.high),
            "n": len(half.report),
            "draws": len(draws),
        }
        if before is not None:
            lost = float(np.asarray(before, float)[half.report].mean() - base[half.report].mean())
            row |= {"lost": lost, "share": gain / lost if lost > 0 else np.nan}
        control = outcomes.get(RANDOM.get(condition, ""))
        if control is not None:
            over = bootstrap_comparison(
                values, np.mean(control, 0), statistic="difference", seed=seed, bounds=DIFFERENCE
            )
            row |= {
                "over_random": float(over.estimate),
                "over_random_low": float(over.low),
                "over_random_high": float(over.high),
            }
        rows.append(row)
    return pd.DataFrame(rows)
