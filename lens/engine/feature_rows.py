"""Edits of features in the rows of a sweep, as edits of the activation that their dictionary writes to.

Where nothing that the dictionary reads is edited in a row, its features are the base run's: what is added is a tensor,
worked out for all rows at once. Elsewhere it is computed from the row's own activation as the path meets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .copying import positions_of, source_of
from .edits import Edit, EditError, as_computed
from .features import Features, flat, targets, unflat
from .live import live_of, read_place
from .runs import Runs, Source
from .sites import ORDER, Site, indices

if TYPE_CHECKING:
    from .model import Model

Row = tuple[int, Sequence[Edit]]


def without_features(model: Model, base: Runs, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with edits of plain sites in place of edits of features; the very rows where there are none of these.

    Raises:
        EditError: a run to copy from of another length. SiteError: a site that the base run did not keep. The
            dictionary's own error: another model.
    """
    if not any(edit.site.of is not None for _, edits in rows for edit in edits):
        return rows
    known: dict[int, _Of] = {}
    jobs: dict[tuple[int, int], list[_Job]] = {}
    out: list[tuple[int, list[Any]]] = []
    for r, (prompt, edits) in enumerate(rows):
        new: list[Any] = list(as_computed(edits))
        for i, edit in enumerate(new):
            features = edit.site.of if isinstance(edit, Edit) else None
            if features is None:
                continue
            of = known.setdefault(id(features), _Of(model, base, features))
            job = of.job(prompt, edit, r, i)
            if any(of.meets(model, new, j, i) for j in range(len(new)) if j != i):
                new[i] = of.as_met(model, edit, job)
            else:
                jobs.setdefault((id(features), len(job.index)), []).append(job)
        out.append((prompt, new))
    for (number, _), of_kind in jobs.items():
        for job, edit in zip(of_kind, known[number].as_added(of_kind)):
            out[job.row][1][job.place] = edit
    return [(prompt, [edit for edit in edits if edit is not None]) for prompt, edits in out]


@dataclass
class _Job:
    """One edit of features: where in the rows it stands, its tokens among those of all prompts, and what it asks."""

    row: int
    place: int
    edit: Edit
    position: list[int]
    token: Tensor
    index: Tensor
    #: what the features are to be, ``[position, k]``, or None
    value: Tensor | _Copy | None


