"""The walk's own runs: residual stream, keys and values of a batch of prompts by the written-out blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..errors import TooLong
from ..memory import chunk_tokens
from ..runs import Runs
from ..sites import SITES, SiteError
from .decoder import Decoder
from .forward import Asking, Layout, attention, feed_forward

#: Tokens a recording pushes through a layer at once on a CPU; bounds the working memory, not the result.
CHUNK_TOKENS = 2048


class WalkRuns(Runs):
    """Runs by the written-out blocks; see `Runs`.

    Attributes:
        attn, k, v: by layer: what attention adds, the keys as the queries meet them, the values.
        activations: by site and layer.
    """

    def __init__(self, decoder: Decoder, ids: Sequence[Tensor], keep: Iterable[str]):
        super().__init__(decoder, ids, keep)
        self.attn: list[Tensor] = []
        self.k: list[Tensor] = []
        self.v: list[Tensor] = []
        self.activations: dict[str, list[Tensor]] = {site: [] for site in self.keep}

    def _tensors(self) -> Iterable[Tensor]:
        return (t for group in (self.resid, self.attn, self.k, self.v, *self.activations.values()) for t in group)

    @staticmethod
    def _too_long(longest: int, limit: int) -> Exception:
        return TooLong(
            f"a prompt of {longest} tokens is longer than the {limit} that the written-out attention covers."
        )

    @classmethod
    @torch.no_grad()
    def of(cls, decoder: Decoder, ids: Sequence[Tensor], keep: Iterable[str] = ("z",)) -> WalkRuns:
        """Runs every prompt once; the longest is compared with the model's own forward.

        Raises:
            UnsupportedModel: a prompt too long for the written-out blocks, or one on which they differ.
        """
        runs = cls(decoder, ids, keep)
        _fill([_Segment(runs, runs.decoder.embed(runs.flat_ids), None)], None)
        runs._verify([max(range(len(runs)), key=runs.lengths.__getitem__)])
        return runs

    @classmethod
    @torch.no_grad()
    def pair(
        cls, decoder: Decoder, ids: Sequence[Tensor], others: Sequence[Tensor], keep: Iterable[str] = ("z",)
    ) -> tuple[WalkRuns, WalkRuns]:
        """The runs of ``ids`` and of ``others``, aligned prompt by prompt, in one pass over the weights.

        For short prompts it takes little longer than one of them.
        """
        base = cls(decoder, ids, keep)
        first = _Segment(base, base.decoder.embed(base.flat_ids), None)
        other, segment = base._forked(others, None, base.keep)
        _fill([first, segment], base)
        for runs in (base, other):
            runs._verify([max(range(len(runs)), key=runs.lengths.__getitem__)])
        return base, other

    def _verify(self, prompts: Sequence[int]) -> None:
        """See ``Decoder.verify``."""
        if self.of_ids:
            self.decoder.verify(
                [self.ids[i] for i in prompts], [self.resid[-1][self.starts[i] + self.lengths[i] - 1] for i in prompts]
            )

    def _fork(self, ids: Sequence[Tensor], embed: Tensor | None, keep: Iterable[str]) -> WalkRuns:
        """What is shared is shared exactly, bit by bit, and is not computed again."""
        other, segment = self._forked(ids, embed, keep)
        _fill([segment], self)
        return other

    def _forked(self, ids: Sequence[Tensor], embed: Tensor | None, keep: Iterable[str]) -> tuple[WalkRuns, _Segment]:
        other = WalkRuns(self.decoder, ids, keep)
        self._aligned(other, embed)
        mine = self.embedded
        theirs = self.decoder.embed(other.flat_ids) if embed is None else embed.to(mine)
        differs = (mine != theirs).any(-1)
        start = torch.tensor(self.lengths, device=differs.device)
        start.scatter_reduce_(0, other.prompt[differs], other.position[differs], "amin")
        return other, _Segment(other, theirs, start)

    def _get(self, site: str, layer: int) -> Tensor:
        """A site's activations at a layer, where they were computed, flat over tokens; ``pattern`` is ``[prompt, head,
        query, key]``.

        Raises:
            SiteError: the site was not kept, or the block has none of that name.
        """
        n = self.decoder.n_layers
        # what would enter a block after the last one is what leaves the last
        if not -n <= layer < n + (site == "resid_pre"):
            raise SiteError(f"layer={layer!r} is not there; expected one of the layers 0 to {n - 1}.")
        layer += n * (layer < 0)
        if site in ("resid_pre", "resid_post"):
            return self.resid[layer + (site == "resid_post")]
        if site == "attn_out":
            return self.attn[layer]
        if site == "embed":
            return self.embedded
        if site == "v":
            return self.v[layer]
        if site not in SITES:
            raise SiteError(f"site name={site!r} is not known; expected one of {', '.join(SITES)}.")
        self.decoder.blocks[layer].require(site, layer)
        if site == "resid_mid":
            return self.resid[layer] + self.attn[layer]
        if site not in self.activations:
            raise SiteError(f"site {site!r} was not kept by this run; record it with keep=({site!r},).")
        return self.activations[site][layer]


class _Segment:
    """Runs to be filled: their embeddings, and where each prompt begins to differ from the base run (None: a run of its
    own).
    """

    def __init__(self, runs: WalkRuns, embedded: Tensor, start: Tensor | None):
        self.runs, self.embedded, self.base = runs, embedded, start is not None
        fresh = (
            torch.ones_like(runs.position, dtype=torch.bool) if start is None else runs.position >= start[runs.prompt]
        )
        self.tokens = fresh.nonzero()[:, 0]
        self.sizes = torch.bincount(runs.prompt[self.tokens], minlength=len(runs)).tolist()
        self.x = runs.decoder.place(embedded, runs.position)[self.tokens]
        runs.embedded = embedded

    def to(self, device: torch.device) -> None:
        """What is computed next is computed there."""
        self.x, self.tokens = self.x.to(device), self.tokens.to(device)

    def whole(self, part: Tensor, of_base: Tensor | None) -> Tensor:
        """The tensor over all tokens: what was computed, before it the base run's (shared outright if nothing
        differs).
        """
        if of_base is None:
            return part
        return of_base if not len(self.tokens) else of_base.index_copy(0, self.tokens, part)


def _fill(segments: list[_Segment], base: WalkRuns | None) -> None:
    """Computes the segments layer by layer, prompts in groups; a forked segment takes keys and values from ``base``.

    When the base run is itself a segment, its keys and values are those of the same pass.
    """
    lead, together = segments[0].runs, len(segments) > 1
    decoder = lead.decoder
    groups = _groups([sum(s.sizes[i] for s in segments) for i in range(len(lead))], chunk_tokens(decoder, CHUNK_TOKENS))
    explicit = "pattern" in lead.activations
    # tokens that several prompts begin with are computed once
    share = not together and not segments[0].base and not explicit
    batches = [b for g in groups if (b := _Batch(segments, *g, together=together, share=share)).size]
    for l, block in enumerate(decoder.blocks):
        rope = decoder.rope(max(lead.lengths), block.device)
        for segment in segments:
            segment.to(block.device)
        for batch in batches:
            batch.to(block.device)
        seen: list[dict[str, list[Tensor]]] = [{} for _ in segments]
        outs = [torch.empty_like(s.x) for s in segments]
        with block.resident():
            for batch in batches:
                x = batch.gather([s.x for s in segments])

                def tap(site: str, t: Tensor) -> Tensor:
                    for s, part in enumerate(batch.parts(site, t)):
                        seen[s].setdefault(site, []).append(part)
                    return t

                kv = None if base is None or together else (base.k[l], base.v[l])
                asking = Asking(tap, lead.activations) if "expert" in lead.activations else tap
                attn = attention(block, x, batch.layout, rope, kv, tap, explicit)
                for s, part in enumerate(batch.parts("resid_post", feed_forward(block, x, attn, asking))):
                    outs[s][batch.spans[s]] = part
        for segment, new, out in zip(segments, seen, outs):
            runs, below = segment.runs, base if segment.base else None

            def join(site: str) -> Tensor:
                return torch.cat(new[site]) if new.get(site) else segment.x[:0]

            runs.resid.append(segment.whole(segment.x, None if below is None else below.resid[l]))
            runs.attn.append(segment.whole(join("attn_out"), None if below is None else below.attn[l]))
            runs.k.append(segment.whole(join("placed_k"), None if below is None else below.k[l]))
            runs.v.append(segment.whole(join("v"), None if below is None else below.v[l]))
            for site, tensors in runs.activations.items():
                there = None if below is None else below.activations[site][l]
                if site == "pattern":
                    tensors.append(_patterns(runs, new.get(site, []), batches, segments.index(segment), there))
                elif not block.has(site, l):
                    # a mixture of experts has no neurons, another MLP no experts
                    tensors.append(segment.x.new_empty(0))
                else:
                    tensors.append(segment.whole(join(site), there))
            segment.x = out
    for segment in segments:
        segment.to(decoder.device)
        segment.runs.resid.append(
            segment.whole(segment.x, base.resid[-1] if base is not None and segment.base else None)
        )


class _Batch:
    """Some prompts of every segment, as the rows of one layout: the first segment's prompts, then the second's."""

    def __init__(self, segments: list[_Segment], first: int, last: int, *, together: bool, share: bool):
        lead, n = segments[0].runs, last - first
        self.first, self.n, self.spans, row, position = first, n, [], [], []
        for s, segment in enumerate(segments):
            start = sum(segment.sizes[:first])
            self.spans.append(slice(start, start + sum(segment.sizes[first:last])))
            here = segment.tokens[self.spans[-1]]
            row.append(segment.runs.prompt[here] - first + s * n)
            position.append(segment.runs.position[here])
        self.counts = [s.stop - s.start for s in self.spans]
        self.size, length = sum(self.counts), max(lead.lengths[first:last])
        table = lead.table[first:last, :length] - (int(lead.offset[first]) if together else 0)
        dense = len(segments) == 1 and not segments[0].base and self.size == n * length
        unique, self.copies = _shared(lead.ids[first:last]) if share else (None, None)
        self.layout = Layout(
            torch.cat(row),
            torch.cat(position),
            n * len(segments),
            length,
            base=table.repeat(len(segments), 1),
            dense=dense,
            within=self.counts[0] if together else None,
            query=unique,
            copies=self.copies,
        )

    def to(self, device: torch.device) -> None:
        """The indexes to another device."""
        self.layout = self.layout.to(device)
        self.copies = self.layout.copies

    def gather(self, xs: list[Tensor]) -> Tensor:
        """The tokens to compute: those of all segments, each that prompts share but once."""
        parts = [x[span] for x, span in zip(xs, self.spans)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole if self.copies is None else whole[self.layout.query]

    def parts(self, site: str, t: Tensor) -> tuple[Tensor, ...]:
        """A tensor of the batch by segment: over rows for ``pattern``, else over tokens."""
        if self.copies is not None:
            t = t[self.copies]
        # torch's split has no annotations
        parts: tuple[Tensor, ...] = t.split(self.n) if site == "pattern" else t.split(self.counts)
        return parts


def _shared(ids: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """Of the tokens of prompts, one after another: the first of those that follow the same tokens, and for each token
    which of these it equals.

    Nothing where this leaves nine tokens of ten or more to compute.
    """
    seen: dict[tuple[int, int], int] = {}
    first: list[int] = []
    copies: list[int] = []
    for tokens in ids:
        node = -1
        for token in tokens.tolist():
            number = seen.setdefault((node, token), len(first))
            if number == len(first):
                first.append(len(copies))
            copies.append(number)
            node = number
    if len(first) >= 0.9 * len(copies):
        return None, None

    def put(a: list[int]) -> Tensor:
        return torch.tensor(a, device=ids[0].device)

    return put(first), put(copies)


def _patterns(
    runs: WalkRuns, parts: list[Tensor], batches: list[_Batch], segment: int, of_base: Tensor | None
) -> Tensor:
    """Attention patterns ``[prompt, head, query, key]``, queries before a fork being the base run's."""
    longest, decoder = max(runs.lengths), runs.decoder
    whole = (
        torch.zeros(
            len(runs), decoder.n_heads, longest, longest, dtype=decoder.dtype, device=batches[0].layout.row.device
        )
        if of_base is None
        else of_base.clone()
    )
    for part, batch in zip(parts, batches):
        lay, low = batch.layout, segment * batch.n
        mine = (lay.q_row >= low) & (lay.q_row < low + batch.n)
        row, slot, at = lay.q_row[mine] - low, lay.slot[mine], lay.q_position[mine]
        whole[batch.first + row, :, at, : lay.length] = part[row, :, slot]
    return whole


def _groups(sizes: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Consecutive prompts ``[first, last)`` of at most so many new tokens together."""
    groups, first, total = [], 0, 0
    for i, size in enumerate(sizes):
        if total and total + size > most:
            groups.append((first, i))
            first, total = i, 0
        total += size
    return [*groups, (first, len(sizes))]
