"""The rows of the study: text that is a chain of words, and lists that are a random period again and again. Every row
is drawn, so that rows that are new are new.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ...training import Rows

#: Words, beside the start token, which is 0; tokens of a row after it; successors of a word; the period of a list.
WORDS, LENGTH, BRANCH, SHORT, LONG = 64, 64, 8, 8, 24
#: How the next word of a text comes about: after the last word, after the last but one, by itself.
LAST, BEFORE = 0.6, 0.3
#: Share of rows that are lists.
LISTS = 0.7
#: What a predicted token is.
TEXT, FIRST_PERIOD, SEEN = 0, 1, 2


class Drawn(NamedTuple):
    """Rows and what each of their tokens is: [n, 1 + LENGTH], `TEXT`, `FIRST_PERIOD` or `SEEN`."""

    rows: Rows
    kinds: Tensor


@cache
def chain() -> tuple[Tensor, Tensor]:
    """The successors of each word, by the last word and by the last but one: [WORDS, BRANCH] twice, the likeliest
    first; one language for all seeds.
    """
    generator = torch.Generator().manual_seed(1000)
    zipf = 1 / torch.arange(1, WORDS + 1).float()
    tables = [
        torch.multinomial(zipf.expand(WORDS, -1), BRANCH, generator=generator)[
            :, torch.randperm(BRANCH, generator=generator)
        ]
        for _ in range(2)
    ]
    return tables[0], tables[1]


def draw(count: int, seed: int, lists: float = LISTS) -> Drawn:
    """So many rows of the mixture, or with another share of lists."""
    generator = torch.Generator().manual_seed(seed)
    length = LENGTH + 1
    which = torch.rand(count, length, generator=generator)
    rank, zipf = (1 / torch.arange(1, n + 1).float() for n in (BRANCH, WORDS))

    def weighted(weights: Tensor) -> Tensor:
        return torch.multinomial(weights, count * length, True, generator=generator).view(count, length)

    after, before = weighted(rank), weighted(rank)
    ids = weighted(zipf)
    one, two = chain()
    for at in range(3, length):
        step = torch.where(which[:, at] < LAST, one[ids[:, at - 1], after[:, at]], two[ids[:, at - 2], before[:, at]])
        ids[:, at] = torch.where(which[:, at] < LAST + BEFORE, step, ids[:, at])
    place = torch.arange(length)[None]
    listed = torch.rand(count, 1, generator=generator) < lists
    period = torch.randint(SHORT, LONG + 1, (count, 1), generator=generator)
    words = torch.rand(count, WORDS, generator=generator).argsort(1)[:, :LONG]
    ids = 1 + torch.where(listed, words.gather(1, (place - 1) % period), ids)
    ids[:, 0] = 0
    kinds = torch.where(listed, FIRST_PERIOD + (place > period + 1).long(), TEXT)
    return Drawn(Rows.full(ids), kinds)


def twice(count: int, seed: int) -> Tensor:
    """Rows of different random words, twice over after the start token: [count, LENGTH - 1]."""
    half = (LENGTH - 2) // 2
    generator = torch.Generator().manual_seed(seed)
    once = 1 + torch.rand(count, WORDS, generator=generator).argsort(1)[:, :half]
    return torch.cat([torch.zeros(count, 1, dtype=torch.long), once, once], 1)
