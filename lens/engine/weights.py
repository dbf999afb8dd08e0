"""New weights for a model's linear layers for a while: written in place, and afterwards the old ones again, bit for
bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import Error
from ..models.around import Around
from ..models.fused import fused_layers
from .changes import Undo
from .in_force import InForce, put
from .linear import Linear, LinearError, every_linear, near
from .recompute import Ended, hold, release
from .walk.decoder import WEIGHT_EDIT

#: Set on a layer's parameter while an edit is in force on it: True, or, where it holds the matrices of experts, the
#: numbers of those that are edited.
EDITED = WEIGHT_EDIT


class WeightError(Error, ValueError):
    """New weights that cannot be written: unknown layer, wrong shape, not finite, or an edit that is already in
    force.
    """


@dataclass
class _WeightWrite:
    """A parameter, the rows of it that are written (None: all), what they were, and whether an edit is in force on the
    parameter itself. expert: whose matrix of those in it. put_back: whether it is what it was.
    """

    parameter: nn.Parameter
    rows: Tensor | None
    transposed: bool
    marked: bool
    expert: int | None = None
    old: Tensor = field(init=False)
    put_back: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of the parameter is written."""
        return self.rows is None and self.expert is None

    def __post_init__(self) -> None:
        self.old = (self._view() if self.rows is None else self._view()[self.rows]).detach().clone()

    def _view(self) -> Tensor:
        own = self.parameter if self.expert is None else self.parameter[self.expert]
        return own.T if self.transposed else own

    @torch.no_grad()
    def write(self, weight: Tensor) -> None:
        if self.marked:
            setattr(self.parameter, EDITED, True if self.expert is None else self._others() | {self.expert})
        if self.rows is None:
            self._view().copy_(weight)
        else:
            self._view()[self.rows] = weight.to(self.parameter)

    def holds(self, weight: Tensor) -> bool:
        """Whether what was written is there, bit for bit."""
        own, new = self._view() if self.rows is None else self._view()[self.rows], weight.to(self.parameter)
        bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[own.element_size()]
        return torch.equal(own.view(bits), new.view(bits))

    def restore(self) -> None:
        self.write(self.old)
        if self.marked and (others := self._others()):
            setattr(self.parameter, EDITED, others)
        elif self.marked:
            self.parameter.__dict__.pop(EDITED, None)
        self.put_back = True

    def _others(self) -> frozenset[int]:
        """The other experts on whose part of the parameter an edit is in force."""
        now = getattr(self.parameter, EDITED, None)
        return now - {self.expert} if isinstance(now, frozenset) else frozenset()


def edit_in_force(linear: Linear) -> bool:
    """Whether an edit of weights is in force on a layer; on an expert, whatever is on the others."""
    now = getattr(linear.parameter, EDITED, False)
    return linear.expert in now if isinstance(now, frozenset) else bool(now)


def apply_weights(model: Any, new: Mapping[str, Float[Tensor, "out in"]]) -> Undo:
    """Write new weights into the model's linear layers, and say how to undo it. Costs one copy of each edited weight.

    A backward pass through a forward that was made under the edit has to come before the undoing; under gradient
    checkpointing it raises WeightError otherwise.

    Args:
        model: a plain module or a bridge; a bridge and the plain model that shares its parameters are changed together.
            Where a bridge runs copies of the parts of a fused layer (query, key and value in one), the layer and its
            parts are changed together too.
        new: plain name of a layer -> its new weight [out, in], of any device and floating dtype.

    Raises: WeightError: an edit is in force on one of the layers (or on what it is fused with), or an adapter, a layer
        is quantised or unknown, has another shape, or would get numbers that are not finite. ChangeError: another
        thread is computing with the model, or a computation of this thread's own is under way. Nothing is written then.
    """
    return put(model, lambda: prepared_weights(model, new))


