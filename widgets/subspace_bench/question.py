"""What is asked of two sets of text: the method, and the strengths of its edits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lens import subspace
from widgets.errors import ViewError

CURVATURE = "curvature"
_LABELS = {
    "contrast": "contrast of activations, as published",
    "corrected": "contrast with a margin of 3 standard errors",
    CURVATURE: "loss curvature (K-FAC), mass kept",
    "wanda": "weight × activation (Wanda)",
    "magnitude": "weight alone",
    "activation": "neurons by activation",
    "integrated_gradients": "neurons by integrated gradients",
    "zero_out": "neurons by zeroing each",
    "slimming": "neurons by slimming",
    "hard_concrete": "neurons by hard concrete gates",
    "subnet": "learned mask (Subnet)",
    "balanced_subnet": "learned mask with clean text (BalancedSubnet)",
    "random": "random weights",
}
#: name -> what the list says; whatever `lens.subspace` offers, and the curvature edit.
METHODS = {
    name: _LABELS.get(name, name.replace("_", " "))
    for name in sorted((*subspace.METHODS, CURVATURE), key=[*_LABELS, *subspace.METHODS].index)
}
SPARSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
MASSES = (0.99, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6)


@dataclass(frozen=True)
class Question:
    """What the fields ask for; `strengths`: shares of weights that go, or for the curvature edit of mass that stays,
    from weak to strong.
    """

    memorised: str
    reference: str
    method: str
    seed: int
    strengths: tuple[float, ...] = ()

    def key(self) -> tuple:
        """What decides a point besides its strength."""
        return (self.memorised, self.reference, self.method, self.seed)

    @property
    def kind(self) -> str:
        return "kept" if self.method == CURVATURE else "sparsity"

    def fields(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "strengths"}


def strengths_of(text: str, kind: str) -> tuple[float, ...]:
    """The numbers of a field such as "0.01, 0.02", each once, from weak to strong. Raises ViewError."""
    what = "shares of the weights to set to 0" if kind == "sparsity" else "shares of the curvature mass to keep"
    try:
        values = {float(part) for part in text.replace(";", ",").split(",") if part.strip()}
    except ValueError:
        raise ViewError(
            f"points: {text!r} is no list of numbers; expected {what}, such as {', '.join(map(str, (0.01, 0.05)))}"
        ) from None
    if not values or not all(0 < v < 1 for v in values) or len(values) > 40:
        raise ViewError(f"points: {text!r}; expected 1 to 40 {what}, each above 0 and below 1")
    return tuple(sorted(values, reverse=kind == "kept"))


def strengths_text(values: Iterable[float], kind: str) -> str:
    """The points as a person would type them, checked. Raises ViewError."""
    return ", ".join(f"{v:g}" for v in strengths_of(", ".join(f"{v:g}" for v in values), kind))
