"""A pair's tokens, the tokens of its answers, and where its spans lie among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from lens.arguments import door
from lens.tokens import PromptError, offsets, require_known, table, token_strings, tokenize, tokenizer_of

from .chat import Chat
from .pair import AFTER, RESERVED, TEMPLATE, Pair
from .rendering import render
from .start import warn_without_start


@dataclass(frozen=True, eq=False)
class EncodedPair:
    """A pair as token ids, with one label a token and the positions that have names.

    `positions` always holds "last" and "all" and, where the prompts differ, "first_difference"; a span named
    "subject" adds "subject", "subject_first" and "subject_last". Positions count tokens of the clean prompt from 0,
    start text included; an aligned pair reads the corrupted prompt at the same ones. `corrupted_positions` are those of
    the corrupted prompt: "last", "all", "first_difference", and the spans that have a counterpart there. Of chats every
    turn is a span ("user_1"), "template" are the tokens of the template alone, "post_instruction" those after the last
    turn. `clean_text` and `corrupted_text` are what was tokenised, start text and template included.
    """

    pair: Pair
    clean_ids: Int64[Tensor, " position"]
    corrupted_ids: Int64[Tensor, " position"]
    answer_ids: tuple[int, ...]
    foil_ids: tuple[int, ...] | None
    clean_tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    positions: Mapping[str, tuple[int, ...]]
    corrupted_positions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    clean_text: str = ""
    corrupted_text: str = ""

    def __len__(self) -> int:
        return len(self.clean_ids)

    @property
    def spans(self) -> tuple[str, ...]:
        """The names of the pair's spans; of chats also of their turns, in the order of their first tokens."""
        if not isinstance(self.pair.clean, Chat):
            return tuple(self.pair.spans)
        names = [n for n in self.positions if n not in (*RESERVED, TEMPLATE) and f"{n}_first" in self.positions]
        return tuple(sorted(names, key=lambda name: self.positions[name]))


@door(PromptError)
def encode(model_or_tokenizer: Any, pair: Pair, *, aligned: bool = True) -> EncodedPair:
    """Tokenises a pair, its answers (as continuations of both prompts) and its spans.

    `aligned=True` demands what patching position by position needs: as many tokens in both prompts, and at least one
    that differs; `aligned=False` checks neither. No special token is added: a model that was trained with a start token
    and does not find it warns once. Raises PromptError, which shows the two tokenisations where they part, the token
    that straddles prompt and answer, or the text that the vocabulary lacks.
    """
    tokenizer = tokenizer_of(model_or_tokenizer)
    if not isinstance(pair, Pair):
        raise PromptError(f"pair: expected a lens.Pair, got {type(pair).__name__}: {pair!r}")
    given, pair = pair, pair.rendered(tokenizer)
    clean_text, corrupted_text = (f"{pair.start}{text}" for text in (pair.clean, pair.corrupted))
    ids = {}
    for name, text in (("clean", clean_text), ("corrupted", corrupted_text)):
        ids[name] = tokenize(tokenizer, text)
        require_known(tokenizer, text, ids[name], name)
    clean, corrupted = ids["clean"], ids["corrupted"]
    warn_without_start(tokenizer, clean)
    tokens = token_strings(tokenizer, clean), token_strings(tokenizer, corrupted)
    difference = first_difference(clean, corrupted)
    if aligned:
        if difference is None:
            raise PromptError(
                f"corrupted: its tokens equal those of `clean` ({pair.clean!r}), so there is nothing to patch"
            )
        if len(clean) != len(corrupted):
            raise PromptError(
                f"pair: `clean` has {len(clean)} tokens and `corrupted` {len(corrupted)}, but patching needs them to"
                f" align token by token; they first differ at token {difference}:\n"
                f"{table(('clean', 'corrupted'), tokens, difference)}\n"
                "change a word for one with as many tokens, say how they align (lens.patch(..., align='end') or"
                " align='spans'), or use encode(..., aligned=False) where lengths may differ"
            )

    def continued(text: str, name: str) -> tuple[int, ...]:
        before = continuation(tokenizer, clean_text, clean, text, name, "clean")
        after = continuation(tokenizer, corrupted_text, corrupted, text, name, "corrupted")
        if before != after:
            raise PromptError(
                f"{name}: {text!r} splits into {list(token_strings(tokenizer, before))} after `clean`"
                f" but {list(token_strings(tokenizer, after))} after `corrupted`; end both prompts with the same word"
            )
        return before

    answer_ids = continued(pair.answer, "answer")
    foil_ids = None if pair.foil is None else continued(pair.foil, "foil")

    positions = {"last": (len(clean) - 1,), "all": tuple(range(len(clean)))}
    if difference is not None and difference < len(clean):
        positions["first_difference"] = (difference,)
    positions |= _spans(tokenizer, pair, "clean", clean_text, clean)
    others = {"last": (len(corrupted) - 1,), "all": tuple(range(len(corrupted)))}
    if difference is not None and difference < len(corrupted):
        others["first_difference"] = (difference,)
    others |= _spans(tokenizer, pair, "corrupted", corrupted_text, corrupted)
    if isinstance(given.clean, Chat) and isinstance(given.corrupted, Chat):
        positions |= chat_positions(tokenizer, given.clean, clean)
        others |= chat_positions(tokenizer, given.corrupted, corrupted)
    return EncodedPair(
        pair=given,
        clean_ids=torch.tensor(clean),
        corrupted_ids=torch.tensor(corrupted),
        answer_ids=answer_ids,
        foil_ids=foil_ids,
        clean_tokens=tokens[0],
        corrupted_tokens=tokens[1],
        positions=positions,
        corrupted_positions=others,
        clean_text=clean_text,
        corrupted_text=corrupted_text,
    )


