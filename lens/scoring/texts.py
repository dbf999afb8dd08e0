"""Rows to score from data as people have it: texts and token ids of a dataset, a frame or a file, each with its number
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np

from lens import records
from lens.arguments import Count, Name, Size, door, shown
from lens.scoring.causal import ScoringError

#: Texts that are tokenised together.
BLOCK = 1024


@door(ScoringError)
@dataclass(frozen=True, eq=False)
class Rows(Sequence[np.ndarray]):
    """Token ids of rows, and `row_ids` [n]: the number of each in its source, from 0, which `score` takes as its id."""

    tokens: Sequence[np.ndarray]
    row_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Rows:
        if isinstance(index, slice):
            return Rows(self.tokens[index], self.row_ids[index])
        return self.tokens[index]


@door(ScoringError)
def from_records(
    source: Any, tokenizer: Any, *, column: Name = "text", start: Size = 0, limit: Count | None = None
) -> Rows:
    """The rows of any source that `lens.records` reads (a list, a frame, a dataset of Hugging Face, streaming or not, a
    CSV, JSONL, JSON or Parquet file), as `score` takes them.

    Args:
        tokenizer: the model's, or a loaded model that has one. No start token is added: `score` puts it there.
        column: of texts, or of lists of token ids, which stay as they are.
        start, limit: how many rows at the beginning are passed over, and how many at most are read after them. A row's
            id is its number in the whole source: so a stream that ended in the middle goes on with `start`, and a
            `store` of `score` knows what it has.

    Raises: ScoringError: the source is none, or a row holds neither a text nor token ids; the message names file, line
        and column.
    """
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    if not callable(tokenizer):
        raise ScoringError(f"tokenizer={shown(tokenizer)} is no tokenizer; give the model's own, or the loaded model.")
    tokens: list[np.ndarray] = []
    numbers: list[int] = []
    rows = records.rows(source, lambda said: ScoringError(f"source: {said}"), (column,), start=start)
    rows = islice(rows, limit)
    while block := list(islice(rows, BLOCK)):
        numbers += [row.number for row in block]
        texts = [row.text(column) for row in block if isinstance(row[column], str)]
        ids = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else ())
        tokens += [
            np.asarray(next(ids), np.int64) if isinstance(row[column], str) else _ids(row, column) for row in block
        ]
    return Rows(tokens, np.array(numbers, np.int64))


def _ids(row: records.Row, column: str) -> np.ndarray:
    value = row[column]
    if not isinstance(value, list) or not all(type(one) is int and 0 <= one < 2**31 for one in value):
        raise row.fault(column, f"holds {shown(value)}; expected a text or a list of token ids")
    return np.array(value, np.int64)
