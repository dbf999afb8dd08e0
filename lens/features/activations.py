"""From what a dictionary's encoder gives to how strong its features are: the rules by which features are active."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import FeatureError

Pre = Float[Tensor, "n k"]


class Rule:
    """A rule. ``alone``: whether each feature is told by its own pre-activation, whatever the others are."""

    name = "relu"
    alone = True

    def __call__(self, h: Pre, index: Int[Tensor, " k"] | None = None) -> Pre:
        """How strong features are, of the pre-activations of those named, or of all (rules that compare: of all)."""
        return h.clamp(min=0)

    def near(self, h: Pre) -> Pre | None:
        """How near each pre-activation is to the threshold, relative to it; None where there is none."""
        return None


@dataclass(eq=False)
class JumpReLU(Rule):
    """``h`` where it exceeds a threshold, 0 elsewhere (Rajamanoharan et al. 2024, section 3).

    Attributes:
        threshold: ``[n_features]``. norms: what ``h`` is multiplied by before it is compared, ``[n_features]``, or
            None. rectified: whether what is below 0 is 0, too, which shows where a threshold is negative.
    """

    threshold: Float[Tensor, " n_features"]
    norms: Callable[[], Float[Tensor, " n_features"]] | None = None
    rectified: bool = True
    name = "jumprelu"

    def __call__(self, h: Pre, index: Int[Tensor, " k"] | None = None) -> Pre:
        """See `Rule`."""
        f = h * (self._compared(h, index) > self._of(self.threshold, index, h))
        return f.clamp(min=0) if self.rectified else f

    def _compared(self, h: Pre, index: Int[Tensor, " k"] | None) -> Pre:
        return h if self.norms is None else h * self._of(self.norms(), index, h)

    @staticmethod
    def _of(values: Tensor, index: Int[Tensor, " k"] | None, h: Pre) -> Tensor:
        values = values.to(h.device)
        return values if index is None else values[index.to(h.device)]

    def near(self, h: Pre) -> Pre | None:
        """See `Rule`."""
        threshold = self._of(self.threshold, None, h)
        return (self._compared(h, None) - threshold).abs() / threshold.abs().clamp(min=1e-12)


@dataclass(eq=False)
class TopK(Rule):
    """The ``k`` largest pre-activations of each token, what is below 0 left out (Gao et al. 2024, section 2.3).

    Attributes:
        k: how many. norms: what ``h`` is multiplied by before, and stays multiplied by, or None.
    """

    k: int
    norms: Callable[[], Float[Tensor, " n_features"]] | None = None
    alone = False
    name = "topk"

    def __call__(self, h: Pre, index: Int[Tensor, " k"] | None = None) -> Pre:
        """See `Rule`."""
        h = h if self.norms is None else h * self.norms().to(h.device)
        best, at = h.topk(self.k, dim=-1)
        return torch.zeros_like(h).scatter_(-1, at, best.clamp(min=0))


@dataclass(eq=False)
class GroupMax(Rule):
    """The largest pre-activation of each of ``k`` equal groups of features, what is below 0 left out (sparsify)."""

    k: int
    alone = False
    name = "groupmax"

    def __call__(self, h: Pre, index: Int[Tensor, " k"] | None = None) -> Pre:
        """See `Rule`."""
        groups = h.unflatten(-1, (self.k, -1))
        best, at = groups.max(-1, keepdim=True)
        return torch.zeros_like(groups).scatter_(-1, at, best.clamp(min=0)).flatten(-2)


@dataclass(eq=False)
class Gated(Rule):
    """``relu(magnitude)`` where a gate is open (Rajamanoharan et al. 2024, Gated SAE, section 3.2).

    From ``a = x W_enc``: the gate is open where ``a + b_gate > 0``, the magnitude is ``a exp(r_mag) + b_mag``.
    """

    b_gate: Float[Tensor, " n_features"]
    r_mag: Float[Tensor, " n_features"]
    b_mag: Float[Tensor, " n_features"]
    name = "gated"

    def __call__(self, h: Pre, index: Int[Tensor, " k"] | None = None) -> Pre:
        """See `Rule`."""
        gate, r, mag = (
            (v if index is None else v[index.to(v.device)]).to(h.device) for v in (self.b_gate, self.r_mag, self.b_mag)
        )
        return (h * r.exp() + mag).clamp(min=0) * (h + gate > 0)


def checked_k(k: object, n_features: int, where: str) -> int:
    """A number of features that stay active. Raises: FeatureError: none, or more than there are."""
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= n_features:
        raise FeatureError(
            f"k={k!r} of {where}: expected a whole number from 1 to its {n_features} features; the configuration is of"
            " another dictionary."
        )
    return k
