"""How demonstrations, a question and an instruction become one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import door, unfit
from ..prompts import DATE, Chat, Message
from .errors import VectorError


@door(VectorError)
@dataclass(frozen=True)
class Template:
    r"""The form of a prompt; `lead` goes before every x and every y, so that the last token of a prompt never is a
    space.

    Source: Todd et al. 2024 (the default; "Q: x", "A: y", an empty line between two demonstrations).

    >>> Template().text([("hot", "cold")], "big")
    'Q: hot\nA: cold\n\nQ: big\nA:'
    """

    question: str = "Q:{x}\nA:"
    answer: str = "{y}"
    separator: str = "\n\n"
    lead: str = " "
    instruction: str = "{instruction}\n"
    name: str = "qa"

    def __post_init__(self) -> None:
        for field, place in (("question", "{x}"), ("answer", "{y}"), ("instruction", "{instruction}")):
            value = getattr(self, field)
            if place not in value:
                raise VectorError(
                    f"{field}={value!r}: expected text that holds {place}, such as {getattr(Template, field)!r}."
                )
        if self.question[-1:].isspace():
            raise VectorError(
                f"question={self.question!r} ends with white space, which belongs to the answer's first token; put it"
                " into `lead`."
            )

    @door(VectorError)
    def text(self, demos: Sequence[tuple[str, str]], x: str, instruction: str | None = None) -> str:
        """The prompt up to where the answer begins: the instruction, where one is given, the demonstrations `(x, y)`,
        the question.
        """
        head = "" if instruction is None else self.instruction.replace("{instruction}", instruction)
        shown = "".join(
            self.question.replace("{x}", self.lead + a) + self.answer.replace("{y}", self.lead + b) + self.separator
            for a, b in demos
        )
        return head + shown + self.question.replace("{x}", self.lead + x)


@door(VectorError)
@dataclass(frozen=True)
class ChatTemplate:
    r"""The form of a prompt as a conversation: each demonstration a user's turn and the assistant's, the question a
    user's, an instruction (or `system`, where none is given) the system's.

    `question` holds {x}, `answer` {y}; `lead` goes before the answer that is asked for, as the chat template leaves it
    (usually nothing). `template` and `date`: see `lens.prompts.Chat`.

    >>> str(ChatTemplate().text([("hot", "cold")], "big", "Give the opposite."))
    'system: Give the opposite.\\nuser: hot\\nassistant: cold\\nuser: big'
    """

    question: str = "{x}"
    answer: str = "{y}"
    system: str | None = None
    instruction: str = "{instruction}"
    lead: str = ""
    template: str | None = None
    date: str = DATE
    name: str = "chat"

    def __post_init__(self) -> None:
        for field, place in (("question", "{x}"), ("answer", "{y}"), ("instruction", "{instruction}")):
            if place not in getattr(self, field):
                raise VectorError(f"{field}={getattr(self, field)!r}: expected text that holds {place}.")

    @door(VectorError)
    def text(self, demos: Sequence[tuple[str, str]], x: str, instruction: str | None = None) -> Chat:
        """The conversation up to where the answer begins."""
        said = self.system if instruction is None else self.instruction.replace("{instruction}", instruction)
        turns = [] if said is None else [Message("system", said)]
        for a, b in demos:
            turns += [Message("user", self.question.replace("{x}", a))]
            turns += [Message("assistant", self.answer.replace("{y}", b))]
        return Chat([*turns, Message("user", self.question.replace("{x}", x))], template=self.template, date=self.date)


#: What a prompt of a task may be made by: a template, or its name.
Form = Template | ChatTemplate | str

#: Templates by name: the published one, others that ask the same, and two for models with a vocabulary of whole words.
TEMPLATES: Mapping[str, Template] = {
    t.name: t
    for t in (
        Template(),
        Template("Question:{x}\nAnswer:", name="question"),
        Template("Input:{x}\nOutput:", separator="\n", name="input"),
        Template("{x} ->", separator="\n", name="arrow"),
        Template("{x} =", separator="\n", name="equals"),
        Template("word:{x} | result:", separator="\n", name="table"),
        Template("question:{x}; answer:", separator=" // ", name="inline"),
        Template("Given{x}, say", separator=". ", name="say"),
        Template("{x}:", separator="\n\n", name="colon"),
        Template("{x} :", "{y}", " ;", " ", "{instruction} ", "symbols"),
        Template("{x}", "{y}", "", " ", "{instruction} ", "bare"),
    )
}


@door(VectorError)
def as_template(template: Form | None, task: Any = None) -> Template | ChatTemplate:
    """A template as it is or by its name ("chat": turns of the model's own chat template); None: the task's own, or
    "qa".

    Raises: VectorError: neither.
    """
    if template is None:
        template = getattr(task, "template", None) or "qa"
    if isinstance(template, Template | ChatTemplate):
        return template
    if template == "chat":
        return ChatTemplate()
    if template in TEMPLATES:
        return TEMPLATES[template]
    names = ", ".join([*TEMPLATES, "chat"])
    raise VectorError(unfit("template", template, f"a lens.vectors.Template or one of {names}", choice=True))
