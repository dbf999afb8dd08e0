"""Texts read by the written-out blocks: flat tokens of all rows, keys and values of each row at its own positions.

A token's column among the keys is its position, so nothing is padded on the left and windows are those of the text by
itself. What all texts begin with is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..memory import chunk_tokens
from ..walk.decoder import Decoder
from ..walk.forward import Asking, Layout, attend, feed_forward
from .acts import Acts, Tokens

#: Tokens that go through a block at once on a CPU.
CHUNK_TOKENS = 2048
#: Columns by which keys and values grow, at least.
_MORE = 64


class _Placed:
    """Where the tokens of a forward stand, for every layer alike: made once for each device.

    Attributes:
        row: of the batch, for each token. turns: cosine and sine of each token, by the name of the rotary table.
    """

    def __init__(self, lay: Layout, first: int):
        self.lay, self.first = lay, first
        self.row = lay.row + first
        self.turns: dict[str | None, tuple[Tensor, Tensor] | tuple[None, None]] = {}
        self._into: dict[tuple[int, int], Tensor] = {}

    def into(self, heads: int, columns: int) -> Int[Tensor, " n"]:
        """Where the keys of the tokens, head after head, lie among those of all rows, heads and columns."""
        if (heads, columns) not in self._into:
            of_head = self.row[:, None] * heads + torch.arange(heads, device=self.row.device)
            self._into[heads, columns] = (of_head * columns + self.lay.position[:, None]).flatten()
        return self._into[heads, columns]

    def to(self, decoder: Decoder, device: torch.device) -> _Placed:
        """The same on another device."""
        if self.turns and self.row.device == device:
            return self
        out = _Placed(self.lay.to(device), self.first)
        for name, (cos, sin) in decoder.rope(self.lay.length, device).items():
            out.turns[name] = (
                (None, None) if cos is None or sin is None else (cos[out.lay.position], sin[out.lay.position])
            )
        return out


class WrittenOut:
    """Some texts on their way, as rows of one batch."""

    def __init__(self, decoder: Decoder, acts: Acts):
        self.decoder, self.acts = decoder, acts
        #: keys (as the queries meet them) and values, by layer: ``[rows, kv_heads, columns, width]``
        self.k: list[Tensor | None] = [None] * decoder.n_layers
        self.v: list[Tensor | None] = [None] * decoder.n_layers
        self.lengths: list[int] = []
        self.who: list[int] = []
        self._rows, self._at_once = 0, chunk_tokens(decoder, CHUNK_TOKENS)

    @torch.no_grad()
    def start(self, prompts: Sequence[Int[Tensor, " length"]], who: Sequence[int]) -> Float[Tensor, "rows d_vocab"]:
        """The logits after each prompt. who: which text each is."""
        sizes = [len(p) for p in prompts]
        self._rows, self.who, self.lengths = len(prompts), list(who), sizes
        shared = self.acts.shared(prompts)
        if shared:
            self._read([prompts[0][:shared]], [0], range(1), 0, [list(who)])
        out, first = [], 0
        while first < len(prompts):
            last = first + 1
            while last < len(prompts) and sum(sizes[first : last + 1]) - shared * (last + 1 - first) <= self._at_once:
                last += 1
            part = range(first, last)
            out.append(
                self._read([prompts[i][shared:] for i in part], [shared] * len(part), part, 0, [[who[i]] for i in part])
            )
            first = last
        return torch.cat(out)

    @torch.no_grad()
    def step(self, new: Int[Tensor, " rows"], step: int, logits: Tensor) -> Float[Tensor, "rows d_vocab"]:
        """The logits after one more token of each row; `logits`: those that it was chosen by."""
        starts = self.lengths
        self.lengths = [n + 1 for n in starts]
        return self._read(new[:, None].unbind(), starts, range(self._rows), step, [[who] for who in self.who], logits)

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on."""
        for of in (self.k, self.v):
            for layer, t in enumerate(of):
                if t is not None:
                    of[layer] = t[torch.tensor(rows, device=t.device)]
        self.lengths, self.who = [self.lengths[r] for r in rows], [self.who[r] for r in rows]
        self._rows = len(rows)

    def _read(
        self,
        texts: Sequence[Tensor],
        starts: Sequence[int],
        rows: range,
        step: int,
        who: Sequence[Sequence[int]],
        logits: Tensor | None = None,
    ) -> Tensor:
        """The logits at the last token of each text, which goes on at `starts`. One text for the shared beginning is of
        all rows.
        """
        decoder, device = self.decoder, self.decoder.device
        counts = torch.tensor([len(t) for t in texts])
        row = torch.repeat_interleave(torch.arange(len(texts)), counts)
        first = counts.cumsum(0) - counts
        position = (torch.arange(int(counts.sum())) - first[row] + torch.tensor(starts)[row]).to(device)
        row, ids, length = row.to(device), torch.cat(list(texts)).to(device), int(position.max()) + 1
        shared = len(who[0]) > 1
        # a text's end is not known from a part of it
        ends = [n + s for n, s in zip(counts.tolist(), starts)]
        whole = [self.lengths[w] for w in range(self._rows)] if shared else ends
        last = (counts.cumsum(0) - 1).to(device)
        tokens = Tokens(ids, row, position, whole[: len(texts)], last[:0] if shared else last, who)
        self.acts.begin(step, tokens, logits)
        lay = Layout(row, position, len(texts), length, counts=counts.numpy(), first=first.to(device))
        x = self._at("embed", 0, decoder.embed(ids))
        x = decoder.place(x, position)
        span, placed = slice(None) if shared else slice(rows.start, rows.stop), _Placed(lay, rows.start)
        for layer, block in enumerate(decoder.blocks):
            x, placed = x.to(block.device), placed.to(decoder, block.device)
            with block.resident():
                x = self._block(layer, block, x, placed, span)
        if shared:
            return x[:0]
        return decoder.unembed(x[last.to(x.device)].to(device))

    def _at(self, site: str, layer: int, x: Tensor) -> Tensor:
        return self.acts.through((site, layer), x)

    def _block(self, layer: int, block: Any, x: Tensor, placed: _Placed, rows: slice) -> Tensor:
        acts, lay = self.acts, placed.lay

        def tap(site: str, t: Tensor) -> Tensor:
            if (site, layer) not in touched:
                return t
            if site != "pattern":
                return acts.through((site, layer), t)
            # [row, head, slot, key] as tokens' [token, head, key]
            flat = t.transpose(1, 2)[lay.q_row, lay.slot]
            new = acts.through(("pattern", layer), flat)
            if new is flat:
                return t
            t = t.transpose(1, 2).clone()
            t[lay.q_row, lay.slot] = new
            return t.transpose(1, 2)

        touched = acts.places
        x = tap("resid_pre", x)
        normed = block.norm_attn(x)
        q, k, v = block.qkv(normed)
        q, k, v = tap("q", q), tap("k", k), tap("v", v)
        cos, sin = placed.turns[block.table] if block.rotary else (None, None)
        q, k, v = block.placed_q(q, cos, sin), block.placed_k(k, cos, sin), block.placed_v(v)
        keys, values = self._store(self.k, layer, k, placed, rows), self._store(self.v, layer, v, placed, rows)
        z = attend(block, q, keys.transpose(1, 2), values.transpose(1, 2), lay, tap, ("pattern", layer) in touched)
        attn = tap("attn_out", block.out(tap("z", z)))
        return feed_forward(block, x, attn, Asking(tap, ("expert",)) if ("expert", layer) in touched else tap)

    def _store(self, of: list[Tensor | None], layer: int, new: Tensor, placed: _Placed, rows: slice) -> Tensor:
        """Puts new keys or values where their tokens stand; those of the rows at hand, up to the newest."""
        kept, length = of[layer], placed.lay.length
        if kept is None or kept.shape[2] < length:
            columns = max([length, *self.lengths]) + _MORE
            grown = new.new_zeros(self._rows, new.shape[1], columns, new.shape[2])
            if kept is not None:
                grown[:, :, : kept.shape[2]] = kept
            of[layer] = kept = grown
        if rows == slice(None):
            kept[:, :, :length] = new.transpose(0, 1)
            return kept[:1, :, :length]
        kept.view(-1, kept.shape[3]).index_copy_(0, placed.into(*kept.shape[1:3]), new.flatten(0, 1))
        return kept[rows, :, :length]
