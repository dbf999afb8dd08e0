"""Names of the hub: which revisions of one are in its cache, which commit was loaded, and what an answer that is no
model means.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lens.arguments import Name, door
from lens.cache import LoadError

from .check import one_line
from .names import Named

__all__ = ["checkpoints", "commit_of", "no_progress_bars", "offline", "unreachable"]

#: How many revisions an error lists.
_LISTED = 12


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """No bars of transformers for a while."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@door(LoadError)
def checkpoints(name: Name) -> dict[str, str]:
    """The revisions of a hub name that lie in the hub's cache: each one's name and the commit it stands for; steps and
    stages in the order of their numbers. The hub is not asked.

    A commit without a name stands for itself. Give one as `lens.load(name, revision=...)`.

    Raises: LoadError: nothing of that name is in the cache.
    """
    found = cached(name)
    if not found:
        raise LoadError(
            f"name={name!r}: no revision of it is in the hub's cache ({_cache()}). Load one where the hub is reachable,"
            f" as lens.load({name!r}, revision='main')."
        )
    return found


def cached(name: str) -> dict[str, str]:
    """As `checkpoints`; empty where there is none. A revision counts where its configuration is there."""
    folder = _cache() / ("models--" + name.replace("/", "--"))
    there = {path.name for path in folder.glob("snapshots/*") if (path / "config.json").is_file()}
    there |= {path.name for path in folder.glob("snapshots/*") if (path / "adapter_config.json").is_file()}
    refs: dict[str, str] = {}
    for path in folder.glob("refs/**/*"):
        if path.is_file():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                refs[path.relative_to(folder / "refs").as_posix()] = path.read_text(encoding="utf-8").strip()
    own = {revision: commit for revision, commit in refs.items() if commit in there}
    own |= {commit: commit for commit in there - set(own.values())}
    return dict(sorted(own.items(), key=lambda item: _in_order(item[0])))


def _in_order(revision: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", revision)]


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def commit_of(model: Named) -> str | None:
    """The commit that a hub name and its revision stand for in the cache, once it was loaded; None for a folder."""
    if model.folder is not None:
        return None
    found = cached(model.name)
    asked = model.revision or "main"
    return found.get(asked, asked if asked in found.values() else None)


def snapshot(model: Named) -> Path | None:
    """The folder in the hub's cache that a hub name was loaded from."""
    commit = commit_of(model)
    return None if commit is None else _cache() / ("models--" + model.name.replace("/", "--")) / "snapshots" / commit


def offline() -> bool:
    """Whether the hub is not to be asked (HF_HUB_OFFLINE)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "on", "yes")


def unreachable(model: Named, error: BaseException, known: str, argument: str = "name") -> LoadError:
    """What a failed load of a hub name means, in words, with the next step.

    `known`: what could have been meant instead, as half a sentence.
    """
    kinds = {type(one).__name__ for one in _chain(error)}
    name, said = model.name, one_line(error)
    there = list(cached(name))
    listed = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
    if "GatedRepoError" in kinds or "gated repo" in said:
        return LoadError(
            f"{argument}={name!r} is gated: its owners give it to accounts that have accepted their terms. Accept them"
            f" at https://huggingface.co/{name}, then log in on this machine with `hf auth login` (or set HF_TOKEN) and"
            " load it again."
        )
    if model.revision is not None and ("RevisionNotFoundError" in kinds or (there and model.revision not in there)):
        cause = "the hub has no such revision" if "RevisionNotFoundError" in kinds else _silence(said)
        return LoadError(
            f"revision={model.revision!r} of {argument}={name!r} is not there: {cause}. In the cache are:"
            f" {listed or 'none'}. Give one of these, or a branch, a tag or a full commit (40 digits) that the hub"
            " lists."
        )
    if "RepositoryNotFoundError" in kinds:
        return LoadError(
            f"{argument}={name!r}: the hub has no model of that name, or it is private. Check its spelling; for a"
            f" private one log in with `hf auth login` (or set HF_TOKEN). {known}"
        )
    what = "model " if argument == "name" else f"{argument}="
    return LoadError(
        f"{what}{str(model)!r} cannot be loaded: {said}\n{name!r} was taken for a hub name, because it is no folder and"
        f" none of the built-in models. {known}"
    )


def _silence(said: str) -> str:
    if offline():
        return "it is not in the cache, and HF_HUB_OFFLINE says that the hub is not asked"
    return f"it is not in the cache, and the hub gave no answer ({said})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
