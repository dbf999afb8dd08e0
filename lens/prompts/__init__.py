"""Prompts as the engine reads them: clean/corrupted pairs, their tokens, their answers and their named positions.

A `Pair` is text, or two chats; `encode` turns it into token ids with whichever tokenizer the model carries. Nothing is
added to a prompt behind the reader's back: a start token is literal text in `Pair.start`, and the text that a chat
becomes is there to read. `start_token` says for every family which token a model reads first.
"""

from __future__ import annotations

from ..tokens import PromptError, token_id, token_strings, tokenizer_of
from .alignment import Align, Match, Side, matches
from .chat import DATE, Chat, Message, as_chat, is_messages
from .encoding import EncodedPair, chat_positions, continuation, encode, encode_all, first_difference, span_tokens
from .pair import Pair
from .positions import resolve_positions
from .records import column_names
from .rendering import Rendered, located, render
from .shipped import load_pairs, pair_from_record
from .start import prompt_ids, start_of_rows, start_token, warn_without_start

__all__ = [
    "Align",
    "Chat",
    "EncodedPair",
    "Match",
    "Message",
    "Pair",
    "PromptError",
    "Rendered",
    "as_chat",
    "encode",
    "encode_all",
    "load_pairs",
    "matches",
    "prompt_ids",
    "render",
    "resolve_positions",
    "start_token",
    "token_id",
    "token_strings",
    "tokenizer_of",
]
