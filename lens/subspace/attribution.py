"""What each neuron adds to the recitation of given sequences: integrated gradients, and the exact change when it is set
to zero.

Both multiply a layer's input by a mask m of one number a neuron, the same at all positions, and look at the
log-likelihood of a sequence's tokens after the prefix as a function of m. A mask for several runs at once is a batch:
the blocks before the layer run once, and the runs fork where the layer's input is multiplied. A model that builds
something for the batch beforehand (BLOOM's alibi), or a layer that sees all tokens in one row (a shared expert's),
cannot fork: there the whole model runs on copies of the sequence.

Sources: Sundararajan et al. 2017 (integrated gradients); Dai et al. 2022, Knowledge Neurons; Chang, Thomason and Jia
    2024 ("IG", "Zero-out").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..arguments import Count, HFModel, TokenRows, Whole, door
from ..engine.autograd import require_autograd
from ..engine.changes import temporary
from ..engine.experts import Routed
from ..engine.linear import Linear
from ..engine.memory import out_of_memory
from ..engine.places import alone
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..models import weight_hash
from ..models.placement import device_of
from ..notices import warn
from ..progress import hidden
from .data import Tokens, causal_model, fitting, layers_reached, losses, output_layers, rows_to_recite
from .errors import SubspaceError
from .scores import Scores, neuron_scores


class _Flat(Exception):
    """A layer's input has no axis for the batch, so that runs cannot fork there."""


