"""Computations that are of one model: the model is one thread's for their length, and at their end what it was at their
beginning.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any, TypeVar

from torch import nn

from ..models.foreign import hooks_on, of_library
from ..models.tree import Parameters, Tree
from .change_registry import ChangeError, Changes, core_of
from .changes import Session
from .interrupts import critical, hold, interruptible, release

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")
_attributes, _version, _training = attrgetter("__dict__"), attrgetter("_version"), methodcaller("get", "training")


def of_one_model(function: _F | None = None, *, reads: bool = True) -> Any:
    """Decorates a function whose first argument is a model: each call is a session with that model.

    Another thread's call waits for its end; what a with block inside it should have ended is ended with it, also where
    Ctrl-C came in between.

    Args:
        reads: the function changes no weights, so that nobody may meanwhile, and the model is compared with what it
            was; otherwise only other threads are kept away.
    """
    if function is None:
        return functools.partial(of_one_model, reads=reads)
    first = next(iter(inspect.signature(function).parameters))
    interruptible(function)
    what = f"{function.__module__}.{function.__name__}"

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        model = args[0] if args else kwargs.get(first)
        if core_of(model) is None:
            return function(*args, **kwargs)
        return during(Session(model, what, reads, kwargs.get("stop")), function, args, kwargs)

    return wrapper


@of_one_model
def _held(model: Any, run: Callable[[], _T]) -> _T:
    return run()


def beside(models: Iterable[Any], run: Callable[[], _T]) -> _T:
    """What ``run`` gives, of a computation with more models than its first: they are nobody else's meanwhile and stay
    as they are.
    """
    for model in models:
        run = functools.partial(_held, model, run)
    return run()


@critical
def during(
    session: Session, body: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> Any:
    """The body within a session; whatever a with block in it should have ended is ended with it."""
    held = hold()
    try:
        session.enter()
        _settled(session.core)
        # of sessions within each other the outermost that reads compares
        if session.reads and not any(s.reads for s in session.registry.sessions if s is not session):
            session.before = Snapshot.of(session.core)
        result = body(*args, **kwargs or {})
        _compare(session)
        return result
    finally:
        try:
            session.leave()
        finally:
            release(held)


def _settled(core: nn.Module) -> None:
    """RWKV divides some of its weights in place at its first forward in eval mode, and compressed-tensors puts floats
    in the place of codes at its own: done before a computation begins, so that this has one model, and one hash, from
    its beginning to its end.
    """
    packed: Any = core.__dict__.get("ct_decompress_hook")
    if packed is not None and (unpack := core._forward_pre_hooks.get(packed.id)) is not None:
        unpack(core, ())
    inner: Any = getattr(core, getattr(core, "base_model_prefix", ""), None)
    module: Any
    for module in (core, inner):
        own = getattr(module, "__dict__", {})
        if own.get("layers_are_rescaled") is False and not own.get("training", True):
            module._rescale_layers()


def hash_of(model: Any) -> str:
    """The weights' hash within a computation, which has looked at the model's tree (``State.of``, ``identity``): the
    parameters are those that stood in it then. In a session that compares the model at its end it is looked up once.
    """
    from ..models.hash import hash_in, weight_hash

    core, me = core_of(model), threading.current_thread()
    session = next((s for s in Changes.of(core).sessions if s.before is not None and s.thread is me), None)
    if session is not None and session.hash is not None:
        return session.hash
    # a PEFT wrapper has a tree of its own
    own = core is not None and getattr(model, "original_model", model) is core
    if own and core is not None:
        seen = session.before if session is not None and session.core is core else None
        found = hash_in(core, seen.parameters if seen is not None else Tree.kept(core).parameters())
    else:
        found = weight_hash(model)
    if session is not None:
        session.hash = found
    return found


def verify(model: Any) -> None:
    """In the middle of a computation, before a part of it is written down. Raises ChangeError: the weights are not what
    they were at its beginning.
    """
    core = core_of(model)
    if core is None:
        return
    for session in list(Changes.of(core).sessions):
        if (
            session.before is not None
            and session.thread is threading.current_thread()
            and Snapshot.of(core).weights != session.before.weights
        ):
            _compare(session)


def _compare(session: Session) -> None:
    """Raises ChangeError: the model is not what it was when the session began, or when its weights were hashed for the
    record.
    """
    if session.before is None:
        return
    from ..models.hash import written_unseen

    now = Snapshot.of(session.core)
    if now.weights != session.before.weights or written_unseen(session.core, now.parameters):
        changed = "its weights were"
    elif now.other != session.before.other:
        changed = "its hooks, configuration or modules were"
    else:
        return
    raise ChangeError(
        f"model: {changed} changed while {session.what} was computing with it, so that its numbers are of no one model"
        " and are not returned. Run it again, and change the model before or after."
    )


@dataclass(frozen=True)
class Snapshot:
    """A model as it was at one time.

    Attributes: parameters: those that stood in it. weights: which, and how often each was written to (None for RWKV,
        whose own forward writes to them). other: which hooks of a person each module has, in which mode it is, whose
        forward it runs, and the configuration's plain entries.
    """

    parameters: Parameters
    weights: tuple[list[int], list[int]] | None
    other: list[Any]

    @classmethod
    def of(cls, core: nn.Module) -> Snapshot:
        """A model as it is now. Some milliseconds for hundreds of modules."""
        tree = Tree.of(core)
        parameters = tree.parameters()
        values = parameters.everywhere()
        weights: tuple[list[int], list[int]] | None = list(map(id, values)), list(map(_version, values))
        # lists of all modules are made and compared faster than tuples for each
        owns = list(map(_attributes, tree.modules))
        other: list[Any] = [*tree.modules, *map(_training, owns)]
        for own, module in zip(owns, tree.modules):
            if "layers_are_rescaled" in own:
                weights = None
            # a bridge, and transformers, put hooks of their own on at a first forward: those are no change
            if own["_forward_hooks"] or own["_forward_pre_hooks"]:
                other += [(id(module), id(hook)) for hook in hooks_on(module)]
            if "forward" in own and not of_library(own["forward"]):
                other.append((id(module), "forward", id(own["forward"])))
        config = getattr(core, "config", None)
        other += [
            (name, value)
            for name, value in getattr(config, "__dict__", {}).items()
            if type(value) in (int, float, bool, str, type(None))
        ]
        return cls(parameters, weights, other)
