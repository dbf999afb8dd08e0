"""Where a model's modules compute and where their weights are kept, once accelerate has spread it over devices, or to
the processor's memory and to disk.

Such a module has accelerate's hook (`_hf_hook`) and a forward of its own. A weight that is offloaded is a stand-in on
the meta device, without values and a new object after each forward; the values lie in the hook's `weights_map` and are
loaded for the length of each call of the module. So whoever reads a weight asks here, and whoever tells weights apart
by their identity is given one stand-in a weight that stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lens.cache import LoadError

__all__ = [
    "Offloaded",
    "device_of",
    "dispatched",
    "kept",
    "offloaded",
    "offloading",
    "place_named",
    "places_of",
    "require_readable",
    "runs_its_own",
    "stand_ins",
    "value_of",
]

#: Where accelerate's hook keeps our stand-ins, and these what gives their values.
_KEPT, _LOAD = "_mnemoscope_stand_ins", "_mnemoscope_load"


def hooks_of(module: nn.Module) -> tuple[Any, ...]:
    """The hooks of accelerate on a module that say where it computes; of several the last one says."""
    hook = module.__dict__.get("_hf_hook")
    if hook is None:
        return ()
    parts = hook.hooks if hasattr(hook, "hooks") else (hook,)
    return tuple(part for part in parts if hasattr(part, "weights_map"))


def device_of(module: Any) -> torch.device:
    """Where a module computes, and takes what comes in: as accelerate's hook says, on it or on the first of its parts
    that has one or a weight; else where that weight is.
    """
    for part in module.modules():
        for hook in reversed(hooks_of(part)):
            if hook.execution_device is not None:
                return place_named(hook.execution_device)
        for value in (*part._parameters.values(), *part._buffers.values()):
            if value is not None and not value.is_meta:
                device: torch.device = value.device
                return device
    return torch.device("cpu")


def place_named(device: Any) -> torch.device:
    """A device as torch has it; accelerate names GPUs by their numbers."""
    if isinstance(device, int):
        accelerator = torch.accelerator.current_accelerator()
        return torch.device(accelerator.type if accelerator is not None else "cuda", device)
    place = torch.device(device)
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


@dataclass(frozen=True)
class Offloaded:
    """A weight (or buffer) that is kept elsewhere than where it is used.

    Attributes: module, key: where it stands. hook, name: accelerate's hook that loads it, and its name there.
        forward_of: the module whose own forward loads it.
    """

    module: nn.Module
    key: str
    hook: Any
    name: str
    forward_of: nn.Module

    @property
    def of(self) -> dict[str, Any]:
        """The dictionary of the module's parameters, or buffers, that it stands in."""
        return self.module._parameters if self.key in self.module._parameters else self.module._buffers

    def value(self) -> Tensor:
        """Its values where they are kept: read from disk, or the very tensor in memory."""
        value: Tensor = self.hook.weights_map[self.name]
        return value

    def file(self) -> tuple[Any, ...] | None:
        """The file it is kept in, with size and time of the last change; None in memory."""
        dataset, key = self.hook.weights_map, self.name
        while hasattr(dataset, "prefix"):
            dataset, key = dataset.dataset, f"{dataset.prefix}{key}"
        if key in getattr(dataset, "state_dict", {}) or not hasattr(dataset, "index"):
            return None
        path = dataset.index.get(key, {}).get("safetensors_file") or os.path.join(dataset.save_folder, f"{key}.dat")
        try:
            seen = os.stat(path)
        except OSError as error:
            raise LoadError(
                f"model: the file {path} that holds the offloaded weight {self.name!r} cannot be read"
                f" ({error.strerror}); load the model again."
            ) from error
        return str(path), seen.st_size, seen.st_mtime_ns

    def stand_in(self) -> Tensor:
        """What the weight is told by: the very tensor where it is kept in memory, else a parameter on the meta device,
        the same one for as long as the file is not written to. `value_of` gives its values.
        """
        file = self.file()
        if file is None:
            return self.value()
        kept: dict[str, tuple[Any, Tensor]] = self.hook.__dict__.setdefault(_KEPT, {})
        if self.name not in kept or kept[self.name][0] != file:
            now = self.of[self.key]
            new = nn.Parameter(torch.empty(now.shape, dtype=now.dtype, device="meta"), requires_grad=False)
            new.__dict__[_LOAD] = self.value
            kept[self.name] = file, new
        return kept[self.name][1]


def value_of(value: Tensor) -> Tensor:
    """The values of a stand-in from `stand_ins`; any other tensor is itself."""
    load: Callable[[], Tensor] | None = getattr(value, "__dict__", {}).get(_LOAD) if value.is_meta else None
    return value if load is None else load()


