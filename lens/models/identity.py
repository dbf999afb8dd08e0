"""What tells two functions, or two values, apart: a digest of all that a function's answer can depend on.

A function is its code, constants and defaults, what it closes over, the globals that it names, and, for a method or a
callable object, the state that it is bound to. Code of installed packages counts by its name. What has no content to
compare (a generator, an open file, a lock) is refused by ``Unidentified`` rather than left out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import io
import site
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import Error

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))
_NAMED = (torch.dtype, torch.device, torch.Size, np.dtype, slice, range, PurePath)
_WITHOUT_CONTENT = (
    io.IOBase,
    types.GeneratorType,
    types.CoroutineType,
    np.random.Generator,
    np.random.RandomState,
    torch.Generator,
)
_DEPTH = 40
#: Attributes of every torch module that say nothing about what it computes.
MODULE_INTERNAL = frozenset(nn.Module().__dict__) - {"training"}


class Unidentified(Error, ValueError):
    """A value whose content cannot be told; the message names it."""


@functools.cache
def _installed_roots() -> tuple[str, ...]:
    paths = {
        *(sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
    }
    return tuple(sorted(str(p) for p in paths))


@functools.cache
def installed(module: str | None) -> bool:
    """Whether a module's code is that of an installed package, Python itself or this one, and so told by its name."""
    top = (module or "").split(".")[0]
    if top in ("lens", "widgets", "builtins") or top in sys.stdlib_module_names:
        return True
    where = getattr(sys.modules.get(top), "__file__", None) or next(
        iter(getattr(sys.modules.get(top), "__path__", [])), None
    )
    return where is not None and str(where).startswith(_installed_roots())


def digest(value: Any) -> str:
    """SHA-256 (first 16 hexadecimal digits) of what a value is made of; equal in every process of one Python version.

    Tensors and arrays count by dtype, shape and bytes: about a second a gigabyte.

    Raises:
        Unidentified: something in it has no content to compare.
    """
    sha256 = hashlib.sha256()
    _feed(value, sha256.update, {}, 0)
    return sha256.hexdigest()[:16]


#: How a part is fed: as a line of text, as bytes, or as another value.
_Say = Callable[[str], None]
_Put = Callable[[bytes], None]
_Again = Callable[[Any], None]


def _feed(value: Any, put: _Put, seen: dict[int, tuple[int, Any]], depth: int) -> None:
    def say(text: str) -> None:
        put(text.encode("utf-8", "surrogatepass") + b"\0")

    if isinstance(value, _PLAIN):
        return say(f"{type(value).__name__}:{value!r}")
    if isinstance(value, _NAMED):
        return say(f"{type(value).__name__}:{value!r}")
    if id(value) in seen:
        return say(f"again:{seen[id(value)][0]}")
    if depth > _DEPTH:
        raise Unidentified(f"a {type(value).__name__} nested more than {_DEPTH} deep")
    seen[id(value)] = len(seen), value  # held, so that no other object takes its place in memory

    def again(part: Any) -> None:
        _feed(part, put, seen, depth + 1)

    for kind, feed in _KINDS:
        if isinstance(value, kind):
            return feed(value, say, put, again)
    if hasattr(value, "__self__") and hasattr(value, "__name__") and callable(value):
        owner = value.__self__
        say(f"builtin method:{value.__name__}")
        return say(owner.__name__) if isinstance(owner, types.ModuleType) else again(owner)
    _object(value, say, again)