def _spans(
    tokenizer: Any, pair: Pair, prompt: Literal["clean", "corrupted"], text: str, ids: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The tokens of a pair's spans in one of its prompts, those without a counterpart in the corrupted one left out."""
    positions: dict[str, tuple[int, ...]] = {}
    ranges = offsets(tokenizer, text, ids) if pair.spans else []
    for name in pair.spans:
        try:
            covered = span_tokens(text, pair.locate(name, prompt), ranges)
        except PromptError:
            if prompt == "corrupted" and name not in pair.corrupted_spans:
                continue
            raise
        if not covered:
            raise PromptError(
                f"spans[{name!r}]: no token of {list(token_strings(tokenizer, ids))} covers {pair.spans[name]!r}"
            )
        positions |= _with_ends(name, covered)
    return positions


def chat_positions(tokenizer: Any, chat: Chat, ids: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The tokens of each of a chat's turns by its name, those in which nothing of what is said stands, and those of
    them after the last turn.
    """
    rendered = render(tokenizer, chat)
    ranges = offsets(tokenizer, rendered.text, ids)
    turns = {name: span_tokens(rendered.text, span, ranges) for name, span in rendered.spans.items()}
    said = {place for tokens in turns.values() for place in tokens}
    own = tuple(place for place in range(len(ids)) if place not in said)
    named = turns | {AFTER: tuple(place for place in own if place > max(said))}
    ends = {n: t for name, tokens in named.items() for n, t in _with_ends(name, tokens).items() if tokens}
    return {TEMPLATE: own} | ends


def _with_ends(name: str, tokens: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {name: tokens, f"{name}_first": tokens[:1], f"{name}_last": tokens[-1:]}


@door(PromptError)
def encode_all(model_or_tokenizer: Any, pairs: Pair | Iterable[Pair], *, aligned: bool = True) -> list[EncodedPair]:
    """Encodes pairs in order; an error names the pair by its place and label."""
    if isinstance(pairs, Pair):
        pairs = [pairs]
    elif isinstance(pairs, str | Mapping) or not isinstance(pairs, Iterable):
        raise PromptError(f"pairs: expected a lens.Pair or several of them, got {type(pairs).__name__}: {pairs!r}")
    tokenizer, encoded = tokenizer_of(model_or_tokenizer), []
    for place, pair in enumerate(pairs):
        try:
            encoded.append(encode(tokenizer, pair, aligned=aligned))
        except PromptError as error:
            label = f" ({pair.label})" if getattr(pair, "label", "") else ""
            raise PromptError(f"pairs[{place}]{label}: {error}") from None
    if not encoded:
        raise PromptError("pairs: is empty; give at least one lens.Pair")
    return encoded


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Index of the first token in which two sequences differ (the shorter's length where it begins the other)."""
    for place, (a, b) in enumerate(zip(first, second)):
        if a != b:
            return place
    return None if len(first) == len(second) else min(len(first), len(second))


def span_tokens(text: str, span: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The tokens that cover the characters `[begin, end)` of a text, by the tokens' own character ranges."""
    # A token owns the space before its word, so white space at a span's ends would pull in a neighbour.
    begin, end = span
    inner = text[begin:end]
    if inner.strip():
        begin, end = begin + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
    return tuple(place for place, (low, high) in enumerate(ranges) if low < high and low < end and begin < high)


def continuation(
    tokenizer: Any, prompt: str, prompt_ids: list[int], answer: str, name: str, prompt_name: str
) -> tuple[int, ...]:
    """The tokens that `answer` adds to `prompt`; `name` and `prompt_name` are what errors call the two.

    Raises PromptError where the answer merges with the prompt's last token or adds none.
    """
    ids = tokenize(tokenizer, prompt + answer)
    require_known(tokenizer, prompt + answer, ids, name)
    place = first_difference(prompt_ids, ids)
    if place is not None and place < len(prompt_ids):
        straddling = token_strings(tokenizer, ids[place : place + 1])
        step = (
            f"`{prompt_name}` ends with white space: move it to the front of the {name}"
            if prompt[-1:].isspace()
            else f"begin the {name} where a token begins, usually with a space: {' ' + answer.lstrip()!r}"
        )
        raise PromptError(
            f"{name}: {answer!r} merges with the end of `{prompt_name}`: the prompt alone ends in "
            f"{list(token_strings(tokenizer, prompt_ids[place:]))}, but with the {name} the token there is "
            f"{straddling[0] if straddling else ''!r}; {step}"
        )
    if len(ids) == len(prompt_ids):
        raise PromptError(f"{name}: {answer!r} adds no token to `{prompt_name}`; give text that the tokenizer keeps")
    return tuple(ids[len(prompt_ids) :])
