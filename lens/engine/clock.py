"""The clock of a model under edits: it follows every forward and says where its tokens stand.

What a forward is given is looked at in every module on the way to the blocks that takes tokens.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ..notices import warn
from .cached_tokens import cached_tokens, caches_of, recall, remember
from .decoding import Way, refusal
from .edits import EditError
from .places import after_call, before_call
from .positions import TokenPositions, is_flat, place
from .recompute import recomputing
from .steps import CACHES


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
        self.placed: TokenPositions | None = None
        #: what the forward under way was given: ids, or embeddings
        self.tokens: Tensor | None = None
        #: edits do nothing while the clock stands still: for forwards of its own
        self.still = False
        #: whether the forward under way was called where gradients are recorded
        self.recording = False
        self._left: list[weakref.ref[Any]] = []
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
    def goes_on(self) -> bool:
        """Whether the forward under way goes on from what the one before it has left."""
        cache = self._arguments().get("cache")
        return cache is not None and any(one() is cache for one in self._left)

    @property
    def forgotten(self) -> bool:
        """Whether a part of the forward under way will be computed again by a backward pass, which nobody here is told
        of: inside a call of torch's checkpoint that is not the library's own.
        """
        return self.recording and not self._again and running("checkpoint", "torch.utils.checkpoint")

    @contextmanager
    def at(self, placed: TokenPositions | None) -> Iterator[None]:
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
            self._open = {d: call for d, call in self._open.items() if d < depth}
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
            left = caches_of(output)
            self._left = [weakref.ref(cache) for cache in left if not isinstance(cache, list | tuple)] or self._left
            for cache in left:
                remember(cache, self.placed.before + self.placed.at.shape[1], self.placed.padding)

        return hook

    def _arguments(self) -> dict[str, Any]:
        """What the modules under way were given; what the innermost was given holds."""
        arguments: dict[str, Any] = {}
        for depth in sorted(self._open):
            call = self._open[depth]
            tokens = call.get("input_ids") if call.get("input_ids") is not None else call.get("inputs_embeds")
            if isinstance(tokens, Tensor):
                arguments["tokens"] = tokens
            for name in ("position_ids", "use_cache", *CACHES):
                if call.get(name) is not None:
                    arguments["cache" if name in CACHES else name] = call[name]
            mask = call.get("attention_mask")
            # a mask of two dimensions says most; one made of it further in says less
            if mask is not None and (not is_flat(arguments.get("mask")) or is_flat(mask)):
                arguments["mask"] = mask
        return arguments

    def _place(self) -> TokenPositions | None:
        arguments = self._arguments()
        if "tokens" not in arguments:
            return None
        batch, n = arguments["tokens"].shape[:2]
        self.tokens = arguments["tokens"]
        device, ids = self.tokens.device, arguments.get("position_ids")
        placed = place(batch, n, device, ids, arguments.get("mask"), arguments.get("cache"))
        if max(self._open) == len(self.anatomy.carriers) - 1:
            self._require(arguments, placed, n)
        return placed

    def _require(self, arguments: dict[str, Any], placed: TokenPositions, n: int) -> None:
        """Refuses ways of calling a model in which it gives other numbers than for the text by itself."""
        cache, ids = arguments.get("cache"), arguments.get("position_ids")
        before = placed.before if placed.before is not None else cached_tokens(cache) or (0 if cache is None else 1)
        packed = _packed(ids, n)
        if packed and self.from_end:
            raise EditError(
                "position_ids hold several texts in one row; positions counted from the end cannot be "
                "told there. Name positions from each text's start."
            )
        keeps = arguments.get("use_cache", getattr(self.anatomy.config, "use_cache", True)) is not False
        way = Way(
            padded=placed.padding is not None and bool((placed.padding > 0).any()),
            position_ids=ids is not None,
            mask=arguments.get("mask") is not None,
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
            cached = recall(cache)
            unlike = self.anatomy.lengths is not None or way.padded
            rows = (placed.at.max(1).values + 1).tolist() if unlike else [before + n]
            first = None if cached is None else cached.first
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
