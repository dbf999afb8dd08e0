"""What is in the way of a write: the error of the package for files and folders, and what it says."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import Error

_FULL_BYTES = 1_000_000


class FileError(Error, OSError):
    """A file or folder that cannot be written; the message names it, what is in the way and the next step.

    `errno` is the system's number where it gave one.
    """


class Taken(FileError, FileExistsError):
    """What was to be new is there already."""


@contextlib.contextmanager
def naming(path: Path, part: Path, action: str = "write") -> Iterator[None]:
    """Errors of writing as FileError."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if (code := system_code(error, path, part)) is None and not isinstance(error, OSError):
            raise
        raise failed(action, path, error, code) from error


def failed(action: str, path: Path, error: BaseException, code: int | None = None) -> FileError:
    """The error for one that was met while writing at `path`: "could not <action> <path>: <what>; <next step>."."""
    problem, step = reason(error, path, code)
    raised = (Taken if code == errno.EEXIST else FileError)(f"could not {action} {str(path)!r}: {problem}; {step}.")
    raised.errno = code
    return raised


def system_code(error: BaseException, path: Path, part: Path) -> int | None:
    """The system's number of an error of writing; None where it is none or cannot be told.

    safetensors puts the number into its text; HDF5 says only that writing failed, so that the place is looked at.
    """
    code = getattr(error, "errno", None)
    if isinstance(code, int) and code > 0:
        return code
    if match := re.search(r"\(os error (\d+)\)", str(error)):
        return int(match[1])
    if not isinstance(error, (OSError, RuntimeError)):
        return None
    with contextlib.suppress(OSError):
        if not os.path.isdir(path.parent):
            return errno.ENOTDIR if _file_in(path) else errno.ENOENT
        if shutil.disk_usage(path.parent).free < _FULL_BYTES:
            return errno.ENOSPC
        if part.is_file() and part.stat().st_size + _FULL_BYTES > _size_limit():
            return errno.EFBIG
    return None


def _size_limit() -> float:
    try:
        import resource
    except ImportError:
        return float("inf")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def _file_in(path: Path) -> Path | None:
    """The part of a path that is no folder, though it would have to be one."""
    return next((p for p in reversed(path.parents) if os.path.exists(p) and not os.path.isdir(p)), None)


def reason(error: BaseException, path: Path, code: int | None) -> tuple[str, str]:
    """What is in the way of a write at `path`, and the next step."""
    folder = str(path.parent)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full", "free some space or choose a path on another disk"
    if code == errno.EFBIG:
        return (
            "the file would be larger than this process or file system allows",
            "raise the limit (ulimit -f) or choose a path on another disk",
        )
    if code == errno.EROFS:
        return (
            "the folder cannot be written to, as its file system is read-only",
            "choose a folder that you may write to",
        )
    if code in (errno.EACCES, errno.EPERM):
        if os.path.isfile(path) and not os.access(path, os.W_OK):
            return "the file is write-protected", "choose another path, or change its permissions"
        return "the folder cannot be written to", "choose a folder that you may write to"
    if code == errno.ENOENT and not os.path.isdir(path.parent):
        return f"the folder {folder!r} is not there", "make it, or choose another path"
    if code == errno.ENOTDIR:
        file = _file_in(path / "x") or path.parent
        return f"a part of the path, {str(file)!r}, is a file, not a folder", "choose another path"
    if code == errno.EISDIR or (code in (errno.EEXIST, errno.ENOTEMPTY) and os.path.isdir(path)):
        return "a folder of that name is there", "choose another path"
    if code == errno.EEXIST:
        return "it is there already", "choose another path"
    if code == errno.ENAMETOOLONG:
        return "the name is longer than the file system allows", "choose a shorter one"
    if code in (errno.EMFILE, errno.ENFILE):
        return "too many files are open", "close some, or raise the limit (ulimit -n)"
    return f"{type(error).__name__}: {error}", "correct this and try again, or choose another path"
