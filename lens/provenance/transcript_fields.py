"""What a transcript's fields may hold, and in which form: positions, rows of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arguments import Text, unfit
from .arguments import array
from .errors import ProvenanceError

_ROWS = (
    "rows of tokens: an integer array [n, length], a list of integer arrays or of texts, or a reader with __len__ and"
    " __getitem__"
)


def positions_of(position: Any, kind: str) -> np.ndarray:
    """Positions [rows] or [rows, epochs], finite and of their kind. Raises ProvenanceError."""
    values = array(
        position, "position", "one number for each row, [rows] or [rows, epochs], NaN nowhere", dtype=np.float64
    )
    if values.ndim not in (1, 2) or values.size == 0:
        raise ProvenanceError(
            f"position has shape {values.shape}; expected [rows] or [rows, epochs] with at least one row"
        )
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    bad = ~np.isfinite(values)
    if bad.any():
        raise ProvenanceError(
            f"position is missing in {int(bad.sum())} places, first in row {int(np.argwhere(bad)[0][0])}; expected a"
            " finite number for each row. Leave rows without a known position out, all of them"
        )
    if kind == "key":
        if (outside := (values <= 0) | (values >= 1)).any():
            raise ProvenanceError(
                f"position has the key {values[outside][0]:g}; expected keys strictly between 0 and 1, independent and"
                " uniform. Use kind='rank' for ranks"
            )
    elif (broken := values != np.round(values)).any():
        raise ProvenanceError(
            f"position has {values[broken][0]:g}, which is not a whole number as kind={kind!r} needs; use kind='key'"
            " for random keys in (0, 1)"
        )
    return values


def refuse_repeats(position: np.ndarray, group: np.ndarray) -> None:
    """Raises ProvenanceError where two rows of one group have the same rank."""
    for column in position.reshape(len(position), -1).T:
        order = np.lexsort((column, group))
        same = (np.diff(column[order]) == 0) & (np.diff(group[order]) == 0)
        if same.any():
            at = order[np.flatnonzero(same)[0]]
            raise ProvenanceError(
                f"position {column[at]:g} is there more than once ({int(same.sum())} repeats); ranks of one group are"
                " all different. Use kind='step' where rows share a step"
            )


def rows_of(tokens: Any) -> Any:
    """Rows in one of the three forms: an array, a list of arrays or texts, a reader; empty rows refused where they are
    in memory.
    """
    try:
        if hasattr(tokens, "detach"):
            tokens = array(tokens, "tokens", _ROWS, "iu")
        reader = not isinstance(tokens, (np.ndarray, Sequence))
        fits = (
            hasattr(tokens, "__getitem__") and not isinstance(tokens, (type, Mapping)) and len(tokens) >= 0
            if reader
            else not isinstance(tokens, (str, bytes, bytearray, memoryview, range)) and getattr(tokens, "ndim", 1) > 0
        )
    except Exception:  # an object may fail in any way
        fits = False
    if not fits:
        raise ProvenanceError(unfit("tokens", tokens, _ROWS))
    if reader:
        return tokens
    if isinstance(tokens, np.ndarray) and tokens.ndim == 2:
        if tokens.dtype.kind not in "iu":
            raise ProvenanceError(f"tokens has dtype {tokens.dtype}; expected integer token ids")
        if not tokens.shape[1]:
            raise ProvenanceError("tokens has rows of length 0; expected at least one token a row")
        return tokens
    rows = [
        _text(row, i) if isinstance(row, str) else array(row, f"tokens[{i}]", "a text, or a line of integer token ids")
        for i, row in enumerate(tokens)
    ]
    for i, row in enumerate(rows):
        if not isinstance(row, str) and row.ndim != 1:
            raise ProvenanceError(f"tokens: row {i} has shape {row.shape}; expected a line of integer token ids")
        if not len(row):
            raise ProvenanceError(
                f"tokens: row {i} is empty; expected at least one token a row. Leave empty rows out, all of them"
            )
        if isinstance(row, str) != isinstance(rows[0], str):
            raise ProvenanceError(
                f"tokens: row {i} is {'a text' if isinstance(row, str) else 'token ids'} and row 0 is not; expected all"
                " rows of one kind"
            )
        if not isinstance(row, str) and row.dtype.kind not in "iu":
            raise ProvenanceError(
                f"tokens: row {i} has shape {row.shape} and dtype {row.dtype}; expected a line of integer token ids"
            )
    return rows


def _text(row: str, i: int) -> str:
    return Text().of(row, f"tokens[{i}]", ProvenanceError)
