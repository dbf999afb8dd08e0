"""One walk down the layers for all edited runs of a sweep.

A run that is edited at layer ``l`` leaves the base run there as a row and rides to the end; only the positions from its
first changed one on are computed, everything before them being the base run's (causal attention). In the last layer
only the positions that are read are computed. The results equal a full forward of every edited run up to the order of
summation.

Cost: one pass over the weights of each layer for all rows together; per row and layer the tokens from its first change
    to its last read. Working memory: two residual streams over all rows plus one chunk's activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..edits import Edit
from ..errors import RunError
from ..memory import ERRORS, budget, chunk_tokens, out_of_memory
from ..stopping import Stopped, says_stop
from .forward import Asking, Layout, attention, feed_forward
from .indexed_writes import Tokens, put
from .kernels import serves
from .plan import WalkPlan, plan_walk
from .runs import WalkRuns as Runs
from .siblings import Siblings

#: Tokens of one matrix product, at most: enough for full speed, and bounds the working memory.
CHUNK_TOKENS = 2048


@dataclass
class EditedRuns:
    """Where the edited runs ended.

    Attributes:
        resid: final residual stream at the positions read, row after row in the caller's order, ``[n_reads, d_model]``.
        first: index of each row's first read in ``resid``, and one past the end, ``[n_rows + 1]``.
        changed: rows that differ from their base run at all, ``[n_rows]``.
        recorded: per ``(site, layer)`` asked for, a list over rows of ``(start, tensor [n, *width])``; None where
            unchanged.
    """

    resid: Float[Tensor, "n_reads d_model"]
    first: Int[Tensor, " rows"]
    changed: np.ndarray
    recorded: dict[tuple[str, int], list[tuple[int, Tensor] | None]] = field(default_factory=dict)


@torch.no_grad()
def walk(
    base: Runs,
    rows: Sequence[tuple[int, Sequence[Edit]]],
    reads: Sequence[Sequence[int]],
    *,
    freeze: Sequence[str] = (),
    record: Sequence[tuple[str, int]] = (),
    chunk_bytes: int | None = None,
    stop: Callable[[], bool] | None = None,
    on_layer: Callable[[int], None] | None = None,
) -> EditedRuns:
    """Runs every row and returns its final residual stream where it is read.

    Args:
        base: unedited runs, one a prompt; what rows fork from.
        rows: per edited run, its prompt's number and its edits in order.
        reads: per prompt, the positions to read, ascending.
        freeze: ``"attention"`` and/or ``"mlp"``: keep these at the base run's output in every row (path patching);
            ``"mlp"`` needs ``mlp_out`` kept by the base run.
        record: ``(site, layer)`` pairs to return too: residual sites, or ``q``, ``k``, ``v``.
        chunk_bytes: working memory of one chunk, None: by the device; on an out-of-memory error it is halved and tried
            again.
        stop: asked before every layer; True ends the walk.
        on_layer: called with each layer when it is finished.

    Raises:
        Stopped: ``stop`` said so.
        SiteError, EditError: see ``plan_walk``.
    """
    for site, _ in record:
        if site not in ("resid_pre", "resid_post", "q", "k", "v"):
            raise RunError(f"record: site {site!r} cannot be recorded; expected resid_pre, resid_post, q, k or v.")
    state = _Walk(base, plan_walk(base, rows, reads), reads, frozenset(freeze), set(record), chunk_bytes)
    for layer in range(base.decoder.n_layers):
        if says_stop(stop):
            raise Stopped(f"stopped before layer {layer}")
        state.step(layer)
        if on_layer is not None:
            on_layer(layer)
    return state.finish(len(rows), [p for p, _ in rows])


class _Walk:
    """The rows' residual streams on their way down."""

    def __init__(
        self,
        base: Runs,
        plan: WalkPlan,
        reads: Sequence[Sequence[int]],
        freeze: frozenset[str],
        record: set[tuple[str, int]],
        chunk_bytes: int | None,
    ):
        self.base, self.plan, self.freeze, self.record = base, plan, freeze, record
        self.chunk_bytes = budget(base.decoder).chunk() if chunk_bytes is None else chunk_bytes
        self.chunk_tokens = chunk_tokens(base.decoder, CHUNK_TOKENS)
        decoder, device = base.decoder, base.decoder.device
        self.reads = [sorted(r) for r in reads]
        self.offset = plan.offset
        size = plan.end - plan.start
        n = int(self.offset[-1])
        rows = np.repeat(np.arange(len(size)), size)
        position = np.arange(n) - self.offset[rows] + plan.start[rows] if n else np.zeros(0, np.int64)

        self.row, self.position = put(rows, device), put(position, device)
        self.in_base = put(np.asarray(base.starts, np.int64)[plan.prompt[rows]] + position if n else position, device)
        self.prompt, self.begin = put(plan.prompt, device), put(self.offset[:-1], device)
        read = [self.offset[i] + np.asarray(self.reads[p]) - plan.start[i] for i, p in enumerate(plan.prompt)]
        # a row's reads before its first change are the base run's own
        keep = [r[np.asarray(self.reads[p]) >= plan.start[i]] for i, (r, p) in enumerate(zip(read, plan.prompt))]
        self.read = Tokens.of(np.concatenate(keep).astype(np.int64) if keep else np.zeros(0, np.int64), device)
        self.h = torch.empty(n, decoder.d_model, dtype=decoder.dtype, device=device)
        self.attn = torch.empty_like(self.h)
        self.rope, self.table = decoder.rope(max(base.lengths)), base.table
        self.siblings = Siblings(base, plan)
        self.recorded: dict[tuple[str, int], Tensor] = {}
        self.recorded_rows: dict[tuple[str, int], int] = {}

    # rows joined by layer: sorted, so the first ones
    def _joined(self, layer: int, attending: bool) -> int:
        early = int(np.searchsorted(self.plan.layer, layer, "left"))
        upto = int(np.searchsorted(self.plan.layer, layer, "right"))
        return early + int(self.plan.attends[early:upto].sum()) if attending else upto

    def step(self, layer: int) -> None:
        """Takes all rows through one layer; rows that join at it are loaded from the base run first."""
        with self.base.decoder.blocks[layer].resident():
            self._step(layer)

    def _onto(self, device: torch.device) -> None:
        """Takes the rows to another device, where the next block is."""
        if self.h.device == device:
            return
        for name in ("h", "row", "position", "in_base", "prompt", "begin"):
            setattr(self, name, getattr(self, name).to(device))
        self.read = Tokens(self.read.index.to(device), self.read.host)
        self.attn, self.table = torch.empty_like(self.h), self.base.table.to(device)
        self.rope = self.base.decoder.rope(max(self.base.lengths), device)
        self.siblings.regroup(device)

    def _step(self, layer: int) -> None:
        decoder = self.base.decoder
        rows, tokens = self._joined(layer, False), int(self.offset[self._joined(layer, False)])
        if not tokens:
            return
        fresh = slice(int(self.offset[np.searchsorted(self.plan.layer, layer, "left")]), tokens)
        self._onto(decoder.blocks[layer].device)
        if fresh.stop > fresh.start:
            self.siblings.regroup(self.h.device)
        self._load(layer, fresh)
        self._write(layer, "resid_pre", self.h[:tokens], slice(0, tokens))
        self._record("resid_pre", layer, self.h[:tokens], rows)
        for site in ("q", "k", "v"):
            if (site, layer) in self.record:
                x = decoder.blocks[layer].norm_attn(self.h[:tokens])
                self._record(
                    site,
                    layer,
                    decoder.blocks[layer].q(x) if site == "q" else decoder.blocks[layer].kv(x)[site == "v"],
                    rows,
                )
        last = layer == decoder.n_layers - 1 and not any(l >= layer for _, l in self.record)
        want = self.read.between(0, tokens) if last else None
        attending = 0 if "attention" in self.freeze else self._joined(layer, True)
        self._attend(layer, attending, want)
        self._copy_attention(layer, int(self.offset[attending]), tokens)
        self._feed(layer, tokens, want, rows)

    def _load(self, layer: int, fresh: slice) -> None:
        if fresh.stop == fresh.start:
            return
        at = self.in_base[fresh]
        self.h[fresh] = self.base.resid[layer][at]
        writes = self.plan.writes.get((0, "embed"), ()) if layer == 0 else ()
        if writes:
            # rows edited at the embedding start from it, then take their learned positions
            local = Tokens.of(np.unique(np.concatenate([w.host for w in writes])), self.h.device)
            embedded = self.base.embedded.to(self.h.device)
            x = self._write(0, "embed", embedded[self.in_base[local.index]], local)
            self.h[local.index] = self.base.decoder.place(x, self.position[local.index])

    def _chunks(self, n_rows: int, copied: int, fused: bool = False) -> list[tuple[int, int]]:
        """Consecutive rows whose attention fits the chunk's memory and whose tokens make one matrix product; each row
        copies so many tokens of those that it continues, and a `fused` kernel keeps no scores but pads.
        """
        d, chunks, first = self.base.decoder, [], 0
        longest, item = max(self.base.lengths), self.h.element_size()
        per_row = item * copied * 2 * d.n_kv_heads * d.d_head
        scores = 0 if fused else 2 * d.n_heads * longest
        per_token = item * (3 * d.d_model + (d.n_heads + 2 * d.n_kv_heads) * d.d_head + scores)
        per_slot = self._per_slot(copied) if fused else 0
        total = int(self.offset[n_rows])
        # chunks of even size: a small last one would run at a fraction of the speed
        size = -(-total // max(1, -(-total // self.chunk_tokens)))
        while first < n_rows:
            last = int(np.searchsorted(self.offset, self.offset[first] + size, "right")) - 1

            def needs(stop: int) -> int:
                rows, tokens = stop - first, self.offset[stop] - self.offset[first]
                slots = rows * np.diff(self.offset[first : stop + 1]).max() if fused else 0
                return int(per_row * rows + per_token * tokens + per_slot * slots)

            last = min(max(last, first + 1), n_rows)
            while last > first + 1 and needs(last) > self.chunk_bytes:
                last = first + (last - first) // 2
            chunks.append((first, last))
            first = last
        return chunks

    def _per_slot(self, copied: int) -> int:
        """Bytes of a row's place for a token, filled or not, where rows are padded and each copies so many tokens."""
        d = self.base.decoder
        numbers: int = 3 * d.n_heads * d.d_head + copied * d.n_heads // d.n_kv_heads
        return self.h.element_size() * numbers

    def _in_common(self, first: int, last: int) -> bool:
        """Whether what a chunk's rows continue is read once for all: they have enough in common, and padding the rest
        to one length fits the chunk's memory.
        """
        if not (alike := self.siblings.alike(first, last)):
            return False
        slots = int(np.diff(self.offset[first : last + 1]).max()) * (last - first)
        return slots * self._per_slot(int(self.plan.end[first:last].max()) - alike) <= self.chunk_bytes

    def _attend(self, layer: int, n_rows: int, want: Tokens | None) -> None:
        """Fills ``self.attn`` with the attention output of the rows that need it computed."""
        base, block = self.base, self.base.decoder.blocks[layer]
        explicit = (layer, "pattern") in self.plan.writes
        fused = not explicit and serves(block, self.h.device, self.h.dtype)
        alike = self.siblings.alike(0, n_rows) if fused and n_rows else 0
        together = not explicit and not alike and want is None and self.siblings.share(n_rows)
        chunks = self._chunks(n_rows, 0 if together else max(self.base.lengths) - alike, alike > 0)
        while chunks:
            first, last = chunks.pop(0)
            a, b = int(self.offset[first]), int(self.offset[last])
            query: Tensor | None = None
            tokens: Tokens | slice = slice(a, b)
            counts, begin = np.diff(self.offset[first : last + 1]), self.begin[first:last] - a
            if want is not None and len((some := want.between(a, b)).host) != b - a:
                query, tokens = some.index - a, some
                counts = np.diff(np.searchsorted(some.host, self.offset[first : last + 1]))
                begin = torch.searchsorted(query, begin)
            length = int(self.plan.end[first:last].max())
            prompts = self.plan.prompt[first:last]
            shared = base.starts[prompts[0]] if prompts.min() == prompts.max() else None
            common = fused and self._in_common(first, last)
            after = self.siblings.groups(first, last) if together and not common else None
            lay = Layout(
                self.row[a:b] - first,
                self.position[a:b],
                last - first,
                length,
                query=query,
                shared=shared,
                after=after,
                base=None
                if shared is not None or after is not None or common
                else self.table[self.prompt[first:last], :length],
                counts=counts,
                first=begin,
            )
            if common:
                lay.common = self.siblings.common(first, last, lay)
            at = tokens if isinstance(tokens, slice) else tokens.index

            def tap(site: str, x: Tensor) -> Tensor:
                if site == "pattern":
                    return self._write_patterns(layer, x, lay, tokens)
                if site in ("k", "v"):
                    return self._write(layer, site, x, slice(a, b))
                return x if site == "placed_k" else self._write(layer, site, x, tokens)

            try:
                self.attn[at] = attention(
                    block, self.h[a:b], lay, self.rope, (base.k[layer], base.v[layer]), tap, explicit
                )
            except ERRORS as error:
                if last - first == 1 or not out_of_memory(error):
                    raise
                self._shrink()
                middle = (first + last) // 2
                chunks[:0] = [(first, middle), (middle, last)]

    def _copy_attention(self, layer: int, start: int, tokens: int) -> None:
        """Rows that join after this layer's attention (or are frozen there) take the base run's, edited where they
        say.
        """
        if start == tokens:
            return
        span = slice(start, tokens)
        self.attn[span] = self.base.attn[layer][self.in_base[span]]
        touched = [w.host[(w.host >= start) & (w.host < tokens)] for w in self.plan.writes.get((layer, "z"), ())]
        if any(map(len, touched)):
            local = Tokens.of(np.unique(np.concatenate(touched)), self.h.device)
            z = self._write(layer, "z", self.base._get("z", layer)[self.in_base[local.index]], local)
            self.attn[local.index] = self.base.decoder.blocks[layer].out(z)
        self._write(layer, "attn_out", self.attn[span], span)

    def _feed(self, layer: int, tokens: int, want: Tokens | None, rows: int) -> None:
        """The second half of the block, over all rows in chunks of tokens."""
        block, frozen = self.base.decoder.blocks[layer], "mlp" in self.freeze
        n = tokens if want is None else len(want.host)
        start, size = 0, -(-n // max(1, -(-n // self.chunk_tokens)))
        apart = (layer, "expert") in self.plan.writes
        if apart:  # what every expert adds is laid out
            size = max(1, min(size, int(self.chunk_bytes / (2 * self.h[0].nbytes * block.experts.n_experts))))
        while start < n:
            stop = min(start + size, n)
            of: Tokens | slice = slice(start, stop) if want is None else want[start:stop]
            at = of if isinstance(of, slice) else of.index

            def tap(site: str, x: Tensor) -> Tensor:
                if site == "mlp_out" and frozen:
                    x = self.base._get("mlp_out", layer)[self.in_base[at]].clone()
                return x if site == "resid_post" else self._write(layer, site, x, of)

            try:
                self.h[at] = feed_forward(block, self.h[at], self.attn[at], Asking(tap, ("expert",)) if apart else tap)
            except ERRORS as error:
                if size <= 16 or not out_of_memory(error):
                    raise
                self._shrink()
                size //= 2
                continue
            start = stop
        if ("resid_post", layer) in self.record:
            self._record("resid_post", layer, self.h[:tokens], rows)

    def _shrink(self) -> None:
        self.chunk_bytes //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _write(self, layer: int, site: str, x: Tensor, tokens: slice | Tokens) -> Tensor:
        """Applies the writes at a site in place; ``x`` holds the tokens named, ascending."""
        for w in self.plan.writes.get((layer, site), ()):
            w.put(x, tokens)
        return x

    def _write_patterns(self, layer: int, x: Tensor, lay: Layout, tokens: slice | Tokens) -> Tensor:
        for w in self.plan.writes[layer, "pattern"]:
            w.put_patterns(x, lay, tokens)
        return x

    def _record(self, site: str, layer: int, x: Tensor, rows: int) -> None:
        if (site, layer) in self.record:
            self.recorded[site, layer], self.recorded_rows[site, layer] = x.clone(), rows

    def finish(self, n_rows: int, prompts: Sequence[int]) -> EditedRuns:
        """Gathers the reads in the caller's order, on the device of the token ids; rows without a change take the base
        run's.
        """
        base, layer, home = self.base, self.base.decoder.n_layers, self.base.decoder.device
        self._onto(base.decoder.blocks[-1].device)
        late = self.in_base[(start := int(self.offset[np.searchsorted(self.plan.layer, layer, "left")])) :]
        self.h[start:] = base.resid[layer][late.to(home)].to(self.h.device)
        self._write(layer, "resid_pre", self.h, slice(0, len(self.h)))
        counts = np.array([len(self.reads[p]) for p in prompts], dtype=np.int64)
        first = np.concatenate(([0], np.cumsum(counts)))
        wanted = (
            np.concatenate([base.starts[p] + np.asarray(self.reads[p]) for p in prompts])
            if n_rows
            else np.zeros(0, np.int64)
        )
        resid = base.resid[layer][torch.as_tensor(wanted, device=home)]
        slots = [
            first[number] + k
            for number, p, s in zip(self.plan.order, self.plan.prompt, self.plan.start)
            for k, position in enumerate(self.reads[p])
            if position >= s
        ]
        if slots:
            resid[torch.as_tensor(np.asarray(slots), device=home)] = self.h[self.read.index].to(home)
        changed = np.zeros(n_rows, bool)
        changed[self.plan.order] = True
        return EditedRuns(
            resid, torch.as_tensor(first), changed, {key: self._by_row(key, n_rows) for key in self.recorded}
        )

    def _by_row(self, key: tuple[str, int], n_rows: int) -> list[tuple[int, Tensor] | None]:
        out: list[tuple[int, Tensor] | None] = [None] * n_rows
        for i in range(self.recorded_rows[key]):
            out[self.plan.order[i]] = int(self.plan.start[i]), self.recorded[key][self.offset[i] : self.offset[i + 1]]
        return out
