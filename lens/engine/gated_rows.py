"""Edits with gates in the rows of a sweep, as plain edits of the tokens at which their gates are open.

Where no edit of a row acts before its gate is read, the gate sees the base run, and is read there once a prompt. Where
one does, the row is run with these edits alone, and the gate reads what that gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .copying import positions_of, source_of
from .edits import Edit, EditError, as_computed
from .gate_reading import among, held, named, open_at, part_of
from .gates import Gate, Place, place_of, require_below
from .runs import Runs, Source
from .sites import SiteError, indices, of_two_axes

if TYPE_CHECKING:
    from .model import Model

Row = tuple[int, Sequence[Edit]]
#: Sites that a row's own run can be asked for.
_RECORDED = ("resid_pre", "resid_post", "q", "k", "v")


def without_gates(model: Model, base: Runs, rows: Sequence[Row], **how: Any) -> Sequence[Row]:
    """The rows with plain edits in place of gated ones; the very rows where there are none of these.

    An edit whose gate is open at every token that it meets is the plain edit itself, one whose gate is shut at all of
    them is left out: a row without edits has the base run's numbers to the bit.

    Args: how: what is frozen, and the stop function, of the rows' own runs as of these.

    Raises:
        EditError: a gate that is read above its edit, gates that switch each other; a gate of the probability of a
            step before, of which a sweep has none. SiteError: a site that the model does not have. GateError.
    """
    if not any(getattr(edit, "when", None) is not None for _, edits in rows for edit in edits):
        return rows
    known = _Gates(model, base, how)
    out = [_Row(prompt, list(as_computed(edits))) for prompt, edits in rows]
    checked: set[tuple[int, ...]] = set()
    for row in out:
        row.places = [known.places(edit) for edit in row.edits]
        if (key := tuple(map(id, row.edits))) not in checked:
            require_below(row.edits, row.places, EditError)
            checked.add(key)
    while waiting := [row for row in out if row.gated]:
        own: list[tuple[_Row, int, list[Edit]]] = []
        for row in waiting:
            # the lowest gate: no edit that acts before it waits for one of its own
            number = min(row.gated, key=row.read_at)
            earlier = row.before(number)
            if earlier:
                own.append((row, number, earlier))
            else:
                known.resolve(row, number, known.of_base(row, number))
        if own:
            for (row, number, _), opened in zip(own, known.of_rows(own)):
                known.resolve(row, number, opened)
    return [(row.prompt, [edit for edit in row.edits if edit is not None]) for row in out]


@dataclass
class _Row:
    """One row: its edits, None where a gate has shut one out, and of each where it acts and where its gate reads."""

    prompt: int
    edits: list[Any]
    places: Sequence[tuple[Place, Place | None]] = ()

    @property
    def gated(self) -> list[int]:
        return [i for i, edit in enumerate(self.edits) if edit is not None and edit.when is not None]

    def read_at(self, number: int) -> Place:
        """Where a gate is read; one of tokens before everything."""
        return self.places[number][1] or (-1, 0)

    def before(self, number: int) -> list[Edit]:
        """The edits that have acted when a gate is read."""
        at = self.places[number][1]
        return [
            edit
            for i, (edit, (acts, _)) in enumerate(zip(self.edits, self.places))
            if edit is not None and at is not None and acts < at and i != number
        ]


class _Gates:
    """What gates say of some runs, each read once a prompt in one call."""

    def __init__(self, model: Model, base: Runs, how: dict[str, Any]):
        self.model, self.base, self.how = model, base, how
        self._of_base: dict[tuple[int, int], Tensor] = {}
        self._again: dict[str, Runs] = {}

    def key(self, gate: Gate) -> tuple[str, int]:
        """Name and layer of what it reads."""
        site: Any = gate.site
        layer = 0 if site.name == "embed" else indices(site.layer, self.model.n_layers, "layer")[0]
        return site.name, layer

    def places(self, edit: Any) -> tuple[Place, Place | None]:
        """Where an edit acts, and where its gate is read."""
        anatomy, gate = self.model.anatomy, edit.when
        acts = place_of(*anatomy.layer_of(*edit.site.place))
        if gate is not None and gate.kind == "probability" and not gate.always:
            raise EditError(
                f"when={gate}: a sweep has no step before, whose probability could be read; lens.generate has, or take"
                " a gate of activations or tokens."
            )
        if gate is None or gate.site is None:
            return acts, None
        key = anatomy.layer_of(gate.site.name, gate.site.layer)
        anatomy.require(*key)
        return acts, place_of(*key)

    def of_base(self, row: _Row, number: int) -> Tensor:
        """Where a gate is open in the base run, of every token of its prompt."""
        gate, prompt, base = row.edits[number].when, row.prompt, self.base
        if (id(gate), prompt) not in self._of_base:
            if gate.always:
                opened = torch.ones(base.lengths[prompt], dtype=torch.bool)
            elif gate.kind == "token":
                opened = among(base.ids[prompt], gate.tokens).cpu()
            else:
                opened = self.said(gate, prompt, self._activations(gate, prompt))
            self._of_base[id(gate), prompt] = opened
        return self._of_base[id(gate), prompt]

    def _activations(self, gate: Gate, prompt: int) -> Tensor:
        name, layer = self.key(gate)
        runs, start = self.base, int(self.base.starts[prompt])
        try:
            x: Tensor = runs._get(name, layer)
        except SiteError:
            self.model.require(name, layer)  # says where the model has none
            if not runs.of_ids:
                raise
            if name not in self._again:
                self._again[name] = self.model.record(runs.ids, keep=(name,))
            x = self._again[name]._get(name, layer)
        return x[start : start + runs.lengths[prompt]]

    def of_rows(self, own: Sequence[tuple[_Row, int, list[Edit]]]) -> list[Tensor]:
        """Where gates are open in rows' own runs, under the edits that have acted when they are read."""
        lengths = self.base.lengths
        keys = [self.key(row.edits[number].when) for row, number, _ in own]
        for (row, number, _), key in zip(own, keys):
            if key[0] not in _RECORDED:
                raise EditError(
                    f"when={row.edits[number].when}: it is read after another edit of the same run has acted; read it"
                    f" at one of {', '.join(_RECORDED)} there."
                )
        reads = [[n - 1] for n in lengths]
        rows = [(row.prompt, edits) for row, _, edits in own]
        found = self.model.run(self.base, rows, reads, record=sorted({*keys}), **self.how)
        out = []
        for i, ((row, number, _), key) in enumerate(zip(own, keys)):
            gate = row.edits[number].when
            x = self._activations(gate, row.prompt)
            if (new := found.recorded[key][i]) is not None:
                start, tensor = new
                x = torch.cat([x[:start], tensor.to(x)])
            out.append(self.said(gate, row.prompt, x))
        return out

    def said(self, gate: Gate, prompt: int, x: Tensor) -> Tensor:
        """What a gate of activations says at each token of a prompt, on the CPU."""
        opened = open_at(gate, part_of(gate, x)).cpu()
        at = named(gate, self.base.ids[prompt])
        return opened if at is None else opened & at.cpu()

    def resolve(self, row: _Row, number: int, opened: Tensor) -> None:
        """Puts the plain edit of the tokens at which a gate is open in its place."""
        edit = row.edits[number]
        position = indices(edit.site.position, self.base.lengths[row.prompt], "position")
        opened = held(edit.when, opened, position)
        slots = [k for k, p in enumerate(position) if bool(opened[p])]
        plain = replace(edit, when=None)
        if not slots:
            row.edits[number] = None
        elif len(slots) == len(position):
            row.edits[number] = plain
        else:
            row.edits[number] = _at(plain, slots, position, source_of(edit, row.prompt, len(self.base)))


def _at(edit: Edit, slots: list[int], position: list[int], value: Any) -> Edit:
    """An edit at some of the positions that it names."""
    site = replace(edit.site, position=tuple(position[k] for k in slots))
    if isinstance(value, Source) and edit.source_position is not None:
        taken = positions_of(edit, value, position)
        return replace(edit, site=site, value=value, source_position=tuple(taken[k] for k in slots))
    axes = 1 + of_two_axes(edit.site.place[0]) if edit.site.of is None else 1
    if isinstance(value, Tensor) and value.ndim > axes and len(value) > 1:
        value = value[slots]
    return replace(edit, site=site, value=value)
