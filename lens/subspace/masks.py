"""Masks: sets of weights of named linear layers, stored sparse, that are set to zero for a while and put back bit for
bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from torch import Tensor

from ..arguments import FilePath, Fraction, HFModel, Numbers, Seed, Size, door, shown, unfit
from ..engine.changes import Undo
from ..engine.feedforward import FEED_FORWARD, in_block, said
from ..engine.in_force import InForce, put
from ..engine.linear import every_linear, near
from ..engine.weights import EDITED, prepared_weights
from ..models import weight_hash
from ..models.hash import same_in, same_record
from ..models.tree import Tree
from .errors import SubspaceError
from .mask_files import read_mask, write_mask


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Mask:
    """Chosen weights of linear layers, one bit each in meaning and one index each in memory.

    Attributes:
        layers: plain name -> sorted numbers row * d_in + column of the chosen weights. shapes: plain name -> (d_out,
            d_in), also of layers of which none is chosen.
        model: hash of the weights that it was found on; "" fits any model of these layers. about: how it was made.

    >>> mask = Mask.of({"a": torch.tensor([[True, False], [False, False]])})
    >>> mask.count, mask.density, mask.iou(mask)
    (1, 0.25, 1.0)
    """

    layers: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[Size, Size]]
    model: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.layers.keys() != self.shapes.keys():
            raise SubspaceError(
                f"layers has {len(self.layers)} layers and shapes {len(self.shapes)}, or others; expected both for each"
                " layer, also where none of its weights is chosen."
            )
        for name, index in self.layers.items():
            total = self.shapes[name][0] * self.shapes[name][1]
            if (
                index.ndim != 1
                or index.dtype.kind not in "iu"
                or (len(index) and not 0 <= index[0] <= index[-1] < total)
            ):
                raise SubspaceError(
                    unfit(
                        f"layers[{name!r}]",
                        index,
                        f"sorted whole numbers from 0 to {total - 1}: shapes has it as {tuple(self.shapes[name])}",
                    )
                )

    @classmethod
    @door(SubspaceError)
    def of(
        cls,
        chosen: Mapping[str, Annotated[Any, Numbers(2, truth=True)]],
        model: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> Mask:
        """From truth values [out, in] by layer."""
        layers, shapes = {}, {}
        for name, value in chosen.items():
            value = torch.as_tensor(value)
            if value.ndim != 2 or value.dtype != torch.bool:
                raise SubspaceError(
                    f"chosen[{name!r}] is {value.dtype} of shape {tuple(value.shape)}; expected truth values [out, in]."
                )
            layers[name], shapes[name] = (
                _small(value.reshape(-1).nonzero()[:, 0].cpu().numpy(), value.numel()),
                (
                    value.shape[0],
                    value.shape[1],
                ),
            )
        return cls(layers, shapes, model, dict(about or {}))

    @classmethod
    @door(SubspaceError)
    def of_columns(
        cls,
        columns: Mapping[str, Sequence[int]],
        shapes: Mapping[str, tuple[Size, Size]],
        model: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> Mask:
        """From numbers of input columns (hidden neurons) by layer: every weight of those columns."""
        layers = {}
        for name, (out, d_in) in shapes.items():
            some = np.unique(np.asarray(columns.get(name, ()), dtype=np.int64))
            if len(some) and not 0 <= some[0] <= some[-1] < d_in:
                raise SubspaceError(
                    f"columns[{name!r}] holds {some[0] if some[0] < 0 else some[-1]}; the layer has input columns 0 to"
                    f" {d_in - 1}."
                )
            layers[name] = _small((np.arange(out)[:, None] * d_in + some).ravel(), out * d_in)
        return cls(layers, dict(shapes), model, dict(about or {}))

    # -- what is in it ----------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many weights are chosen."""
        return sum(map(len, self.layers.values()))

    @property
    def density(self) -> float:
        """Chosen weights as a share of those of its layers."""
        return self.count / max(1, sum(a * b for a, b in self.shapes.values()))

    @property
    def nbytes(self) -> int:
        """Memory that the indices take, in bytes."""
        return sum(index.nbytes for index in self.layers.values())

    def densities(self) -> dict[str, float]:
        """Chosen share by layer."""
        return {name: len(self.layers[name]) / (a * b) for name, (a, b) in self.shapes.items()}

    @door(SubspaceError)
    def csr(self, name: str) -> sparse.csr_array:
        """One layer as a sparse [out, in] matrix of truth values."""
        (out, d_in), index = self.shapes[self._known(name)], self.layers[name]
        return sparse.csr_array((np.ones(len(index), bool), (index // d_in, index % d_in)), shape=(out, d_in))

    @door(SubspaceError)
    def dense(self, name: str) -> Bool[Tensor, "out in"]:
        """One layer as truth values."""
        out = torch.zeros(self.shapes[self._known(name)], dtype=torch.bool)
        out.view(-1)[torch.from_numpy(self.layers[name].astype(np.int64))] = True
        return out

    @door(SubspaceError)
    def columns(self, name: str) -> np.ndarray:
        """Of each input column (neuron), how many of its weights are chosen, [d_in]."""
        d_in = self.shapes[self._known(name)][1]
        return np.bincount(self.layers[name] % d_in, minlength=d_in)

    @door(SubspaceError)
    def only(self, layers: Collection[str]) -> Mask:
        """The part of the mask in some of its layers, by plain name. Raises SubspaceError for a layer that it has
        not.
        """
        names = set(map(self._known, layers))
        return Mask(
            {name: self.layers[name] for name in self.shapes if name in names},
            {name: shape for name, shape in self.shapes.items() if name in names},
            self.model,
            dict(self.about) | {"only": sorted(names)},
        )

    def __repr__(self) -> str:
        return (
            f"Mask({self.count} weights, {self.density:.3%} of {len(self.shapes)}"
            f" layers{', ' + str(self.about['method']) if 'method' in self.about else ''}{said(*self._feed_forward())}"
            f"{f'; too few tokens reached {len(self.unreached)} of them' if self.unreached else ''})"
        )

    @property
    def unreached(self) -> tuple[str, ...]:
        """Layers of experts that too few tokens were sent to for a score, so that none of their weights is chosen."""
        return tuple(self.about.get("unreached", ()))

    @property
    def coverage(self) -> float | None:
        """The share of the model's feed-forward weights that are in the mask's layers, where these are but a part of
        them (fused experts that cannot be told apart are no linear layers); else None.
        """
        covered, total = self._feed_forward()
        return covered / total if total else None

    def _feed_forward(self) -> tuple[int, int]:
        return sum(a * b for name, (a, b) in self.shapes.items() if in_block(name) is not None), int(
            self.about.get(FEED_FORWARD, 0)
        )

    # -- sets -------------------------------------------------------------------------------------------------------

    def __or__(self, other: Mask) -> Mask:
        """Weights that are in either."""
        return self._combined(other, np.union1d, "union")

    def __and__(self, other: Mask) -> Mask:
        """Weights that are in both."""
        return self._combined(other, lambda a, b: np.intersect1d(a, b, assume_unique=True), "intersection")

    def __sub__(self, other: Mask) -> Mask:
        """Weights that are in this one and not in the other."""
        return self._combined(other, lambda a, b: np.setdiff1d(a, b, assume_unique=True), "difference")

    @door(SubspaceError)
    def iou(self, other: Mask) -> float:
        """Shared over united weights, all layers together; NaN where both are empty. Two random masks that choose a
        share s of every row: about s / (2 - s).
        """
        shared, united = map(sum, zip(*self._overlap(other).values()))
        return shared / united if united else float("nan")

    @door(SubspaceError)
    def iou_by_layer(self, other: Mask) -> dict[str, float]:
        """Shared over united weights of each layer; NaN where both are empty."""
        return {
            name: shared / united if united else float("nan") for name, (shared, united) in self._overlap(other).items()
        }

    def _overlap(self, other: Mask) -> dict[str, tuple[int, int]]:
        self._fits(other)
        out = {}
        for name, index in self.layers.items():
            shared = len(np.intersect1d(index, other.layers[name], assume_unique=True))
            out[name] = (shared, len(index) + len(other.layers[name]) - shared)
        return out

    def _combined(self, other: Mask, how: Callable, word: str) -> Mask:
        if not isinstance(other, Mask):
            return NotImplemented
        self._fits(other)
        layers = {name: how(index, other.layers[name]) for name, index in self.layers.items()}
        # of a union nothing is known where neither mask knows it, of the others where one does not
        mine, theirs = set(self.unreached), set(other.unreached)
        none = mine & theirs if word == "union" else mine | theirs
        both = {"unreached": [name for name in self.shapes if name in none]} if mine | theirs else {}
        return Mask(
            layers,
            self.shapes,
            self.model or other.model,
            {"method": word, "of": [dict(self.about), dict(other.about)]} | self._noted() | both,
        )

    def _noted(self) -> dict[str, Any]:
        """What every mask over these layers notes."""
        return {name: self.about[name] for name in (FEED_FORWARD, "unreached") if name in self.about}

    def _fits(self, other: Mask) -> None:
        if dict(self.shapes) != dict(other.shapes):
            raise SubspaceError(
                f"other: the masks are over different layers ({len(self.shapes)} and {len(other.shapes)}, or of other"
                " shapes); compare masks that were located over the same layers."
            )
        if self.model and other.model and not same_record(self.model, other.model):
            raise SubspaceError(
                f"other: the masks are of different models (weights {self.model[:8]} and {other.model[:8]}); locate"
                " both on the same weights."
            )

    def _known(self, name: str) -> str:
        if not isinstance(name, str) or name not in self.shapes:
            raise SubspaceError(
                f"name={shown(name)}: the mask has no layer {shown(name)};"
                f" {near(name if isinstance(name, str) else '', self.shapes)}."
            )
        return name

    # -- use --------------------------------------------------------------------------------------------------------

    @door(SubspaceError)
    def weights(self, model: HFModel) -> dict[str, Float[Tensor, "out in"]]:
        """New weights of the layers that it touches: the model's, with the chosen ones at 0."""
        every, out = every_linear(model), {}
        for name, index in self.layers.items():
            if name not in every:
                raise SubspaceError(f"the mask has the layer {name!r}, which the model has not; {near(name, every)}.")
            if tuple(every[name].weight.shape) != tuple(self.shapes[name]):
                raise SubspaceError(
                    f"the mask has {name!r} as {tuple(self.shapes[name])}, the model as"
                    f" {tuple(every[name].weight.shape)}: it is a mask of another model."
                )
            if len(index):
                new = every[name].require_floats().weight.detach().clone(memory_format=torch.contiguous_format)
                new.view(-1)[torch.from_numpy(index.astype(np.int64)).to(new.device)] = 0
                out[name] = new
        return out

    @door(SubspaceError)
    def apply(self, model: HFModel, *, strict: bool = True) -> Undo:
        """Set the chosen weights to 0 until `undo()`.

        `strict`: refuse weights other than those that the mask was found on; False for a deliberate transfer (a twin, a
        fine-tuned copy).

        Raises: SubspaceError: an empty mask, or a mask of another model. WeightError: an edit is in force on one of its
            layers (applied twice).
        """
        return put(model, lambda: self._prepared(model, strict))

    @door(SubspaceError)
    def applied(self, model: HFModel, *, strict: bool = True) -> InForce:
        """The model with the chosen weights at 0; on leaving, also by an exception, the weights are as before,
        bit-equal. Raises as `apply`, on entering.
        """
        return InForce(model, lambda: self._prepared(model, strict), model)

    def _prepared(self, model: Any, strict: bool) -> Undo:
        if not self.count:
            raise SubspaceError(
                f"the mask is empty: it would change no weight of its {len(self.shapes)} layers. "
                "Raise sparsity, lower the margin, or look at whether the two sets differ at all."
            )
        new = self.weights(model)
        places = {name: self.layers[name].astype(np.int64).tobytes() for name in new}
        how = {name: f"zeros at {hashlib.sha256(place).hexdigest()}" for name, place in places.items()}
        return prepared_checked(model, new, self.model if strict else "", "mask", how)

    # -- files ------------------------------------------------------------------------------------------------------

    @door(SubspaceError)
    def save(self, path: FilePath) -> Path:
        """Write it as one `.npz` file without pickle, replacing what is there."""
        return write_mask(path, self.layers, self.shapes, self.model, self.about)

    @classmethod
    @door(SubspaceError)
    def load(cls, path: FilePath) -> Mask:
        """Read a mask that `save` wrote. Raises SubspaceError for a missing or damaged file."""
        return cls(*read_mask(path))


def prepared_checked(
    model: Any, new: Mapping[str, Tensor], weights: str, what: str, how: Mapping[str, Hashable] | None = None
) -> Undo:
    """`prepared_weights`, refused on weights other than those that the edit was found on; an edit in force elsewhere is
    not taken for other weights.
    """
    core = getattr(model, "original_model", model)
    parameters = Tree.of(core).parameters()
    in_force = any(getattr(p, EDITED, False) for p in parameters.everywhere())
    if weights and not in_force and not same_in(core, parameters, weights):
        raise SubspaceError(
            f"the {what} was found on weights {weights[:8]}, this model's are {weight_hash(model)[:8]}: it is a {what}"
            " of another model. Locate it anew, or pass strict=False to carry it over on purpose."
        )
    return prepared_weights(model, new, what, how)


@door(SubspaceError)
def random_like(mask: Mask, seed: Seed, by: Literal["rows", "columns"] = "rows") -> Mask:
    """A control of equal density: as many weights of every row at random ("rows"), or the same pattern on other input
    columns ("columns").

    Raises: SubspaceError: an unknown `by`.
    """
    rng, layers = np.random.default_rng(seed), {}
    for name, (out, d_in) in mask.shapes.items():
        row, column = np.divmod(mask.layers[name].astype(np.int64), d_in)
        if by == "columns":
            column = rng.permutation(d_in)[column]
        else:
            counts = np.bincount(row, minlength=out)
            order = np.argsort(rng.random((out, d_in)), axis=1)
            row, at = np.nonzero(np.arange(d_in)[None] < counts[:, None])
            column = order[row, at]
        layers[name] = _small(np.sort(row * d_in + column), out * d_in)
    return Mask(
        layers,
        mask.shapes,
        mask.model,
        {"method": f"random {by}", "seed": seed, "like": dict(mask.about)} | mask._noted(),
    )


@door(SubspaceError)
def chance_iou(density: Fraction) -> float:
    """IoU to expect of two random masks of one density s: s / (2 - s)."""
    return density / (2 - density)


def _small(index: np.ndarray, total: int) -> np.ndarray:
    """Indices in the smallest of two types that holds them."""
    return index.astype(np.int32 if total <= np.iinfo(np.int32).max else np.int64)
