"""A module whose input or output holds a site's activation, and hooks on what goes into and comes out of modules."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .change_registry import TEMPORARY
from .changes import Undo


@dataclass
class Place:
    """A module whose input or output holds a site's activation.

    Attributes:
        view: from the module's tensor ``[batch, position, width]`` to the site's part of it, sharing memory.
        scale: what the model multiplies the tensor by before adding it to the residual stream.
        flat: whether the module sees ``[batch * position, width]``.
    """

    module: nn.Module
    side: str
    view: Callable[[Tensor], Tensor] = lambda x: x
    #: where the view is a copy: ``(module's tensor, new part)`` writes the part
    write: Callable[[Tensor, Tensor], Any] | None = None
    scale: float = 1.0
    flat: bool = False


def alone(look: Callable[..., Any], elsewhere: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
    """A hook for the forwards of the thread that asks for it: another thread's, made beside a computation that puts
    hooks on for its length, is neither changed by them nor taken for the computation's own.

    What a backward pass runs again, in a thread of autograd's, is of whoever asked for that backward.
    ``elsewhere`` is called in its place for the others' forwards; by default it leaves all as it is.
    """
    me = threading.get_ident()

    @functools.wraps(look)
    def own(*args: Any, **kwargs: Any) -> Any:
        mine = threading.get_ident() == me or torch._C._current_graph_task_id() != -1
        return (look if mine else elsewhere)(*args, **kwargs)

    return own


def before_call(
    module: nn.Module, look: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any], **options: Any
) -> RemovableHandle:
    """A torch hook that is given a module's positional and keyword arguments before each call.

    Torch looks up at the call whether a hook takes keywords. One that another thread puts on or takes off at that
    moment would be called without them: then it is on no more, or not yet, and does nothing.
    """

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        return None if kwargs is None else look(module, args, kwargs)

    return module.register_forward_pre_hook(hook, with_kwargs=True, **options)


def after_call(module: nn.Module, look: Callable[..., Any], **options: Any) -> RemovableHandle:
    """The same after each call, with what it returned."""

    def hook(module: nn.Module, args: tuple[Any, ...], *more: Any) -> Any:
        return None if len(more) < 2 else look(module, args, *more)

    return module.register_forward_hook(hook, with_kwargs=True, **options)


def hook(
    module: nn.Module, side: str, through: Callable[[Tensor], Tensor | None], *, everywhere: bool = False
) -> RemovableHandle:
    """A torch hook on the first tensor that goes into or comes out of a module; None from ``through`` leaves it as it
    is.

    ``everywhere``: for the forwards of every thread, not of this one alone.
    """
    through = through if everywhere else alone(through)

    if side == "in":

        def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                new = through(args[0])
                return None if new is None else ((new, *args[1:]), kwargs)
            name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
            new = through(kwargs[name])
            return None if new is None else (args, {**kwargs, name: new})

        return before_call(module, before)

    def after(_: Any, args: Any, output: Any) -> Any:
        new = through(output[0] if isinstance(output, tuple) else output)
        return None if new is None else (new, *output[1:]) if isinstance(output, tuple) else new

    return module.register_forward_hook(after)


def takes_tokens(module: nn.Module) -> bool:
    """Whether a module's forward takes token ids or their embeddings (or hands on whatever it is given)."""
    names = inspect.signature(module.forward).parameters
    return "input_ids" in names or "inputs_embeds" in names or set(names) == {"args", "kwargs"}


def evaluating(module: nn.Module) -> Undo:
    """The module in eval mode inside the with block; each part is put back as it was."""

    def off(undo: Undo) -> None:
        training = [m for m in module.modules() if m.training]
        undo.back(lambda: _train(training, True))
        _train(training, False)

    return Undo(module, "eval mode for a while", off, TEMPORARY, block=True)


def _train(modules: list[nn.Module], mode: bool) -> None:
    for m in modules:
        m.training = mode
