"""Forget and retain sets: prompts with answers, of a person's own files or of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import records
from ..arguments import Count, Name, Seed, Size, door, shown
from ..prompts.start import start_of_rows
from ..tokens import tokenize, tokenizer_of
from ..training import Rows
from .defaults import QUESTION
from .errors import UnlearningError

Ids = tuple[int, ...]


@door(UnlearningError)
@dataclass(frozen=True, eq=False)
class Items:
    """Prompts with answers, as token ids.

    Attributes:
        prompts, answers: one a row; training counts the answer's tokens.
        paraphrases: another wording of each answer, or none: what truth ratios compare with. perturbed: wrong answers
            to each prompt.
        right: the answer that should come back where `answers` are false statements, or none.
        units: what counts as one (a person, an author): a label a row; each its own where none are given.
        places: where each row stands, in words.
    """

    prompts: Sequence[Sequence[Size]]
    answers: Sequence[Sequence[Size]]
    paraphrases: Sequence[Sequence[Size]] = ()
    perturbed: Sequence[Sequence[Sequence[Size]]] = ()
    right: Sequence[Sequence[Size]] = ()
    units: Sequence[str] = ()
    places: Sequence[str] = ()

    def __post_init__(self) -> None:
        n = len(self.prompts)
        if not n:
            raise UnlearningError("prompts is empty; give at least one with its answer.")
        for name in ("answers", "paraphrases", "perturbed", "right", "units", "places"):
            given = getattr(self, name)
            if len(given) not in ((n,) if name == "answers" else (0, n)):
                raise UnlearningError(f"{name} has {len(given)} entries for {n} prompts; give one for each.")
        for i in range(n):
            if not len(self.prompts[i]) or not len(self.answers[i]):
                raise UnlearningError(
                    f"{self.place(i)} has a prompt of {len(self.prompts[i])} and an answer of {len(self.answers[i])}"
                    " tokens; both need at least one."
                )
        for i, wrong in enumerate(self.perturbed):
            if any(tuple(one) == tuple(self.answers[i]) or not len(one) for one in wrong):
                raise UnlearningError(
                    f"{self.place(i)} has its own answer, or an empty one, among its wrong answers; take it out."
                )
        for i, one in enumerate(self.right):
            if tuple(one) == tuple(self.answers[i]):
                raise UnlearningError(
                    f"{self.place(i)} has the same answer as what is to be forgotten and as what should come back;"
                    " nothing was planted there: take the row out."
                )

    def __len__(self) -> int:
        return len(self.prompts)

    @door(UnlearningError)
    def place(self, i: Size) -> str:
        """Where a row stands, in words."""
        if i >= len(self):
            raise UnlearningError(f"i={i}; expected the number of a row, from 0 to {len(self) - 1}.")
        return self.places[i] if self.places else f"row {i}"

    def unit_labels(self) -> list[str]:
        """What each row counts as."""
        return list(self.units) if self.units else [f"row {i}" for i in range(len(self))]

    def rows(self) -> Rows:
        """Rows to train on: the answers' tokens count."""
        return Rows.of(self.pairs())

    def pairs(self) -> tuple[tuple[Ids, Ids], ...]:
        """(prompt ids, answer ids) of each."""
        return tuple((tuple(p), tuple(a)) for p, a in zip(self.prompts, self.answers))

    @door(UnlearningError)
    def take(self, index: Sequence[Size]) -> Items:
        """The items of these numbers."""
        if not len(index) or not all(0 <= int(i) < len(self) for i in index):
            raise UnlearningError(
                f"index={shown(list(index))}; expected numbers from 0 to {len(self) - 1}, at least one."
            )
        return Items(
            **{f.name: [v[int(i)] for i in index] if len(v := getattr(self, f.name)) else () for f in fields(self)}
        )

    @door(UnlearningError)
    def sample(self, most: Count, seed: Seed = 0) -> Items:
        """At most so many of them, drawn by the seed, in their order."""
        if most >= len(self):
            return self
        return self.take(sorted(np.random.default_rng(seed).choice(len(self), most, replace=False).tolist()))


