"""One block on a flat batch of tokens: the arithmetic that recording, walking and differentiating share.

Rows (runs of one prompt each) lie one after another in a flat tensor ``[n_tokens, d_model]``, so that every linear
layer is one matrix product whatever the rows' lengths. A row may start in the middle of its prompt: the keys and values
before its start come from a base run. ``tap(site, tensor)`` is called at every site and returns the tensor to go on
with: edits, recording and gradients are taps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .kernels import fused, serves

if TYPE_CHECKING:
    from .common import Common
    from .decoder import Block, Decoder

#: Queries times keys of a row up to which attention is written out on a CPU.
FEW = 128
Tap = Callable[[str, Tensor], Tensor]
#: Rotary tables, cosine and sine, by the name by which a block asks for its own.
Ropes = Mapping[str | None, tuple[Tensor, Tensor] | tuple[None, None]]


def no_tap(site: str, x: Tensor) -> Tensor:
    """Leaves everything as it is."""
    return x


@dataclass(frozen=True)
class Asking:
    """A tap that wants sites whose tensors are made for who asks alone: what each expert adds, and weights on experts
    of which the gradient is taken.
    """

    tap: Tap
    sites: Collection[str]

    def __call__(self, site: str, x: Tensor) -> Tensor:
        """Hands the site on to the tap."""
        return self.tap(site, x)


def asks(tap: Tap, site: str) -> bool:
    """Whether a tap wants such a site."""
    return isinstance(tap, Asking) and site in tap.sites


@dataclass
class Layout:
    """Where the tokens of some rows lie.

    Attributes:
        row: which row a token belongs to, ``[n_tokens]``, counted from 0.
        position: its position in the prompt, ``[n_tokens]``.
        base: index of the base run's token at ``[n_rows, length]``; clipped at the prompt's end (those are never seen).
        shared: where the base run's tokens begin, if all rows are of one prompt.
        within: how many of the tokens at hand, the first ones, are the base run itself.
        query: the tokens whose attention is wanted, or None for all of them.
        after: instead of ``base``, groups of rows that continue the same tokens, those of one size together: ``(their
            tokens [groups, rows, slots], the base run's tokens before them [groups, n] or a slice of it for a single
            group, which of these are there [groups, n] or None for all)``.
        dense: all rows cover positions 0 to length - 1, so that no base run is needed and no scattering.
        copies: only the ``query`` tokens are at hand, the first of those that begin their rows alike; which of them
            every token equals.
        counts: how many queries each row has, where Python can read it without waiting for the device; with ``first``,
            the number of each row's first query. None: they are counted, and waited for.
    """

    row: Int[Tensor, " n_tokens"]
    position: Int[Tensor, " n_tokens"]
    n_rows: int
    length: int
    base: Int[Tensor, "n_rows length"] | None = None
    shared: int | None = None
    within: int | None = None
    query: Int[Tensor, " n_query"] | None = None
    after: Sequence[tuple[Tensor, Tensor | slice, Tensor | None]] | None = None
    common: Common | None = None
    dense: bool = False
    copies: Int[Tensor, " n_tokens"] | None = None
    counts: np.ndarray | None = None
    first: Int[Tensor, " n_rows"] | None = None

    def __post_init__(self) -> None:
        self.q_row = self.row if self.query is None else self.row[self.query]
        self.q_position = self.position if self.query is None else self.position[self.query]
        if self.counts is None or self.first is None:
            counted = torch.bincount(self.q_row, minlength=self.n_rows)
            self.counts, self.first = counted.cpu().numpy(), counted.cumsum(0) - counted
        #: slot of a query within its row, and the number of slots
        self.slot = torch.arange(len(self.q_row), device=self.row.device) - self.first[self.q_row]
        self.slots = int(self.counts.max()) if len(self.counts) else 0
        self.uniform = bool((self.counts == self.slots).all())
        self._masks: dict[int | None, Tensor] = {}
        self._biases: dict[int | None, Tensor] = {}

    def to(self, device: torch.device) -> Layout:
        """The same on another device."""
        if self.row.device == device:
            return self

        def put(x: Any) -> Any:
            return x.to(device) if isinstance(x, Tensor) else x

        moved = {field.name: put(getattr(self, field.name)) for field in fields(self) if field.name != "after"}
        return Layout(**moved, after=None if self.after is None else [tuple(map(put, group)) for group in self.after])

    def mask(self, window: int | None = None) -> Bool[Tensor, "rows 1 slots length"]:
        """Which keys a query sees: those at its position and before, ``window`` of them at most."""
        window = None if window is None or window >= self.length else window
        if window not in self._masks:
            at = torch.zeros(self.n_rows, self.slots, dtype=torch.long, device=self.row.device)
            at[self.q_row, self.slot] = self.q_position
            keys = torch.arange(self.length, device=self.row.device)
            seen = keys <= at[:, :, None]
            if window is not None:
                seen &= keys > at[:, :, None] - window
            self._masks[window] = seen[:, None]
        return self._masks[window]

    def bias(self, window: int | None = None) -> Float[Tensor, "rows 1 slots length"]:
        """What a mask adds to scores: minus infinity where a query does not see a key."""
        window = None if window is None or window >= self.length else window
        if window not in self._biases:
            mask = self.mask(window)
            self._biases[window] = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))
        return self._biases[window]

    def spread(self, x: Float[Tensor, "n_query heads d_head"]) -> Float[Tensor, "n_rows slots heads d_head"]:
        """Queries by row and slot; empty slots are zero."""
        if self.uniform:
            return x.reshape(self.n_rows, self.slots, *x.shape[1:])
        out = x.new_zeros(self.n_rows, self.slots, *x.shape[1:])
        out[self.q_row, self.slot] = x
        return out

    def gather(self, x: Float[Tensor, "n_rows slots *rest"]) -> Float[Tensor, " n_query *rest"]:
        """The read slots of each row one after the other, from rows that are padded to one width."""
        return x.flatten(0, 1) if self.uniform else x[self.q_row, self.slot]


def filled(
    own: Float[Tensor, "n_tokens heads d_head"], base: Tensor | None, lay: Layout
) -> Float[Tensor, "n_rows length heads d_head"]:
    """Keys (or values) of whole prompts: the row's own from its start on, the base run's before."""
    if lay.dense:
        return own.reshape(lay.n_rows, lay.length, *own.shape[1:])
    whole, base = (lay.n_rows, lay.length, *own.shape[1:]), base if lay.within is None else own[: lay.within]
    if base is None:
        out = own.new_zeros(whole)
    elif lay.shared is not None:  # a broadcast copy is several times faster than a gather
        out = base[lay.shared : lay.shared + lay.length].expand(whole).clone(memory_format=torch.contiguous_format)
    else:
        out = base[lay.base]
    return (
        out.index_put((lay.row, lay.position), own)
        if own.requires_grad
        else out.index_put_((lay.row, lay.position), own)
    )


def weighed(scores: Float[Tensor, "... keys"], sinks: Tensor | None = None) -> Float[Tensor, "... keys"]:
    """The softmax over keys, in float32 at least; ``sinks``, of the other axes' shape and one key, take part in it."""
    kind = torch.float32 if scores.dtype in (torch.float16, torch.bfloat16) else None
    if sinks is None:
        return scores.softmax(-1, dtype=kind).to(scores.dtype)
    both = torch.cat((scores, sinks.to(scores.dtype).expand(*scores.shape[:-1], 1)), -1)
    return both.softmax(-1, dtype=kind)[..., :-1].to(scores.dtype)


