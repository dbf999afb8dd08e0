"""Gates of edits that are in force on a model: what they have read in the forward under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .anatomy import Anatomy
from .clock import Clock
from .edits import Edit, EditError
from .gates import Gate, among, open_at, part_of, place_of, require_below
from .positions import TokenPositions


class TextGate:
    """A gate on the tokens of forwards.

    Attributes:
        key: name and layer of what it reads, None of one that reads no activation.
        opened: whether it was open at some token that its edit met.
    """

    def __init__(self, gate: Gate, key: tuple[str, int] | None):
        self.gate, self.key, self.opened = gate, key, False
        self._of: TokenPositions | None = None
        self._open: Tensor | None = None

    def reader(self, clock: Clock) -> Callable[[Tensor], Tensor]:
        """A hook that reads activations ``[batch, n, ...]`` and hands them on as they are."""

        def read(x: Tensor) -> Tensor:
            placed = clock.placed
            if clock.elsewhere or clock.still or not clock.counts or placed is None:
                return x
            opened = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            there = placed.slots(None, (x.shape[0], x.shape[1])).to(x.device) >= 0
            if self.gate.kind == "function":  # a person's, which is given one row's tokens
                for row in there.any(1).nonzero().flatten().tolist():
                    mine = there[row]
                    opened[row, mine] = open_at(self.gate, part_of(self.gate, x[row, mine].detach())).to(x.device)
            else:
                every = open_at(self.gate, part_of(self.gate, x.detach().flatten(0, 1)))
                opened = every.reshape(opened.shape).to(x.device) & there
            self._of, self._open = placed, opened
            return x

        return read

    def open_at(self, clock: Clock, row: Int[Tensor, " n"], column: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Where it is open, of the tokens that its edit meets.

        Raises: EditError: it was not read before the edit acts; a gate of tokens, where the model was given
            embeddings.
        """
        keep = self._kept(clock, row, column)
        self.opened = self.opened or bool(keep.any())
        return keep

    def _kept(self, clock: Clock, row: Tensor, column: Tensor) -> Tensor:
        if self.gate.always:
            return torch.ones_like(row, dtype=torch.bool)
        if self.key is None:
            tokens = clock.tokens
            if tokens is None or tokens.ndim != 2 or tokens.is_floating_point():
                raise EditError(f"when={self.gate}: the model was given embeddings; call it with input_ids=.")
            return among(tokens.to(row.device)[row, column], tuple(self.gate.tokens))
        if self._open is None or self._of is not clock.placed:
            raise EditError(f"the gate {self.gate} is read after its edit in this model; read it in a lower layer.")
        return self._open.to(row.device)[row, column]


def text_gates(anatomy: Anatomy, edits: Sequence[Edit]) -> dict[int, TextGate]:
    """The gates of edits, by the edit's number.

    Raises:
        EditError: a gate that is read above its edit, gates that switch each other; one of the probability of the step
            before. SiteError: a site that the model does not have.
    """
    gates: dict[int, TextGate] = {}
    places = []
    for number, edit in enumerate(edits):
        gate, read = edit.when, None
        if gate is not None and gate.kind == "probability" and not gate.always:
            raise EditError(
                f"when={gate}: the edits of a with block see no step before, whose probability could be read;"
                " lens.generate does, or take a gate of activations or tokens."
            )
        if gate is not None:
            key = None
            if gate.site is not None:
                key = anatomy.shown(gate.site.name, gate.site.layer)
                anatomy.require(*anatomy.layer_of(gate.site.name, gate.site.layer))
                read = place_of(*anatomy.layer_of(gate.site.name, gate.site.layer))
            gates[number] = TextGate(gate, key)
        places.append((place_of(*anatomy.layer_of(*edit.site.place)), read))
    require_below(edits, places, EditError)
    return gates
