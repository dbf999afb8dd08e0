"""Public names of a package, resolved on first use, so that importing it is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def attributes(
    package: str, modules: Mapping[str, str], names: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562). `modules`: public name -> the module in it that has it;
    `names`: everything the package offers, those that it imports itself too.

    Raises AttributeError: a name that it does not have; the message lists those that it has.
    """
    offered = sorted(names)

    def __getattr__(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it offers {', '.join(offered)}.")
        value = getattr(importlib.import_module(f".{modules[name]}", package), name)
        vars(sys.modules[package])[name] = value
        return value

    return __getattr__, lambda: list(offered)
