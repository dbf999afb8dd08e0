"""Prompts as the text that is tokenised: a chat by its tokenizer's template, and where each turn stands in it."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lens.arguments import door, shown
from lens.notices import warn
from lens.tokens import PromptError, tokenizer_of

from .chat import Chat

#: Characters of the private use area, between which the number of a turn stands for its content.
_TURN = ("\ue000", "\ue001")
#: transformers hands a template no function (a callable among its arguments becomes a text), so what asks for today is
#: answered by a macro; the newline after it is eaten, so that the template begins where it began.
_TODAY = (
    "{% macro strftime_now(format) %}{{ pinned_dates[format] if format in pinned_dates else "
    "raise_exception('the form of its date is no text of its own: ' ~ format) }}{% endmacro %}\n"
)


@dataclass(frozen=True)
class Rendered:
    """A prompt as text; `spans` has the characters [begin, end) of what is said in each turn by the turn's name."""

    text: str
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@door(PromptError)
def render(model_or_tokenizer: Any, prompt: str | Chat) -> Rendered:
    """The text that is tokenised for a prompt: text as it is, a chat by the tokenizer's chat template.

    The template brings its own start token, and none is added. Every turn's content stands in the text once, as it was
    written or without white space at its ends.

    Raises:
        PromptError: the tokenizer has no template; the template refuses the turns, leaves one out (a system turn, say)
            or changes what it says.
    """
    if isinstance(prompt, str):
        return Rendered(prompt)
    tokenizer = tokenizer_of(model_or_tokenizer)
    template = _template(tokenizer, prompt)
    contents = [content for _, content in prompt.messages]
    # where the contents stand is read off a rendering in which each is a word that nothing else holds
    words = [f"{_TURN[0]}{number}{_TURN[1]}" if content else "" for number, content in enumerate(contents)]
    text = _text(tokenizer, template, prompt, contents)
    pieces, order = _between(prompt, _text(tokenizer, template, prompt, words))
    begins = _places(text, pieces, [contents[number] for number in order])
    if begins is None:
        raise PromptError(
            "messages: the chat template changes what they say, so that the turns cannot be found in its text; it is"
            f" {shown(text)}; leave out what the template takes away (a reasoning in tags, say), or give template="
        )
    at = {number: span for number, span in zip(order, begins)}
    spans = {name: at[number] for number, name in enumerate(prompt.names) if number in at}
    return Rendered(text[: at[len(contents) - 1][1]] if prompt.continued else text, spans)


def located(prompt: str | Chat, rendered: Rendered, part: str, occurrence: int = 1) -> tuple[int, int] | None:
    """The characters of a part of what a prompt says (see `Chat.find`) in its text; None where it does not say it."""
    if isinstance(prompt, str):
        begin = -len(part)
        for _ in range(occurrence):
            if (begin := prompt.find(part, max(0, begin + len(part)))) < 0:
                return None
        return begin, begin + len(part)
    if (place := prompt.find(part, occurrence)) is None:
        return None
    turn, begin = place
    content, (low, high) = prompt.messages[turn].content, rendered.spans[prompt.names[turn]]
    # the template may have taken white space off the turn's ends
    begin += low if rendered.text[low:high] == content else low - len(content) + len(content.lstrip())
    return max(low, begin), min(high, begin + len(part))


def _template(tokenizer: Any, chat: Chat) -> str:
    """The Jinja text of the template asked for."""
    known = getattr(tokenizer, "chat_template", None)
    name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if chat.template is not None and "{" in chat.template:
        return chat.template
    if chat.template is not None:  # transformers would take an unknown name for a template, whose text is that name
        if isinstance(known, Mapping) and chat.template in known:
            return known[chat.template]
        named = f"those of {name!r} are {', '.join(known)}" if isinstance(known, Mapping) else f"{name!r} names none"
        raise PromptError(f"template: {shown(chat.template)} is neither a Jinja text nor a template's name; {named}")
    if known is None:
        raise PromptError(
            f"tokenizer: {name!r} has no chat template, so a chat cannot become its text; load an instruction-tuned"
            " model, give Chat(..., template=...) a Jinja text, or write the prompt as text"
        )
    try:
        return tokenizer.get_chat_template()
    except ValueError as error:  # several, and none is the default
        raise PromptError(f"template: {error}; give the name of one: Chat(..., template=...)") from None


def _text(tokenizer: Any, template: str, chat: Chat, contents: list[str]) -> str:
    """The rendering, with the chat's own date wherever the template asks for today's."""
    from jinja2 import TemplateError

    messages = [{"role": role, "content": content} for (role, _), content in zip(chat.messages, contents)]
    try:
        return tokenizer.apply_chat_template(
            messages,
            chat_template=_TODAY + template,
            tokenize=False,
            add_generation_prompt=not chat.continued,
            pinned_dates=_dates(template, chat.date),
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise PromptError(
            f"messages: the chat template refuses them ({type(error).__name__}: {error}); their roles are"
            f" {', '.join(role for role, _ in chat.messages)}{_system_step(chat)}"
        ) from None


@functools.lru_cache(maxsize=64)
def _dates(template: str, date: str) -> Mapping[str, str]:
    """The day in every form that a text of the template may ask for."""
    from jinja2 import Environment

    day = datetime.date.fromisoformat(date)
    texts = {value[1:-1] for _, kind, value in Environment().lex(template) if kind == "string"}
    return {form: day.strftime(form) for form in texts if "%" in form}


def _between(chat: Chat, skeleton: str) -> tuple[list[str], list[int]]:
    """What the template writes before, between and after the turns, and the turns' numbers in its order."""
    order = [int(number) for number in re.findall(f"{_TURN[0]}(\\d+){_TURN[1]}", skeleton)]
    for number, (role, content) in enumerate(chat.messages):
        if content and (times := order.count(number)) != 1:
            says = "leaves it out" if not times else f"writes it {times} times"
            raise PromptError(
                f"messages[{number}]: the chat template {says} ({role}: {shown(content)})"
                + (_system_step(chat) if role in ("system", "developer") else "; give template= another Jinja text")
            )
    if order != sorted(order):
        names = [chat.names[number] for number in order]
        warn(f"the chat template writes the turns in another order: {', '.join(names)}; their names say which is which")
    return re.split(f"{_TURN[0]}\\d+{_TURN[1]}", skeleton), order


def _system_step(chat: Chat) -> str:
    if not any(role in ("system", "developer") for role, _ in chat.messages):
        return "; see the template's own text: tokenizer.chat_template"
    return "; where the template has no system turn, put that text at the head of the first user's turn"


def _places(text: str, pieces: list[str], contents: list[str]) -> list[tuple[int, int]] | None:
    """Where each content stands between the template's pieces, white space at its ends aside; None where one does not,
    or something else is there.
    """
    if not text.startswith(pieces[0]):
        return None
    end, spans = len(pieces[0]), []
    for content, after in zip(contents, pieces[1:]):
        forms = (content, content.strip(), content.rstrip(), content.lstrip())
        fits = [form for form in forms if text.startswith(form + after, end)]
        if not fits:
            return None
        spans.append((end, end + len(fits[0])))
        end += len(fits[0]) + len(after)
    return spans if end == len(text) else None
