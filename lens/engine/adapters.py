"""The switch of adapters that lie beside a model's weights: `with lens.adapter(model, "name")`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from ..arguments import HFModel, Name, door
from ..errors import Error
from ..models.adapters import CHANGES_BASE, Switch, switch_of
from .changes import Undo
from .in_force import InForce

__all__ = ["AdapterError", "adapter"]

#: What peft's modules keep of which adapter is in force.
_STATE = ("_active_adapter", "_disable_adapters", "active_adapter")


class AdapterError(Error, ValueError):
    """An adapter that a model does not have, or a switch that would not give the model that it says."""


@door(AdapterError)
def adapter(model: HFModel, name: Name | None) -> InForce:
    """The model with one of its adapters in force and the others not, or with none (`None`: the base), for any forward
    or method; as it was before on leaving, also after an error.

    Args:
        model: from `lens.load` with several adapters, or one and `merge=False`; or a peft wrapper.
        name: of the adapter: the last part of the folder or hub name that it was loaded from.

    The hash of the weights and the state in records follow the switch. Switches nest.

    Raises:
        AdapterError: the model has no adapters beside its weights (they were merged, or there were none); none of that
            name; None, where the base itself was changed by the adapter (PiSSA, OLoRA).
        ChangeError: another thread computes with the model, or a computation of this thread reads it.

    >>> with lens.adapter(model, "french"): ...        # doctest: +SKIP
    """
    switch = switch_of(model) or _in_memory(model)
    if switch is None:
        raise AdapterError(
            f"name={name!r}: the model has no adapters beside its weights; load it as lens.load(base, adapter=folder,"
            " merge=False), or with a list of adapters."
        )
    if name is not None and name not in switch.names:
        raise AdapterError(f"name={name!r} is none of the model's adapters, which are {', '.join(switch.names)}.")
    if name is None and switch.to_base is not None:
        raise AdapterError(f"name=None: {switch.to_base}. Load the base by itself.")
    words = "no adapter" if name is None else f"adapter {name!r}"
    return InForce(
        model, lambda: Undo(model, f"lens.adapter with {words}", lambda undo: _switch(switch, name, undo)), model
    )


def _in_memory(model: Any) -> Switch | None:
    """The switch of a peft wrapper that was not loaded here."""
    core = getattr(model, "original_model", model)
    configs = getattr(core, "peft_config", None)
    if not isinstance(configs, dict) or not callable(getattr(core, "get_base_model", None)) or not configs:
        return None
    odd = next((c for c in configs.values() if str(getattr(c, "init_lora_weights", "")).startswith(CHANGES_BASE)), None)
    why = None
    if odd is not None:
        why = (
            "with its adapters switched off the model is not its base:"
            f" init_lora_weights={odd.init_lora_weights!r} changes the base weights themselves"
        )
    return Switch(core, tuple(map(str, configs)), why)


def _switch(switch: Switch, name: str | None, undo: Undo) -> None:
    wrapper = switch.wrapper
    undo.back(_as_now(wrapper))
    base = wrapper.base_model
    with warnings.catch_warnings():
        # of a bias that was trained: then the base is not whole, and was compared at the load
        warnings.simplefilter("ignore")
        if name is None:
            base.disable_adapter_layers()
        else:
            base.enable_adapter_layers()
            wrapper.set_adapter(name)
    wrapper.requires_grad_(False)


def _as_now(wrapper: nn.Module) -> Callable[[], None]:
    """What puts every switch in a model's layers back as it is now, and which weights ask for gradients."""
    own = [
        (module.__dict__, {key: module.__dict__[key] for key in _STATE if key in module.__dict__})
        for module in wrapper.modules()
    ]
    own = [(state, kept) for state, kept in own if kept]
    gradients = [(value, value.requires_grad) for value in wrapper.parameters()]

    def back() -> None:
        for state, kept in own:
            state.update(kept)
        for value, asks in gradients:
            if value.requires_grad != asks:
                value.requires_grad_(asks)

    return back
