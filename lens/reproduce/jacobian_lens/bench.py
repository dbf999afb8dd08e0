"""Two-hop questions as a lens is asked of them: where their subject ends, which token their bridge is, a partner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ...injection import Item, load_items
from ...prompts import start_token
from ...tokens import tokenize, tokenizer_of
from ..errors import ReproduceError

SPLITS: tuple[Literal["select", "report"], ...] = ("select", "report")


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    Attributes: texts: that the lens is fitted on, None for all; length, skip: of `lens.jacobian_lens.fit`. items: of
        each half; edited: of the reported half, at most; None for all. draws: random
        lenses that places are read under, and random directions that each question is edited along.
    """

    texts: int | None = None
    length: int = 64
    skip: int = 16
    items: int | None = None
    edited: int | None = None
    draws: int = 10


@dataclass(frozen=True)
class Question:
    """One question: its half, its name and group, token ids, the position of its subject's last token, its bridge and
    answer as tokens, and the number of another question of its half and group with another bridge and answer, if any.
    """

    split: str
    item: str
    group: str
    entity: str
    ids: tuple[int, ...]
    subject: int
    bridge: int
    answer: int
    partner: int | None = None

    @property
    def tensor(self) -> Tensor:
        """Its ids."""
        return torch.tensor(self.ids)


def questions(model: Any, plan: Plan, items: Mapping[str, Sequence[Item]] | None = None) -> list[Question]:
    """The two-hop questions of both halves whose bridge and answer are one token each.

    Raises: ReproduceError: no such question in a half.
    """
    found: list[Question] = []
    for split in SPLITS:
        # in turn from each group, so that a part has all
        listed = load_items("own", split=split, limit=10_000) if items is None else items[split]
        half = [q for q in (_question(model, split, item) for item in listed) if q is not None][: plan.items]
        if not half:
            raise ReproduceError(
                f"model: none of the {len(listed)} questions of the half {split!r} has a bridge and an answer of one"
                " token each in its vocabulary; give a model with a larger one."
            )
        found += [replace(q, partner=_partner(half, i, len(found))) for i, q in enumerate(half)]
    return found


def _question(model: Any, split: str, item: Item) -> Question | None:
    tokenizer, start = tokenizer_of(model), start_token(model)
    if not item.subject or not isinstance(item.prompt, str):
        return None
    words = [tokenize(tokenizer, text) for text in (f" {item.memory}", item.answer, item.prompt)]
    bridge, answer, ids = words
    end = item.prompt.index(item.subject) + len(item.subject)
    before = tokenize(tokenizer, item.prompt[:end])
    if len(bridge) != 1 or len(answer) != 1 or not before or ids[: len(before)] != before:
        return None
    first = [] if start is None or ids[:1] == [start] else [start]
    at = len(first) + len(before) - 1
    return Question(split, item.label, item.group, item.memory, (*first, *ids), at, bridge[0], answer[0])


def _partner(half: Sequence[Question], i: int, offset: int) -> int | None:
    """The next question around, of the same group, with another bridge and another answer."""
    own = half[i]
    for step in range(1, len(half)):
        j = (i + step) % len(half)
        if half[j].group == own.group and half[j].bridge != own.bridge and half[j].answer != own.answer:
            return offset + j
    return None
