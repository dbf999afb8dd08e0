"""Gradient checkpointing while an edit is in force: the backward pass computes blocks again, also after the edit's end.

A block that is computed again without the edit gives another gradient, silently. Every checkpointed call that is made
while something is in force is therefore told so when it is run again: an edit of activations is put in force for the
length of that run, with the positions of the forward it belongs to; an edit of weights refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from ..models.tree import Tree

#: Where a block keeps its checkpointing function: those of transformers, and torch's wrapper around any module.
_FUNCTION, _WRAPPER_FUNCTION = "_gradient_checkpointing_func", "checkpoint_fn"


class Watcher(Protocol):
    """Something in force on a model, as checkpointed calls ask it."""

    def moment(self) -> Any:
        """What there is to know of the forward under way, to be handed back when a part of it runs again."""

    def again(self, block: nn.Module, args: tuple[Any, ...], moment: Any) -> Any:
        """A context for a run of a block on these arguments: the first one, or one for the backward pass."""


class _Checkpointing:
    """Stands in for a block's checkpointing function."""

    def __init__(self, block: nn.Module, function: Callable[..., Any]):
        self.block, self.function = block, function
        self.held: list[Watcher] = []

    def __call__(self, run: Callable[..., Any], *args: Any, **options: Any) -> Any:
        moments = [(each, each.moment()) for each in self.held]

        def once_more(*again_args: Any, **named: Any) -> Any:
            with ExitStack() as during:
                for each, moment in moments:
                    during.enter_context(each.again(self.block, again_args, moment))
                return run(*again_args, **named)

        return self.function(once_more, *args, **options)


def recomputing() -> bool:
    """Whether a backward pass is under way: what runs forward then is computed again."""
    return torch._C._current_graph_task_id() != -1


def _function_name(block: nn.Module) -> str | None:
    """The attribute in which a block keeps its checkpointing function, of one that has any."""
    if (
        block.__dict__.get("gradient_checkpointing") or getattr(type(block), "gradient_checkpointing", False)
    ) and callable(getattr(block, _FUNCTION, None)):
        return _FUNCTION
    return _WRAPPER_FUNCTION if callable(block.__dict__.get(_WRAPPER_FUNCTION)) else None


def checkpointing(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model that its backward pass would compute again, were it in training (those in a wrapper of
    torch's: always).
    """
    return [m for m in Tree.of(model).modules if _function_name(m) is not None]


def hold(model: nn.Module, each: Watcher) -> None:
    """Tells the checkpointed blocks of a model that something is in force; those that know already are left alone."""
    for block in checkpointing(model):
        name = _function_name(block)
        if name is None:
            continue
        function = getattr(block, name)
        if not isinstance(function, _Checkpointing):
            function = _Checkpointing(block, function)
            setattr(block, name, function)
        if each not in function.held:
            function.held.append(each)


def release(model: nn.Module, each: Watcher) -> None:
    """Undoes ``hold``; calls made under it keep what they know."""
    for block in Tree.of(model).modules:
        for name in (_FUNCTION, _WRAPPER_FUNCTION):
            function = block.__dict__.get(name)
            if isinstance(function, _Checkpointing) and each in function.held:
                function.held.remove(each)
                if not function.held:
                    setattr(block, name, function.function)


class Ended:
    """An edit that cannot be put in force again: blocks computed again after its end are refused."""

    def __init__(self, error: Exception):
        self.error, self.over = error, False

    def moment(self) -> None:
        """There is none to keep: the run is over."""
        return None

    @contextmanager
    def again(self, block: nn.Module, args: tuple[Any, ...], moment: None) -> Iterator[None]:
        """Raises, where the block runs again after the edit has ended."""
        if self.over:
            raise self.error
        yield
