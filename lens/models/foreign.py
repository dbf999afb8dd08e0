"""What of a model is not its library's: a person's own hooks, and methods that somebody replaced."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from .identity import MODULE_INTERNAL

#: Packages whose own hooks and wrappers belong to loading and running a model.
_LIBRARIES = (
    "torch",
    "transformers",
    "transformer_lens",
    "accelerate",
    "peft",
    "bitsandbytes",
    "torchao",
    "optimum",
    "compressed_tensors",
    "diffusers",
    "lens",
)
#: Steps that a bridge's wrappers add to a module's name.
_STEPS = ("_original_component", "original_component", "original_model")


@dataclass(frozen=True)
class Foreign:
    """A hook or a replaced method of the person's: the module's name, what it is, and its function."""

    module: str
    what: str
    function: Any

    def __str__(self) -> str:
        name = getattr(self.function, "__qualname__", None) or type(self.function).__name__
        return f"{self.what} {name} of {self.module or 'the model itself'}"


def modules_of(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Every module of a bridge and of the Hugging Face model in it once, by its name there."""
    hf = getattr(model, "original_model", model)
    seen: set[int] = set()
    for source in (hf, model) if isinstance(model, nn.Module) and model is not hf else (hf,):
        for name, module in source.named_modules() if isinstance(source, nn.Module) else ():
            if id(module) not in seen:
                seen.add(id(module))
                yield plain_name(name), module


def plain_name(name: str) -> str:
    """A module's name without the steps that a bridge's wrappers add."""
    return ".".join(part for part in name.split(".") if part not in _STEPS)


def of_library(function: Any) -> bool:
    """Whether a hook or method is code of a library that loads and runs models (pruning aside, which changes weights as
    the model runs).
    """
    while hasattr(function, "func"):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.split(".")[0] in _LIBRARIES and not module.startswith("torch.nn.utils")


def user_hooks(model: Any) -> list[Foreign]:
    """The person's own forward hooks on a model: those of transformers, of a bridge and of this package are left out.

    ``model``: a ``TransformerBridge`` or any torch module. Old-style pruning and weight norm of ``torch.nn.utils``
    count as the person's.
    """
    hooks_of_users = [
        Foreign(name, "the hook", hook) for name, module in modules_of(model) for hook in hooks_on(module)
    ]
    for hooks in (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks):
        hooks_of_users += [Foreign("every module", "the hook", hook) for hook in hooks.values() if not of_library(hook)]
    return hooks_of_users


def hooks_on(module: nn.Module) -> list[Any]:
    """The person's hooks on one module."""
    if not module._forward_hooks and not module._forward_pre_hooks:
        return []
    asked = {
        h.hook.id: h.user_hook
        for h in module.__dict__.get("fwd_hooks", ())
        if getattr(h, "user_hook", None) is not None
    }
    named = [asked.get(number, hook) for number, hook in module._forward_hooks.items()]
    return [hook for hook in (*named, *module._forward_pre_hooks.values()) if not of_library(hook)]


def replaced_methods(model: Any) -> list[Foreign]:
    """Methods of a model's modules that somebody replaced: on an object, or on a library's class."""
    methods: list[Foreign] = []
    classes: dict[type, None] = {}
    for name, module in modules_of(model):
        for attribute, value in module.__dict__.items():
            if attribute not in MODULE_INTERNAL and _overrides(module, attribute, value) and not of_library(value):
                methods.append(Foreign(name, f"the replaced {attribute}", value))
        classes[type(module)] = None
    for kind in classes:
        methods += [
            Foreign(f"class {kind.__name__}", f"the replaced {method}", function) for method, function in _patched(kind)
        ]
    return methods


def _overrides(module: nn.Module, attribute: str, value: Any) -> bool:
    if not callable(value) or isinstance(value, (nn.Module, type)):
        return False
    return isinstance(getattr(type(module), attribute, None), types.FunctionType)


def _patched(kind: type) -> list[tuple[str, Any]]:
    """Methods of a library's module class that come from elsewhere."""
    out = []
    for owner in kind.__mro__:
        if owner.__module__.split(".")[0] in _LIBRARIES:
            out += [(n, f) for n, f in vars(owner).items() if isinstance(f, types.FunctionType) and not of_library(f)]
    return out


def foreign(model: Any) -> list[Foreign]:
    """The person's hooks on a model and the methods that were replaced: what only a full forward of the model's own
    runs.
    """
    return [*user_hooks(model), *replaced_methods(model)]
