"""The start token: which one a model reads first, for every family alike, and a prompt's tokens behind it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from lens.arguments import Token, door, tried, unfit
from lens.notices import warn
from lens.tokens import PromptError, require_known, token_id, token_strings, tokenize, tokenizer_of

from .chat import Chat, as_chat, is_messages
from .rendering import render

#: The token between documents in many vocabularies.
BETWEEN = "<|endoftext|>"
#: Tokenizers whose start token a prompt lacked, and whose user was told so.
_TOLD: weakref.WeakSet[Any] = weakref.WeakSet()


@door(PromptError)
def start_token(model: Any, start: Token | None = "auto") -> int | None:
    """The id of the token to put before a text, or None for none.

    "auto", in this order: the token that the model's own tokenizer puts before every text, as in training; the one
    between documents, ``<|endoftext|>``, where the vocabulary has it (a chat model's ``bos_token`` may open a turn
    instead); as "bos". "bos": the tokenizer's start token, else the configuration's; None where neither has one. Else
    one token, as text or id.

    Raises: PromptError: not exactly one token of the vocabulary.
    """
    if start is None:
        return None
    tokenizer = _tokenizer(model)
    if start == "auto":
        for known in (added_start(tokenizer), _between(tokenizer)):
            if known is not None:
                return known
    if start in ("auto", "bos"):
        own = getattr(tokenizer, "bos_token_id", None)
        if own is None:
            config = getattr(getattr(model, "original_model", model), "config", None)
            own = getattr(getattr(config, "get_text_config", lambda: config)(), "bos_token_id", None)
        own = own[0] if isinstance(own, list | tuple) and own else own
        return own if isinstance(own, int) and 0 <= own < vocabulary(model) else None
    try:
        if isinstance(start, str):
            return token_id(model, start)
    except PromptError as error:
        raise PromptError(f"start: {error}") from None
    if not 0 <= start < (size := vocabulary(model)):
        raise PromptError(f"start={start} is not a token; this model has ids 0 to {size - 1}.")
    return int(start)


def start_of_rows(model: Any) -> int | None:
    """The token before rows that are scored: as `start_token`, but where a model's tokenizer knows none there is none,
    since many configurations name one that was never trained.
    """
    tokenizer = _tokenizer(model)
    own = tokenizer is None or getattr(tokenizer, "bos_token_id", None) is not None
    return start_token(model) if own or added_start(tokenizer) is not None or _between(tokenizer) is not None else None


def vocabulary(model: Any) -> int:
    """How many tokens the model's embedding has, or its tokenizer where that is all there is."""
    core = getattr(model, "original_model", model)
    if hasattr(core, "get_input_embeddings"):
        return int(core.get_input_embeddings().weight.shape[0])
    return len(tokenizer_of(model))


def added_start(tokenizer: Any) -> int | None:
    """The id of the special token that a tokenizer puts before every text by itself; None where it puts none.

    What is trained with its tokenizer's defaults has seen this token first in every document.
    """
    if tokenizer is None:
        return None
    try:
        plain, ids = tokenize(tokenizer, "a"), list(tokenizer("a", verbose=False)["input_ids"])
    except Exception:  # a tokenizer of another library that cannot be asked this way
        return None
    added = len(ids) > len(plain) and ids[:1] != plain[:1] and ids[0] in getattr(tokenizer, "all_special_ids", ())
    return ids[0] if added else None


def warn_without_start(model_or_tokenizer: Any, ids: Sequence[int] | Tensor) -> None:
    """Warns, once a tokenizer, where a prompt lacks the start token with which the model was trained."""
    tokenizer = _tokenizer(model_or_tokenizer)
    if tokenizer is None or tokenizer in _TOLD or not len(ids):
        return
    own = added_start(tokenizer)
    if own is None or int(ids[0]) == own:
        return
    _TOLD.add(tokenizer)
    name, first = token_strings(tokenizer, [own, int(ids[0])])
    warn(
        f"a prompt begins with {first!r}, but this model's tokenizer puts {name!r} before every text, as in training:"
        f" without it the model may do something else; give Pair(..., start={name!r}), or begin the text with it"
    )


@door(PromptError)
def prompt_ids(
    model: Any, prompt: Any, start: Token | None = "auto", name: str = "prompt"
) -> Int64[Tensor, " position"]:
    """A prompt's tokens as the model reads them.

    Args:
        model: with its tokenizer; a tokenizer alone serves for what needs no configuration.
        prompt: text, which gains the start token; a chat (a `Chat` or its list of messages) by the tokenizer's own
            template, which brings its own; token ids, as they are.
        start: see `start_token`; of text alone.
        name: what errors call the prompt.

    Raises: PromptError: neither of these, ids outside the vocabulary, no text, a word that the tokenizer does not know.
    """
    if isinstance(prompt, Chat) or is_messages(prompt):
        rendered = render(model, as_chat(prompt)).text
        ids = tokenize(tokenizer_of(model), rendered)
        require_known(tokenizer_of(model), rendered, ids, name)
        warn_without_start(model, ids)
        return torch.tensor(ids)
    if isinstance(prompt, str):
        if not prompt.strip():
            raise PromptError(unfit(name, prompt, "text that is more than spaces"))
        tokenizer, first = tokenizer_of(model), start_token(model, start)
        ids = tokenize(tokenizer, prompt)
        require_known(tokenizer, prompt, ids, name)
        return torch.tensor(([] if first is None else [first]) + ids)
    size, expected = vocabulary(model), "text, a chat or token ids"
    given = tried(lambda ids: np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids), prompt)
    if given is None:
        raise PromptError(unfit(name, prompt, expected))
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= size:
        raise PromptError(unfit(name, prompt, f"{expected}, at least one, each from 0 to {size - 1}"))
    return torch.from_numpy(given.astype(np.int64))


def _tokenizer(model: Any) -> Any:
    try:
        return tokenizer_of(model)
    except PromptError:
        return None


def _between(tokenizer: Any) -> int | None:
    if tokenizer is None:
        return None
    token = tokenizer.convert_tokens_to_ids(BETWEEN)
    # a word that is not in the vocabulary has the id of the unknown token
    return token if token is not None and tokenizer.convert_ids_to_tokens(token) == BETWEEN else None