def prepared_weights(
    model: Any,
    new: Mapping[str, Float[Tensor, "out in"]],
    what: str = "an edit of weights",
    how: Mapping[str, Hashable] | None = None,
) -> Undo:
    """The change that `apply_weights` puts in force, checked and not begun. Arguments and errors are its own.

    `how`: of layers whose new weight follows from the old one bit for bit, what determines it; where the same is done
    to the same weights again, their hash is known. Those tensors of `new` are then this edit's alone.
    """
    if not new:
        raise WeightError("new is empty: an edit that changes no layer; give at least one weight.")
    every = every_linear(model)
    chosen: list[tuple[Linear, Tensor, list[_Twin]]] = []
    twins, lost = _twins(model)
    for name, weight in new.items():
        if name not in every:
            raise WeightError(f"new: {name!r} is no linear layer of the model; {near(name, every)}.")
        try:
            linear = every[name].require_floats().require_resident("an edit of it")
        except LinearError as error:
            raise WeightError(f"new: {error}") from None
        if tuple(weight.shape) != tuple(linear.weight.shape):
            raise WeightError(
                f"new[{name!r}] has shape {tuple(weight.shape)}; expected [out, in] = {tuple(linear.weight.shape)}."
            )
        if not torch.isfinite(weight).all():
            raise WeightError(
                f"new[{name!r}] holds {int((~torch.isfinite(weight)).sum())} numbers that are not finite; look at what"
                " made it."
            )
        own = twins.get(id(linear.module), [])
        if _marked(linear, own):
            raise WeightError(_TWICE.format(name))
        if id(linear.module) in lost:
            raise WeightError(
                f"{name}: the bridge runs copies of this layer's parts that could not be matched with it, so that an"
                " edit would reach only one of them; edit the plain Hugging Face model."
            )
        chosen.append((linear, weight, own))
    touched = [(id(linear.parameter), linear.expert) for linear, *_ in chosen] + [
        (id(twin.module.weight), None) for *_, own in chosen for twin in own if twin.part
    ]
    if len(set(touched)) < len(touched):
        raise WeightError(
            "new: two of the layers share one parameter, or one is a part of the other; give only one of them."
        )

    def make(undo: Undo) -> None:
        again = Ended(
            WeightError(
                "backward() came after an edit of weights had ended: gradient checkpointing would compute the blocks"
                " again with the old weights. Call backward() while the edit is in force, or take gradient"
                " checkpointing off before the forward (model.gradient_checkpointing_disable())."
            )
        )
        module = getattr(model, "original_model", model)
        around = Around(module, [p for linear, _, own in chosen for p in _parameters(linear, own)])
        writes: list[tuple[_WeightWrite, Hashable | None, Tensor]] = []
        undo.back(lambda: _undone(around, [written for written, *_ in writes]))
        undo.back(lambda: _ended(module, again))
        hold(module, again)
        for linear, weight, own in chosen:
            if _marked(linear, own):
                raise WeightError(_TWICE.format(linear.name))
            places = [(_WeightWrite(linear.parameter, None, linear.transposed, True, linear.expert), weight)]
            places += [
                (
                    _WeightWrite(twin.module.weight, twin.written, twin.transposed, twin.part),
                    weight if twin.read is None else weight[twin.read.to(weight.device)],
                )
                for twin in own
            ]
            for written, values in places:
                undo.back(written.restore)
                # what a twin gets depends on more than what it was
                done = None if how is None or linear.name not in how or own else how[linear.name]
                writes.append((written, done and (linear.transposed, linear.expert, done), values))
                written.write(values)
        undo.back(around.ending)
        around.written([(w.parameter, done, partial(w.holds, values)) for w, done, values in writes])

    return Undo(
        model,
        f"{what} of {len(chosen)} layer{'s' if len(chosen) > 1 else ''}"
        f" ({next(iter(new))}{', ...' if len(chosen) > 1 else ''})",
        make,
    )


_TWICE = (
    "{}: an edit is in force on this layer already, so this one would be applied twice; undo it first (leave its with"
    " block, or call undo(); lens.restore(model) undoes what nobody holds)."
)


def _marked(linear: Linear, own: list[_Twin]) -> bool:
    """Whether an edit is in force on a layer, or on what it is fused with."""
    return edit_in_force(linear) or any(getattr(twin.module.weight, EDITED, False) for twin in own if twin.part)


def _parameters(linear: Linear, own: list[_Twin]) -> list[nn.Parameter]:
    """What is written where a layer is edited."""
    return [linear.parameter, *(twin.module.weight for twin in own)]


def _undone(around: Around, writes: list[_WeightWrite]) -> None:
    """Tells what is known of the weights again, now that they are what they were."""
    left = {id(written.parameter) for written in writes if not written.put_back}
    done = [written for written in writes if id(written.parameter) not in left]
    around.undone([w.parameter for w in done if w.whole], [w.parameter for w in done if not w.whole])


def _ended(module: nn.Module, again: Ended) -> None:
    again.over = True
    release(module, again)


@dataclass(frozen=True)
class _Twin:
    """Another layer that holds the same numbers: the rows that it reads of the edited one, and those that are written
    in it (None: all).
    """

    module: Any
    part: bool
    read: Tensor | None
    written: Tensor | None
    transposed: bool = False


def _twins(model: Any) -> tuple[dict[int, list[_Twin]], set[int]]:
    """By id of a layer's module, what must change with it behind a bridge; and the modules for which that could not be
    told.
    """
    found, lost = fused_layers(getattr(model, "original_model", model))
    out: dict[int, list[_Twin]] = {}
    for one in found:
        out[id(one.whole)] = [_Twin(part, True, rows, None) for part, rows in zip(one.parts, one.rows)]
        for part, rows in zip(one.parts, one.rows):
            out[id(part)] = [_Twin(one.whole, False, None, rows.to(one.whole.weight.device), one.transposed)]
    return out, lost


def edited_weights(model: Any, new: Mapping[str, Float[Tensor, "out in"]]) -> InForce:
    """New weights inside the with block; on leaving it, also by an exception, the old ones are back, bit-equal. Yields
    the model; raises as `apply_weights`.
    """
    return InForce(model, lambda: prepared_weights(model, new), model)
