"""What a layer applies now: under an adapter, a quantiser or a replaced forward that is not the parameter that lies in
it.

Of a plain linear layer, look-up or norm the parameters are handed out as they are, at no cost. Of any other the affine
map is told by what the layer does with unit inputs, and checked on random ones; a layer that applies no fixed map is
refused. So every kind of adapter is read by what it does, and no formula of any kind is written here: the sum of base
and "delta" is not what DoRA, a LoRA with a bias, IA3, OFT or BOFT apply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import Error
from ..models.placement import device_of, runs_its_own
from ..models.quantised_layers import dequantised, is_codes, is_quantised, rounds_activations
from .resident import resident

#: Bytes of a layer's output that are held at once while it is probed.
_PROBED = 64 << 20
#: Where an adapter, or a wrapper that trains a copy, keeps the layer that it stands for.
_INNER = ("base_layer", "original_module")


class LayerError(Error, ValueError):
    """A layer that applies no fixed weight, so that nothing can be read off it; the message says which and what to
    do.
    """


def is_conv1d(module: Any) -> bool:
    """Whether this is GPT-2's linear layer, which keeps its weight as [in, out]."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", None) is not None and module.weight.ndim == 2


def innermost(module: nn.Module) -> Any:
    """The layer that lies under its adapters, of whatever class: what has the shape, not what is applied."""
    while (
        inner := next((found for n in _INNER if isinstance(found := getattr(module, n, None), nn.Module)), None)
    ) is not None:
        module = inner
    return module


def is_plain(module: nn.Module) -> bool:
    """Whether the module's own parameters are what it applies: torch's product, look-up or norm, no replaced forward
    and no hook. accelerate's hook that says where it computes changes nothing of that, unless the weight is offloaded.
    """
    own = type(module).forward
    known = (
        own in (nn.Linear.forward, nn.Embedding.forward, nn.LayerNorm.forward)
        or is_conv1d(module)
        or "RMSNorm" in type(module).__name__
    )
    if not known or module._forward_hooks or module._forward_pre_hooks or not runs_its_own(module):
        return False
    # a plain tensor in the weight's place is made anew by something else before each forward, and may be stale
    if "weight" not in module._parameters:
        return hasattr(module, "parametrizations")
    return not is_codes(module._parameters["weight"])


def shape(module: nn.Module) -> tuple[int, int]:
    """``(d_out, d_in)`` of a linear layer, adapted or not; of an embedding ``(tokens, d_model)``."""
    base = innermost(module)
    if is_conv1d(base):
        return base.weight.shape[1], base.weight.shape[0]
    if isinstance(getattr(base, "in_features", None), int):
        return base.out_features, base.in_features
    d_out, d_in = base.weight.shape
    return d_out, d_in