def offloading(root: nn.Module) -> Iterator[Offloaded]:
    """The weights and buffers in a module that accelerate loads for each call alone."""
    for module in root.modules():
        for hook in hooks_of(module):
            if not hook.offload or hook.weights_map is None:
                continue
            every = (
                [(f"{path}." if path else "", part) for path, part in module.named_modules()]
                if hook.place_submodules
                else [("", module)]
            )
            for prefix, part in every:
                held = [*part._parameters.items(), *(part._buffers.items() if hook.offload_buffers else ())]
                for key, value in held:
                    if value is not None and key not in part._non_persistent_buffers_set:
                        yield Offloaded(part, key, hook, prefix + key, module)


def kept(module: nn.Module, key: str = "weight") -> Tensor:
    """A parameter of a module as it is applied: itself, or where it is offloaded its values, where the module computes.
    They are a copy, or read-only: what is written into them changes nothing.
    """
    now: Tensor = getattr(module, key)
    if not now.is_meta:
        return now
    one = next((one for one in offloading(module) if one.module is module and one.key == key), None)
    return now if one is None else one.value().to(place_named(one.hook.execution_device))


def offloaded(root: nn.Module) -> bool:
    """Whether accelerate loads any weight of a module for each call alone."""
    return next(offloading(root), None) is not None


def dispatched(root: nn.Module) -> bool:
    """Whether accelerate decides where parts of a model compute."""
    return any(hooks_of(module) for module in root.modules())


def places_of(root: nn.Module) -> list[torch.device]:
    """The devices that parts of a model compute on, in the order of the parts."""
    places: dict[torch.device, None] = {}
    for module in root.modules():
        said = next((h.execution_device for h in reversed(hooks_of(module)) if h.execution_device is not None), None)
        if said is not None:
            places[place_named(said)] = None
        else:
            for value in module._parameters.values():
                if value is not None and not value.is_meta:
                    places[value.device] = None
    return list(places)


def runs_its_own(module: nn.Module) -> bool:
    """Whether a call of a module runs its class's forward on the parameters that stand in it: no forward of its own
    was put on it, or one of accelerate's that moves what comes in and no weight.
    """
    own = module.__dict__
    if "forward" not in own:
        return True
    if not hooks_of(module) or getattr(own.get("_old_forward"), "__func__", None) is not type(module).forward:
        return False
    return not any(value is not None and value.is_meta for value in module._parameters.values())


def stand_ins(core: nn.Module) -> dict[int, dict[str, Tensor]]:
    """By the id of a module and a weight's name in it, what an offloaded weight is told by; of tied weights one.

    Raises: LoadError: a weight was set while it is offloaded: each forward takes the one that was there before.
    """
    found: dict[int, dict[str, Tensor]] = {}
    names = {id(module): name for name, module in core.named_modules()}
    ties = getattr(core, "all_tied_weights_keys", None) or {}
    by_name: dict[str, Tensor] = {}
    for one in offloading(core):
        full = f"{names[id(one.module)]}.{one.key}".lstrip(".")
        now, stand_in = one.of[one.key], one.stand_in()
        if not now.is_meta and now is not stand_in and not _equal(now, value_of(stand_in)):
            raise LoadError(
                f"model: the weight {full!r} was set while it is offloaded, and each forward takes the one that is kept"
                " instead; set weights before the model is spread (accelerate), or load it without offloading."
            )
        by_name[full] = stand_in
        found.setdefault(id(one.module), {})[one.key] = by_name.get(ties.get(full, full), stand_in)
    return found


def require_readable(core: Any) -> None:
    """Nothing, where every weight of a model can be read and is what its forward computes with.

    Raises: LoadError: tensor parallelism cut the weights; a weight is on the meta device and accelerate keeps none for
        it (an adapter that was put on after offloading); RWKV is offloaded.
    """
    named = list(core.named_parameters())
    split = next((name for name, value in named if hasattr(value, "device_mesh")), None)
    if split is not None or (getattr(core, "_tp_size", None) or 1) > 1:
        raise LoadError(
            "model: tensor parallelism (tp_plan) has cut its weights into parts that lie on several devices"
            f"{f', first {split!r}' if split else ''}, so that no head and no weight can be told from them; load it"
            " with device_map, which keeps each block whole."
        )
    if not any(value.is_meta for _, value in named):
        return
    known = {(id(one.module), one.key) for one in offloading(core)}
    for path, module in core.named_modules():
        for key, value in module._parameters.items():
            if value is not None and value.is_meta and (id(module), key) not in known:
                raise LoadError(
                    f"model: the weight {f'{path}.{key}'.lstrip('.')!r} is on the meta device, where it has no values,"
                    " and accelerate keeps none for it elsewhere. Load the model's weights; an adapter is put on an"
                    " offloaded model by PeftModel.from_pretrained, or before the model is offloaded."
                )
    if any("layers_are_rescaled" in module.__dict__ for module in core.modules()):
        raise LoadError(
            "model: RWKV divides its weights in place at its first forward, and offloading takes that back at each"
            " call, so that every forward is another function than the model's; load it without offloading."
        )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
