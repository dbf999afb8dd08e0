"""What is written on from: one prompt or many, as the model's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ...arguments import shown, tried, unfit
from ...arguments.kinds import is_sequence
from ...errors import Error
from ...prompts import Chat, PromptError, is_messages, prompt_ids
from ..lengths import require_readable


class GenerationError(Error, ValueError):
    """What cannot be written on from, or how; the message names the argument, its value and what was expected."""


def read_prompts(model: Any, prompts: Any, start: Any) -> tuple[bool, list[Int[Tensor, " length"]]]:
    """Whether one prompt was given, and the tokens of each.

    Raises: GenerationError: none, what is no prompt, a word that the tokenizer does not know, a chat that has no
        template.
    """
    one = tried(is_one, prompts)
    if not one and not tried(is_sequence, prompts):
        raise GenerationError(unfit("prompts", prompts, "text, token ids, a chat, or a list of them"))
    listed = [prompts] if one else prompts
    if not len(listed):
        raise GenerationError(f"prompts={shown(prompts)} holds none; give at least one.")
    return one, [_ids(model, p, start, "prompts" if one else f"prompts[{i}]") for i, p in enumerate(listed)]


def is_one(prompts: Any) -> bool:
    """Whether it is a single prompt: text, one row of ids, a chat or its messages, or something with ids of its own."""
    if isinstance(prompts, str | Mapping | Chat) or hasattr(prompts, "ids") or is_messages(prompts):
        return True
    if getattr(prompts, "ndim", None) is not None:
        return int(prompts.ndim) == 1
    if isinstance(prompts, list | tuple) and prompts:
        first = prompts[0]
        return hasattr(first, "__index__") and getattr(first, "ndim", 0) == 0
    return False


def _ids(model: Any, prompt: Any, start: Any, name: str) -> Tensor:
    try:
        return prompt_ids(model, tried(_own_ids, prompt), start, name)
    except PromptError as error:
        raise GenerationError(str(error)) from None


def _own_ids(prompt: Any) -> Any:
    return getattr(prompt, "ids", prompt)


def require_room(hf: Any, prompts: list[Tensor], most: int) -> None:
    """Refuses prompts that the model cannot read, with the new tokens. Raises: GenerationError."""
    for i, ids in enumerate(prompts):
        require_readable(hf, int(ids.max()), len(ids), GenerationError, f"prompts[{i}]")
        # the newest token is read by no one
        require_readable(
            hf, int(ids.max()), len(ids) + most - 1, GenerationError, f"prompts[{i}] with max_new_tokens={most}"
        )
