"""What lies beside an edited model that was saved (`lens.save_model`): one JSON file that says which edits are in its
weights, and of which files that is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens import files, reading
from lens.cache import LoadError

from ..notices import warn

NAME = "mnemoscope.json"
SCHEMA = 1
#: What of the record later results tell.
_TOLD = ("edits", "of", "weights")


def digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of weights in a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Puts a record beside the weights in a folder."""
    files.write_json(folder / NAME, {"schema": SCHEMA, **record, "files": digests_of(folder)}, default=str)


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """The edits that the weights of a folder have, as results tell them; None where nothing says so. Costs a reading of
    the weights' files.

    Where the weights are not those that the record is of, a warning says so and there is None. Raises: LoadError: a
    record that cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    record = reading.json_file(path, lambda said: LoadError(f"name={name!r}: {said}"))
    if record.get("schema") != SCHEMA or not isinstance(record.get("edits"), list):
        raise LoadError(
            f"name={name!r}: {path} has schema {record.get('schema')!r}, expected {SCHEMA} with a list of edits; it was"
            " written by another version. Move it away to load the weights without their record."
        )
    if record.get("files") != digests_of(folder):
        warn(
            f"model {name!r}: its weights are not those that {path.name} beside them is of, so that the edits it tells"
            " are not noted; they were written anew since. Move the file away."
        )
        return None
    return {key: record[key] for key in _TOLD if key in record}
