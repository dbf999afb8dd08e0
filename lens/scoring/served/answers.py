"""What a completion says of its prompt's own tokens, looked at before it is believed.

Two forms: `prompt_logprobs` of vLLM, which names tokens by their ids, and the echo of the first completions interface,
which has texts. Both give nothing for the first token, which has no tokens before it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np

from ...arguments import shown
from .errors import ServedError

#: What servers write for minus infinity, which JSON lacks.
FLOOR = -9999.0
#: Nats by which rounding may put a log-probability above 0.
ROUNDING = 1e-3
#: What the tokens of an echo are in some servers: the id itself, or bytes that are no text.
_ID, _BYTES = "token_id:", "bytes:"


@dataclass(frozen=True)
class Way:
    """How prompts are asked about: vLLM's own field, or an echo with so many tokens after it. `salted`: with a salt of
    its own for each request, so that nothing of it comes from a cache of beginnings, which has no log-probabilities.
    """

    form: Literal["prompt_logprobs", "echo"]
    after: int
    salted: bool = False

    def body(self, model: str, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
        """What is sent: token ids, one list for one row; sampling as the model's distribution is, since servers have
        defaults of their own.
        """
        asked = {"prompt_logprobs": 0} if self.form == "prompt_logprobs" else {"echo": True, "logprobs": 1}
        return {
            "model": model,
            "prompt": list(rows[0]) if len(rows) == 1 else [list(row) for row in rows],
            "max_tokens": self.after,
            "temperature": 1.0,
            "top_p": 1.0,
            "n": 1,
            "stream": False,
            **asked,
            **({"cache_salt": secrets.token_hex(16)} if self.salted else {}),
        }


#: In the order in which they are tried.
WAYS = (Way("prompt_logprobs", 1, salted=True), Way("prompt_logprobs", 1), Way("echo", 0), Way("echo", 1))


@dataclass(frozen=True)
class Reader:
    """Reads answers of one server about one model. `texts`: of a token id, how its text may stand in an echo; None
    where no tokenizer was given.
    """

    url: str
    model: str
    texts: Callable[[int], set[str]] | None = None

    def logprobs(self, way: Way, answer: Mapping[str, Any], rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each row sent, float64 [its tokens]: NaN for the first, and the others' log-probabilities in nats.

        Raises: ServedError: whatever in the answer does not fit what was sent.
        """
        if (name := answer.get("model")) != self.model:
            raise self._wrong(
                f"it is of the model {shown(name)}, and {self.model!r} was asked. If that is another name of the same"
                " model, ask for it by that name"
            )
        choices = self._choices(answer, len(rows))
        self._count(way, answer, rows)
        read = self._by_id if way.form == "prompt_logprobs" else self._by_echo
        return [read(way, choice, row) for choice, row in zip(choices, rows)]

    def lacks(self, way: Way, answer: Mapping[str, Any]) -> bool:
        """Whether the server has passed over the question, as one does that does not know it."""
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
        if way.form == "prompt_logprobs":
            return first.get("prompt_logprobs") is None
        logprobs = first.get("logprobs")
        tokens = logprobs.get("tokens") if isinstance(logprobs, Mapping) else None
        return not isinstance(tokens, list) or len(tokens) <= way.after

    def _choices(self, answer: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
        choices = answer.get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
            raise self._wrong("it has no list of choices")
        by_index = {choice.get("index", 0 if count == 1 else None): choice for choice in choices}
        if len(choices) != count or set(by_index) != set(range(count)):
            raise self._wrong(
                f"it has {len(choices)} choices for {count} rows, or their numbers repeat; batch_tokens=1 asks for one"
                " row at a time"
            )
        return [by_index[i] for i in range(count)]

    def _count(self, way: Way, answer: Mapping[str, Any], rows: Sequence[Sequence[int]]) -> None:
        """The number of tokens that the server says it has read."""
        sent, usage = sum(map(len, rows)), answer.get("usage")
        read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        # an echo with a token after it does not say by itself where the prompt ends
        if read is None and not (way.form == "echo" and way.after):
            return
        if read != sent:
            raise self._wrong(
                f"the server says that it has read {shown(read)} tokens where {sent} were sent; if it puts a start"
                " token before each row, switch that off"
            )

    def _by_id(self, way: Way, choice: Mapping[str, Any], row: Sequence[int]) -> np.ndarray:
        places = choice.get("prompt_logprobs")
        if not isinstance(places, list) or len(places) != len(row):
            has = f"{len(places)} places" if isinstance(places, list) else "no list of places"
            raise self._wrong(f"it has {has} for a row of {len(row)} tokens")
        values = [self._first(places[0])]
        for at, (place, token) in enumerate(zip(places[1:], row[1:]), 1):
            if not isinstance(place, Mapping) or not place:
                raise self._wrong(f"it has nothing for token {at} of a row of {len(row)}")
            entry = place.get(str(token))
            if entry is None:
                others = ", ".join(sorted(map(str, place))[:3])
                raise self._wrong(
                    f"token {at} of a row is {token}, and the answer has only {others} there: "
                    + (
                        "another token was read than was sent; see whether the tokenizer is the model's"
                        if len(place) == 1
                        else "the most likely tokens alone are told, which are not enough"
                    )
                )
            values.append(self._number(entry.get("logprob") if isinstance(entry, Mapping) else entry, at))
        return np.array(values)

    def _by_echo(self, way: Way, choice: Mapping[str, Any], row: Sequence[int]) -> np.ndarray:
        logprobs = choice.get("logprobs")
        echo = logprobs if isinstance(logprobs, Mapping) else {}
        tokens, values = echo.get("tokens"), echo.get("token_logprobs")
        if not (_whole(tokens, way, row) and _whole(values, way, row)):
            has = " and ".join(str(len(one)) if isinstance(one, list) else "no list" for one in (tokens, values))
            raise self._wrong(f"its echo has {has} of tokens and values for a row of {len(row)} tokens")
        for at, (text, token) in enumerate(zip(tokens, row)):
            self._echoed(text, token, at)
        first, *others = values[: len(row)]
        return np.array([self._first(first), *(self._number(one, at) for at, one in enumerate(others, 1))])

    def _echoed(self, text: Any, token: int, at: int) -> None:
        if not isinstance(text, str):
            raise self._wrong(f"the text of token {at} is {shown(text)}")
        if text.startswith(_ID):
            same = text == f"{_ID}{token}"
        elif self.texts is None or not text or "\ufffd" in text or text.startswith(_BYTES):
            return
        else:
            same = plain(text) in self.texts(token)
        if not same:
            raise self._wrong(
                f"token {at} of a row is {token}, and the server has read {shown(text)} there; see whether the"
                " tokenizer is the model's"
            )

    def _first(self, place: Any) -> float:
        if place is not None:
            raise self._wrong(
                "the first token of a row has a value, so that another token was put before it; if the server puts a"
                " start token before each row, switch that off"
            )
        return math.nan

    def _number(self, found: Any, at: int) -> float:
        if not isinstance(found, (int, float)) or isinstance(found, bool):
            raise self._wrong(f"the log-probability of token {at} is {shown(found)}")
        number = float(found)
        if math.isnan(number) or number > ROUNDING:
            raise self._wrong(
                f"the log-probability of token {at} is {number:g}; one is at most 0 (a server that gives logits instead"
                " does so by a setting, such as vLLM's --logprobs-mode)"
            )
        return -math.inf if number <= FLOOR else number

    def _wrong(self, what: str) -> ServedError:
        return ServedError(f"{self.url}: an answer cannot be used: {what}.")


def _whole(found: Any, way: Way, row: Sequence[int]) -> TypeGuard[list[Any]]:
    """Whether a list of an echo holds the row, and no more after it than was asked for."""
    return isinstance(found, list) and 0 <= len(found) - len(row) <= way.after


def plain(text: str) -> str:
    """A token's text without what tokenizers write for a space or a line, and without spaces around it."""
    for mark, means in (("Ġ", " "), ("▁", " "), ("Ċ", "\n")):
        text = text.replace(mark, means)
    return text.strip()
