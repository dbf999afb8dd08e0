"""Files that somebody else wrote, read within limits of size, depth and kind: text, JSON, lines of JSON, headers of
safetensors.

Whoever reads says how a fault is to be raised: `refuse` takes a message that begins with the file's name and gives the
error of that part of the package. Nothing here imports anything of the package.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Error

#: Bytes of one JSON text, and of one line of a file of lines: a weight index of a model with a million tensors has a
#: tenth of it.
MOST = 256 << 20
#: Levels of lists and objects inside each other. The deepest that this package, transformers or diffusers write has
#: about ten; the parsers beneath end at a few hundred.
DEEP = 64
#: Bytes of a safetensors header, as that library itself limits it.
MOST_HEADER = 100_000_000

Refuse = Callable[[str], Exception]
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class Fault(Error, ValueError):
    """What is wrong with some bytes, as half a sentence; it says neither file nor line, and whoever reads adds them."""


def depth(data: bytes) -> int:
    """How many lists and objects of a JSON text lie inside each other, at most; found without parsing it, text in
    quotes left out.
    """
    if data.count(b"[") + data.count(b"{") <= 1:
        return data.count(b"[") + data.count(b"{")
    brackets = np.frombuffer(_STRINGS.sub(b"", data), np.uint8)
    brackets = brackets[np.isin(brackets, np.frombuffer(b"[]{}", np.uint8))]
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def value(data: bytes | str, kind: type | tuple[type, ...] | None = None, *, deep: int = DEEP, most: int = MOST) -> Any:
    """The value of a JSON text of UTF-8, a byte order mark passed over.

    Raises: Fault: longer than `most` bytes, nested deeper than `deep`, no JSON, or of another kind than `kind`.
    """
    if not isinstance(data, (str, bytes)):
        raise Fault(f"is a {type(data).__name__}, not a JSON text")
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if len(data) > most:
        raise Fault(f"has {len(data)} bytes where at most {most} are read")
    if (levels := depth(data)) > deep:
        raise Fault(f"has lists or objects {levels} deep inside each other, where at most {deep} are read")
    try:
        content = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Fault(f"is not UTF-8 ({error.reason} at byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"is not JSON ({error})") from None
    if kind is not None and not isinstance(content, kind):
        kinds = " or ".join(_KINDS.get(one, one.__name__) for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise Fault(f"holds {_KINDS.get(type(content), type(content).__name__)} where {kinds} was expected")
    return content


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def content(path: Any, refuse: Refuse, *, most: int | None = MOST) -> bytes:
    """The bytes of a file (a path, or a resource of a package), its size looked at before. `most=None`: as many as this
    machine's memory holds.

    Raises: `refuse`: it is absent, no plain file, too large, or cannot be read.
    """
    if isinstance(path, (str, os.PathLike)):
        path = Path(path)
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as error:
            raise refuse(f"{path} cannot be read ({said(error)})") from error
        if path.exists() and not path.is_file():  # a pipe or a device has no end that could be waited for
            raise refuse(f"{path} is no plain file")
        limit = memory() if most is None else most
        if size > limit:
            raise refuse(f"{path} has {size} bytes where at most {limit} are read")
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise refuse(f"{path} cannot be read ({said(error)})") from error


def text(path: Any, refuse: Refuse, *, most: int | None = MOST) -> str:
    """The text of a file of UTF-8, a byte order mark passed over. Raises: `refuse`, as `content`, and where it is not
    UTF-8.
    """
    try:
        return content(path, refuse, most=most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"{path} is not UTF-8 ({error.reason} at byte {error.start})") from None


def json_file(
    path: Any, refuse: Refuse, kind: type | tuple[type, ...] | None = dict, *, deep: int = DEEP, most: int = MOST
) -> Any:
    """The value of a JSON file, by default an object. Raises: `refuse`, as `content`, and where it is not JSON of that
    kind or too deep.
    """
    data = content(path, refuse, most=most)
    try:
        return value(data, kind, deep=deep, most=most)
    except Fault as fault:
        raise refuse(f"{path} cannot be read: it {fault}") from None


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    r"""The lines of a file that are not blank, with their numbers from 1. A line ends at \n or \r\n alone: U+2028,
    U+0085 or a form feed are text like any other.
    """
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if line.strip():
            yield number, line


def line_stream(path: Path, refuse: Refuse, *, most: int = MOST) -> Iterator[tuple[int, bytes]]:
    """The lines of a plain file with their numbers from 1 and their ends, read one after the other; a byte order mark
    is passed over. Raises: `refuse`: it cannot be read, or a line is longer than `most` bytes.
    """
    try:
        with open(path, "rb") as file:
            number = 0
            while line := file.readline(most + 1):
                number += 1
                if len(line) > most:
                    raise refuse(f"{path}, line {number} has more than {most} bytes")
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except OSError as error:
        raise refuse(f"{path} cannot be read ({said(error)})") from error


def records(
    path: Any, refuse: Refuse, keys: tuple[str, ...] = (), *, most: int | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file with one JSON object a line, with the numbers of their lines; blank lines are passed over.

    Raises: `refuse`: as `content`, and for the first line that holds no object or lacks one of `keys`; the message
        names it.
    """
    parsed = []
    for number, line in lines(content(path, refuse, most=most)):
        try:
            record = value(line, dict)
            if lacking := [key for key in keys if key not in record]:
                raise Fault(f"lacks {', '.join(map(repr, lacking))}")
        except Fault as fault:
            raise refuse(f"{path}, line {number} cannot be read: it {fault}") from None
        parsed.append((number, record))
    return parsed


