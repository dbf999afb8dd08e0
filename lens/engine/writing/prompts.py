"""What is written on from: one prompt or many, as the model's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...arguments import shown, tried, unfit
from ...arguments.kinds import is_sequence
from ...errors import Error
from ...tokens import PromptError, require_known, token_id, tokenize, tokenizer_of
from ..lengths import require_readable

_BETWEEN = "<|endoftext|>"


class GenerationError(Error, ValueError):
    """What cannot be written on from, or how; the message names the argument, its value and what was expected."""


def read_prompts(model: Any, prompts: Any, start: Any) -> tuple[bool, list[Int[Tensor, " length"]]]:
    """Whether one prompt was given, and the tokens of each.

    Raises: GenerationError: none, or what is no prompt; PromptError: a word that the tokenizer does not know.
    """
    one = tried(is_one, prompts)
    if not one and not tried(is_sequence, prompts):
        raise GenerationError(unfit("prompts", prompts, "text, token ids, or a list of them"))
    listed = [prompts] if one else prompts
    if not len(listed):
        raise GenerationError(f"prompts={shown(prompts)} holds none; give at least one.")
    return one, [_ids(model, p, start, "prompts" if one else f"prompts[{i}]") for i, p in enumerate(listed)]


def is_one(prompts: Any) -> bool:
    """Whether it is a single prompt: text, one row of ids, a chat's messages, or something with ids of its own."""
    if isinstance(prompts, str | Mapping) or hasattr(prompts, "ids"):
        return True
    if getattr(prompts, "ndim", None) is not None:
        return int(prompts.ndim) == 1
    if isinstance(prompts, list | tuple) and prompts:
        first = prompts[0]
        return isinstance(first, Mapping) or (hasattr(first, "__index__") and getattr(first, "ndim", 0) == 0)
    return False


def _ids(model: Any, prompt: Any, start: Any, name: str) -> Tensor:
    hf = getattr(model, "original_model", model)
    if not isinstance(prompt, str):
        size = len(hf.get_input_embeddings().weight)
        given = tried(_own_ids, prompt)
        try:
            ids = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
        except Exception:
            ids = np.zeros(0)
        if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= size:
            raise GenerationError(unfit(name, prompt, f"text or token ids, at least one, each from 0 to {size - 1}"))
        return torch.from_numpy(ids.astype(np.int64))
    if not prompt.strip():
        raise GenerationError(unfit(name, prompt, "text that is more than spaces"))
    tokenizer = tokenizer_of(model)
    read = tokenize(tokenizer, prompt)
    try:
        require_known(tokenizer, prompt, read, name)
    except PromptError as error:
        raise GenerationError(str(error)) from None
    first = _start(model, tokenizer, start)
    return torch.tensor(([] if first is None else [first]) + read)


def _own_ids(prompt: Any) -> Any:
    return getattr(prompt, "ids", prompt)


def _start(model: Any, tokenizer: Any, start: Any) -> int | None:
    if start is None:
        return None
    if start == "auto":
        between = tokenizer.convert_tokens_to_ids(_BETWEEN)
        if between is not None and tokenizer.convert_ids_to_tokens(between) == _BETWEEN:
            return int(between)
        start = "bos"
    if start == "bos":
        own = getattr(tokenizer, "bos_token_id", None)
        config = getattr(model, "original_model", model).config
        return own if own is not None else getattr(config, "bos_token_id", None)
    try:
        return token_id(model, start)
    except PromptError as error:
        raise PromptError(f"start: {error}") from None


def require_room(hf: Any, prompts: list[Tensor], most: int) -> None:
    """Refuses prompts that the model cannot read, with the new tokens. Raises: GenerationError."""
    for i, ids in enumerate(prompts):
        require_readable(hf, int(ids.max()), len(ids), GenerationError, f"prompts[{i}]")
        # the newest token is read by no one
        require_readable(
            hf, int(ids.max()), len(ids) + most - 1, GenerationError, f"prompts[{i}] with max_new_tokens={most}"
        )
