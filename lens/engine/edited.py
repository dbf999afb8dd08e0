"""Edits by forward hooks on any forward or generation through the model, which is what ``lens.edited`` uses.

They go through the places that ``Anatomy`` found, as edited runs do row by row (``rows``): a site means the same
everywhere.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..arguments import HFModel, door, shown
from ..notices import warn
from .anatomy import Anatomy
from .change import Change, resolved
from .change_registry import ACTIVATIONS, ChangeError
from .changes import Undo
from .clock import Clock, running
from .copying import as_tensor
from .edits import Edit, EditError, as_computed
from .errors import UnsupportedModel
from .gated_text import TextGate, text_gates
from .in_force import InForce, Together, put
from .positions import TokenPositions
from .recompute import hold, recomputing, release
from .sites import ORDER
from .walk.blocks import unwrapped


@dataclass(frozen=True)
class Handle:
    """Something in force on a model; ``remove`` undoes it."""

    remove: Callable[[], None]


def install(model: Any, edits: Sequence[Edit]) -> list[Handle]:
    """Puts edits in force on every forward through a model and returns what undoes them.

    An edit with positions applies to the tokens at these positions of the whole text, wherever in a generation they are
    computed; negative positions count from the end of the text so far. An edit without a position applies to every
    token. Padding, in front or behind, has no position and is not edited; positions come from position ids, the
    attention mask and the cache. A model that gives other numbers for padded rows, or after a cache, than for the text
    by itself is refused there. A backward pass under gradient checkpointing computes blocks again under the edits, also
    after they have ended. Removing the last handle warns about edits that no token met. With a cache, what was computed
    under an edit stays in the cache. Text handed to a bridge is tokenised by the bridge; one from ``lens.load`` puts no
    start token in front, another may (``prepend_bos``), and positions then count it.

    Raises:
        EditError: a value that is not a tensor, or a site that was not found in this model; from a forward, positions
            that cannot be told, and ways of calling the model in which it gives other numbers than for the text by
            itself.
        SiteError: no such layer, head, neuron or key.
    """
    undo = put(model, lambda: _prepared(model, edits))
    return [Handle(undo.undo)]


def _prepared(model: Any, edits: Sequence[Edit]) -> Undo:
    edits = as_computed(edits)
    for edit in edits:
        if not isinstance(edit, Edit):
            raise EditError(
                f"edit={edit!r} is no lens.Edit; write lens.Edit(lens.Site('attn_out', layer=9), 'add', value)."
            )
    if any(edit.source_position is not None for edit in edits):
        n_layers = Anatomy.of(model).n_layers
        edits = [as_tensor(edit, n_layers) if edit.source_position is not None else edit for edit in edits]
    for edit in edits:
        if edit.value is not None and not isinstance(edit.value, Tensor):
            raise EditError(
                f"value of the edit at {edit.site} is a {type(edit.value).__name__}; here it must be a tensor, because"
                " a text that is generated has no run to align with. Name what is copied, source_position=, or take a"
                " tensor with run.get(site, layer)[position]."
            )
    if not edits:
        return Undo(model, "no edit", lambda undo: None, ACTIVATIONS)
    try:
        anatomy = Anatomy.of(model)
        groups: dict[tuple[int, float, str], list[tuple[int, Edit, Change]]] = {}
        for number, edit in enumerate(edits):
            name, layer, change = resolved(anatomy, edit)
            name, layer = anatomy.shown(*edit.site.place)
            groups.setdefault((layer, ORDER[name], name), []).append((number, edit, change))
        gates = text_gates(anatomy, edits)
    except UnsupportedModel as error:
        raise EditError(f"edits cannot be put on this model: {error}") from error
    force = _EditHooks(anatomy, edits, groups, gates)
    force.undo = Undo(
        model,
        f"lens.edited with {len(edits)} edit{'s' if len(edits) > 1 else ''} ({edits[0].site})",
        force.install,
        ACTIVATIONS,
    )
    force.undo.after = force.report
    return force.undo


class _EditHooks:
    """Edits in force on a model: their hooks, the positions of the forward under way, and what a checkpointed block is
    told.
    """

    undo: Undo
    clock: Clock

    def __init__(
        self,
        anatomy: Anatomy,
        edits: Sequence[Edit],
        groups: dict[tuple[int, float, str], list[tuple[int, Edit, Change]]],
        gates: dict[int, TextGate],
    ):
        self.anatomy, self.edits, self.groups, self.gates = anatomy, edits, groups, gates
        self.met: set[int] = set()
        self.forwards = 0
        self._undo: list[Callable[[], None]] = []

    def install(self, undo: Undo) -> None:
        undo.back(self.remove)
        self.clock = Clock(self.anatomy, self._started, any(_from_end(e.site.position) for e in self.edits), undo)
        self._undo.append(self.clock.remove)
        self._attach(self._undo)

    def remove(self) -> None:
        release(self.anatomy.hf, self)
        _all(self._undo)

    def report(self) -> None:
        idle = [edit.site for number, edit in enumerate(self.edits) if number not in self.met]
        if self.forwards and idle and sys.exc_info()[0] is None:
            more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
            warn(f"no token met the edit at {idle[0]}{more}; was the text shorter than its position?")
        if self.forwards and sys.exc_info()[0] is None:
            for number, gate in self.gates.items():
                if number in self.met and not gate.opened:
                    warn(f"the gate {gate.gate} of the edit at {self.edits[number].site} was never open.")

    def _attach(self, undo: list[Callable[[], None]], only: int | None = None) -> None:
        for gate in self.gates.values() if only is None else ():
            # first of all, so that at the place of an edit it sees what is there before
            if gate.key is not None:
                undo.append(self.anatomy.attach(*gate.key, gate.reader(self.clock), everywhere=True))
        for (layer, _, name), members in sorted(self.groups.items(), key=lambda g: g[0]):
            # under a changed pattern every block runs by another attention function
            if only is None or layer == only or name == "pattern":
                undo.append(
                    self.anatomy.attach(
                        name, layer, _on_text(self.clock, members, self.met, self.gates), everywhere=True
                    )
                )
            for _, _, what in members:
                # put on later, so that it sees what is edited there
                if what.reads is not None and (only is None or what.reads[1] == only):
                    undo.append(self.anatomy.attach(*what.reads, what.note, everywhere=True))

    def _started(self) -> None:
        if not self.undo.mine():
            raise ChangeError(
                f"model: {self.undo.what} is in force, put there by thread {self.undo.thread.name!r}, and this forward"
                f" of thread {threading.current_thread().name!r} would be edited too. Wait for the end of its with"
                " block, or give each thread a model of its own."
            )
        self.forwards += 1
        if self.anatomy.hf.training and self.gates:
            raise EditError(
                f"when={next(iter(self.gates.values())).gate}: the model is in training mode, where a backward pass may"
                " compute a block again without what its gate had read; call model.eval(), or leave when= out."
            )
        if self.anatomy.hf.training:
            hold(self.anatomy.hf, self)
        if running("checkpoint", "torch.utils.checkpoint"):
            raise EditError(
                "edits are in force on a model whose whole forward is inside torch.utils.checkpoint: after the with "
                "block the backward pass would run it again without them. Call the model outside of checkpoint; "
                "model.gradient_checkpointing_enable() saves memory too, and edits go along with it."
            )

    def moment(self) -> TokenPositions | None:
        return self.clock.placed

    @contextmanager
    def again(self, block: nn.Module, args: tuple[Any, ...], moment: TokenPositions | None) -> Iterator[None]:
        """The edits of one block during a run of it: they are there already the first time, and after the with block no
        more.
        """
        layer = next((l for l, m in enumerate(self.anatomy.layers) if unwrapped(m) is block), None)
        undo: list[Callable[[], None]] = []
        try:
            if layer is not None:
                if not self._undo:
                    self._attach(undo, layer)
                self.anatomy.enter(layer, args)
            with self.clock.at(moment):
                yield
        finally:
            _all(undo)


def _all(undo: list[Callable[[], None]]) -> None:
    while undo:
        undo[-1]()
        undo.pop()


def _from_end(position: Any) -> bool:
    if isinstance(position, slice):
        return any(p is not None and p < 0 for p in (position.start, position.stop))
    return position is not None and any(int(p) < 0 for p in (position if hasattr(position, "__iter__") else [position]))


_FORGOTTEN = (
    "edits are in force on a model of which a part is inside torch.utils.checkpoint by other means than its own: the"
    " backward pass would run that part again without them, and give another gradient. Take that off and call"
    " model.gradient_checkpointing_enable(), which edits go along with; or run under torch.no_grad() where no gradient"
    " is wanted."
)


def _on_text(
    clock: Clock, members: Sequence[tuple[int, Edit, Change]], met: set[int], gates: dict[int, TextGate]
) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        new = x
        if clock.elsewhere:
            return x  # a forward of another thread that was under way when these edits came
        if clock.still or (not clock.counts and recomputing()):
            return x  # a forward of the clock's own, or a block of one that was made without these edits
        if not clock.counts:
            if clock.unknown:
                raise EditError(
                    "while edits are in force the model was called in a way of which its tokens cannot be told; call it"
                    " with input_ids= or inputs_embeds=."
                )
            raise EditError(
                "a block was called by itself while edits are in force: of which token each row is cannot be told. "
                "Call the model itself."
            )
        if clock.forgotten:
            raise EditError(_FORGOTTEN)
        placed: Any = clock.placed  # of a forward that counts
        for number, edit, what in members:
            if placed.known is not None and what.by_position:
                raise EditError(f"value has one entry a position: {placed.known}")
            slots = placed.slots(edit.site.position, x.shape[:2]).to(x.device)
            row, column = (slots >= 0).nonzero(as_tuple=True)
            if len(row):
                met.add(number)
            if number in gates and (len(row) or gates[number].gate.hold != "step"):
                # one that holds follows the text, whether the edit meets these tokens or not
                keep = gates[number].open_at(clock, row, column)
                row, column = row[keep], column[keep]
            if len(row):
                new = new.clone() if new is x else new
                what.write(new, row, column, slots[row, column], edit.site)
        return new

    return change


@door(EditError)
def edited(model: HFModel, *edits: Any) -> InForce | Together:
    """The model with edits in force, for any forward or generation through it; undone on leaving, also after an error.

    Args:
        edits: any number, in any order and mixture, single or in lists: ``Edit`` of activations; and whatever changes
            weights and has a method ``applied(model)``: masks, edits of loss curvature, replacements.

    Inside, call the model as usual: ``model(ids)``, ``model.generate(...)``. Positions count from the start of the
    whole text; while generating with a cache, an edit without a position applies to each new token. Values must be
    tensors. Weights are bit-equal afterwards.

    Raises:
        EditError: an edit's value is a run (there is no run to align it with), or the site is not hookable; something
            that is no edit.
        ChangeError: another thread is computing with the model; and in a forward of a thread that was there before
            these edits and is not the one that put them in force.

    >>> with lens.edited(model, mask, lens.Edit(lens.Site("mlp_out", 3), "zero")): ...        # doctest: +SKIP
    """
    listed = list(_flat(edits))
    if all(isinstance(edit, Edit) for edit in listed):
        return InForce(model, lambda: _prepared(model, listed), model)
    weights = [edit for edit in listed if not isinstance(edit, Edit)]
    for i, edit in enumerate(listed):
        if not isinstance(edit, Edit) and not callable(getattr(edit, "applied", None)):
            raise EditError(
                f"edits[{i}]={shown(edit)} is no edit; expected lens.Edit, or something with applied(model): a mask, an"
                " edit of loss curvature, a replacement."
            )
    own = [edit for edit in listed if isinstance(edit, Edit)]
    parts = [edit.applied(model) for edit in weights]
    return Together([*parts, InForce(model, lambda: _prepared(model, own), model)] if own else parts, model)


def _flat(edits: Iterable[Any]) -> Iterator[Any]:
    """Edits out of lists and tuples of them."""
    for edit in edits:
        if isinstance(edit, list | tuple):
            yield from _flat(edit)
        else:
            yield edit
