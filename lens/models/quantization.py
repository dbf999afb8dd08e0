"""How weights are quantised when a model is loaded: by name or by a configuration of transformers, on which devices,
and back to plain floats.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lens.arguments import shown
from lens.cache import LoadError
from lens.extras import ExtraError, require

__all__ = ["QUANTIZATIONS", "Quantization", "chosen", "dequantized", "method_of", "stored"]

#: Names for `lens.load(quantization=)`: the package, and what the weights become. "torchao-int8-dynamic" rounds
#: activations to int8 too, row by row; "bitsandbytes-int8" rounds them without a threshold for outliers, so that no row
#: depends on the others of its batch.
QUANTIZATIONS = (
    "torchao-int8",
    "torchao-int8-dynamic",
    "torchao-float8",
    "bitsandbytes-int8",
    "bitsandbytes-nf4",
    "quanto-int8",
)
#: The module of the package that a method of transformers needs, and the types of devices that it computes on.
_METHODS = {
    "torchao": ("torchao", ("cpu", "cuda")),
    "bitsandbytes": ("bitsandbytes", ("cpu", "cuda")),
    "quanto": ("optimum.quanto", ("cpu", "cuda", "mps")),
    "compressed-tensors": ("compressed_tensors", ("cpu", "cuda")),
}


@dataclass(frozen=True)
class Quantization:
    """A choice: the name (or the method) that a record tells, transformers' own configuration, and the method."""

    name: str
    config: Any
    method: str


def chosen(quantization: Any, dtype: torch.dtype | str) -> Quantization | None:
    """The choice that a name or a configuration stands for, its package looked for.

    `dtype`: what a 4-bit layer computes in. Raises: LoadError: an unknown name, no configuration. ExtraError: the
    package is not installed.
    """
    if quantization is None:
        return None
    if isinstance(quantization, str):
        if quantization not in QUANTIZATIONS:
            raise LoadError(
                f"quantization={quantization!r} is not known; expected one of {', '.join(QUANTIZATIONS)}, or a"
                " quantization configuration of transformers."
            )
        method = quantization.split("-")[0]
        _require(method, f"quantization={quantization!r}")
        return Quantization(quantization, _MAKERS[quantization](dtype), method)
    found = method_of(quantization)
    if isinstance(quantization, type) or found is None or not callable(getattr(quantization, "to_dict", None)):
        raise LoadError(
            f"quantization={shown(quantization)}: expected one of {', '.join(QUANTIZATIONS)}, or a quantization"
            " configuration of transformers, such as BitsAndBytesConfig(load_in_8bit=True)."
        )
    _require(found, f"quantization={type(quantization).__name__}")
    return Quantization(found, quantization, found)


def method_of(config: Any) -> str | None:
    """The method that a quantization configuration names, as an object or as a folder's entries."""
    if isinstance(config, dict):
        found = config.get("quant_method")
        if found is None and (config.get("load_in_8bit") or config.get("load_in_4bit")):
            return "bitsandbytes"
    else:
        found = getattr(config, "quant_method", None)
    method = getattr(found, "value", found)
    if not isinstance(method, str):
        return None
    return "bitsandbytes" if method.startswith("bitsandbytes") else method


def stored(name: str, config: dict[str, Any]) -> str | None:
    """The method by which a folder's weights are stored quantised, None for plain ones.

    Raises: ExtraError: its package is not installed.
    """
    entries = config.get("quantization_config")
    if entries is None:
        return None
    method = method_of(entries) or "unknown"
    _require(method, f"name={name!r}: its weights are stored by {method}; loading them")
    return method


def _require(method: str, what: str) -> None:
    if method not in _METHODS:
        return
    package = _METHODS[method][0]
    try:
        importlib.import_module(package)
    except ImportError as error:
        # the extra names what is absent; a package that is there and fails to be imported is told by itself
        require("quantized", what, package)
        raise ExtraError(
            f"{what} needs {package}, which cannot be imported here ({error}). Install it anew: pip install"
            " 'mnemoscope[quantized]'"
        ) from error


