"""Sites: which activation of a decoder, at which layer, head, position.

The names are those of TransformerLens. In the order in which a block computes them:

    embed -> resid_pre -> q, k, v -> pattern -> z -> attn_out -> resid_mid -> neuron -> router -> expert -> mlp_out
        -> resid_post

``q``, ``k`` and ``v`` are the outputs of the projections, before query/key normalisation and rotary embedding;
``attn_out`` and ``mlp_out`` are what is added to the residual stream, factors included (after a post-norm, where a
model has one; before a norm that lies on the stream itself). In a layer without attention ``attn_out`` is what stands
in its place: linear attention, a state space, RWKV's time mixing. Where a state space runs beside attention (Falcon-H1)
``attn_out`` is attention's part alone, and ``resid_mid`` the stream with both. ``neuron`` is the input of the MLP's
down projection. In a mixture of experts ``router`` are the weights by which a token's experts are added, one an expert,
0 for those that it is not sent to: the model's own top-k decides which, also where two tie (in Llama 4 the experts'
inputs are multiplied by them); ``expert`` is what each expert adds to the residual stream, its weight included.
``resid_post`` of a layer is ``resid_pre`` of the next, but where a model changes its stream between blocks (RWKV halves
it every few layers in eval mode): each is then the tensor that leaves, or enters, the block.

``feature`` are features of a dictionary (`lens.features`), which says where it lies: ``Site("feature", sae, index=7)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ..arguments import Heads, Indices, Whole, door, shown
from ..errors import Error
from .features import Features

Index = int | slice | Sequence[int] | None

#: Every site, in the order of computation inside a block.
SITES = (
    "embed",
    "resid_pre",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "neuron",
    "router",
    "expert",
    "mlp_out",
    "resid_post",
)
ORDER: dict[str, float] = {name: i for i, name in enumerate(SITES)}
#: What the engine alone names, in the same order: the stream that a norm inside a block hands on to it (RWKV's first),
#: and what a state space beside attention adds (Falcon-H1).
ORDER |= {"start": ORDER["resid_pre"] + 0.5, "mixer": ORDER["attn_out"] + 0.5}
#: Sites that have a head axis, and whose heads they are.
HEADED = {"q": "query", "pattern": "query", "z": "query", "k": "key", "v": "key"}
#: Sites of a mixture of experts, which have an expert axis.
EXPERTS = ("router", "expert")
RESIDUAL = ("embed", "resid_pre", "resid_mid", "resid_post")


#: Axes that only some sites have.
_AXES = {
    "head": tuple(HEADED),
    "neuron": ("neuron",),
    "key": ("pattern",),
    "expert": EXPERTS,
    "index": ("feature",),
}


class _LayerOrFeatures(Whole):
    """A layer's number, or the dictionary that says which layer."""

    def take(self, value: Any) -> Any:
        """The dictionary as it is, anything else as a whole number."""
        return value if isinstance(value, Features) else super().take(value)


class SiteError(Error, ValueError):
    """A site that the model does not have; the message names the argument, its value and what is there."""


