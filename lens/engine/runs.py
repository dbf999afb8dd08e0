"""Unedited runs, kept for forking: the residual stream, keys and values of a batch of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import Filled, HFModel, Index, door, unfit
from .errors import RunError, UnsupportedModel
from .sites import ORDER, SITES, SiteError, indices
from .walk.decoder import Decoder
from .walk.forward import Layout, attention, feed_forward

#: Tokens a recording pushes through a layer at once; bounds the working memory, not the result.
CHUNK_TOKENS = 2048
_ALWAYS = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "v")

#: A site that a run can keep.
Kept = Literal[SITES]


@dataclass(frozen=True)
class Source:
    """One prompt of some runs, to copy activations from."""

    runs: "Runs"
    prompt: int

    @property
    def length(self) -> int:
        return self.runs.lengths[self.prompt]

    @property
    def start(self) -> int:
        return self.runs.starts[self.prompt]


class Runs:
    """The forward passes of several prompts, token by token in flat tensors.

    Prompt ``i`` occupies rows ``offset[i] : offset[i] + lengths[i]``. Kept at every layer: ``resid_pre``, ``attn_out``,
    the keys and values, and the token embeddings; other sites (``q``, ``k``, ``pattern``, ``z``, ``neuron``,
    ``mlp_out``) when named in ``keep``.

    >>> run = Runs.record(model, [ids], keep=("z",))          # doctest: +SKIP
    >>> run.get("z", 3).shape                                 # doctest: +SKIP
    torch.Size([16, 9, 64])
    """

    def __init__(self, decoder: Decoder, ids: Sequence[Int[Tensor, " length"]], keep: Iterable[str]):
        self.decoder, self.ids = decoder, [torch.as_tensor(i, device=decoder.device).reshape(-1) for i in ids]
        if not self.ids:
            raise RunError("ids=[] holds no prompt; give at least one tensor of token ids.")
        self.lengths = [len(i) for i in self.ids]
        if min(self.lengths) == 0:
            raise RunError(f"ids: prompt {self.lengths.index(0)} is empty; every prompt needs at least one token.")
        if wrong := [
            i for i, one in enumerate(self.ids) if one.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8)
        ]:
            raise RunError(unfit(f"ids[{wrong[0]}]", self.ids[wrong[0]], "token ids, whole numbers"))
        longest, flat = max(self.lengths), torch.cat(self.ids)
        if decoder.max_length and longest > decoder.max_length:
            raise UnsupportedModel(
                f"a prompt of {longest} tokens is longer than the {decoder.max_length} positions of the model."
            )
        if flat.min() < 0 or flat.max() >= decoder.embedding.weight.shape[0]:
            bad = flat[(flat < 0) | (flat >= decoder.embedding.weight.shape[0])][0].item()
            raise RunError(
                f"ids: token {bad} is not in the vocabulary of {decoder.embedding.weight.shape[0]} tokens; was another"
                " tokenizer used?"
            )
        self.keep = tuple(sorted(set(keep) - set(_ALWAYS), key=ORDER.__getitem__))
        total = torch.tensor(self.lengths)
        self.offset = (total.cumsum(0) - total).to(decoder.device)
        self.prompt = torch.repeat_interleave(torch.arange(len(ids)), total).to(decoder.device)
        self.position = torch.cat([torch.arange(n) for n in self.lengths]).to(decoder.device)
        #: token embeddings that the run began with, ``[n_tokens, d_model]``; for noised runs not the vocabulary's
        self.embedded: Tensor | None = None
        #: whether the run is that of its token ids (a noised one is not)
        self.of_ids = True
        self.resid: list[Tensor] = []
        self.attn: list[Tensor] = []
        self.k: list[Tensor] = []
        self.v: list[Tensor] = []
        self.kept: dict[str, list[Tensor]] = {site: [] for site in self.keep}

        self.starts = self.offset.tolist()
        #: index of every prompt's tokens, ``[prompt, longest]``, clipped at its end
        at = torch.arange(longest, device=decoder.device)[None].expand(len(self), -1)
        self.table = torch.minimum(at, total.to(decoder.device)[:, None] - 1) + self.offset[:, None]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, prompt: int) -> "Source":
        """One prompt of the runs, as something to copy from."""
        return Source(self, indices(prompt, len(self), "prompt")[0])

    def __repr__(self) -> str:
        return (
            f"Runs({len(self)} prompts, {sum(self.lengths)} tokens, {self.decoder.n_layers} layers, keep={self.keep},"
            f" {self.nbytes / 2**20:.1f} MiB)"
        )

    @property
    def flat_ids(self) -> Int[Tensor, " n_tokens"]:
        return torch.cat(self.ids)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for group in (self.resid, self.attn, self.k, self.v, *self.kept.values()) for t in group)

    @classmethod
    @door(RunError)
    @torch.no_grad()
    def record(
        cls, model: Decoder | HFModel, ids: Sequence[Tensor], keep: Sequence[Kept] | Set[Kept] = ("z",)
    ) -> "Runs":
        """Runs every prompt once and keeps what edits need.

        Args:
            model: a ``TransformerBridge``, a Hugging Face causal model or a ``Decoder``.
            ids: one tensor of token ids a prompt; lengths may differ.
            keep: sites to keep beside those always kept.

        Raises:
            RunError: an empty prompt, or a token outside the vocabulary.
            UnsupportedModel: see ``Decoder.of``.
        """
        runs = cls(Decoder.of(model), ids, keep)
        _fill([_Segment(runs, runs.decoder.embed(runs.flat_ids), None)], None)
        runs.verify([max(range(len(runs)), key=runs.lengths.__getitem__)])
        return runs

    @door(RunError)
    def verify(self, prompts: Annotated[Sequence[Index], Filled()] | None = None) -> None:
        """Compares the final residual streams of some prompts (all by default) with the model's own forward; see
        ``Decoder.verify``.

        ``record`` does so for the longest prompt; a sweep for every prompt whose unedited values it gives.

        Raises:
            UnsupportedModel: they differ.
        """
        if self.of_ids:
            chosen = range(len(self)) if prompts is None else list(prompts)
            self.decoder.verify(
                [self.ids[i] for i in chosen], [self.resid[-1][self.starts[i] + self.lengths[i] - 1] for i in chosen]
            )

    @classmethod
    @door(RunError)
    @torch.no_grad()
    def record_pair(
        cls,
        model: Decoder | HFModel,
        ids: Sequence[Tensor],
        others: Sequence[Tensor],
        keep: Sequence[Kept] | Set[Kept] = ("z",),
    ) -> tuple["Runs", "Runs"]:
        """The runs of ``ids`` and of ``others``, aligned prompt by prompt, in one pass over the weights.

        Equal to ``record`` and then ``fork``; for short prompts it takes little longer than one of them.
        """
        base = cls(Decoder.of(model), ids, keep)
        first = _Segment(base, base.decoder.embed(base.flat_ids), None)
        other, segment = base._forked(others, None, None)
        _fill([first, segment], base)
        return base, other

    @door(RunError)
    @torch.no_grad()
    def fork(
        self,
        ids: Sequence[Tensor] | None = None,
        embed: Float[Tensor, "n_tokens d_model"] | None = None,
        keep: Sequence[Kept] | Set[Kept] | None = None,
    ) -> "Runs":
        """The runs of other prompts of the same lengths, sharing what comes before the first difference.

        Either ``ids`` (other tokens) or ``embed`` (other token embeddings, e.g. with noise) differs. What is shared is
        shared exactly, bit by bit, and is not computed again.

        Raises:
            RunError: a prompt of another length.
        """
        other, segment = self._forked(self.ids if ids is None else ids, embed, keep)
        _fill([segment], self)
        return other

    def _forked(self, ids, embed, keep) -> tuple["Runs", "_Segment"]:
        other = Runs(self.decoder, ids, self.keep if keep is None else keep)
        if other.lengths != self.lengths:
            raise RunError(
                f"ids: lengths {other.lengths} differ from the base run's {self.lengths}; prompts must align token by"
                " token."
            )
        other.of_ids = embed is None and self.of_ids
        missing = set(other.keep) - set(self.keep)
        if missing:
            raise RunError(f"keep={sorted(missing)} is not kept by the base run; record it with keep={other.keep}.")
        mine = self.embedded
        if embed is not None and embed.shape != mine.shape:
            raise RunError(unfit("embed", embed, f"one row a token, shape {tuple(mine.shape)}"))
        theirs = self.decoder.embed(other.flat_ids) if embed is None else embed.to(mine)
        differs = (mine != theirs).any(-1)
        start = torch.tensor(self.lengths, device=differs.device)
        start.scatter_reduce_(0, other.prompt[differs], other.position[differs], "amin")
        return other, _Segment(other, theirs, start)

    @door(SiteError)
    def get(self, site: str, layer: Index) -> Tensor:
        """A site's activations at a layer, flat over tokens; ``pattern`` is ``[prompt, head, query, key]``.

        Raises:
            SiteError: the site was not kept, or the block has none of that name.
        """
        n = self.decoder.n_layers
        # what would enter a block after the last one is what leaves the last
        if not -n <= layer < n + (site == "resid_pre"):
            raise SiteError(unfit("layer", layer, f"one of the layers 0 to {n - 1}"))
        layer += n * (layer < 0)
        if site in ("resid_pre", "resid_post"):
            return self.resid[layer + (site == "resid_post")]
        if site == "attn_out":
            return self.attn[layer]
        if site == "embed":
            return self.embedded
        if site == "v":
            return self.v[layer]
        if site not in ORDER:
            raise SiteError(f"site name={site!r} is not known; expected one of {', '.join(ORDER)}.")
        self.decoder.blocks[layer].require(site, layer)
        if site == "resid_mid":
            return self.resid[layer] + self.attn[layer]
        if site not in self.kept:
            raise SiteError(f"site {site!r} was not kept by this run; record it with keep=({site!r},).")
        return self.kept[site][layer]


class _Segment:
    """Runs to be filled: their embeddings, and where each prompt begins to differ from the base run (None: a run of its
    own).
    """

    def __init__(self, runs: Runs, embedded: Tensor, start: Tensor | None):
        self.runs, self.embedded, self.base = runs, embedded, start is not None
        fresh = (
            torch.ones_like(runs.position, dtype=torch.bool) if start is None else runs.position >= start[runs.prompt]
        )
        self.tokens = fresh.nonzero()[:, 0]
        self.sizes = torch.bincount(runs.prompt[self.tokens], minlength=len(runs)).tolist()
        self.x = runs.decoder.place(embedded, runs.position)[self.tokens]
        runs.embedded = embedded

    def whole(self, part: Tensor, of_base: Tensor | None) -> Tensor:
        """The tensor over all tokens: what was computed, before it the base run's (shared outright if nothing
        differs).
        """
        if not self.base:
            return part
        return of_base if not len(self.tokens) else of_base.index_copy(0, self.tokens, part)


def _fill(segments: list[_Segment], base: Runs | None) -> None:
    """Computes the segments layer by layer, prompts in groups; a forked segment takes keys and values from ``base``.

    When the base run is itself a segment, its keys and values are those of the same pass.
    """
    lead, together = segments[0].runs, len(segments) > 1
    decoder = lead.decoder
    groups = _groups([sum(s.sizes[i] for s in segments) for i in range(len(lead))])
    explicit = "pattern" in lead.kept
    # tokens that several prompts begin with are computed once
    share = not together and not segments[0].base and not explicit
    batches = [b for g in groups if (b := _Batch(segments, *g, together=together, share=share)).size]
    rope = decoder.rope(max(lead.lengths))
    for l, block in enumerate(decoder.blocks):
        seen: list[dict[str, list[Tensor]]] = [{} for _ in segments]
        outs = [torch.empty_like(s.x) for s in segments]
        for batch in batches:
            x = batch.gather([s.x for s in segments])

            def tap(site, t):
                for s, part in enumerate(batch.parts(site, t)):
                    seen[s].setdefault(site, []).append(part)
                return t

            kv = None if base is None or together else (base.k[l], base.v[l])
            attn = attention(block, x, batch.layout, rope, kv, tap, explicit)
            for s, part in enumerate(batch.parts("resid_post", feed_forward(block, x, attn, tap))):
                outs[s][batch.spans[s]] = part
        for segment, new, out in zip(segments, seen, outs):
            runs, join = segment.runs, lambda site: torch.cat(new[site]) if new.get(site) else None

            def of(pick):
                return pick(base) if segment.base else None

            runs.resid.append(segment.whole(segment.x, of(lambda r: r.resid[l])))
            runs.attn.append(segment.whole(join("attn_out"), of(lambda r: r.attn[l])))
            runs.k.append(segment.whole(join("placed_k"), of(lambda r: r.k[l])))
            runs.v.append(segment.whole(join("v"), of(lambda r: r.v[l])))
            for site in runs.kept:
                if site == "pattern":
                    runs.kept[site].append(
                        _patterns(
                            runs, new.get(site, []), batches, segments.index(segment), of(lambda r: r.kept[site][l])
                        )
                    )
                elif site == "neuron" and block.d_mlp is None:
                    runs.kept[site].append(segment.x.new_empty(0))  # a mixture of experts has none
                else:
                    runs.kept[site].append(segment.whole(join(site), of(lambda r: r.kept[site][l])))
            segment.x = out
    for segment in segments:
        segment.runs.resid.append(segment.whole(segment.x, base.resid[-1] if segment.base else None))


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

    def gather(self, xs: list[Tensor]) -> Tensor:
        """The tokens to compute: those of all segments, each that prompts share but once."""
        parts = [x[span] for x, span in zip(xs, self.spans)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole if self.copies is None else whole[self.layout.query]

    def parts(self, site: str, t: Tensor) -> tuple[Tensor, ...]:
        """A tensor of the batch by segment: over rows for ``pattern``, else over tokens."""
        if self.copies is not None:
            t = t[self.copies]
        return t.split(self.n) if site == "pattern" else t.split(self.counts)


def _shared(ids: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """Of the tokens of prompts, one after another: the first of those that follow the same tokens, and for each token
    which of these it equals.

    Nothing where this leaves nine tokens of ten or more to compute.
    """
    seen: dict[tuple[int, int], int] = {}
    first, copies = [], []
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

    def put(a):
        return torch.tensor(a, device=ids[0].device)

    return put(first), put(copies)


def _patterns(runs: Runs, parts: list[Tensor], batches: list[_Batch], segment: int, of_base: Tensor | None) -> Tensor:
    """Attention patterns ``[prompt, head, query, key]``, queries before a fork being the base run's."""
    longest, decoder = max(runs.lengths), runs.decoder
    whole = (
        torch.zeros(len(runs), decoder.n_heads, longest, longest, dtype=decoder.dtype, device=decoder.device)
        if of_base is None
        else of_base.clone()
    )
    for part, batch in zip(parts, batches):
        lay, low = batch.layout, segment * batch.n
        mine = (lay.q_row >= low) & (lay.q_row < low + batch.n)
        row, slot, at = lay.q_row[mine] - low, lay.slot[mine], lay.q_position[mine]
        whole[batch.first + row, :, at, : lay.length] = part[row, :, slot]
    return whole


