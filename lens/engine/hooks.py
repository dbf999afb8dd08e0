"""Edits by forward hooks: on any forward or generation through the model, or row by row on a batch of full forwards.

The first is what ``lens.edited`` uses; the second is the slow, general way to run edited prompts, for models that no
faster path serves. Both go through the places that ``Anatomy`` found, so that a site means the same everywhere.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy
from .decoder import EDITED, UnsupportedModel
from .edits import Edit, EditError, as_computed
from .sites import HEADED, ORDER, Site, SiteError, indices
from .walk import Stopped

#: Tokens of one batch of full forwards.
CHUNK_TOKENS = 1024


@dataclass(frozen=True)
class Handle:
    """Something in force on a model; ``remove`` undoes it."""

    remove: Callable[[], None]


@dataclass
class Change:
    """What one edit does to the tokens it meets, ``x -> keep * x + scale * value``, on some heads (or neurons) and keys."""

    keep: float
    scale: float
    sub: list[int] | None = None
    key: list[int] | None = None
    value: Tensor | None = None
    #: whether the site's axes after position are ``(heads, width)`` rather than ``(width,)``
    headed: bool = False

    def write(self, x: Tensor, row: Int[Tensor, "n"], column: Int[Tensor, "n"], entry: Int[Tensor, "n"] | None, where: Site) -> None:
        """Writes in place at ``x[row, column]``; ``entry`` says which position of a value with a position axis each token takes."""
        old = x[row, column]
        part = old if self.sub is None else old[:, self.sub]
        part = part if self.key is None else part[..., self.key]
        new = part * self.keep if self.keep else torch.zeros_like(part)
        if self.value is not None:
            new = new + self._values(part, entry, where) * self.scale
        if self.key is not None:
            whole = old if self.sub is None else old[:, self.sub]
            whole = whole.clone()
            whole[..., self.key] = new
            new = whole
        if self.sub is None:
            x[row, column] = new.to(x.dtype)
        else:
            x[row[:, None], column[:, None], torch.tensor(self.sub, device=x.device)] = new.to(x.dtype)

    def _values(self, part: Tensor, entry: Tensor | None, where: Site) -> Tensor:
        value = self.value.to(part)
        axes = part.shape[1:]
        try:
            if value.ndim <= len(axes) or value.shape[0] == 1:
                return (value if value.ndim <= len(axes) else value[0]).expand(axes)
            if value.ndim == len(axes) + 1 and entry is not None and int(entry.max()) < len(value):
                return value.expand(len(value), *axes)[entry]
        except RuntimeError:
            pass
        raise EditError(f"value has shape {tuple(self.value.shape)} at {where}; expected something that broadcasts to {tuple(axes)}, "
                        "with one more axis in front where every position named has its own"
                        + (f" (position {int(entry.max())} of the text has none)." if entry is not None and value.ndim > len(axes) else "."))


def resolved(anatomy: Anatomy, edit: Edit, n_keys: int | None = None) -> tuple[str, int, Change]:
    """Site, layer and change of an edit; ``resid_post`` is the next layer's ``resid_pre``.

    Raises:
        SiteError: no such layer, head or neuron, or the site was not found in the model.
    """
    site = edit.site
    name, layer = anatomy.layer_of(site.name, site.layer)
    anatomy.require(name, layer)
    sub = None
    if name in HEADED and site.head is not None:
        sub = indices(site.head, anatomy.heads(name), "head")
    elif name == "neuron" and site.neuron is not None:
        module = anatomy.require(name, layer).module
        sub = indices(site.neuron, _fan_in(module), "neuron")
    key = None if site.key is None else indices(site.key, n_keys, "key") if n_keys is not None else _plain_indices(site.key)
    if isinstance(edit.value, Tensor) and edit.value.ndim == 2 + (name in HEADED) and site.position is not None and not isinstance(site.position, slice):
        named = len(site.position) if hasattr(site.position, "__len__") else 1
        if edit.value.shape[0] not in (1, named):
            raise EditError(f"value has shape {tuple(edit.value.shape)} at {site}; its first axis counts positions, and {named} are named.")
    return name, layer, Change(edit.keep, float(edit.scale), sub, key, edit.value if isinstance(edit.value, Tensor) else None, name in HEADED)


def _fan_in(module) -> int:
    weight = next(p for n, p in module.named_parameters() if n.endswith("weight"))
    conv = any(type(m).__name__ == "Conv1D" for m in module.modules())
    return weight.shape[0 if conv else 1]


def _plain_indices(spec) -> list[int]:
    values = [spec] if hasattr(spec, "__index__") else list(spec) if not isinstance(spec, slice) else None
    if values is None or min(values) < 0:
        raise EditError(f"key={spec!r}: while the text may grow, keys are named by non-negative numbers.")
    return [int(v) for v in values]


class _Clock:
    """The absolute positions of the tokens in the forward that is under way, ``[batch or 1, n]``."""

    def __init__(self, body: Any):
        self.positions: Tensor | None = None
        self._names = list(inspect.signature(body.forward).parameters)
        self.handle = body.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _, args, kwargs) -> None:
        given = {**dict(zip(self._names, args)), **kwargs}
        ids = given.get("input_ids")
        tokens = ids if ids is not None else given.get("inputs_embeds")
        cache, at = given.get("past_key_values"), given.get("position_ids")
        if isinstance(at, Tensor) and at.ndim == 2 and at.shape[1] == tokens.shape[1]:
            # left-padded rows have position ids of their own, which count real tokens
            self.positions = at
            return
        if cache is None:
            seen = 0
        elif hasattr(cache, "get_seq_length"):
            seen = int(cache.get_seq_length())
        else:
            seen = cache[0][0].shape[-2]
        self.positions = (seen + torch.arange(tokens.shape[1], device=tokens.device))[None]

    def slots(self, spec, shape: tuple[int, int]) -> Int[Tensor, "batch n"]:
        """Per token, its place among the positions named, or -1; negative positions count from the end of the text so far."""
        at = self.positions.expand(shape[0], -1)
        if at.shape[1] != shape[1]:
            raise UnsupportedModel(f"the blocks saw {shape[1]} tokens where the model was given {at.shape[1]}; positions cannot be told.")
        if spec is None:
            return at
        out = torch.full_like(at, -1)
        for b, row in enumerate(at):
            total = int(row.max()) + 1
            if isinstance(spec, slice):
                wanted = range(*spec.indices(total))
            else:
                wanted = [int(p) for p in (spec if hasattr(spec, "__iter__") else [spec])]
                if min(wanted, default=0) < -total:
                    raise SiteError(f"position={min(wanted)} is out of range; this text has {total} tokens.")
                wanted = [p + total if p < 0 else p for p in wanted]
            for i, p in enumerate(wanted):
                out[b, row == p] = i
        return out


def install(model: Any, edits: Sequence[Edit]) -> list[Handle]:
    """Puts edits in force on every forward through a model and returns what undoes them.

    An edit with positions applies to the tokens at these positions of the whole text, wherever in a generation they are
    computed; negative positions count from the end of the text so far. An edit without a position applies to every token.
    Removing the last handle warns about edits that no token met. With a cache, what was computed under an edit stays in the
    cache. Text handed to a bridge is tokenised by the bridge; one from ``lens.load`` puts no start token in front, another
    may (``prepend_bos``), and positions then count it.

    Raises:
        EditError: a value that is not a tensor, or a site that was not found in this model.
        SiteError: no such layer, head, neuron or key.
    """
    edits = as_computed(edits)
    if not edits:
        return []
    for edit in edits:
        if not isinstance(edit, Edit):
            raise EditError(f"edit={edit!r} is no lens.Edit; write lens.Edit(lens.Site('attn_out', layer=9), 'add', value).")
        if edit.value is not None and not isinstance(edit.value, Tensor):
            raise EditError(f"value of the edit at {edit.site} is a {type(edit.value).__name__}; here it must be a tensor, because a text that is "
                            "generated has no run to align with. Take one with run.get(site, layer)[position].")
    try:
        anatomy = Anatomy.of(model)
        groups: dict[tuple[int, int, str], list[tuple[int, Edit, Change]]] = {}
        for number, edit in enumerate(edits):
            name, layer, change = resolved(anatomy, edit)
            groups.setdefault((layer, ORDER[name], name), []).append((number, edit, change))
    except UnsupportedModel as error:
        raise EditError(f"edits cannot be put on this model: {error}") from error
    clock, met, forwards = _Clock(anatomy.body), set(), []
    handles = [Handle(clock.handle.remove), Handle(anatomy.layers[0].register_forward_pre_hook(lambda *_: forwards.append(1) if not forwards else None).remove)]
    try:
        for (layer, _, name), members in sorted(groups.items(), key=lambda g: g[0]):
            handles.append(Handle(anatomy.attach(name, layer, _on_text(clock, members, met))))
    except BaseException:
        for handle in handles:
            handle.remove()
        raise

    def report():
        idle = [edit.site for number, edit in enumerate(edits) if number not in met]
        if forwards and idle and sys.exc_info()[0] is None:
            warnings.warn(f"no token met the edit at {idle[0]}" + (f" and {len(idle) - 1} more" if len(idle) > 1 else "")
                          + "; was the text shorter than its position?", stacklevel=4)
    return [*handles, Handle(report)]


def _on_text(clock: _Clock, members: Sequence[tuple[int, Edit, Change]], met: set[int]) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        new = x
        for number, edit, what in members:
            slots = clock.slots(edit.site.position, x.shape[:2]).to(x.device)
            row, column = (slots >= 0).nonzero(as_tuple=True)
            if len(row):
                met.add(number)
                new = new.clone() if new is x else new
                what.write(new, row, column, slots[row, column], edit.site)
        return new
    return change


@dataclass
class Recorded:
    """Activations of one prompt, to copy from: ``get(site, layer)`` is ``[position, (head,) width]``; patterns ``[query, head, key]``."""

    ids: Int[Tensor, "length"]
    kept: dict[tuple[str, int], Tensor]

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


def writes_of(anatomy: Anatomy, rows: Sequence[Sequence[Edit]], length: int, first: Sequence[int] | int = 0) -> dict[tuple[str, int], list[Write]]:
    """The writes of edited runs of one prompt by site and layer; values that are ``Recorded`` are read at the same positions.

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
            elif change.value is not None and len(at) < len(position) and change.value.ndim > 1 + change.headed and len(change.value) > 1:
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
            w.change.write(new, torch.full((n,), w.row - rows.start, device=x.device), torch.tensor(w.position, device=x.device) - offset,
                           torch.arange(n, device=x.device), w.site)
        return new
    return change


