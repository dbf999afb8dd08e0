"""What the tokenizer does, shown so that a person can read it: ids, labels, character ranges, side-by-side tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index as as_index
from typing import Any

from .errors import Error


class PromptError(Error, ValueError):
    """A prompt, answer, span or position that cannot be used; the message names it and says what to change."""


def tokenizer_of(model_or_tokenizer: Any) -> Any:
    """The Hugging Face tokenizer of a TransformerBridge, of a model with a `.tokenizer`, or the tokenizer itself."""
    for find in (lambda: getattr(model_or_tokenizer, "tokenizer", None), lambda: model_or_tokenizer):
        try:
            candidate = find()
            if callable(candidate) and not isinstance(candidate, type) and hasattr(candidate, "convert_ids_to_tokens"):
                return candidate
        except Exception:  # an object whose attributes cannot be asked for
            continue
    raise PromptError(
        f"tokenizer: {type(model_or_tokenizer).__name__} has none; pass a tokenizer, a model of lens.load, or attach "
        "one: model.tokenizer = transformers.AutoTokenizer.from_pretrained(...)"
    )


def tokenize(tokenizer: Any, text: str) -> list[int]:
    """Token ids of `text`, with nothing added; special tokens written in the text are read as such."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def token_id(tokenizer: Any, text: str | int) -> int:
    """The one id of a one-token text such as " Mary"; an int is checked against the vocabulary and returned.

    Raises PromptError, with the pieces, for text of several tokens, and for what the vocabulary does not hold.
    """
    tokenizer = tokenizer_of(tokenizer)
    if not isinstance(text, str):
        try:
            number = as_index(text)
        except TypeError:
            raise PromptError(f"token: expected text or an id, got {type(text).__name__} {text!r}") from None
        if isinstance(text, bool) or not 0 <= number < len(tokenizer):
            raise PromptError(f"token: id {text!r} is not in the vocabulary (ids from 0 to {len(tokenizer) - 1})")
        return number
    if not text:
        raise PromptError("token: is empty; give text of exactly one token, for example ' Mary'")
    ids = tokenize(tokenizer, text)
    require_known(tokenizer, text, ids, "token")
    if len(ids) != 1:
        spaced = "" if text.startswith(" ") else "; a word inside a sentence usually begins with a space"
        raise PromptError(
            f"token: {text!r} is {len(ids)} tokens, {list(token_strings(tokenizer, ids))}, where exactly one is"
            f" needed{spaced}"
        )
    return ids[0]


def require_known(tokenizer: Any, text: str, ids: Sequence[int], name: str) -> None:
    """Raises PromptError where part of `text` became the unknown token that the text does not spell out itself."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or unknown not in ids or tokenizer.unk_token in text:
        return
    begin, end = offsets(tokenizer, text, ids)[list(ids).index(unknown)]
    raise PromptError(
        f"{name}: {text[begin:end] or text!r} in {text!r} is not in the vocabulary (it became "
        f"{tokenizer.unk_token!r}, id {unknown}); use words that this tokenizer knows"
    )


def token_strings(tokenizer: Any, ids: Any) -> tuple[str, ...]:
    r"""One readable label a token id, spaces kept; bytes that are only part of a character are shown as \xNN."""
    tokenizer = tokenizer_of(tokenizer)
    return tuple(_token_string(tokenizer, int(token)) for token in ids)


def _token_string(tokenizer: Any, token: int) -> str:
    # Models pad their embedding beyond the tokenizer's vocabulary; such an id can still be predicted.
    raw = tokenizer.convert_ids_to_tokens(token) if 0 <= token < len(tokenizer) else None
    if raw is None:
        return f"[id {token}]"
    text = tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if "\N{REPLACEMENT CHARACTER}" in text:
        data = _raw_bytes(raw)
        text = text if data is None else data.decode("utf-8", "backslashreplace")
    if raw.startswith("\N{LOWER ONE EIGHTH BLOCK}") and not text.startswith(" "):
        text = " " + text
    return text


def _byte_alphabet() -> dict[str, int]:
    # Byte-level BPE (GPT-2) writes a printable Latin-1 byte as itself and the others, in order, from U+0100 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _raw_bytes(raw: str) -> bytes | None:
    # SentencePiece falls back to one token a byte, spelled <0xF0>.
    fallback = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", raw)
    if fallback:
        return bytes([int(fallback[1], 16)])
    return bytes(_BYTE_OF[char] for char in raw) if all(char in _BYTE_OF for char in raw) else None


def offsets(tokenizer: Any, text: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Character range [begin, end) in `text` of every token; tokens that share a character share its range.

    A slow tokenizer keeps no ranges: there they are found by decoding ever longer beginnings, which needs decoding
    to give back `text`; PromptError where it does not.
    """
    if getattr(tokenizer, "is_fast", False):
        spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        return [(begin, end) for begin, end in spans]

    def decode(part: Sequence[int]) -> str:
        return tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    if decode(list(ids)) != text:
        raise PromptError(
            f"spans: this slow tokenizer decodes {text!r} as {decode(list(ids))!r}, so characters cannot be matched to "
            "tokens; use its fast version, or positions by number"
        )
    ranges, end = [], 0
    for place in range(len(ids)):
        begin, prefix = end, decode(list(ids[: place + 1]))
        whole = prefix
        while not text.startswith(whole):
            whole = whole[:-1]
        end = max(begin, len(whole))
        # A token that stops inside a character still owns a part of that character.
        ranges.append((begin, end + (end < len(text) and len(prefix) > len(whole))))
    return ranges


def table(heads: tuple[str, str], columns: tuple[Sequence[str], Sequence[str]], mark: int, around: int = 8) -> str:
    """Two tokenisations in two aligned columns, near row `mark`, which an arrow points at."""
    left, right = ([repr(token) for token in column] for column in columns)
    rows = max(len(left), len(right))
    low, high = max(0, mark - around), min(rows, mark + around + 1)
    cells = [
        (str(row), left[row] if row < len(left) else "(end)", right[row] if row < len(right) else "(end)")
        for row in range(low, high)
    ]
    first, second = (max(len(cell[n]) for cell in [("token", *heads), *cells]) for n in (0, 1))
    lines = [f"   {'token':>{first}}  {heads[0]:<{second}}  {heads[1]}"]
    if low:
        lines.append(f"   {'...':>{first}}  {low} more")
    for row, cell in zip(range(low, high), cells):
        lines.append(f"{'-->' if row == mark else '   '}{cell[0]:>{first}}  {cell[1]:<{second}}  {cell[2]}")
    if high < rows:
        lines.append(f"   {'...':>{first}}  {rows - high} more")
    return "\n".join(line.rstrip() for line in lines)
