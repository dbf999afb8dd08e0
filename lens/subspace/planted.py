"""Memory at a known place: one sequence trained into a few random neurons, and how many of them a locator finds.

Source: Chang, Thomason and Jia 2024, Do Localization Methods Actually Localize Memorized Data in LLMs? ("INJ
    benchmark").
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int
from scipy import stats as scipy_stats
from torch import nn

from .. import stats
from ..arguments import Count, Draws, HFModel, Numbers, Portion, Positive, Seed, Share, TokenRow, door
from ..engine.autograd import require_autograd
from ..engine.linear import Linear
from ..engine.sessions import of_one_model
from ..results import dataset as results
from .baselines import with_weights
from .data import Tokens, causal_model, fitting, layers_reached, losses, output_layers, rows_to_recite
from .errors import SubspaceError
from .learned import _batches
from .scores import Scores


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Planted:
    """A model with a sequence in known neurons.

    `model`: the edited copy, a plain model. `neurons`: numbers of the trained neurons (input columns) by layer, also
    where a layer has none. `loss`: mean loss (nats a token) of the sequence at the end, and `before`, in the model that
    was copied. `steps`: taken.
    """

    model: nn.Module
    neurons: Mapping[str, Int[np.ndarray, " some"]]
    sequence: Tokens
    loss: float
    before: float
    steps: int

    @property
    def count(self) -> int:
        """Neurons that were planted, over all layers."""
        return sum(map(len, self.neurons.values()))


@door(SubspaceError)
@of_one_model(reads=False)
def inject(
    model: HFModel,
    sequence_ids: TokenRow,
    share: Portion = 0.01,
    seed: Seed = 0,
    *,
    prefix: Count | None = None,
    layers: str | Sequence[str] | Mapping[str, Linear] | None = None,
    threshold: Positive = 0.05,
    rate: Positive = 0.01,
    steps: Draws = 1000,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Planted:
    """A copy of the model with one sequence trained into the output vectors of a random share of all neurons,
    everything else frozen.

    Args:
        sequence_ids: token ids [length] (or [1, length]); the loss is the mean over the tokens after the prefix (None:
            after the first).
        share: of all neurons of the layers together; at least one is taken. layers: None: the second layers of the
            feed-forward blocks, of which a neuron's column is its output vector; of experts, those that the sequence's
            tokens are sent to.
        threshold: training ends below this loss. rate: of Adam. steps: at most.

    Raises: SubspaceError: more than one sequence, a share out of range, or a loss still above the threshold after all
        steps. Stopped.
    """
    ids: Any = getattr(sequence_ids, "ids", sequence_ids)
    one = (ids.ndim if hasattr(ids, "ndim") else 1 + np.ndim(ids[0]) if len(ids) else 1) == 1
    tokens = rows_to_recite([ids] if one else sequence_ids, "sequence_ids", prefix)
    if len(tokens) != 1:
        raise SubspaceError(
            f"sequence_ids holds {len(tokens)} sequences; expected one. Inject each into a copy of its own."
        )
    require_autograd(SubspaceError, "planting a sequence", model)
    core = copy.deepcopy(causal_model(model))
    fitting(core, tokens, "sequence_ids")
    linears = output_layers(core, layers)
    for linear in linears.values():
        linear.require_floats()
    runs = layers_reached(core, linears, tokens)
    linears = {name: linear for name, linear in linears.items() if name in runs}
    sizes = [l.d_in for l in linears.values()]
    places = np.random.default_rng(seed).choice(sum(sizes), max(1, round(share * sum(sizes))), replace=False)
    starts = np.cumsum([0, *sizes])
    neurons = {n: np.sort(places[(places >= a) & (places < b)] - a) for n, a, b in zip(linears, starts, starts[1:])}
    with torch.no_grad():
        before = loss = float(losses(core, tokens)[0])
    index = {n: torch.from_numpy(some).to(linears[n].weight.device) for n, some in neurons.items() if len(some)}
    columns = {n: linears[n].weight.detach()[:, at].clone().requires_grad_() for n, at in index.items()}
    optimiser, call = torch.optim.Adam(columns.values(), lr=rate), with_weights(core, linears)
    step = 0
    for step, (some, _) in enumerate(_batches(tokens, 1, steps + 1, seed, "injection", progress, stop)):
        with torch.enable_grad():
            value = losses(
                core,
                some,
                call=call({n: linears[n].weight.detach().index_copy(1, index[n], c) for n, c in columns.items()}),
            )[0]
        loss = float(value.detach())
        if loss < threshold or step == steps:
            break
        for column, g in zip(columns.values(), torch.autograd.grad(value, list(columns.values()))):
            column.grad = g
        optimiser.step()
    if not loss < threshold:
        raise SubspaceError(
            f"after {steps} steps the sequence's loss is {loss:.3g} (from {before:.3g}), not below"
            f" threshold={threshold}, in {len(places)} neurons; raise share or steps, or change the rate."
        )
    with torch.no_grad():
        for n, c in columns.items():
            linears[n].weight[:, index[n]] = c
    return Planted(core, neurons, tokens, loss, before, step)


@door(SubspaceError)
def recall_at_k(
    scores: Scores | Mapping[str, Annotated[Any, Numbers(1)]],
    planted: Planted | Mapping[str, Sequence[int]],
    k: Portion | Sequence[Portion] = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1),
    *,
    level: Share = 0.95,
) -> xr.Dataset:
    """Share of the planted neurons that are among the top `k` (a share) of all neurons.

    Args:
        scores: scores of neurons or of weights (a neuron then has its weights' norm), or one array by layer. planted:
            of `inject`, or neuron numbers by layer.

    Returns: over `k`: ``recall`` with an exact (Clopper-Pearson) interval ``low``, ``high`` over planted neurons,
        ``chance`` = the share looked at, ``p``: exact (hypergeometric) probability of a random order doing as well,
        ``n`` planted neurons and ``looked`` at. Equal scores count as in the worst order.

    Raises: SubspaceError: scores without one of the planted layers, a share that is less than one neuron.
    """
    values = scores.neurons() if isinstance(scores, Scores) else scores
    if isinstance(scores, Scores):  # what no token reached has no place in the order
        values = {name: value for name, value in values.items() if name in scores.known()}
    neurons = planted.neurons if isinstance(planted, Planted) else planted
    if missing := [n for n in neurons if n not in values and len(neurons[n])]:
        raise SubspaceError(
            f"scores hold no layer {missing[0]!r}, where {len(neurons[missing[0]])} neurons were planted; score the"
            " layers that were planted in."
        )
    flat = np.concatenate([np.asarray(torch.as_tensor(v).double().cpu()) for v in values.values()])
    gold = np.concatenate(
        [np.isin(np.arange(len(v)), np.asarray(neurons.get(n, ()), dtype=np.int64)) for n, v in values.items()]
    )
    if np.isnan(flat).any() or not gold.any():
        raise SubspaceError(
            f"scores hold {int(np.isnan(flat).sum())} NaN and planted {int(gold.sum())} neurons; expected none and at"
            " least one."
        )
    shares = np.atleast_1d(np.asarray(k, float))
    looked = np.floor(shares * len(flat) + 1e-9).astype(int)
    if (looked < 1).any() or (shares > 1).any():
        raise SubspaceError(
            f"k={shares.tolist()} of {len(flat)} neurons; expected shares of at least one neuron ({1 / len(flat):.2g})"
            " and at most 1."
        )
    order = gold[np.lexsort((gold, -flat))]
    hits = np.cumsum(order)[looked - 1]
    interval = stats.proportion(hits, np.full(len(hits), gold.sum()), level=level)
    ds = xr.Dataset(
        {
            "recall": ("k", hits / gold.sum()),
            "low": ("k", np.asarray(interval.low)),
            "high": ("k", np.asarray(interval.high)),
            "chance": ("k", looked / len(flat)),
            "p": ("k", scipy_stats.hypergeom.sf(hits - 1, len(flat), gold.sum(), looked), {"kind": "exact"}),
            "looked": ("k", looked),
        },
        coords={"k": shares},
    )
    ds["n"] = int(gold.sum())
    method = scores.method if isinstance(scores, Scores) else "given"
    return results.stamp(
        ds,
        {"kind": "recall at k", "call": {"method": method, "k": shares.tolist(), "level": level, "neurons": len(flat)}},
    )
