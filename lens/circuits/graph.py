"""The graph of a decoder: who writes to the residual stream, who reads it, and which edges lie between.

Writers are the input embedding, every head and every MLP (a mixture of experts is one); readers are the queries of
every head, the keys and values of every key/value head, every MLP and the logits. An edge is there where its writer
writes before its reader reads, so that the edges of a reader are the first so many writers. Edges are named as in the
files of MIB (Mueller et al. 2025): ``input->a0.h1<q>``, ``a0.h1->m0``, ``m3->logits``; true key/value heads, which
those files do not have, are ``a0.kv1<k>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..arguments import Count, door, shown
from .errors import CircuitError


@door(CircuitError)
@dataclass(frozen=True)
class Graph:
    """Writers, readers and edges of a decoder, by sizes alone.

    Args:
        n_layers, n_heads, d_model: of the model.
        n_kv_heads: heads of keys and values that read apart; as many as query heads for MIB's graph, in which those of
            a group are repeated.
        parallel: attention and MLP run side by side, so that a layer's own heads do not feed its MLP.

    >>> Graph(12, 12, 12, 768).n_edges
    32491
    >>> Graph(2, 2, 1, 8).edge("a0.h1->a1.kv0<v>")
    (8, 2)
    """

    n_layers: Count
    n_heads: Count
    n_kv_heads: Count
    d_model: Count
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.n_heads % self.n_kv_heads:
            raise CircuitError(
                f"n_kv_heads={self.n_kv_heads} does not divide n_heads={self.n_heads}; expected groups of one size."
            )

    @property
    def grouped(self) -> bool:
        """Whether several query heads share a key/value head."""
        return self.n_kv_heads != self.n_heads

    @property
    def n_writers(self) -> int:
        """The input, and each layer's heads and MLP."""
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def per_layer(self) -> int:
        """Readers of one layer."""
        return self.n_heads + 2 * self.n_kv_heads + 1

    @property
    def n_readers(self) -> int:
        """Those of all layers, and the logits."""
        return self.n_layers * self.per_layer + 1

    def first_writer(self, layer: int) -> int:
        """A layer's first head among the writers, and so how many write before it."""
        return 1 + layer * (self.n_heads + 1)

    def heads_of(self, layer: int) -> slice:
        """A layer's heads among the writers."""
        first = self.first_writer(layer)
        return slice(first, first + self.n_heads)

    def mlp_of(self, layer: int) -> int:
        """A layer's MLP among the writers."""
        return self.first_writer(layer) + self.n_heads

    def attention_readers(self, layer: int) -> slice:
        """A layer's queries, keys and values among the readers, in this order."""
        first = layer * self.per_layer
        return slice(first, first + self.per_layer - 1)

    def mlp_reader(self, layer: int) -> int:
        """A layer's MLP among the readers."""
        return (layer + 1) * self.per_layer - 1

    def before_mlp(self, layer: int) -> int:
        """How many write before a layer's MLP reads."""
        return self.first_writer(layer) + (0 if self.parallel else self.n_heads)

    @cached_property
    def incoming(self) -> np.ndarray:
        """How many edges each reader has: they come from the first so many writers, ``[reader]``."""
        counts = [
            count
            for layer in range(self.n_layers)
            for count in [*[self.first_writer(layer)] * (self.per_layer - 1), self.before_mlp(layer)]
        ]
        return np.array([*counts, self.n_writers])

    @cached_property
    def exists(self) -> np.ndarray:
        """Which edges there are, ``[reader, writer]``."""
        return np.arange(self.n_writers) < self.incoming[:, None]

    @property
    def n_edges(self) -> int:
        """How many edges there are."""
        return int(self.incoming.sum())

    @cached_property
    def writers(self) -> tuple[str, ...]:
        """Their names, in the order in which they write."""
        layers = range(self.n_layers)
        return ("input", *(name for l in layers for name in (*(f"a{l}.h{h}" for h in range(self.n_heads)), f"m{l}")))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Their names, layer by layer: queries, keys, values, the MLP; last the logits."""
        shared = "kv" if self.grouped else "h"
        names = [
            name
            for l in range(self.n_layers)
            for name in (
                *(f"a{l}.h{h}<q>" for h in range(self.n_heads)),
                *(f"a{l}.{shared}{h}<{letter}>" for letter in "kv" for h in range(self.n_kv_heads)),
                f"m{l}",
            )
        ]
        return (*names, "logits")

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        return {n: i for i, n in enumerate(self.readers)}, {n: i for i, n in enumerate(self.writers)}

    def name(self, reader: int, writer: int) -> str:
        """An edge's name."""
        return f"{self.writers[writer]}->{self.readers[reader]}"

    def edge(self, name: str) -> tuple[int, int]:
        """The reader and the writer of an edge by its name.

        Raises:
            CircuitError: no such writer, reader or edge.
        """
        readers, writers = self._numbers
        writer, _, reader = name.partition("->") if isinstance(name, str) else ("", "", "")
        for part, known, what in ((writer, writers, "writer"), (reader, readers, "reader")):
            if part not in known:
                raise CircuitError(
                    f"edge={shown(name)}: {part!r} is no {what} of this graph of {self.n_layers} layers,"
                    f" {self.n_heads} heads and {self.n_kv_heads} key/value heads; expected WRITER->READER, such as"
                    f" {self.name(self.n_readers - 1, 1)} or {self.name(0, 0)}."
                )
        r, w = readers[reader], writers[writer]
        if not self.exists[r, w]:
            own = self.parallel and reader.startswith("m") and writer.startswith(f"a{reader[1:]}.")
            why = "attention and MLP of a layer run side by side in this model" if own else "it writes after that reads"
            raise CircuitError(f"edge={name!r} does not exist: {why}. Name an edge from an earlier writer.")
        return r, w

    def mask(self, edges: Iterable[str] | np.ndarray) -> np.ndarray:
        """Which edges some names, or truth values ``[reader, writer]``, are.

        Raises:
            CircuitError: an edge that is not there; another shape.
        """
        if isinstance(edges, np.ndarray):
            if edges.dtype != bool or edges.shape != self.exists.shape:
                raise CircuitError(
                    f"edges={shown(edges)}; expected names, or truth values of shape {self.exists.shape}, one a reader"
                    " and writer."
                )
            if (edges & ~self.exists).any():
                self.edge(self.name(*(int(i) for i in np.argwhere(edges & ~self.exists)[0])))
            return edges
        mask = np.zeros_like(self.exists)
        for name in edges:
            mask[self.edge(name)] = True
        return mask

    def names(self, mask: np.ndarray) -> list[str]:
        """The names of the edges of a mask."""
        return [self.name(r, w) for r, w in np.argwhere(mask)]

    def nodes(self) -> np.ndarray:
        """Which reader belongs to which writer: a head has its query and its group's keys and values, ``[reader,
        writer]``.
        """
        found = np.zeros((self.n_readers, self.n_writers), bool)
        heads, shared = np.arange(self.n_heads), np.arange(self.n_heads) // (self.n_heads // self.n_kv_heads)
        for layer in range(self.n_layers):
            first, writer = self.attention_readers(layer).start, self.first_writer(layer)
            for reader in (heads, self.n_heads + shared, self.n_heads + self.n_kv_heads + shared):
                found[first + reader, writer + heads] = True
            found[self.mlp_reader(layer), self.mlp_of(layer)] = True
        return found

    def pruned(self, mask: np.ndarray) -> np.ndarray:
        """The edges of a mask that lie on a path from the input to the logits; the others change nothing."""
        belongs, mask = self.nodes(), mask.copy()
        while True:
            arrives = np.zeros(self.n_writers, bool)
            arrives[0] = True
            for writer in range(1, self.n_writers):  # in the order in which they write
                own = belongs[:, writer]
                arrives[writer] = (mask[own] & arrives).any()
            mask &= arrives
            leaves = np.zeros(self.n_readers, bool)
            leaves[-1] = True
            for layer in range(self.n_layers - 1, -1, -1):
                # a layer's MLP first, since its heads may feed it
                mlp = self.mlp_reader(layer)
                leaves[mlp] = (mask[leaves, self.mlp_of(layer)]).any()
                used = (mask[leaves][:, self.heads_of(layer)]).any(0)
                of = self.attention_readers(layer)
                leaves[of] = (belongs[of, self.heads_of(layer)] & used).any(1)
            kept = mask & leaves[:, None]
            if (kept == mask).all():
                return kept
            mask = kept

    def layers(self) -> np.ndarray:
        """The layer of every reader, the logits' the number of layers, ``[reader]``."""
        return np.arange(self.n_readers) // self.per_layer


def graph_of(view: Any, grouped: bool = True) -> Graph:
    """The graph of a model whose blocks are written out.

    Args: view: the engine's. grouped: readers of true key/value heads; False for MIB's graph.

    Raises:
        CircuitError: a model that is not served, or is spread over devices.
    """
    walked = view.walked
    if walked is None:
        raise CircuitError(
            f"model: edges need blocks that are written out, and {view.model_type} is served otherwise ({view.why});"
            " lens.patch and lens.path_patch serve it."
        )
    if any(block.device != walked.device for block in walked.blocks):
        raise CircuitError("model: it is spread over several devices; load it on one (device=...) to take its edges.")
    parallel = {bool(block.parallel) for block in walked.blocks}
    if len(parallel) > 1:
        raise CircuitError("model: some of its layers run attention and MLP side by side and others do not.")
    kv = walked.n_kv_heads if grouped else walked.n_heads
    if kv != walked.n_kv_heads and any(b.k_norm and b.k_norm.width != walked.d_head for b in walked.blocks):
        raise CircuitError(
            "grouped=False: this model norms the keys of all heads together, so that no query head's can be read apart;"
            " leave grouped=True."
        )
    return Graph(walked.n_layers, walked.n_heads, kv, walked.d_model, parallel.pop())
