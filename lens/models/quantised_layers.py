"""Quantised weights: what is stored of them, how it becomes what a layer applies, and by what method.

A quantised parameter is no plain tensor: it stands for codes and scales that lie in other tensors, some of them in no
list of the model's parameters. Nothing here imports the packages that make them: who has such a model has the package.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .placement import value_of
from .tree import Tree

__all__ = [
    "FLOATS",
    "applied",
    "dequantised",
    "form_of",
    "gradient_refusal",
    "is_codes",
    "is_quantised",
    "is_unsettled",
    "method_of",
    "methods",
    "not_finite",
    "number_of_bad",
    "outlier_layer",
    "quantised_layers",
    "rounds_activations",
    "stored",
    "trains_elsewhere",
]

#: Attributes that the first forward sets: of bitsandbytes' layers by its input, of compressed-tensors' for itself.
SET_BY_FORWARD = frozenset(("compute_type_is_set", "compute_dtype", "is_staged"))
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def is_codes(value: Any) -> bool:
    """Whether a parameter is no plain tensor of numbers, but stands for codes and scales."""
    kind = type(value)
    if kind is nn.Parameter or kind is Tensor or value is None:
        return False
    if getattr(value, "has_fp16_weights", False):  # bitsandbytes' way of training its layers in float
        return False
    return hasattr(value, "__tensor_flatten__") or hasattr(value, "quant_state") or hasattr(value, "SCB")


def stored(core: nn.Module, named: Sequence[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Names and tensors in which parameters lie: of a plain one itself, of a quantised one its codes and scales, by
    names below its own.
    """
    if not any(type(value) is not nn.Parameter and is_codes(value) for _, value in named):
        return list(named)
    homes = {id(p): module for module in Tree.of(core).modules for p in module._parameters.values() if p is not None}
    return [piece for name, value in named for piece in _pieces(name, value, homes.get(id(value)))]


def _pieces(name: str, value: Any, module: nn.Module | None) -> Iterator[tuple[str, Tensor]]:
    if not is_codes(value):
        yield name, value
    elif hasattr(value, "__tensor_flatten__"):
        for inner in value.__tensor_flatten__()[0]:
            yield from _pieces(f"{name}.{inner}", getattr(value, inner), None)
    elif hasattr(value, "SCB"):
        yield name, value
        # the first forward hands the scales over to the layer
        scale = value.SCB if value.SCB is not None else getattr(getattr(module, "state", None), "SCB", None)
        if scale is not None:
            yield f"{name}.SCB", scale
    else:
        yield name, value
        if value.quant_state is not None:
            yield from _state(name, value.quant_state)


def _state(name: str, state: Any) -> Iterator[tuple[str, Tensor]]:
    for part in ("absmax", "code", "offset"):
        if isinstance(found := getattr(state, part, None), Tensor) and (part != "offset" or state.nested):
            yield f"{name}.{part}", found
    if getattr(state, "nested", False):
        yield from _state(f"{name}.state2", state.state2)


# -- formats that the first forward settles ---------------------------------------------------------------------------


def outlier_layer(core: nn.Module) -> str | None:
    """The first layer of bitsandbytes' int8 that takes large inputs out of the codes: which, it tells by the whole
    batch.
    """
    for name, module in core.named_modules():
        state = module.__dict__.get("state")
        if hasattr(state, "SCB") and getattr(state, "threshold", 0) > 0:
            return str(name)
    return None


def is_unsettled(core: nn.Module) -> bool:
    """Whether the next forward writes weights anew: bitsandbytes packs 4-bit codes for processors with bfloat16, and
    rounds their scales; compressed-tensors decompresses.
    """
    if "ct_decompress_hook" in core.__dict__:
        return True
    return any(_will_pack(module) for module in Tree.of(core).modules if "support_avx512bf16_for_cpu" in vars(module))


def _will_pack(module: Any) -> bool:
    state = getattr(module.weight, "quant_state", None)
    return bool(
        module.support_avx512bf16_for_cpu
        and state is not None
        and module.weight.device.type == "cpu"
        and not getattr(state, "packing_format_for_cpu", False)
    )


