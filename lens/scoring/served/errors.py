"""The one error of a served model, and a server's own words as they may be shown."""

from __future__ import annotations

from typing import Any

from ...reading import Fault, value
from ..causal import ScoringError

#: Characters of what a server says that are shown.
_SHOWN = 200


class ServedError(ScoringError):
    """A server that cannot be asked, or whose answer cannot be used; the message names it, what is wrong and the next
    step.
    """


def said(content: bytes, key: str | None = None) -> str:
    """What a server says, on one line, short, and without the key: the message of an error in JSON, else the text."""
    message: Any = content.decode("utf-8", "replace")
    try:
        parsed = value(content, dict)
        inner = parsed.get("error", parsed)
        message = (
            inner if isinstance(inner, str) else next(filter(None, map(inner.get, ("message", "detail"))), message)
        )
    except (Fault, AttributeError):
        pass
    message = str(message)
    if key:
        message = message.replace(key, "[the key]")
    # what would move a terminal's cursor is no text
    message = " ".join("".join(one if one.isprintable() else " " for one in message).split())
    return message if len(message) <= _SHOWN else f"{message[: _SHOWN - 3]}..."
