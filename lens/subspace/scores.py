"""Scores of weights and of neurons, and the masks that they give; the ones that statistics and weights alone decide.

A neuron is an input column of a layer: of the second layer of a feed-forward block, a hidden neuron. Sources: Sun et
al. 2024 (Wanda); Chavhan et al. 2024 and its code (contrast); Chang, Thomason and Jia 2024 (activation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..arguments import HFModel, NonNegative, Portion, Seed, Size, door, unfit
from ..engine.feedforward import feed_forward
from ..engine.linear import Linear
from ..models import same_weights, weight_hash
from ..notices import warn
from .activations import Stats, same_layers
from .data import linear_layers
from .errors import SubspaceError
from .masks import Mask

PER = ("row", "layer", "model")
#: In what scores and masks tell of themselves: the experts that too few tokens were sent to for a score.
UNREACHED = "unreached"


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Scores:
    """One number for each weight ([out, in]) or neuron ([d_in]) of each layer; larger is more memory.

    NaN throughout for an expert that no token (of either side of a contrast) was sent to: no score is known there, no
    mask takes its weights, and `about["unreached"]` names it.

    Attributes:
        kind: "weight" or "neuron". shapes: (d_out, d_in) by layer. allowed: columns that a mask may take at all, where
            not all. positive: only scores above 0 may be taken.
        per: what a mask's share is of unless told otherwise: each "row", each "layer", or the whole "model".
    """

    values: Mapping[str, Tensor]
    kind: Literal["weight", "neuron"]
    method: str
    shapes: Mapping[str, tuple[Size, Size]]
    model: str
    per: Literal["row", "layer", "model"]
    allowed: Mapping[str, Bool[Tensor, " d_in"]] | None = None
    positive: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.values.keys() != self.shapes.keys():
            raise SubspaceError(
                f"values has {len(self.values)} layers and shapes {len(self.shapes)}, or others; expected both for each"
                " layer."
            )
        for name, value in self.values.items():
            shape = tuple(self.shapes[name]) if self.kind == "weight" else tuple(self.shapes[name][1:])
            if tuple(value.shape) != shape:
                raise SubspaceError(
                    unfit(
                        f"values[{name!r}]",
                        value,
                        f"one number for each {self.kind}, of shape {shape}, as shapes and kind say",
                    )
                )
            if self.allowed is not None and (
                name not in self.allowed or len(self.allowed[name]) != self.shapes[name][1]
            ):
                raise SubspaceError(
                    unfit(
                        "allowed",
                        self.allowed,
                        f"a truth value for each of the {self.shapes[name][1]} input columns of {name!r}",
                    )
                )

    def neurons(self) -> dict[str, Float[Tensor, " d_in"]]:
        """One score for each neuron: its own, or the norm over rows of those of its weights that may be taken."""
        if self.kind == "neuron":
            return dict(self.values)
        out = {}
        for name, value in self.values.items():
            score = (
                (value.clamp_min(0) if self.positive else value).norm(dim=0)
                if (value >= 0).all() or self.positive
                else value.mean(0)
            )
            out[name] = score if self.allowed is None else score * self.allowed[name]
        return out

    @door(SubspaceError)
    def mask(
        self, sparsity: Portion, *, per: Literal["row", "layer", "model"] | None = None, largest: bool = True
    ) -> Mask:
        """The share `sparsity` of weights (or of neurons, with all their weights) of the largest scores.

        Args:
            per: share of each "row" (as Wanda), of each "layer", or of the whole "model"; rows only for weights.
                largest: False takes the smallest (Wanda as a pruning method).

        Where fewer scores may be taken, the mask is smaller than asked for. Raises SubspaceError: no share, or one that
        is less than one weight or neuron.

        Source: Chavhan et al. 2024, code: the top k of a row first, and of these the allowed ones.
        """
        per = self.per if per is None else per
        if per == "row" and self.kind == "neuron":
            raise SubspaceError(
                f"per={per!r} is not known for {self.kind} scores; expected one of"
                f" {', '.join(PER[self.kind == 'neuron' :])}."
            )
        scores = self.known()
        if not scores:
            raise SubspaceError(
                f"values: no token was sent to any of the {len(self.values)} experts' layers, so that nothing is known"
                " of their weights; give more text, or other layers."
            )
        for name, value in scores.items():
            if bad := int(torch.isnan(value).sum()):
                raise SubspaceError(
                    f"values: {bad} scores of {name} are NaN: its weights are, or what goes into it (the NaN of one"
                    " layer or expert reaches all later ones). Find it in the model's parameters, or leave the layer"
                    " out."
                )
        members = {name: torch.zeros_like(value, dtype=torch.bool).cpu() for name, value in self.values.items()}
        if per == "model":
            flat = torch.cat([value.reshape(-1).cpu() for value in scores.values()])
            parts = _top(flat[None], self._count(sparsity, len(flat), "scores"), largest)[0].split(
                [value.numel() for value in scores.values()]
            )
            members |= {name: part.view(value.shape) for (name, value), part in zip(scores.items(), parts)}
        else:
            for name, value in scores.items():
                rows = value if per == "row" else value.reshape(1, -1)
                count = self._count(
                    sparsity, rows.shape[1], f"weights a row of {name}" if per == "row" else f"scores of {name}"
                )
                members[name] = _top(rows, count, largest).view(value.shape).cpu()
        for name, value in self.values.items():
            if self.allowed is not None:
                members[name] &= self.allowed[name].cpu()
            if self.positive:
                members[name] &= value.cpu() > 0
        about = {
            "method": self.method,
            "sparsity": float(sparsity),
            "per": per,
            **({} if largest else {"largest": False}),
            **self.about,
        }
        if self.kind == "weight":
            return Mask.of(members, self.model, about)
        return Mask.of_columns(
            {name: value.nonzero()[:, 0].tolist() for name, value in members.items()}, self.shapes, self.model, about
        )

    def known(self) -> dict[str, Tensor]:
        """The scores of the layers that have some: of all but experts that no token was sent to."""
        return {name: value for name, value in self.values.items() if name not in self.about.get(UNREACHED, ())}

    @staticmethod
    def _count(sparsity: float, size: int, what: str) -> int:
        # a hair more, so that 0.07 of 100 is 7
        if (count := int(sparsity * size + 1e-9)) < 1:
            raise SubspaceError(
                f"sparsity={sparsity} of {size} {what} is less than one; give at least"
                f" {math.ceil(1000 / size) / 1000:g}, or take the share per='layer' or per='model'."
            )
        return count


def _top(rows: Float[Tensor, "row n"], count: int, largest: bool) -> Bool[Tensor, "row n"]:
    return torch.zeros_like(rows, dtype=torch.bool).scatter_(
        1, rows.topk(count, dim=1, largest=largest, sorted=False).indices, True
    )


@door(SubspaceError)
def magnitude(model: HFModel, layers: str | Sequence[str] | Mapping[str, Linear] = "mlp") -> Scores:
    """|W|: the baseline that looks at no data."""
    linears = linear_layers(model, layers)
    return weight_scores(
        linears,
        {name: linear.weight.detach().abs() for name, linear in linears.items()},
        "magnitude",
        weight_hash(model),
        per="layer",
    )


@door(SubspaceError)
def random(model: HFModel, layers: str | Sequence[str] | Mapping[str, Linear] = "mlp", *, seed: Seed = 0) -> Scores:
    """Uniform noise: the control of equal density."""
    linears, generator = linear_layers(model, layers), torch.Generator().manual_seed(int(seed))
    values = {name: torch.rand(linear.d_out, linear.d_in, generator=generator) for name, linear in linears.items()}
    return weight_scores(linears, values, "random", weight_hash(model), about={"seed": int(seed)})


@door(SubspaceError)
def wanda(model: HFModel, stats: Stats) -> Scores:
    """|W_ij| times the norm of input column j: with `mask(share, largest=False)` Wanda's pruning, with the largest the
    contrast without its reference.

    Source: Sun et al. 2024, A Simple and Effective Pruning Approach for Large Language Models.
    """
    linears = _of(model, stats)
    values = {name: _times(linears[name], stats.norm(name)) for name in _reached(linears, stats)}
    return weight_scores(linears, values, "wanda", stats.model)


@door(SubspaceError)
def contrast(model: HFModel, mem: Stats, ref: Stats) -> Scores:
    """|W_ij| times the norm of memorised column j with rows at unit length, for columns where it is larger than the
    reference's.

    As published, but for means over rows in place of sums, which agree where both sets have as many. It tests a sign,
    with no margin and no variance: see `corrected`.

    Source: Chavhan et al. 2024, code.
    """
    same_layers(mem, ref)
    linears = _of(model, mem)
    allowed = {name: torch.zeros(linear.d_in, dtype=torch.bool) for name, linear in linears.items()}
    values = {}
    for name in _reached(linears, mem, ref):
        allowed[name] = mem.mean(name, "unit") > ref.mean(name, "unit")
        values[name] = _times(linears[name], mem.norm(name, "unit"))
    return weight_scores(linears, values, "contrast", mem.model, allowed=allowed)


@door(SubspaceError)
def corrected(model: HFModel, mem: Stats, ref: Stats, *, margin: NonNegative = 3.0) -> Scores:
    """|W_ij| times the root of what column j's energy on memorised items exceeds that on reference items by, `margin`
    standard errors taken off.

    The energy of a column is that of rows at unit length, averaged over an item's rows; items are the sample, so that
    the excess has a standard error (Welch). A column that is large on any text has no excess and is not taken, whatever
    its size.

    Raises: SubspaceError: fewer than two items on a side; of an expert, its scores are NaN then.
    """
    same_layers(mem, ref)
    linears, values = _of(model, mem), {}
    for name in _reached(linears, mem, ref, items=2):
        difference, error = _difference(mem, ref, name)
        values[name] = _times(linears[name], (difference - margin * error).clamp_min(0).sqrt())
    return weight_scores(linears, values, "corrected", mem.model, positive=True, about={"margin": float(margin)})


@door(SubspaceError)
def column_z(mem: Stats, ref: Stats) -> dict[str, Float[Tensor, " d_in"]]:
    """Welch's z of each input column: the difference of its mean energy (rows at unit length) between memorised and
    reference items over its standard error.

    0 where both are constant and equal; NaN of an expert that fewer than two items of either set reached.
    """
    same_layers(mem, ref)
    out = {name: torch.full_like(mem.sums[key][0], torch.nan) for name, key in mem.source.items()}
    for name in _reached(mem.names, mem, ref, items=2):
        difference, error = _difference(mem, ref, name)
        out[name] = torch.where(
            error > 0, difference / error.clamp_min(1e-300), torch.sign(difference) * torch.inf
        ).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    return out


@door(SubspaceError)
def activation(model: HFModel, stats: Stats) -> Scores:
    """Mean |h_j| times the norm of neuron j's output vector. `stats` needs `absolute=True`.

    Source: Chang, Thomason and Jia 2024, "Activations".
    """
    linears = _of(model, stats)
    values = {
        name: stats.mean(name, "absolute").to(linears[name].weight) * linears[name].weight.detach().norm(dim=0)
        for name in _reached(linears, stats)
    }
    return neuron_scores(linears, values, "activation", stats.model)


def neuron_scores(
    linears: Mapping[str, Linear], values: Mapping[str, Tensor], method: str, model: str, **rest: Any
) -> Scores:
    """Scores of neurons, of which a mask takes the share of all neurons."""
    return _scores(linears, values, "neuron", method, model, **({"per": "model"} | rest))


def weight_scores(
    linears: Mapping[str, Linear], values: Mapping[str, Tensor], method: str, model: str, **rest: Any
) -> Scores:
    """Scores of weights, of which a mask takes the share of each row."""
    return _scores(linears, values, "weight", method, model, **({"per": "row"} | rest))


def _scores(
    linears: Mapping[str, Linear],
    values: Mapping[str, Tensor],
    kind: Literal["weight", "neuron"],
    method: str,
    model: str,
    *,
    about: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Scores:
    """Scores of layers, which note how many feed-forward weights there are where the layers are but a part of them, and
    of which layers there are no values: experts that no token was sent to.
    """
    shapes = {name: (l.d_out, l.d_in) for name, l in linears.items()}
    none = [name for name in linears if name not in values]
    if none:
        warn(
            f"{method}: too few tokens were sent to {len(none)} of {len(linears)} layers for a score ({none[0]}"
            f"{', ...' if len(none) > 1 else ''}): their scores are NaN, and no mask takes their weights. Give more"
            " text, or leave them out."
        )
    every = {
        name: values[name] if name in values else torch.full(shape[kind == "neuron" :], torch.nan)
        for name, shape in shapes.items()
    }
    noted = feed_forward(linears) | ({UNREACHED: none} if none else {})
    return Scores(every, kind, method, shapes, model, about={**(about or {}), **noted}, **rest)


def _reached(names: Iterable[str], *stats: Stats, items: int = 1) -> list[str]:
    """The layers that all statistics say something of: experts may have been sent rows of fewer items than these."""
    return [
        name
        for name in names
        if all(one.rows[one.source[name]] and (one.items < items or one.items_of(name) >= items) for one in stats)
    ]


def _of(model: Any, stats: Stats) -> dict[str, Linear]:
    if not same_weights(model, stats.model):
        raise SubspaceError(
            f"model: the statistics are of weights {stats.model[:8]}, this model's are {weight_hash(model)[:8]};"
            " compute them with this model."
        )
    return linear_layers(model, stats.names)


def _times(linear: Linear, column: Tensor) -> Float[Tensor, "out in"]:
    return linear.weight.detach().abs() * column.to(linear.weight)


def _difference(mem: Stats, ref: Stats, name: str) -> tuple[Tensor, Tensor]:
    (a, va), (b, vb) = mem.item_moments(name), ref.item_moments(name)
    return a - b, (va / mem.items + vb / ref.items).sqrt()