def applied(core: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors in which the parameters will lie once a forward has settled them, in the order of the names;
    the model itself stays as it is. Holds one layer's at a time.
    """
    found: dict[str, tuple[nn.Module, str, Any]] = {}
    seen: set[int] = set()
    for prefix, module in core.named_modules():
        settled = _decompressed(module) if "ct_decompress_hook" in core.__dict__ else None
        for key in list(module._parameters) if settled is None else list(settled):
            value = module._parameters.get(key) if settled is None else None
            if value is not None and id(value) in seen:
                continue
            seen.add(id(value))
            if settled is not None or value is not None:
                found[_plain(f"{prefix}.{key}" if prefix else key)] = module, key, settled is not None
        del settled
    unpacked: tuple[nn.Module | None, dict[str, Tensor]] = None, {}
    for name in sorted(found):
        module, key, packed = found[name]
        if packed:
            if unpacked[0] is not module:  # names of one layer follow one another
                unpacked = module, _decompressed(module) or {}
            yield name, unpacked[1][key]
            continue
        last: Any = module._parameters[key]
        if "support_avx512bf16_for_cpu" in vars(module) and key == "weight" and _will_pack(module):
            from bitsandbytes.functional import _convert_weight_packed_for_cpu

            codes, state = _convert_weight_packed_for_cpu(last.data, copy.copy(last.quant_state))
            yield name, codes
            yield from _state(name, state)
        else:
            yield from _pieces(name, last, module)


def _plain(name: str) -> str:
    return name.replace("._original_component", "").replace("_orig_mod.", "")


def _decompressed(module: nn.Module) -> dict[str, Tensor] | None:
    """The parameters of a layer of compressed-tensors as its first forward makes them; None of any other module."""
    if getattr(module, "quantization_scheme", None) is None or "weight_packed" not in module._parameters:
        return None
    from compressed_tensors.compressors import decompress_module

    twin = copy.deepcopy(module)
    decompress_module(twin)
    return {key: value for key, value in twin._parameters.items() if value is not None}


# -- as floats -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def dequantised(module: Any) -> Tensor:
    """The weight [out, in] that a quantised layer applies, as floats, by its library's own formula; what lies in the
    layer stays as it is.
    """
    own, value = module._parameters, module._parameters.get("weight")
    if getattr(module, "quantization_scheme", None) is not None:
        settled = _decompressed(module)
        found: Tensor = own["weight"] if settled is None else settled["weight"]
        floats: Tensor = found.detach()
        return floats
    if hasattr(value, "quant_state"):
        return _unpacked(value)
    if hasattr(value, "SCB"):
        scale = value.SCB if value.SCB is not None else module.state.SCB
        product: Tensor = value.detach().float() * (scale.float() / 127)[:, None]
        return product
    plain: Tensor = value.dequantize()
    return plain.detach()


def _unpacked(value: Any) -> Tensor:
    from bitsandbytes import functional

    codes, state = value.data, copy.copy(value.quant_state)
    if getattr(state, "packing_format_for_cpu", False):
        # the inverse would round nested scales once more, and leaves others as they lie
        state.original_nested = False
        codes, state = functional._convert_weight_packed_for_cpu_inverse(codes, state)
        state.absmax, state.dtype = state.absmax.T.reshape(-1).float(), torch.float32
    elif _packs(value):
        state.absmax = (
            functional.dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
        )
        state.nested, state.absmax = False, state.absmax.bfloat16().float()
    found: Tensor = functional.dequantize_4bit(codes, state)
    return found.reshape(tuple(state.shape))


def _packs(value: Any) -> bool:
    module = getattr(value, "module", None)
    return module is not None and _will_pack(module)


def gradient_refusal(core: nn.Module) -> str | None:
    """Why gradients through a model's layers are not those of what it computes, without an error of their own; None
    where they are.
    """
    for name, module in core.named_modules():
        value: Any = getattr(module, "_parameters", {}).get("weight")
        if not is_codes(value):
            scheme = getattr(module, "quantization_scheme", None)
            if scheme is None or scheme.input_activations is None:
                continue
        if hasattr(value, "quant_state"):
            if not (getattr(value.quant_state, "packing_format_for_cpu", False) or _packs(value)):
                continue
            why = (
                "packs its codes for this processor, and their product has no gradient: the layer counts as a constant"
            )
        elif hasattr(value, "SCB"):
            if not module.training:
                continue
            why = "multiplies floats in train() and codes in eval(), another function; call model.eval()"
        elif rounds_activations(module):
            why = "rounds its input to codes, so that the gradient is that of constant pieces"
        else:
            continue
        return f"the layer {_plain(name)!r} ({method_of(module)}) {why}"
    return None


#: What to do where weights have to be floats.
FLOATS = "load the model with dequantize=True (lens.load(name, dequantize=True)), or its unquantised weights"


# -- by what method ---------------------------------------------------------------------------------------------------


def method_of(module: Any) -> str | None:
    """By what a layer's weight is quantised, as it stands in records; None of a plain layer."""
    own = getattr(module, "_parameters", {})
    value: Any = own.get("weight")
    scheme = getattr(module, "quantization_scheme", None)
    if scheme is not None and ("weight_packed" in own or "weight_scale" in own):
        return f"compressed-tensors {_scheme(scheme)}"
    if not is_codes(value):
        return None
    package = type(value).__module__.split(".")[0]
    if hasattr(value, "quant_state"):
        return f"{package} {getattr(value, 'quant_type', '4 bit')}"
    if hasattr(value, "SCB"):
        threshold = getattr(getattr(module, "state", None), "threshold", 0.0)
        return f"{package} int8" + (f" with outliers above {threshold:g} in float16" if threshold else "")
    if package == "optimum":
        acts = getattr(module, "activation_qtype", None)
        return f"quanto {value.qtype.name}" + (f" with {acts.name} activations" if acts is not None else "")
    kind = type(value).__name__.removesuffix("Tensor").lower()
    return f"{package} {kind}" + (f" with {kind} activations" if rounds_activations(module) else " weight-only")


def form_of(module: Any) -> str:
    """How a quantised layer makes numbers of its codes and scales, beside the method: blocks, formats, what it does
    with its input; the same before and after the first forward.
    """
    value: Any = module._parameters.get("weight")
    parts: list[Any] = [method_of(module), module.in_features, module.out_features]
    if hasattr(value, "__tensor_flatten__"):
        parts.append(sorted((key, str(item)) for key, item in value.__tensor_flatten__()[1].items()))
    elif hasattr(value, "quant_state"):
        parts += [value.blocksize, tuple(value.quant_state.shape)]
    elif getattr(module, "quantization_scheme", None) is not None:
        parts.append(str(module.quantization_scheme))
    return _ADDRESS.sub("", str(parts))


def _scheme(scheme: Any) -> str:
    weights, inputs = scheme.weights, scheme.input_activations
    bits = f"W{weights.num_bits}" if weights is not None else "W16"
    return (
        f"{bits}A{inputs.num_bits if inputs is not None else 16} {weights.type if weights is not None else ''}".strip()
    )


def rounds_activations(module: Any) -> bool:
    """Whether a layer rounds its input to codes before it multiplies, so that its outputs lie on steps."""
    value = getattr(module, "_parameters", {}).get("weight")
    scheme = getattr(module, "quantization_scheme", None)
    if scheme is not None:
        return scheme.input_activations is not None
    if hasattr(value, "SCB") and not getattr(value, "has_fp16_weights", False):
        return True
    return getattr(value, "act_quant_kwargs", None) is not None or getattr(module, "activation_qtype", None) is not None


def is_quantised(module: Any) -> bool:
    """Whether a layer's weight is quantised."""
    return method_of(module) is not None


def quantised_layers(core: nn.Module) -> dict[str, str]:
    """The quantised layers of a model, by name, each with its method; of adapters the layers beneath them."""
    return {_plain(name): method for name, module in core.named_modules() if (method := method_of(module)) is not None}


def methods(core: nn.Module) -> dict[str, int]:
    """By what methods weights of a model are quantised, and on how many layers."""
    found: dict[str, int] = {}
    for method in quantised_layers(core).values():
        found[method] = found.get(method, 0) + 1
    return found


def trains_elsewhere(module: Any) -> bool:
    """Whether a layer in `train()` is another function than in `eval()`: bitsandbytes' int8."""
    value = getattr(module, "_parameters", {}).get("weight")
    return hasattr(value, "SCB") and not getattr(value, "has_fp16_weights", False)


def not_finite(core: nn.Module) -> Iterator[tuple[str, Tensor, int]]:
    """The parameters (of a quantised one its scales, of an offloaded one its values) that hold NaN or infinity: name,
    values, and how many.
    """
    for name, kept in stored(core, Tree.of(core).named_parameters()):
        if bad := number_of_bad(value := value_of(kept)):
            yield name, value, bad


@torch.no_grad()
def number_of_bad(value: Tensor) -> int:
    """How many values of a tensor are NaN or infinite; reads each once, as fast as memory gives it."""
    if not value.is_floating_point() or not value.numel():
        return 0
    value = value.detach()
    if value.element_size() == 1:  # float8 has no operations of its own
        value = value.float()
    low, high = torch.aminmax(value)
    if bool(torch.isfinite(low) & torch.isfinite(high)):
        return 0
    return int((~torch.isfinite(value)).sum())
