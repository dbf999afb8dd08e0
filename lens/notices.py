"""Warnings that name the person's own line."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["warn"]

#: Packages whose frames may lie between a person's line and the one that warns.
_BETWEEN = ("lens", "widgets", "contextlib", "torch.utils._contextlib")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """As ``warnings.warn``, at the nearest line on the stack that is not of this package.

    Python shows a text once a line: one that pointed into the package would be shown for the first of all calls alone.
    """
    level = 1
    frame: FrameType | None = sys._getframe(0)
    while frame is not None and _ours(frame.f_globals.get("__name__") or ""):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _ours(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in _BETWEEN)
