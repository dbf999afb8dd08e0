"""Neuron masks that are learned: which neurons must stay for the sequences to be recited still.

The weights stand still; each neuron (input column of a layer) is multiplied by a number in [0, 1] that gradient descent
lowers as far as recitation allows. The neurons that stay are the scores; those of experts that no token is sent to are
NaN. Source: Chang, Thomason and Jia 2024 ("Slimming", after Liu et al. 2017; "Hard Concrete", after Louizos et al.
2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, Draws, HFModel, NonNegative, Positive, Seed, TokenRows, door
from ..engine.autograd import require_autograd
from ..engine.linear import Linear
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..models import weight_hash
from ..progress import hidden
from .attribution import multiplied
from .data import Tokens, causal_model, fitting, layers_reached, losses, output_layers, rows_to_recite
from .errors import SubspaceError
from .scores import Scores, neuron_scores

#: Temperature and the ends of the stretched interval of a hard concrete gate.
BETA, LOW, HIGH = 2 / 3, -0.1, 1.1


@door(SubspaceError)
@of_one_model(reads=False)
def slimming(
    model: HFModel,
    sequences: TokenRows,
    layers: str | Sequence[str] | Mapping[str, Linear] | None = None,
    *,
    prefix: Count | None = None,
    weight: NonNegative = 10.0,
    steps: Draws = 200,
    rate: Positive = 0.02,
    batch: Count = 16,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Masks m in [0, 1], from 1, that minimise the loss after the prefix plus `weight` times the mean of m (L1); the
    score of a neuron is its m.

    Args:
        layers: None: the second layers of the feed-forward blocks. rate: of Adam. batch: sequences a step, drawn by
            `seed` where there are more.

    Neurons of equal m (many end at 0) are told apart by their mean m over the steps: who held out longer.

    Raises: SubspaceError: no token after a prefix, settings out of range. Stopped.
    """
    core, tokens, linears = _start(model, sequences, layers, prefix)
    masks = {name: torch.ones(l.d_in, device=l.weight.device).requires_grad_() for name, l in linears.items()}
    optimiser, size = torch.optim.Adam(masks.values(), lr=rate), sum(map(len, masks.values()))
    momentum = {name: torch.zeros_like(m) for name, m in masks.items()}
    for some, _ in _batches(tokens, batch, steps, seed, "slimming", progress, stop):
        with torch.enable_grad(), multiplied(linears, masks):
            loss = losses(core, some).mean()
            whole = loss + weight * sum(m.sum() for m in masks.values()) / size
        _descend(optimiser, masks, whole)
        with torch.no_grad():
            for name, m in masks.items():
                momentum[name] += m.clamp_(0, 1) / steps
    return neuron_scores(
        linears,
        {n: (masks[n].detach() + 1e-6 * momentum[n]).cpu() for n in layers_reached(core, linears, tokens)},
        "slimming",
        weight_hash(model),
        about={"weight": weight, "steps": steps, "rate": rate, "seed": seed, "loss": float(loss.detach())},
    )


@door(SubspaceError)
@of_one_model(reads=False)
def hard_concrete(
    model: HFModel,
    sequences: TokenRows,
    layers: str | Sequence[str] | Mapping[str, Linear] | None = None,
    *,
    prefix: Count | None = None,
    weight: NonNegative = 10.0,
    steps: Draws = 300,
    rate: Positive = 0.1,
    start: float = 2.0,
    batch: Count = 16,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Random gates s = sigmoid((logit u + log a) / beta), stretched to (-0.1, 1.1) and clipped, that minimise the loss
    after the prefix plus `weight` times the mean probability of an open gate (L0); the score of a neuron is its log a.

    Args:
        start: log a at the start, the same for all. rate, batch, seed: as for `slimming`; the seed draws the gates too.

    Raises: SubspaceError: no token after a prefix, settings out of range. Stopped.

    Source: Louizos et al. 2018, equations 10 to 12.
    """
    core, tokens, linears = _start(model, sequences, layers, prefix)
    log_a = {
        name: torch.full((l.d_in,), float(start), device=l.weight.device).requires_grad_()
        for name, l in linears.items()
    }
    optimiser, size = torch.optim.Adam(log_a.values(), lr=rate), sum(map(len, log_a.values()))
    for some, generator in _batches(tokens, batch, steps, seed, "hard concrete", progress, stop):
        with torch.enable_grad():
            gates = {name: gate(a, torch.rand(a.shape, generator=generator).to(a)) for name, a in log_a.items()}
            with multiplied(linears, gates):
                loss = losses(core, some).mean()
            gates_open = (torch.sigmoid(a - BETA * math.log(-LOW / HIGH)).sum() for a in log_a.values())
            open_share = sum(gates_open, start=loss.new_zeros(())) / size
            whole = loss + weight * open_share
        _descend(optimiser, log_a, whole)
    return neuron_scores(
        linears,
        {n: log_a[n].detach().cpu() for n in layers_reached(core, linears, tokens)},
        "hard concrete",
        weight_hash(model),
        about={
            "weight": weight,
            "steps": steps,
            "rate": rate,
            "seed": seed,
            "loss": float(loss.detach()),
            "open": float(open_share.detach()),
        },
    )


def gate(log_a: Tensor, u: Tensor) -> Tensor:
    """A hard concrete gate from log a and uniform noise."""
    u = u.clamp(1e-6, 1 - 1e-6)
    return (torch.sigmoid((u.logit() + log_a) / BETA) * (HIGH - LOW) + LOW).clamp(0, 1)


def _start(model: Any, sequences: Any, layers: Any, prefix: int | None):
    require_autograd(SubspaceError, "learning a mask", model)
    core = causal_model(model)
    return core, fitting(core, rows_to_recite(sequences, "sequences", prefix), "sequences"), output_layers(core, layers)


def _batches(
    tokens: Tokens, batch: int, steps: int, seed: int, what: str, progress: bool | None, stop: Callable[[], bool] | None
) -> Iterator[tuple[Tokens, torch.Generator]]:
    """The rows of each step, drawn by the seed, with the generator that goes on. Raises: Stopped."""
    generator = torch.Generator().manual_seed(int(seed))
    for step in tqdm(range(steps), desc=what, delay=2.0, leave=False, disable=hidden(progress)):
        if says_stop(stop):
            raise Stopped(f"{what} stopped after {step} of {steps} steps")
        if len(tokens) <= batch:
            yield tokens, generator
        else:
            yield tokens.take(torch.randperm(len(tokens), generator=generator)[:batch].tolist()), generator


def _descend(optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor], loss: Tensor) -> None:
    for parameter, g in zip(parameters.values(), torch.autograd.grad(loss, list(parameters.values()))):
        parameter.grad = g
    optimiser.step()
