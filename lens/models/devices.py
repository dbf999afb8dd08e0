"""Where a model is put and in which format of numbers: devices and dtypes by name, and maps of a model's parts to
devices, each looked at before anything is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lens.cache import LoadError

__all__ = [
    "DEVICES",
    "DTYPES",
    "Plan",
    "bytes_of",
    "device_named",
    "dtype_of",
    "gpu_memory",
    "plan",
    "size",
    "whole_map",
]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
#: Ways to spread a model that accelerate works out by itself.
SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
DISK = "disk"
_BYTES = "expected a number of bytes, or text such as '10GiB'"
_TENSOR_PARALLEL = (
    "tensor parallelism (tp_plan) is not served: each process would hold a piece of every weight, and no site of the"
    " model would be whole anywhere. Give device_map='auto', which puts whole blocks on several devices."
)


def device_named(device: str | torch.device, argument: str = "device") -> torch.device:
    """A device by name: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1", "mps".

    Raises: LoadError: an unknown name, or a device that this torch does not see.
    """
    text = str(device)
    if text.split(":")[0] not in DEVICES or (":" in text and not text.startswith("cuda:")):
        raise LoadError(f"{argument}={device!r} is not known; expected one of {', '.join(DEVICES)}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if text == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        place = torch.device(text)
    except RuntimeError as error:
        raise LoadError(f"{argument}={device!r} cannot be read; expected for example 'cuda:0'") from error
    there = {"cpu": True, "cuda": cuda and (place.index or 0) < torch.cuda.device_count(), "mps": mps}[place.type]
    if not there:
        raise LoadError(
            f"{argument}={device!r} is not usable: this torch {torch.__version__} sees no such device. Use"
            " device='auto' or 'cpu'."
        )
    return place


def dtype_of(dtype: str | torch.dtype) -> torch.dtype:
    """A format of numbers by name, or as torch's own. Raises: LoadError: none of `DTYPES`."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise LoadError(f"dtype={dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    known: torch.dtype = getattr(torch, name)
    return known


@dataclass(frozen=True)
class Plan:
    """Where a model's parts go: all of it to `place`, or, where `spread` is there, by that map of accelerate's (a word
    or a dictionary), with at most `max_memory` bytes on each device.
    """

    place: torch.device
    spread: Any = None
    max_memory: Mapping[Any, Any] | None = None

    def options(self) -> dict[str, Any]:
        """For `from_pretrained`. A model that goes to a GPU is read into its memory, without a copy on the host."""
        if self.spread is not None:
            return {
                "device_map": self.spread,
                **({} if self.max_memory is None else {"max_memory": dict(self.max_memory)}),
            }
        return {"device_map": {"": self.place}} if self.place.type == "cuda" else {}

    def types(self) -> set[str]:
        """The types of the devices that it names; of a map that accelerate works out, those that it chooses from."""
        if self.spread is None:
            return {self.place.type}
        if isinstance(self.spread, str):
            return {device_named("auto").type, "cpu"}
        return {DISK if value == DISK else torch.device(value).type for value in self.spread.values()}


def plan(device: str | torch.device, device_map: Any, max_memory: Mapping[Any, Any] | None) -> Plan:
    """What `device`, `device_map` and `max_memory` ask for together.

    Raises: LoadError: two of them that contradict each other, a device that is not known or not there, "meta", tensor
        parallelism.
    """
    if device_map is None:
        if max_memory is not None:
            raise LoadError(
                f"max_memory={dict(max_memory)!r} goes with a device_map that is worked out; give device_map='auto', or"
                " leave max_memory out."
            )
        return Plan(device_named(device))
    if str(device) != "auto":
        raise LoadError(
            f"device={str(device)!r} and device_map={device_map!r} both say where the model goes; give one of them."
        )
    if isinstance(device_map, str) and device_map in SPREADS:
        return Plan(device_named("auto"), device_map, _memory(max_memory))
    if max_memory is not None:
        raise LoadError(
            f"max_memory={dict(max_memory)!r}: device_map={device_map!r} says already what goes where; expected one of"
            f" {', '.join(SPREADS)} with it, or no max_memory."
        )
    if isinstance(device_map, Mapping):
        return _of_map(device_map)
    one = _device_in(device_map, f"device_map={device_map!r}")
    return Plan(torch.device("cpu"), {"": DISK}) if one == DISK else Plan(torch.device(one))


def _of_map(device_map: Mapping[Any, Any]) -> Plan:
    if not device_map or not all(isinstance(key, str) for key in device_map):
        raise LoadError(
            f'device_map={dict(device_map)!r}: expected names of the model\'s parts ("model.layers.0", or "" for all'
            " of it) with a device each"
        )
    places = {key: _device_in(value, f"device_map[{key!r}]={value!r}") for key, value in device_map.items()}
    if set(places) == {""} and places[""] != DISK:
        return Plan(torch.device(places[""]))
    first = next((value for value in places.values() if value != DISK), "cpu")
    return Plan(torch.device(first), places)


