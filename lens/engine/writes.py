"""What rows of a batch are to hold where, on the paths that run a model's own modules: edits, frozen sites, looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .anatomy import Anatomy
from .change import Change, resolved
from .edits import Activations, Edit, as_computed
from .sites import Site, indices


class Plain(Activations):
    """One prompt's activations: ``get(site, layer)`` is ``[position, (head,) width]``."""

    def get(self, site: str, layer: int) -> Tensor:
        """A site's activation in a layer of the unedited run."""
        raise NotImplementedError


@dataclass
class Write:
    """A change of one row of a batch at some positions."""

    row: int
    position: list[int]
    change: Change
    site: Site


@dataclass
class Writes:
    """Everything that happens at one site of one layer, in this order: rows held at the unedited run's value, edits,
    looks, and notes for edits that are computed from what is there.
    """

    frozen: dict[int, None] = field(default_factory=dict)
    held: Tensor | None = None
    edits: list[Write] = field(default_factory=list)
    look: dict[int, Tensor] | None = None
    notes: list[Change] = field(default_factory=list)

    def on_rows(self, rows: range, offset: int = 0) -> Callable[[Tensor], Tensor]:
        """The same for some rows, as one change of ``[row, position - offset, ...]``."""
        mine = [w for w in self.edits if w.row in rows]
        frozen = [r - rows.start for r in rows if r in self.frozen]

        def change(x: Tensor) -> Tensor:
            new = x.clone() if mine or frozen else x
            if frozen:
                held: Any = self.held  # there where rows are
                new[torch.tensor(frozen, device=x.device)] = held[offset:].to(x)
            for w in mine:
                n = len(w.position)
                row = torch.full((n,), w.row - rows.start, device=x.device)
                column = torch.tensor(w.position, device=x.device) - offset
                w.change.write(new, row, column, torch.arange(n, device=x.device), w.site)
            if self.look is not None:
                self.look.update((r, new[r - rows.start].clone()) for r in rows)
            for what in self.notes:
                what.note(new)
            return new

        return change


def writes_of(
    anatomy: Anatomy,
    rows: Sequence[Sequence[Edit]],
    length: int,
    *,
    base: Plain | None = None,
    freeze: Sequence[str] = (),
    look: dict[tuple[str, int], dict[int, Tensor]] | None = None,
) -> dict[tuple[str, int], Writes]:
    """The writes of edited runs of one prompt by site and layer; values that are runs are read at the same positions.

    Args:
        base: the unedited run. freeze: ``attention`` (with what runs beside it) and/or ``mlp``: what these add is the
            unedited run's in every row; heads that a row edits keep the edit.
        look: sites whose activations are wanted, and where to put them by row.

    Raises:
        SiteError: a site that is not there.
    """
    out: dict[tuple[str, int], Writes] = {}

    def at(site: str, layer: int) -> Writes:
        return out.setdefault((site, layer), Writes())

    for r, edits in enumerate(rows):
        for edit in as_computed(edits):
            name, layer, change = resolved(anatomy, edit, length)
            position = indices(edit.site.position, length, "position")
            if isinstance(edit.value, Plain):
                value = edit.value.get(name, layer)[position]
                value = value if change.sub is None else value[:, change.sub]
                change.value = value if change.key is None else value[..., change.key]
            if position:
                at(name, layer).edits.append(Write(r, position, change, edit.site))
                if change.reads is not None:
                    at(*change.reads).notes.append(change)
    if base is not None:
        for layer in range(anatomy.n_layers):
            if "attention" in freeze:
                anatomy.require("attn_out", layer)
                own = {w.row for w in out[("z", layer)].edits} if ("z", layer) in out else set()
                _hold(at("attn_out", layer), [r for r in range(len(rows)) if r not in own], base.get("attn_out", layer))
                if own:
                    _hold(at("z", layer), sorted(own), base.get("z", layer))
            if "attention" in freeze and anatomy.has("mixer", layer):
                _hold(at("mixer", layer), range(len(rows)), base.get("mixer", layer))
            if "mlp" in freeze:
                anatomy.require("mlp_out", layer)
                _hold(at("mlp_out", layer), range(len(rows)), base.get("mlp_out", layer))
    for (site, layer), into in (look or {}).items():
        at(*anatomy.layer_of(site, layer)).look = into
    return out


def _hold(writes: Writes, rows: Sequence[int], value: Tensor) -> None:
    writes.frozen.update(dict.fromkeys(rows))
    writes.held = value
