"""A transcript's rows in a model's own tokens: as they are where the tokenizer is the same, decoded and tokenised anew
where it is not.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lens.models.tokenizer import load_tokenizer

from .errors import ProvenanceError
from .transcripts import Transcript


def rows_for(
    model: Any, transcript: Transcript, index: np.ndarray, name: str, notes: dict[str, Any] | None = None
) -> list[np.ndarray]:
    """Token ids of rows as `model` reads them. Nothing here looks at positions.

    `notes` gathers over calls what must be said: texts by topic, and the counts `_rows`, `_inexact`, `_cut`.
    """
    notes = {} if notes is None else notes
    rows = transcript.rows(index)
    own = getattr(model, "tokenizer", None)
    if transcript.is_text:
        if own is None:
            raise ProvenanceError(
                f"{name} has no tokenizer and the transcript holds texts; give a model from lens.load, or a transcript"
                " of token ids"
            )
        return _cut(model, [_encode(own, text) for text in rows], name, notes)
    theirs = tokenizer_of(transcript.tokenizer)
    if theirs is None or own is None or same(theirs, own):
        _refuse_outside(model, rows, name)
        if (theirs is None) != (own is None):
            notes["tokenizer"] = (
                f"{name}: whether the transcript's token ids are of its tokenizer is not known (the"
                f" {'transcript names none' if theirs is None else 'model has none'}); they were used as they are"
            )
        return list(rows)
    texts = [
        theirs.decode(np.asarray(row).tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for row in rows
    ]
    notes["_rows"] = notes.get("_rows", 0) + len(rows)
    notes["_inexact"] = notes.get("_inexact", 0) + sum(
        not np.array_equal(_encode(theirs, text), row) for text, row in zip(texts, rows)
    )
    notes["tokenizer"] = (
        f"{name} has another tokenizer than the transcript: rows were decoded and tokenised anew;"
        f" {100 * notes['_inexact'] / notes['_rows']:.1f} % of {notes['_rows']} rows do not come back exactly through"
        " their own tokenizer (a row that starts or ends within a word). Decided without positions, so valid; power"
        " may be less"
    )
    return _cut(model, [_encode(own, text) for text in texts], name, notes)


@functools.lru_cache(maxsize=8)
def _named(name: str):
    return load_tokenizer(name, "the transcript's tokenizer", ProvenanceError)


def tokenizer_of(tokenizer: Any):
    """A transcript's tokenizer: itself, or loaded by its name; None where none was named."""
    return _named(tokenizer) if isinstance(tokenizer, str) else tokenizer


def same(a: Any, b: Any) -> bool:
    """Whether two tokenizers give every text the same ids: the same fast model, else the same vocabulary."""
    if a is b:
        return True
    return a.get_vocab() == b.get_vocab()


def _encode(tokenizer: Any, text: str) -> np.ndarray:
    return np.asarray(tokenizer.encode(text, add_special_tokens=False), dtype=np.int64)


def _config(model: Any):
    core = getattr(model, "original_model", model)
    return getattr(core, "config", None)


def _refuse_outside(model: Any, rows, name: str) -> None:
    size = getattr(_config(model), "vocab_size", None)
    if size is None or not len(rows):
        return
    most = int(rows.max()) if isinstance(rows, np.ndarray) else max(int(np.max(row)) for row in rows)
    if most >= size:
        raise ProvenanceError(
            f"the transcript has token id {most} and {name} knows {size} tokens; it was tokenised by another tokenizer."
            " Name it: Transcript(..., tokenizer='...')"
        )


def _cut(model: Any, rows: list, name: str, notes: dict[str, Any]) -> list:
    """Rows cut to the model's context where its own tokens made them longer."""
    most = getattr(_config(model), "max_position_embeddings", None) or max(map(len, rows), default=0)
    if long := sum(len(row) > most for row in rows):
        notes["_cut"] = notes.get("_cut", 0) + long
        notes["cut"] = (
            f"{name}: {notes['_cut']} rows were longer than its context of {most} tokens in its own tokens and were cut"
            " there"
        )
    return [row[:most] for row in rows]
