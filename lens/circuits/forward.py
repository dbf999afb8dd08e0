"""A decoder run as a circuit: every reader sees the live writes of the edges that are kept, and the source's of the
rest.

The input of reader ``r`` is ``source stream + sum over kept writers of (live write - source write)``: a masked product
a layer. Heads under a norm after attention write into that norm, so that each reader's share of attention is ``norm(sum
of what it sees)``. All edges kept is the plain run, none the ablated one, up to rounding.

Cost: 1.1 to 1.5 forwards a circuit where no norm comes after attention; with one, a norm for each reader of each layer
before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..engine.walk.blocks import Block, Norm
from ..engine.walk.forward import Layout, attend, filled, no_tap
from .graph import Graph
from .writes import Stream, Writes, before_norm, of_heads


class CircuitRun:
    """A circuit on its way through the layers, for prompts of one length.

    Args: base: the writes of the run that goes in. source: those that stand where an edge is cut. n_prompts: of one
        length. mask: the edges that are kept, ``[reader, writer]``.
    """

    def __init__(self, graph: Graph, base: Writes, source: Writes, n_prompts: int, mask: Bool[np.ndarray, "r w"]):
        self.graph, self.source = graph, source
        first = base.resid[0]
        n = len(first)
        length = n // n_prompts
        at = torch.arange(n, device=first.device)
        self.layout = Layout(at // length, at % length, n_prompts, length, dense=True)
        self.mask = torch.as_tensor(mask, device=first.device).to(first.dtype)
        #: live write less the source's, ``[writer, token, d_model]``; of heads before a norm after attention
        self.live = first.new_zeros(graph.n_writers, n, graph.d_model)
        self.live[0] = first - source.resid[0]

    @torch.no_grad()
    def final(self) -> Stream:
        """What the logits read of every token."""
        graph = self.graph
        for layer in range(graph.n_layers):
            self._layer(layer)
        return self._seen(slice(graph.n_readers - 1, graph.n_readers), graph.n_layers, self.source.resid[-1])[0]

    def _layer(self, layer: int) -> None:
        graph, decoder = self.graph, self.source.decoder
        block = decoder.blocks[layer]
        rope = decoder.rope(self.layout.length, block.device)
        with block.resident():
            x = self._seen(graph.attention_readers(layer), layer, self.source.resid[layer])
            z = self._attend(block, block.norm_attn(x), rope)
            self.live[graph.heads_of(layer)] = of_heads(block, z - self.source.z[layer])
            mlp = graph.mlp_reader(layer)
            heads_seen = layer + (not graph.parallel)
            x = self._seen(slice(mlp, mlp + 1), heads_seen, self.source.before_mlp(layer), layer)
            self.live[graph.mlp_of(layer)] = block.feed(block.norm_mlp(x[0]), no_tap) - self.source.mlp[layer]

    def _attend(
        self, block: Block, x: Float[Tensor, "readers tokens d_model"], rope: object
    ) -> Float[Tensor, "tokens n_heads d_head"]:
        """The heads' mixed values, each projection read from its own stream."""
        lay, start = self.layout, 0
        parts: list[Tensor] = []
        for weight, bias in block.read_weights():
            # true key/value heads, or one for each query head
            n = self.graph.n_heads if not parts else self.graph.n_kv_heads
            weight = weight.repeat_interleave(n // len(weight), 0)
            out = torch.bmm(x[start : start + n], weight.transpose(1, 2))
            if bias is not None:
                out += bias.repeat_interleave(n // len(bias), 0)[:, None]
            parts.append(out.transpose(0, 1))
            start += n
        q, k, v = parts
        cos, sin = rope[block.table] if block.rotary else (None, None)  # type: ignore[index]
        cos, sin = (None if t is None else t[lay.position] for t in (cos, sin))
        q, k = block.placed_q(q, cos, sin), block.placed_k(k, cos, sin)
        return attend(block, q, filled(k, None, lay), block.placed_v(filled(v, None, lay)), lay, no_tap, False)

    def _seen(
        self, readers: slice, layers: int, source: Stream, own: int | None = None
    ) -> Float[Tensor, "readers tokens d_model"]:
        """What some readers see: of the heads of so many layers, and of what was written before them.

        Args: source: the source's stream there. own: the layer whose MLP it is that reads.
        """
        graph = self.graph
        mlps = layers if own is None else own
        upto = graph.first_writer(mlps) if own is None else graph.before_mlp(own)
        mask = self.mask[readers, :upto]
        post = [b.post_attn for b in self.source.decoder.blocks[:layers]]
        if not any(norm is not None for norm in post):
            arrives = mask @ self.live[:upto].flatten(1)
            return source + arrives.unflatten(1, (-1, graph.d_model))
        # the input and the MLPs, then the attention of every layer through its norm
        plain = [0, *(graph.mlp_of(l) for l in range(mlps))]
        seen = source + (mask[:, plain] @ self.live[plain].flatten(1)).unflatten(1, (-1, graph.d_model))
        for layer in range(layers):
            seen += self._through_norm(layer, mask[:, graph.heads_of(layer)])
        return seen

    def _through_norm(
        self, layer: int, mask: Float[Tensor, "readers heads"]
    ) -> Float[Tensor, "readers tokens d_model"]:
        """How attention's output differs from the source's where a reader sees some of its heads live."""
        block, source = self.source.decoder.blocks[layer], self.source
        norm: Norm | None = block.post_attn
        arrives = (mask @ self.live[self.graph.heads_of(layer)].flatten(1)).unflatten(1, (-1, self.graph.d_model))
        if norm is None:
            return arrives
        return norm(arrives + before_norm(block, source.z[layer])) - source.attn[layer]


def circuit_finals(
    graph: Graph, base: Writes, source: Writes, n_prompts: int, masks: Sequence[Bool[np.ndarray, "r w"]]
) -> list[Stream]:
    """What the logits read in the runs of several circuits, one after another."""
    return [CircuitRun(graph, base, source, n_prompts, mask).final() for mask in masks]