def _groups(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive prompts ``[first, last)`` of at most ``CHUNK_TOKENS`` new tokens together."""
    groups, first, total = [], 0, 0
    for i, size in enumerate(sizes):
        if total and total + size > CHUNK_TOKENS:
            groups.append((first, i))
            first, total = i, 0
        total += size
    return [*groups, (first, len(sizes))]


@door(SiteError)
@torch.no_grad()
def mean_activation(
    model: Decoder | HFModel, ids: Sequence[Tensor], site: Kept, layer: Index, position: Literal["all"] | Index = "all"
) -> Tensor:
    """The mean of a site's activation over prompts, for edits of kind ``mean``.

    Args:
        position: ``"all"`` averages over every token of every prompt; an int takes that position of each prompt
            (negative counts from each prompt's end).

    Returns: ``[*site width]``, e.g. ``[d_model]`` or ``[n_heads, d_head]``.

    Raises:
        SiteError: the position lies outside one of the prompts.
    """
    runs = Runs.record(model, ids, keep=(site,))
    values = runs.get(site, layer)
    if position == "all":
        return values.mean(0)
    if not all(-n <= position < n for n in runs.lengths):
        raise SiteError(f"position={position} is out of range; the shortest prompt has {min(runs.lengths)} tokens.")
    at = torch.tensor([position % n for n in runs.lengths], device=values.device) + runs.offset
    return values[at].mean(0)
