"""The door before a function or constructor: each argument is checked before any work starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .checks import Check, Unfit, own_fault, shown, unfit
from .hints import read

_F = TypeVar("_F", bound=Callable[..., Any])


def door(error: type[Exception]) -> Callable[[_F], _F]:
    """Decorates a public function, method or class: an argument that its annotation does not allow raises ``error``.

    The text names the argument, its value, what was expected and the next step. See ``lens.arguments`` for what
    annotations ask for. A call costs a microsecond or two more.

    >>> from lens.arguments import Count, door
    >>> @door(ValueError)
    ... def top(k: Count = 10): return k
    >>> top(0)
    Traceback (most recent call last):
    ValueError: k=0 does not fit; expected a whole number of at least 1 and at most 1000000000; leave it out for 10.
    """
    if not (isinstance(error, type) and issubclass(error, Exception)):
        raise TypeError(f"door: error={error!r} is not an exception class; write @door(PatchError).")

    def decorate(target: Any) -> Any:
        if isinstance(target, type):
            # a class that inherits its constructor gets one of its own
            checked: Any = target
            checked.__init__ = _guarded(checked.__init__, error, target)
            return checked
        return _guarded(target, error)

    return decorate


def has_door(target: Any) -> bool:
    """Whether a function, method or class checks its arguments at a door."""
    return hasattr(getattr(target, "__init__", None) if isinstance(target, type) else target, "_door")


class _Door:
    """The checks of one function, read from its annotations at the first call."""

    def __init__(self, function: Callable[..., Any], error: type[Exception], owner: type | None):
        self.function, self.error, self.owner = function, error, owner
        self.checks: dict[str, tuple[Any, Callable[[Any], Any]]] | None = None

    def read(self) -> None:
        inner = inspect.unwrap(self.function)
        module = (self.owner or inner).__module__
        names: list[tuple[Any, Any, str] | None] = []
        checks: dict[str, tuple[Any, Callable[[Any], Any]]] = {}
        self.rest: tuple[str, Check] | None = None
        for p in inspect.signature(self.function).parameters.values():
            check = None if p.annotation is p.empty else read(p.annotation, module)
            if p.kind is p.VAR_POSITIONAL:
                self.rest = (p.name, check) if check is not None else None
            elif p.kind is not p.VAR_KEYWORD:
                if p.kind is not p.KEYWORD_ONLY:
                    names.append(None if check is None else (p.default, check.take, p.name))
                if check is not None and p.kind is not p.POSITIONAL_ONLY:
                    checks[p.name] = (p.default, check.take)
        self.positional, self.checks = tuple(names), checks

    def refuse(self, name: str, default: Any, fault: Unfit) -> Exception:
        if default is inspect.Parameter.empty:
            step = "give one that fits"
        elif type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":
            step = "or leave it out"
        else:
            step = f"leave it out for {shown(default)}"
        return self.error(unfit(f"{name}{fault.where}", fault.value, fault.expected, step, choice=fault.choice))


def _guarded(function: Callable[..., Any], error: type[Exception], owner: type | None = None) -> Any:
    gate = _Door(function, error, owner)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if gate.checks is None:
            gate.read()
        checks: Any = gate.checks
        changed: list[Any] | None = None
        try:
            for i, (value, entry) in enumerate(zip(args, gate.positional)):
                if entry is not None:
                    default, take, name = entry
                    if value is not default:
                        got = take(value)
                        if got is not value:
                            changed = list(args) if changed is None else changed
                            changed[i] = got
            if gate.rest is not None:
                name, default = gate.rest[0], inspect.Parameter.empty
                for i, value in enumerate(args[len(gate.positional) :]):
                    try:
                        gate.rest[1].take(value)
                    except Unfit as found:
                        raise Unfit(found.value, found.expected, f"[{i}]{found.where}", found.choice) from None
            for name, value in kwargs.items():
                named = checks.get(name)
                if named is not None:
                    default, take = named
                    if value is not default:
                        got = take(value)
                        if got is not value:
                            kwargs[name] = got
        except Unfit as found:
            raise gate.refuse(name, default, found) from None
        except Exception as odd:
            if own_fault(odd, value):
                raise
            # not even an attribute of it can be asked for
            raise gate.refuse(
                name, default, Unfit(value, f"a value that can be looked at ({type(odd).__name__} at the first try)")
            ) from odd
        return function(*(args if changed is None else changed), **kwargs)

    marked: Any = wrapper
    marked._door = gate
    return marked
