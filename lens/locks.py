"""One run at a time in a folder: the second is told who is at work.

The kernel holds the lock for as long as the process lives, so that none is left by one that was killed. Where the file
system keeps no locks, or the lock was taken on another host, what the file says of its owner decides; no clock does.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from .files import FileError, failed, make_folder, sibling
from .processes import Process

fcntl: ModuleType | None
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # not a POSIX system: the file alone is the lock
    fcntl = None

NAME = ".lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Busy(FileError, BlockingIOError):
    """Another run is at work in the folder; the message says which process, on which host and since when."""


@contextlib.contextmanager
def at_work(folder: str | os.PathLike, what: str) -> Iterator[None]:
    """Hold a folder (made where it is missing) for one run, named by `what` ("a training"), while the block lasts.

    A folder that cannot be written to needs no lock and gets none.

    Raises:
        Busy: another run holds it, of this process or another. One that is known to have ended does not.
        FileError: the folder cannot be made, or the lock not be written.
    """
    folder, taker = Path(os.path.abspath(folder)), os.getpid()
    folders = make_folder(folder)
    path = folder / NAME
    try:
        handle = _take(path, what)
    except OSError as error:
        if isinstance(error, Busy):
            raise
        if error.errno not in _READ_ONLY:
            _unmake(folders)
            raise failed("lock", path, error, error.errno) from error
        if path.exists():
            raise _busy(path, _owner_of(path), False) from error
        handle = None
    try:
        yield
    finally:
        if handle is not None and os.getpid() == taker:  # a forked child that leaves the block lets go of nothing
            _release(path, handle)
            _unmake(folders)


def in_turn(path: str | os.PathLike, replace: Callable[[], Any]) -> None:
    """Call what may replace a file, one process and thread at a time; whoever comes after one that did does nothing.

    Nothing is done where there is no file. The lock is on the file that was there, so that none is left behind.
    """
    path = Path(path)
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        if _same(path, file.fileno()):
            replace()


def _unmake(folders: list[Path]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # there is something in it
            folder.rmdir()


def _take(path: Path, what: str) -> int:
    while True:
        try:
            handle, fresh = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                handle, fresh = os.open(path, os.O_RDWR), False
            except FileNotFoundError:  # released between the two
                continue
        try:
            ours = _held(handle)
            if ours is False or (ours is None and not fresh):
                owner = _owner_of(path, patience=1.0)
                if _same(path, handle):
                    if owner is None or not _ended(owner):
                        raise _busy(path, owner, ours is False)
                    _drop(path, handle)  # if the kernel holds it, for a child of one that died
            elif _same(path, handle):  # else it was released, and removed, before it was ours
                owner = None if fresh else _owner_of(path)
                if owner is not None and not (_ended(owner) or _of_this_kernel(owner)):
                    raise _busy(path, owner, False)
                _sign(path, handle, what)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _drop(path: Path, handle: int) -> None:
    """Remove the lock of a process that has ended, and no other that has come to its place."""
    doomed = sibling(path)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, doomed)
        if not _same(doomed, handle):  # another was quicker, and it is that one's
            with contextlib.suppress(FileExistsError):
                os.link(doomed, path)
        os.unlink(doomed)


def _sign(path: Path, handle: int, what: str) -> None:
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(_signature(what)).encode())
        os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _release(path: Path, handle: int) -> None:
    ours = _same(path, handle)
    if fcntl is None:
        os.close(handle)  # an open file has no other name there, and cannot go
    with contextlib.suppress(OSError):
        if ours:
            os.unlink(path)
    if fcntl is not None:
        with contextlib.suppress(OSError):  # closing alone would leave it with forked children
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _held(handle: int) -> bool | None:
    """Whether the lock is now ours (True) or another's (False); None where none can be had here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in _UNSUPPORTED:
            return None
        raise


def _same(path: Path, handle: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _signature(what: str) -> dict[str, Any]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {
        "what": what,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": since,
        "process": Process.own().token(),
    }


def _owner_of(path: Path, patience: float = 0.0) -> dict[str, Any] | None:
    """What the file says of its owner; None where it says nothing (yet)."""
    end = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError, ValueError):
            owner = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(owner, dict) and isinstance(owner.get("process"), str):
                return owner
        if time.monotonic() >= end:
            return None
        time.sleep(0.02)


def _ended(owner: dict[str, Any]) -> bool:
    process = Process.of(owner["process"])
    return process is not None and process.dead()


def _of_this_kernel(owner: dict[str, Any]) -> bool:
    """Whether the lock was taken under this kernel, which then knows whether it is held: in another container, say."""
    process, own = Process.of(owner["process"]), Process.own()
    return process is not None and "x" != process.boot == own.boot


def _busy(path: Path, owner: dict[str, Any] | None, sure: bool) -> Busy:
    who = "by a process that has not said which it is"
    if owner is not None:
        who = (
            f"by {owner.get('what')} of process {owner.get('pid')} on host {owner.get('host')} "
            f"since {owner.get('since')}"
        )
        who += " (this process itself)" if Process.of(owner["process"]) == Process.own() else ""
    step = "" if sure else f"; if you know that it has ended, remove {str(path)!r}"
    return Busy(f"folder={str(path.parent)!r} is in use {who}; wait for it, or give another folder{step}.")