def _tensor(value: Tensor, say: _Say, put: _Put, again: _Again) -> None:
    if value.device.type == "meta" or value.layout is not torch.strided:
        raise Unidentified(f"a tensor that is {value.device.type} and {value.layout}, which holds no bytes to compare")
    say(f"tensor:{value.dtype}:{tuple(value.shape)}")
    put(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _array(value: np.ndarray | np.generic, say: _Say, put: _Put, again: _Again) -> None:
    value = np.asarray(value)
    if value.dtype.hasobject:
        return again(value.tolist())
    say(f"array:{value.dtype}:{value.shape}")
    put(np.ascontiguousarray(value).tobytes())


def _sequence(value: list[Any] | tuple[Any, ...], say: _Say, put: _Put, again: _Again) -> None:
    say(f"{type(value).__name__}:{len(value)}")
    for item in value:
        again(item)


def _set(value: set[Any] | frozenset[Any], say: _Say, put: _Put, again: _Again) -> None:
    say(f"set:{','.join(sorted(digest(item) for item in value))}")


def _mapping(value: dict[Any, Any], say: _Say, put: _Put, again: _Again) -> None:
    say(f"{type(value).__name__}:{len(value)}")
    for key in sorted(value, key=repr):
        for part in (key, value[key]):
            again(part)


def _code(value: types.CodeType, say: _Say, put: _Put, again: _Again) -> None:
    say(
        f"code:{value.co_code.hex()}:{value.co_names}:{value.co_varnames}:{value.co_argcount}"
        f":{value.co_kwonlyargcount}:{value.co_flags}"
    )
    for constant in value.co_consts:
        again(constant)


def _names(code: types.CodeType) -> set[str]:
    """Every name that a function's code, or that of the functions within it, looks up."""
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _function(value: types.FunctionType, say: _Say, put: _Put, again: _Again) -> None:
    if installed(value.__module__) and "<locals>" not in value.__qualname__:
        return say(f"function:{value.__module__}.{value.__qualname__}")
    say(f"function:{value.__name__}")
    for part in (value.__code__, value.__defaults__, value.__kwdefaults__):
        again(part)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
        say(name)
        try:
            content = cell.cell_contents
        except ValueError:
            say("empty")
            continue
        again(content)
    if installed(value.__module__):
        return
    names = _names(value.__code__)
    for name in sorted(names & value.__globals__.keys()):
        say(name)
        content = value.__globals__[name]
        if isinstance(content, types.ModuleType) and not installed(content.__name__):
            again({n: content.__dict__[n] for n in sorted(names & content.__dict__.keys()) if not n.startswith("__")})
        else:
            again(content)


def _method(value: types.MethodType, say: _Say, put: _Put, again: _Again) -> None:
    for part in (value.__func__, value.__self__):
        again(part)


def _partial(value: functools.partial[Any], say: _Say, put: _Put, again: _Again) -> None:
    say("partial")
    for part in (value.func, value.args, value.keywords):
        again(part)


def _class(value: type, say: _Say, put: _Put, again: _Again) -> None:
    say(f"class:{value.__module__}.{value.__qualname__}")
    if not installed(value.__module__):
        again([b for b in value.__mro__[1:] if not installed(b.__module__)])
        again({n: _plain_attribute(v) for n, v in vars(value).items() if not _bookkeeping(n)})


def _bookkeeping(name: str) -> bool:
    return name in (
        "__dict__",
        "__weakref__",
        "__doc__",
        "__module__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate_func__",
        "__abstractmethods__",
        "_abc_impl",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__match_args__",
    )


def _plain_attribute(value: Any) -> Any:
    if isinstance(value, property):
        return (value.fget, value.fset)
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, functools.cached_property):
        return value.func
    return (
        f"descriptor:{type(value).__name__}"
        if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))
        else value
    )


def _package(value: types.ModuleType, say: _Say, put: _Put, again: _Again) -> None:
    say(f"module:{value.__name__}")


def _builtin(value: types.BuiltinFunctionType, say: _Say, put: _Put, again: _Again) -> None:
    say(f"builtin:{value.__module__}.{value.__qualname__}")
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType):
        again(owner)


def _layers(value: nn.Module, say: _Say, put: _Put, again: _Again) -> None:
    """A torch module: its parts' classes, plain attributes, weights and buffers, and hooks."""
    for name, part in value.named_modules():
        say(f"part:{name}")
        again(type(part))
        again({k: v for k, v in part.__dict__.items() if k not in MODULE_INTERNAL})
        again([*part._forward_hooks.values(), *part._forward_pre_hooks.values()])
        again({**part._parameters, **part._buffers})


def _object(value: Any, say: _Say, again: _Again) -> None:
    """Any other object: its class, and what its attributes hold; without attributes of its own it has no content to
    compare.
    """
    kind = type(value)
    if isinstance(value, _WITHOUT_CONTENT):
        raise Unidentified(f"a {kind.__module__}.{kind.__qualname__}, whose content cannot be compared")
    say(f"object:{kind.__module__}.{kind.__qualname__}")
    if isinstance(value, enum.Enum):
        return say(value.name)
    state = dict(getattr(value, "__dict__", {}))
    if dataclasses.is_dataclass(value):
        state |= {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if hasattr(value, f.name)}
    else:
        state |= {n: getattr(value, n) for c in kind.__mro__ for n in _slots(c) if hasattr(value, n)}
    if not state and (installed(kind.__module__) or not hasattr(value, "__dict__")):
        raise Unidentified(f"a {kind.__module__}.{kind.__qualname__}, whose content cannot be compared")
    for part in (kind, state):
        again(part)


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return tuple(n for n in ((slots,) if isinstance(slots, str) else slots) if n not in ("__dict__", "__weakref__"))


_KINDS: tuple[tuple[Any, Callable[[Any, _Say, _Put, _Again], None]], ...] = (
    (Tensor, _tensor),
    ((np.ndarray, np.generic), _array),
    ((list, tuple), _sequence),
    ((set, frozenset), _set),
    (dict, _mapping),
    (types.CodeType, _code),
    (types.FunctionType, _function),
    (types.MethodType, _method),
    (functools.partial, _partial),
    (type, _class),
    (types.ModuleType, _package),
    (types.BuiltinFunctionType, _builtin),
    (nn.Module, _layers),
)
