"""Whether a model's weights fit the devices that they are meant for, told from its configuration before any is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lens.cache import LoadError

from .devices import DISK, Plan, bytes_of, gpu_memory, size
from .names import Named

__all__ = ["require_room", "too_small", "without_weights"]

#: Bytes of a quantised weight, by how the choice's name begins.
_BYTES = {"torchao": 1.0, "bitsandbytes-int8": 1.0, "bitsandbytes-nf4": 0.5, "quanto": 1.0}


def without_weights(model: Named) -> nn.Module | None:
    """The model's modules on the meta device; None where its configuration cannot be had."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(model.where, trust_remote_code=False, **model.options())
        with torch.device("meta"):
            empty: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception:  # the load itself says what is wrong
        return None
    return empty


def require_room(
    model: Named, plan: Plan, dtype: torch.dtype | str, quantization: str | None, empty: nn.Module
) -> None:
    """Raises LoadError where the weights alone are more than a GPU has free.

    `quantization`: the name of a choice; of another configuration no size is told. `empty`: the model without weights.
    """
    if isinstance(plan.spread, str):
        return  # accelerate fills each device as far as it goes
    config: Any = getattr(empty, "config", None)
    numbers: torch.dtype = (getattr(config, "dtype", None) or torch.float32) if isinstance(dtype, str) else dtype
    sizes: dict[str, float] = dict(bytes_of(empty, numbers))
    if quantization is not None:
        each = next((part for start, part in _BYTES.items() if quantization.startswith(start)), None)
        if each is None:
            return
        linear = {f"{n}.weight" for n, m in empty.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n}
        share = each / numbers.itemsize
        sizes = {name: count * share if name in linear else count for name, count in sizes.items()}
    wanted: dict[str, float] = {}
    for tensor, count in sizes.items():
        place = str(plan.place)
        if isinstance(plan.spread, Mapping):
            place = plan.spread[max((k for k in plan.spread if k == "" or f"{tensor}.".startswith(f"{k}.")), key=len)]
        wanted[place] = wanted.get(place, 0) + count
    for place, count in wanted.items():
        free = gpu_memory(torch.device(place)) if place != DISK else None
        if free is not None and count > free[0]:
            asked = f"device={place!r}" if plan.spread is None else "device_map"
            raise LoadError(f"{asked}: the weights of model {str(model)!r} take {size(count)}; {too_small(place)}")


def too_small(place: Any) -> str:
    """What a device has, and what to do where a model does not fit it."""
    free = gpu_memory(torch.device(place))
    has = "" if free is None else f"{place} has {size(free[0])} of {size(free[1])} free. "
    return (
        f"{has}Give dtype='bfloat16' (half of float32), quantization='torchao-int8' or 'bitsandbytes-nf4' (a quarter or"
        " an eighth of it), or device_map='auto', which spreads the model over all GPUs and the memory of this machine."
    )
