"""Gates of edits that are in force on a model: what they have read in the forward under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .anatomy import Anatomy
from .clock import Clock, running
from .edits import Edit, EditError
from .gate_reading import among, named, open_at, part_of
from .gates import Gate, place_of, require_below
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
        #: of a gate that holds: of the forward under way, and of the one before it, by row whether it is open
        self._now: _Held | None = None
        self._before: _Held | None = None

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
            embeddings; a gate that holds, in a forward of which it cannot be told which text it goes on with.
        """
        keep = self._kept(clock, row, column)
        self.opened = self.opened or bool(keep.any())
        return keep

    def _kept(self, clock: Clock, row: Tensor, column: Tensor) -> Tensor:
        if self.gate.always:
            return torch.ones_like(row, dtype=torch.bool)
        if self.gate.hold == "step":
            return self._said(clock, row, column)
        at, before = self._of_texts(clock, row.device)
        if self.gate.hold == "prompt" and before is not None:
            self._now = _Held(clock.placed, before)
            return before[row]
        rows = torch.arange(len(at), device=at.device)
        if self.gate.hold == "prompt":
            # a row of padding alone has no end
            ends = at.argmax(1)
            said = self._said(clock, rows, ends) & (at[rows, ends] >= 0)
            self._now = _Held(clock.placed, said)
            return said[row]
        first = torch.full_like(at, at.shape[1])
        column_of = torch.where(self._said(clock, row, column), column, at.shape[1])
        first[row, column] = column_of
        begin = first.amin(1) if first.shape[1] else first.new_zeros(len(first))
        begin = begin if before is None else begin.masked_fill(before, -1)
        self._now = _Held(clock.placed, begin < at.shape[1])
        return column >= begin[row]

    def _said(self, clock: Clock, row: Tensor, column: Tensor) -> Tensor:
        """What it says at some tokens of the forward under way."""
        there: Tensor | None = None
        if self.key is None or self.gate.tokens:
            tokens = clock.tokens
            if tokens is None or tokens.ndim != 2 or tokens.is_floating_point():
                raise EditError(f"when={self.gate}: the model was given embeddings; call it with input_ids=.")
            ids = tokens.to(row.device)[row, column]
            there = among(ids, tuple(self.gate.tokens)) if self.key is None else named(self.gate, ids)
            if self.key is None and there is not None:
                return there
        if self._open is None or self._of is not clock.placed:
            raise EditError(f"the gate {self.gate} is read after its edit in this model; read it in a lower layer.")
        said = self._open.to(row.device)[row, column]
        return said if there is None else said & there

    def _of_texts(self, clock: Clock, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Positions of the forward's tokens, ``[row, column]``, and what the gate held of each row before it; None of
        texts that begin.
        """
        placed: Any = clock.placed  # of a forward that counts
        if self._now is not None and self._now.placed is not placed:
            self._before = self._now
        tokens: Any = clock.tokens
        at, known = placed.at.to(device).expand(tokens.shape[0], -1), self._before
        if placed.known is not None or placed.before is None:
            raise EditError(f"{self._named}: {placed.known or 'how many tokens came before is not known'}.")
        if running("_beam_search", "transformers.generation") or running("_assisted_decoding"):
            raise EditError(f"{self._named}: beams and drafts change which text a row is; generate without them.")
        if placed.before == 0:
            longer = known is not None and (len(known.open), known.length + 1) == tuple(at.shape)
            if self.gate.hold == "prompt" and longer and running("generate"):
                raise EditError(
                    f"{self._named}: the whole text is read again at every step, where the prompt's end cannot be told;"
                    " generate with a cache, or by lens.generate."
                )
            return at, None
        if known is None or (len(known.open), known.length) != (len(at), placed.before) or not clock.goes_on:
            raise EditError(
                f"{self._named}: this forward goes on with {placed.before} tokens that are not those read last under"
                " this edit; read each text from its start within the with block, one after another, or take"
                " lens.generate."
            )
        return at, known.open.to(device)

    @property
    def _named(self) -> str:
        return f"when={self.gate}"


@dataclass(frozen=True)
class _Held:
    """What a gate that holds is at the end of a forward. Attributes: open: ``[batch]``."""

    placed: Any
    open: Tensor

    @property
    def length(self) -> int:
        """Tokens so far, padding included."""
        return int(self.placed.before) + int(self.placed.at.shape[1])


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
