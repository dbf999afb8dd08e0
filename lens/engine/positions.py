"""Where the tokens of a forward stand in their texts, while edits are in force on a model.

A forward is given position ids, or a mask, or a cache, or nothing of these; what it is given is looked at in every
module on the way to the blocks that takes tokens. Padding has no position. Where positions cannot be told, an edit that
needs them is refused.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..notices import warn
from .decoding import Way, refusal
from .edits import EditError
from .places import after_call, before_call
from .recompute import recomputing
from .sites import SiteError
from .steps import CACHES


@dataclass(frozen=True)
class Placed:
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


@dataclass
class _Kept:
    """How many tokens a cache holds, how many of them it began with, and how much of each row is padding in front."""

    before: int
    first: int
    padding: Tensor | None
    alive: weakref.ref[Any]


#: by identity of a cache (of a recurrent state: of its first tensor)
_caches: dict[int, _Kept] = {}


def remember(cache: Any, before: int, padding: Tensor | None = None) -> None:
    """Notes how many tokens a cache holds: of a recurrent state alone this cannot be told later."""
    thing = _identity(cache)
    if thing is not None:
        number, known = id(thing), _recall(cache)
        first = known.first if known is not None and known.before <= before else before
        _caches[number] = _Kept(before, first, padding, weakref.ref(thing, lambda _: _caches.pop(number, None)))


def _recall(cache: Any) -> _Kept | None:
    thing = _identity(cache)
    found = None if thing is None else _caches.get(id(thing))
    return found if found is not None and found.alive() is thing else None


def _identity(cache: Any) -> Any:
    if not isinstance(cache, (list, tuple)):
        return cache
    return cache[0] if cache and isinstance(cache[0], Tensor) else None


def cached_tokens(cache: Any) -> int | None:
    """How many tokens a cache holds by its own account; None where it does not say."""
    if cache is None:
        return 0
    if isinstance(cache, (list, tuple)):
        return None if isinstance(cache[0], Tensor) else int(cache[0][0].shape[-2])
    count: int | None
    try:
        count = int(cache.get_seq_length())
        if not count:
            # that is the first layer's, and in some caches a layer without keys stands there
            counted = [c for c in getattr(cache, "layers", ()) if hasattr(c, "get_seq_length")]
            count = max((int(c.get_seq_length()) for c in counted), default=0)
    except (AttributeError, ValueError, StopIteration):
        count = 0 if hasattr(cache, "has_previous_state") else None
    return None if count == 0 and _recurrent(cache) else count


def _recurrent(cache: Any) -> bool:
    """Whether a cache that counts no tokens holds a recurrent state all the same."""
    if getattr(cache, "linear_cache", None):
        return True
    try:
        return bool(cache.has_previous_state())
    except (AttributeError, ValueError, StopIteration):
        return False


class Clock:
    """Follows every forward of a model and says where its tokens stand.

    Attributes:
        placed: positions of the forward that is under way.
        started: called when a forward begins. from_end: some edit counts positions from the end of the text.
        undo: what says whose thread's forwards are followed; None: every one's.
    """

    def __init__(
        self, anatomy: Any, started: Callable[[], None] | None = None, from_end: bool = False, undo: Any = None
    ):
        self.anatomy, self.started, self.from_end, self.undo = anatomy, started, from_end, undo
        self.placed: Placed | None = None
        #: edits do nothing while the clock stands still: for forwards of its own
        self.still = False
        #: whether the forward under way was called where gradients are recorded
        self.recording = False
        self._open: dict[int, dict[str, Any]] = {}
        self._again = False
        self._names = [list(inspect.signature(m.forward).parameters) for m in anatomy.carriers]
        self._handles = []
        for depth, module in enumerate(anatomy.carriers):
            self._handles.append(before_call(module, self._enter(depth), prepend=True))
            self._handles.append(after_call(module, self._leave(depth), always_call=True))

    def remove(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()

    @property
    def elsewhere(self) -> bool:
        """Whether this is a forward of a thread that the edits are not of; a backward pass may run in a thread of
        torch's own.
        """
        return self.undo is not None and not self.undo.mine() and not recomputing()

    @property
    def counts(self) -> bool:
        """Whether a forward is under way, or a part of an earlier one is computed again."""
        return self.placed is not None and (bool(self._open) or self._again)

    @property
    def unknown(self) -> bool:
        """Whether a forward is under way of whose tokens nothing is known."""
        return self.placed is None and bool(self._open)

    @property
    def forgotten(self) -> bool:
        """Whether a part of the forward under way will be computed again by a backward pass, which nobody here is told
        of: inside a call of torch's checkpoint that is not the library's own.
        """
        return self.recording and not self._again and running("checkpoint", "torch.utils.checkpoint")

    @contextmanager
    def at(self, placed: Placed | None) -> Iterator[None]:
        """With the positions of an earlier forward."""
        before, self.placed, self._again = (self.placed, self._again), placed, True
        try:
            yield
        finally:
            self.placed, self._again = before

    def _enter(self, depth: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.elsewhere:
                if not depth and self.started is not None:
                    self.started()  # refuses it
                return
            if self.still:
                return
            # a forward that was broken off by Ctrl-C left its entry behind
            self._open = {d: given for d, given in self._open.items() if d < depth}
            if not self._open:
                # of an earlier forward; this one may hand its tokens on in a way that is not understood
                self.placed, self.recording = None, torch.is_grad_enabled()
                if self.started is not None:
                    self.started()
            self._open[depth] = {**dict(zip(self._names[depth], args)), **kwargs}
            if (placed := self._place()) is not None:
                self.placed = placed

        return hook

    def _leave(self, depth: int) -> Callable[..., None]:
        def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self.still or self.elsewhere:
                return
            self._open.pop(depth, None)
            if output is None or self.placed is None or self.placed.before is None:
                return
            for cache in _caches_of(output):
                remember(cache, self.placed.before + self.placed.at.shape[1], self.placed.padding)

        return hook

    def _given(self) -> dict[str, Any]:
        """What the modules under way were given; what the innermost was given holds."""
        found: dict[str, Any] = {}
        for depth in sorted(self._open):
            given = self._open[depth]
            tokens = given.get("input_ids") if given.get("input_ids") is not None else given.get("inputs_embeds")
            if isinstance(tokens, Tensor):
                found["tokens"] = tokens
            for name in ("position_ids", "use_cache", *CACHES):
                if given.get(name) is not None:
                    found["cache" if name in CACHES else name] = given[name]
            mask = given.get("attention_mask")
            # a mask of two dimensions says most; one made of it further in says less
            if mask is not None and (not _two(found.get("mask")) or _two(mask)):
                found["mask"] = mask
        return found

    def _place(self) -> Placed | None:
        given = self._given()
        if "tokens" not in given:
            return None
        batch, n = given["tokens"].shape[:2]
        device, ids = given["tokens"].device, given.get("position_ids")
        placed = place(batch, n, device, ids, given.get("mask"), given.get("cache"))
        if max(self._open) == len(self.anatomy.carriers) - 1:
            self._require(given, placed, n)
        return placed

    def _require(self, given: dict[str, Any], placed: Placed, n: int) -> None:
        """Refuses ways of calling a model in which it gives other numbers than for the text by itself."""
        cache, ids = given.get("cache"), given.get("position_ids")
        before = placed.before if placed.before is not None else cached_tokens(cache) or (0 if cache is None else 1)
        packed = _packed(ids, n)
        if packed and self.from_end:
            raise EditError(
                "position_ids hold several texts in one row; positions counted from the end cannot be "
                "told there. Name positions from each text's start."
            )
        keeps = given.get("use_cache", getattr(self.anatomy.config, "use_cache", True)) is not False
        way = Way(
            padded=placed.padding is not None and bool((placed.padding > 0).any()),
            position_ids=ids is not None,
            mask=given.get("mask") is not None,
            step=0 if not before else 1 if n == 1 else 2,
            static="Static" in type(cache).__name__,
            packed=packed,
            kept=keeps and not self.anatomy.hf.training,
        )
        if self.from_end and running("_assisted_decoding"):
            raise EditError(
                "generation with a draft reads several new tokens at once, of which only the last is the "
                "end of the text so far; name positions from the start, or generate without "
                "prompt_lookup_num_tokens and assistant_model."
            )
        self.still = True
        try:
            kept = _recall(cache)
            unlike = self.anatomy.lengths is not None or way.padded
            rows = (placed.at.max(1).values + 1).tolist() if unlike else [before + n]
            first = None if kept is None else kept.first
            why = refusal(self.anatomy, way, rows, before + n, first)
            # a person who decodes by hand has the model's own numbers, whatever it counts from; the token edited is the
            # right one
            lone = way.step == 1 and not (way.position_ids or way.padded or way.static or way.packed)
            spared = (
                why is not None
                and lone
                and refusal(self.anatomy, replace(way, position_ids=True), rows, before + n, first) is None
            )
        finally:
            self.still = False
        if spared:
            warn(f"{why} The edit acts on the token named all the same.")
        elif why is not None:
            raise EditError(why)


def running(name: str, of: str = "") -> bool:
    """Whether a function of this name (in a module whose name begins with ``of``) is under way further up."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == name and frame.f_globals.get("__name__", "").startswith(of):
            return True
        frame = frame.f_back
    return False