def _device_in(value: Any, what: str) -> str:
    """A device of a map, as text. Raises: LoadError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, torch.device)):
        raise LoadError(f"{what}: expected a device such as 0, 'cuda:0', 'cpu' or 'disk'")
    text = f"cuda:{value}" if isinstance(value, int) else str(value)
    if text.split(":")[0] == "meta":
        raise LoadError(f"{what}: weights on 'meta' have no values; expected 0, 'cuda:0', 'cpu' or 'disk'")
    if text.lower() in ("tp", "tp_plan", "tensor_parallel"):
        raise LoadError(f"{what}: {_TENSOR_PARALLEL}")
    if text == DISK:
        return text
    if text == "auto" or text.split(":")[0] not in DEVICES:
        words = ", ".join((*SPREADS, "cpu", "cuda", "cuda:0", "mps", DISK))
        raise LoadError(f"{what} is not known; expected one of {words}, or a dictionary of the model's parts")
    return str(device_named(text, what.split("=")[0]))


def _memory(max_memory: Mapping[Any, Any] | None) -> Mapping[Any, Any] | None:
    """The bytes that each device may take, checked. Raises: LoadError."""
    for key, value in (max_memory or {}).items():
        if not (isinstance(key, int) and not isinstance(key, bool) and key >= 0) and key not in ("cpu", "mps", DISK):
            raise LoadError(f"max_memory[{key!r}]: expected the number of a GPU, 'cpu' or 'disk'")
        if isinstance(value, bool) or not isinstance(value, (int, str)) or (isinstance(value, int) and value < 0):
            raise LoadError(f"max_memory[{key!r}]={value!r}: {_BYTES}")
        utils: Any = importlib.import_module("accelerate.utils")
        try:
            utils.convert_file_size_to_int(value)
        except ValueError:
            raise LoadError(f"max_memory[{key!r}]={value!r}: {_BYTES}") from None
    return max_memory


def refuse_tensor_parallel(tp_plan: Any) -> None:
    """Raises LoadError where tensor parallelism is asked for."""
    if tp_plan is not None:
        raise LoadError(f"tp_plan={tp_plan!r}: {_TENSOR_PARALLEL}")


def whole_map(name: str, device_map: Mapping[str, str], empty: nn.Module) -> dict[str, str]:
    """A map of parts held against the model's parts, with what the key "" stands for written out: accelerate fails on a
    map that has it beside other parts. `empty`: the model without weights.

    Raises: LoadError: parts of the model that the map misses, names in it that the model does not have, weights that
        are one (a tied embedding) on two devices.
    """
    where: dict[str, str] = {}
    tensors = [name for name, _ in empty.named_parameters(remove_duplicate=False)]
    missing = []
    for tensor in [*tensors, *(name for name, _ in empty.named_buffers())]:
        key = _within(tensor, device_map)
        if key is None:
            missing.append(tensor)
        else:
            where[tensor] = device_map[key]
    if missing := [tensor for tensor in missing if tensor in tensors]:
        parts = list(dict.fromkeys(_part(tensor) for tensor in missing))
        raise LoadError(
            f"device_map misses {', '.join(parts[:6])}{f' and {len(parts) - 6} more' if len(parts) > 6 else ''} of"
            f' model {name!r}; name a device for each, or for all the rest with the key "".'
        )
    known = {part for part, _ in empty.named_modules()} | set(tensors)
    if strange := [key for key in device_map if key not in known]:
        raise LoadError(
            f"device_map names {strange[0]!r}, which model {name!r} does not have; its parts are"
            f" {', '.join(dict.fromkeys(_part(tensor) for tensor in tensors))}."
        )
    for one, other in _tied(empty):
        if where[one] != where[other]:
            raise LoadError(
                f"device_map puts {one} on {where[one]!r} and {other} on {where[other]!r}, but in model {name!r} they"
                " are one weight; give both one device."
            )
    if len(device_map) == 1 and "" in device_map:
        return dict(device_map)
    return dict(_written_out("", empty, device_map, device_map.get("", "cpu")))


def _written_out(path: str, module: nn.Module, device_map: Mapping[str, str], device: str) -> Iterator[tuple[str, str]]:
    """The parts of a module with a device each, as large as the map allows; of a list of blocks each block, since a
    list itself is never called.
    """
    for name, child in module.named_children():
        part = f"{path}.{name}" if path else name
        own = device_map.get(part, device)
        if isinstance(child, nn.ModuleList) or any(key.startswith(f"{part}.") for key in device_map):
            yield from _written_out(part, child, device_map, own)
        else:
            yield part, own
    for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        part = f"{path}.{name}" if path else name
        yield part, device_map.get(part, device)


def _within(part: str, device_map: Mapping[str, str]) -> str | None:
    """The key of a map that a part belongs to."""
    fitting = [key for key in device_map if key == "" or part == key or part.startswith(f"{key}.")]
    return max(fitting, key=len) if fitting else None


def _part(tensor: str) -> str:
    """The block or larger part that a tensor belongs to: what a map names."""
    steps = tensor.split(".")
    number = next((i for i, step in enumerate(steps) if step.isdigit()), None)
    return ".".join(steps[: number + 1] if number is not None else steps[:-1] or steps)


def _tied(empty: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of weights that are one."""
    model: Any = empty
    first: dict[int, str] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        if id(value) in first:
            yield first[id(value)], name
        first.setdefault(id(value), name)
    yield from ((source, target) for target, source in (getattr(model, "all_tied_weights_keys", None) or {}).items())


def gpu_memory(place: torch.device) -> tuple[int, int] | None:
    """Bytes that are free on a GPU, and that it has; None for another device."""
    return torch.cuda.mem_get_info(place) if place.type == "cuda" else None


def bytes_of(empty: nn.Module, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of each weight of a model in a format of numbers, a shared one once. `empty`: the model without weights."""
    size = torch.empty(0, dtype=dtype).element_size()
    return {name: value.numel() * size for name, value in empty.named_parameters()}


def size(count: float) -> str:
    """Bytes for a person.

    >>> size(16_060_000_000), size(538_000_000), size(12_000)
    ('16.1 GB', '538 MB', '12 kB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
