"""Attention at the points of a run, transposed: from a cotangent of what the heads add up to those of q, k and v."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..walk.blocks import Block, Norm
from ..walk.forward import weighed
from .norms import NormBack
from .rules import Rules


def turned_back(c: Float[Tensor, "... n heads d_head"], cos: Tensor | None, sin: Tensor | None) -> Tensor:
    """The transpose of ``walk.blocks.rotate``."""
    if cos is None or sin is None:
        return c
    rot = cos.shape[-1]
    half = rot // 2
    turn = c[..., :rot]
    by_sin = turn * sin[:, None]
    turn = turn * cos[:, None] + torch.cat((by_sin[..., half:], -by_sin[..., :half]), -1)
    return turn if rot == c.shape[-1] else torch.cat((turn, c[..., rot:]), -1)


class HeadNorm:
    """The norm of queries or keys, with a clip behind it where a block has one, transposed."""

    def __init__(self, block: Block, norm: Norm | None, raw: Float[Tensor, "... n heads d_head"], rules: Rules):
        self.norm = norm
        self.whole = norm is not None and norm.width != block.d_head
        if norm is not None:
            self.back = NormBack(norm, raw.flatten(-2) if self.whole else raw, rules.freeze_norms)
        self.within = None
        if block.bound is not None:
            flat = raw.flatten(0, -3)
            plain = Block.normed(block, flat, norm).view_as(raw)
            self.within = plain.abs() <= block.bound

    def __call__(self, c: Float[Tensor, "cotangent ... n heads d_head"]) -> Tensor:
        """The cotangent of raw queries or keys of one of normed ones."""
        if self.within is not None:
            c = c * self.within
        if self.norm is None:
            return c
        return self.back(c.flatten(-2)).view_as(c) if self.whole else self.back(c)


class AttentionBack:
    """The attention of one block, transposed at its run.

    Args:
        q, k, v: raw, of ``[prompt, position, heads, d_head]``; ``q`` of the variable positions ``first`` and after
            alone. rope: the block's table.
    """

    def __init__(
        self,
        block: Block,
        q: Float[Tensor, "prompt some n_heads d_head"],
        k: Float[Tensor, "prompt position n_kv_heads d_head"],
        v: Float[Tensor, "prompt position n_kv_heads d_head"],
        rope: tuple[Tensor | None, Tensor | None],
        first: int,
        rules: Rules,
    ):
        self.first, self.rules = first, rules
        length, kv = k.shape[1], k.shape[2]
        self.cos, self.sin = (None if t is None or not block.rotary else t[first:length] for t in rope)
        self.q_norm = HeadNorm(block, block.q_norm, q, rules)
        self.k_norm = HeadNorm(block, block.k_norm, k[:, first:], rules)
        self.v_within = None if block.bound is None else v[:, first:].abs() <= block.bound
        cos, sin = (None if t is None else t[:length].repeat(len(q), 1) for t in rope)
        late = [None if t is None else t.view(len(q), length, -1)[:, first:].flatten(0, 1) for t in (cos, sin)]
        placed_q = block.placed_q(q.flatten(0, 1), *late).view_as(q)
        placed_k = block.placed_k(k.flatten(0, 1), cos, sin).view_as(k)
        # [prompt, kv head, query head of the group and query, d_head]; keys and values [prompt, kv head, key, d_head]
        self.shape = len(q), kv, q.shape[2] // kv, q.shape[1], length
        self.q = placed_q.unflatten(2, (kv, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        self.k = placed_k.transpose(1, 2).contiguous()
        self.v = block.placed_v(v).transpose(1, 2).contiguous()
        self.pattern, self.slope, self.soft = self._softmax(block)
        self.z = (self.pattern.flatten(2, 3) @ self.v).view(*self.shape[:4], -1)
        self.soft_z = self.z if self.soft is self.pattern else (self.soft.flatten(2, 3) @ self.v).view_as(self.z)

    def _softmax(self, block: Block) -> tuple[Tensor, Tensor, Tensor]:
        """The pattern ``[prompt, kv head, query head, query, key]``; what ``c_P - sum P c_P`` is multiplied by; the
        pattern at the rules' temperature.
        """
        prompts, kv, group, some, length = self.shape
        scores = (self.q @ self.k.transpose(2, 3)).mul_(block.scaling).view(prompts, kv, group, some, length)
        bent = block.capped(scores)
        at = torch.arange(self.first, length, device=scores.device)[:, None]
        keys = torch.arange(length, device=scores.device)
        unseen = keys > at
        if block.window is not None:
            unseen |= keys <= at - block.window
        sinks = None if block.sinks is None else block.sinks.view(1, kv, group, 1, 1)
        pattern = weighed(bent.masked_fill(unseen, float("-inf")), sinks)
        soft = pattern
        if self.rules.temperature != 1.0:
            hot = self.rules.temperature
            soft = weighed((bent / hot).masked_fill(unseen, float("-inf")), None if sinks is None else sinks / hot)
        steep = soft * (block.scaling * self.rules.into_qk)
        if block.cap is not None:
            steep *= 1 - (bent / block.cap).square()
        return pattern, steep, soft

    def heads(self) -> Float[Tensor, "prompt some n_heads d_head"]:
        """What each head adds up, ``z``."""
        return self.z.permute(0, 3, 1, 2, 4).flatten(2, 3)

    def __call__(self, c: Float[Tensor, "cotangent prompt some n_heads*d_head"]) -> dict[str, Tensor]:
        """The cotangents of raw ``q``, ``k``, ``v``, ``[cotangent, prompt, some, heads, d_head]``, of those of ``z``.
        There is no ``q`` and ``k`` where patterns are held.
        """
        prompts, kv, group, some, length = self.shape
        count = len(c)
        # [prompt, kv head, cotangent, query head, query, d_head]
        cz = c.view(count, prompts, some, kv, group, -1).permute(1, 3, 0, 4, 2, 5).contiguous()
        d_head = cz.shape[-1]
        flat = cz.view(prompts, kv, count, group * some, d_head)
        own = self.pattern[..., self.first :].reshape(prompts, kv, 1, group * some, some)
        c_v = own.transpose(3, 4) @ flat
        if self.rules.into_v != 1.0:
            c_v *= self.rules.into_v
        out = {"v": self._by_position(c_v)}
        if self.v_within is not None:
            out["v"] = out["v"] * self.v_within
        if self.rules.freeze_patterns:
            return out
        c_s = (cz.view(prompts, kv, -1, d_head) @ self.v.transpose(2, 3)).view(prompts, kv, count, group, some, length)
        c_s -= (cz * self.soft_z[:, :, None]).sum(-1, keepdim=True)
        c_s *= self.slope[:, :, None]
        c_q = (c_s.view(prompts, kv, -1, length) @ self.k).view(prompts, kv, count, group, some, d_head)
        c_k = c_s.view(prompts, kv, count, group * some, length)[..., self.first :].transpose(3, 4) @ self.q[:, :, None]
        c_q = c_q.permute(2, 0, 4, 1, 3, 5).reshape(count, prompts, some, kv * group, d_head)
        out["q"] = self.q_norm(turned_back(c_q, self.cos, self.sin))
        out["k"] = self.k_norm(turned_back(self._by_position(c_k), self.cos, self.sin))
        return out

    @staticmethod
    def _by_position(c: Float[Tensor, "prompt kv cotangent some d_head"]) -> Tensor:
        whole: Any = c.permute(2, 0, 3, 1, 4)
        out: Tensor = whole
        return out
