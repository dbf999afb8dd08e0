"""Edited runs of one prompt as rows of a batch of full forwards with hooks: the slow, general way, for models that no
faster path serves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy
from .change import Change, resolved
from .changes import temporary
from .edits import Edit, as_computed
from .effective import mixing_layer
from .errors import UnsupportedModel
from .memory import ERRORS, no_room, out_of_memory
from .sites import ORDER, Site, indices
from .stopping import Stopped, says_stop

#: Tokens of one batch of full forwards.
CHUNK_TOKENS = 1024


@dataclass
class Recorded:
    """Activations of one prompt, to copy from: ``get(site, layer)`` is ``[position, (head,) width]``; patterns
    ``[query, head, key]``.

    ``last``: the model's own logits after the last token, ``[d_vocab]``.
    """

    ids: Int[Tensor, " length"]
    kept: dict[tuple[str, int], Tensor]
    last: Tensor | None = None

    @property
    def lengths(self) -> list[int]:
        return [len(self.ids)]

    def get(self, site: str, layer: int) -> Tensor:
        return self.kept[site, layer]


@dataclass
class Write:
    """A change of one row of a batch at some positions."""

    row: int
    position: list[int]
    change: Change
    site: Site


def writes_of(
    anatomy: Anatomy, rows: Sequence[Sequence[Edit]], length: int, first: Sequence[int] | int = 0
) -> dict[tuple[str, int], list[Write]]:
    """The writes of edited runs of one prompt by site and layer; values that are ``Recorded`` are read at the same
    positions.

    Args:
        first: positions before it are left out (per row or for all).
    """
    out: dict[tuple[str, int], list[Write]] = {}
    for r, edits in enumerate(rows):
        begin = first if isinstance(first, int) else first[r]
        for edit in as_computed(edits):
            name, layer, change = resolved(anatomy, edit, length)
            position = indices(edit.site.position, length, "position")
            at = [i for i, p in enumerate(position) if p >= begin]
            if isinstance(edit.value, Recorded):
                value = edit.value.get(name, layer)[[position[i] for i in at]]
                value = value if change.sub is None else value[:, change.sub]
                change.value = value if change.key is None else value[..., change.key]
            elif change.value is not None and len(at) < len(position):
                if change.value.ndim > 1 + change.headed and len(change.value) > 1:
                    change.value = change.value[at]
            if at:
                out.setdefault((name, layer), []).append(Write(r, [position[i] for i in at], change, edit.site))
    return out


def on_rows(writes: Sequence[Write], rows: range, offset: int = 0) -> Callable[[Tensor], Tensor]:
    """The writes of some rows as one change of ``[row, position - offset, ...]``."""
    mine = [w for w in writes if w.row in rows]

    def change(x: Tensor) -> Tensor:
        new = x.clone() if mine else x
        for w in mine:
            n = len(w.position)
            row = torch.full((n,), w.row - rows.start, device=x.device)
            column = torch.tensor(w.position, device=x.device) - offset
            w.change.write(new, row, column, torch.arange(n, device=x.device), w.site)
        return new

    return change


class HookedForwards:
    """Edited runs of one prompt as a batch of full forwards with hooks: slow, and right for any model whose sites are
    found.

    Its final "residual stream" are the logits themselves, so that ``unembed`` only picks columns.
    """

    engine = "hooks"

    def __init__(self, anatomy: Anatomy):
        if mixed := mixing_layer(anatomy.hf):
            raise UnsupportedModel(mixed)
        self.anatomy, self.d_vocab = anatomy, anatomy.d_vocab
        self._short = "logits_to_keep" in inspect.signature(anatomy.hf.forward).parameters

    @property
    def device(self) -> torch.device:
        return self.anatomy.device

    @staticmethod
    def unembed(resid: Float[Tensor, "... d_vocab"], columns: Tensor | None = None) -> Tensor:
        return resid if columns is None else resid[..., columns]

    @torch.no_grad()
    def record(self, ids: Int[Tensor, " length"], keep: Sequence[tuple[str, int]]) -> Recorded:
        """One plain forward with the activations named kept.

        Raises:
            SiteError: a site that was not found.
        """
        kept: dict[tuple[str, int], Tensor] = {}
        with temporary(self.anatomy.hf) as here:
            for key in dict.fromkeys(keep):
                here.put(
                    lambda: self.anatomy.attach(*key, lambda x, key=key: (kept.__setitem__(key, x[0].clone()), x)[1])
                )
            last = self.anatomy.hf(ids[None], use_cache=False).logits[0, -1]
        return Recorded(ids, kept, last)

    @torch.no_grad()
    def run(
        self,
        base: Recorded,
        rows: Sequence[Sequence[Edit]],
        reads: Sequence[int],
        stop: Callable[[], bool] | None = None,
    ) -> Float[Tensor, "rows reads d_vocab"]:
        """Logits of every edited run at the positions read, ascending."""
        length, out = len(base.ids), []
        size = max(1, CHUNK_TOKENS // length)
        writes = writes_of(self.anatomy, rows, length)
        options = {"logits_to_keep": length - min(reads)} if self._short else {}
        begin = 0
        while begin < len(rows):
            if says_stop(stop):
                raise Stopped(f"stopped before run {begin} of {len(rows)}")
            part = range(begin, min(begin + size, len(rows)))
            try:
                with temporary(self.anatomy.hf) as here:
                    for (site, layer), of_site in sorted(writes.items(), key=lambda w: (w[0][1], ORDER[w[0][0]])):
                        here.put(lambda: self.anatomy.attach(site, layer, on_rows(of_site, part)))
                    logits = self.anatomy.hf(base.ids[None].expand(len(part), -1), use_cache=False, **options).logits
            except ERRORS as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise no_room(self.device, length) from error
                size //= 2
                continue
            out.append(logits[:, [r - length for r in reads]])
            begin = part.stop
        return torch.cat(out) if out else torch.zeros(0, len(reads), self.d_vocab, device=self.device)
