"""Which parameters of a model are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..arguments import shown, truth, unfit
from ..models.quantised_layers import FLOATS, is_codes
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
    if codes := next((name for name, value in chosen.items() if is_codes(value)), None):
        raise TrainingError(
            f"parameters has {codes!r}, whose numbers are codes ({type(chosen[codes]).__name__}) that no step can"
            f" change; train an adapter beside it, or {FLOATS}"
        )
    return chosen
