"""The pairs that a stored result was computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lens.prompts import Chat


def pair_from(known: Mapping[str, Any], pair_type: Any, prompt: int = 0) -> Any:
    """One pair of a result's record; None where it does not say."""
    pairs = known.get("pairs") or []
    if prompt >= len(pairs):
        return None
    names = {f.name for f in fields(pair_type)}
    return pair_type(
        **{
            name: _spans(value)
            if name in ("spans", "corrupted_spans")
            else Chat.from_record(value)
            if isinstance(value, Mapping)
            else value
            for name, value in pairs[prompt].items()
            if name in names
        }
    )


def _spans(spans: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in (spans or {}).items()}
