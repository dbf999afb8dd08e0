"""Two prompts that differ in one thing, and the answers that tell them apart: text, before any tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lens.arguments import door, unfit
from lens.tokens import PromptError

RESERVED = ("last", "all", "first_difference")


@door(PromptError)
@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in one thing, and the answers that tell them apart.

    `answer` and `foil` continue the prompt, leading space included: `answer` is right after `clean`, `foil` usually
    right after `corrupted`. `spans` names parts of `clean`: a substring (its first occurrence) or
    (substring, occurrence), occurrences counted from 1. `start` is literal text put before both prompts, for example
    "<|endoftext|>". Raises PromptError on empty text, on an answer equal to its foil and on a span not in `clean`.

    >>> Pair("The capital of France is", corrupted="The capital of Italy is", answer=" Paris", foil=" Rome",
    ...      spans={"subject": "France"}).spans
    {'subject': 'France'}
    """

    clean: str
    corrupted: str
    answer: str
    foil: str | None = None
    spans: Mapping[str, Any] = field(default_factory=dict, hash=False)
    start: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted", "answer", "foil", "start", "label"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "foil" and value is None):
                raise PromptError(f"{name}: expected text, got {type(value).__name__} {value!r}")
        for name in ("clean", "corrupted"):
            if not getattr(self, name).strip():
                raise PromptError(
                    f"{name}: the prompt is {getattr(self, name)!r}, but it needs at least one character that is not "
                    "white space; a start token alone goes into `start`"
                )
        for name in ("answer", "foil"):
            if getattr(self, name) == "":
                raise PromptError(f"{name}: is empty; give the text that continues the prompt, for example ' Mary'")
        if self.answer == self.foil:
            raise PromptError(f"foil: {self.foil!r} equals the answer, so their difference is always 0; give another")
        object.__setattr__(self, "spans", {name: _span(name, value) for name, value in dict(self.spans).items()})
        names = list(RESERVED)
        for name in self.spans:
            names += [name, f"{name}_first", f"{name}_last"]
            self.locate(name)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PromptError(
                f"spans: the name {twice[0]!r} is taken: {', '.join(RESERVED)} always exist, and every span also "
                "makes <name>_first and <name>_last; rename the span"
            )

    @door(PromptError)
    def locate(self, name: str) -> tuple[int, int]:
        """Character range [begin, end) of the span `name` in `start + clean`."""
        if name not in self.spans:
            raise PromptError(
                unfit("name", name, f"the name of a span: {', '.join(self.spans) or 'this pair has none'}")
            )
        value = self.spans[name]
        text, occurrence = (value, 1) if isinstance(value, str) else value
        begin = -len(text)
        for _ in range(occurrence):
            begin = self.clean.find(text, begin + len(text) if begin >= 0 else 0)
            if begin < 0:
                count = self.clean.count(text)
                raise PromptError(
                    f"spans[{name!r}]: {text!r} occurs {count} time{'' if count == 1 else 's'} in `clean`, but "
                    f"occurrence {occurrence} is asked for; `clean` is {self.clean!r}"
                )
        begin += len(self.start)
        return begin, begin + len(text)


def _span(name: Any, value: Any) -> str | tuple[str, int]:
    if not isinstance(name, str) or not name:
        raise PromptError(f"spans: a span's name is non-empty text, got {name!r}")
    text, occurrence = (
        value if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 else (value, 1)
    )
    if not isinstance(text, str) or not text:
        raise PromptError(f"spans[{name!r}]: expected a part of `clean` or (part, occurrence), got {value!r}")
    if isinstance(occurrence, bool) or not isinstance(occurrence, int) or occurrence < 1:
        raise PromptError(f"spans[{name!r}]: occurrences are whole numbers counted from 1, got {occurrence!r}")
    return text if isinstance(value, str) else (text, occurrence)