def _packed(ids: Any, n: int) -> bool:
    """Whether position ids begin anew within a row: several texts, one after another."""
    if not (isinstance(ids, Tensor) and ids.ndim == 2 and ids.shape[1] == n > 1):
        return False
    return bool(((ids[:, 1:] == 0) & (ids[:, :-1] > 0)).any())


def _two(mask: Any) -> bool:
    return isinstance(mask, Tensor) and mask.ndim == 2


def _caches_of(output: Any) -> list[Any]:
    if isinstance(output, tuple):
        return [x for x in output if hasattr(x, "get_seq_length")]
    return [x for name in CACHES if (x := getattr(output, name, None)) is not None]


def place(batch: int, n: int, device: Any, position_ids: Any = None, mask: Any = None, cache: Any = None) -> Placed:
    """Where the ``n`` tokens of each row of a forward stand in their texts.

    Args:
        position_ids: ``[batch or 1, n]`` counts the text's own tokens, and is taken as it is; other shapes say nothing.
        mask: ``[batch, tokens so far]``, or of four dimensions (a boolean, or what is added to the scores), or one
            for each kind of layer.
        cache: what is kept of earlier tokens.
    """
    kept, own = _recall(cache), cached_tokens(cache)
    before = own if own is not None else kept.before if kept is not None else None
    columns = torch.arange(n, device=device)[None]
    if _two(mask) and before is None and mask.shape[1] > n:
        before = mask.shape[1] - n
    span = _text(mask, before, n, device)
    if isinstance(position_ids, Tensor) and position_ids.ndim == 2 and position_ids.shape[1] == n:
        return _by_ids(position_ids.to(device), span, before, kept, columns)
    if span is None and before is None:
        return Placed(
            columns,
            "of a recurrent state alone it cannot be told how many tokens it holds; run the text "
            "from its start "
            "within the with block, or name no position.",
            before=None,
        )
    if isinstance(span, str):
        return Placed(columns, span, before=before)
    there = columns if before is None else before + columns
    if span is None:
        padding = kept.padding if kept is not None and kept.before == before else None
        at = there - (0 if padding is None else padding.to(device)[:, None])
        return Placed(at, before=before, padding=padding)
    start, end = span
    at = there - start[:, None]
    at = at.masked_fill((there < start[:, None]) | (there >= end[:, None]), -1)
    return Placed(at, before=before, padding=start)


def _by_ids(ids: Tensor, span: Any, before: int | None, kept: _Kept | None, columns: Tensor) -> Placed:
    padding = kept.padding if kept is not None else None
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
    return Placed(ids, before=before, padding=padding)


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
