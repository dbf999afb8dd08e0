"""Two prompts that differ in one thing, and the answers that tell them apart: text, before any tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lens.arguments import Count, door, shown, unfit
from lens.tokens import PromptError

from .chat import DATE, Chat, as_chat
from .records import pair_fields
from .rendering import Rendered, located, render

RESERVED = ("last", "all", "first_difference")
#: Positions that a chat has beside its turns: tokens that are the template's alone, and those after the last turn, as
#: Arditi et al. 2024 call them (Refusal in Language Models Is Mediated by a Single Direction).
TEMPLATE, AFTER = "template", "post_instruction"


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

    Both prompts may be chats (see `Pair.chat`). Their text is made by a tokenizer's template, so `locate` asks for
    `rendered`: a span may then also be (begin, end), characters of its prompt.

    >>> Pair("The capital of France is", corrupted="The capital of Italy is", answer=" Paris", foil=" Rome",
    ...      spans={"subject": "France"}).spans
    {'subject': 'France'}
    """

    clean: str | Chat
    corrupted: str | Chat
    answer: str
    foil: str | None = None
    spans: Mapping[str, Any] = field(default_factory=dict, hash=False)
    start: str = ""
    label: str = ""
    corrupted_spans: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        chats = [isinstance(prompt, Chat) for prompt in (self.clean, self.corrupted)]
        for name in ("clean", "corrupted", "answer", "foil", "start", "label"):
            value: Any = getattr(self, name)
            if isinstance(value, Chat) and name in ("clean", "corrupted"):
                continue
            if not isinstance(value, str) and not (name == "foil" and value is None):
                raise PromptError(f"{name}: expected text, got {type(value).__name__} {value!r}")
            if name in ("clean", "corrupted") and not str(value).strip():
                raise PromptError(
                    f"{name}: the prompt is {value!r}, but it needs at least one character that is not "
                    "white space; a start token alone goes into `start`"
                )
        if any(chats) and not all(chats):
            raise PromptError(
                "corrupted: one prompt is a chat and the other a text, which have no form in common; give two chats, or"
                " two texts"
            )
        if any(chats) and self.start:
            raise PromptError(f"start: {self.start!r} would be a second start: a chat's template brings its own")
        for name in ("answer", "foil"):
            if getattr(self, name) == "":
                raise PromptError(f"{name}: is empty; give the text that continues the prompt, for example ' Mary'")
        if self.answer == self.foil:
            raise PromptError(f"foil: {self.foil!r} equals the answer, so their difference is always 0; give another")
        for field_ in ("spans", "corrupted_spans"):
            own = {name: _span(field_, name, value) for name, value in dict(getattr(self, field_)).items()}
            object.__setattr__(self, field_, own)
        reserved = [*RESERVED, *self._turns()]
        names = list(RESERVED)
        for name in [*self._turns(), *self.spans]:
            names += [name, f"{name}_first", f"{name}_last"]
        for name in self.spans:
            self._begin(name, "clean")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PromptError(
                f"spans: the name {twice[0]!r} is taken: {', '.join(reserved)} always exist, and every span also "
                "makes <name>_first and <name>_last; rename the span"
            )
        for name in self.corrupted_spans:
            if name not in self.spans:
                raise PromptError(
                    f"corrupted_spans[{name!r}]: `spans` has no span of that name ({', '.join(self.spans) or 'none'});"
                    " a span is named in both prompts"
                )
            self._begin(name, "corrupted")

    @door(PromptError)
    def locate(self, name: str, prompt: Literal["clean", "corrupted"] = "clean") -> tuple[int, int]:
        """Character range [begin, end) of the span `name` in the start text and a prompt of the pair.

        Raises PromptError: no span of that name, or its text is not in that prompt.
        """
        if name not in self.spans:
            raise PromptError(
                unfit("name", name, f"the name of a span: {', '.join(self.spans) or 'this pair has none'}")
            )
        if isinstance(self.clean, Chat):
            raise PromptError(f"name={name!r}: a chat has characters once it is text; ask Pair.rendered(model)")
        begin, length = self._begin(name, prompt)
        return len(self.start) + begin, len(self.start) + begin + length

    def _value(self, name: str, prompt: str) -> tuple[str | int, int]:
        own = prompt == "corrupted" and name in self.corrupted_spans
        value = (self.corrupted_spans if own else self.spans)[name]
        return (value, 1) if isinstance(value, str) else value

    def _begin(self, name: str, prompt: str) -> tuple[int, int]:
        """Where a span begins in a prompt of text (0 in a chat, where it is looked for), and its length."""
        own = prompt == "corrupted" and name in self.corrupted_spans
        where = f"{'corrupted_spans' if own else 'spans'}[{name!r}]"
        (text, occurrence), words = self._value(name, prompt), getattr(self, prompt)
        if isinstance(text, int):
            # characters of the clean prompt say nothing of the corrupted one
            elsewhere = isinstance(words, Chat) or (prompt == "corrupted" and not own)
            if elsewhere or not 0 <= text < occurrence <= len(words):
                raise PromptError(f"{where}: characters {text} to {occurrence} are no part of `{prompt}` {words!r}")
            return text, occurrence - text
        if isinstance(words, Chat):
            begin, count = (
                0 if words.find(text, occurrence) else -1,
                sum(content.count(text) for _, content in words.messages),
            )
        else:
            begin, count = -len(text), words.count(text)
            for _ in range(occurrence):
                begin = words.find(text, begin + len(text) if begin >= 0 else 0)
                if begin < 0:
                    break
        if begin < 0:
            raise PromptError(
                f"{where}: {text!r} occurs {count} time{'' if count == 1 else 's'} in `{prompt}`, but occurrence"
                f" {occurrence} is asked for; `{prompt}` is {words!r}"
            )
        return begin, len(text)

    def _turns(self) -> list[str]:
        """The names that the turns of both chats bring, and those of what their template writes."""
        chats = [prompt for prompt in (self.clean, self.corrupted) if isinstance(prompt, Chat)]
        return list(dict.fromkeys([name for chat in chats for name in (*chat.names, TEMPLATE, AFTER)]))

    @classmethod
    @door(PromptError)
    def chat(
        cls,
        messages: Any,
        corrupted: Any,
        answer: str,
        foil: str | None = None,
        *,
        spans: Mapping[str, Any] | None = None,
        corrupted_spans: Mapping[str, Any] | None = None,
        continued: bool = False,
        template: str | None = None,
        date: str = DATE,
        label: str = "",
    ) -> Pair:
        """A pair of two conversations; each becomes text by the chat template of the model that reads it.

        Positions have names by role and turn ("system_1", "user_1", "assistant_1", "user_2"): the tokens of what is
        said, without the template's own; "post_instruction" is what the template writes after the last turn, "template"
        all that it writes. `encode(model, pair).clean_text` shows the text.

        Args:
            messages, corrupted: each a `Chat`, or a list of {"role": ..., "content": ...} or (role, content).
            answer, foil: what follows where the assistant's turn begins; leading space as the template leaves it
                (usually none).
            spans, corrupted_spans: further parts, of what is said: text, or (text, occurrence) over all turns.
            continued, template, date: see `Chat`.

        Raises: PromptError: see `Chat` and `Pair`.

        >>> Pair.chat([("user", "Where is Lyon?")], [("user", "Where is Rome?")], "France", "Italy").clean.names
        ('user_1',)
        """
        options: dict[str, Any] = {"continued": continued, "template": template, "date": date}
        clean = as_chat(messages, **options)
        try:
            other = as_chat(corrupted, **options)
        except PromptError as error:
            raise PromptError(f"corrupted: {error}") from None
        return cls(clean, other, answer, foil, spans or {}, "", label, corrupted_spans or {})

    @classmethod
    @door(PromptError)
    def from_records(
        cls,
        records: Any,
        columns: Mapping[str, str] | None = None,
        *,
        spans: Mapping[str, str] | None = None,
        limit: Count | None = None,
    ) -> list[Pair]:
        """The pairs of rows of data, as `lens.records.rows` reads them; what a row holds as text stays text.

        Args:
            records: a list of dicts, a pandas frame, a Hugging Face dataset (streaming too), or the path of a CSV, TSV,
                JSONL, JSON or Parquet file.
            columns: of fields ("clean", "corrupted", "answer", "foil", "start", "label", "spans") the columns that hold
                them; without one a field has its own name. "clean" and "corrupted" hold texts, or lists of messages.
            spans: of spans the columns that hold their parts of "clean".
            limit: at most so many rows, from the first.

        Raises: PromptError: no such column, or a row that makes no pair; it names the file and line.

        >>> Pair.from_records([{"q": "Lyon is in", "other": "Rome is in", "a": " France"}],
        ...                   {"clean": "q", "corrupted": "other", "answer": "a"})[0].answer
        ' France'
        """
        pairs = []
        for place, fields in pair_fields(records, columns, spans, limit):
            try:
                pairs.append(cls(**fields))
            except PromptError as error:
                raise PromptError(f"records: {place}: {error}") from None
        if not pairs:
            raise PromptError("records: holds no row; give at least one")
        return pairs

    @door(PromptError)
    def rendered(self, model: Any) -> Pair:
        """The pair as text: of chats what the chat template of a model (or tokenizer) makes of them, every turn a span;
        any other pair as it is.

        Raises: PromptError: see `lens.prompts.render`.
        """
        if not (isinstance(self.clean, Chat) and isinstance(self.corrupted, Chat)):
            return self
        texts, spans = [], []
        for name, chat in (("clean", self.clean), ("corrupted", self.corrupted)):
            try:
                texts.append(render(model, chat))
            except PromptError as error:
                raise PromptError(f"{name}: {error}") from None
            spans.append(dict(texts[-1].spans) | self._parts(name, chat, texts[-1]))
        shared = {name: span for name, span in spans[1].items() if name in spans[0]}
        return Pair(
            texts[0].text, texts[1].text, self.answer, self.foil, spans[0], "", self.label, corrupted_spans=shared
        )

    def _parts(self, prompt: str, chat: Chat, text: Rendered) -> dict[str, tuple[int, int]]:
        parts = {}
        for name in self.spans:
            part, occurrence = self._value(name, prompt)
            if (span := located(chat, text, str(part), occurrence)) is not None:
                parts[name] = span
        return parts

    @door(PromptError)
    def as_record(self, model: Any = None) -> dict[str, Any]:
        """The pair as JSON; with a model also the texts of its chats, as that model reads them."""
        prompts: dict[str, Any] = {name: getattr(self, name) for name in ("clean", "corrupted")}
        if isinstance(self.clean, Chat):
            text = None if model is None else self.rendered(model)
            prompts = {name: chat.as_record() for name, chat in prompts.items()}
            prompts |= {} if text is None else {"clean_text": text.clean, "corrupted_text": text.corrupted}
        answers = {"answer": self.answer, "foil": self.foil, "spans": dict(self.spans)}
        others = {"corrupted_spans": dict(self.corrupted_spans)} if self.corrupted_spans else {}
        return prompts | answers | {"start": self.start, "label": self.label} | others


def _span(field: str, name: Any, value: Any) -> str | tuple[str, int] | tuple[int, int]:
    if not isinstance(name, str) or not name:
        raise PromptError(f"{field}: a span's name is non-empty text, got {name!r}")
    text, occurrence = (
        value if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 else (value, 1)
    )
    if type(text) is int and type(occurrence) is int and not isinstance(value, int):
        return text, occurrence
    if not isinstance(text, str) or not text:
        part = "clean" if field == "spans" else "corrupted"
        raise PromptError(f"{field}[{name!r}]: expected a part of `{part}` or (part, occurrence), got {shown(value)}")
    if isinstance(occurrence, bool) or not isinstance(occurrence, int) or occurrence < 1:
        raise PromptError(f"{field}[{name!r}]: occurrences are whole numbers counted from 1, got {occurrence!r}")
    return text if isinstance(value, str) else (text, occurrence)
