"""What edits of features put at one site of one layer, computed from the rows' own activations as they are met."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..features import Live, flat, targets, unflat
from .indexed_writes import Tokens, put


@dataclass
class FeatureWrites:
    """Writes ``x[token] += sum_k change[token, k] * direction[index[token, k]]``, sorted by token.

    Attributes:
        live: an edit of the kind that all are of. host: the tokens. index: the features of each.
        value: what they are to be, ``[n, k]``, or None. scale: of each token's edit.
        noted: what was read, where that is another place: one row a write.
    """

    live: Live
    host: np.ndarray
    index: Int[Tensor, "n k"]
    value: Float[Tensor, "n k"] | None
    scale: Float[Tensor, " n"]
    noted: Tensor | None = field(default=None, repr=False)

    def inside(self, tokens: slice | Tokens) -> tuple[Tensor, Tensor]:
        """Which writes are of the tokens named (ascending), and where these are among them."""
        at = np.arange(tokens.start, tokens.stop) if isinstance(tokens, slice) else tokens.host
        where = np.searchsorted(at, self.host)
        there = where < len(at)
        if len(at):
            there &= at[where.clip(max=len(at) - 1)] == self.host
        pick = np.flatnonzero(there)
        return put(pick, self.index.device), put(where[pick], self.index.device)

    def put(self, x: Tensor, tokens: slice | Tokens) -> None:
        """Writes in place where ``x``, which holds the tokens named, has what is written to."""
        pick, where = self.inside(tokens)
        if not len(where):
            return
        live = self.live
        if live.reads is None:
            read = x[where]
        else:
            noted: Any = self.noted  # the walk has passed there
            read = noted[pick]
        x[where] = (x[where] + self._added(read, pick, x.shape[1:]).to(x)).to(x.dtype)

    def _added(self, read: Tensor, pick: Tensor, width: torch.Size) -> Tensor:
        """What is added at the writes picked."""
        features, live = self.live.features, self.live
        into = flat(live.through(read), features.reads)
        index = self.index[pick]
        named, place = index.unique(return_inverse=True)
        f = into.new_zeros(len(into), index.shape[1])
        if live.op != "add":
            f = features.values(into, named).gather(1, place)
        value = None if self.value is None else self.value[pick]
        scale: Any = self.scale[pick][:, None]
        change = targets(live.op, f, value, scale) * features.unit(into)
        direction = features.directions(named).to(change)
        delta = torch.einsum("nk,nkd->nd", change, direction[place])
        return unflat(delta, features.writes, width)


@dataclass
class FeatureReads:
    """Notes at the place that is read what `writes` are computed from."""

    writes: FeatureWrites

    @property
    def host(self) -> np.ndarray:
        """No token is written to."""
        return np.zeros(0, np.int64)

    def put(self, x: Tensor, tokens: slice | Tokens) -> None:
        """Keeps the activations of the tokens that the writes are of; nothing is written."""
        writes = self.writes
        pick, where = writes.inside(tokens)
        if not len(where):
            return
        if writes.noted is None:
            writes.noted = x.new_zeros(len(writes.host), *x.shape[1:])
        writes.noted[pick] = x[where]
