"""A reader of torch's pickled tensors that executes nothing.

A file of ``torch.save`` is a zip archive: a program for a stack machine, ``data.pkl``, and the tensors' bytes. An
unpickler runs that program, whatever it calls. Here the program is only read: a fixed list of operations that make
numbers, text, lists, tuples and dictionaries, and one constructor, of a tensor over bytes of the archive. Anything else
is refused, sizes are held against what the archive has, and no name in the file is ever looked up.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

from .arguments import FilePath, door
from .errors import Error
from .files import expanded

__all__ = ["PickledTensorsError", "read_pickled_tensors"]

#: Bytes and operations of a program; a file of tensors of ten thousand names stays far below.
PROGRAM_BYTES, OPERATIONS = 16 << 20, 2_000_000
#: Members of an archive, axes of a tensor.
MEMBERS, AXES = 200_000, 16
#: Containers within each other.
DEPTH = 20
#: Storages by the name that a file has for them.
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class PickledTensorsError(Error, ValueError):
    """A file that is no plain archive of tensors, or that asks for more than these; the message says for what."""


@dataclass(frozen=True)
class _Named:
    """A name in a file, looked up nowhere."""

    module: str
    name: str


@dataclass(frozen=True)
class _Stored:
    """Bytes of the archive, and of what numbers."""

    dtype: torch.dtype
    key: str
    count: int


_TENSOR, _ORDERED = _Named("torch._utils", "_rebuild_tensor_v2"), _Named("collections", "OrderedDict")
_MARK = object()


@door(PickledTensorsError)
def read_pickled_tensors(path: FilePath) -> Any:
    """The dictionary in a file of ``torch.save``, of tensors and plain values (nested), without running the file.

    Served are tensors of floats, whole numbers and truth values; numbers, text, None, lists, tuples and dictionaries.
    Anything else that a pickle can ask for is refused before it would have an effect; models, optimizers, parameters
    and files of before torch 1.6 are among that.

    Raises:
        PickledTensorsError: no such file, no archive of torch, an operation, a name or a tensor that is not served,
            sizes that the archive does not bear out.
    """
    path = expanded(path)
    said = f"path={os.fspath(path)!r}"
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, os.path.getsize(path)).run()
    except PickledTensorsError as error:
        raise PickledTensorsError(f"{said}: {error}") from None
    except FileNotFoundError:
        raise PickledTensorsError(f"{said}: there is no such file.") from None
    except zipfile.BadZipFile as error:
        raise PickledTensorsError(
            f"{said} is no zip archive as torch writes since 1.6 ({error}); convert it to safetensors where it came"
            " from."
        ) from None
    # what a damaged archive or program makes the standard library raise
    except (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, NotImplementedError) as error:
        raise PickledTensorsError(f"{said} cannot be read ({type(error).__name__}: {error}).") from None


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, size: int):
        members = archive.infolist()
        programs = [m for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
        if len(programs) != 1 or len(members) > MEMBERS:
            raise PickledTensorsError(f"it has {len(members)} members and {len(programs)} data.pkl; expected one.")
        if len({m.filename for m in members}) != len(members):
            raise PickledTensorsError("two of its members have one name.")
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
            raise PickledTensorsError("its members are compressed or encrypted; torch stores them as they are.")
        if sum(m.file_size for m in members) > size:
            raise PickledTensorsError("its members are larger than the file itself.")
        self.archive, self.members = archive, {m.filename: m for m in members}
        self.program, self.root = programs[0], programs[0].filename.removesuffix("data.pkl")
        order = self.members.get(f"{self.root}byteorder")
        if order is not None and (order.file_size > 16 or archive.read(order) != b"little"):
            raise PickledTensorsError("its numbers are not in little-endian order.")
        if self.program.file_size > PROGRAM_BYTES:
            raise PickledTensorsError(
                f"its data.pkl has {self.program.file_size} bytes; at most {PROGRAM_BYTES} are read."
            )
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Tensor] = {}

    def run(self) -> Any:
        """What the program leaves on its stack."""
        for number, (operation, argument, _) in enumerate(pickletools.genops(BytesIO(self.archive.read(self.program)))):
            name = operation.name
            if name == "STOP":
                break
            if number >= OPERATIONS:
                raise PickledTensorsError(f"its data.pkl has more than {OPERATIONS} operations.")
            if name in ("PROTO", "FRAME"):
                continue
            if name in _PUSHED:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif (work := _WORK.get(name)) is not None:
                work(self, argument)
            else:
                raise PickledTensorsError(f"its data.pkl asks for the operation {name}, which no plain tensors need.")
        if len(self.stack) != 1 or not isinstance(self.stack[0], dict):
            raise PickledTensorsError("it holds no dictionary of tensors.")
        self._finished(self.stack[0], (), set())
        return self.stack[0]

    def _finished(self, value: Any, above: tuple[int, ...], seen: set[int]) -> None:
        """Raises where a name or a storage is left of which nothing was made, or a container holds itself."""
        if id(value) in above or len(above) > DEPTH:
            raise PickledTensorsError(f"it is nested more than {DEPTH} deep, or holds itself.")
        if isinstance(value, _Named | _Stored) or value is _MARK:
            raise PickledTensorsError(f"it holds {value!r} as a value.")
        if id(value) in seen or not isinstance(value, dict | list | tuple):
            return
        seen.add(id(value))
        if isinstance(value, dict) and (odd := [k for k in value if not isinstance(k, str | int | float | type(None))]):
            raise PickledTensorsError(f"a key of it is a {type(odd[0]).__name__}.")
        for item in value.values() if isinstance(value, dict) else value:
            self._finished(item, (*above, id(value)), seen)

    # -- the stack --------------------------------------------------------------------------------------------------

    def pop(self) -> Any:
        """The uppermost value."""
        value = self.stack.pop()
        if value is _MARK:
            raise PickledTensorsError("its data.pkl takes a value where there is none.")
        return value

    def top(self, kind: type) -> Any:
        """The uppermost value, which stays."""
        value = self.stack[-1]
        if type(value) is not kind:
            raise PickledTensorsError(f"its data.pkl puts items into a {type(value).__name__}.")
        return value

    def marked(self) -> list[Any]:
        """All values down to the last mark."""
        at = next((i for i in reversed(range(len(self.stack))) if self.stack[i] is _MARK), None)
        if at is None:
            raise PickledTensorsError("its data.pkl goes back to a mark that was not set.")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def tuple_of(self, count: int) -> None:
        """The uppermost values become a tuple."""
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def put_items(self, values: list[Any]) -> None:
        """Keys and values in turns, into the dictionary below them."""
        if len(values) % 2:
            raise PickledTensorsError("its data.pkl has a key without a value.")
        into = self.top(dict)
        for key, value in zip(values[::2], values[1::2]):
            into[key] = value

    def put(self, at: int) -> None:
        """Remembers the uppermost value."""
        self.memo[at] = self.stack[-1]

    def name(self, module: Any, name: Any) -> None:
        """A name: of a storage, of the one constructor, or of an ordered dictionary."""
        told = _Named(str(module), str(name))
        if told not in (_TENSOR, _ORDERED) and not (told.module == "torch" and told.name in STORAGES):
            raise PickledTensorsError(f"its data.pkl asks for {told.module}.{told.name}, which no plain tensors need.")
        self.stack.append(told)

    def persistent(self) -> None:
        """A storage: its kind of numbers, its member of the archive, and how many it has."""
        match self.pop():
            case ("storage", _Named("torch", kind), str(key), str(), int(count)) if kind in STORAGES and count >= 0:
                self.stack.append(_Stored(STORAGES[kind], key, count))
            case other:
                raise PickledTensorsError(
                    f"its data.pkl names the storage {str(other)[:80]}, which is none of torch's."
                )

    def call(self) -> None:
        """The one constructor, or an empty ordered dictionary."""
        arguments, what = self.pop(), self.pop()
        if what == _ORDERED and arguments == ():
            self.stack.append({})
        elif what == _TENSOR and isinstance(arguments, tuple):
            self.stack.append(self._tensor(arguments))
        else:
            raise PickledTensorsError(f"its data.pkl calls {str(what)[:80]}, which no plain tensors need.")

    def state(self) -> None:
        """What an ordered dictionary has beside its items (a state dictionary's versions): left out."""
        state = self.pop()
        if not isinstance(state, dict):
            raise PickledTensorsError(f"its data.pkl sets the state of a {type(self.stack[-1]).__name__}.")
        self.top(dict)

    # -- tensors ----------------------------------------------------------------------------------------------------

    def _tensor(self, arguments: tuple[Any, ...]) -> Tensor:
        match arguments:
            case (_Stored() as stored, int(offset), tuple(size), tuple(stride), bool(), {}, *rest) if len(rest) <= 1:
                pass
            case _:
                raise PickledTensorsError(f"a tensor is made of {str(arguments)[:120]}.")
        whole = [offset, *size, *stride]
        if len(size) != len(stride) or len(size) > AXES or any(type(n) is not int or n < 0 for n in whole):
            raise PickledTensorsError(f"a tensor has offset {offset}, size {size} and stride {stride}.")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else offset - 1
        if last >= stored.count or count > stored.count:
            raise PickledTensorsError(
                f"a tensor of size {size}, stride {stride} and offset {offset} lies beyond its {stored.count} numbers."
            )
        return torch.as_strided(self._storage(stored), size, stride, offset)

    def _storage(self, stored: _Stored) -> Tensor:
        if stored.key not in self.storages:
            member = self.members.get(f"{self.root}data/{stored.key}")
            if member is None:
                raise PickledTensorsError(f"it has no member data/{stored.key}.")
            if member.file_size != stored.count * stored.dtype.itemsize:
                raise PickledTensorsError(
                    f"its member data/{stored.key} has {member.file_size} bytes; {stored.count} numbers of"
                    f" {stored.dtype} need {stored.count * stored.dtype.itemsize}."
                )
            if stored.count == 0:
                return torch.empty(0, dtype=stored.dtype)
            bytes_ = bytearray(self.archive.read(member))
            if stored.dtype == torch.bool and max(bytes_) > 1:
                raise PickledTensorsError(f"its member data/{stored.key} holds bytes that are no truth values.")
            self.storages[stored.key] = torch.frombuffer(bytes_, dtype=stored.dtype)
        storage = self.storages[stored.key]
        if storage.dtype != stored.dtype:
            raise PickledTensorsError(f"its member data/{stored.key} is read as {storage.dtype} and as {stored.dtype}.")
        return storage


#: Operations whose argument is the value.
_PUSHED = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_WORK: dict[str, Callable[[_Reader, Any], Any]] = {
    "TUPLE": lambda r, _: r.stack.append(tuple(r.marked())),
    "TUPLE1": lambda r, _: r.tuple_of(1),
    "TUPLE2": lambda r, _: r.tuple_of(2),
    "TUPLE3": lambda r, _: r.tuple_of(3),
    "SETITEM": lambda r, _: r.put_items([*reversed([r.pop(), r.pop()])]),
    "SETITEMS": lambda r, _: r.put_items(r.marked()),
    "APPEND": lambda r, _: (value := r.pop(), r.top(list).append(value))[0],
    "APPENDS": lambda r, _: (values := r.marked(), r.top(list).extend(values))[0],
    "BINPUT": lambda r, at: r.put(at),
    "LONG_BINPUT": lambda r, at: r.put(at),
    "MEMOIZE": lambda r, _: r.put(len(r.memo)),
    "BINGET": lambda r, at: r.stack.append(r.memo[at]),
    "LONG_BINGET": lambda r, at: r.stack.append(r.memo[at]),
    "GLOBAL": lambda r, name: r.name(*str(name).split(" ", 1)),
    "STACK_GLOBAL": lambda r, _: r.name(*reversed([r.pop(), r.pop()])),
    "BINPERSID": lambda r, _: r.persistent(),
    "REDUCE": lambda r, _: r.call(),
    "BUILD": lambda r, _: r.state(),
}
