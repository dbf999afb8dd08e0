"""The public functions, and a small call of each that works; a module a family."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lens

#: What stands behind the families' subjects: shared models and results.
_SHARED = ("common",)


@dataclass(frozen=True)
class Subject:
    """A public function with a call that works.

    Args:
        name: as it is called: "patch", "Scores.take".
        function: the function, a bound method, or a class.
        arguments: makes the keyword arguments of the call, anew for each; "*edits" is the list of what `*edits` takes.
        use: what is done with what comes back.
        leave: arguments that are not replaced.
    """

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]
    use: Callable[[Any], Any] | None = None
    leave: tuple[str, ...] = ()

    def parameters(self) -> list[inspect.Parameter]:
        """The arguments that are replaced, one at a time."""
        return [
            p
            for p in inspect.signature(self.function).parameters.values()
            if p.kind is not p.VAR_KEYWORD and p.name not in self.leave
        ]

    def call(self, replace: inspect.Parameter | None = None, value: Any = None) -> Any:
        given = self.arguments()
        rest = next((given.pop(name) for name in list(given) if name.startswith("*")), [])
        if replace is not None and replace.kind is replace.VAR_POSITIONAL:
            rest = [value]
        elif replace is not None:
            given[replace.name] = value
        if rest:
            # what stands before *rest is given by place
            order = [
                p.name
                for p in inspect.signature(self.function).parameters.values()
                if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            ]
            got = self.function(*[given.pop(name) for name in order if name in given], *rest, **given)
        else:
            got = self.function(**given)
        return got if self.use is None else self.use(got)


def families() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _SHARED)


def subjects(family: str) -> list[Subject]:
    return list(importlib.import_module(f"{__name__}.{family}").subjects())


def public(family: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions, constructors and methods of a family: what its modules' `__all__` have.

    Apart from exceptions, plain values and what the module names in `RESULTS` (records that only functions make).
    """
    module = importlib.import_module(f"{__name__}.{family}")
    for name in module.MODULES:
        of = importlib.import_module(name)
        for key in getattr(
            of,
            "__all__",
            [k for k, v in vars(of).items() if not k.startswith("_") and getattr(v, "__module__", None) == name],
        ):
            what = getattr(of, key)
            if (
                (inspect.isclass(what) and issubclass(what, BaseException))
                or not callable(what)
                or key in getattr(module, "RESULTS", ())
            ):
                continue
            yield key, what
            if inspect.isclass(what) and what.__module__.startswith("lens"):
                for method, found in vars(what).items():
                    if not method.startswith("_") and callable(getattr(found, "__func__", found)):
                        yield f"{key}.{method}", getattr(what, method)


def without_subject(family: str, doors_only: bool = False) -> list[str]:
    """Public functions of a family that no subject is of."""
    from lens.arguments import has_door

    there = {s.name for s in subjects(family)}
    return [name for name, what in public(family) if name not in there and (not doors_only or has_door(what))]


def all_families() -> list[str]:
    """Modules of the package whose public functions somebody should call."""
    return [name for name in lens._MODULES if name not in ("cli", "data")]
