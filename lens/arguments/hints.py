"""From an annotation to the check of an argument."""

from __future__ import annotations

import collections.abc
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, ForwardRef, Literal, Union

from .checks import Check, Unfit, shown, tried
from .kinds import MOST, Choice, Flag, Number, Text, Whole, is_sequence, items

_PLAIN: dict[Any, Check] = {int: Whole(-(2**63), 2**63 - 1), float: Number(), bool: Flag(), str: Text()}


def read(annotation: Any, module: str) -> Check | None:
    """The check that an annotation of that module asks for; None where it asks for nothing, or is not known."""
    space = getattr(sys.modules.get(module), "__dict__", {})
    return _check(_resolved(annotation, space), space)


def _resolved(annotation: Any, space: Mapping[str, Any]) -> Any:
    """An annotation that was written as text, as an object; ``Any`` where it names what is not there at run time."""
    for _ in range(3):
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        try:
            annotation = eval(annotation, dict(space))
        except NameError:  # imported for type checkers alone
            return Any
    return Any


def _check(hint: Any, space: Mapping[str, Any]) -> Check | None:
    hint = _resolved(hint, space)
    if hint is Any or hint is object or hint is inspect.Parameter.empty or isinstance(hint, typing.TypeVar):
        return None
    if hint is None or hint is type(None):
        return _Nothing()
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        own = [note for note in args[1:] if isinstance(note, Check)]
        below = None if args[0] in _PLAIN and own else _check(args[0], space)
        return _all([*([below] if below else []), *own])
    if origin is Literal:
        return Choice(args)
    if origin in (Union, types.UnionType):
        return _union([_check(arg, space) for arg in args])
    if hasattr(hint, "dtypes") and hasattr(hint, "array_type"):
        return Array(hint)
    if origin is collections.abc.Callable or hint in (Callable, typing.Callable):
        return Calls(len(args[0]) if args and isinstance(args[0], list) else None)
    kind = origin or hint
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return None
    if kind is tuple and args and args[-1] is not Ellipsis:
        return Fixed(tuple(_check(arg, space) for arg in args))
    if issubclass(kind, Mapping) and kind.__module__ in ("builtins", "collections.abc", "collections"):
        return Table(kind, *([_check(arg, space) for arg in args] if len(args) == 2 else [None, None]))
    item = _check(args[0], space) if args else None
    if (
        issubclass(kind, (Sequence, Set))
        and kind is not range
        and (args or kind.__module__ in ("builtins", "collections.abc"))
    ):
        return Items(kind, item)
    if kind is Iterable or kind is collections.abc.Collection:
        return Stream(item)
    return None if args else Instance(kind)


def _all(checks: list[Check]) -> Check | None:
    return None if not checks else checks[0] if len(checks) == 1 else All(tuple(checks))


def _union(checks: list[Check | None]) -> Check | None:
    known = [check for check in checks if check is not None]
    return None if len(known) < len(checks) else Either(tuple(known))


class _Nothing(Check):
    expected = "None"

    def take(self, value: Any) -> None:
        if value is not None:
            raise Unfit(value, self.expected)


@dataclass(frozen=True)
class All(Check):
    """Each check in turn."""

    checks: tuple[Check, ...]

    @property
    def expected(self) -> str:
        """What each of the checks expects."""
        return ", ".join(check.expected for check in self.checks)

    def take(self, value: Any) -> Any:
        """The value as the last check leaves it; each gets what the one before made."""
        for check in self.checks:
            value = check.take(value)
        return value


@dataclass(frozen=True)
class Either(Check):
    """What one of several checks takes."""

    checks: tuple[Check, ...]

    @property
    def expected(self) -> str:
        """What the checks expect, with "or" before the last."""
        # None comes last
        said = sorted(dict.fromkeys(check.expected for check in self.checks), key=lambda text: text == "None")
        return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"

    def take(self, value: Any) -> Any:
        """The value as the first check that it fits makes it."""
        found, choice = None, True
        for check in self.checks:
            try:
                return check.take(value)
            except Unfit as unfit:
                if isinstance(check, _Nothing):
                    continue
                choice = choice and unfit.choice
                # an item that does not fit says more than that the whole does not
                if found is None and (unfit.where or (len(self.checks) == 2 and unfit.expected != check.expected)):
                    found = unfit
        raise found or Unfit(value, self.expected, choice=choice)


