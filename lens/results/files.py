"""Results as files and folders: what may be a path of one, and what goes wrong on the way in the words of results.

The writer is `lens.files`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from zarr.core.sync import sync

from .. import files
from ..arguments import FilePath, PathLike
from ..files import FileError
from .errors import ResultError

_SETTLE_SECONDS = 10


def check_path(path: FilePath, argument: str, suffixes: tuple[str, ...], otherwise: str) -> Path:
    """``path`` as an absolute Path that ends in one of ``suffixes``, or an error that says what was expected."""
    text = os.fspath(PathLike().of(path, argument, ResultError))
    result = Path(os.path.abspath(files.expanded(text)))
    if result.suffix not in suffixes:
        raise ResultError(
            f"{argument}={text!r} ends in {result.suffix!r}; expected {', '.join(suffixes)}; {otherwise}."
        )
    return result


def about(path: Path, problem: str) -> str:
    """A path and what is wrong with it, as an error message says it."""
    return f"path {str(path)!r} {problem}."


@contextlib.contextmanager
def new_path(path: Path, action: str, *, new: bool = False) -> Iterator[Path]:
    """A hidden sibling of ``path`` to write a file or folder to; it gets the name where the block ends (see
    ``lens.files.replacing``, also for ``new``).

    Whatever goes wrong, it and new parent folders are removed.

    Raises:
        ResultError: from any exception inside, naming ``path`` and the next step. Ctrl-C passes unchanged.
    """
    try:
        with files.replacing(path, parents=True, new=new) as part:
            try:
                yield part
            except BaseException as error:
                # looks at the free space, so before the removal
                ours = isinstance(error, ResultError) or not isinstance(error, Exception)
                raised = error if ours else failure(action, path, error, part)
                settle()
                if raised is error:
                    raise
                raise raised from error
    except FileError as error:
        raise failure(action, path, error.__cause__ or error) from error


def failure(action: str, path: Path, error: BaseException, part: Path | None = None) -> ResultError:
    """The ResultError for an exception met while saving, exporting or writing at ``path``."""
    code = files.system_code(error, path, part or path)
    problem, step = files.reason(error, path, code)
    if code in (errno.EEXIST, errno.ENOTEMPTY):
        problem, step = "another process saved there in the meantime", "choose another path, or overwrite=True"
    raised = ResultError(f"could not {action} {str(path)!r}: {problem}; {step}.")
    raised.errno = code
    return raised


def settle() -> None:
    """Wait, at most 10 s, for the writes that Zarr still has under way.

    Zarr writes many files at once and reports the first that fails while the others go on: unless they are waited for,
    they make a folder anew that has just been removed, or arrive after a later write of the same region.
    """

    async def others() -> None:
        if (this := asyncio.current_task()) is not None:
            this.set_name(settle.__qualname__)  # two threads that settle do not wait for each other
        if tasks := {task for task in asyncio.all_tasks() if task.get_name() != settle.__qualname__}:
            await asyncio.wait(tasks, timeout=_SETTLE_SECONDS)

    sync(others())
