"""What a person asked last of each kind of view, kept from one session to the next in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens import files
from lens.cache import cache_dir
from lens.notices import warn
from widgets.errors import ViewError

FORMAT, VERSION = "mnemoscope input", 1
#: Bytes that an input may have: a longer one is of its kernel alone.
MOST_BYTES = 64_000


def place(view: str) -> Path:
    """The file of a kind of view."""
    return cache_dir() / "views" / "inputs" / f"{view}.json"


def read(view: str, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The last input of a kind of view, by the names of its fields; None where there is none. A file that holds
    something else is left out, with a notice.
    """
    path = place(view)
    try:
        if path.stat().st_size > 2 * MOST_BYTES:
            raise ViewError(f"{path.stat().st_size} bytes are too many")
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict) or (held.get("format"), held.get("version")) != (FORMAT, VERSION):
            raise ViewError("it is of another form")
        if not isinstance(fields := held.get("fields"), dict) or set(fields) != set(names):
            raise ViewError("its fields are other ones")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        warn(f"the last input of {view} was left out: {path} cannot be read ({error}); the next one replaces it")
        return None
    return fields


def write(view: str, fields: Mapping[str, Any]) -> None:
    """Keep an input for the next session. One that is too long, or that cannot be written, is left to this one, with a
    notice.
    """
    try:
        text = json.dumps({"format": FORMAT, "version": VERSION, "fields": dict(fields)}, allow_nan=False, indent=1)
        if len(text.encode()) > MOST_BYTES:
            raise ViewError(f"it has more than {MOST_BYTES:,} bytes")
        files.write(place(view), text + "\n", parents=True)
    except (files.FileError, OSError, TypeError, ValueError) as error:
        warn(f"the last input of {view} is kept until this session ends, not longer: {error}")
