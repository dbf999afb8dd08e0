"""Where the tokens of a forward stand in their texts, while edits are in force on a model.

A forward is given position ids, or a mask, or a cache, or nothing of these; what it is given is looked at in every
module on the way to the blocks that takes tokens. Padding has no position. Where positions cannot be told, an edit that
needs them is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .cached_tokens import CachedText, cached_tokens, recall
from .edits import EditError
from .sites import SiteError


@dataclass(frozen=True)
class TokenPositions:
    """Positions of a forward's tokens, ``[batch or 1, n]``; -1 is padding.

    Attributes:
        known: None, or why the positions could not be told (they then count the tokens of this forward alone).
        before: tokens (and padding) that came before, None where that is not known.
        padding: padding in front of each text, ``[batch or 1]``, or None where that is not known.
    """

    at: Int[Tensor, "batch n"]
    known: str | None = None
    before: int | None = 0
    padding: Int[Tensor, " batch"] | None = None

    def slots(self, spec: Any, shape: tuple[int, int]) -> Int[Tensor, "batch n"]:
        """Per token, its place among the positions named, or -1; negative ones count from the end of the text so far.

        Raises:
            EditError: the positions cannot be told. SiteError: a negative position that lies before the text.
        """
        if self.at.shape[1] != shape[1] or len(self.at) not in (1, shape[0]):
            raise EditError(
                f"the blocks saw {shape[0]} rows of {shape[1]} tokens where the model was given "
                f"{len(self.at)} of "
                f"{self.at.shape[1]}; positions cannot be told. Call the model itself with one tensor of "
                "tokens."
            )
        at = self.at.expand(shape[0], -1)
        if spec is None:
            return at
        if self.known is not None:
            raise EditError(f"position={spec!r}: {self.known}")
        out = torch.full_like(at, -1)
        for b, row in enumerate(at):
            total = int(row.max()) + 1
            wanted: Sequence[int]
            if isinstance(spec, slice):
                wanted = range(*spec.indices(total))
            else:
                wanted = [int(p) for p in (spec if hasattr(spec, "__iter__") else [spec])]
                if total and min(wanted, default=0) < -total:
                    raise SiteError(f"position={min(wanted)} is out of range; this text has {total} tokens.")
                wanted = [p + total if p < 0 else p for p in wanted]
            for i, p in enumerate(wanted):
                if p >= 0:
                    out[b, row == p] = i
        return out


def is_flat(mask: Any) -> bool:
    """Whether a mask has two dimensions, ``[batch, tokens so far]``."""
    return isinstance(mask, Tensor) and mask.ndim == 2


def place(
    batch: int, n: int, device: Any, position_ids: Any = None, mask: Any = None, cache: Any = None
) -> TokenPositions:
    """Where the ``n`` tokens of each row of a forward stand in their texts.

    Args:
        position_ids: ``[batch or 1, n]`` counts the text's own tokens, and is taken as it is; other shapes say nothing.
        mask: ``[batch, tokens so far]``, or of four dimensions (a boolean, or what is added to the scores), or one
            for each kind of layer.
        cache: what is kept of earlier tokens.
    """
    cached, own = recall(cache), cached_tokens(cache)
    before = own if own is not None else cached.before if cached is not None else None
    columns = torch.arange(n, device=device)[None]
    if is_flat(mask) and before is None and mask.shape[1] > n:
        before = mask.shape[1] - n
    span = _text(mask, before, n, device)
    if isinstance(position_ids, Tensor) and position_ids.ndim == 2 and position_ids.shape[1] == n:
        return _by_ids(position_ids.to(device), span, before, cached, columns)
    if span is None and before is None:
        return TokenPositions(
            columns,
            "of a recurrent state alone it cannot be told how many tokens it holds; run the text "
            "from its start "
            "within the with block, or name no position.",
            before=None,
        )
    if isinstance(span, str):
        return TokenPositions(columns, span, before=before)
    there = columns if before is None else before + columns
    if span is None:
        padding = cached.padding if cached is not None and cached.before == before else None
        at = there - (0 if padding is None else padding.to(device)[:, None])
        return TokenPositions(at, before=before, padding=padding)
    start, end = span
    at = there - start[:, None]
    at = at.masked_fill((there < start[:, None]) | (there >= end[:, None]), -1)
    return TokenPositions(at, before=before, padding=start)


def _by_ids(ids: Tensor, span: Any, before: int | None, cached: CachedText | None, columns: Tensor) -> TokenPositions:
    padding = cached.padding if cached is not None else None
    if isinstance(span, tuple) and before is not None:
        start, end = span
        column = before + columns
        real = (column >= start[:, None]) & (column < end[:, None])
        padding = start
        if len(start) >= len(ids):
            ids = ids.expand(len(start), -1)
            # ids that number the columns count padding in; the text's positions do not
            numbered = ((ids == column) | ~real).all(1, keepdim=True)
            ids = torch.where(numbered, column - start[:, None], ids).masked_fill(~real, -1)
    return TokenPositions(ids, before=before, padding=padding)


def _text(mask: Any, before: int | None, n: int, device: Any) -> tuple[Tensor, Tensor] | str | None:
    """First column of each row's text and the one after its last; None where the mask says nothing, or why not."""
    if isinstance(mask, dict):
        mask = next((mask[k] for k in ("full_attention", *mask) if mask.get(k) is not None), None)
    if mask is None or before is None:
        return None
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 4):
        return (
            f"attention_mask is a {type(mask).__name__}, of which it cannot be told where a row's text begins; "
            "hand in position_ids."
        )
    if mask.ndim == 4:
        return _text_of_square(mask, before, n)
    mask = mask.to(device) != 0
    if mask.shape[1] == before + n:
        return _ends(mask, 0)
    if mask.shape[1] == n:
        # the new tokens' mask alone says nothing of padding before them
        return (
            None
            if bool(mask.all())
            else (
                f"attention_mask covers the {n} new tokens, not the {before} before "
                "them; "
                "hand in all of it, or position_ids."
            )
        )
    return f"attention_mask has {mask.shape[1]} columns where the text so far has {before + n}; hand in position_ids."


def _ends(real: Bool[Tensor, "batch columns"], shift: int) -> tuple[Tensor, Tensor]:
    columns = real.shape[1]
    some = real.any(1)
    start = torch.where(some, real.int().argmax(1), columns)
    end = torch.where(some, columns - real.flip(1).int().argmax(1), columns)
    return start + shift, end + shift


def _text_of_square(mask: Tensor, before: int, n: int) -> tuple[Tensor, Tensor] | str | None:
    """The same of a mask ``[batch, 1 or heads, n, keys]``: its tokens see themselves, padding none or all."""
    seen = (mask > torch.finfo(mask.dtype).min / 2 if mask.is_floating_point() else mask != 0)[:, 0]
    if seen.shape[-1] < before + n:
        return f"attention_mask has {seen.shape[-1]} keys where the text so far has {before + n}; hand in position_ids."
    seen = seen[..., : before + n]
    if before:
        hidden = ~seen[:, -1, :before]
        if not bool(hidden.any()):
            start = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
            return start, start + before + n
        return (
            "attention_mask hides earlier tokens, and of one of four dimensions it cannot be told whether they "
            "are padding; "
            "hand in position_ids, or a mask of two dimensions."
        )
    real = seen.diagonal(dim1=1, dim2=2) & ~(seen.all(-1) & ~seen[:, -1:].all(-1))
    return _ends(real, 0)
