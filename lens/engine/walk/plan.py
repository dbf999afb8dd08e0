"""From edits to indexed writes: which rows a walk carries, where each begins, and what is written into them where."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..copying import layer_of, positions_of, same_prefix, source_of
from ..edits import Edit, EditError, as_computed, require_ungated
from ..features import Live
from ..runs import Runs, Source
from ..sites import EXPERTS, HEADED, ORDER, indices, of_two_axes
from .decoder import Decoder
from .feature_writes import FeatureReads, FeatureWrites
from .indexed_writes import IndexedWrites

#: First site of a block that can be changed without running its attention again.
_AFTER_ATTENTION = ORDER["z"]


@dataclass
class _Part:
    """What one edit writes: positions and heads (or neurons, or experts) paired off, and where the values come from."""

    layer: int
    site: str
    turn: int
    position: np.ndarray
    sub: np.ndarray | None
    keep: float
    scale: float
    source: Source | None = None
    #: the values, one a position and head, or one row for all of them
    tensor: Tensor | None = None
    key: tuple[int, ...] | None = None
    #: positions of the source for those written to, one each, and its layer
    taken: np.ndarray | None = None
    source_layer: int = 0
    #: of features: what is computed where the walk meets it
    live: Live | None = None


@dataclass
class WalkPlan:
    """The rows of a walk, sorted by where they join it, and the writes by ``(layer, site)``.

    Attributes:
        order: the caller's number of each row that is walked; the rest is unchanged by its edits.
        prompt, start, end, layer: per walked row: prompt, first and past-the-last position, layer at which it joins.
        attends: per walked row, whether it needs the attention of the layer at which it joins.
    """

    base: Runs
    order: np.ndarray
    prompt: np.ndarray
    start: np.ndarray
    end: np.ndarray
    layer: np.ndarray
    attends: np.ndarray
    writes: dict[tuple[int, str], list[Any]] = field(default_factory=dict)

    @property
    def offset(self) -> np.ndarray:
        """Where each row's slots begin among those of all rows, and where the last ends."""
        size = self.end - self.start
        return np.concatenate(([0], np.cumsum(size)))


def heads_of(decoder: Decoder, site: str) -> int:
    """Heads at a site: query heads, or key/value heads for ``k`` and ``v``."""
    return decoder.n_heads if HEADED[site] == "query" else decoder.n_kv_heads


def _width(base: Runs, site: str, layer: int) -> int:
    width: int
    d = base.decoder
    if site == "router":
        width = d.blocks[layer].experts.n_experts
    else:
        width = d.blocks[layer].d_mlp if site == "neuron" else d.d_head if site in HEADED else d.d_model
    return width


def _positions(spec: Any, length: int) -> np.ndarray:
    """``indices`` as an array; remembered, for a grid asks for the same few again and again."""
    if isinstance(spec, (tuple, int, range, type(None))):
        return _remembered(spec, length)
    return np.asarray(indices(spec, length, "position"), dtype=np.int64)


@functools.lru_cache(maxsize=4096)
def _remembered(spec: Any, length: int) -> np.ndarray:
    positions = np.asarray(indices(spec, length, "position"), dtype=np.int64)
    positions.setflags(write=False)
    return positions


