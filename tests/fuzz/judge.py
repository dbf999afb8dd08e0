"""What became of a bad value."""

from __future__ import annotations

import re

import lens
from lens.engine.stopping import Stopped

OUTCOMES = ("accepted", "own_named", "own_unnamed", "builtin_named", "raw", "hang")
#: Words under which a message may name an argument whose values are of this name.
_ALSO = {"model_or_tokenizer": ("model", "tokenizer"), "ds": ("dataset", "result")}


def names(text: str, argument: str) -> bool:
    """Whether a message names the argument; one of several may be named in the singular (layers: layer=3)."""
    words = {argument, argument.removesuffix("s"), *_ALSO.get(argument, ())}
    return any(re.search(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9])", text) for word in words if word)


def _own_of_callback(error: BaseException) -> bool:
    """Whether a function that was given raised it: it then comes through as it is."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and at.tb_frame.f_code.co_name == "_raising"


def outcome(error: BaseException | None, argument: str) -> str:
    """One of `OUTCOMES` but "hang", of what a call raised."""
    if error is None or isinstance(error, Stopped) or _own_of_callback(error):
        return "accepted"
    try:
        text = str(error)
    except Exception:
        text = ""
    if isinstance(error, lens.Error):
        return "own_named" if names(text, argument) else "own_unnamed"
    return "builtin_named" if isinstance(error, (TypeError, ValueError)) and names(text, argument) else "raw"
