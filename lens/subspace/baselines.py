"""Baselines that learn on weights: Subnet and BalancedSubnet (a mask on weights, learned), and gradient ascent (new
weights).

Sources: Sakarvadia et al. 2025, Mitigating Memorization in Language Models (Subnet, BalancedSubnet); Ramanujan et al.
    2020 for the scores with a straight-through gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..arguments import Count, Draws, HFModel, NonNegative, Portion, Positive, Real, Seed, Share, TokenRows, door
from ..engine.autograd import require_autograd
from ..engine.feedforward import feed_forward
from ..engine.linear import Linear
from ..engine.sessions import of_one_model
from ..models import weight_hash
from .data import Tokens, causal_model, fitting, layers_reached, linear_layers, losses, refuse_overlap, rows_to_recite
from .errors import SubspaceError
from .learned import _batches
from .replacement import Replacement
from .scores import Scores, weight_scores


def with_weights(core: nn.Module, layers: Mapping[str, Linear]) -> Callable[[Mapping[str, Tensor]], Callable[..., Any]]:
    """A function of new weights [out, in] by layer that gives what to call in place of the model; the model's own
    parameters are never touched.

    Raises: LinearError: a layer's weight is quantised, so that floats cannot stand in for it, or offloaded, so that
        accelerate's hooks take away what stands in for it.
    """
    for linear in layers.values():
        linear.require_floats().require_resident("what stands in for it")
    names = {id(p): name for name, p in core.named_parameters()}

    def whole(new: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters that hold the new weights; those of several experts are in one."""
        parameters: dict[str, Tensor] = {}
        parts: dict[str, dict[int, Tensor]] = {}
        for name, weight in new.items():
            linear = layers[name]
            weight, at = weight.T if linear.transposed else weight, names[id(linear.parameter)]
            if linear.expert is None:
                parameters[at] = weight
            else:
                parts.setdefault(at, {})[linear.expert] = weight
                parameters[at] = linear.parameter.detach()
        for at, experts in parts.items():
            index = torch.tensor(list(experts), device=parameters[at].device)
            parameters[at] = parameters[at].index_copy(0, index, torch.stack(list(experts.values())))
        return parameters

    return lambda new: lambda **inputs: functional_call(core, whole(new), kwargs=inputs)