@dataclass(frozen=True)
class Instance(Check):
    """An instance of a class."""

    kind: type

    @property
    def expected(self) -> str:
        """The name of the class, with its package."""
        module = self.kind.__module__.partition(".")[0]
        return f"{'' if module in ('builtins', '__main__') else module + '.'}{self.kind.__name__}"

    def take(self, value: Any) -> Any:
        """The value itself, where it is an instance."""
        if not isinstance(value, self.kind):
            raise Unfit(value, self.expected)
        return value


@dataclass(frozen=True)
class Calls(Check):
    """A function that can be called with so many arguments, where its signature can be read."""

    arguments: int | None = None

    @property
    def expected(self) -> str:
        """A function and how many arguments it takes, in words."""
        n = self.arguments
        return (
            "a function"
            if n is None
            else "a function that takes no argument"
            if n == 0
            else f"a function of {n} argument{'' if n == 1 else 's'}"
        )

    def take(self, value: Any) -> Any:
        """The function itself, where it can be called with so many arguments or does not say."""
        if not callable(value):
            raise Unfit(value, self.expected)
        if self.arguments is not None:
            try:
                signature = inspect.signature(value)
            except (TypeError, ValueError):
                return value
            try:
                signature.bind(*[None] * self.arguments)
            except TypeError:
                raise Unfit(value, self.expected) from None
        return value


@dataclass(frozen=True)
class Items(Check):
    """A sequence (or set) whose items all fit."""

    kind: type
    item: Check | None

    @property
    def expected(self) -> str:
        """A list or a set and what is in it, in words."""
        of = "" if self.item is None else f" of {self.item.expected}"
        return f"a {'set' if issubclass(self.kind, Set) else 'list'}{of}"

    def take(self, value: Any) -> Any:
        """The list or set with each item as its check makes it."""
        if issubclass(self.kind, Set):
            if not isinstance(value, Set):
                raise Unfit(value, self.expected)
            if self.item is not None:
                items(list(value), self.item.take)
            return value
        if not tried(self._ordered, value, False):
            raise Unfit(value, self.expected)
        if self.item is None:
            return value
        if isinstance(value, range):
            if len(value) > MOST:
                raise Unfit(value, f"{self.expected}, at most {MOST} of them")
            # a range is as large as its ends
            items(list(value[:1]) + list(value[-1:]), self.item.take)
            return value
        if getattr(value, "ndim", 0) == 1 and hasattr(value, "tolist"):
            listed = items(value.tolist(), self.item.take)
            # what takes a sequence of text asks whether it is empty, which an array does not answer; a tensor's items
            # are tensors, which are no numbers of Python's
            return value if getattr(value.dtype, "kind", "") in ("b", "i", "u", "f") else listed
        # an item that does not fit is told from items that cannot be had
        listed = value if isinstance(value, (list, tuple)) else tried(list, value)
        if listed is None:
            raise Unfit(value, self.expected)
        checked = items(listed, self.item.take)
        return value if checked is listed else checked

    @staticmethod
    def _ordered(value: Any) -> bool:
        """Whether a value is a sequence whose length, and last item of a range, can be told."""
        if not is_sequence(value) or getattr(value, "is_meta", False):
            return False
        return len(value) >= 0 and not (isinstance(value, range) and value[-1:] and abs(value[-1]) > MOST)


