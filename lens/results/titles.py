"""What the kinds of result are called: whoever makes a kind gives it its title, and this module knows none.

A package of lens names the titles of its results in a file ``titles.json`` beside its modules, a JSON object from kind
to title; it is read without the package being imported, so that an old file is described without it. Anybody else's
code calls `register`. A result carries its title in its record, so that it is told where neither is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from ..arguments import Name, door
from .errors import ResultError

FILE = "titles.json"
#: Entry of a record: its kind and the title of that. Of a record that was made of another one it may be the other's.
ENTRY = "titled"
#: Characters of a title; what a file says beyond that is none.
LONGEST = 80

_registered: dict[str, str] = {}


@door(ResultError)
def register(kind: Name, title: Name) -> str:
    """Gives a kind of result its title, under which `lens.describe` and the notebook show it, and returns the kind:
    ``KIND = register("echo", "Echoes of a prompt")``.

    Raises: ResultError: the kind has another title already; a title of several lines or more than 80 characters.

    >>> register("an example", "An example")
    'an example'
    """
    if not _fits(title):
        raise ResultError(f"title={title!r}; expected one line of at most {LONGEST} characters.")
    known = _registered.get(kind) or shipped().get(kind)
    if known not in (None, title):
        raise ResultError(
            f"kind={kind!r} has the title {known!r} already; choose another name for this kind of result."
        )
    _registered[kind] = title
    return kind


def title_of(record: Mapping[str, Any]) -> str | None:
    """The title of a record's kind: as it is registered, else as the record itself has it, else None."""
    kind, title = record.get("kind"), record.get(ENTRY)
    if not isinstance(kind, str):
        return None
    own = title.get(kind) if isinstance(title, Mapping) else None
    return _registered.get(kind) or shipped().get(kind) or (own if _fits(own) else None)


def write(record: dict[str, Any]) -> None:
    """Puts the title into a record, in place of the one of another kind."""
    title = title_of(record)
    record.pop(ENTRY, None)
    if title is not None:
        record[ENTRY] = {record["kind"]: title}


@cache
def shipped() -> dict[str, str]:
    """The titles that the packages of lens name in their files."""
    return {kind: title for _, titles in files() for kind, title in titles.items()}


def files() -> Iterator[tuple[str, dict[str, str]]]:
    """Each package's name and titles."""
    for package in sorted(resources.files("lens").iterdir(), key=lambda entry: entry.name):
        if (package / FILE).is_file():
            yield package.name, json.loads((package / FILE).read_text(encoding="utf-8"))


def _fits(title: Any) -> bool:
    return isinstance(title, str) and 0 < len(title) <= LONGEST and title.isprintable()
