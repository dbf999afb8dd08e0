"""New weights for a model's linear layers for a while: written in place, and afterwards the old ones again, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..models import hash_after_undo
from .linear import Linear, linears, near

#: Set on a layer's parameter while an edit is in force on it.
EDITED = "_mnemoscope_weight_edit"


class WeightError(ValueError):
    """New weights that cannot be written: unknown layer, wrong shape, not finite, or an edit that is already in force."""


class Undo:
    """Edits of weights that are in force; `undo()` puts the old weights back, bit-equal. Calling it again does nothing."""

    def __init__(self, model: Any):
        self._kept: list[tuple[nn.Parameter, Tensor]] = []
        self._hash_again = hash_after_undo(model)

    @torch.no_grad()
    def undo(self) -> None:
        edited = [parameter for parameter, _ in self._kept]
        while self._kept:
            parameter, old = self._kept.pop()
            parameter.copy_(old)
            delattr(parameter, EDITED)
        if edited:
            self._hash_again(edited)

    @property
    def in_force(self) -> bool:
        return bool(self._kept)


def apply_weights(model: Any, new: Mapping[str, Float[Tensor, "out in"]]) -> Undo:
    """Write new weights into the model's linear layers, and say how to undo it. Costs one copy of each edited weight.

    Args:
        model: a plain module or a bridge; a bridge and the plain model that shares its parameters are changed together.
        new: plain name of a layer -> its new weight [out, in], of any device and floating dtype.

    Raises: WeightError: an edit is in force on one of the layers, a layer is unknown, has another shape, or would get numbers that are not finite. Nothing is written then.
    """
    if not new:
        raise WeightError("new is empty: an edit that changes no layer; give at least one weight.")
    every = linears(model, "*")
    chosen: list[tuple[Linear, Tensor]] = []
    for name, weight in new.items():
        if name not in every:
            raise WeightError(f"new: {name!r} is no linear layer of the model; {near(name, every)}.")
        linear = every[name]
        if tuple(weight.shape) != tuple(linear.weight.shape):
            raise WeightError(f"new[{name!r}] has shape {tuple(weight.shape)}; expected [out, in] = {tuple(linear.weight.shape)}.")
        if not torch.isfinite(weight).all():
            raise WeightError(f"new[{name!r}] holds {int((~torch.isfinite(weight)).sum())} numbers that are not finite; look at what made it.")
        if getattr(linear.module.weight, EDITED, False):
            raise WeightError(f"{name}: an edit is in force on this layer already, so this one would be applied twice; undo it first (leave its with block, or call undo()).")
        chosen.append((linear, weight))
    if len({id(linear.module.weight) for linear, _ in chosen}) < len(chosen):
        raise WeightError("new: two of the layers share one parameter; give only one of them.")
    undo = Undo(model)
    try:
        with torch.no_grad():
            for linear, weight in chosen:
                parameter = linear.module.weight
                undo._kept.append((parameter, parameter.detach().clone()))
                setattr(parameter, EDITED, True)
                parameter.copy_(weight.T if linear.transposed else weight)
    except BaseException:
        undo.undo()
        raise
    return undo


@contextmanager
def edited_weights(model: Any, new: Mapping[str, Float[Tensor, "out in"]]) -> Iterator[None]:
    """New weights inside the with block; on leaving it, also by an exception, the old ones are back, bit-equal. Raises as `apply_weights`."""
    undo = apply_weights(model, new)
    try:
        yield
    finally:
        undo.undo()