def _part(base: Runs, prompt: int, edit: Edit, turn: int) -> _Part:
    site, length, decoder = edit.site, base.lengths[prompt], base.decoder
    layer = 0 if site.name == "embed" else indices(site.layer, decoder.n_layers, "layer")[0]
    name = site.name
    decoder.blocks[layer].require(name, layer)
    if name == "resid_post":
        name, layer = "resid_pre", layer + 1
    position = _positions(site.position, length)
    if isinstance(edit.value, Live):
        return _Part(layer, name, turn, position, None, 1.0, 1.0, live=edit.value)
    sub = None
    if name in HEADED and (site.head is not None or name == "pattern"):
        sub = np.asarray(indices(site.head, heads_of(decoder, name), "head"), dtype=np.int64)
    elif name == "neuron" and site.neuron is not None:
        sub = np.asarray(indices(site.neuron, decoder.blocks[layer].d_mlp, "neuron"), dtype=np.int64)
    elif name in EXPERTS and site.expert is not None:
        sub = np.asarray(indices(site.expert, decoder.blocks[layer].experts.n_experts, "expert"), dtype=np.int64)
    #: one number for each sub-index, not a vector
    single = name in ("neuron", "router") and sub is not None
    n_sub = 1 if sub is None else len(sub)
    value, source, tensor, key = edit.value, None, None, None
    if name == "pattern":
        key = tuple(indices(site.key, length, "key"))
        if site.key is not None and len(position) and max(key) > position.min():
            raise EditError(
                f"key={max(key)} lies after the query at position {int(position.min())}, which cannot see it; choose"
                " keys up to the query."
            )
    if isinstance(value, Runs):
        value = source_of(edit, prompt, len(base))
    taken, source_layer = position, layer
    if isinstance(value, Source):
        source = value
        if key and max(key) >= source.length:
            raise EditError(
                f"key={max(key)} lies beyond the source prompt's {source.length} tokens; align the two prompts."
            )
        if edit.source_position is not None or position.max(initial=0) >= source.length:
            taken = np.asarray(positions_of(edit, source, position.tolist()), dtype=np.int64)
        if edit.source_layer is not None:
            source_layer = layer_of(edit, source, layer) + (edit.site.name == "resid_post")
    elif value is not None:
        if single:
            width: tuple[int, ...] = (1,)
        elif name == "pattern":
            width = (len(key or ()),)
        elif of_two_axes(name) and sub is None:
            heads = decoder.blocks[layer].experts.n_experts if name == "expert" else heads_of(decoder, name)
            width = (heads, _width(base, name, layer))
        else:
            width = (_width(base, name, layer),)
        try:
            if single:
                tensor = value.expand(len(position), n_sub).reshape(-1)
            elif sub is None:
                tensor = value.expand(1 if value.ndim == len(width) else len(position), *width)
            else:
                tensor = value.expand(len(position), n_sub, *width).reshape(-1, *width)
        except RuntimeError:
            expected = (len(position),) + ((n_sub,) if sub is not None else ()) + (() if single else width)
            raise EditError(
                f"value has shape {tuple(value.shape)} at {site}; expected something that broadcasts to {expected}."
            ) from None
    pairs = position if sub is None else np.repeat(position, n_sub)
    return _Part(
        layer,
        name,
        turn,
        pairs,
        None if sub is None else np.tile(sub, len(position)),
        edit.keep,
        float(edit.scale),
        source,
        tensor,
        key,
        pairs if taken is position else taken if sub is None else np.repeat(taken, n_sub),
        source_layer,
    )


def _table(base: Runs, part: _Part) -> Tensor:
    """The activations that a part copies from.

    Raises:
        EditError: they are of another width than the base run's, as another model's may be.
    """
    source: Any = part.source
    table: Tensor = source.runs._get(part.site, part.source_layer)
    if source.runs.decoder is base.decoder:
        return table
    heads = (heads_of(base.decoder, part.site),) if part.site in HEADED else ()
    layer = min(part.layer, base.decoder.n_layers - 1)
    if part.site == "expert":
        heads = (base.decoder.blocks[layer].experts.n_experts,)
    want = heads if part.site == "pattern" else (*heads, _width(base, part.site, layer))
    have = tuple(table.shape[1 : 1 + len(want)])
    if have != want:
        raise EditError(
            f"value: the run to copy from is {have} wide at site {part.site!r} in its layer {part.source_layer}, this"
            f" model {want} in layer {layer}; copy from a model of equal width."
        )
    return table