class HookedForwards:
    """Edited runs of one prompt as a batch of full forwards with hooks: slow, and right for any model whose sites are found.

    Its final "residual stream" are the logits themselves, so that ``unembed`` only picks columns.
    """

    engine = "hooks"

    def __init__(self, anatomy: Anatomy):
        self.anatomy, self.d_vocab = anatomy, anatomy.d_vocab
        self._short = "logits_to_keep" in inspect.signature(anatomy.hf.forward).parameters

    @property
    def device(self) -> torch.device:
        return self.anatomy.device

    @staticmethod
    def unembed(resid: Float[Tensor, "... d_vocab"], columns: Tensor | None = None) -> Tensor:
        return resid if columns is None else resid[..., columns]

    @torch.no_grad()
    def record(self, ids: Int[Tensor, "length"], keep: Sequence[tuple[str, int]]) -> Recorded:
        """One plain forward with the activations named kept.

        Raises:
            SiteError: a site that was not found.
        """
        kept: dict[tuple[str, int], Tensor] = {}
        undo = []
        try:
            for key in dict.fromkeys(keep):
                undo.append(self.anatomy.attach(*key, lambda x, key=key: (kept.__setitem__(key, x[0].clone()), x)[1]))
            self.anatomy.hf(ids[None], use_cache=False)
        finally:
            for u in undo:
                u()
        return Recorded(ids, kept)

    @torch.no_grad()
    def run(self, base: Recorded, rows: Sequence[Sequence[Edit]], reads: Sequence[int], stop: Callable[[], bool] | None = None) -> Float[Tensor, "rows reads d_vocab"]:
        """Logits of every edited run at the positions read, ascending."""
        length, out = len(base.ids), []
        size = max(1, CHUNK_TOKENS // length)
        writes = writes_of(self.anatomy, rows, length)
        options = {"logits_to_keep": length - min(reads)} if self._short else {}
        begin = 0
        while begin < len(rows):
            if stop is not None and stop():
                raise Stopped(f"stopped before run {begin} of {len(rows)}")
            part, undo = range(begin, min(begin + size, len(rows))), []
            try:
                for (site, layer), of_site in sorted(writes.items(), key=lambda w: (w[0][1], ORDER[w[0][0]])):
                    undo.append(self.anatomy.attach(site, layer, on_rows(of_site, part)))
                logits = self.anatomy.hf(base.ids[None].expand(len(part), -1), use_cache=False, **options).logits
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                continue
            finally:
                for u in undo:
                    u()
            out.append(logits[:, [r - length for r in reads]])
            begin = part.stop
        return torch.cat(out) if out else torch.zeros(0, len(reads), self.d_vocab, device=self.device)


@contextmanager
def edited(model: Any, *edits: Edit):
    """The model with edits in force, for any forward or generation through it; undone on leaving, also after an error.

    Inside, call the model as usual: ``model(ids)``, ``model.generate(...)``. Positions count from the start of the whole
    text; while generating with a cache, an edit without a position applies to each new token. Values must be tensors.

    Raises:
        EditError: an edit's value is a run (there is no run to align it with), or the site is not hookable.
    """
    held = getattr(model, "original_model", model).__dict__
    handles = install(model, edits)
    held[EDITED] = held.get(EDITED, 0) + 1
    try:
        yield model
    finally:
        held[EDITED] -= 1
        if not held[EDITED]:
            del held[EDITED]
        for handle in handles:
            handle.remove()