def attend(block: "Block", q: Tensor, k: Tensor, v: Tensor, lay: Layout, tap: Tap, explicit: bool) -> Tensor:
    """Attention of the queries ``[n_query, n_heads, d_head]`` over ``[n_rows, length, n_kv_heads, d_head]``.

    ``explicit`` writes out the pattern, ``[n_rows, n_heads, slots, length]``, and taps it; else a fused kernel runs,
    where one does what the block does.
    """
    if not explicit and lay.slots == 1 and lay.uniform and serves(block, q.device, q.dtype, window=True):
        # the queries that share keys are queries of one head
        shared = q.view(len(q), k.shape[2], -1, q.shape[-1])
        bias = lay.bias(block.window).expand(-1, -1, shared.shape[2], -1)
        z, _ = fused(shared, k.transpose(1, 2), v.transpose(1, 2), block.scaling, bias)
        return z.transpose(1, 2).reshape(q.shape)
    q, k, v, mask = lay.spread(q).transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), lay.mask(block.window)
    rows, heads, slots, d_head = q.shape
    plain = block.cap is None and block.sinks is None
    # on few queries the fused CPU kernel is slower than two plain products
    if explicit or not plain or (q.device.type == "cpu" and slots * lay.length <= FEW):
        # the queries that share keys are rows of one product
        grouped = q.reshape(rows, k.shape[1], -1, d_head) * block.scaling
        scores = block.capped(grouped @ k.transpose(2, 3)).view(rows, heads, slots, lay.length)
        pattern = weighed(
            scores.masked_fill(~mask, float("-inf")), None if block.sinks is None else block.sinks.view(1, -1, 1, 1)
        )
        pattern = tap("pattern", pattern) if explicit else pattern
        z = (pattern.reshape(rows, k.shape[1], -1, lay.length) @ v).view(rows, heads, slots, d_head)
    else:
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=block.scaling, enable_gqa=heads != k.shape[1])
    return lay.gather(z.transpose(1, 2))


