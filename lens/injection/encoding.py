"""Items as one model's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..arguments import HFModel, Token, door
from ..prompts import Chat, PromptError, continuation, located, render, span_tokens, start_token
from ..tokens import offsets, require_known, tokenize, tokenizer_of
from .items import InjectionError, Item


@dataclass(frozen=True)
class EncodedItem:
    """An item as one model's tokens.

    `ids`, `explicit_ids` hold the prompts with the start token, `[length]`; `answer_ids` what follows both. `positions`
    names token positions of `ids`: "all", "last", "not_first" (all but the start token, in a chat the first token) and,
    where the item has a subject, "subject".
    """

    item: Item
    ids: Tensor
    explicit_ids: Tensor
    answer_ids: tuple[int, ...]
    positions: Mapping[str, tuple[int, ...]]


@door(InjectionError)
def encode_items(model: HFModel, items: Item | Sequence[Item], *, start: Token | None = "auto") -> list[EncodedItem]:
    """Tokenises items for a model; `start` is "auto", "bos", one token as text or id, or None (see
    `lens.prompts.start_token`), put before texts: a chat's template brings its own.

    Raises InjectionError, which names the item, for an answer that merges with a prompt or splits differently after the
    two prompts, and for a chat that the model's template does not take.
    """
    items = [items] if isinstance(items, Item) else list(items)
    if not items:
        raise InjectionError("items=[] holds no item; give at least one lens.injection.Item.")
    tokenizer, first = tokenizer_of(model), start_token(model, start)
    lead = [] if first is None else [first]
    out = []
    for number, item in enumerate(items):
        try:
            out.append(_encoded(tokenizer, item, [] if isinstance(item.prompt, Chat) else lead))
        except PromptError as error:
            raise InjectionError(f"items[{number}]{f' ({item.label})' if item.label else ''}: {error}") from None
    return out


def _encoded(tokenizer: Any, item: Item, lead: list[int]) -> EncodedItem:
    prompts, answers = {}, {}
    rendered = {name: render(tokenizer, getattr(item, name)) for name in ("prompt", "explicit")}
    for name, text in ((name, one.text) for name, one in rendered.items()):
        prompts[name] = tokenize(tokenizer, text)
        require_known(tokenizer, text, prompts[name], name)
        answers[name] = continuation(tokenizer, text, prompts[name], item.answer, "answer", name)
    if answers["prompt"] != answers["explicit"]:
        raise PromptError(
            f"answer: {item.answer!r} splits differently after `prompt` and after `explicit`; end both with the same"
            " word"
        )
    n, first = len(prompts["prompt"]) + len(lead), len(lead) or int(isinstance(item.prompt, Chat))
    positions = {
        "all": tuple(range(n)),
        "last": (n - 1,),
        "not_first": tuple(range(min(first, n - 1), n)),
    }
    if item.subject is not None:
        text, span = rendered["prompt"].text, located(item.prompt, rendered["prompt"], item.subject)
        assert span is not None  # an item says its subject
        covered = span_tokens(text, span, offsets(tokenizer, text, prompts["prompt"]))
        positions["subject"] = tuple(place + len(lead) for place in covered)
    return EncodedItem(
        item,
        torch.tensor(lead + prompts["prompt"]),
        torch.tensor(lead + prompts["explicit"]),
        answers["prompt"],
        positions,
    )
