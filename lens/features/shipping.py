"""The dictionaries that ship with the package, each a folder that `save` wrote, found by its name."""

from __future__ import annotations

from pathlib import Path

from .errors import FeatureError
from .formats.own import CARD

#: What stands before the name of one that ships.
PREFIX = "features:"
FOLDER = Path(__file__).parent / "shipped"


def shipped() -> list[str]:
    """The names of the dictionaries that ship with the package; load one as `lens.features.load("features:<name>")`."""
    return sorted(card.parent.name for card in FOLDER.glob(f"*/{CARD}"))


def folder_of(name: str) -> Path:
    """The folder of a dictionary that ships, by its name behind "features:".

    Raises:
        FeatureError: there is none; the message has the names.
    """
    short = name.removeprefix(PREFIX)
    if short not in (there := shipped()):
        raise FeatureError(
            f"folder={name!r}: no dictionary of this name ships with the package; there are:"
            f" {', '.join(PREFIX + one for one in there) or 'none yet'}"
        )
    return FOLDER / short
