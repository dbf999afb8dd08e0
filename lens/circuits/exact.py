"""Exact effects of single edges: one writer's activation from the source run put into what one reader sees.

Every edge is one affine edit of one row of a walk: of queries, keys or values the projection of ``norm(stream +
difference)``, of an MLP its output there, of the logits the last stream itself. So k edges are k rows of one walk. Of
keys and values of one query head of a group, it is what that head adds up of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.edits import Edit
from ..engine.metrics import Metric
from ..engine.model import Model
from ..engine.pieces import Cell, run_bytes
from ..engine.runs import Runs
from ..engine.sites import Site
from ..engine.sweep import Sweep, Values
from ..engine.walk.forward import Layout, attend, filled, no_tap
from ..prompts import EncodedPair
from .errors import CircuitError
from .graph import Graph
from .writes import KEEP, Ablated, Writes, differences, recorded_pair

#: Tokens whose readers' inputs are normed and projected at once.
_TOKENS = 2048
#: Edges whose edits are held at once.
_EDGES = 8192


@dataclass
class ExactEdges:
    """The exact effects of some edges in some pairs.

    Attributes: mask: which edges, ``[reader, writer]``. noise: whether the clean run is edited. positions: whether each
        edge is also put in at one token after another.
    """

    model: Model
    graph: Graph
    encoded: Sequence[EncodedPair]
    mask: np.ndarray
    metric: Metric
    ablated: Ablated
    noise: bool = True
    positions: bool = False
    _base: Any = field(default=None, init=False, repr=False)
    #: By prompt, the first token at which anything is written otherwise.
    _starts: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def values(
        self, memory_mb: float | None, progress: bool | None, stop: Callable[[], bool] | None
    ) -> tuple[np.ndarray, Values]:
        """The metric under each edge's edit, ``[prompt, (1 + position,) reader, writer]`` and NaN for the others, and
        the sweep's own values, whose base and source are those of the unedited runs. Where tokens are told apart, the
        first is that of all of them.
        """
        edges = np.argwhere(self.mask)
        if not len(edges):
            raise CircuitError("edges=[] names no edge; name one or more.")
        tokens = (1 + max(len(e.clean_ids) for e in self.encoded),) if self.positions else ()
        value = np.full((len(self.encoded), *tokens, *self.mask.shape), np.nan, np.float32)
        for part in np.array_split(edges, -(-len(edges) // _EDGES)):
            found = self._values(part, value, memory_mb, progress, stop)
        return value, found

    def _values(self, edges: np.ndarray, value: np.ndarray, *options: Any) -> Values:
        memory_mb, progress, stop = options
        graph, lengths = self.graph, [len(e.clean_ids) for e in self.encoded]
        # what the logits read is put in after the last layer
        layer_of = np.minimum(graph.layers()[edges[:, 0]], graph.n_layers - 1)
        of_layer = [edges[layer_of == layer] for layer in range(graph.n_layers)]
        waiting = len(edges) * max(lengths) * graph.d_model * self.model.dtype.itemsize
        sweep = Sweep(
            self.model,
            self.encoded,
            lengths,
            (graph.n_layers, max(map(len, of_layer)), *value.shape[1:-2]),
            lambda prompt, source, k: self._cells(prompt, source, k, of_layer),
            self._runs,
            self.metric,
            label="exact edges",
            keep=KEEP,
            clean_is_base=self.noise,
            bytes_of=lambda i: 2 * run_bytes(self.model, lengths[i], KEEP) + waiting,
        )
        found = sweep.values(memory_mb=memory_mb, progress=progress, stop=stop)
        for layer, here in enumerate(of_layer):
            of_edges = found.value[:, layer, : len(here)]
            if self.positions:
                for prompt, start in self._starts.items():
                    # causal: nothing is put in there
                    before = of_edges[prompt, :, 1 : 1 + start]
                    before[np.isfinite(of_edges[prompt, :, 0])] = found.base[prompt]
                of_edges = np.moveaxis(of_edges, 2, 1)
            value[..., here[:, 0], here[:, 1]] = of_edges
        return found

    def _runs(self, batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        ids = [(self.encoded[i].clean_ids, self.encoded[i].corrupted_ids) for i in batch]
        first, second = ([pair[j].to(self.model.device) for pair in ids] for j in (0, 1))
        made = recorded_pair(self.model, *((first, second) if self.noise else (second, first)))
        self._base = made[0]
        return made

    def _cells(self, prompt: int, source: Any, k: int, of_layer: Sequence[np.ndarray]) -> Iterator[Cell]:
        base, n = self._base, len(self.encoded[prompt].clean_ids)
        tokens = slice(int(base.starts[k]), int(base.starts[k]) + n)
        own, other = Writes.of(base).part(tokens), Writes.of(source).part(tokens)
        edges = _Differences(self.graph, own, self.ablated.writes(own, other), of_layer)
        self._starts[prompt] = edges.start
        for layer, here in enumerate(of_layer):
            for number, edit in edges.edits(layer, here):
                if not self.positions:
                    yield Cell((layer, number), layer, (edit,))
                    continue
                yield Cell((layer, number, 0), layer, (edit,))
                for i, position in enumerate(range(edges.start, n)):
                    site = replace(edit.site, position=(position,))
                    yield Cell(
                        (layer, number, 1 + position), layer, (replace(edit, site=site, value=edit.value[i : i + 1]),)
                    )


class _Differences:
    """How the writers that some edges need write otherwise in the source, in one prompt."""

    def __init__(self, graph: Graph, base: Writes, source: Writes, of_layer: Sequence[np.ndarray]):
        self.graph, self.base = graph, base
        wanted = np.unique(np.concatenate(of_layer)[:, 1])
        self.number = {int(w): i for i, w in enumerate(wanted)}
        rows = []
        for layer in range(-1, graph.n_layers):
            first = graph.first_writer(layer) if layer >= 0 else 0
            here = wanted[(wanted >= first) & (wanted < (graph.first_writer(layer + 1)))]
            if not len(here):
                continue
            if layer < 0:
                rows.append((source.resid[0] - base.resid[0])[None])
                continue
            heads = [int(w) - first for w in here if w != graph.mlp_of(layer)]
            if heads:
                rows.append(differences(base, source, layer)[heads])
            if here[-1] == graph.mlp_of(layer):
                rows.append((source.mlp[layer] - base.mlp[layer])[None])
        #: ``[wanted writer, token, d_model]``
        self.of = torch.cat(rows)
        # causal: what comes before the first difference is the base run's own
        unlike = (self.of != 0).any(-1).any(0).nonzero()
        self.start = int(unlike[0]) if len(unlike) else len(base.resid[0]) - 1

    def edits(self, layer: int, edges: np.ndarray) -> Iterator[tuple[int, Edit]]:
        """The edit of every edge into a layer, and its number among them."""
        graph, base, start = self.graph, self.base, self.start
        position = tuple(range(start, len(base.resid[0])))
        attention, mlp = graph.attention_readers(layer), graph.mlp_reader(layer)
        block, heads, shared = base.decoder.blocks[layer], graph.n_heads, graph.n_kv_heads
        for writer, numbers in self._by_writer(edges, attention.start, attention.stop):
            stream = base.resid[layer][start:] + self.of[writer][:, start:]
            x = block.norm_attn(stream.flatten(0, 1))
            # one product serves every reader of a writer
            q, k, v = (t.unflatten(0, (len(writer), -1)) for t in block.qkv(x))
            for at, of_edges in enumerate(numbers):
                for number in of_edges:
                    reader = int(edges[number, 0]) - attention.start
                    site, which = (
                        ("q", reader) if reader < heads else ("kv"[(reader - heads) // shared], reader - heads)
                    )
                    head = which if site == "q" else which % shared
                    if site != "q" and shared > k.shape[2]:
                        continue
                    made = {"q": q, "k": k, "v": v}[site][at, :, head].clone()
                    yield number, Edit(Site(site, layer, head=head, position=position), "replace", made[:, None])
            if shared > k.shape[2]:
                yield from self._apart(layer, edges, numbers, k, v)
        for writer, numbers in self._by_writer(edges, mlp, mlp + 1):
            stream = base.before_mlp(layer)[start:] + self.of[writer][:, start:]
            out = block.feed(block.norm_mlp(stream.flatten(0, 1)), no_tap).unflatten(0, (len(writer), -1))
            for at, of_edges in enumerate(numbers):
                for number in of_edges:
                    yield number, Edit(Site("mlp_out", layer, position=position), "replace", out[at])
        for writer, numbers in self._by_writer(edges, graph.n_readers - 1, graph.n_readers):
            for at, of_edges in enumerate(numbers):
                for number in of_edges:
                    yield number, Edit(Site("resid_post", layer, position=position), "add", self.of[writer[at], start:])

    def _apart(
        self, layer: int, edges: np.ndarray, numbers: list[list[int]], k: Tensor, v: Tensor
    ) -> Iterator[tuple[int, Edit]]:
        """Edits of single query heads' keys and values, of a group of which the other heads see the base run's: what
        the head adds up instead.

        Args: numbers: of each writer, those of its edges into this layer. k, v: that its stream makes, ``[writer,
            token, n_kv_heads, d_head]``.
        """
        graph, base, start, block = self.graph, self.base, self.start, self.base.decoder.blocks[layer]
        heads, first, n = graph.n_heads, graph.attention_readers(layer).start + graph.n_heads, len(base.resid[0])
        wanted = [(at, number) for at, some in enumerate(numbers) for number in some if edges[number, 0] >= first]
        if not wanted:
            return
        q, *own = block.qkv(block.norm_attn(base.resid[layer]))
        writers, late = len(k), n - start
        at = torch.arange(n, device=q.device)
        row = torch.arange(writers, device=q.device).repeat_interleave(late)
        lay = Layout(row, at[start:].repeat(writers), writers, n, shared=0)
        cos, sin = base.decoder.rope(n, block.device)[block.table] if block.rotary else (None, None)
        placed_q = block.placed_q(q, cos, sin)[start:].repeat(writers, 1, 1)

        def seen(own: Tensor, new: Tensor | None, keys: bool) -> Tensor:
            """Every query head's keys or values, ``[writer, token, n_heads, d_head]``."""
            new = own[start:].repeat(writers, 1, 1) if new is None else new.flatten(0, 1)
            if keys:
                own = block.placed_k(own, cos, sin)
                new = block.placed_k(new, *(None if t is None else t[lay.position] for t in (cos, sin)))
            whole = filled(new, own, lay).repeat_interleave(heads // own.shape[1], 2)
            return whole if keys else block.placed_v(whole)

        z = [
            attend(block, placed_q, seen(own[0], new_k, True), seen(own[1], new_v, False), lay, no_tap, False)
            for new_k, new_v in ((k, None), (None, v))
        ]
        for writer, number in wanted:
            of_values, head = divmod(int(edges[number, 0]) - first, heads)
            new = z[of_values].unflatten(0, (writers, late))[writer, :, head, None].clone()
            yield number, Edit(Site("z", layer, head=head, position=tuple(range(start, n))), "replace", new)

    def _by_writer(self, edges: np.ndarray, first: int, last: int) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Writers of the edges into the readers ``[first, last)``, some at a time, and for each the edges' numbers."""
        of: dict[int, list[int]] = {}
        for number in np.flatnonzero((edges[:, 0] >= first) & (edges[:, 0] < last)):
            of.setdefault(self.number[int(edges[number, 1])], []).append(int(number))
        size = max(1, _TOKENS // (len(self.base.resid[0]) - self.start))
        writers = list(of)
        for a in range(0, len(writers), size):
            some = writers[a : a + size]
            yield some, [of[w] for w in some]