@door(UnlearningError)
def read(source: Any, model: Any, *, name: Name = "source", question: str = QUESTION) -> Items:
    """Items of a file or a list, as `lens.records` reads it: `{text}`, `{prompt, answer}` (also with `right`, what
    should come back, and `unit`) or TOFU's layout (`question`, `answer`, and `paraphrased_answer` and
    `perturbed_answer` where they are there).

    Of a text every token counts that has one before it: its start token is the prompt, or its first token. An answer
    begins with a space, which is put there where neither it nor the prompt's end has one.

    Args:
        model: whose tokenizer and start token serve. name: of the argument, for messages. question: the template of
            TOFU's questions.

    Raises: UnlearningError: no rows, a row without these columns, an empty answer; the message names file and line.
    """

    def refuse(said: str) -> UnlearningError:
        return UnlearningError(f"{name}: {said}.")

    if "{question}" not in question:
        raise UnlearningError(f"question={question!r}; expected a template that holds {{question}}.")
    tokenizer = tokenizer_of(model)
    start = start_of_rows(model)
    head = () if start is None else (start,)
    found: dict[str, list[Any]] = {f.name: [] for f in fields(Items)}
    for row in records.rows(source, refuse):
        _append(found, row, lambda text: tuple(tokenize(tokenizer, text)), head, question)
    if not found["prompts"]:
        raise refuse("it has no row; give at least one {text} or {prompt, answer}")
    for optional in ("paraphrases", "perturbed", "right", "units"):
        values = found[optional]
        if any(v is None for v in values) and any(v is not None for v in values):
            i = next(i for i, v in enumerate(values) if v is None)
            raise refuse(
                f"{found['places'][i]} lacks what other rows have ({_COLUMN[optional]}); give it in all or none"
            )
        if values[0] is None:
            found[optional] = []
    return Items(**found)


_COLUMN = {
    "paraphrases": "paraphrased_answer",
    "perturbed": "perturbed_answer",
    "right": "right",
    "units": "unit",
}


def _append(found: dict[str, list[Any]], row: records.Row, ids: Any, head: Ids, question: str) -> None:
    """One row's prompt, answer and what else it has."""
    if "text" in row and "answer" not in row:
        tokens = (*head, *ids(row.text("text")))
        if len(tokens) < 2:
            raise row.fault("text", "holds too little text: no token is left to be predicted")
        prompt, answers = tokens[:1], {"answers": tokens[1:]}
    else:
        asked = (
            question.format(question=row.text("question"))
            if "question" in row
            else row.require("prompt").text("prompt")
        )
        prompt = (*head, *ids(asked))
        if not prompt:
            raise row.fault("prompt", "is empty, and this tokenizer has no start token to put there")

        def answer(text: str) -> Ids:
            return ids(text if asked[-1:].isspace() or text[:1].isspace() else f" {text}")

        if not row.text("answer").strip():
            raise row.fault("answer", "is empty")
        answers = {"answers": answer(row.text("answer"))}
        for key, column in (("paraphrases", "paraphrased_answer"), ("right", "right")):
            text = row.optional(column)
            answers |= {} if text is None else {key: answer(text)}
        if row.get("perturbed_answer") is not None:
            answers["perturbed"] = tuple(map(answer, _texts(row, "perturbed_answer")))
    found["prompts"].append(prompt)
    for key in ("answers", "paraphrases", "perturbed", "right"):
        found[key].append(answers.get(key))
    found["units"].append(row.optional("unit"))
    found["places"].append(row.place)


def _texts(row: records.Row, column: str) -> Iterator[str]:
    value = row[column]
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, (list, tuple)) or not many or not all(isinstance(one, str) for one in many):
        raise row.fault(column, f"holds {shown(value)}; expected a text or a list of texts")
    yield from many
