"""A conversation as a prompt: turns of roles, before any tokenizer and any template."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lens.arguments import door, shown, tried
from lens.tokens import PromptError

#: Who may speak. Templates call the model's own turns what they like; messages call them "assistant".
ROLES = ("system", "developer", "user", "assistant", "tool")
#: The day that templates are told where they ask for today's: the one that Llama 3.1's own falls back to.
DATE = "2024-07-26"


class Message(NamedTuple):
    """One turn: who speaks, and what is said."""

    role: str
    content: str


@door(PromptError)
@dataclass(frozen=True)
class Chat:
    """A conversation as a prompt; `lens.prompts.render` makes it text by the tokenizer's own chat template.

    Without `continued` the prompt ends where the assistant's next turn begins. `continued=True` leaves the last turn
    open, and what follows goes on in it. `template` is a Jinja text, or the name of one of the tokenizer's templates,
    in place of its default. `messages`: mappings of role and content, or pairs of them; once made, a tuple of
    `Message`. `date` (year-month-day) is what a template gets that asks for today's: the same tokens
    come on any day.

    Raises: PromptError: no turn, a turn that is no role and text, an unknown role, an empty turn (a system turn may
        be: many templates put a text of their own where there is none), an assistant's turn at the end that is not
        continued.

    >>> Chat([{"role": "user", "content": "Where is Lyon?"}]).names
    ('user_1',)
    """

    messages: Any
    continued: bool = False
    template: str | None = None
    date: str = DATE

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", _messages(self.messages))
        if self.template is not None and not self.template.strip():
            raise PromptError("template: is empty; give a Jinja text, or None for the tokenizer's own")
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise PromptError(f"date: {self.date!r} is no day ({error}); give year-month-day, such as {DATE}") from None
        last = self.messages[-1]
        if not last.content:
            raise PromptError("messages: the last turn is empty; only the system's own may be, at the head")
        if last.role == "assistant" and not self.continued:
            raise PromptError(
                f"messages: the last turn is the assistant's ({shown(last.content)}), so nothing is asked; give"
                " continued=True to go on in it, or end with a user's turn"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each turn: its role and which of that role's it is, from 1."""
        seen: dict[str, int] = {}
        names = []
        for role, _ in self.messages:
            seen[role] = seen.get(role, 0) + 1
            names.append(f"{role}_{seen[role]}")
        return tuple(names)

    @door(PromptError)
    def find(self, part: str, occurrence: int = 1) -> tuple[int, int] | None:
        """The turn, from 0, and the character in its content where the so-manyth occurrence of a part begins, counted
        over the turns in order; None where there are fewer. A part lies within one turn.
        """
        for turn, (_, content) in enumerate(self.messages):
            begin = content.find(part)
            while begin >= 0 and occurrence > 1:
                occurrence, begin = occurrence - 1, content.find(part, begin + len(part))
            if begin >= 0:
                return turn, begin
        return None

    def __str__(self) -> str:
        return "\n".join(f"{role}: {content}" for role, content in self.messages)

    def as_record(self) -> dict[str, Any]:
        """The chat as JSON, of which `Chat.from_record` makes it again."""
        messages = [{"role": role, "content": content} for role, content in self.messages]
        return {"messages": messages, "continued": self.continued, "template": self.template, "date": self.date}

    @classmethod
    @door(PromptError)
    def from_record(cls, record: Any) -> Chat:
        """The chat that `as_record` wrote down. Raises: PromptError: it is none."""
        fields = ("messages", "continued", "template", "date")
        if not isinstance(record, Mapping) or "messages" not in record or set(record) - set(fields):
            raise PromptError(f"chat: expected an object of {', '.join(fields)}, got {shown(record)}")
        return cls(**{name: record[name] for name in fields if name in record})


def is_messages(value: Any) -> bool:
    """Whether a value is a list of messages with role and content, as the chat interfaces write them."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(m, Message) or (isinstance(m, Mapping) and "role" in m) for m in value)
    )


@door(PromptError)
def as_chat(chat: Any, *, continued: bool = False, template: str | None = None, date: str = DATE) -> Chat:
    """A Chat as it is, or one of these messages. Raises: PromptError: see `Chat`; options beside a Chat."""
    if not isinstance(chat, Chat):
        return Chat(chat, continued=continued, template=template, date=date)
    if (continued, template, date) != (False, None, DATE):
        raise PromptError("messages: is a Chat, which has its own continued, template and date; give them to that")
    return chat


def _messages(messages: Any) -> tuple[Message, ...]:
    step = 'give a list such as [{"role": "user", "content": "Where is Lyon?"}]'
    given = None if isinstance(messages, str | Mapping) else tried(iter, messages)
    if given is None:
        raise PromptError(f"messages: {shown(messages)} is a {type(messages).__name__}; {step}")
    turns = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        if isinstance(message, Mapping):
            extra = [key for key, value in message.items() if key not in Message._fields and value is not None]
            if extra or not {"role", "content"} <= set(message):
                what = (
                    f"has {shown(extra[0])} too"
                    if extra
                    else "lacks " + " or ".join(repr(key) for key in Message._fields if key not in message)
                )
                raise PromptError(f"{where}: {shown(dict(message))} {what}; a turn is a role and its content alone")
            message = (message["role"], message["content"])
        if not isinstance(message, list | tuple) or len(message) != 2:
            raise PromptError(f"{where}: {shown(message)} is no role and content; {step}")
        role, content = message
        if role not in ROLES:
            raise PromptError(f"{where}: role={shown(role)} is not known; expected one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise PromptError(f"{where}: content={shown(content)} is a {type(content).__name__}; expected text")
        if not content.strip() and not (role == "system" and content == ""):
            raise PromptError(f"{where}: content={content!r} says nothing; leave the turn out, or give it text")
        turns.append(Message(role, content))
    if not turns:
        raise PromptError(f"messages: holds no turn; {step}")
    if not any(content for _, content in turns):
        raise PromptError(f"messages: nothing is said in them; {step}")
    return tuple(turns)