@dataclass(frozen=True)
class Fixed(Check):
    """A tuple of so many items, each of its own kind; a list of as many is taken for one."""

    checks: tuple[Check | None, ...]

    @property
    def expected(self) -> str:
        """How many values there must be, and each of them, in words."""
        return f"{len(self.checks)} values: ({', '.join('anything' if c is None else c.expected for c in self.checks)})"

    def take(self, value: Any) -> tuple[Any, ...]:
        """The values as a tuple, each as its check makes it."""
        if not isinstance(value, (tuple, list)) or len(value) != len(self.checks):
            raise Unfit(value, self.expected)
        checks = iter(self.checks)
        checked = tuple(items(value, lambda item: item if (check := next(checks)) is None else check.take(item)))
        return value if isinstance(value, tuple) and all(a is b for a, b in zip(checked, value)) else checked


@dataclass(frozen=True)
class Table(Check):
    """A mapping whose keys and values all fit."""

    kind: type[Mapping[Any, Any]]
    key: Check | None
    value: Check | None

    @property
    def expected(self) -> str:
        """A dict and its keys and values, in words."""
        of = (
            " from " + self.key.expected + " to " + ("anything" if self.value is None else self.value.expected)
            if self.key is not None
            else ""
        )
        return f"a dict{of}"

    def take(self, value: Any) -> Any:
        """The mapping with each key and value as its check makes it."""
        if not isinstance(value, self.kind):
            raise Unfit(value, self.expected)
        checked, same = {}, True
        for key, entry in value.items():
            try:
                got = (
                    key if self.key is None else self.key.take(key),
                    entry if self.value is None else self.value.take(entry),
                )
            except Unfit as found:
                raise Unfit(found.value, found.expected, f"[{shown(key)}]{found.where}", found.choice) from None
            same = same and got[0] is key and got[1] is entry
            checked[got[0]] = got[1]
        return value if same else checked


@dataclass(frozen=True)
class Stream(Check):
    """Anything that can be run through; items are looked at where that can be done twice."""

    item: Check | None

    @property
    def expected(self) -> str:
        """Several values and what each is, in words."""
        return "several values" if self.item is None else f"several of {self.item.expected}"

    def take(self, value: Any) -> Any:
        """The values; those of a list or tuple are checked, an iterator is left unread."""
        if not tried(self._runs, value, False):
            raise Unfit(value, self.expected)
        return items(value, self.item.take) if self.item is not None and isinstance(value, (list, tuple)) else value

    @staticmethod
    def _runs(value: Any) -> bool:
        if isinstance(value, (str, bytes, bytearray, type)) or not hasattr(type(value), "__iter__"):
            return False
        return iter(value) is not None


class Array(Check):
    """An array or tensor as jaxtyping writes it: its type, the kind of its dtype, its number of axes."""

    def __init__(self, hint: Any):
        self.kind, dims, self.variadic = hint.array_type, hint.dims, hint.index_variadic is not None
        self.ndim, self.shape = len(dims) - self.variadic, hint.dim_str
        self.dtypes = None if not isinstance(hint.dtypes, (list, tuple)) else frozenset(hint.dtypes)
        self.word = hint.__name__.partition("[")[0].lower()

    @property
    def expected(self) -> str:
        """An array's or tensor's type, dtype and axes, in words."""
        kind = "array" if self.kind is Any else f"{self.kind.__module__.partition('.')[0]} {self.kind.__name__.lower()}"
        of = "" if self.dtypes is None else f" of {self.word} values"
        return f"a {kind}{of} with {f'axes [{self.shape}]' if self.shape.strip() else 'no axis'}"

    def take(self, value: Any) -> Any:
        """The array itself, where its class, dtype and axes fit."""
        fits = (
            (isinstance(value, self.kind) if isinstance(self.kind, type) else hasattr(value, "dtype"))
            and hasattr(value, "ndim")
            and not getattr(value, "is_meta", False)
            and not getattr(value, "is_sparse", False)
        )
        if fits and self.dtypes is not None:
            fits = str(value.dtype).removeprefix("torch.") in self.dtypes
        if fits:
            fits = value.ndim >= self.ndim if self.variadic else value.ndim == self.ndim
        if not fits:
            raise Unfit(value, self.expected)
        return value
