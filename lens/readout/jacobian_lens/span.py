"""The directions of a few tokens at one layer's output, as features that edits set, scale, take away and exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...engine.edits import Edit
from ...engine.features import Features, Tap
from ...engine.sites import Site
from .errors import JacobianLensError

#: Directions whose coordinates would magnify a state by more than this are none: two of them are nearly one.
CONDITION = 1e4


@dataclass(eq=False, repr=False)
class Span(Features):
    """Directions of tokens at a layer's output, each of length 1, and the state's coordinates along them.

    A state is ``sum_i c_i v_i`` and a rest at right angles to all of them; the coordinates ``c`` (the pseudo-inverse's)
    are in units of the stream. It is a dictionary to `lens.Site`: ``lens.Site("feature", span, index=0)`` is the
    coordinate of its first token, which `lens.Edit` sets, scales, adds to or copies from a run, in `lens.edited`,
    `lens.generate` and `lens.patch` alike.

    Attributes:
        layer: at whose output. tokens: ids. vectors ``[token, d_model]``: of length 1. readers ``[token, d_model]``:
            what is multiplied with a state for its coordinates. n_layers: of the model. about: what a record says.

    Source: Gurnee et al. 2026 (interventions in the coordinates of chosen tokens' directions).
    """

    layer: int
    tokens: tuple[int, ...]
    vectors: Float[Tensor, "token d_model"]
    readers: Float[Tensor, "token d_model"]
    n_layers: int | None = None
    about: dict[str, Any] = field(default_factory=dict)

    instead = "give it as lens.Site('feature', span)"
    #: of a dictionary, leading tokens that it says nothing of
    skip_tokens = 0

    def __post_init__(self) -> None:
        self.reads = self.writes = Tap("resid_post", self.layer)
        self.n_features, self.d_in = self.vectors.shape
        self.d_out = self.d_in

    def __repr__(self) -> str:
        return f"<directions of {self.n_features} token{'s' * (self.n_features > 1)}, {self.writes}>"

    # -- a dictionary to the engine ------------------------------------------------------------------------------------

    def values(self, x: Float[Tensor, "n d_model"], index: Int[Tensor, " k"] | None = None) -> Float[Tensor, "n k"]:
        """The coordinates of states, of the tokens named or all."""
        readers = self.readers if index is None else self.readers[index.to("cpu")]
        return x.float() @ readers.to(x.device).T

    def directions(self, index: Int[Tensor, " k"]) -> Float[Tensor, "k d_model"]:
        """What one unit of each coordinate adds."""
        return self.vectors[index.to("cpu")]

    def unit(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "1 1"]:
        """1: directions are added as they are."""
        return torch.ones(1, 1, device=x.device)

    def require(self, model: Any) -> None:
        """Refuses a model of another shape; whose weights they are was compared where the directions were taken.

        Raises: JacobianLensError: another width or another number of layers.
        """
        if model.d_model != self.d_in or model.n_layers != (self.n_layers or model.n_layers):
            raise JacobianLensError(
                f"{self!r} is of a model of width {self.d_in} and {self.n_layers} layers; this one has width"
                f" {model.d_model} and {model.n_layers}. Take the directions from a lens of this model."
            )

    def digest(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"jacobian lens": self.about, "layer": self.layer, "tokens": list(self.tokens)}

    # -- edits ---------------------------------------------------------------------------------------------------------

    def edit(
        self,
        op: str,
        value: Any = None,
        *,
        tokens: Sequence[int] | int | None = None,
        position: Any = None,
        scale: float = 1.0,
    ) -> Edit:
        """An edit of coordinates: ``zero`` takes the directions out of the stream, ``replace`` sets their coordinates,
        ``add`` and ``scale`` as in `lens.Edit`, whose ``value`` and ``scale`` these are.

        Args:
            tokens: which of the span's, by their ids; all by default. Of some alone, the others' coordinates stay as
                they are. position: where; None: at every token.

        Raises: JacobianLensError: a token that the span does not have. EditError: as `lens.Edit`.
        """
        index = None if tokens is None else [self._place(t) for t in ([tokens] if _one(tokens) else tokens)]  # type: ignore[union-attr]
        return Edit(Site("feature", self, index=index, position=position), op, value, scale)

    def swap(self, first: int, second: int, *, position: Any = None) -> Edit:
        """An edit that exchanges the coordinates of two tokens and leaves all else.

        Where it is in force at two layers the second undoes the first as far as the stream carries it: name one layer.

        Args:
            first, second: their ids.

        Raises: JacobianLensError: a token that the span does not have, or the same twice.
        """
        a, b = self._place(first), self._place(second)
        if a == b:
            raise JacobianLensError(f"second={second!r} is the first token again; a swap needs two.")
        # c_a v_a + c_b v_b is the mean coordinate along v_a + v_b, and half of the difference along v_a - v_b
        apart = Span(
            self.layer,
            (self.tokens[a], self.tokens[b]),
            (self.vectors[a] - self.vectors[b])[None],
            (self.readers[a] - self.readers[b])[None] / 2,
            self.n_layers,
            self.about | {"swap": True},
        )
        return Edit(Site("feature", apart, position=position), "scale", scale=-1.0)

    def _place(self, token: Any) -> int:
        if isinstance(token, bool) or token not in self.tokens:
            raise JacobianLensError(
                f"token={token!r} is not one of the span's, whose ids are {', '.join(map(str, self.tokens[:8]))}."
            )
        return self.tokens.index(token)


def turned(vectors: Float[Tensor, "token d_model"], draw: np.random.Generator) -> Float[Tensor, "token d_model"]:
    """Vectors of the same lengths, at the same angles to each other, in random directions."""
    count, width = vectors.shape
    if count > width:
        q, r = np.linalg.qr(draw.standard_normal((width, width)))
        return vectors @ torch.from_numpy(q * np.sign(np.diag(r))).to(vectors)
    frame = torch.from_numpy(np.linalg.qr(draw.standard_normal((width, count)))[0])
    lower = torch.linalg.qr(vectors.double().T).R.T
    return (lower @ frame.T).to(vectors)


def span_of(layer: int, tokens: Sequence[int], vectors: Tensor, n_layers: int | None, about: dict[str, Any]) -> Span:
    """A span of some vectors of any length.

    Raises: JacobianLensError: no tokens, the same twice, vectors that are zero or nearly of one direction.
    """
    wide = vectors.detach().double().cpu()
    length = wide.norm(dim=1, keepdim=True)
    said = f"tokens={list(tokens)!r}"
    if not len(tokens) or len(set(tokens)) < len(tokens):
        raise JacobianLensError(f"{said}: expected tokens that differ; name each once.")
    if len(tokens) > wide.shape[1] or not (length > 0).all() or not wide.isfinite().all():
        raise JacobianLensError(
            f"{said}: at layer {layer} their directions are zero or not finite, or more than the {wide.shape[1]}"
            " dimensions of the stream; name fewer tokens, or another layer."
        )
    wide = wide / length
    if not (condition := torch.linalg.cond(wide).item()) < CONDITION:
        raise JacobianLensError(
            f"{said}: at layer {layer} some of their directions are nearly one (condition {condition:.1g}), so that no"
            " coordinates tell them apart; name fewer tokens, or another layer."
        )
    readers = torch.linalg.pinv(wide).T
    return Span(layer, tuple(int(t) for t in tokens), wide.float(), readers.float(), n_layers, dict(about))


def _one(tokens: Any) -> bool:
    return not hasattr(tokens, "__iter__")
