"""What edits do to the tokens of one forward, row by row, with their gates, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ..anatomy import Anatomy
from ..change import Change, resolved
from ..edits import Edit, EditError, as_computed
from ..gate_reading import above, among, answers, named, part_of, readings
from ..gates import MEASURED, place_of, require_below
from ..positions import TokenPositions
from ..sites import Site

#: Tokens that must be shared by all texts to be read once for all.
_SHARED = 2
#: A site's name and layer, as the forward meets it.
Key = tuple[str, int]


@dataclass(frozen=True)
class Tokens:
    """The tokens of a forward, flat: all that its tensors hold, row after row.

    Attributes:
        ids, position: ``[n]``; a position of -1 is padding. row: ``[n]``, which row of the batch.
        lengths: of each row, how long its text is with these. last: ``[rows]``, where each row's newest token is.
        who: of each row of the batch, the texts that it belongs to: one, or all that begin alike.
    """

    ids: Int[Tensor, " n"]
    row: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    lengths: Sequence[int]
    last: Int[Tensor, " rows"]
    who: Sequence[Sequence[int]]

    def of(self, spec: Any) -> tuple[Tensor, Tensor]:
        """Which tokens a position names, and the place of each among those named; negative ones count from the end of
        a row's text.
        """
        if spec is None:
            index = (self.position >= 0).nonzero()[:, 0]
            return index, self.position[index]
        entry = torch.full_like(self.position, -1)
        for row, length in enumerate(self.lengths):
            if isinstance(spec, slice):
                wanted = list(range(*spec.indices(length)))
            else:
                named = [int(p) for p in (spec if hasattr(spec, "__iter__") else [spec])]
                wanted = [p + length if p < 0 else p for p in named]
            mine = self.row == row
            for place, p in enumerate(wanted):
                if p >= 0:
                    entry[mine & (self.position == p)] = place
        index = (entry >= 0).nonzero()[:, 0]
        return index, entry[index]


@dataclass
class Act:
    """One edit on the tokens that it meets in a forward; `shut` until its gate has been read.

    Attributes: look: the tokens at which that is done.
    """

    number: int
    change: Change
    index: Int[Tensor, " n"]
    entry: Int[Tensor, " n"]
    look: Int[Tensor, " m"]
    shut: bool = False


@dataclass
class Seen:
    """What a gate has let through: by text, the positions at which it was open; and the largest number that it read."""

    open: dict[int, list[int]] = field(default_factory=dict)
    most: float = float("-inf")


class Acts:
    """The edits of some texts, resolved once, and what they do in the forward under way.

    Args:
        edits: of each text. capture: sites whose activations are kept where a new token is read off.
        factor: by how much edits act at a step.
    """

    def __init__(
        self,
        anatomy: Callable[[], Anatomy],
        edits: Sequence[Sequence[Edit]],
        factor: Callable[[int], float] = lambda step: 1.0,
        capture: Sequence[Site] = (),
    ):
        self.edits: list[Edit] = list({id(e): e for of in edits for e in as_computed(of)}.values())
        self.texts = [{i for i, of in enumerate(edits) if any(e is edit for e in of)} for edit in self.edits]
        self.everywhere = [len(texts) == len(edits) for texts in self.texts]
        self.factor, self.capture = factor, list(capture)
        #: by site, which edits are read there for their gates, act there, and what is kept
        self.gates: dict[Key, list[int]] = {}
        self.writes: dict[Key, list[int]] = {}
        self.looks: dict[Key, list[int]] = {}
        #: by site, the edits that are computed from what it is
        self.notes: dict[Key, list[int]] = {}
        self._change: list[Change] = []
        self.seen = [Seen() for _ in self.edits]
        #: of each edit whose gate holds, by text, whether it is open from here on
        self._holds: list[dict[int, bool]] = [{} for _ in self.edits]
        #: edits that some token met, whatever their gates said
        self.met: set[int] = set()
        #: of each site that is captured, by text
        self.captured: list[dict[int, list[Tensor]]] = [{} for _ in self.capture]
        self.acts: dict[int, list[Act]] = {}
        self._earlier: list[tuple[int, dict[int, list[Act]]]] = []
        self.tokens: Tokens | None = None
        if self.edits or self.capture:
            self._resolve(anatomy())
        #: every site at which something is read or written
        self.places = frozenset([*self.gates, *self.writes, *self.looks, *self.notes])

    def _resolve(self, anatomy: Anatomy) -> None:
        places = []
        for number, edit in enumerate(self.edits):
            name, layer, change = resolved(anatomy, edit)
            self._change.append(change)
            self.writes.setdefault((name, layer), []).append(number)
            if change.reads is not None:
                self.notes.setdefault(change.reads, []).append(number)
            read, gate = None, edit.when
            if gate is not None and gate.site is not None:
                key = anatomy.layer_of(gate.site.name, gate.site.layer)
                anatomy.require(*key)
                self.gates.setdefault(key, []).append(number)
                read = place_of(*key)
            places.append((place_of(name, layer), read))
        require_below(self.edits, places, EditError)
        for number, site in enumerate(self.capture):
            key = anatomy.layer_of(site.name, site.layer)
            anatomy.require(*key)
            self.looks.setdefault(key, []).append(number)

    def shared(self, prompts: Sequence[Int[Tensor, " length"]]) -> int:
        """How many tokens all prompts begin with, the last token of none of them, that the edits meet alike."""
        most = min(map(len, prompts)) - 1
        if len(prompts) < 2 or most < _SHARED:
            return 0
        table = torch.stack([p[:most] for p in prompts])
        same = (table == table[0]).all(0)
        most = most if bool(same.all()) else int((~same).nonzero()[0, 0])
        most = self.alike([len(p) for p in prompts], most) if most >= _SHARED else 0
        return most if most >= _SHARED else 0

    def alike(self, lengths: Sequence[int], most: int) -> int:
        """How many of the first `most` tokens, which all texts share, the edits meet alike in every text.

        Negative positions name others in texts of other lengths; edits of some texts alone are alike nowhere. What a
        gate says at a prompt's end is not known before that is read.
        """
        if not all(self.everywhere):
            return 0
        for edit in self.edits:
            spec, ended = edit.site.position, _of_end(edit)
            if spec is None:
                most = 0 if ended else most
                continue
            row = torch.arange(most)
            of = [
                TokenPositions(torch.arange(length)[None]).slots(_inside(spec, length), (1, length))[0, :most]
                for length in set(lengths)
            ]
            unlike = torch.stack([(a >= 0) if ended else (a != of[0]) for a in of]).any(0)
            most = min(most, int(row[unlike].min())) if bool(unlike.any()) else most
        return most

    def begin(self, step: int, tokens: Tokens, logits: Tensor | None = None) -> None:
        """The next forward is of these tokens, read at this step; `logits` [rows, vocabulary] are those before them."""
        self.tokens, factor = tokens, self.factor(step) if self.edits else 1.0
        self.acts = {}
        for number, edit in enumerate(self.edits):
            ended = _of_end(edit)
            if not factor and (step or not ended):
                continue
            index, entry = tokens.of(edit.site.position) if factor else (tokens.last[:0], tokens.last[:0])
            # a gate of the prompt's end is read there, whatever the edit meets
            look = tokens.last if ended and not step else index
            if not self.everywhere[number]:
                mine = torch.tensor([who[0] in self.texts[number] for who in tokens.who], device=index.device)
                keep = mine[tokens.row[index]]
                index, entry, look = index[keep], entry[keep], look[mine[tokens.row[look]]]
            if len(index):
                self.met.add(number)
            elif not len(look):
                continue
            change = self._change[number]
            if factor not in (0, 1):
                # so many times as far as the edit goes: x + factor * (edited - x)
                change = replace(change, keep=1 + factor * (change.keep - 1), scale=factor * change.scale)
            act = Act(number, change, index, entry, look, edit.when is not None)
            self.acts.setdefault(number, []).append(act)
            if ended and step:
                self._narrow(act, self._holding(number)[tokens.row[index]])
            elif edit.when is not None and edit.when.site is None:
                self._known(act, edit, logits)

    def fresh(self) -> None:
        """Other texts are begun."""
        self._earlier.clear()

    def again(self, whole: Tokens, before: int) -> None:
        """The forward reads one row's whole text once more: its tokens are met as they were when they first came, the
        new ones behind the `before` earlier as `begin` has said.
        """
        self.tokens = whole
        for acts in self.acts.values():
            for act in acts:
                act.index, act.look = act.index + before, act.look + before
        for begin, earlier in self._earlier:
            for number, acts in earlier.items():
                old = [replace(act, index=act.index + begin) for act in acts]
                self.acts[number] = [*old, *self.acts.get(number, [])]

    def remember(self, begin: int, fresh: dict[int, list[Act]]) -> None:
        """Keeps what a forward's new tokens met, whose indexes count from `begin`, for `again`."""
        self._earlier.append((begin, fresh))

    def _known(self, act: Act, edit: Edit, logits: Tensor | None) -> None:
        """A gate that is told before the forward: by the token, or by the step before."""
        tokens = self._now
        gate: Any = edit.when  # of a gated edit
        if gate.kind == "token":
            self._say(act, among(tokens.ids[act.look], gate.tokens))
            return
        if logits is None:
            self._say(act, torch.full((len(act.look),), gate.always, device=act.look.device))
            return
        if max(gate.tokens) >= logits.shape[-1]:
            raise EditError(f"when={gate}: the model has {logits.shape[-1]} tokens; give ids below that.")
        of = logits.float()
        share = (of[:, list(gate.tokens)].logsumexp(-1) - of.logsumexp(-1)).exp()
        share = share.to(act.look.device)[tokens.row[act.look]]
        self._most(act.number, share)
        self._say(act, above(gate, share))

    def _holding(self, number: int) -> Tensor:
        """Of each row, whether a gate that holds is open there from earlier on."""
        known, tokens = self._holds[number], self._now
        return torch.tensor([known.get(who[0], False) for who in tokens.who], device=tokens.row.device)

    def _say(self, act: Act, said: Tensor) -> None:
        """What a gate says at the tokens at which it is read: it holds for as long as it is to."""
        tokens, gate = self._now, self.edits[act.number].when
        if gate is None or gate.hold == "step":
            self._narrow(act, said)
            return
        # of each row, the first position at which it is open; behind all where it is not
        behind = int(tokens.position.max()) + 1
        rows, first = tokens.row[act.look], torch.where(self._holding(act.number), -1, behind)
        first = first.scatter_reduce(0, rows, torch.where(said, tokens.position[act.look], behind), "amin")
        for who, opened in zip(tokens.who, (first < behind).tolist()):
            self._holds[act.number].update(dict.fromkeys(who, opened))
        if gate.hold == "prompt":
            first = torch.where(first < behind, -1, behind)
        self._narrow(act, tokens.position[act.index] >= first[tokens.row[act.index]])

    @property
    def _now(self) -> Tokens:
        if self.tokens is None:
            raise RuntimeError("no forward has begun")
        return self.tokens

    def _most(self, number: int, values: Tensor) -> None:
        if len(values):
            self.seen[number].most = max(self.seen[number].most, float(values.max()))

    def _narrow(self, act: Act, opened: Tensor) -> None:
        """What a gate says of the tokens that an edit would meet."""
        tokens, seen = self._now, self.seen[act.number]
        act.index, act.entry, act.shut = act.index[opened], act.entry[opened], False
        if len(act.index):
            rows, positions = tokens.row[act.index].tolist(), tokens.position[act.index].tolist()
            for row, position in zip(rows, positions):
                for text in tokens.who[row]:
                    seen.open.setdefault(text, []).append(position)

    def forget(self, texts: Sequence[int]) -> None:
        """Takes back what was noted of some texts, which are begun anew."""
        noted: list[dict[int, Any]] = [*(seen.open for seen in self.seen), *self._holds, *self.captured]
        for of_text in noted:
            for text in texts:
                of_text.pop(text, None)

    def through(self, key: Key, x: Tensor) -> Tensor:
        """A site's activations ``[n, ...]`` as the forward goes on with them: gates are read, edits act, looks look.

        Returns `x` itself where nothing is changed. Raises: EditError, GateError.
        """
        for number in self.gates.get(key, ()):
            for act in self.acts.get(number, ()):
                if act.shut:
                    self._read(act, x)
        new = x
        for number in self.writes.get(key, ()):
            for act in self.acts.get(number, ()):
                if act.shut:
                    raise EditError(
                        f"the gate {self.edits[number].when} is read after the edit at {self.edits[number].site} in"
                        " this model; read it in a lower layer."
                    )
                if len(act.index):
                    new = new.clone() if new is x else new
                    index = act.index.to(x.device)
                    act.change.write(
                        new[None], torch.zeros_like(index), index, act.entry.to(x.device), self.edits[number].site
                    )
        for number in self.looks.get(key, ()):
            self._look(number, new)
        for number in self.notes.get(key, ()):
            self._change[number].note(new[None])
        return new

    def _read(self, act: Act, x: Tensor) -> None:
        gate: Any = self.edits[act.number].when
        at, on = part_of(gate, x[act.look.to(x.device)]), act.look.device
        if gate.kind in MEASURED:
            values = readings(gate, at).to(on)
            self._most(act.number, values)
            said = above(gate, values)
        else:
            rows = self._now.row[act.look]
            said = torch.zeros(len(rows), dtype=torch.bool, device=on)
            for row in rows.unique().tolist():
                mine = rows == row
                said[mine] = answers(gate, at[mine.to(at.device)]).to(on)
        there = named(gate, self._now.ids[act.look])
        self._say(act, said if there is None else said & there)

    def _look(self, number: int, x: Tensor) -> None:
        tokens, site = self._now, self.capture[number]
        at = x[tokens.last.to(x.device)].detach()
        sub = site.head if site.head is not None else site.neuron if site.neuron is not None else site.expert
        at = (at if sub is None else at[:, sub]).cpu()
        for row, who in enumerate(tokens.who if len(tokens.last) else ()):
            self.captured[number].setdefault(who[0], []).append(at[row])


def _inside(spec: Any, length: int) -> Any:
    """Positions that a text of this length has."""
    if isinstance(spec, slice):
        return spec
    listed = [int(p) for p in (spec if hasattr(spec, "__iter__") else [spec])]
    # one that lies before the text meets no token; its place among those named is kept
    return [p if p >= -length else length for p in listed]


def _of_end(edit: Edit) -> bool:
    """Whether its gate is read at the prompt's end alone."""
    return edit.when is not None and edit.when.hold == "prompt"