def attend_after(
    block: "Block",
    q: Float[Tensor, "groups rows slots heads d_head"],
    k: Float[Tensor, "groups rows slots kv_heads d_head"],
    v: Tensor,
    before_k: Float[Tensor, "groups n kv_heads d_head"],
    before_v: Tensor,
    seen: Bool[Tensor, "groups some_slots n"] | None = None,
) -> Tensor:
    """Attention of rows of a few tokens; the rows of a group all continue the same ``n`` tokens, which are read once a
    group, not copied row by row.

    ``seen`` tells the tokens that are there, and that a query sees, from padding and those beyond its window, for all
    slots or for each. Returns ``[groups, rows, slots, heads, d_head]``.
    """
    groups, rows, slots, heads, d_head = q.shape
    kv, n = k.shape[3], before_k.shape[1]
    per = heads // kv
    q = (q * block.scaling).view(groups, rows, slots, kv, per, d_head).permute(0, 3, 1, 4, 2, 5)
    before = (q.reshape(groups, kv, rows * per * slots, d_head) @ before_k.permute(0, 2, 3, 1)).view(
        groups, kv, rows, per, slots, n
    )
    before = block.capped(before)
    if seen is not None:
        before = before.masked_fill_(~seen[:, None, None, None], float("-inf"))
    if slots == 1:
        own = block.capped((q * k.permute(0, 3, 1, 2, 4)[:, :, :, None]).sum(-1, keepdim=True))
    else:
        own = (q.reshape(groups, kv, rows, per * slots, d_head) @ k.permute(0, 3, 1, 4, 2)).view(
            groups, kv, rows, per, slots, slots
        )
        late = torch.ones(slots, slots, dtype=torch.bool, device=own.device).triu(1)
        if block.window is not None and block.window < slots:
            late |= torch.ones_like(late).tril(-block.window)
        own = block.capped(own).masked_fill(late, float("-inf"))
    sinks = None if block.sinks is None else block.sinks.view(kv, 1, per, 1, 1)
    pattern = weighed(torch.cat([before, own], -1), sinks)
    z = (pattern[..., :n].reshape(groups, kv, rows * per * slots, n) @ before_v.transpose(1, 2)).view(
        groups, kv, rows, per, slots, d_head
    )
    if slots == 1:
        z = z + pattern[..., n:] * v.permute(0, 3, 1, 2, 4)[:, :, :, None]
    else:
        z = z + (pattern[..., n:].reshape(groups, kv, rows, per * slots, slots) @ v.permute(0, 3, 1, 2, 4)).view(
            groups, kv, rows, per, slots, d_head
        )
    return z.permute(0, 2, 4, 1, 3, 5).reshape(groups, rows, slots, heads, d_head)


def within_window(
    window: int | None, start: Int[Tensor, " groups"], slots: int, n: int, seen: Bool[Tensor, "groups n"] | None
) -> Bool[Tensor, "groups some_slots n"] | None:
    """Which of ``n`` tokens before a group's rows each of their queries sees, the first being at position 0 and the
    queries at ``start`` and after; None for all.
    """
    seen = None if seen is None else seen[:, None]
    if window is None or n + slots <= window:
        return seen
    query = start[:, None] + torch.arange(slots, device=start.device)
    near = torch.arange(n, device=start.device) > query[..., None] - window
    return near if seen is None else near & seen


