"""Which parameters of a model are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..arguments import shown, truth, unfit
from ..models.placement import offloaded
from ..models.quantised_layers import FLOATS, is_codes, is_quantised, method_of, trains_elsewhere
from .recipe import TrainingError


def _listed(parameters: Iterable[Any]) -> Iterator[Any]:
    """What was named to be trained. Raises TrainingError: it cannot be run through."""
    try:
        yield from parameters
    except Exception as error:  # a generator of the person's may fail in any way
        raise TrainingError(
            unfit("parameters", parameters, "names of parameters, parameters, or a function of a name")
        ) from error


def parameters_to_train(model: torch.nn.Module, parameters) -> dict[str, torch.nn.Parameter]:
    """The parameters to train by name; a tied one once."""
    every = dict(model.named_parameters())
    if parameters is None:
        chosen = {name: value for name, value in every.items() if value.requires_grad}
        if not chosen:
            raise TrainingError(
                "no parameter of the model asks for gradients (models from lens.load do not); give parameters, e.g."
                " parameters=lambda name: True"
            )
    elif callable(parameters):
        chosen = {name: value for name, value in every.items() if truth(parameters(name), "parameters", TrainingError)}
    else:
        names, chosen = {id(value): name for name, value in every.items()}, {}
        for entry in _listed(parameters):
            name = names.get(id(entry), repr(tuple(entry.shape))) if isinstance(entry, Tensor) else entry
            if not isinstance(name, str) or name not in every:
                raise TrainingError(
                    f"parameters has {name if isinstance(name, str) else shown(name)}, which the model has not; its"
                    f" parameters are e.g. {', '.join(list(every)[:3])}"
                )
            chosen[name] = every[name]
    if not chosen:
        raise TrainingError(
            f"parameters chooses none of the model's {len(every)} parameters; e.g. {next(iter(every), 'none')}"
        )
    if (codes := _quantised(model, chosen)) is not None:
        raise TrainingError(
            f"parameters has {codes!r}, whose numbers are codes or scales ({_kind(chosen[codes])}) that no step can"
            f" change; train an adapter beside it, or {FLOATS}"
        )
    return chosen


def require_trained_here(core: Any) -> None:
    """Raises TrainingError where steps would change what no forward reads: layers that run codes and train floats, or
    weights that are offloaded.
    """
    if (elsewhere := next((n for n, m in core.named_modules() if trains_elsewhere(m)), None)) is not None:
        raise TrainingError(
            f"model: the layer {elsewhere!r} ({method_of(core.get_submodule(elsewhere))}) multiplies floats in train()"
            f" and codes in eval(): what is trained would not be what runs; {FLOATS}"
        )
    if offloaded(core):
        raise TrainingError(
            "model: its weights are offloaded (accelerate loads them for each forward from where they are kept), so"
            " that steps would change what no forward reads; load the model without offloading, on one device or spread"
            " over several"
        )


def _quantised(model: torch.nn.Module, chosen: dict[str, torch.nn.Parameter]) -> str | None:
    """The first chosen parameter that is codes, or stands in a quantised layer and is no bias."""
    held = {
        id(value)
        for module in model.modules()
        if is_quantised(module)
        for key, value in module._parameters.items()
        if value is not None and key != "bias"
    }
    return next(
        (n for n, value in chosen.items() if is_codes(value) or id(value) in held or not value.is_floating_point()),
        None,
    )


def _kind(value: Tensor) -> str:
    return type(value).__name__ if is_codes(value) else str(value.dtype).removeprefix("torch.")
