"""The vector that guides training: which direction, where it enters, and whose heads wrote it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import HFModel, Seed, Size, door, unfit
from ..engine.changes import temporary
from .data import ForgettingError, anatomy

Place = Literal["resid_post", "attn_out"]


@door(ForgettingError)
@dataclass(frozen=True, eq=False)
class Guide:
    """A task's vector as training uses it.

    Attributes:
        direction: added to the stream, ``[d_model]``. layer: where. strength: its factor.
        heads: (layer, head) pairs whose outputs make up the vector; the head term of the loss holds them.
        at: "resid_post" (the block's output, as in Jiang et al. 2025) or "attn_out" (what attention adds: their
            released code).

    Raises: ForgettingError: a direction that is no finite vector, an unknown place.
    """

    direction: Float[Tensor, " d_model"]
    layer: Size
    heads: Sequence[tuple[Size, Size]] = ()
    strength: float = 1.0
    at: Place = "resid_post"

    def __post_init__(self):
        direction = torch.as_tensor(self.direction).detach().float().cpu()
        if direction.ndim != 1 or not bool(torch.isfinite(direction).all()):
            raise ForgettingError(
                "direction has shape"
                f" {tuple(direction.shape)}{'' if direction.ndim != 1 else ' and holds NaN or infinity'}; expected one"
                " finite vector [d_model]."
            )
        object.__setattr__(self, "direction", direction)
        object.__setattr__(self, "heads", tuple((int(l), int(h)) for l, h in self.heads))

    @classmethod
    @door(ForgettingError)
    def of(cls, vector: Any, layer: Size, *, strength: float = 1.0, at: Place = "resid_post") -> Guide:
        """A guide from anything that has ``direction`` and ``heads``, such as lens.vectors.Vector."""
        try:
            direction, heads = vector.direction, tuple(vector.heads)
        except Exception:  # an object may fail in any way
            raise ForgettingError(
                unfit("vector", vector, "something with direction and heads, such as a lens.vectors.Vector")
            ) from None
        return cls(direction, layer, heads, strength, at)

    @door(ForgettingError)
    def random_like(self, seed: Seed) -> Guide:
        """The same place and heads with a random direction of equal norm."""
        draw = torch.randn(len(self.direction), generator=torch.Generator().manual_seed(int(seed)))
        return replace(self, direction=draw * (self.direction.norm() / draw.norm()))

    @door(ForgettingError)
    def check(self, model: HFModel, name: str = "guide") -> None:
        """Refuses a guide that does not fit the model.

        Raises: ForgettingError: another width, a layer or a head that the model does not have.
        """
        a = anatomy(model)
        if len(self.direction) != a.d_model:
            raise ForgettingError(
                f"{name}: its vector has d_model {len(self.direction)}, this model {a.d_model}; extract the vector from"
                " this model."
            )
        if not 0 <= self.layer < a.n_layers:
            raise ForgettingError(
                f"{name}: layer={self.layer} is out of range; this model has layers 0 to {a.n_layers - 1}."
            )
        for layer, head in self.heads:
            if not (0 <= layer < a.n_layers and 0 <= head < a.n_heads):
                raise ForgettingError(
                    f"{name}: head ({layer}, {head}) is not in this model of {a.n_layers} layers with {a.n_heads} heads"
                    " each."
                )

    def described(self) -> dict[str, Any]:
        """What a record keeps of it."""
        return {
            "layer": self.layer,
            "heads": [list(h) for h in self.heads],
            "strength": self.strength,
            "at": self.at,
            "norm": round(float(self.direction.norm()), 6),
        }


@contextlib.contextmanager
def inserted(model: Any, guide: Guide, last: Int[Tensor, " batch"], scale: float = 1.0) -> Iterator[None]:
    """Forwards inside have ``scale * strength * direction`` added at each row's last input token, and nowhere else;
    gradients pass.
    """

    def change(x: Tensor) -> Tensor:
        push = x.new_zeros(*x.shape[:2], 1)
        push[torch.arange(len(x), device=x.device), last.to(x.device)] = scale * guide.strength
        return x + push * guide.direction.to(x)

    with temporary(model, "a guide") as here:
        here.put(lambda: anatomy(model).attach(guide.at, guide.layer, change, everywhere=True))
        yield