@contextmanager
def multiplied(
    layers: Mapping[str, Linear],
    factors: Mapping[str, Callable[[], Tensor] | Tensor],
    copies: tuple[int, int] | None = None,
) -> Iterator[None]:
    """While it is in force, the input of each layer is multiplied by its factor (or what the function gives), which
    broadcasts against [batch, position, d_in].

    `copies`: how many sequences of equal length run at once, each with its own line of the factors; None: one, at which
    runs fork.
    """
    with temporary(next((layers[name].module for name in factors), None)) as here:
        for name, factor in factors.items():

            def change(module, args, factor=factor, name=name):
                x, by = args[0], (factor() if callable(factor) else factor).to(args[0].dtype)
                routed = next((value for value in args[1:2] if isinstance(value, Routed)), None)
                if routed is not None and by.ndim == 3:
                    # an expert's rows, of some of the tokens of some copies
                    if copies is None and len(by) > 1:
                        raise _Flat
                    by = by[routed.pieces(len(by)), 0]
                elif x.ndim == 2 and by.ndim == 3:
                    # all tokens in one row: the copies' after each other
                    if copies is None and len(by) > 1:
                        raise _Flat
                    if copies is not None and len(x) != copies[0] * copies[1]:
                        raise SubspaceError(
                            f"layers: {name!r} sees {len(x)} of {copies[0]} x {copies[1]} tokens (a routed expert), so"
                            " that whose they are cannot be told; leave it out."
                        )
                    by = by.expand(len(by), len(x) // len(by), -1).reshape(len(x), -1)
                return (x * by, *args[1:])

            here.put(lambda: layers[name].before(alone(change)))
        yield


class _Masked:
    """Losses of one sequence under several masks at once: forked where the layers are multiplied, or on copies of the
    sequence where a trial shows that the model cannot fork there.
    """

    def __init__(self, core: nn.Module, layers: Mapping[str, Linear]):
        self.core, self.linears = core, layers
        self._forks: dict[tuple[str, ...], bool] = {}

    def losses(self, one: Tokens, masks: Mapping[str, Float[Tensor, "line 1 d_in"]]) -> Float[Tensor, " line"]:
        path = tuple(masks)
        if path not in self._forks:
            self._forks[path] = self._tried(one, path)
        return self._forked(one, masks) if self._forks[path] else self._copied(one, masks)

    def _forked(self, one: Tokens, masks: Mapping[str, Tensor]) -> Tensor:
        with multiplied(self.linears, masks):
            return losses(self.core, one)

    def _copied(self, one: Tokens, masks: Mapping[str, Tensor]) -> Tensor:
        count = max(map(len, masks.values()))
        with multiplied(self.linears, masks, copies=(count, one.ids.shape[1])):
            return losses(self.core, one.take([0] * count))

    @torch.no_grad()
    def _tried(self, one: Tokens, path: tuple[str, ...]) -> bool:
        """Whether two forked runs have the losses of two copies."""
        generator = torch.Generator().manual_seed(0)
        masks = {
            name: torch.rand(2, 1, self.linears[name].d_in, generator=generator).to(_device(self.core)) for name in path
        }
        try:
            forked = self._forked(one, masks)
        except (_Flat, RuntimeError, ValueError, IndexError, TypeError) as error:
            if out_of_memory(error):
                raise
            return False
        copied = self._copied(one, masks)
        close = 1e-4 if self.linears[path[0]].weight.dtype in (torch.float32, torch.float64) else 5e-2
        return forked.shape == copied.shape and bool(((forked - copied).abs() <= close * (1 + copied.abs())).all())


@door(SubspaceError)
@of_one_model(reads=False)
def integrated_gradients(
    model: HFModel,
    sequences: TokenRows,
    layers: str | Sequence[str] | Mapping[str, Linear] | None = None,
    *,
    prefix: Count | None = None,
    steps: Annotated[int, Whole(1, 1000)] = 20,
    together: bool = False,
    rows: Count = 32,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Share of each neuron in the mean log-likelihood (nats a token) of the sequences' tokens after the prefix, mean
    over sequences.

    Args:
        layers: None: the second layers of the feed-forward blocks, whose input columns are the hidden neurons.
        steps: nodes of the Gauss-Legendre rule on the path from 0 to the neurons' values. rows: nodes that run in one
            batch.
        together: all layers along one path (one backward for all: faster by the number of layers); else a path for each
            layer, as published.

    A path's scores sum to the log-likelihood minus that with its layers' inputs at zero (completeness); `about["gap"]`
    is the difference as a share of that change, over all paths and sequences. Above 0.1 it warns: where a norm follows
    the layer (OLMo-2) the likelihood jumps where the path starts, and no number of steps there is enough.

    An expert that no token of any sequence is sent to has NaN, and is named in `about["unreached"]`.

    Raises: SubspaceError: no token after a prefix, fewer than one step. Stopped.
    """
    require_autograd(SubspaceError, "method='integrated_gradients'", model)
    core = causal_model(model)
    tokens, linears = (
        fitting(core, rows_to_recite(sequences, "sequences", prefix), "sequences"),
        output_layers(core, layers),
    )
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alpha, weight = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
    total = {name: torch.zeros(linear.d_in, dtype=torch.float64) for name, linear in linears.items()}
    paths = [list(linears)] if together else [[name] for name in linears]
    runs = _Masked(core, linears)
    gap = change_in_all = 0.0
    names: set[str] = set()
    with _bar(len(tokens) * len(paths), "integrated gradients", progress) as bar:
        for i in range(len(tokens)):
            one = tokens.take([i])
            with torch.no_grad():
                top = -float(losses(core, one)[0])
            here = layers_reached(core, linears, one)
            names |= here
            for path in paths:
                _ask(stop, "integrated gradients", bar)
                if not here & set(path):
                    bar.update()  # an expert that does not run adds nothing
                    continue
                change = {name: torch.zeros_like(total[name]) for name in path}
                for k in range(0, steps, rows):
                    for name, gradient in _gradients(
                        runs, path, one, alpha[k : k + rows], weight[k : k + rows]
                    ).items():
                        change[name] += gradient
                with torch.no_grad(), multiplied(linears, dict.fromkeys(path, torch.zeros((), device=_device(core)))):
                    bottom = -float(losses(core, one)[0])
                summed = float(sum(value.sum() for value in change.values()))
                gap, change_in_all = gap + abs(summed - (top - bottom)), change_in_all + abs(top - bottom)
                for name in path:
                    total[name] += change[name]
                bar.update()
    gap /= max(change_in_all, 1e-12)
    if gap > 0.1:
        warn(
            f"integrated gradients miss completeness by {gap:.0%} with steps={steps}; raise steps, or take zero_out"
            " where a norm follows the layers."
        )
    return neuron_scores(
        linears,
        {name: value / len(tokens) for name, value in total.items() if name in names or bool(value.any())},
        "integrated gradients",
        weight_hash(model),
        about={"steps": steps, "together": together, "gap": gap, "sequences": len(tokens)},
    )


def _gradients(
    runs: _Masked, path: list[str], one: Tokens, alpha: Float[Tensor, " node"], weight: Float[Tensor, " node"]
) -> dict[str, Tensor]:
    """Weighted sum over nodes of the gradient of the log-likelihood by each mask, float64."""
    device = _device(runs.core)
    masks = {
        name: (
            alpha.to(device, torch.float32)[:, None, None]
            .expand(-1, 1, runs.linears[name].d_in)
            .clone()
            .requires_grad_()
        )
        for name in path
    }
    with torch.enable_grad():
        value = -(runs.losses(one, masks) * weight.to(device, torch.float32)).sum()
        # an expert that none of the runs reached has none
        gradients = torch.autograd.grad(value, list(masks.values()), allow_unused=True)
    return {name: g.float().sum((0, 1)).cpu().double() for name, g in zip(path, gradients) if g is not None}


@door(SubspaceError)
@of_one_model(reads=False)
@torch.no_grad()
def zero_out(
    model: HFModel,
    sequences: TokenRows,
    layers: str | Sequence[str] | Mapping[str, Linear] | None = None,
    *,
    prefix: Count | None = None,
    rows: Count = 64,
    candidates: Mapping[str, Sequence[int]] | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Exact rise of the mean loss (nats a token) after the prefix when one neuron is set to zero at all positions, mean
    over sequences.

    Args:
        layers: as for `integrated_gradients`, but None leaves out the experts of a mixture that `candidates` does not
            name (a run for each of their neurons; `about["left_out"]` counts their layers). rows: neurons that run in
            one batch.
        candidates: neurons to look at by layer, such as the best of another score; the others get minus infinity, and
            experts that no token is sent to NaN (`about["unreached"]` names them).

    Raises: SubspaceError: no token after a prefix, a candidate that is not there. Stopped.

    Cost: one run for each neuron and sequence from its layer on; a whole one where runs cannot fork there.
    """
    core = causal_model(model)
    tokens = fitting(core, rows_to_recite(sequences, "sequences", prefix), "sequences")
    linears, device = output_layers(core, layers), _device(core)
    choice = candidates or {}
    few = {n: l for n, l in linears.items() if not l.stack or len(choice.get(n, ()))} if layers is None else linears
    linears, left = few or linears, len(linears) - len(few or linears)
    looked = {
        name: np.arange(l.d_in) if candidates is None else np.unique(np.asarray(candidates.get(name, ()), np.int64))
        for name, l in linears.items()
    }
    for name, some in looked.items():
        if len(some) and not 0 <= some[0] <= some[-1] < linears[name].d_in:
            raise SubspaceError(
                f"candidates[{name!r}] holds {some[0] if some[0] < 0 else some[-1]}; the layer has neurons 0 to"
                f" {linears[name].d_in - 1}."
            )
    if not sum(map(len, looked.values())):
        raise SubspaceError(f"candidates names no neuron of {', '.join(list(linears)[:3])}; give at least one.")
    out = {name: torch.full((l.d_in,), -torch.inf, dtype=torch.float64) for name, l in linears.items()}
    for name, some in looked.items():
        out[name][torch.from_numpy(some)] = 0.0
    runs, names = _Masked(core, linears), set()
    with _bar(len(tokens) * sum(map(len, looked.values())), "zero-out", progress) as bar:
        for i in range(len(tokens)):
            one = tokens.take([i])
            base = losses(core, one)[0].cpu().double()
            here = layers_reached(core, linears, one)
            names |= here
            for name, some in looked.items():
                if name not in here:
                    bar.update(len(some))  # an expert that does not run changes nothing
                    continue
                for k in range(0, len(some), rows):
                    _ask(stop, "zero-out", bar)
                    part = torch.from_numpy(some[k : k + rows])
                    mask = torch.ones(len(part), 1, linears[name].d_in, device=device)
                    mask[torch.arange(len(part)), 0, part] = 0
                    out[name][part] += (runs.losses(one, {name: mask}).cpu().double() - base) / len(tokens)
                    bar.update(len(part))
    out = {name: value for name, value in out.items() if name in names}
    left_out = {"left_out": left} if left else {}
    return neuron_scores(linears, out, "zero-out", weight_hash(model), about={"sequences": len(tokens)} | left_out)


def _device(core: nn.Module) -> torch.device:
    return device_of(core)


def _bar(total: int, what: str, progress: bool | None) -> tqdm:
    return tqdm(total=total, desc=what, delay=2.0, leave=False, disable=hidden(progress))


def _ask(stop: Callable[[], bool] | None, what: str, bar: tqdm) -> None:
    if says_stop(stop):
        raise Stopped(f"{what} stopped after {bar.n} of {bar.total}")
