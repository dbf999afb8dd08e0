"""What is added to a run that a tracker keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Tracked:
    """What is added to a run: its name, the folder with the result and its record, what one filters results by, the
    sizes of its axes, and the variables that are one number each.
    """

    name: str
    folder: Path
    facts: Mapping[str, Any]
    sizes: Mapping[str, int]
    numbers: Mapping[str, float]
