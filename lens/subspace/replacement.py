"""Edits that give layers new weights altogether: projections, gradient ascent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..arguments import HFModel, door
from ..engine.changes import Undo
from ..engine.in_force import InForce, put
from ..engine.linear import every_linear, near
from .errors import SubspaceError
from .masks import prepared_checked


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Replacement:
    """New weights [out, in] by layer, for the model whose weights have the hash `model`; `about` says how they were
    made.
    """

    new: Mapping[str, Float[Tensor, "out in"]]
    model: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @door(SubspaceError)
    def change(self, model: HFModel) -> dict[str, float]:
        """Frobenius norm of each layer's change, as a share of the norm of its weights in `model`."""
        every = every_linear(model)
        for name, new in self.new.items():
            if name not in every:
                raise SubspaceError(f"model: it has no layer {name!r}, which the edit has; {near(name, every)}.")
            if tuple(new.shape) != (shape := tuple(every[name].weight.shape)):
                raise SubspaceError(
                    f"model: it has {name!r} as {shape}, the edit as {tuple(new.shape)}: it is an edit of another"
                    " model."
                )
        now = {name: every[name].require_own().weight.detach() for name in self.new}
        return {
            name: float((new.to(now[name]) - now[name]).norm() / now[name].norm()) for name, new in self.new.items()
        }

    @door(SubspaceError)
    def apply(self, model: HFModel, *, strict: bool = True) -> Undo:
        """Write the new weights until `undo()`. Raises SubspaceError for another model (`strict`), WeightError for an
        edit in force on one of the layers.
        """
        return put(model, lambda: self._prepared(model, strict))

    @door(SubspaceError)
    def applied(self, model: HFModel, *, strict: bool = True) -> InForce:
        """The model with the new weights; on leaving, also by an exception, the old ones are back, bit-equal. Raises as
        `apply`, on entering.
        """
        return InForce(model, lambda: self._prepared(model, strict), model)

    def _prepared(self, model: Any, strict: bool) -> Undo:
        return prepared_checked(model, self.new, self.model if strict else "", "edit")
