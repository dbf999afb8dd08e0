"""Gates: conditions, looked at token by token, under which an edit acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..arguments import Numbers, Real, Whole, door, unfit
from ..errors import Error
from .sites import ORDER, Site, of_two_axes

Kind = Literal["projection", "probability", "token", "function"]
_Id = Annotated[int, Whole(0, 2**31)]


class GateError(Error, ValueError):
    """A gate that cannot be, or one that failed while it was looked at; the message names what it is of."""


@door(GateError)
@dataclass(frozen=True, eq=False)
class Gate:
    """When an edit acts: `Edit(..., when=Gate...)`. Made by `projection`, `probability`, `token` or `function`.

    A gate is looked at anew for every token that its edit would meet, and says yes or no for that token alone: what
    other rows of a batch hold changes nothing. It is read before the edit acts, so its site lies at or below the
    edit's. In a text that is being written the tokens of the prompt have gates too.

    Attributes:
        kind: which of the four. site: what is read. direction: of unit length, ``[width]``.
        threshold: what must be exceeded. tokens: ids. test: a person's own function.

    Raises: GateError: what its kind needs is not there.

    >>> Gate.token(5)
    Gate.token((5,))
    """

    kind: Kind
    site: Site | None = None
    direction: Annotated[Any, Numbers(1)] | None = None
    threshold: Real = 0.0
    tokens: Sequence[_Id] = ()
    test: Callable[[Tensor], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        if self.kind in ("projection", "function"):
            if self.site is None:
                raise GateError(f"site=None: a gate of kind {self.kind!r} reads an activation; name its lens.Site.")
            _require_plain(self.site)
        elif not self.tokens:
            raise GateError(f"tokens={self.tokens} holds none; give one id or several, as lens.prompts.token_id gives.")
        if self.kind == "function" and self.test is None:
            raise GateError("test=None: a gate of kind 'function' needs a function of activations [n, width].")
        if self.kind == "projection":
            object.__setattr__(self, "direction", _unit(self.direction))

    @classmethod
    @door(GateError)
    def projection(cls, site: Site, direction: Annotated[Any, Numbers(1)], threshold: Real) -> Gate:
        """Open where the activation at `site` has a projection on `direction` above `threshold`.

        Args:
            site: without positions; of sites with heads one head. It holds what edits before it have made of it, and
                of edits at that very site nothing yet.
            direction: ``[width]`` of the site; its length does not matter.
            threshold: in units of the activation. Minus infinity: always open, the edit is the plain one to the bit;
                infinity: never.

        Raises: GateError: a direction without length, or not of one axis; a site with positions.

        Cost: one dot product a token.
        """
        return cls("projection", site, direction, float(threshold))

    @classmethod
    @door(GateError)
    def probability(cls, tokens: _Id | Sequence[_Id], threshold: Real) -> Gate:
        """Open where the model gave these next tokens, together, a probability above `threshold` in the step before.

        Of the step that reads the prompt there is none before it: the gate is shut there. The probability is that of
        the softmax of the (edited) logits at temperature 1.

        Raises: GateError: no tokens.
        """
        return cls("probability", threshold=float(threshold), tokens=_several(tokens))

    @classmethod
    @door(GateError)
    def token(cls, tokens: _Id | Sequence[_Id]) -> Gate:
        """Open at the tokens with these ids, those of the prompt too. Raises: GateError: no tokens."""
        return cls("token", tokens=_several(tokens))

    @classmethod
    @door(GateError)
    def function(cls, site: Site, test: Callable[[Tensor], Any]) -> Gate:
        """Open where `test` says so of the activations at `site`: ``[n, width] -> [n]`` of truth values, called for one
        row's tokens at a time. What it raises ends the computation with a `GateError` that names the gate.

        Raises: GateError: a site with positions.
        """
        return cls("function", site, test=test)

    def __repr__(self) -> str:
        if self.kind in ("token", "probability"):
            more = "" if self.kind == "token" else f", {self.threshold:g}"
            return f"Gate.{self.kind}({self.tokens}{more})"
        return f"Gate.{self.kind}({self.site}{'' if self.kind == 'function' else f', ..., {self.threshold:g}'})"


def projections(gate: Gate, x: Float[Tensor, "n width"]) -> Float[Tensor, " n"]:
    """What a gate of activations compares with its threshold. Raises: GateError: of another width."""
    direction: Any = gate.direction  # of a projection
    if x.ndim != 2 or x.shape[-1] != len(direction):
        raise GateError(
            f"direction of {gate} has {len(direction)} numbers, and the site holds {tuple(x.shape[1:])} a token;"
            " give one of that width" + (", and name one head." if x.ndim > 2 else ".")
        )
    # row by row the same to the bit, however many there are: a matrix product may sum in another order
    out: Tensor = (x.float() * direction.to(x.device)).sum(-1)
    return out


def answers(gate: Gate, x: Float[Tensor, "n width"]) -> Bool[Tensor, " n"]:
    """What the person's function says of one row's tokens. Raises: GateError: it failed, or gave something else."""
    test: Any = gate.test  # of a function
    expected = f"of activations {tuple(x.shape)} it gives a truth value for each of the {len(x)} tokens"
    try:
        said = torch.as_tensor(test(x))
    except Exception as error:
        raise GateError(
            f"test of when={gate}: the condition raised {type(error).__name__}: {error}; {expected}."
        ) from error
    if said.dtype != torch.bool or said.shape != x.shape[:1]:
        raise GateError(
            f"test of when={gate}: the condition gave {said.dtype} of shape {tuple(said.shape)}; {expected}, as does"
            " (x @ direction) > 3."
        )
    return said.to(x.device)


def _unit(direction: Any) -> Tensor:
    try:
        vector: Tensor = torch.as_tensor(direction).detach().float()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        vector = torch.zeros(0)
    length = vector.norm()
    if vector.ndim != 1 or not torch.isfinite(length) or not length > 0:
        raise GateError(unfit("direction", direction, "a vector of numbers, finite and not all 0, of the site's width"))
    unit: Tensor = vector / length
    return unit


def _require_plain(site: Site) -> None:
    if site.position is not None:
        raise GateError(f"site={site}: a gate is read at each token that its edit meets; leave position out.")
    if site.name == "pattern" or (of_two_axes(site.name) and not isinstance(site.head, int) and site.expert is None):
        raise GateError(f"site={site}: a gate reads one vector a token; name one head, or a site of the stream.")


def _several(tokens: Any) -> tuple[int, ...]:
    return (tokens,) if isinstance(tokens, int) else tuple(tokens)


Place = tuple[int, float]


def require_below(edits: Sequence[Any], places: Sequence[tuple[Place, Place | None]], error: type[Exception]) -> None:
    """Refuses gates that are read after their edit has acted: the forward would have to know itself.

    Args: places: of each edit where it acts, and where its gate reads (None where it reads no activation), as layer and
        order in the layer.

    Raises: `error`, which names the two edits where their gates would switch each other.
    """
    for i, (edit, (acts, reads)) in enumerate(zip(edits, places)):
        if reads is None or reads <= acts:
            continue
        for k, (other, read) in enumerate(places):
            # the other acts where this gate sees it, and its gate sees what this one has let through
            if k != i and read is not None and acts <= read and other <= reads:
                raise error(
                    f"edits[{i}] and edits[{k}] switch each other: {edit.when} reads what edits[{k}] at"
                    f" {edits[k].site} has made, and {edits[k].when} what edits[{i}] at {edit.site} has. Read one of"
                    " them below the edits."
                )
        raise error(
            f"edits[{i}]: its gate {edit.when} reads above the edit at {edit.site}, when that has acted already;"
            " read it at the same site, at an earlier one of that layer, or in a lower layer."
        )


def place_of(name: str, layer: int) -> Place:
    """Where a site comes in a forward."""
    return layer, ORDER[name]


def among(ids: Int[Tensor, " n"], tokens: tuple[int, ...]) -> Bool[Tensor, " n"]:
    """Which ids are among some."""
    return torch.isin(ids, torch.tensor(tokens, device=ids.device))