@torch.no_grad()
def probed(module: nn.Module, name: str = "layer") -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
    """Weight and bias of whatever linear layer this is, told by its outputs on unit inputs. Costs a forward of ``d_in``
    rows.

    Layers in half precision are probed as float32 copies of their parameters, so that the map is not rounded twice.

    Raises: LayerError: its output is no affine function of its input.
    """
    d_out, d_in = shape(module)
    call, like, tolerance = _caller(module)
    bias = call(like.new_zeros(1, d_in))
    weight = like.new_empty(d_out, d_in)
    rows = max(1, _PROBED // (like.element_size() * d_out))
    for a in range(0, d_in, rows):
        unit = like.new_zeros(min(rows, d_in - a), d_in)
        unit[torch.arange(len(unit)), torch.arange(a, a + len(unit))] = 1
        weight[:, a : a + len(unit)] = (call(unit) - bias).T
    x = torch.randn(5, d_in, generator=torch.Generator().manual_seed(0)).to(like)
    x[3:] *= 30
    _same(call(x), x @ weight.T + bias, tolerance, module, name)
    return weight, bias[0] if bool(bias.any()) else None


def linear_map(module: Any, name: str = "layer") -> tuple[Float[Tensor, "out in"], Float[Tensor, " out"] | None]:
    """Weight ``[d_out, d_in]`` and bias that a linear layer applies now: the parameters themselves (or a view) of a
    plain layer, the codes times their scales of a quantised one, else as ``probed``.

    Raises: LayerError: its output is no affine function of its input.
    """
    with resident(module):
        if is_plain(module):
            return module.weight.T if is_conv1d(module) else module.weight, module.bias
        if (quantised := _quantised_alone(module)) is not None:
            return dequantised(quantised), quantised.bias
        return probed(module, name)


def weight_of(module: Any, name: str = "layer") -> Float[Tensor, "out in"]:
    """The weight ``[d_out, d_in]`` that a linear layer applies now, whatever it is made of: as ``linear_map``."""
    return linear_map(module, name)[0]


def _quantised_alone(module: Any) -> Any:
    """The quantised layer that a module is, or that a bridge's wrapper around it runs; None of any other, one with an
    adapter on it too.
    """
    while isinstance(inner := getattr(module, "_modules", {}).get("_original_component"), nn.Module):
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        module = inner
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    return module if is_quantised(module) else None


@torch.no_grad()
def linear_bias(module: Any) -> Float[Tensor, " out"] | None:
    """The bias that a linear layer applies now: its output for an input of zeros."""
    bias: Tensor | None
    with resident(module):
        if is_plain(module):
            bias = module.bias
            return bias
        if (quantised := _quantised_alone(module)) is not None:
            bias = quantised.bias
            return bias
        call, like, _ = _caller(module)
        bias = call(like.new_zeros(1, shape(module)[1]))[0]
        return bias if bool(bias.any()) else None


@torch.no_grad()
def table(module: Any) -> Float[Tensor, "tokens d_model"]:
    """The rows that an embedding looks up now: its parameter where it is a plain one, else its own answer for every
    token.
    """
    weight: Tensor
    with resident(module):
        if is_plain(module):
            weight = module.weight
            return weight
        base = innermost(module)
        size = base.num_embeddings if isinstance(base, nn.Embedding) else len(base.weight)
        return torch.cat([module(ids) for ids in torch.arange(size, device=base.weight.device).split(4096)])


#: What norms call the number that they add under the root.
_EPSILONS = ("eps", "variance_epsilon", "epsilon", "norm_eps", "layer_norm_epsilon")


@torch.no_grad()
def norm_map(
    module: nn.Module, name: str = "norm"
) -> tuple[bool, Float[Tensor, " d_model"], Float[Tensor, " d_model"] | None, float]:
    """Of a layer norm or RMS norm: whether it subtracts the mean, its weight and bias in float32, and its epsilon.

    Told by what it does with a few rows, since norms of one name multiply by their parameter, or by one more than it
    (Gemma). Costs a call on nine rows.

    Raises: LayerError: a module that is no norm of that kind.
    """
    base = innermost(module)
    with resident(module):
        return _norm_map(module, base, name)


def _norm_map(
    module: nn.Module, base: Any, name: str
) -> tuple[bool, Float[Tensor, " d_model"], Float[Tensor, " d_model"] | None, float]:
    epsilon = next((float(e) for n in _EPSILONS if isinstance(e := getattr(base, n, None), float | int)), None)
    parameter = getattr(base, "weight", None)
    if epsilon is None or not isinstance(parameter, Tensor) or parameter.ndim != 1:
        raise LayerError(
            f"{name}: a {type(base).__name__} is no layer norm or RMS norm whose weight and epsilon can be told."
        )
    call, like, tolerance = _caller(module)
    x = torch.randn(4, len(parameter), generator=torch.Generator().manual_seed(0)).to(like)
    x = torch.cat([x, -x[:3], 30 * x[:2]])
    out = call(x)
    for centre in (isinstance(base, nn.LayerNorm), not isinstance(base, nn.LayerNorm)):
        scaled = x - x.mean(-1, keepdim=True) if centre else x
        scaled = scaled * (scaled.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        # of a row and its negative the bias is what the outputs have in common; four rows tell the weight well
        bias = ((out[:3] + out[4:7]) / 2).mean(0)
        weight = ((out[:4] - bias) * scaled[:4]).sum(0) / scaled[:4].square().sum(0)
        weight, bias = _exactly(base, weight, bias, tolerance)
        if bool(((out - (scaled * weight + bias)).abs() <= tolerance * out.abs().amax().clamp(min=1e-30)).all()):
            return centre, weight.float(), bias.float() if bool(bias.any()) else None, epsilon
    raise LayerError(
        f"{name}: the {type(module).__module__.split('.')[0]} module {type(module).__name__} applies"
        " no fixed weight to a scaled input, as a layer norm or RMS norm does, so nothing can be read through it."
    )


def _exactly(base: Any, weight: Tensor, bias: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """The parameters themselves where what was told is one of them, or one more than it, to rounding."""
    parameter, own = base.weight.to(weight), getattr(base, "bias", None)
    own = own.to(bias) if isinstance(own, Tensor) else torch.zeros_like(bias)
    for candidate in (parameter, 1 + parameter):
        if torch.allclose(candidate, weight, rtol=0, atol=tolerance * float(candidate.abs().max().clamp(min=1e-30))):
            weight = candidate
            break
    scale = float(weight.abs().max().clamp(min=1e-30))
    return weight, own if torch.allclose(own, bias, rtol=0, atol=10 * tolerance * scale) else bias


def mixing_layer(model: nn.Module) -> str:
    """Why rows of a batch are not runs of their own in this model, or "": an adapter whose output for a token depends
    on all the tokens of the call.
    """
    for name, module in model.named_modules():
        if type(module).__module__.split(".")[-2:-1] == ["lily"] and hasattr(module, "base_layer"):
            return (
                f"{name}: its adapter (Lily) weighs its parts by a mean over all tokens of a call, so that a token's"
                " output depends on what else is in the batch, and on later tokens; unload the adapter, or use a kind"
                " that acts on each token by itself."
            )
    return ""


def _caller(module: nn.Module) -> tuple[Callable[[Tensor], Tensor], Tensor, float]:
    """The module as a function of float32 rows where that can be had, a tensor of the dtype and device that it takes,
    and how exact its outputs are.
    """
    values = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    base = next((part for part in module.modules() if is_quantised(part)), None)
    if base is not None:
        # an adapter's own layers compute in float32 on a base that takes any input; a rounded input may be off by half
        # a step of its largest value
        here = next(iter(base.parameters())).device
        scale = next((v.dtype for v in values.values() if v.dtype in (torch.bfloat16, torch.float16)), torch.float32)
        like = torch.empty(0, dtype=scale if scale == torch.bfloat16 else torch.float32, device=here)
        return module, like, 5e-2 if rounds_activations(base) or _rounds_to_bfloat16(base) else 1e-3
    first = next((v for v in values.values() if v.is_floating_point()), None)
    if first is None:
        raise LayerError(
            f"layer: a {type(module).__name__} without a floating-point parameter; what it applies cannot be told."
        )
    device = device_of(module)
    if first.dtype == torch.float64:
        return module, torch.empty(0, dtype=torch.float64, device=device), 1e-8
    half = [n for n, v in values.items() if v.dtype in (torch.bfloat16, torch.float16)]
    if not half:
        return module, torch.empty(0, dtype=torch.float32, device=device), 1e-4
    if all(type(v) in (nn.Parameter, Tensor) and v.is_floating_point() for v in values.values()):
        single = {n: values[n].float() for n in half}

        def call(x: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(module, single, (x,))
            return out.float()

        return call, torch.empty(0, dtype=torch.float32, device=device), 1e-4
    return module, torch.empty(0, dtype=values[half[0]].dtype, device=device), 5e-2


def _rounds_to_bfloat16(module: Any) -> bool:
    return hasattr(module.weight, "quant_state") or module.weight.dtype == torch.bfloat16


def _same(own: Tensor, product: Tensor, tolerance: float, module: nn.Module, name: str) -> None:
    gap = (own - product).abs().amax(-1) / own.abs().amax(-1).clamp(min=1e-30)
    if not bool((gap <= tolerance).all()):
        raise LayerError(
            f"{name}: the {type(module).__module__.split('.')[0]} layer {type(module).__name__} applies no fixed weight"
            f" (its output is not what its outputs on unit inputs add up to, off by {float(gap.max()):.2g}), so nothing"
            " can be read off its weights; merge the adapter (merge_and_unload) or disable it."
        )
