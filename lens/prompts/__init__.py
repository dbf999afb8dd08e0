"""Prompts as the engine reads them: clean/corrupted pairs, their tokens, their answers and their named positions.

A `Pair` is text; `encode` turns it into token ids with whichever tokenizer the model carries. Nothing is added to a
prompt behind the reader's back: a start token is literal text in `Pair.start`.
"""

from __future__ import annotations

from ..tokens import PromptError, token_id, token_strings, tokenizer_of
from .alignment import Align, Match, Side, matches
from .encoding import EncodedPair, continuation, encode, encode_all, first_difference, span_tokens
from .pair import Pair
from .positions import resolve_positions
from .shipped import load_pairs, pair_from_record

__all__ = [
    "Align",
    "EncodedPair",
    "Match",
    "Pair",
    "PromptError",
    "Side",
    "encode",
    "encode_all",
    "load_pairs",
    "matches",
    "resolve_positions",
    "token_id",
    "token_strings",
    "tokenizer_of",
]