def require_device(name: str, types: set[str], what: str) -> None:
    """Raises LoadError where a choice, by its name or method, cannot compute on one of these types of devices."""
    method = name if name in _METHODS else name.split("-")[0]
    serves = _METHODS.get(method, (None, ("cpu", "cuda", "mps")))[1]
    if "disk" in types:
        raise LoadError(
            f"{what}: weights that are quantised cannot lie on disk, from where they would be read unquantised; leave"
            " 'disk' out of device_map, or load without quantization."
        )
    if bad := sorted(types - set(serves)):
        raise LoadError(
            f"{what} cannot be used on {', '.join(bad)}: {method} computes on {', '.join(serves)}. Give another device,"
            f" or one of {', '.join(n for n in QUANTIZATIONS if set(bad) <= set(_METHODS[n.split('-')[0]][1]))}."
        )
    if name == "torchao-float8" and "cuda" in types and torch.cuda.get_device_capability() < (8, 9):
        raise LoadError(f"{what} needs a GPU of compute capability 8.9 or later; give 'torchao-int8'.")


def _torchao(kind: str) -> Callable[[Any], Any]:
    def make(dtype: Any) -> Any:
        from transformers import TorchAoConfig

        kinds = importlib.import_module("torchao.quantization")

        return TorchAoConfig(getattr(kinds, kind)())

    return make


def _int8(dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)


def _nf4(dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32 if dtype == "auto" else dtype,
    )


def _quanto(dtype: Any) -> Any:
    from transformers import QuantoConfig

    return QuantoConfig(weights="int8")


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "torchao-int8": _torchao("Int8WeightOnlyConfig"),
    "torchao-int8-dynamic": _torchao("Int8DynamicActivationInt8WeightConfig"),
    "torchao-float8": _torchao("Float8WeightOnlyConfig"),
    "bitsandbytes-int8": _int8,
    "bitsandbytes-nf4": _nf4,
    "quanto-int8": _quanto,
}


def dequantizing(method: str, config: dict[str, Any]) -> Any:
    """A configuration with which transformers loads stored weights as plain floats, or None where that is done
    afterwards (`dequantized`).
    """
    from transformers.utils import quantization_config as kinds

    plain = {k: v for k, v in config.items() if k not in ("quant_method", "dequantize", "run_compressed")}
    if method == "compressed-tensors":
        named = inspect.signature(kinds.CompressedTensorsConfig.__init__).parameters
        # the older name of the switch means the opposite
        switch: dict[str, Any] = {"dequantize": True} if "dequantize" in named else {"run_compressed": False}
        return kinds.CompressedTensorsConfig(**plain, **switch)
    if method == "mxfp4":
        return kinds.Mxfp4Config(**plain, dequantize=True)
    if method == "fp8":
        return kinds.FineGrainedFP8Config(**plain, dequantize=True)
    return None


@torch.no_grad()
def dequantized(hf: Any, name: str, dtype: torch.dtype | str) -> Any:
    """The model with plain float weights in place of the quantised ones, before its first forward (which repacks some
    kinds).

    Raises: LoadError: a kind that cannot be turned back.
    """
    if any(type(module).__module__.startswith("bitsandbytes") for module in hf.modules()):
        hf.dequantize()
    kind = torch.float32 if dtype == "auto" else dtype
    for parent in list(hf.modules()):
        for key, child in list(parent.named_children()):
            weight = getattr(child, "weight", None)
            if isinstance(weight, torch.Tensor) and type(weight) not in (torch.Tensor, nn.Parameter):
                if not isinstance(child, nn.Linear) or not callable(getattr(weight, "dequantize", None)):
                    raise LoadError(
                        f"dequantize=True: {type(child).__name__} of model {name!r} cannot be turned back to plain"
                        " floats; load the weights that it was quantised from."
                    )
                plain = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None, device="meta")
                plain.weight = nn.Parameter(weight.dequantize().to(kind).contiguous(), requires_grad=False)
                if child.bias is not None:
                    plain.bias = nn.Parameter(child.bias.detach().to(kind), requires_grad=False)
                setattr(parent, key, plain)
    if left := next((n for n, p in hf.named_parameters() if not p.is_floating_point()), None):
        raise LoadError(f"dequantize=True: {left} of model {name!r} is still no float; load the unquantised weights.")
    _forget(hf)
    return hf.to(kind)


def _forget(hf: Any) -> None:
    """Takes off what marks a model as quantised, which it is no more."""
    for owner in {id(c): c for c in (getattr(m, "config", None) for m in hf.modules()) if c is not None}.values():
        if getattr(owner, "quantization_config", None) is not None:
            del owner.quantization_config
    hf.hf_quantizer = None
    for mark in ("is_quantized", "is_loaded_in_8bit", "is_loaded_in_4bit", "quantization_method", "_is_quantized"):
        hf.__dict__.pop(mark, None)
