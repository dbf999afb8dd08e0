"""What a model's name stands for: a fetched model, an organism, a folder, or a name of the hub with or without a
revision.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens import reading
from lens.arguments import FilePath, PathLike
from lens.cache import SOURCES, LoadError, fetched
from lens.files import expanded

from .shipped import ORGANISM, folder_of

__all__ = ["Named", "folder_for", "named"]

_WAYS = "give 'smollm2', 'organism:<name>', a folder or a hub name"


def folder_for(name: FilePath, argument: str = "name") -> Path | None:
    """The folder that a name stands for, or None for a hub name. `argument`: what an error calls it.

    Raises: LoadError: no name, a file, a path where nothing is, a model that is not fetched or does not ship.
    """
    name = str(PathLike().of(name, argument, LoadError, _WAYS))
    if not name.strip():
        raise LoadError(
            f"{argument}={name!r} is not a model; expected 'smollm2', 'organism:<name>', a folder or a hub name"
        )
    if name.lower().startswith(("http://", "https://")):
        raise LoadError(
            f"{argument}={name.rpartition('@')[2]!r} is the address of a server, and a model is loaded from files; a"
            " model behind a server gives log-probabilities alone, see lens.scoring.Served and lens.provenance.query"
        )
    if name in SOURCES:
        return fetched(name)
    if name.startswith(ORGANISM):
        return folder_of(name)
    path = expanded(name)
    # of a path that is too long for any file these say no
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise LoadError(
            f"{argument}={name!r} is a file; expected the folder that holds config.json and model.safetensors"
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise LoadError(f"{argument}={name!r} looks like a folder, but none is there (looked at {path.absolute()})")
    return None


@dataclass(frozen=True)
class Named:
    """A model by its name: `name` without a revision, its `folder` (None: a name of the hub), and the `revision` of the
    hub that was asked for.
    """

    name: str
    folder: Path | None
    revision: str | None

    @property
    def where(self) -> str:
        """What the library that loads it is given."""
        return self.name if self.folder is None else str(self.folder)

    def options(self) -> Mapping[str, Any]:
        """How a library of the hub is to look for it."""
        own: dict[str, Any] = {"local_files_only": self.folder is not None}
        return own if self.revision is None else own | {"revision": self.revision}

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def named(name: FilePath, revision: str | None = None, argument: str = "name") -> Named:
    """What a name stands for, "org/name@revision" being a name of the hub and its revision.

    Raises: LoadError: as `folder_for`; two revisions; a revision of what has none: a folder, a fetched model, an
        organism.
    """
    text, short = os.fspath(PathLike().of(name, argument, LoadError, _WAYS)), None
    if "@" in text and not os.path.exists(expanded(text)) and not text.startswith((".", "/", "~", ORGANISM)):
        text, _, short = text.rpartition("@")
        if not text or not short:
            raise LoadError(f"{argument}={os.fspath(name)!r}: expected a name of the hub, '@' and a revision of it")
        if revision is not None and revision != short:
            raise LoadError(
                f"revision={revision!r} and {argument}={os.fspath(name)!r} ask for two revisions; give one of them"
            )
    folder = folder_for(text, argument)
    asked = short if revision is None else revision
    if asked is not None and folder is not None:
        raise LoadError(
            f"revision={asked!r}: {argument}={text!r} is a folder ({folder}), which has no revisions; leave the"
            " revision out, or give the name that the model has on the hub."
        )
    return Named(text, folder, asked)


def configuration(folder: Path) -> dict[str, Any]:
    """The entries of a folder's config.json. Raises: LoadError: it cannot be read."""
    read: dict[str, Any] = reading.json_file(folder / "config.json", lambda said: LoadError(f"{folder}: {said}"))
    return read