class _Changes:
    """Where a source run differs from the base run, by site and layer; compared once, read many times."""

    def __init__(self, base: Runs):
        self.base = base
        self.differing: dict[tuple[int, str, int, bool], np.ndarray] = {}
        self.alike: dict[tuple[int, int, int], int] = {}

    def first(self, prompt: int, part: _Part) -> int | None:
        """The first position that the part really changes, or None."""
        if not len(part.position):
            return None
        source = part.source
        if source is not None and self._elsewhere(part, prompt):
            # only before the first token that differs is what is copied from its own place there already
            apart = part.position != part.taken
            pair = prompt, id(source.runs), source.prompt
            if pair not in self.alike:
                self.alike[pair] = same_prefix(self.base, prompt, source)
            apart |= part.position >= self.alike[pair]
            apart |= part.source_layer != part.layer or part.scale != 1.0
            return int(part.position[apart].min()) if apart.any() else None
        if (
            source is None
            or part.site == "pattern"
            or part.scale != 1.0
            or source.prompt >= len(self.base)
            or source.length != self.base.lengths[prompt]
            or source.runs.lengths != self.base.lengths
            or source.prompt != prompt
            or source.runs.decoder is not self.base.decoder
        ):
            return int(part.position.min())
        key = (id(source.runs), part.site, part.layer, part.sub is None)
        if key not in self.differing:
            own = self.base._get(part.site, part.layer)
            differs = source.runs._get(part.site, part.layer).to(own.device) != own
            differs = (
                differs.flatten(1).any(1) if part.sub is None else differs.any(-1) if differs.ndim == 3 else differs
            )
            self.differing[key] = differs.cpu().numpy()
        known = self.differing[key]
        at = int(self.base.starts[prompt]) + part.position
        hit = known[at] if part.sub is None else known[at, part.sub]
        return int(part.position[hit].min()) if hit.any() else None

    def _elsewhere(self, part: _Part, prompt: int) -> bool:
        """Whether a part copies from another position or layer, or from a prompt of another length."""
        source: Any = part.source
        if part.taken is None or part.site == "pattern":
            return False
        return (
            part.source_layer != part.layer
            or (part.taken is not part.position and not np.array_equal(part.taken, part.position))
            or source.length != self.base.lengths[prompt]
        )


def plan_walk(base: Runs, rows: Sequence[tuple[int, Sequence[Edit]]], reads: Sequence[Sequence[int]]) -> WalkPlan:
    """Sorts edited runs by where they leave the base run and gathers what is written into them.

    Args:
        base: the unedited runs.
        rows: per edited run, its prompt's number in ``base`` and its edits; they apply in the order in which the model
            computes their sites, and at one site in the order given.
        reads: per prompt, the positions that are read at the end.

    Rows whose edits change nothing (a replacement equal to what is there) are left out: the base run answers for them.

    Raises:
        SiteError, EditError: an edit that the model or the prompt has no place for.
    """
    changes, leaving = _Changes(base), []
    for number, (prompt, edits) in enumerate(rows):
        turns: dict[tuple[int, str], int] = {}
        parts = []
        require_ungated(edits, "the walk itself")
        for edit in as_computed(edits):
            part = _part(base, prompt, edit, 0)
            part.turn = turns[part.layer, part.site] = turns.get((part.layer, part.site), -1) + 1
            parts.append(part)
        end = max(reads[prompt]) + 1
        firsts = [(p, f) for p in parts if (f := changes.first(prompt, p)) is not None and f < end]
        if firsts:
            layer, order = min((p.layer, ORDER[p.site]) for p, _ in firsts)
            leaving.append((layer, order >= _AFTER_ATTENTION, prompt, number, min(f for _, f in firsts), end, parts))
    leaving.sort(key=lambda r: r[:4])

    def column(i: int, kind: type) -> np.ndarray:
        return np.array([r[i] for r in leaving], dtype=kind)

    plan = WalkPlan(
        base,
        order=column(3, np.int64),
        prompt=column(2, np.int64),
        start=column(4, np.int64),
        end=column(5, np.int64),
        layer=column(0, np.int64),
        attends=~column(1, bool),
    )
    _gather(plan, [r[6] for r in leaving])
    return plan


