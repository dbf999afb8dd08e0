"""Calls of the package in the examples of a page: whether what is called is there, and takes what it is given.

Nothing is run but imports, so that a page whose examples take long is judged by every change too.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from typing import Any

OURS = ("lens", "widgets")


def unknown_calls(code: str) -> list[str]:
    """The calls of `lens` and `widgets` in a piece of code that are not there or do not take their arguments."""
    tree = ast.parse(code)
    names = _imported(tree)
    return [said for call in _calls(tree) if (said := _wrong(call, names))]


def _imported(tree: ast.Module) -> dict[str, Any]:
    """What the code imports of ours, by the name that it gives it; what it gives another value later is left out."""
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in OURS:
                    module = importlib.import_module(alias.name)
                    names[alias.asname or alias.name.split(".")[0]] = (
                        module if alias.asname else importlib.import_module(alias.name.split(".")[0])
                    )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            for alias in node.names:
                names[alias.asname or alias.name] = _part(importlib.import_module(str(node.module)), alias.name)
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {name: value for name, value in names.items() if name not in assigned}


def _part(owner: Any, name: str) -> Any:
    """An attribute, or a module of a package that nothing has imported yet.

    Raises: AttributeError: it is neither.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        if not inspect.ismodule(owner) or importlib.util.find_spec(f"{owner.__name__}.{name}") is None:
            raise
        return importlib.import_module(f"{owner.__name__}.{name}")


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _wrong(call: ast.Call, names: dict[str, Any]) -> str:
    """Why a call cannot be made; nothing where it can, or is of none of the names."""
    shown, path, node = ast.unparse(call), [], call.func
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    called = names[node.id]
    try:
        for name in path:
            called = _part(called, name)
    except AttributeError as error:
        return f"{shown}: {error}"
    if any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords):
        return ""
    try:
        inspect.signature(called).bind(*call.args, **{str(one.arg): one.value for one in call.keywords})
    except TypeError as error:
        return f"{shown}: {error}"
    except ValueError:  # written in C, without a signature
        return ""
    return ""
