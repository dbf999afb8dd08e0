"""A decoder run as circuits: every reader sees the live writes of the edges that are kept, and the source's of the
rest.

The input of reader ``r`` is ``source stream + sum over kept writers of (live write - source write)``: a masked product
a layer. Heads under a norm after attention write into that norm, so that each reader's share of attention is ``norm(sum
of what it sees)``. All edges kept is the plain run, none the ablated one, up to rounding.

Several circuits are run at once, so that weights are read once for all; and of prompts that begin alike in both runs,
what follows the first difference alone: before it every circuit is the plain run.

Cost: 1.1 to 1.5 forwards of these tokens a circuit where no norm comes after attention; with one, a norm for each
reader of each layer before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..engine.walk.blocks import Norm
from ..engine.walk.forward import Layout, attend, filled, no_tap
from .graph import Graph
from .writes import Stream, Writes, before_norm, of_heads


class CircuitRun:
    """Circuits on their way through the layers, for prompts of one length.

    Args: runs: the run that goes in, with its writes. source: those that stand where an edge is cut. masks: the edges
        that each circuit keeps, ``[circuit, reader, writer]``. start: before this position both runs are alike.
    """

    def __init__(self, graph: Graph, runs: Any, source: Writes, masks: Bool[np.ndarray, "circuit r w"], start: int = 0):
        self.graph, self.runs, self.decoder = graph, runs, source.decoder
        late = runs.position >= start
        #: of the tokens that may differ: the source's writes, and how far the run that goes in is from its input
        self.source = source if start == 0 else source.part(late)
        first = runs.resid[0][late]
        n, length, count = len(first), runs.lengths[0], len(masks)
        at = torch.arange(n * count, device=first.device)
        self.each = length - start
        self.layout = Layout(
            at // self.each,
            at % self.each + start,
            len(runs) * count,
            length,
            base=runs.table.repeat(count, 1),
            dense=start == 0,
        )
        self.masks = torch.as_tensor(masks, device=first.device).to(first.dtype)
        #: live write less the source's, ``[circuit, writer, token, d_model]``; of heads before a norm after attention
        self.live = first.new_zeros(count, graph.n_writers, n, graph.d_model)
        self.live[:, 0] = first - self.source.resid[0]

    @torch.no_grad()
    def last(self) -> Float[Tensor, "circuit prompt d_model"]:
        """What the logits read of every prompt's last token."""
        graph = self.graph
        for layer in range(graph.n_layers):
            self._layer(layer)
        final = self._seen(slice(graph.n_readers - 1, graph.n_readers), graph.n_layers, self.source.resid[-1])
        return final[:, 0, self.each - 1 :: self.each]

    def _layer(self, layer: int) -> None:
        graph, block = self.graph, self.decoder.blocks[layer]
        rope = self.decoder.rope(self.layout.length, block.device)
        count, source = len(self.masks), self.source
        with block.resident():
            x = self._seen(graph.attention_readers(layer), layer, source.resid[layer])
            z = self._attend(layer, block.norm_attn(x), rope).unflatten(0, (count, -1)) - source.z[layer]
            heads = of_heads(block, z.flatten(0, 1)).unflatten(1, (count, -1))
            self.live[:, graph.heads_of(layer)] = heads.transpose(0, 1)
            mlp = graph.mlp_reader(layer)
            heads_seen = layer + (not graph.parallel)
            x = self._seen(slice(mlp, mlp + 1), heads_seen, source.before_mlp(layer), layer)
            fed = block.feed(block.norm_mlp(x.flatten(0, 2)), no_tap)
            self.live[:, graph.mlp_of(layer)] = fed.unflatten(0, (count, -1)) - source.mlp[layer]

    def _attend(
        self, layer: int, x: Float[Tensor, "circuit readers tokens d_model"], rope: Any
    ) -> Float[Tensor, "circuit*tokens n_heads d_head"]:
        """The heads' mixed values, each projection read from its own stream."""
        lay, start, block = self.layout, 0, self.decoder.blocks[layer]
        parts: list[Tensor] = []
        for weight, bias in block.read_weights():
            # true key/value heads, or one for each query head
            n = self.graph.n_heads if not parts else self.graph.n_kv_heads
            weight, bias = _repeated(weight, n), None if bias is None else _repeated(bias, n)
            seen = x[:, start : start + n].transpose(0, 1).flatten(1, 2)
            out = torch.bmm(seen, weight.transpose(1, 2))
            if bias is not None:
                out += bias[:, None]
            parts.append(out.transpose(0, 1))
            start += n
        q, k, v = parts
        cos, sin = rope[block.table] if block.rotary else (None, None)
        cos, sin = (None if t is None else t[lay.position] for t in (cos, sin))
        q, k = block.placed_q(q, cos, sin), block.placed_k(k, cos, sin)
        # keys and values of what comes before are the plain run's
        before_k, before_v = (
            None if lay.dense else _repeated(t[layer].transpose(0, 1), self.graph.n_kv_heads).transpose(0, 1)
            for t in (self.runs.k, self.runs.v)
        )
        k, v = filled(k, before_k, lay), block.placed_v(filled(v, before_v, lay))
        return attend(block, q, k, v, lay, no_tap, False)

    def _seen(
        self, readers: slice, layers: int, source: Stream, own: int | None = None
    ) -> Float[Tensor, "circuit readers tokens d_model"]:
        """What some readers see: of the heads of so many layers, and of what was written before them.

        Args:
            source: the source's stream there. own: the layer whose MLP it is that reads.
        """
        graph = self.graph
        mlps = layers if own is None else own
        upto = graph.first_writer(mlps) if own is None else graph.before_mlp(own)
        mask = self.masks[:, readers, :upto]
        post = [b.post_attn for b in self.decoder.blocks[:layers]]
        if not any(norm is not None for norm in post):
            return self._arrives(mask, slice(0, upto)).add_(source)
        # the input and the MLPs, then the attention of every layer through its norm
        plain = [0, *(graph.mlp_of(l) for l in range(mlps))]
        seen = self._arrives(mask[:, :, plain], plain).add_(source)
        for layer in range(layers):
            seen += self._through_norm(layer, mask[:, :, graph.heads_of(layer)])
        return seen

    def _arrives(
        self, mask: Float[Tensor, "circuit readers writers"], writers: slice | Sequence[int]
    ) -> Float[Tensor, "circuit readers tokens d_model"]:
        """What comes in from the live writes of some writers."""
        return torch.bmm(mask, self.live[:, writers].flatten(2)).unflatten(2, (-1, self.graph.d_model))

    def _through_norm(
        self, layer: int, mask: Float[Tensor, "circuit readers heads"]
    ) -> Float[Tensor, "circuit readers tokens d_model"]:
        """How attention's output differs from the source's where a reader sees some of its heads live."""
        block, source = self.decoder.blocks[layer], self.source
        norm: Norm | None = block.post_attn
        arrives = self._arrives(mask, self.graph.heads_of(layer))
        if norm is None:
            return arrives
        return norm(arrives.add_(before_norm(block, source.z[layer]))).sub_(source.attn[layer])


def _repeated(by_head: Tensor, heads: int) -> Float[Tensor, " heads *rest"]:
    """The same of so many heads, those of a group alike."""
    return by_head if heads == len(by_head) else by_head.repeat_interleave(heads // len(by_head), 0)
