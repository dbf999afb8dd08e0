"""Blocks whose projections are fused: GPT-2, GPT-NeoX and Phi-3.

Queries alone, or keys and values alone, are products with the rows of the fused weight that give them; under an
adapter, which applies something else than that weight, the whole layer is called and cut.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..effective import is_plain, linear_map
from .blocks import Block, Projection, gated, part_of, unwrapped


class GPT2Block(Block):
    """GPT-2: fused q, k, v as one ``Conv1D``, learned positions, plain MLP."""

    rotary = False
    _names = dict(attn="attn", mlp="mlp", norm_attn="ln_1", norm_mlp="ln_2")

    def _attention(self) -> None:
        self.d_head, self.d_model = self.attn.head_dim, self.attn.embed_dim
        self.fused, self.o_proj = part_of(self.attn, "c_attn"), part_of(self.attn, "c_proj")

    def _feed_forward(self) -> None:
        self.up, self.down_proj = part_of(self.mlp, "c_fc"), part_of(self.mlp, "c_proj")
        self.act = unwrapped(self.mlp.act)

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        d = self.d_model
        if not is_plain(self.fused):
            # under an adapter the layer's parameter is not what it applies
            whole: Tensor = self.fused(x)
            return whole[:, first * d : last * d]
        return torch.addmm(self.fused.bias[first * d : last * d], x, self.fused.weight[:, first * d : last * d])

    def q(self, x: Tensor) -> Tensor:
        """The queries: the first third of the fused product."""
        return self._project(x, 0, 1).view(len(x), -1, self.d_head)

    def kv(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values: the other two thirds of the fused product."""
        k, v = self._project(x, 1, 3).split(self.d_model, -1)
        return k.reshape(len(x), -1, self.d_head), v.reshape(len(x), -1, self.d_head)

    def value_weight(self) -> Tensor:
        """The fused weight's rows that make the values."""
        return linear_map(self.fused, "queries, keys and values")[0][2 * self.d_model :]

    def read_weights(self) -> tuple[Projection, Projection, Projection]:
        """The thirds of the fused product."""
        weight, bias = linear_map(self.fused, "queries, keys and values")
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        q, k, v = (self._by_head(w, b) for w, b in zip(weight.chunk(3), biases))
        return q, k, v

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons' activations; there is no gate."""
        neurons: Tensor = self.act(self.up(x))
        return neurons


