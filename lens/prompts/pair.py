"""Two prompts that differ in one thing, and the answers that tell them apart: text, before any tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
    "<|endoftext|>". `corrupted_spans` names the same parts of `corrupted` where they are other words there; a span that
    it leaves out is the same text (and occurrence) in `corrupted`, or has no counterpart. Raises PromptError on empty
    text, on an answer equal to its foil and on a span that is not in its prompt.

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
    corrupted_spans: Mapping[str, Any] = field(default_factory=dict, hash=False)

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
        for field_ in ("spans", "corrupted_spans"):
            own = {name: _span(field_, name, value) for name, value in dict(getattr(self, field_)).items()}
            object.__setattr__(self, field_, own)
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
        for name in self.corrupted_spans:
            if name not in self.spans:
                raise PromptError(
                    f"corrupted_spans[{name!r}]: `spans` has no span of that name ({', '.join(self.spans) or 'none'});"
                    " a span is named in both prompts"
                )
            self.locate(name, "corrupted")

    @door(PromptError)
    def locate(self, name: str, prompt: Literal["clean", "corrupted"] = "clean") -> tuple[int, int]:
        """Character range [begin, end) of the span `name` in the start text and a prompt of the pair.

        Raises PromptError: no span of that name, or its text is not in that prompt.
        """
        if name not in self.spans:
            raise PromptError(
                unfit("name", name, f"the name of a span: {', '.join(self.spans) or 'this pair has none'}")
            )
        own = prompt == "corrupted" and name in self.corrupted_spans
        value, words = (self.corrupted_spans if own else self.spans)[name], getattr(self, prompt)
        text, occurrence = (value, 1) if isinstance(value, str) else value
        begin = -len(text)
        for _ in range(occurrence):
            begin = words.find(text, begin + len(text) if begin >= 0 else 0)
            if begin < 0:
                count = words.count(text)
                raise PromptError(
                    f"{'corrupted_spans' if own else 'spans'}[{name!r}]: {text!r} occurs {count}"
                    f" time{'' if count == 1 else 's'} in `{prompt}`, but occurrence {occurrence} is asked for;"
                    f" `{prompt}` is {words!r}"
                )
        begin += len(self.start)
        return begin, begin + len(text)


def _span(field: str, name: Any, value: Any) -> str | tuple[str, int]:
    if not isinstance(name, str) or not name:
        raise PromptError(f"{field}: a span's name is non-empty text, got {name!r}")
    text, occurrence = (
        value if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 else (value, 1)
    )
    if not isinstance(text, str) or not text:
        part = "clean" if field == "spans" else "corrupted"
        raise PromptError(f"{field}[{name!r}]: expected a part of `{part}` or (part, occurrence), got {value!r}")
    if isinstance(occurrence, bool) or not isinstance(occurrence, int) or occurrence < 1:
        raise PromptError(f"{field}[{name!r}]: occurrences are whole numbers counted from 1, got {occurrence!r}")
    return text if isinstance(value, str) else (text, occurrence)