@door(SiteError)
@dataclass(frozen=True)
class Site:
    """One activation: a name, a layer and, where wanted, heads, positions, neurons or keys.

    Args:
        name: one of ``SITES``.
        layer: 0-based; negative counts from the end. Not used by ``embed``; for ``feature`` the dictionary.
        head: an int, several, or None for all (sites with heads only; ``k`` and ``v`` count key/value heads).
        position: token positions (for ``pattern``: of the query); None for all.
        neuron: MLP neurons, for ``neuron`` only; None for all.
        key: key positions, for ``pattern`` only; None for all.
        expert: experts, for ``router`` and ``expert``; None for all.
        index: features, for ``feature`` only; None for all.
        of: the dictionary of ``feature``, where ``layer`` is its layer's number.

    >>> Site("z", layer=9, head=3, position=-1)
    Site('z', layer=9, head=3, position=-1)
    """

    name: str
    layer: Annotated[Any, _LayerOrFeatures(-(2**31), 2**31)] | None = None
    head: Heads = None
    position: Annotated[Any, Indices("position")] = None
    neuron: Annotated[Any, Indices("neuron")] = None
    key: Annotated[Any, Indices("key")] = None
    expert: Annotated[Any, Indices("expert")] = None
    index: Annotated[Any, Indices("index")] = None
    of: Features | None = None

    def __post_init__(self) -> None:
        if self.name not in (*SITES, "feature"):
            raise SiteError(f"site name={self.name!r} is not known; expected one of {', '.join(SITES)}, feature.")
        if isinstance(self.layer, Features):
            object.__setattr__(self, "of", self.layer)
            object.__setattr__(self, "layer", self.layer.writes.layer)
        if (self.name == "feature") != (self.of is not None):
            raise SiteError(
                f"site {self.name!r} with the dictionary {shown(self.of)}: only 'feature' has one, and it needs one;"
                " write Site('feature', lens.features.load(folder), index=7)."
            )
        if self.of is not None:
            if self.layer != self.of.writes.layer:
                raise SiteError(
                    f"layer={self.layer!r} of site 'feature': its dictionary writes to layer {self.of.writes.layer};"
                    " give the dictionary alone."
                )
            indices(self.index, self.of.n_features, "index")
        if self.name == "embed":
            if self.layer not in (None, 0):
                raise SiteError(f"site 'embed' has no layer, got layer={self.layer!r}; leave it out.")
        elif self.layer is None:
            raise SiteError(f"site {self.name!r} needs a layer; write Site({self.name!r}, layer=...).")
        for axis, names in _AXES.items():
            if getattr(self, axis) is not None and self.name not in names:
                raise SiteError(
                    f"site {self.name!r} has no {axis} axis, got {axis}={getattr(self, axis)!r}; "
                    f"{axis} belongs to {', '.join(names)}."
                )

    def __repr__(self) -> str:
        own = [repr(self.name)] if self.of is None else [repr(self.name), repr(self.of)]
        parts = own + [
            f"{k}={getattr(self, k)!r}"
            for k in ("layer", "head", "position", "neuron", "key", "expert", "index")
            if getattr(self, k) is not None and (k != "layer" or self.of is None)
        ]
        return f"Site({', '.join(parts)})"

    @property
    def place(self) -> tuple[str, int | None]:
        """The name and layer of the activation that is written to: of features where their dictionary writes."""
        return (self.name, self.layer) if self.of is None else (self.of.writes.site, self.layer)


def of_two_axes(site: str) -> bool:
    """Whether an activation of one token is ``[head, width]`` or ``[expert, width]`` rather than ``[width]``."""
    return site in HEADED or site == "expert"


def indices(spec: Index, size: int, argument: str) -> list[int]:
    """The non-negative indices that ``spec`` names on an axis of length ``size``.

    Raises:
        SiteError: an index is outside ``[-size, size)`` or is not an integer.

    >>> indices(-1, 5, "position"), indices(slice(1, 3), 5, "position"), indices(None, 2, "head")
    ([4], [1, 2], [0, 1])
    """
    if size == 0 and argument == "head":
        raise SiteError(f"{argument}={spec!r}: this model has no attention heads; use a site of the residual stream.")
    if spec is None:
        return list(range(size))
    if isinstance(spec, slice):
        return list(range(size))[spec]
    values = [spec] if not hasattr(spec, "__iter__") else list(spec)
    out = []
    for value in values:
        try:
            i = value.__index__()
        except (AttributeError, TypeError):
            raise SiteError(
                f"{argument}={value!r} is not an integer; give an int, a slice or a list of ints."
            ) from None
        if not -size <= i < size:
            raise SiteError(f"{argument}={i} is out of range; this model and prompt have {argument}s 0 to {size - 1}.")
        out.append(i % size)
    return out
