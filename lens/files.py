"""The one writer of the package: a file or folder is there whole, or as it was before.

What is written goes to a hidden sibling first, is flushed to the disk and then gets its name in one rename. The
sibling's name says which process made it (`lens.processes`): what a killed run left is removed by the next one that
writes to the folder; what a living run is at, or one that cannot be told from here, stays.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .file_errors import FileError, Taken, failed, naming, reason, system_code
from .processes import Process

__all__ = [
    "FileError",
    "Taken",
    "append",
    "discard",
    "expanded",
    "failed",
    "flush",
    "flush_folder",
    "leftover",
    "make_folder",
    "previous",
    "reason",
    "replacing",
    "sibling",
    "sweep",
    "system_code",
    "write",
    "write_all",
    "write_json",
    "write_tensors",
]

#: What a file can be made of: text (UTF-8), bytes, or a function that writes to the path that it is given.
Content = str | bytes | bytearray | memoryview | Callable[[Path], Any]

#: Bytes of a name that go into its sibling's; file systems take 255.
_LONGEST = 150


# -- writing --------------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike, content: Content, *, parents: bool = False, new: bool = False) -> Path:
    """Write one file, whole or not at all, and return its path.

    Args:
        path: where; what it points to, if it is a link. A file that is there is replaced and keeps its permissions.
        content: text, bytes, or a function that writes to the path that it is given.
        parents: whether folders that are missing are made (and removed again where the write fails).
        new: refuse (FileExistsError among its kinds) where the path is taken, also by a process that is quicker.

    Raises:
        FileError: full disk, size limit, read-only or missing folder, a path through a file, no permission. What was
            there is as it was, nothing is left beside it.
    """
    return write_all({path: content}, parents=parents, new=new)[0]


def write_json(
    path: str | os.PathLike, value: Any, *, parents: bool = False, new: bool = False, **options: Any
) -> Path:
    """`write` of a value as JSON, one space a level; `options` are those of `json.dumps`."""
    return write(path, json.dumps(value, **{"indent": 1} | options) + "\n", parents=parents, new=new)


def write_all(
    contents: Mapping[Any, Content],
    *,
    parents: bool = False,
    new: bool = False,
    arguments: Mapping[Any, str] | None = None,
) -> list[Path]:
    """`write` of several files that belong together: each is on the disk before the first gets its name.

    `arguments`: the argument that each path was given as, where that is not `path`; errors call it so.
    """
    named = arguments or {}
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_part(path, parents, new, named.get(path, "path"))) for path in contents]
        for (part, path, _), content in zip(parts, contents.values()):
            with naming(path, part):
                if callable(content):
                    content(part)
                else:
                    part.write_bytes(_encoded(path, content) if isinstance(content, str) else content)
                _ready(part, path)
        for _, _, done in parts:
            done()
    return [path for _, path, _ in parts]


def append(path: str | os.PathLike, text: str) -> Path:
    """Add lines to a log, in one write at its end, whoever else adds to it. Raises: FileError."""
    path = _target(path)
    with naming(path, path), open(path, "ab", buffering=0) as file:
        file.write(_encoded(path, text))
    return path


def write_tensors(
    path: str | os.PathLike,
    tensors: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    parents: bool = False,
) -> Path:
    """`write` of torch tensors, from whatever device, as a safetensors file."""
    from safetensors.torch import save_file

    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = None if metadata is None else dict(metadata)
    return write(path, functools.partial(save_file, here, metadata=about), parents=parents)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, parents: bool = False, new: bool = False) -> Iterator[Path]:
    """A path to write a file or folder to; it gets the name `path` where the block ends, and is removed where it fails.

    A folder that it replaces is set aside as `.<name>.previous` until the new one has its name, and put back where the
    process died in between.

    Raises:
        FileError: as `write`. Errors of the block that are not of writing pass as they are.
    """
    with _part(path, parents, new) as (part, path, done):
        with naming(path, part):
            yield part
            _ready(part, path)
        done()


@contextlib.contextmanager
def _part(
    path: str | os.PathLike, parents: bool, new: bool, argument: str = "path"
) -> Iterator[tuple[Path, Path, Callable[[], None]]]:
    """A sibling of `path` to write to, `path` itself in full, and what gives the one the other's name."""
    path = _target(path, argument)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # a device or a pipe has nothing to be replaced
        yield path, path, lambda: None
        return
    folders, part = [], sibling(path)

    def done() -> None:
        with naming(path, part):
            _place(part, path, new)
            flush_folder(path.parent)

    try:
        with naming(path, part):
            if parents:
                folders += make_folder(path.parent)
            _allowed(path)
            sweep(path.parent)
            if os.path.isdir(before := previous(path)) and not os.path.lexists(path):
                os.rename(before, path)
        yield part, path, done
    except BaseException:
        discard(part)
        for folder in reversed(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _target(path: str | os.PathLike, argument: str = "path") -> Path:
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise FileError(f"{argument}={path!r} is a {type(path).__name__}; expected a text or a pathlib.Path.")
    text = str(expanded(path)) if os.fspath(path) else ""
    if "\0" in text or not text:
        raise FileError(f"{argument}={text!r} is not a file name; expected text without NUL.")
    if not os.path.basename(os.path.abspath(text)):
        raise FileError(f"{argument}={text!r} is the root of all folders, not a file; give a name in a folder.")
    return Path(os.path.realpath(text) if os.path.islink(text) else os.path.abspath(text))


def _encoded(path: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FileError(
            f"could not write {str(path)!r}: its text holds {text[error.start]!r} at {error.start}, half of "
            'a surrogate pair, which is no text in UTF-8; replace it with "\\ufffd".'
        ) from None


def _allowed(path: Path) -> None:
    # a rename asks the folder alone; one that was write-protected on purpose stays as it is
    if os.path.isfile(path) and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _ready(part: Path, path: Path) -> None:
    if part == path:
        return
    if path.is_file() and part.is_file():
        with contextlib.suppress(OSError):
            os.chmod(part, stat.S_IMODE(path.stat().st_mode))
    else:
        _not_the_owners_alone(part, path)
    flush(part)


def _not_the_owners_alone(part: Path, path: Path) -> None:
    """New safetensors files get the permissions that any new file has here: safetensors 0.8 gives them to their owner
    alone, and who shares a folder of results could not read them.
    """
    if part.is_dir():
        tensors = [file for file in part.rglob("*.safetensors") if file.is_file()]
    else:
        tensors = [part] if path.suffix == ".safetensors" and part.is_file() else []
    if not tensors:
        return
    probe = sibling(path)
    with contextlib.suppress(OSError):
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            mode = stat.S_IMODE(probe.stat().st_mode)
        finally:
            probe.unlink()
        for file in tensors:
            os.chmod(file, mode)


def _place(part: Path, path: Path, new: bool) -> None:
    if part.is_dir():
        before = previous(path)
        if path.is_dir() and not new and any(path.iterdir()):
            discard(before)
            os.rename(path, before)
        try:
            os.rename(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.rename(before, path)
            raise
        discard(before)
    elif not new:
        os.replace(part, path)
    else:
        try:
            os.link(part, path)  # a rename would replace what another wrote meanwhile
            part.unlink()
        except FileExistsError:
            raise
        except OSError:  # no links on this file system
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            os.replace(part, path)


# -- names, leftovers -----------------------------------------------------------------------------------------------


def expanded(path: str | os.PathLike) -> Path:
    """A path with `~` and `~name` as the folder they stand for; a name that the system does not know is left as it
    is.
    """
    return Path(os.path.expanduser(os.fspath(path)))


def sibling(path: Path) -> Path:
    """A new hidden name beside `path`, by which a later process can tell whose it is."""
    name = os.fsencode(path.name)[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{name}.{Process.own().token()}.part")


def previous(path: Path) -> Path:
    """Where a folder that is being replaced stands meanwhile."""
    return path.with_name(f".{path.name}.previous")


def leftover(path: Path) -> bool:
    """Whether a path is the unfinished part of a process that is known to have ended."""
    if not (path.name.startswith(".") and path.name.endswith(".part")):
        return False
    owner = Process.of(path.name.removesuffix(".part").rpartition(".")[2])
    return owner is not None and owner.dead()


def sweep(folder: Path) -> None:
    """Remove from a folder what processes that have ended left unfinished."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(".part") and leftover(path := folder / name):
                discard(path)


def discard(path: Path) -> None:
    """Remove what is at `path`, if anything; a folder is renamed first: a half-removed one has no name that is read."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            if path.suffix != ".part":
                doomed = sibling(path)
                os.rename(path, doomed)
                path = doomed
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def make_folder(folder: str | os.PathLike) -> list[Path]:
    """Make a folder with those above it and return the ones that were not there, outermost first.

    Raises: FileError: one cannot be made.
    """
    folder = Path(folder)
    folders: list[Path] = []
    with naming(folder, folder, "make the folder"):
        for parent in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
            parent.mkdir(exist_ok=True)
            folders.append(parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return folders


# -- flushing -------------------------------------------------------------------------------------------------------


def flush(path: Path) -> None:
    """Fsync a file, or every file and folder below a folder: the rename cannot reach the disk before the data."""
    if path.is_file():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        return
    for folder, _, names in os.walk(path):
        for name in names:
            flush(Path(folder, name))
        flush_folder(Path(folder))


def flush_folder(folder: Path) -> None:
    """Fsync a folder: the names in it."""
    with contextlib.suppress(OSError):  # some systems do not open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