def safetensors_header(path: Path, refuse: Refuse) -> dict[str, dict[str, Any]]:
    """What a safetensors file says of its tensors, by name (`dtype`, `shape`, `data_offsets`), after a look at its
    size: a truncated file is found unread.

    Raises: `refuse`: no such file, no safetensors file, or one of another size than its header says.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, MOST_HEADER):
                raise Fault(f"its header would take {length} bytes")
            header = value(file.read(length), dict, deep=4)
        header.pop("__metadata__", None)
        ends = [0]
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if not (type(begin) is int and type(end) is int and 0 <= begin <= end):
                raise Fault(f"{name!r} lies from {begin!r} to {end!r}")
            ends.append(end)
    except OSError as error:
        raise refuse(f"{path} cannot be read ({said(error)})") from error
    except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise refuse(
            f"{path} is no safetensors file, or only the start of one: {error or type(error).__name__}. Copy or fetch"
            " it again."
        ) from error
    if size != (expected := 8 + length + max(ends)):
        raise refuse(
            f"{path} is damaged: it has {size} bytes where its header says {expected}. Copy or fetch it again."
        )
    return header


def inside(folder: Path, name: Any, refuse: Refuse) -> Path:
    """The file of that name in a folder. Raises: `refuse`: the name is no text, or leads out of the folder (an absolute
    path, "..", another drive).
    """
    if (
        not isinstance(name, str)
        or not name
        or "\0" in name
        or "\\" in name
        or ":" in name
        or name.startswith("/")
        or ".." in name.split("/")
    ):
        raise refuse(f"{folder} is described by a file that names {name!r}, which is not a file of that folder")
    return folder / name


def memory() -> int:
    """Bytes of memory that this machine has; a petabyte where it does not say."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        if pages > 0 and size > 0:
            return pages * size
    return 1 << 50


@contextlib.contextmanager
def no_panic(refuse: Refuse, what: str) -> Iterator[None]:
    """A panic of a library written in Rust, which passes every `except Exception`, as an error of this package's own.

    Raises: `refuse`, with `what` and the panic's own words.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise refuse(f"{what} ({said(error)})") from error


def said(error: BaseException) -> str:
    """An error's kind and first line, at most 200 characters."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