class NeoXBlock(Block):
    """GPT-NeoX and Pythia: q, k, v fused head by head, rotary on part of each head, attention and MLP side by side."""

    _names = dict(attn="attention", mlp="mlp", norm_attn="input_layernorm", norm_mlp="post_attention_layernorm")

    def __init__(self, layer: nn.Module, config: Any):
        super().__init__(layer, config)
        self.parallel = bool(unwrapped(layer).use_parallel_residual)

    def _attention(self) -> None:
        a = self.attn
        self.d_head, self.fused, self.o_proj = a.head_size, part_of(a, "query_key_value"), part_of(a, "dense")

    def _feed_forward(self) -> None:
        self.up, self.down_proj = part_of(self.mlp, "dense_h_to_4h"), part_of(self.mlp, "dense_4h_to_h")
        self.act = unwrapped(self.mlp.act)

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fused product, in which each head has its query, key and value side by side."""
        q, k, v = self.fused(x).view(len(x), -1, 3, self.d_head).unbind(2)
        return q, k, v

    def _rows(self, t: Tensor, first: int, last: int) -> Tensor:
        by_head = rearrange(t, "(h qkv d) ... -> h qkv d ...", qkv=3, d=self.d_head)
        return rearrange(by_head[:, first:last], "h qkv d ... -> (h qkv d) ...")

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        if not is_plain(self.fused):
            # under an adapter the layer's parameter is not what it applies
            whole: Tensor = self.fused(x)
            return whole.view(len(x), -1, 3, self.d_head)[:, :, first:last]
        weight, bias = self.fused.weight, self.fused.bias
        out = F.linear(x, self._rows(weight, first, last), None if bias is None else self._rows(bias, first, last))
        return out.view(len(x), -1, last - first, self.d_head)

    def q(self, x: Tensor) -> Tensor:
        """The first third of each head's part of the fused product."""
        return self._project(x, 0, 1)[:, :, 0]

    def kv(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The other two thirds of each head's part of the fused product."""
        k, v = self._project(x, 1, 3).unbind(2)
        return k, v

    def value_weight(self) -> Tensor:
        """The fused weight's rows that make the values, head by head."""
        return self._rows(linear_map(self.fused, "queries, keys and values")[0], 2, 3)

    def read_weights(self) -> tuple[Projection, Projection, Projection]:
        """Each head's thirds of its part of the fused product."""
        weight, bias = linear_map(self.fused, "queries, keys and values")
        q, k, v = (
            self._by_head(self._rows(weight, i, i + 1), None if bias is None else self._rows(bias, i, i + 1))
            for i in range(3)
        )
        return q, k, v

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons' activations; there is no gate."""
        neurons: Tensor = self.act(self.up(x))
        return neurons


class Phi3Block(Block):
    """Phi-3: q, k and v in one linear layer, one after another, and the MLP's gate and up projection in another."""

    d_mlp: int

    def _attention(self) -> None:
        a = self.attn
        self.d_head, self.fused, self.o_proj = a.head_dim, part_of(a, "qkv_proj"), part_of(a, "o_proj")
        shared = self.config.num_key_value_heads * self.d_head
        self._ends = tuple(itertools.accumulate((self.config.num_attention_heads * self.d_head, shared, shared)))

    def _feed_forward(self) -> None:
        self.gate_up, self.down_proj = part_of(self.mlp, "gate_up_proj"), part_of(self.mlp, "down_proj")
        self.act = unwrapped(self.mlp.activation_fn)

    def q(self, x: Tensor) -> Tensor:
        """The queries, which come first in the fused product."""
        return part(self.fused, x, 0, self._ends[0]).view(len(x), -1, self.d_head)

    def kv(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, which follow the queries in the fused product."""
        k, v = part(self.fused, x, self._ends[0], self._ends[2]).chunk(2, -1)
        return k.unflatten(-1, (-1, self.d_head)), v.unflatten(-1, (-1, self.d_head))

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fused product, cut into queries, keys and values."""
        first, second, _ = self._ends
        q, k, v = (t.unflatten(-1, (-1, self.d_head)) for t in self.fused(x).tensor_split((first, second), -1))
        return q, k, v

    def value_weight(self) -> Tensor:
        """The fused weight's last rows, which make the values."""
        return linear_map(self.fused, "queries, keys and values")[0][self._ends[1] :]

    def read_weights(self) -> tuple[Projection, Projection, Projection]:
        """The fused product's rows, one after another."""
        weight, bias = linear_map(self.fused, "queries, keys and values")
        ends = self._ends[:2]
        biases = (None,) * 3 if bias is None else bias.tensor_split(ends)
        q, k, v = (self._by_head(w, b) for w, b in zip(weight.tensor_split(ends), biases))
        return q, k, v

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons' activations, from gates and inputs that lie one after another in one layer."""
        if not is_plain(self.gate_up):
            return gated(self.act, *self.gate_up(x).chunk(2, -1))
        # what two products give lies in one piece each: the steps after them are faster than on halves of rows
        return gated(self.act, part(self.gate_up, x, 0, self.d_mlp), part(self.gate_up, x, self.d_mlp, 2 * self.d_mlp))


def part(layer: Any, x: Float[Tensor, "n d_in"], first: int, last: int) -> Float[Tensor, "n part"]:
    """Some of the outputs of a linear layer, at the cost of these alone where its own weight is what it applies."""
    if not is_plain(layer):
        whole: Tensor = layer(x)
        return whole[:, first:last]
    return F.linear(x, layer.weight[first:last], None if layer.bias is None else layer.bias[first:last])
