"""Edits that give layers new weights altogether: projections, gradient ascent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..engine.linear import linears
from ..engine.weights import Undo
from .masks import apply_checked


@dataclass(frozen=True, eq=False)
class Replacement:
    """New weights [out, in] by layer, for the model whose weights have the hash `model`; `about` says how they were made."""

    new: Mapping[str, Float[Tensor, "out in"]]
    model: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def change(self, model: Any) -> dict[str, float]:
        """Frobenius norm of each layer's change, as a share of the norm of its weights in `model`."""
        every = linears(model, "*")
        return {name: float((new.to(every[name].weight) - every[name].weight.detach()).norm() / every[name].weight.detach().norm()) for name, new in self.new.items()}

    def apply(self, model: Any, *, strict: bool = True) -> Undo:
        """Write the new weights until `undo()`. Raises SubspaceError for another model (`strict`), WeightError for an edit in force on one of the layers."""
        return apply_checked(model, self.new, self.model if strict else "", "edit")

    @contextmanager
    def applied(self, model: Any, *, strict: bool = True) -> Iterator[Any]:
        """The model with the new weights; on leaving, also by an exception, the old ones are back, bit-equal. Raises as `apply`."""
        undo = self.apply(model, strict=strict)
        try:
            yield model
        finally:
            undo.undo()
