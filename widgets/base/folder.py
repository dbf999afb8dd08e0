"""The folder in which a view keeps what it computed."""

from __future__ import annotations

import tempfile
from typing import Any


def folder_for(view: Any, given: Any, what: str) -> Any:
    """The folder given; without one, a temporary folder for the life of the view."""
    if given is not None:
        return given
    view._folder = tempfile.TemporaryDirectory(prefix=f"mnemoscope-{what}-", ignore_cleanup_errors=True)
    return view._folder.name