@door(SubspaceError)
@of_one_model(reads=False)
def subnet(
    model: HFModel,
    memorised: TokenRows,
    clean: TokenRows | None = None,
    layers: str | Sequence[str] | Mapping[str, Linear] = "mlp",
    *,
    ratio: Share = 0.01,
    prefix: Count | None = None,
    steps: Draws = 100,
    rate: Positive = 0.1,
    momentum: NonNegative = 0.9,
    weight_decay: NonNegative = 5e-4,
    loss_weight: Portion | None = None,
    batch: Count = 16,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Scores:
    """Scores s on weights, learned so that without the share `ratio` of smallest |s| the memorised sequences have a
    large loss, and, where `clean` is given, clean text a small one.

    The forward runs with W * 1{|s| above the layer's ratio-quantile}, the gradient passes to s as if that were W * |s|.
    With `clean` this is BalancedSubnet, without Subnet.

    Args:
        ratio: share of each layer's weights that the training leaves out; take the mask at the same sparsity.
        prefix: of the memorised sequences; clean text counts from its second token.
        loss_weight: weight w of the memorised term against 1 - w of the clean one; None: each row of the mixed batch
            counts the same. batch: rows of either set a step.

    Returns: weight scores -|s|: `.mask(ratio)` is what was trained for. NaN of experts that no token was sent to.

    Raises: SubspaceError: overlapping sets (they are listed), settings out of range. Stopped.
    """
    core, bad, good = _sets(model, memorised, clean, prefix)
    linears, generator = linear_layers(core, layers), torch.Generator().manual_seed(int(seed))
    bound = {name: 1 / math.sqrt(l.d_in) for name, l in linears.items()}
    scores = {
        n: ((torch.rand(l.d_out, l.d_in, generator=generator) * 2 - 1) * bound[n]).to(l.weight.device)
        for n, l in linears.items()
    }
    optimiser, call = (
        torch.optim.SGD(scores.values(), lr=rate, momentum=momentum, weight_decay=weight_decay),
        with_weights(core, linears),
    )
    share = (
        1.0
        if good is None
        else (
            loss_weight
            if loss_weight is not None
            else min(batch, len(bad)) / (min(batch, len(bad)) + min(batch, len(good)))
        )
    )
    goods = _batches(good, batch, steps, seed + 1, "", False, None) if good is not None else None
    for some, _ in _batches(bad, batch, steps, seed, "subnet" if good is None else "balanced subnet", progress, stop):
        remaining = {
            n: (l.weight.detach() * _above_quantile(scores[n], ratio)).requires_grad_() for n, l in linears.items()
        }
        with torch.enable_grad():
            worse = losses(core, some, call=call(remaining)).mean()
            better = (
                losses(core, next(goods)[0], call=call(remaining)).mean() if goods is not None else worse.new_zeros(())
            )
            gradients = torch.autograd.grad((1 - share) * better - share * worse, list(remaining.values()))
        for (n, l), g in zip(linears.items(), gradients):
            scores[n].grad = g * l.weight.detach() * scores[n].sign()
        optimiser.step()
    about = {
        "ratio": ratio,
        "steps": steps,
        "rate": rate,
        "loss_weight": share,
        "seed": seed,
        "memorised_loss": float(worse.detach()),
    }
    if good is not None:
        about["clean_loss"] = float(better.detach())
    names = layers_reached(core, linears, bad) | (set() if good is None else layers_reached(core, linears, good))
    values = {n: -s.detach().abs().cpu() for n, s in scores.items() if n in names}
    method = "subnet" if good is None else "balanced subnet"
    return weight_scores(linears, values, method, weight_hash(model), per="layer", about=about)


def _above_quantile(score: Tensor, ratio: float) -> Tensor:
    """1 where |s| is above its quantile, over one layer."""
    size = score.abs()
    # the rule of Scores.mask, so that the trained mask is the one that is given
    cut = size.reshape(-1).kthvalue(max(1, int(ratio * size.numel() + 1e-9))).values
    return (size > cut).to(score)


@door(SubspaceError)
@of_one_model(reads=False)
def gradient_ascent(
    model: HFModel,
    memorised: TokenRows,
    clean: TokenRows | None = None,
    layers: str | Sequence[str] | Mapping[str, Linear] = "mlp",
    *,
    prefix: Count | None = None,
    steps: Draws = 20,
    rate: Positive = 1e-4,
    clean_weight: NonNegative = 1.0,
    until: Real | None = None,
    batch: Count = 16,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Replacement:
    """New weights after Adam steps up the loss of the memorised sequences after their prefix (and down that of clean
    text, times `clean_weight`); the model stays as it is.

    `until`: stop once the memorised loss (nats a token) has reached it. `about["path"]`: memorised and clean loss
    before each step.

    Raises: SubspaceError: overlapping sets (they are listed), a loss that is no longer finite. Stopped.
    """
    core, bad, good = _sets(model, memorised, clean, prefix)
    linears = linear_layers(core, layers)
    new = {
        n: l.weight.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for n, l in linears.items()
    }
    optimiser, call, path = torch.optim.Adam(new.values(), lr=rate), with_weights(core, linears), []
    goods = _batches(good, batch, steps, seed + 1, "", False, None) if good is not None else None
    for some, _ in _batches(bad, batch, steps, seed, "gradient ascent", progress, stop):
        with torch.enable_grad():
            worse = losses(core, some, call=call(new)).mean()
            better = losses(core, next(goods)[0], call=call(new)).mean() if goods is not None else None
            reached_loss = float(worse.detach())
            path.append([reached_loss, None if better is None else float(better.detach())])
            if not math.isfinite(reached_loss):
                raise SubspaceError(
                    f"gradient ascent left the finite numbers at step {len(path)}; lower rate={rate} or give until."
                )
            if until is not None and reached_loss >= until:
                break
            gradients = torch.autograd.grad(
                (0.0 if better is None else clean_weight * better) - worse, list(new.values())
            )
        for weight, g in zip(new.values(), gradients):
            weight.grad = g
        optimiser.step()
    about = {
        "method": "gradient ascent",
        "rate": rate,
        "steps": len(path),
        "clean_weight": clean_weight,
        "seed": seed,
        "path": path,
    } | feed_forward(linears)
    return Replacement({n: w.detach() for n, w in new.items()}, weight_hash(model), about)


def _sets(model: Any, memorised: Any, clean: Any, prefix: int | None) -> tuple[nn.Module, Tokens, Tokens | None]:
    require_autograd(SubspaceError, "learning on weights", model)
    core = causal_model(model)
    bad = fitting(core, rows_to_recite(memorised, "memorised", prefix), "memorised")
    good = None if clean is None else fitting(core, rows_to_recite(clean, "clean", 1), "clean")
    if good is not None:
        refuse_overlap(bad, good, ("memorised", "clean"))
    return core, bad, good