class _Of:
    """A dictionary on some runs."""

    def __init__(self, model: Model, base: Runs, features: Features):
        features.require(model.anatomy)
        self.base, self.features = base, features
        self.key, self.through = read_place(model.anatomy, features)
        self.width = base._get(features.writes.site, features.writes.layer).shape[1:]
        self._read: dict[int, Tensor] = {}

    def read(self, runs: Runs) -> Tensor:
        """What the dictionary reads in some runs, ``[n_tokens, d_in]``."""
        if id(runs) not in self._read:
            self._read[id(runs)] = flat(self.through(runs._get(*self.key)), self.features.reads)
        return self._read[id(runs)]

    def job(self, prompt: int, edit: Edit, row: int, place: int) -> _Job:
        """An edit with its tokens and the values that it puts in."""
        position = indices(edit.site.position, self.base.lengths[prompt], "position")
        index = torch.tensor(indices(edit.site.index, self.features.n_features, "index"))
        token = torch.tensor(position, dtype=torch.long) + int(self.base.starts[prompt])
        value: Any = source_of(edit, prompt, len(self.base))
        if isinstance(value, Source):
            value = _Copy(self, value, positions_of(edit, value, position), index)
        elif value is not None:
            value = value.float().reshape(-1, *value.shape[-1:] or (1,))
            if len(value) not in (1, len(position)):
                raise EditError(
                    f"value has shape {tuple(edit.value.shape)} at {edit.site}; its first axis counts positions, and"
                    f" {len(position)} are named."
                )
            value = value.expand(len(position), len(index))
        return _Job(row, place, edit, position, token, index, value)

    def meets(self, model: Model, edits: Sequence[Any], other: int, own: int) -> bool:
        """Whether another edit of a row changes what the dictionary reads, or comes before at the same place."""
        name, layer = model.anatomy.layer_of(*edits[other].site.place)
        there, here = (layer, ORDER[name]), (self.key[1], ORDER[self.key[0]])
        if self.key[0] == "resid_post" and name == "resid_pre":
            here = (self.key[1] + 1, ORDER["resid_pre"])
        return there < here or (there == here and other < own)

    def as_met(self, model: Model, edit: Edit, job: _Job) -> Edit:
        """The edit as what the path computes where it meets it."""
        value = job.value.now() if isinstance(job.value, _Copy) else job.value
        plain = edit if value is None else replace(edit, value=value.cpu())
        return Edit(self._site(job), "add", live_of(model.anatomy, plain))

    def _site(self, job: _Job) -> Site:
        tap = self.features.writes
        return Site(tap.site, None if tap.site == "embed" else tap.layer, position=tuple(job.position))

    def as_added(self, jobs: Sequence[_Job]) -> list[Edit | None]:
        """Edits that name as many features each as tensors that are added; None where nothing is."""
        features, sizes = self.features, [len(job.position) for job in jobs]
        home = self.read(self.base).device
        token = torch.cat([job.token for job in jobs]).to(home)
        index = torch.cat([job.index.expand(n, -1) for job, n in zip(jobs, sizes)]).to(home)
        tokens, row = token.unique(return_inverse=True)
        named, column = index.unique(return_inverse=True)
        into = self.read(self.base)[tokens]
        f = features.values(into, named)[row[:, None], column]
        given = self._given(jobs, sizes, named)
        change = torch.zeros_like(f)
        start = 0
        for job, n in zip(jobs, sizes):
            part = slice(start, start + n)
            change[part] = targets(job.edit.op, f[part], None if given is None else given[part], float(job.edit.scale))
            start += n
        unit = features.unit(into)
        change = change * (unit[row] if len(unit) > 1 else unit)
        direction = features.directions(named).to(change)
        if index.shape[1] == 1:
            delta = change * direction[column[:, 0]]
        else:
            delta = torch.stack([c @ direction[at] for c, at in zip(change, column)])
        delta = unflat(delta, features.writes, self.width)
        changed = change.any(1).tolist()
        out: list[Edit | None] = []
        start = 0
        for job, n in zip(jobs, sizes):
            part = slice(start, start + n)
            out.append(Edit(self._site(job), "add", delta[part]) if any(changed[part]) else None)
            start += n
        return out

    def _given(self, jobs: Sequence[_Job], sizes: Sequence[int], named: Tensor) -> Tensor | None:
        """What the features are to be, ``[n, k]``, 0 where an edit says nothing of it; copies are read all at once."""
        if all(job.value is None for job in jobs):
            return None
        k = len(jobs[0].index)
        parts: list[Any] = [None] * len(jobs)
        copies: dict[int, list[int]] = {}
        for i, job in enumerate(jobs):
            if isinstance(job.value, _Copy):
                copies.setdefault(id(job.value.source.runs), []).append(i)
            else:
                parts[i] = named.new_zeros(sizes[i], k, dtype=torch.float32) if job.value is None else job.value
        for mine in copies.values():
            made: list[Any] = [jobs[i].value for i in mine]
            token = torch.cat([copy.token for copy in made])
            index = torch.cat([jobs[i].index.expand(sizes[i], -1) for i in mine]).to(named.device)
            tokens, row = token.to(named.device).unique(return_inverse=True)
            column = torch.searchsorted(named, index)
            read = self.read(made[0].source.runs)[tokens]
            values = self.features.values(read, named)[row[:, None], column]
            for i, part in zip(mine, values.split([sizes[i] for i in mine])):
                parts[i] = part
        return torch.cat([part.to(named.device) for part in parts])


@dataclass
class _Copy:
    """Features of another run, at some of its positions, read when all that are asked for are known."""

    of: _Of
    source: Source
    position: list[int]
    index: Tensor

    @property
    def token(self) -> Tensor:
        return torch.tensor(self.position, dtype=torch.long) + int(self.source.start)

    def now(self) -> Tensor:
        """The features, ``[position, k]``."""
        read = self.of.read(self.source.runs)
        return self.of.features.values(read[self.token.to(read.device)], self.index)
