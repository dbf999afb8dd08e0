"""The fields of pairs in rows of data: which column holds which, and what a row lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from lens.arguments import shown
from lens.records import Row, rows
from lens.tokens import PromptError

from .chat import Chat, is_messages

NEEDED, MORE = ("clean", "corrupted", "answer"), ("foil", "start", "label")


def refuse(said: str) -> PromptError:
    """The error of rows that are no prompts."""
    return PromptError(f"records: {said}")


def pair_fields(
    source: Any, columns: Mapping[str, str] | None, spans: Mapping[str, str] | None, limit: int | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands, and the fields of its pair.

    Raises: PromptError: a column for what is no field, a row that lacks one or holds something else there.
    """
    names = column_names(columns, (*NEEDED, *MORE, "spans"))
    for row in islice(rows(source, refuse, [names[field] for field in NEEDED]), limit):
        of: dict[str, Any] = {field: _prompt(row, names[field]) for field in NEEDED[:2]}
        of["answer"] = row.text(names["answer"])
        of |= {field: value for field in MORE if (value := row.optional(names[field])) is not None}
        known = row.get(names["spans"]) or {}
        if not isinstance(known, Mapping):
            raise row.fault(names["spans"], f"holds {shown(known)} where an object of names and parts was expected")
        parts = {name: tuple(part) if isinstance(part, list) else part for name, part in known.items() if part}
        for name, column in (spans or {}).items():
            if (part := row.optional(column)) is not None:
                parts[name] = part
            elif column not in row:
                raise row.fault(column, f"is not there, of which spans={{{name!r}: {column!r}}} is made")
        yield row.place, of | {"spans": parts}


def column_names(columns: Mapping[str, str] | None, fields: tuple[str, ...]) -> dict[str, str]:
    """The column of each field; its own name where nothing is said. Raises: PromptError: no such field."""
    if unknown := [name for name in columns or {} if name not in fields]:
        raise refuse(
            f"columns has {shown(unknown[0])}, which is none of {', '.join(fields)}; it names a field's column"
        )
    return {field: (columns or {}).get(field, field) for field in fields}


def _prompt(row: Row, column: str) -> str | Chat:
    """A text, or a chat of its messages."""
    value = row[column]
    if isinstance(value, Mapping) and "messages" in value:
        return Chat.from_record(value)
    return Chat(value) if is_messages(value) else row.text(column)
