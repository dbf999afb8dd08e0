"""Indexed writes: what the edits of a walk's rows put at one site of one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .forward import Layout


def put(a: np.ndarray, device: torch.device) -> Tensor:
    """An array on a device; the host does not wait for a GPU to take it."""
    made = torch.as_tensor(a)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


@dataclass(frozen=True)
class Tokens:
    """Some of a walk's tokens, ascending: on its device, and where Python can read them without waiting for it."""

    index: Tensor
    host: np.ndarray

    @classmethod
    def of(cls, host: np.ndarray, device: torch.device) -> Tokens:
        """Tokens by their numbers."""
        return cls(put(host, device), host)

    def between(self, start: int, stop: int) -> Tokens:
        """Those from a token on, before another."""
        return self[slice(*np.searchsorted(self.host, (start, stop)).tolist())]

    def __getitem__(self, part: slice) -> Tokens:
        return Tokens(self.index[part], self.host[part])


@dataclass
class IndexedWrites:
    """Indexed writes at one site of one layer, ``x[token, sub] <- keep * x[token, sub] + scale * table[entry]``, sorted
    by token.

    ``host`` is ``token`` where Python can read it without waiting for the device; ``replaces`` says that nothing is
    kept.
    """

    token: Tensor
    host: np.ndarray
    replaces: bool
    sub: Tensor | None
    keep: Tensor
    scale: Tensor
    table: Tensor | None
    entry: Tensor
    by_sub: bool
    key: tuple[int, ...] | None = None
    prompt: Tensor | None = None

    def values(self, pick: Tensor | slice) -> Tensor | None:
        """What is added at the writes picked, ``[n, *width]``; None where nothing is."""
        if self.table is None:
            return None
        sub: Any = self.sub  # there where prompts or sub-indices choose among the table's rows
        if self.prompt is not None:
            added = self.table[self.prompt[pick], sub[pick], self.entry[pick]]
        else:
            added = self.table[self.entry[pick], sub[pick]] if self.by_sub else self.table[self.entry[pick]]
        return added * self.scale[pick].reshape(-1, *[1] * (added.ndim - 1)).to(added)

    def put(self, x: Tensor, tokens: slice | Tokens) -> None:
        """Writes in place where ``x``, which holds the tokens named (ascending), has what is written to."""
        if isinstance(tokens, slice):
            pick: slice | Tensor = slice(*np.searchsorted(self.host, (tokens.start, tokens.stop)).tolist())
            where = self.token[pick] - tokens.start
        else:
            pick, where = self._inside(tokens.host)
        if not len(where):
            return
        index = (where,) if self.sub is None else (where, self.sub[pick])
        value = self.values(pick)
        if self.replaces:
            x[index] = torch.zeros_like(x[index]) if value is None else value.to(x.dtype)
            return
        old = x[index]
        old = old * self.keep[pick].reshape(-1, *[1] * (old.ndim - 1)).to(x)
        x[index] = old if value is None else old + value.to(x.dtype)

    def put_patterns(self, x: Tensor, lay: Layout, tokens: slice | Tokens) -> None:
        """The same of attention patterns as they are laid out, whose queries are the tokens named."""
        pick, where = self._inside(np.arange(tokens.start, tokens.stop) if isinstance(tokens, slice) else tokens.host)
        if not len(where):
            return
        sub: Any = self.sub  # of a pattern there are always heads and keys
        old = x[lay.q_row[where], sub[pick], lay.slot[where]]
        key = put(np.array([k for k in self.key or () if k < lay.length], np.int64), x.device)
        value = self.values(pick)
        if value is not None:
            value = value[:, key] if self.prompt is not None else value[:, : len(key)]
        old[:, key] = old[:, key] * self.keep[pick][:, None].to(x) + (0 if value is None else value.to(x))
        x[lay.q_row[where], sub[pick], lay.slot[where]] = old

    def _inside(self, at: np.ndarray) -> tuple[Tensor, Tensor]:
        """Which of the tokens written to are in ``at`` (ascending), and where."""
        where = np.searchsorted(at, self.host)
        inside = where < len(at)
        if len(at):
            inside &= at[where.clip(max=len(at) - 1)] == self.host
        pick = np.flatnonzero(inside)
        return put(pick, self.token.device), put(where[pick], self.token.device)
