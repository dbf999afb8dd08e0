"""EKFAC: the second moments that the K-FAC factors take for a product, measured in their eigenbases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..arguments import Count, FilePath, HFModel, Seed, door
from ..engine.sessions import of_one_model
from . import passes
from .eigen import Decomposition
from .errors import CurvatureError
from .factors import prepared, require_model


@door(CurvatureError)
@of_one_model(reads=False)
def second_moments(
    model: HFModel,
    decomposition: Decomposition,
    batches: Any,
    *,
    fisher: passes.Fisher | None = None,
    seed: Seed = 0,
    folder: FilePath | None = None,
    rows: Count | None = None,
    objective: passes.Objective | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Decomposition:
    """The decomposition with E[(u_g,i . g)^2 (u_a,j . x)^2] over tokens for every pair (i, j) of every layer;
    `by="ekfac"` takes them.

    Args:
        fisher: None: as the factors. The others: as `factors`; with the same batches and seed the labels are those of
            the factors.

    Raises: CurvatureError: a decomposition of other weights than the model's. Otherwise as `factors`.

    Source: George et al. 2018, Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis; here each
        token is an item. Cost: a forward, a backward, and per token in^2 + out^2 + in * out multiplications a layer.
    """
    require_model(model, decomposition.model, "decomposition")
    kind = decomposition.fisher if fisher is None else fisher
    # the moments depend on the eigenbases, and these on the factors: their record is part of the key
    bases = passes.digest_of([[layer.mu, layer.lam, layer.u_a[0], layer.u_g[0]] for layer in decomposition.values()])
    hf, chosen, work, _, state = prepared(
        "moments", model, list(decomposition), batches, kind, seed, folder, rows, objective, bases=bases
    )
    state.load(next(iter(decomposition.values())).u_a.device)
    tokens: dict[str, int] = state.notes.setdefault("tokens", dict.fromkeys(chosen, 0))
    projected: dict[tuple, tuple[Tensor, Tensor]] = {}

    def sink(name: str, x: Tensor, g: Tensor) -> None:
        layer = decomposition[name]
        tokens[name] += len(x)
        key = (x.data_ptr(), x.shape, x.stride(), x._version, layer.u_a.data_ptr())
        if key not in projected:
            # x is held with its projection, so that its address stays its own
            projected[key] = x, (x.float() @ layer.u_a).square_()
        if name not in state.sums:
            state.sums[name] = torch.zeros(layer.shape, dtype=torch.float32, device=x.device)
        state.sums[name].addmm_((g.float() @ layer.u_g).square_().T, projected[key][1])

    passes.run(
        hf,
        chosen,
        work,
        sink,
        state,
        fisher=kind,
        seed=seed,
        objective=objective,
        between=projected.clear,
        progress=progress,
        stop=stop,
        label="EKFAC moments",
    )
    if none := [name for name in chosen if not tokens[name]]:
        raise CurvatureError(
            f"batches: no token was sent to {none[0]}"
            + (f" and {len(none) - 1} other experts' layers" if len(none) > 1 else "")
            + "; give the batches of the factors, or more of them, or the decomposition without these layers (select)."
        )
    return replace(
        decomposition,
        layers={name: replace(layer, moments=state.sums[name] / tokens[name]) for name, layer in decomposition.items()},
    )
