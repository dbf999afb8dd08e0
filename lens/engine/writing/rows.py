"""Rows of a batch from their prompts to their ends: which token comes next, and which rows go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..stopping import says_stop

#: Tokens beyond its own bytes among which a stop string is looked for.
_AROUND = 8


class Reader(Protocol):
    """What reads the texts of a batch: its written-out blocks, or the model's own forward."""

    def start(self, prompts: Sequence[Tensor], who: Sequence[int]) -> Tensor:
        """The logits after each prompt."""
        ...

    def step(self, new: Tensor, step: int, logits: Tensor) -> Tensor:
        """The logits after one more token of each row."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on."""
        ...


@dataclass
class Writing:
    """One text that is being written.

    Attributes:
        number: of the prompt. prompt: its tokens. draw: what its tokens are drawn by, None for the most likely.
        new: the new tokens. reason: why there are no more; while there may be, None. cut: characters of its text that
            come before a stop string.
    """

    number: int
    prompt: Tensor
    draw: torch.Generator | None = None
    new: list[int] = field(default_factory=list)
    reason: str | None = None
    cut: int | None = None


def streams(prompts: Sequence[Tensor], seed: int) -> list[torch.Generator]:
    """A stream of draws for each prompt, by the seed, its tokens and how many like it came before: the same whatever
    its neighbours.
    """
    out, count = [], dict[tuple[int, ...], int]()
    for prompt in prompts:
        ids = tuple(prompt.tolist())
        count[ids] = count.get(ids, -1) + 1
        digest = hashlib.sha256(repr((seed, ids, count[ids])).encode()).digest()
        out.append(torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1))
    return out


@dataclass(frozen=True)
class Ends:
    """What ends a text: tokens, strings in what is new, a number of tokens.

    Attributes: tokenizer: decodes, where there are strings.
    """

    tokens: frozenset[int]
    strings: tuple[str, ...]
    most: int
    tokenizer: Any = None

    def look(self, text: Writing) -> None:
        """Notes whether a text has ended, and why."""
        if text.new[-1] in self.tokens:
            text.reason = "end"
        elif self.strings and self._stopped(text):
            text.reason = "stop string"
        elif len(text.new) >= self.most:
            text.reason = "length"

    def _stopped(self, text: Writing) -> bool:
        around = max(len(s.encode()) for s in self.strings) + _AROUND
        if not any(s in self._decoded(text.new[-around:]) for s in self.strings):
            return False
        whole = self._decoded(text.new)
        at = [found for s in self.strings if (found := whole.find(s)) >= 0]
        if at:
            text.cut = min(at)
        return bool(at)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def write_rows(
    reader: Reader,
    texts: Sequence[Writing],
    ends: Ends,
    device: torch.device,
    *,
    temperature: float = 0.0,
    bias: Tensor | None = None,
    stop: Callable[[], bool] | None = None,
    on_tokens: Callable[[Iterable[tuple[int, int]]], None] | None = None,
) -> bool:
    """Writes some texts as one batch; a row that has ended leaves it. False where `stop` said so: rows then stand with
    what they have.

    Args:
        bias: what is added to the logits, ``[vocabulary]``, before a token is chosen.
        on_tokens: called with each step's new tokens, as text and token.
    """
    rows = list(texts)
    if says_stop(stop):
        return False
    logits = reader.start([t.prompt.to(device) for t in rows], [t.number for t in rows])
    for step in range(1, ends.most + 1):
        new = choose(logits if bias is None else logits.float() + bias, rows, temperature)
        for text, token in zip(rows, new):
            text.new.append(token)
            ends.look(text)
        if on_tokens is not None:
            on_tokens([(text.number, text.new[-1]) for text in rows])
        live = [i for i, text in enumerate(rows) if text.reason is None]
        if not live:
            break
        if says_stop(stop):
            return False
        if len(live) < len(rows):
            reader.keep(live)
            rows, logits = [rows[i] for i in live], logits[live]
        fed = torch.tensor([text.new[-1] for text in rows], device=device)
        logits = reader.step(fed, step, logits)
    return True


def choose(logits: Tensor, rows: Sequence[Writing], temperature: float) -> list[int]:
    """The next token of each row: the most likely, or drawn by the row's own stream."""
    if not temperature:
        most: list[int] = logits.float().argmax(-1).tolist()
        return most
    shares = (logits.float() / temperature).softmax(-1).cpu()
    return [int(torch.multinomial(share, 1, generator=row.draw)) for share, row in zip(shares, rows)]
