"""Mixtures of experts in the MLP's place: the tokens of all rows that reach an expert share its products.

A token's router weights are written out over all experts, zero where it does not reach one, so that they can be read
and changed; what an expert adds is at hand by itself before it is summed (`Experts.parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..effective import innermost
from .blocks import Block, Norm, gated, part_of, unwrapped
from .forward import asks


class Experts:
    """Router and experts, both the model's own: Qwen 3, OLMoE and Mixtral, whose experts are gated MLPs without biases.

    The router is called as it is, so that its softmax, its choice of the largest and how these are normalised are the
    model's. Among experts whose logits are equal to rounding, which is chosen depends on the order of a sum, here as in
    the model itself.

    Attributes: ``n_experts``; ``d_expert``, neurons of one; ``top_k``, how many a token reaches.
    """

    router_name = "gate"

    def __init__(self, mlp: nn.Module):
        self.router, self.module = part_of(mlp, self.router_name), part_of(mlp, "experts")
        inner = innermost(self.router)
        self.n_experts, self.top_k = inner.num_experts, inner.top_k
        self._read(innermost(self.module))

    def _read(self, module: Any) -> None:
        self.act, self.d_expert = unwrapped(module.act_fn), module.down_proj.shape[-1]

    def route(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_experts"]:
        """The weights by which a token's experts are added; zero for those that it does not reach."""
        weights: Tensor
        _, weights, chosen = self.router(x)
        return weights.new_zeros(len(x), self.n_experts).scatter(1, chosen, weights)

    def parts(
        self, x: Float[Tensor, "n d_model"], weights: Float[Tensor, "n n_experts"], every: bool = False
    ) -> Iterator[tuple[int, Int[Tensor, " tokens"], Float[Tensor, "tokens d_model"]]]:
        """Expert by expert: its number, the tokens that reach it, and what it adds to their stream.

        ``every``: all tokens reach all experts, some by a weight of 0, of which there is a gradient too.
        """
        by_expert = (torch.ones_like(weights) if every else weights.detach()).T.nonzero()
        counts = torch.bincount(by_expert[:, 0], minlength=self.n_experts).tolist()
        # under an adapter the parameters are not what is applied
        parameters = None if innermost(self.module) is not self.module else self._parameters()
        for expert, tokens in enumerate(by_expert[:, 1].split(counts)):
            if len(tokens):
                mine = x.index_select(0, tokens)
                if parameters is None:
                    out = self._called(mine, torch.full_like(tokens, expert))
                else:
                    out = self._one(mine, *(p[expert] for p in parameters))
                scale = weights[:, expert].index_select(0, tokens)[:, None]
                yield expert, tokens, out * scale

    def _parameters(self) -> tuple[Tensor, ...]:
        """The weights of all experts, looked up once a call: under an edit in force that may cost something."""
        return self.module.gate_up_proj, self.module.down_proj

    def _one(self, x: Float[Tensor, "n d_model"], *parameters: Tensor) -> Float[Tensor, "n d_model"]:
        gate_up, down = parameters
        return F.linear(gated(self.act, *F.linear(x, gate_up).chunk(2, -1)), down)

    def _called(self, x: Float[Tensor, "n d_model"], expert: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """What the model's own module makes of tokens by one expert each."""
        out: Tensor = self.module(x, expert[:, None], x.new_ones(len(x), 1))
        return out

    @torch.no_grad()
    def gap(self, x: Float[Tensor, "n d_model"]) -> float:
        """The largest difference between an expert here and in the model's own module, relative to the largest output
        (at least 1), each expert on one of the tokens: a short text reaches few of them.
        """
        every = torch.arange(self.n_experts, device=x.device)
        x = x[every % len(x)]
        ours, theirs = torch.zeros_like(x), self._called(x, every)
        for _, tokens, added in self.parts(x, torch.eye(self.n_experts, dtype=x.dtype, device=x.device)):
            ours[tokens] = added.to(x.dtype)
        return (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())

    def __call__(
        self, x: Float[Tensor, "n d_model"], tap: Callable[[str, Tensor], Tensor]
    ) -> Float[Tensor, "n d_model"]:
        """What the mixture adds to the stream; taps ``router``, and ``expert`` where that is asked for. Half precision
        is summed in float32.
        """
        weights = tap("router", self.route(x))
        parts = self.parts(x, weights, every=asks(tap, "router") and weights.requires_grad)
        if asks(tap, "expert"):
            return tap("expert", self._apart(x, parts)).sum(1)
        half = x.dtype in (torch.bfloat16, torch.float16)
        out = torch.zeros_like(x, dtype=torch.float32 if half else x.dtype)
        for _, tokens, added in parts:
            out.index_add_(0, tokens, added.to(out.dtype))
        return out.to(x.dtype)

    def _apart(self, x: Float[Tensor, "n d_model"], parts: Iterator[Any]) -> Float[Tensor, "n n_experts d_model"]:
        """What each expert adds to each token's stream, by itself; 0 for tokens that do not reach it."""
        columns = []
        by_expert = {expert: (tokens, added.to(x.dtype)) for expert, tokens, added in parts}
        for expert in range(self.n_experts):
            column = torch.zeros_like(x)
            if expert in by_expert:
                tokens, added = by_expert[expert]
                column = column.index_copy(0, tokens, added)
            columns.append(column)
        return torch.stack(columns, 1)


class GptOssExperts(Experts):
    """gpt-oss: biases, weights transposed, gate and up outputs in turns, both clamped, and a swish of its own."""

    router_name = "router"

    def _read(self, module: Any) -> None:
        self.alpha, self.limit, self.d_expert = module.alpha, module.limit, module.down_proj.shape[-2]

    def _parameters(self) -> tuple[Tensor, ...]:
        m = self.module
        return m.gate_up_proj, m.gate_up_proj_bias, m.down_proj, m.down_proj_bias

    def _one(self, x: Tensor, *parameters: Tensor) -> Tensor:
        gate_up, gate_up_bias, down, down_bias = parameters
        gate, up = torch.addmm(gate_up_bias, x, gate_up).unflatten(-1, (-1, 2)).unbind(-1)
        gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        return torch.addmm(down_bias, (up + 1) * (gate * torch.sigmoid(gate * self.alpha)), down)


class MixtureBlock(Block):
    """Qwen 3 MoE and Mixtral: the Llama pattern with a mixture of experts in some or all layers."""

    mixture: type[Experts] = Experts

    def _feed_forward(self) -> None:
        if part_of(self.mlp, "experts") is None:
            super()._feed_forward()
        else:
            self.experts = self.mixture(self.mlp)


class OlmoeBlock(MixtureBlock):
    """OLMoE: queries and keys, after their norm, and values may be clamped."""

    def normed(self, x: Tensor, norm: Norm | None) -> Tensor:
        """Queries or keys, normed and then clipped as the configuration says."""
        return self._clipped(super().normed(x, norm))

    def placed_v(self, v: Tensor) -> Tensor:
        """Values, clipped as the configuration says."""
        return self._clipped(v)

    def _clipped(self, x: Tensor) -> Tensor:
        bound = self.bound
        return x if bound is None else x.clamp(-bound, bound)

    @property
    def bound(self) -> float | None:
        """What values are clipped at."""
        clip: float | None = self.config.clip_qkv
        return clip

    def values(self, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n n_kv_heads d_head"]:
        """The values of normed rows of the stream, clipped."""
        return self._clipped(super().values(x))


class GptOssBlock(MixtureBlock):
    """gpt-oss: each head's softmax has one more score, of no token."""

    mixture = GptOssExperts

    @property
    def sinks(self) -> Float[Tensor, " n_heads"]:
        """A score of each query head that takes part in the softmax and belongs to no token."""
        sinks: Tensor = self.attn.sinks
        return sinks