def _gather(plan: WalkPlan, parts: Sequence[Sequence[_Part]]) -> None:
    """Joins the parts of all rows into one ``IndexedWrites`` per layer, site, turn and kind of value."""
    groups: dict[tuple[Any, ...], list[tuple[int, _Part]]] = {}
    for row, of_row in enumerate(parts):
        for p in of_row:
            kind = (
                ("live", id(p.live.features), len(p.live.index), p.live.op, p.live.reads)
                if p.live
                else ("runs", id(p.source.runs), p.source_layer)
                if p.source
                else ("tensor", None if p.tensor is None else p.tensor.shape[1:])
            )
            groups.setdefault(
                (p.layer, p.site, p.turn, p.sub is None, p.key if p.site == "pattern" else None, kind), []
            ).append((row, p))
    offset, decoder = plan.offset, plan.base.decoder
    reads: list[FeatureReads] = []
    for (layer, site, _, _, key, _), members in sorted(groups.items(), key=lambda g: (g[0][0], g[0][2])):
        tokens, sub, keep, scale, entry, prompt, count = [], [], [], [], [], [], 0
        device = decoder.blocks[min(layer, decoder.n_layers - 1)].device
        if members[0][1].live is not None:
            writes = _features(plan, members, device)
            plan.writes.setdefault((layer, site), []).append(writes)
            reads += [FeatureReads(writes)] if writes.live.reads is not None else []
            continue
        tables: list[Tensor] = []
        shared: dict[tuple[Any, ...], int] = {}
        for row, p in members:
            inside = (p.position >= plan.start[row]) & (p.position < plan.end[row])
            n = int(inside.sum())
            tokens.append(offset[row] + p.position[inside] - plan.start[row])
            keep.append(np.full(n, p.keep))
            scale.append(np.full(n, p.scale))
            if p.sub is not None:
                sub.append(p.sub[inside])
            if p.source is not None:
                taken = p.position if p.taken is None else p.taken
                at = 0 if site == "pattern" else p.source.start
                entry.append(at + taken[inside])
                prompt.append(np.full(n, p.source.prompt))
            elif p.tensor is not None and len(p.tensor) == 1:
                # one vector at many positions, often of many rows: it is kept once
                vector = (p.tensor.data_ptr(), p.tensor.stride(), p.tensor.device)
                if vector not in shared:
                    shared[vector] = count
                    tables.append(p.tensor)
                    count += 1
                entry.append(np.full(n, shared[vector]))
            else:
                entry.append(count + np.flatnonzero(inside))
                if p.tensor is not None:
                    tables.append(p.tensor)
                    count += len(p.tensor)
        token = np.concatenate(tokens)
        rank = np.argsort(token, kind="stable")

        def put(a: Sequence[np.ndarray], dtype: torch.dtype = torch.long) -> Tensor:
            return torch.as_tensor(np.concatenate(a)[rank], dtype=dtype, device=device)

        source = members[0][1].source
        table = (
            _table(plan.base, members[0][1]).to(device)
            if source
            else torch.cat([one.to(device) for one in tables]).to(decoder.dtype)
            if tables
            else None
        )
        plan.writes.setdefault((layer, site), []).append(
            IndexedWrites(
                torch.as_tensor(token[rank], device=device),
                token[rank],
                not np.concatenate(keep).any(),
                put(sub) if sub else None,
                put(keep, torch.float32),
                put(scale, torch.float32),
                table,
                put(entry),
                by_sub=bool(sub) and source is not None,
                key=key,
                prompt=put(prompt) if source and site == "pattern" else None,
            )
        )
    for one in reads:  # behind all that is written there
        name, at = one.writes.live.reads or ("", 0)
        plan.writes.setdefault((at + 1, "resid_pre") if name == "resid_post" else (at, name), []).append(one)


def _features(plan: WalkPlan, members: Sequence[tuple[int, _Part]], device: torch.device) -> FeatureWrites:
    """Joins the parts of edits of one dictionary, of one kind and of as many features each."""
    tokens, index, value, scale = [], [], [], []
    lives: list[Any] = [p.live for _, p in members]
    for (row, p), live in zip(members, lives):
        inside = (p.position >= plan.start[row]) & (p.position < plan.end[row])
        n = int(inside.sum())
        tokens.append(plan.offset[row] + p.position[inside] - plan.start[row])
        index.append(live.index.expand(n, -1))
        scale.append(np.full(n, live.scale))
        if live.value is not None:
            many = len(live.value) > 1
            value.append(live.value[torch.as_tensor(inside)] if many else live.value.expand(n, -1))
    token = np.concatenate(tokens)
    rank = np.argsort(token, kind="stable")
    order = torch.as_tensor(rank)
    return FeatureWrites(
        lives[0],
        token[rank],
        torch.cat(index)[order].to(device),
        torch.cat(value)[order].to(device) if value else None,
        torch.as_tensor(np.concatenate(scale)[rank], dtype=torch.float32, device=device),
    )
