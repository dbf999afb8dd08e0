"""Captions as the token ids that a text encoder reads."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ..arguments import unfit
from .arguments import Captions, texts_of
from .errors import DiffusionError


def token_ids(captions: Captions, tokenizer: Any, longest: int, name: str) -> Int[Tensor, "n length"]:
    """Token ids of captions, padded to the encoder's length.

    Args:
        longest: positions of the text encoder. name: of the pipeline, for errors.

    Raises: DiffusionError: no caption, one that is no text, one longer than the encoder's limit, a word that the
        tokenizer has no id for.
    """
    texts = texts_of(captions)
    if not texts:
        raise DiffusionError(unfit("captions", texts, "at least one text"))
    limit = int(min(tokenizer.model_max_length, longest))
    rows = tokenizer([spelled_out(caption, tokenizer) for caption in texts], truncation=False)["input_ids"]
    for caption, row in zip(texts, rows):
        if len(row) > limit:
            raise DiffusionError(
                f"captions: {caption[:80]!r} has {len(row)} tokens with its start and end; the text encoder takes"
                f" {limit}. Shorten it."
            )
        unknown = tokenizer.unk_token_id
        if unknown is not None and unknown != tokenizer.eos_token_id and unknown in row:
            raise DiffusionError(
                f"captions: {caption[:80]!r} has a word that {name} was never told; use the words of its captions."
            )
    pad = tokenizer.pad_token_id
    return torch.tensor([row + [pad] * (limit - len(row)) for row in rows])


def spelled_out(caption: str, tokenizer: Any) -> str:
    """A caption with each learned word of several vectors (textual inversion) as all of its tokens, `<word> <word>_1
    <word>_2`, as diffusers' pipelines write it.
    """
    added = getattr(tokenizer, "added_tokens_encoder", {})
    for token in [token for token in added if f"{token}_1" in added and token in tokenizer.tokenize(caption)]:
        parts = [token]
        while f"{token}_{len(parts)}" in added:
            parts.append(f"{token}_{len(parts)}")
        caption = caption.replace(token, " ".join(parts))
    return caption
