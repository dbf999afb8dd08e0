"""Tokens and numbers as a page can carry them."""

from __future__ import annotations

import html
import math
from typing import Any


def finite(value: Any) -> float | None:
    """A float that JSON can carry: NaN and infinities become None."""
    number = float(value)
    return number if math.isfinite(number) else None


def visible(token: str) -> str:
    """A token as a person can read it, as in `text.js`: spaces and control characters get a visible sign."""
    if token == "":
        return "∅"
    signs = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": ""}
    return "".join(signs.get(c, c if c.isprintable() else f"‹{ord(c):04x}›") for c in token)


def escaped(token: str) -> str:
    """`visible`, safe inside HTML."""
    return html.escape(visible(token))