def _turned(
    tables: tuple[Tensor, Tensor] | tuple[None, None], at: Int[Tensor, " n"]
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Cosine and sine at each token's position."""
    cos, sin = tables
    return (None, None) if cos is None or sin is None else (cos.index_select(0, at), sin.index_select(0, at))


def attention(
    block: "Block",
    x: Float[Tensor, "n_tokens d_model"],
    lay: Layout,
    rope: Ropes,
    base: tuple[Tensor, Tensor] | None = None,
    tap: Tap = no_tap,
    explicit: bool = False,
) -> Float[Tensor, "n_query d_model"]:
    """What the attention of a block adds to the residual stream at the query tokens.

    Taps, in order: ``q``, ``k``, ``v`` (raw), ``placed_k`` (as the keys meet the queries), ``pattern`` if explicit,
        ``z``, ``attn_out``.
    """
    normed = block.norm_attn(x)
    if lay.query is None or lay.copies is not None:
        q, k, v = block.qkv(normed)
    else:
        q, (k, v) = block.q(normed[lay.query]), block.kv(normed)
    q, k, v = tap("q", q), tap("k", k), tap("v", v)
    tables = rope[block.table] if block.rotary else (None, None)
    at_k = lay.position if lay.copies is None else lay.q_position
    turns = _turned(tables, lay.q_position)
    q = block.placed_q(q, *turns)
    k = tap("placed_k", block.placed_k(k, *(turns if at_k is lay.q_position else _turned(tables, at_k))))
    base_k, base_v = base if base is not None else (None, None)
    if lay.common is not None and base is not None:
        return tap("attn_out", block.out(tap("z", lay.common.attend(block, q, k, block.placed_v(v), base))))
    if lay.after is not None and base is not None:
        z = torch.empty_like(q)
        for at, before, seen in lay.after:

            def of(base: Tensor) -> Tensor:
                return base[before][None] if isinstance(before, slice) else base[before]

            old_k, old_v = of(base[0]), block.placed_v(of(base[1]))
            seen = within_window(block.window, lay.position[at[:, 0, 0]], at.shape[-1], old_k.shape[1], seen)
            z[at] = attend_after(block, q[at], k[at], block.placed_v(v[at]), old_k, old_v, seen)
        return tap("attn_out", block.out(tap("z", z)))
    if lay.copies is not None:
        k, v = k[lay.copies], v[lay.copies]
    z = attend(block, q, filled(k, base_k, lay), block.placed_v(filled(v, base_v, lay)), lay, tap, explicit)
    return tap("attn_out", block.out(tap("z", z)))


def feed_forward(
    block: "Block", x: Float[Tensor, "n d_model"], attn: Float[Tensor, "n d_model"], tap: Tap = no_tap
) -> Float[Tensor, "n d_model"]:
    """The residual stream after a block, from the stream before it and what attention adds.

    Taps, in order: ``resid_mid`` (sequential blocks only), ``neuron`` (``router`` of a mixture of experts, and
    ``expert`` where the tap asks for it), ``mlp_out``, ``resid_post``.
    """
    mid = x + attn
    if block.parallel:
        into = x
    else:
        mid = into = tap("resid_mid", mid)
    mlp = tap("mlp_out", block.feed(block.norm_mlp(into), tap))
    return tap("resid_post", mid + mlp)


def all_blocks(
    decoder: "Decoder", x: Float[Tensor, "n_tokens d_model"], lay: Layout, tap: Tap = no_tap, explicit: bool = False
) -> Float[Tensor, "n_tokens d_model"]:
    """The final residual stream of whole prompts, from the first one; taps ``resid_pre`` too. Nothing is kept, nothing
    chunked.
    """
    for block in decoder.blocks:
        x, lay, rope = x.to(block.device), lay.to(block.device), decoder.rope(lay.length, block.device)
        with block.resident():
            x = tap("resid_pre", x)
            x = feed_forward(block, x, attention(block, x, lay, rope, tap=tap, explicit=explicit), tap)
    return x.to(decoder.device)
