"""The switch of adapters that lie beside a model's weights: `with lens.adapter(model, "name")`."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from ..arguments import HFModel, Name, door
from ..errors import Error
from ..models.adapters import CHANGES_BASE, Switch, switch_of
from ..notices import warn
from .change_registry import WEIGHTS, ChangeError, Changes
from .changes import Undo
from .effective import innermost
from .in_force import InForce
from .walk.decoder import WEIGHT_EDIT
from .wrappers import base_of, plain_name

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
            name; None, where the base itself was changed by the adapter (PiSSA, OLoRA); an edit of weights is in force
            on a layer on which the adapter acts.
        ChangeError: another thread computes with the model or has switched it, or a computation of this thread reads
            it.

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
    what = f"lens.adapter with {words}"
    return InForce(model, lambda: Undo(model, what, lambda undo: _switch(switch, name, undo)), model)


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


class _Before:
    """How the switches in a model's layers stood before a change, and which weights asked for gradients."""

    def __init__(self, wrapper: nn.Module, undo: Undo):
        self.wrapper, self.undo = wrapper, undo
        own = [
            (module.__dict__, {key: module.__dict__[key] for key in _STATE if key in module.__dict__})
            for module in wrapper.modules()
        ]
        self.own = [(state, kept) for state, kept in own if kept]
        self.gradients = [(value, value.requires_grad) for value in wrapper.parameters()]

    def back(self) -> None:
        """Puts all of it back. Where a later switch is in force that stays, and what was before this one is what will
        be put back for it.
        """
        later = [one for one in _switched(self.undo.registry) if one.undo.number > self.undo.number]
        if later:
            later[0].own, later[0].gradients = self.own, self.gradients
            return
        for state, kept in self.own:
            state.update(kept)
        for value, asks in self.gradients:
            if value.requires_grad != asks:
                value.requires_grad_(asks)
        if (layer := _edited_below(self.wrapper)) is not None:
            warn(
                f"model: {self.undo.what} has ended, and an edit of weights that was put in force inside it still is:"
                f" with the adapter back on {layer} the edited weight is only a part of what that layer applies. Undo"
                " the edit (lens.restore(model))."
            )


def _switched(registry: Changes) -> list[_Before]:
    """Of each switch of adapters in force, oldest first, how it was before."""
    found = [getattr(undo, "before", None) for undo in registry.in_force(WEIGHTS)]
    return [before for before in found if isinstance(before, _Before)]


def _edited_below(wrapper: nn.Module) -> str | None:
    """The first layer on which both an adapter and an edit of the base weight are in force."""
    for name, module in base_of(wrapper).named_modules():
        if not isinstance(getattr(module, "base_layer", None), nn.Module) or not _acts(module):
            continue
        if any(getattr(value, WEIGHT_EDIT, False) for value in innermost(module).parameters()):
            return plain_name(name)
    return None


def _acts(module: Any) -> bool:
    """Whether an adapter is in force in a layer of peft's."""
    if module.__dict__.get("_disable_adapters"):
        return False
    active = module.__dict__.get("_active_adapter") or []
    active = [active] if isinstance(active, str) else active
    return any(
        one in getattr(module, kept, ()) for one in active for kept in getattr(module, "adapter_layer_names", ())
    )


def _switch(switch: Switch, name: str | None, undo: Undo) -> None:
    wrapper = switch.wrapper
    other = next((one.undo for one in _switched(undo.registry) if one.undo.thread is not undo.thread), None)
    if other is not None:
        raise ChangeError(
            f"model: {undo.what} is refused: {other.what} is in force, put there by thread {other.thread.name!r}, whose"
            " numbers would be of another adapter than it asked for. Wait for its end, or give each thread a model of"
            " its own."
        )
    before = _Before(wrapper, undo)
    undo.back(before.back)
    undo.__dict__["before"] = before
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
    if (layer := _edited_below(wrapper)) is not None:
        raise AdapterError(
            f"name={name!r}: an edit of weights is in force on {layer}, on which this adapter acts: the edited weight"
            " would be only a part of what the layer applies. Undo the edit first (leave its with block;"
            " lens.restore(model))."
        )
