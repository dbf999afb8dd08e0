"""Rows that continue many tokens of the base run: what all rows of a prompt continue is read once for all of them; of
the tokens after that, the base run's and its own, each row has a copy.

Two attentions, each with a softmax of its own, in torch's fused kernel, which keeps no scores; they are joined by the
sums that they are divided by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .kernels import fused

if TYPE_CHECKING:
    from .blocks import Block
    from .forward import Layout


class Common:
    """What some rows have in common, prompt by prompt, and the keys that each has beside.

    Args:
        lay: the rows' tokens and queries. prompt, start, size: of each row, the number of its prompt, the position of
            its first token and how many it has. begin: of each prompt, its first token among the base run's.

    Cost: of each query the keys in common and, padded to the most that a row has, those after them; working memory a
        copy of the latter, and of the queries padded to the most that a row has.
    """

    def __init__(
        self, lay: Layout, prompt: np.ndarray, start: np.ndarray, size: np.ndarray, begin: Sequence[int]
    ) -> None:
        counts = np.asarray(lay.counts)
        prompts, of = np.unique(prompt, return_inverse=True)
        alike, reach = np.full(len(prompts), np.iinfo(np.int64).max), np.zeros(len(prompts), np.int64)
        np.minimum.at(alike, of, start)
        np.maximum.at(reach, of, start)
        origin = np.asarray(begin)[prompts]
        #: by prompt: its queries (None: all), and the span of the base run's tokens that all its rows continue
        self.before: list[tuple[Tensor | None, slice]] = [
            (
                None if len(prompts) == 1 else torch.as_tensor(np.flatnonzero(np.repeat(of == i, counts))),
                slice(int(origin[i]), int(origin[i] + alike[i])),
            )
            for i in range(len(prompts))
        ]
        #: by prompt: the span of those that only some of its rows continue
        self.between = [slice(int(o + a), int(o + r)) for o, a, r in zip(origin, alike, reach) if r > a]
        n_between = np.cumsum(reach - alike)
        first_between, first_own = n_between - (reach - alike), n_between[-1] + np.cumsum(size) - size
        at = alike[of][:, None] + np.arange(int((start + size - alike[of]).max()))
        behind = np.minimum(at - start[:, None], size[:, None] - 1)
        keys = np.where(behind >= 0, first_own[:, None] + behind, (first_between - alike)[of][:, None] + at)
        self.rows, self.slots, self.n_keys = len(start), int(counts.max()), at.shape[1]
        slot = np.minimum(np.arange(self.slots), counts[:, None] - 1)
        queries = (np.cumsum(counts) - counts)[:, None] + slot
        #: ``[rows * keys]`` of the tokens between and at hand, one after the other; ``[rows, slots]`` of the queries;
        #: and where each query is among these
        self.keys, self.queries = torch.as_tensor(keys.ravel()), torch.as_tensor(queries)
        self.places = torch.as_tensor(np.repeat(np.arange(len(counts)) * self.slots, counts)) + lay.slot
        self.seen = torch.as_tensor(at)[:, None, :] <= lay.q_position[self.queries][:, :, None]
        self._masks: dict[int, Tensor] = {}

    def _mask(self, per: int) -> Float[Tensor, "rows 1 queries keys"]:
        """0 where a query sees a key, for the `per` queries of a token that share keys; else minus infinity."""
        if per not in self._masks:
            mask = torch.zeros(self.seen.shape).masked_fill_(~self.seen, float("-inf"))
            self._masks[per] = mask.repeat_interleave(per, 1)[:, None]
        return self._masks[per]

    def attend(
        self,
        block: Block,
        q: Float[Tensor, "queries heads d_head"],
        k: Float[Tensor, "tokens kv_heads d_head"],
        v: Float[Tensor, "tokens kv_heads d_head"],
        base: tuple[Float[Tensor, "base_tokens kv_heads d_head"], Float[Tensor, "base_tokens kv_heads d_head"]],
    ) -> Float[Tensor, "queries heads d_head"]:
        """What the queries read; `v` as it is placed, `base` as the base run has it."""
        n, heads, d_head = q.shape
        kv = k.shape[1]
        per = heads // kv
        q = q.reshape(n, kv, per, d_head)
        head, total = self._before(block, q, base)
        near = torch.arange(kv, device=q.device)[:, None] + kv * self.queries[:, None]
        of_row = q.flatten(0, 1).index_select(0, near.flatten()).view(self.rows, kv, -1, d_head)

        def rows_of(own: Tensor, between: list[Tensor]) -> Tensor:
            whole = torch.cat([*between, own]) if between else own
            some = whole.flatten(1).index_select(0, self.keys)
            return some.view(self.rows, self.n_keys, kv, d_head).transpose(1, 2)

        tail, own_total = fused(
            of_row,
            rows_of(k, [base[0][span] for span in self.between]),
            rows_of(v, [block.placed_v(base[1][span]) for span in self.between]),
            block.scaling,
            self._mask(per),
        )
        tail = tail.reshape(-1, heads * d_head).index_select(0, self.places).view(n, per, kv, d_head)
        own_total = own_total.reshape(-1, heads).index_select(0, self.places).view(n, per, kv, 1)
        z = q.new_empty(n, kv, per, d_head)
        torch.lerp(head, tail, torch.sigmoid(own_total - total), out=z.transpose(1, 2))
        return z.view(n, heads, d_head)

    def _before(
        self, block: Block, q: Float[Tensor, "queries kv_heads per d_head"], base: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "queries per kv_heads d_head"], Float[Tensor, "queries per kv_heads 1"]]:
        """What the queries read of the tokens that the rows of their prompt have in common, and by what divided."""
        n, kv, per, d_head = q.shape
        parts = []
        for index, span in self.before:
            some = q if index is None else q.index_select(0, index)
            z, total = fused(
                some.transpose(0, 1).reshape(1, kv, -1, d_head),
                base[0][span].transpose(0, 1)[None],
                block.placed_v(base[1][span]).transpose(0, 1)[None],
                block.scaling,
            )
            parts.append((index, z.reshape(-1, per, kv, d_head), total.reshape(-1, per, kv, 1)))
        if len(parts) == 1:
            return parts[0][1:]
        whole, totals = q.new_empty(n, per, kv, d_head), q.new_empty(n, per, kv, 1)
        for index, z, total in parts:
            whole[index], totals[index] = z, total
        return whole, totals
