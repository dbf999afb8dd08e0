"""The modules of a model by their plain names, through the wrappers that bridges, adapters and compilers put around
them; and which of them do not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..models.tree import Tree

#: What stands in a module's path where a bridge, an adapter or a compiler put the plain layer one level down.
_LEVELS = r"\.?(_original_component|original_component|_orig_mod|base_layer|original_module|modules_to_save\.[^.]+)\b"


def base_of(model: Any) -> nn.Module:
    """The module whose layers are named: out of a bridge and of a peft wrapper."""
    core: Any = getattr(model, "original_model", model)
    base: nn.Module = (
        core.get_base_model() if hasattr(core, "get_base_model") and hasattr(core, "peft_config") else core
    )
    return base


def plain_name(name: str) -> str:
    """The name that a module has in the plain model."""
    return re.sub(_LEVELS, "", name).removeprefix(".")


def walked(
    module: Any, name: str = "", adapter: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module, str]]:
    """The modules with their names, and the adapter that is in force around each; an adapter's own parts, and copies
    that do not run, are left out.
    """
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    children, inner = list(module.named_children()), None
    if isinstance(module._modules.get("base_layer"), nn.Module):
        inner, adapter = [("base_layer", module.base_layer)], adapter or _in_force(module)
    elif isinstance(module._modules.get("original_module"), nn.Module):
        inner = [_running_copy(module)]
    else:
        yield name, module, adapter
    for child, part in children if inner is None else inner:
        yield from walked(part, f"{name}.{child}" if name else child, adapter, seen)


def _in_force(layer: Any) -> str:
    """The kind of adapter that a layer with a `base_layer` applies at present, or "": merged, switched off, or none of
    its adapters active.
    """
    active = getattr(layer, "active_adapters", None)
    try:
        own = layer._get_available_adapters() if active is not None else None
    except AttributeError:
        own = None
    idle = active is not None and own is not None and not own & set(active)
    if getattr(layer, "disable_adapters", False) is True or getattr(layer, "merged", False) is True or idle:
        return ""
    kind = type(layer).__module__.split(".")[-2:-1]
    return ".".join([*kind, type(layer).__name__])


def _running_copy(wrapper: Any) -> tuple[str, nn.Module]:
    """Which of the copies of a layer that is trained whole runs at present, and its place in the wrapper."""
    copies, active = getattr(wrapper, "modules_to_save", None), getattr(wrapper, "active_adapters", None) or [None]
    if copies is None or getattr(wrapper, "disable_adapters", False) is True or active[0] not in copies:
        return "original_module", wrapper.original_module
    return f"modules_to_save.{active[0]}", copies[active[0]]


def idle_projections(model: nn.Module) -> set[int]:
    """Linear layers that a fused attention of diffusers holds and does not run (`id` of each): its split projections,
    or, fused no longer, the joint ones.

    Reading them, or writing into them, says nothing about what the model computes.
    """
    idle: set[int] = set()
    for module in Tree.of(model).modules:
        if isinstance(module._modules.get("to_q"), nn.Module) and hasattr(module, "processor"):
            joint = {
                "to_qkv": ("to_q", "to_k", "to_v"),
                "to_kv": ("to_k", "to_v"),
                "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
            }
            fused = "Fused" in type(module.processor).__name__
            for whole, parts in joint.items():
                if isinstance(getattr(module, whole, None), nn.Module):
                    idle |= {
                        id(layer)
                        for part in (parts if fused else (whole,))
                        for layer in getattr(module, part).modules()
                    }
    return idle
