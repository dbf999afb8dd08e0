"""What each neuron adds to the recitation of given sequences: integrated gradients, and the exact change when it is set to zero.

Both multiply a layer's input by a mask m of one number a neuron, the same at all positions, and look at the log-likelihood of a sequence's tokens after the prefix as a
function of m. A mask for several runs at once is a batch: the blocks before the layer run once, and the runs fork where the layer's input is multiplied.

Sources: Sundararajan et al. 2017 (integrated gradients); Dai et al. 2022, Knowledge Neurons; Chang, Thomason and Jia 2024 ("IG", "Zero-out").
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..engine.linear import Linear
from ..engine.sweeps import hidden
from ..engine.walk import Stopped
from ..models import weight_hash
from .data import losses, output_layers, reciting, running
from .errors import SubspaceError
from .scores import Scores, neuron_scores


@contextmanager
def multiplied(layers: Mapping[str, Linear], factors: Mapping[str, Callable[[], Tensor] | Tensor]) -> Iterator[None]:
    """While it is in force, the input of each layer is multiplied by its factor (or what the function gives), which broadcasts against [batch, position, d_in]."""
    with ExitStack() as stack:
        for name, factor in factors.items():
            def change(module, args, factor=factor):
                return (args[0] * (factor() if callable(factor) else factor).to(args[0].dtype), *args[1:])

            stack.callback(layers[name].module.register_forward_pre_hook(change).remove)
        yield


def integrated_gradients(model: Any, sequences: Any, layers: str | Sequence[str] | Mapping[str, Linear] | None = None, *, prefix: int | None = None, steps: int = 20,
                         together: bool = False, rows: int = 32, progress: bool | None = None, stop: Callable[[], bool] | None = None) -> Scores:
    """Share of each neuron in the mean log-likelihood (nats a token) of the sequences' tokens after the prefix, mean over sequences.

    Args:
        layers: None: the second layers of the feed-forward blocks, whose input columns are the hidden neurons.
        steps: nodes of the Gauss-Legendre rule on the path from 0 to the neurons' values. rows: nodes that run in one batch.
        together: all layers along one path (one backward for all: faster by the number of layers); else a path for each layer, as published.

    A path's scores sum to the log-likelihood minus that with its layers' inputs at zero (completeness); `about["gap"]` is the difference as a share of that change, over all
    paths and sequences. Above 0.1 it warns: where a norm follows the layer (OLMo-2) the likelihood jumps where the path starts, and no number of steps there is enough.

    Raises: SubspaceError: no token after a prefix, fewer than one step. Stopped.
    """
    if steps < 1 or rows < 1:
        raise SubspaceError(f"steps={steps} and rows={rows}; expected at least 1 of each.")
    core, tokens = running(model), reciting(sequences, "sequences", prefix)
    found = output_layers(core, layers)
    node, weight = np.polynomial.legendre.leggauss(steps)
    alpha, weight = torch.from_numpy((node + 1) / 2), torch.from_numpy(weight / 2)
    total = {name: torch.zeros(linear.d_in, dtype=torch.float64) for name, linear in found.items()}
    paths = [list(found)] if together else [[name] for name in found]
    gap = change_in_all = 0.0
    with _bar(len(tokens) * len(paths), "integrated gradients", progress) as bar:
        for i in range(len(tokens)):
            one = tokens.take([i])
            with torch.no_grad():
                top = -float(losses(core, one)[0])
            for path in paths:
                _ask(stop, "integrated gradients", bar)
                change = {name: torch.zeros_like(total[name]) for name in path}
                for k in range(0, steps, rows):
                    for name, gradient in _gradients(core, found, path, one, alpha[k:k + rows], weight[k:k + rows]).items():
                        change[name] += gradient
                with torch.no_grad(), multiplied(found, dict.fromkeys(path, torch.zeros((), device=_device(core)))):
                    bottom = -float(losses(core, one)[0])
                reached = float(sum(value.sum() for value in change.values()))
                gap, change_in_all = gap + abs(reached - (top - bottom)), change_in_all + abs(top - bottom)
                for name in path:
                    total[name] += change[name]
                bar.update()
    gap /= max(change_in_all, 1e-12)
    if gap > 0.1:
        warnings.warn(f"integrated gradients miss completeness by {gap:.0%} with steps={steps}; raise steps, or take zero_out where a norm follows the layers.", stacklevel=2)
    return neuron_scores(found, {name: value / len(tokens) for name, value in total.items()}, "integrated gradients", weight_hash(model),
                         about={"steps": steps, "together": together, "gap": gap, "sequences": len(tokens)})


def _gradients(core: nn.Module, found: Mapping[str, Linear], path: list[str], one: Any, alpha: Float[Tensor, " node"], weight: Float[Tensor, " node"]) -> dict[str, Tensor]:
    """Weighted sum over nodes of the gradient of the log-likelihood by each mask, float64."""
    device = _device(core)
    masks = {name: alpha.to(device, torch.float32)[:, None, None].expand(-1, 1, found[name].d_in).clone().requires_grad_() for name in path}
    with torch.enable_grad(), multiplied(found, masks):
        value = -(losses(core, one) * weight.to(device, torch.float32)).sum()
        gradients = torch.autograd.grad(value, list(masks.values()))
    return {name: g.float().sum((0, 1)).cpu().double() for name, g in zip(path, gradients)}


@torch.no_grad()
def zero_out(model: Any, sequences: Any, layers: str | Sequence[str] | Mapping[str, Linear] | None = None, *, prefix: int | None = None, rows: int = 64,
             candidates: Mapping[str, Int[np.ndarray, " some"]] | None = None, progress: bool | None = None, stop: Callable[[], bool] | None = None) -> Scores:
    """Exact rise of the mean loss (nats a token) after the prefix when one neuron is set to zero at all positions, mean over sequences.

    Args:
        layers: as for `integrated_gradients`. rows: neurons that run in one batch.
        candidates: neurons to look at by layer, such as the best of another score; the others get minus infinity.

    Raises: SubspaceError: no token after a prefix, a candidate that is not there. Stopped.

    Cost: one run for each neuron and sequence from its layer on.
    """
    if rows < 1:
        raise SubspaceError(f"rows={rows}; expected at least 1.")
    core, tokens = running(model), reciting(sequences, "sequences", prefix)
    found, device = output_layers(core, layers), _device(core)
    looked = {name: np.arange(l.d_in) if candidates is None else np.unique(np.asarray(candidates.get(name, ()), np.int64)) for name, l in found.items()}
    for name, some in looked.items():
        if len(some) and not 0 <= some[0] <= some[-1] < found[name].d_in:
            raise SubspaceError(f"candidates[{name!r}] holds {some[0] if some[0] < 0 else some[-1]}; the layer has neurons 0 to {found[name].d_in - 1}.")
    if not sum(map(len, looked.values())):
        raise SubspaceError(f"candidates names no neuron of {', '.join(list(found)[:3])}; give at least one.")
    out = {name: torch.full((l.d_in,), -torch.inf, dtype=torch.float64) for name, l in found.items()}
    for name, some in looked.items():
        out[name][torch.from_numpy(some)] = 0.0
    with _bar(len(tokens) * sum(map(len, looked.values())), "zero-out", progress) as bar:
        for i in range(len(tokens)):
            one = tokens.take([i])
            base = losses(core, one)[0].cpu().double()
            for name, some in looked.items():
                for k in range(0, len(some), rows):
                    _ask(stop, "zero-out", bar)
                    part = torch.from_numpy(some[k:k + rows])
                    mask = torch.ones(len(part), 1, found[name].d_in, device=device)
                    mask[torch.arange(len(part)), 0, part] = 0
                    with multiplied(found, {name: mask}):
                        out[name][part] += (losses(core, one).cpu().double() - base) / len(tokens)
                    bar.update(len(part))
    return neuron_scores(found, out, "zero-out", weight_hash(model), about={"sequences": len(tokens)})


def _device(core: nn.Module) -> torch.device:
    return next(core.parameters()).device


def _bar(total: int, what: str, progress: bool | None) -> tqdm:
    return tqdm(total=total, desc=what, delay=2.0, leave=False, disable=hidden(progress))


def _ask(stop: Callable[[], bool] | None, what: str, bar: tqdm) -> None:
    if stop is not None and stop():
        raise Stopped(f"{what} stopped after {bar.n} of {bar.total}")
