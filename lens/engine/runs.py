"""Unedited runs, kept for forking: the residual stream, keys and values of a batch of prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .decoder import Decoder, UnsupportedModel
from .forward import Layout, attention, feed_forward
from .sites import ORDER, SiteError, indices

#: Tokens a recording pushes through a layer at once; bounds the working memory, not the result.
CHUNK_TOKENS = 2048
_ALWAYS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "v")


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

    Prompt ``i`` occupies rows ``offset[i] : offset[i] + lengths[i]``. Kept at every layer: ``resid_pre``, ``attn_out``, the
    keys and values; other sites (``embed``, ``q``, ``k``, ``pattern``, ``z``, ``neuron``, ``mlp_out``) when named in ``keep``.

    >>> run = Runs.record(model, [ids], keep=("z",))          # doctest: +SKIP
    >>> run.get("z", 3).shape                                 # doctest: +SKIP
    torch.Size([16, 9, 64])
    """

    def __init__(self, decoder: Decoder, ids: Sequence[Int[Tensor, "length"]], keep: Iterable[str]):
        self.decoder, self.ids = decoder, [torch.as_tensor(i, device=decoder.device).reshape(-1) for i in ids]
        if not self.ids:
            raise ValueError("ids=[] holds no prompt; give at least one tensor of token ids.")
        self.lengths = [len(i) for i in self.ids]
        if min(self.lengths) == 0:
            raise ValueError(f"ids: prompt {self.lengths.index(0)} is empty; every prompt needs at least one token.")
        longest, flat = max(self.lengths), torch.cat(self.ids)
        limit = min(x for x in (decoder.window, decoder.max_length, 10**9) if x)
        if longest > limit:
            raise UnsupportedModel(f"a prompt of {longest} tokens is longer than the {limit} that the written-out attention covers.")
        if flat.min() < 0 or flat.max() >= decoder.embedding.weight.shape[0]:
            bad = flat[(flat < 0) | (flat >= decoder.embedding.weight.shape[0])][0].item()
            raise ValueError(f"ids: token {bad} is not in the vocabulary of {decoder.embedding.weight.shape[0]} tokens; was another tokenizer used?")
        self.keep = tuple(sorted(set(keep) - set(_ALWAYS), key=ORDER.__getitem__))
        total = torch.tensor(self.lengths)
        self.offset = (total.cumsum(0) - total).to(decoder.device)
        self.prompt = torch.repeat_interleave(torch.arange(len(ids)), total).to(decoder.device)
        self.position = torch.cat([torch.arange(n) for n in self.lengths]).to(decoder.device)
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
        return f"Runs({len(self)} prompts, {sum(self.lengths)} tokens, {self.decoder.n_layers} layers, keep={self.keep}, {self.nbytes / 2**20:.1f} MiB)"

    @property
    def flat_ids(self) -> Int[Tensor, "n_tokens"]:
        return torch.cat(self.ids)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for group in (self.resid, self.attn, self.k, self.v, *self.kept.values()) for t in group)

    @classmethod
    @torch.no_grad()
    def record(cls, model: Any, ids: Sequence[Tensor], keep: Iterable[str] = ("z",), stop: Callable[[], bool] | None = None) -> "Runs":
        """Runs every prompt once and keeps what edits need.

        Args:
            model: a ``TransformerBridge``, a Hugging Face causal model or a ``Decoder``.
            ids: one tensor of token ids a prompt; lengths may differ.
            keep: sites to keep beside those always kept.

        Raises:
            ValueError: an empty prompt, or a token outside the vocabulary.
            UnsupportedModel: see ``Decoder.of``.
        """
        decoder = Decoder.of(model) if not isinstance(model, Decoder) else model
        runs = cls(decoder, ids, keep)
        embedded = decoder.embed(runs.flat_ids)
        runs._fill(embedded, torch.zeros(len(runs), dtype=torch.long, device=decoder.device), None)
        return runs

    @torch.no_grad()
    def fork(self, ids: Sequence[Tensor] | None = None, embed: Float[Tensor, "n_tokens d_model"] | None = None, keep: Iterable[str] | None = None) -> "Runs":
        """The runs of other prompts of the same lengths, sharing what comes before the first difference.

        Either ``ids`` (other tokens) or ``embed`` (other token embeddings, e.g. with noise) differs. What is shared is shared
        exactly, bit by bit, and is not computed again.

        Raises:
            ValueError: a prompt of another length.
        """
        ids = self.ids if ids is None else ids
        other = Runs(self.decoder, ids, self.keep if keep is None else keep)
        if other.lengths != self.lengths:
            raise ValueError(f"ids: lengths {other.lengths} differ from the base run's {self.lengths}; prompts must align token by token.")
        mine = self.decoder.embed(self.flat_ids)
        theirs = self.decoder.embed(other.flat_ids) if embed is None else embed.to(mine)
        differs = (mine != theirs).any(-1)
        start = torch.tensor(self.lengths, device=differs.device)
        start.scatter_reduce_(0, other.prompt[differs], other.position[differs], "amin")
        missing = set(other.keep) - set(self.keep)
        if missing:
            raise ValueError(f"keep={sorted(missing)} is not kept by the base run; record it with keep={other.keep}.")
        other._fill(theirs, start, self)
        return other

    def get(self, site: str, layer: int) -> Tensor:
        """A site's activations at a layer, flat over tokens; ``pattern`` is ``[prompt, head, query, key]``.

        Raises:
            SiteError: the site was not kept, or the block has none of that name.
        """
        if site in ("resid_pre", "resid_post"):
            return self.resid[layer + (site == "resid_post")]
        if site == "attn_out":
            return self.attn[layer]
        if site == "v":
            return self.v[layer]
        if site not in ORDER:
            raise SiteError(f"site name={site!r} is not known; expected one of {', '.join(ORDER)}.")
        if site == "resid_mid":
            if self.decoder.blocks[layer].parallel:
                raise SiteError("site 'resid_mid' does not exist: this model's attention and MLP run side by side; use 'attn_out' or 'resid_post'.")
            return self.resid[layer] + self.attn[layer]
        if site not in self.kept:
            raise SiteError(f"site {site!r} was not kept by this run; record it with keep=({site!r},).")
        return self.kept[site][0 if site == "embed" else layer]

    def _fill(self, embedded: Tensor, start: Tensor, base: "Runs | None") -> None:
        """Computes every prompt from its ``start`` on, the rest being ``base``'s; layer by layer, prompts in chunks."""
        decoder, device = self.decoder, self.decoder.device
        fresh = self.position >= start[self.prompt]
        tokens = fresh.nonzero()[:, 0]
        if "embed" in self.kept:
            self.kept["embed"] = [embedded]
        x = decoder.place(embedded, self.position)[tokens]
        groups = _groups([int((self.lengths[i] - start[i])) for i in range(len(self))])
        bounds = torch.searchsorted(self.prompt[tokens].contiguous(), torch.tensor([g[0] for g in groups] + [len(self)], device=device)).tolist()
        layouts, rope, explicit = [], decoder.rope(max(self.lengths)), "pattern" in self.kept
        for (first, last), a, b in zip(groups, bounds, bounds[1:]):
            rows, length = range(first, last), max(self.lengths[first:last])
            here = tokens[a:b]
            dense = base is None and len(here) == len(rows) * length
            lay = Layout(self.prompt[here] - first, self.position[here], len(rows), length, base=self.table[first:last, :length], dense=dense)
            layouts.append((lay, slice(a, b), lay.mask()))
        for l, block in enumerate(decoder.blocks):
            self.resid.append(self._whole(x, tokens, base, lambda r: r.resid[l]))
            new: dict[str, list[Tensor]] = {}
            out = torch.empty_like(x)
            for lay, span, mask in layouts:
                if span.stop == span.start:
                    continue
                def tap(site, t):
                    new.setdefault(site, []).append(t)
                    return t
                attn = attention(block, x[span], lay, rope, None if base is None else (base.k[l], base.v[l]), tap, explicit, mask)
                out[span] = feed_forward(block, x[span], attn, tap)
            join = lambda site: torch.cat(new[site]) if site in new else None
            self.attn.append(self._whole(join("attn_out"), tokens, base, lambda r: r.attn[l]))
            self.k.append(self._whole(join("placed_k"), tokens, base, lambda r: r.k[l]))
            self.v.append(self._whole(join("v"), tokens, base, lambda r: r.v[l]))
            for site in self.kept:
                if site == "pattern":
                    self.kept[site].append(self._patterns(new.get("pattern", []), layouts, base, l))
                elif site != "embed":
                    self.kept[site].append(self._whole(join(site), tokens, base, lambda r: r.kept[site][l]))
            x = out
        self.resid.append(self._whole(x, tokens, base, lambda r: r.resid[-1]))

    @staticmethod
    def _whole(part: Tensor | None, tokens: Tensor, base: "Runs | None", pick: Callable) -> Tensor:
        """The tensor over all tokens: what was computed, the rest from the base run (shared outright if nothing was)."""
        if base is None:
            return part
        return pick(base) if part is None or not len(tokens) else pick(base).index_copy(0, tokens, part)

    def _patterns(self, parts: list[Tensor], layouts: list, base: "Runs | None", layer: int) -> Tensor:
        longest, heads = max(self.lengths), self.decoder.n_heads
        whole = torch.zeros(len(self), heads, longest, longest, dtype=self.decoder.dtype, device=self.decoder.device) if base is None \
            else base.kept["pattern"][layer].clone()
        parts, first = list(parts), 0
        for lay, span, _ in layouts:
            if span.stop > span.start:
                part = parts.pop(0)
                whole[first + lay.q_row, :, lay.q_position, :lay.length] = part[lay.q_row, :, lay.slot]
            first += lay.n_rows
        return whole


def _groups(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive prompts ``[first, last)`` of at most ``CHUNK_TOKENS`` new tokens together."""
    groups, first, total = [], 0, 0
    for i, size in enumerate(sizes):
        if total and total + size > CHUNK_TOKENS:
            groups.append((first, i))
            first, total = i, 0
        total += size
    return groups + [(first, len(sizes))]


@torch.no_grad()
def mean_activation(model: Any, ids: Sequence[Tensor], site: str, layer: int, position: str | int = "all") -> Tensor:
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
