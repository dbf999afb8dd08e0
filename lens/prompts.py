"""Prompts as the engine reads them: clean/corrupted pairs, their tokens, their answers and their named positions.

A `Pair` is text; `encode` turns it into token ids with whichever tokenizer the model carries. Nothing is added to a
prompt behind the reader's back: a start token is literal text in `Pair.start`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from operator import index as as_index
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from lens import reading
from lens.arguments import Count, door, unfit
from lens.tokens import PromptError, offsets, require_known, table, token_id, token_strings, tokenize, tokenizer_of

__all__ = [
    "EncodedPair",
    "Pair",
    "PromptError",
    "encode",
    "encode_all",
    "load_pairs",
    "resolve_positions",
    "token_id",
    "token_strings",
    "tokenizer_of",
]

RESERVED = ("last", "all", "first_difference")
DATA_SETS = ("facts", "ioi")
SPLITS = ("report", "select")


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
                found = self.clean.count(text)
                raise PromptError(
                    f"spans[{name!r}]: {text!r} occurs {found} time{'' if found == 1 else 's'} in `clean`, but "
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


@dataclass(frozen=True, eq=False)
class EncodedPair:
    """A pair as token ids, with one label a token and the positions that have names.

    `positions` always holds "last" and "all" and, where the prompts differ, "first_difference"; a span named
    "subject" adds "subject", "subject_first" and "subject_last". Positions count tokens of the clean prompt from 0,
    start text included; an aligned pair reads the corrupted prompt at the same ones.
    """

    pair: Pair
    clean_ids: Int64[Tensor, " position"]
    corrupted_ids: Int64[Tensor, " position"]
    answer_ids: tuple[int, ...]
    foil_ids: tuple[int, ...] | None
    clean_tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    positions: Mapping[str, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.clean_ids)


@door(PromptError)
def encode(model_or_tokenizer: Any, pair: Pair, *, aligned: bool = True) -> EncodedPair:
    """Tokenises a pair, its answers (as continuations of both prompts) and its spans.

    `aligned=True` demands what patching position by position needs: as many tokens in both prompts, and at least one
    that differs; `aligned=False` checks neither. No special token is added. Raises PromptError, which shows the two
    tokenisations where they part, the token that straddles prompt and answer, or the text that the vocabulary lacks.
    """
    tokenizer = tokenizer_of(model_or_tokenizer)
    if not isinstance(pair, Pair):
        raise PromptError(f"pair: expected a lens.Pair, got {type(pair).__name__}: {pair!r}")
    clean_text, corrupted_text = pair.start + pair.clean, pair.start + pair.corrupted
    ids = {}
    for name, text in (("clean", clean_text), ("corrupted", corrupted_text)):
        ids[name] = tokenize(tokenizer, text)
        require_known(tokenizer, text, ids[name], name)
    clean, corrupted = ids["clean"], ids["corrupted"]
    tokens = token_strings(tokenizer, clean), token_strings(tokenizer, corrupted)
    difference = first_difference(clean, corrupted)
    if aligned and len(clean) != len(corrupted):
        raise PromptError(
            f"pair: `clean` has {len(clean)} tokens and `corrupted` {len(corrupted)}, but patching needs them to align "
            f"token by token; they first differ at token {difference}:\n"
            f"{table(('clean', 'corrupted'), tokens, difference)}\n"
            "change a word for one with as many tokens, or use encode(..., aligned=False) where lengths may differ"
        )
    if aligned and difference is None:
        raise PromptError(
            f"corrupted: its tokens equal those of `clean` ({pair.clean!r}), so there is nothing to patch"
        )

    answers: dict[str, tuple[int, ...] | None] = {"foil": None}
    for name in ("answer", "foil") if pair.foil is not None else ("answer",):
        before = continuation(tokenizer, clean_text, clean, getattr(pair, name), name, "clean")
        after = continuation(tokenizer, corrupted_text, corrupted, getattr(pair, name), name, "corrupted")
        if before != after:
            raise PromptError(
                f"{name}: {getattr(pair, name)!r} splits into {list(token_strings(tokenizer, before))} after `clean`"
                f" but {list(token_strings(tokenizer, after))} after `corrupted`; end both prompts with the same word"
            )
        answers[name] = before

    positions = {"last": (len(clean) - 1,), "all": tuple(range(len(clean)))}
    if difference is not None and difference < len(clean):
        positions["first_difference"] = (difference,)
    ranges = offsets(tokenizer, clean_text, clean) if pair.spans else []
    for name in pair.spans:
        covered = span_tokens(clean_text, pair.locate(name), ranges)
        if not covered:
            raise PromptError(f"spans[{name!r}]: no token of {list(tokens[0])} covers {pair.spans[name]!r}")
        positions |= {name: covered, f"{name}_first": covered[:1], f"{name}_last": covered[-1:]}
    return EncodedPair(
        pair=pair,
        clean_ids=torch.tensor(clean),
        corrupted_ids=torch.tensor(corrupted),
        answer_ids=answers["answer"],
        foil_ids=answers["foil"],
        clean_tokens=tokens[0],
        corrupted_tokens=tokens[1],
        positions=positions,
    )


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


def resolve_positions(encoded: EncodedPair, spec: Any = None) -> list[tuple[str, tuple[int, ...]]]:
    """Names and token indexes (each >= 0) of the positions asked for; each entry is edited as one.

    `spec` is None (every token by itself), a name ("last", "subject", ...: its tokens together), an int (negative
    counts from the end), a slice or range (its tokens one by one), or a list of those; a tuple of ints inside a list
    is one group. Raises PromptError for a name or index that is not there, a repeat, and a choice of nothing.
    """
    length = len(encoded)
    if spec is None:
        spec = slice(None)
    groups: list[tuple[str, tuple[int, ...]]] = []
    for item in spec if isinstance(spec, list | tuple) else [spec]:
        if isinstance(item, str):
            if item not in encoded.positions:
                raise PromptError(
                    f"positions: {item!r} is not a named position of this pair; it has {', '.join(encoded.positions)} "
                    "(Pair.spans adds names)"
                )
            groups.append((item, tuple(encoded.positions[item])))
        elif isinstance(item, slice):
            try:
                chosen = range(length)[item]
            except (TypeError, ValueError) as error:
                raise PromptError(f"positions: {item!r} is not a slice of token indexes: {error}") from None
            groups += [(str(place), (place,)) for place in chosen]
        elif isinstance(item, range):
            groups += [(str(place), (place,)) for place in (_place(value, length) for value in item)]
        elif isinstance(item, tuple | list):
            together = tuple(_place(value, length) for value in item)
            if len(set(together)) != len(together):
                raise PromptError(f"positions: the group {item!r} holds a token twice ({length} tokens)")
            if together:
                groups.append(("+".join(map(str, together)), together))
        else:
            place = _place(item, length)
            groups.append((str(place), (place,)))
    if not groups:
        raise PromptError(f"positions: {spec!r} selects none of the {length} tokens; use None for all of them")
    names = [name for name, _ in groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PromptError(f"positions: {spec!r} asks for {twice!r} more than once ({length} tokens); give each once")
    return groups


@door(PromptError)
def load_pairs(
    name: str,
    *,
    split: str | None = None,
    limit: Count | None = None,
    group: str | None = None,
    top: Count | None = None,
) -> list[Pair]:
    """Pairs of a shipped data set ("ioi" or "facts") that SmolLM2-135M-Instruct answers, as lens/data/README.md says.

    `name` may also be a .jsonl file that `python -m lens.data.make` wrote for another model. `split` is "select" or
    "report" (no subject or couple of names in both); `group` one template or relation; `top=1` keeps the pairs whose
    right answer is the model's first choice on both prompts (`top=5`: among its five); `limit` takes that many, spread
    over the groups in turn. Raises PromptError for a name, split or group that does not exist.
    """
    if not isinstance(name, str) or (name not in DATA_SETS and not name.endswith(".jsonl")):
        raise PromptError(f"name: {name!r} is not a shipped data set ({', '.join(DATA_SETS)}) nor a .jsonl file")
    if split is not None and split not in SPLITS:
        raise PromptError(f"split: {split!r} does not exist; there are {', '.join(SPLITS)}, and None for both")
    for argument, value in (("limit", limit), ("top", top)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise PromptError(f"{argument}: expected a whole number, at least 1, or None, got {value!r}")
    file = resources.files("lens.data") / f"{name}.jsonl" if name in DATA_SETS else Path(name)
    records = [_checked(record, f"{name}, line {number}") for number, record in reading.records(file, _refuse, _KEYS)]
    groups = sorted({record["group"] for record in records})
    if group is not None and group not in groups:
        raise PromptError(f"group: {group!r} is not in {name!r}; there are {', '.join(groups)}")
    chosen = [r for r in records if split in (None, r["split"]) and group in (None, r["group"])]
    chosen = [r for r in chosen if top is None or max(r["ranks"]) <= top]
    if limit is not None:
        seen: dict[str, int] = {}
        turn = {}
        for record in chosen:
            turn[record["id"]] = seen[record["group"]] = seen.get(record["group"], 0) + 1
        chosen = sorted(chosen, key=lambda record: turn[record["id"]])[:limit]
    return [pair_from_record(record) for record in chosen]


#: What each line of a data set has: texts, spans, and the model's rank of the right answer on both prompts.
_KEYS = ("id", "group", "split", "clean", "corrupted", "answer", "foil", "start", "spans", "ranks")


def _refuse(said: str) -> PromptError:
    return PromptError(f"name: {said}; expected lines as `python -m lens.data.make` writes them")


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    """A line whose entries are of the expected kinds. Raises PromptError."""
    ranks = record["ranks"]
    if wrong := [key for key in ("id", "group", "split") if not isinstance(record[key], str)]:
        raise _refuse(f"{where} has {wrong[0]}={record[wrong[0]]!r:.60}, not a text")
    if not isinstance(ranks, list) or not ranks or not all(type(rank) in (int, float) for rank in ranks):
        raise _refuse(f"{where} has ranks={ranks!r:.60}, not a list of numbers")
    try:
        pair_from_record(record)
    except PromptError as error:
        raise PromptError(f"name: {where}: {error}") from None
    return record


def pair_from_record(record: Mapping[str, Any]) -> Pair:
    """The Pair of one line of a data set."""
    if not isinstance(record["spans"], Mapping):
        raise PromptError(f"spans: expected an object of names and parts of `clean`, got {record['spans']!r:.60}")
    spans = {name: tuple(value) if isinstance(value, list) else value for name, value in record["spans"].items()}
    texts = {name: record[name] for name in ("clean", "corrupted", "answer", "foil", "start")}
    return Pair(**texts, spans=spans, label=record["id"])


def _place(value: Any, length: int) -> int:
    try:
        place = as_index(value)
    except TypeError:
        place = None
    if place is None or isinstance(value, bool):
        raise PromptError(
            f"positions: expected None, a name, an int, a slice or a list of those, got {type(value).__name__}"
            f" {value!r}"
        )
    if not -length <= place < length:
        raise PromptError(f"positions: {place} is out of range for {length} tokens (from {-length} to {length - 1})")
    return place % length


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
