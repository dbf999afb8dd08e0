"""Features of an activation: what the engine asks of a dictionary, and what an edit of some features adds.

An edit of features is an affine write where the dictionary writes, ``x + sum_i (g_i - f_i) u d_i`` with ``f_i`` what
the features are, ``g_i`` what they are to be, ``u`` the token's scale and ``d_i`` their directions: what the dictionary
does not explain of the activation stays. The gate is not asked again, so that a top-k takes no other features in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: A site's name and layer.
Key = tuple[str, int]


@dataclass(frozen=True)
class Tap:
    """Where a dictionary reads or writes.

    Attributes:
        site: a site's name; "mlp_in" is what the MLP reads of the stream, which can be read alone.
        layer: 0-based. head: the one head of ``z`` that is meant; None: all of them side by side.
        gain: of ``mlp_in``, whether the norm's weight and bias are in it.
    """

    site: str
    layer: int
    head: int | None = None
    gain: bool = True

    def __str__(self) -> str:
        more = "" if self.head is None else f", head {self.head}"
        more += "" if self.gain else ", without the norm's gain"
        return f"{self.site} of layer {self.layer}{more}"


class Features(ABC):
    """A dictionary of features as the engine knows it.

    Attributes:
        reads, writes: where. d_in, d_out: widths there, of one token.
        n_features: how many there are.
    """

    reads: Tap
    writes: Tap
    d_in: int
    d_out: int
    n_features: int

    @abstractmethod
    def values(self, x: Float[Tensor, "n d_in"], index: Int[Tensor, " k"] | None = None) -> Float[Tensor, "n k"]:
        """How strong features are in activations, in float32: those named, in their order, or all."""

    @abstractmethod
    def directions(self, index: Int[Tensor, " k"]) -> Float[Tensor, "k d_out"]:
        """What one unit of each feature adds where the dictionary writes, in float32, before `unit`."""

    @abstractmethod
    def unit(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n 1"]:
        """By what each token's directions are multiplied on their way to the stream."""

    @abstractmethod
    def require(self, model: Any) -> None:
        """Refuses a model that the dictionary is not of. Raises: the error of whoever made the dictionary."""

    @abstractmethod
    def digest(self) -> dict[str, Any]:
        """What a record says of it."""


def flat(x: Float[Tensor, "n ..."], tap: Tap) -> Float[Tensor, "n d"]:
    """A site's activation as a dictionary reads it, in float32: heads side by side, or the one that is meant."""
    x = x if tap.head is None else x[:, tap.head]
    return x.reshape(len(x), -1).float()


def unflat(delta: Float[Tensor, "n d"], tap: Tap, width: torch.Size) -> Float[Tensor, "n ..."]:
    """What is added to a site's activation of axes ``width``, of what a dictionary writes."""
    if tap.head is None:
        return delta.reshape(len(delta), *width)
    out = delta.new_zeros(len(delta), *width)
    out[:, tap.head] = delta
    return out


def targets(op: str, f: Float[Tensor, "n k"], value: Float[Tensor, "n k"] | None, scale: float) -> Float[Tensor, "n k"]:
    """By how much an edit changes features: see `Edit` for the operations."""
    if op == "zero":
        return -f
    if op == "scale":
        return (scale - 1) * f
    assert value is not None
    return value * scale if op == "add" else value * scale - f


@dataclass(eq=False)
class Live:
    """What an edit of features adds, computed from the activation as the edit meets it.

    Attributes:
        features, index: which. op, scale: of the edit. value: ``[1 or position, k]``, or None.
        reads: the place that is read, where it is another than that written to. through: what is made of that
            activation before the dictionary reads it.
    """

    features: Features
    index: Int[Tensor, " k"]
    op: str
    scale: float
    value: Float[Tensor, "positions k"] | None
    reads: Key | None
    through: Callable[[Tensor], Tensor]
    noted: Tensor | None = None

    def note(self, x: Tensor) -> Tensor:
        """Keeps what is read of a forward, until the write; returns it as it is."""
        self.noted = x
        return x

    def added(
        self,
        x: Float[Tensor, "n ..."],
        width: torch.Size,
        entry: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n ..."]:
        """What is added at some tokens, from the activation that is read of each; ``entry``: which row of ``value``
        each takes.
        """
        features = self.features
        into = flat(self.through(x), features.reads)
        needs = self.op != "add"
        f = features.values(into, self.index) if needs else into.new_zeros(len(into), len(self.index))
        value = self.value
        if value is not None:
            value = value.to(into.device)
            value = value.expand(len(into), -1) if len(value) == 1 or entry is None else value[entry]
        change = targets(self.op, f, value, self.scale) * features.unit(into)
        return unflat(change @ features.directions(self.index).to(change), features.writes, width)


def nothing(x: Tensor) -> Tensor:
    """An activation as it is."""
    return x
