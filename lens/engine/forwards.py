"""Unedited and edited runs on the paths that run a model's own modules: the layers path, or full forwards with hooks.

`ForwardRuns` has the face of `Runs`, and `run_rows` that of `walk`: whoever computes with them does not know which path
serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .copying import layer_of, part_of, positions_of, same_prefix, source_of
from .edits import Edit, EditError, require_ungated
from .hooks import PromptRun
from .layers import Layers
from .runs import Runs, Source
from .sites import Site, SiteError, indices
from .walk.rows import EditedRuns
from .writes import Plain

if TYPE_CHECKING:
    from .model import Model

#: Sites that are kept wherever they are found.
_ALWAYS = ("attn_out", "v", "start", "mixer")


class ForwardRuns(Runs):
    """The forward passes of several prompts by the model's own modules; see `Runs`.

    Attributes:
        own: each prompt's run by itself. final: what the metric reads: the last residual stream, or logits (see
            `Ending`).
    """

    def __init__(self, model: Model, ids: Sequence[Tensor], keep: Iterable[str]):
        super().__init__(model, ids, keep)
        self.own: list[PromptRun] = []

    @classmethod
    def of(
        cls,
        model: Model,
        ids: Sequence[Tensor],
        keep: Iterable[str],
        embedded: Tensor | None = None,
        after: ForwardRuns | None = None,
    ) -> ForwardRuns:
        """Runs every prompt once.

        Args:
            embedded: token embeddings to begin with, flat over all prompts' tokens. after: runs of prompts that begin
                alike, prompt by prompt, which are continued where the path can.
        """
        runs = cls(model, ids, keep)
        runs.of_ids = embedded is None
        keys = model.sites_of((*runs.keep, *_ALWAYS), tuple(runs.keep))
        path = model.path_for((), max(runs.lengths))
        for i, text in enumerate(runs.ids):
            start = None if embedded is None else embedded[runs.starts[i] : runs.starts[i] + len(text)]
            if after is not None and start is None and isinstance(path, Layers):
                runs.own.append(path.fork(after.own[i], text, keys))
            else:
                runs.own.append(path.record(text, keys, start))
        runs._join()
        return runs

    def _join(self) -> None:
        own = self.own
        self.resid = [torch.cat([r.resid[l] for r in own]) for l in range(self.decoder.n_layers + 1)]
        self.embedded = torch.cat([r.embedded for r in own])
        self._final = torch.cat([r.logits for r in own]) if self.decoder.ending.kind == "logits" else self.resid[-1]

    @property
    def final(self) -> Tensor:
        """The last residual stream, or logits where runs carry these (see `Ending`), flat over tokens."""
        return self._final

    def _tensors(self) -> Iterable[Tensor]:
        return (t for r in self.own for t in (*r.resid, *r.activations.values()))

    def _fork(self, ids: Sequence[Tensor], embed: Tensor | None, keep: Iterable[str]) -> ForwardRuns:
        self._aligned(ForwardRuns(self.decoder, ids, keep), embed)
        return ForwardRuns.of(self.decoder, ids, keep, embed, self)

    def _get(self, site: str, layer: int) -> Tensor:
        model = self.decoder
        n = model.n_layers
        if site == "embed":
            return self.embedded
        if site in ("resid_pre", "resid_post") and -n <= layer < n + (site == "resid_pre"):
            layer += n * (layer < 0)
            last = layer == n - 1 and model.ending.before == 1.0
            if site == "resid_pre" or layer in model.anatomy.handed_on or last:
                return self.resid[layer + (site == "resid_post")]
            return torch.cat([r.activations[site, layer] for r in self.own])
        name, at = model.anatomy.layer_of(site, layer)
        if name == "resid_mid":
            model.anatomy.require(name, at)
            return torch.cat([r.get(name, at) for r in self.own])
        if (name, at) not in self.own[0].activations:
            model.anatomy.require(name, at)
            raise SiteError(f"site {site!r} was not kept by this run; record it with keep=({site!r},).")
        if name == "pattern":
            return self._patterns(at)
        return torch.cat([r.activations[name, at] for r in self.own])

    def _patterns(self, layer: int) -> Tensor:
        longest = max(self.lengths)
        first = self.own[0].activations["pattern", layer]
        whole = first.new_zeros(len(self), first.shape[1], longest, longest)
        for i, run in enumerate(self.own):
            n = self.lengths[i]
            whole[i, :, :n, :n] = run.activations["pattern", layer].transpose(0, 1)
        return whole


class _Copied(Plain):
    """One prompt of runs of another path, as something to copy from."""

    def __init__(self, source: Source):
        self.source = source

    def get(self, site: str, layer: int) -> Tensor:
        runs, source = self.source.runs, self.source
        if site == "pattern":
            return runs.get(site, layer)[source.prompt, :, : source.length, : source.length].transpose(0, 1)
        return runs.get(site, layer)[source.start : source.start + source.length]


def _plain(source: Source) -> Plain:
    return source.runs.own[source.prompt] if isinstance(source.runs, ForwardRuns) else _Copied(source)


def _copied(source: Source, site: str, layer: int, positions: list[int]) -> Tensor:
    """What a run has at a site of its own layer, at some of its positions."""
    model = source.runs.decoder
    if isinstance(source.runs, ForwardRuns):
        site, layer = model.anatomy.layer_of(site, layer)
    return _plain(source).get(site, layer)[positions]


@torch.no_grad()
def run_rows(
    base: ForwardRuns,
    rows: Sequence[tuple[int, Sequence[Edit]]],
    reads: Sequence[Sequence[int]],
    *,
    freeze: Sequence[str] = (),
    record: Sequence[tuple[str, int]] = (),
    stop: Callable[[], bool] | None = None,
) -> EditedRuns:
    """Runs every row and returns what it ends in where it is read; arguments as ``walk``.

    Rows whose edits change nothing keep the base run's numbers. Cost: see ``Layers.run`` and ``Hooks.run``, prompt by
    prompt.
    """
    model, shared = base.decoder, _Shared(base)
    by_prompt: dict[int, list[int]] = {}
    live: list[list[Edit]] = []
    for r, (prompt, edits) in enumerate(rows):
        require_ungated(edits, "this path of forwards")
        live.append([e for e in (shared.live(prompt, edit) for edit in edits) if e is not None])
        if live[-1] and min(p for e in live[-1] for p in e.site.position) <= max(reads[prompt]):
            by_prompt.setdefault(prompt, []).append(r)
    ends: list[Any] = [None] * len(rows)
    recorded: dict[tuple[str, int], list[Any]] = {key: [None] * len(rows) for key in record}
    for prompt, mine in by_prompt.items():
        sites = {(e.site.name, e.site.layer) for r in mine for e in live[r]}
        path = model.path_for(sites, base.lengths[prompt], edited=True)
        if any(e.site.name == "embed" and not isinstance(e.value, Plain) for r in mine for e in live[r]):
            path = model.whole  # an embedding of another position is no first block's input of this one
        wanted = sorted(reads[prompt])
        own = model.run_of(base, prompt, path)
        resid, seen, begin = path.run(own, [live[r] for r in mine], wanted, freeze=freeze, record=record, stop=stop)
        for k, r in enumerate(mine):
            ends[r] = resid[k]
        for key, by_row in seen.items():
            for k, x in by_row.items():
                first = min(p for e in live[mine[k]] for p in e.site.position)
                recorded[key][mine[k]] = first, x[first - begin :]
    for r, (prompt, _) in enumerate(rows):
        if ends[r] is None:
            ends[r] = base.final[[base.starts[prompt] + p for p in sorted(reads[prompt])]]
    sizes = [len(reads[prompt]) for prompt, _ in rows]
    return EditedRuns(
        torch.cat(ends) if ends else base.final.new_zeros(0, base.final.shape[-1]),
        torch.tensor(np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)),
        np.array([live[r] != [] and r in set(by_prompt.get(p, ())) for r, (p, _) in enumerate(rows)], dtype=bool),
        recorded,
    )


class _Shared:
    """Which positions of a copied activation are the base run's own: before the first token that differs, no token of a
    causal model knows of a difference.
    """

    def __init__(self, base: ForwardRuns):
        self.base, self.model = base, base.decoder
        self._first: dict[tuple[int, int, int], int] = {}

    def live(self, prompt: int, edit: Edit) -> Edit | None:
        """The edit without the positions at which it changes nothing; None where none is left."""
        length, site = self.base.lengths[prompt], edit.site
        value = source_of(edit, prompt, len(self.base))
        position = indices(site.position, length, "position")
        layer = 0
        if site.name != "embed":
            layer = indices(site.layer, self.model.n_layers, "layer")[0]
            site = replace(site, layer=layer, position=position)
        else:
            site = Site("embed", position=position)
        if not isinstance(value, Source):
            return Edit(site, edit.op, value, edit.scale) if position else None
        furthest = max(indices(site.key, length, "key")) if site.name == "pattern" else 0
        if furthest >= value.length:
            raise EditError(
                f"key={furthest} lies beyond the source prompt's {value.length} tokens; align the two prompts."
            )
        taken, own = positions_of(edit, value, position), layer_of(edit, value, layer)
        if edit.scale == 1.0 and not edit.keep and own == layer:
            first = self._differs(prompt, value)
            live = [(p, t) for p, t in zip(position, taken) if p >= first or p != t]
            position, taken = [p for p, _ in live], [t for _, t in live]
            site = replace(site, position=position)
        if not position:
            return None
        of_model = site.name != "embed" or value.runs.decoder is self.model
        if taken == position and own == layer and of_model:
            return Edit(site, edit.op, _plain(value), edit.scale)
        return Edit(site, edit.op, part_of(_copied(value, site.name, own, taken), edit), edit.scale)

    def _differs(self, prompt: int, source: Source) -> int:
        """The first position at which the two runs may hold different things."""
        key = prompt, id(source.runs), source.prompt
        if key not in self._first:
            # a model may turn the tokens of a longer text by other angles
            alike = self.model.causal and source.length == self.base.lengths[prompt]
            self._first[key] = same_prefix(self.base, prompt, source) if alike else 0
        return self._first[key]
