"""Prompts as read-outs read them: their tokens and answers, their runs, and the record of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Whole, shown
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sites import indices
from ..engine.stopping import Stopped, says_stop
from ..errors import Error
from ..progress import hidden
from ..prompts import Chat, Pair, as_chat, chat_positions, encode, is_messages, prompt_ids, render, warn_without_start
from ..results.record import record_of
from ..tokens import PromptError, require_known, token_id, token_strings, tokenize, tokenizer_of

#: Memory of the runs that are recorded at once; bounds the working memory, not the result.
RECORD_BYTES = 256 << 20


#: What a read-out reads: a text, a pair, a chat, or a chat's list of messages.
Prompt = str | Pair | Chat | Sequence[Any]


class ReadoutError(Error, ValueError):
    """An argument of a readout that does not fit; the message names it, its value and what was expected."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One prompt to read: its tokens, its named positions, and the first token of its answer and foil where it has
    them.
    """

    pair: Pair | None
    text: str
    ids: Tensor
    tokens: tuple[str, ...]
    positions: Mapping[str, tuple[int, ...]]
    answer: int | None
    foil: int | None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def label(self) -> str:
        """Of the pair that was read; empty where it was a text."""
        return "" if self.pair is None else self.pair.label


def read_prompt(model: Any, prompt: Prompt, which: str = "clean", argument: str = "prompt") -> Reading:
    """The prompt of a text, a chat (or its list of messages), or one of the two of a pair.

    Raises:
        ReadoutError: neither text nor Pair, an unknown ``which``, an empty text. PromptError: see
            ``lens.prompts.encode``.
    """
    if which not in ("clean", "corrupted"):
        raise ReadoutError(f"which={which!r} is not a prompt of a pair; expected 'clean' or 'corrupted'.")
    if isinstance(prompt, Pair):
        e = encode(model, prompt, aligned=False)
        ids, tokens, text, named = (
            (e.clean_ids, e.clean_tokens, e.clean_text, e.positions)
            if which == "clean"
            else (e.corrupted_ids, e.corrupted_tokens, e.corrupted_text, e.corrupted_positions)
        )
        if which == "corrupted" and len(ids) == len(e.clean_ids):
            named = {**e.positions, **named}
        first, other = (None if a is None else a[0] for a in (e.answer_ids, e.foil_ids))
        return Reading(prompt, text, ids, tokens, named, first, other)
    if isinstance(prompt, Chat) or is_messages(prompt):
        return _read_chat(model, as_chat(prompt), argument)
    if not isinstance(prompt, str):
        raise ReadoutError(
            f"{argument}={shown(prompt)} is a {type(prompt).__name__}; expected text, a chat or a lens.Pair."
        )
    if which != "clean":
        raise ReadoutError(
            f"which={which!r} chooses between the prompts of a pair, but {argument} is plain text; leave it out."
        )
    tokenizer = tokenizer_of(model)
    read = tokenize(tokenizer, prompt)
    if not read:
        raise ReadoutError(f"{argument}={prompt!r} has no token; give text that the tokenizer keeps.")
    require_known(tokenizer, prompt, read, argument)
    warn_without_start(tokenizer, read)
    named = {"last": (len(read) - 1,), "all": tuple(range(len(read)))}
    return Reading(None, prompt, torch.tensor(read), token_strings(tokenizer, read), named, None, None)


def _read_chat(model: Any, chat: Chat, argument: str) -> Reading:
    """A chat as its tokenizer's template makes it, with the positions of its turns."""
    ids, tokenizer = prompt_ids(model, chat, name=argument), tokenizer_of(model)
    named = {"last": (len(ids) - 1,), "all": tuple(range(len(ids)))} | chat_positions(tokenizer, chat, ids.tolist())
    return Reading(None, render(tokenizer, chat).text, ids, token_strings(tokenizer, ids), named, None, None)


def read_prompts(
    model: Any, prompts: Any, which: str = "clean", argument: str = "prompts"
) -> tuple[bool, list[Reading]]:
    """Whether a single prompt was given, and the prompts.

    Raises: as ``read_prompt``; ReadoutError where the list is empty.
    """
    single = isinstance(prompts, str | Pair | Chat) or is_messages(prompts)
    if not single and (isinstance(prompts, Mapping) or not hasattr(prompts, "__iter__")):
        raise ReadoutError(
            f"{argument}={prompts!r} is a {type(prompts).__name__}; expected text, a lens.Pair, or a list of them."
        )
    chosen = [prompts] if single else list(prompts)
    if not chosen:
        raise ReadoutError(f"{argument} is empty; give text or a lens.Pair.")
    return single, [
        read_prompt(model, p, which, argument if single else f"{argument}[{i}]") for i, p in enumerate(chosen)
    ]


def answers(model: Any, readings: Sequence[Reading], answer: Any, foil: Any) -> list[tuple[int | None, int | None]]:
    """The token ids of answer and foil of every prompt: the arguments where given, else the first tokens of the pair's
    own.

    Raises:
        ReadoutError: a foil without an answer, lists of another length, answer and foil that begin with the same token.
        PromptError: an argument that is not exactly one token.
    """

    def column(value, name, own):
        if value is None:
            return own
        many = isinstance(value, list | tuple)
        if many and len(value) != len(readings):
            raise ReadoutError(
                f"{name} has {len(value)} entries for {len(readings)} prompts; give one a prompt, or a single one for"
                " all."
            )
        try:
            return [token_id(model, v) for v in (value if many else [value] * len(readings))]
        except PromptError as error:
            raise PromptError(f"{name}: {error}") from None

    first = column(answer, "answer", [r.answer for r in readings])
    # an answer given by hand replaces the pair's, and so does away with the pair's foil
    second = column(foil, "foil", [r.foil if answer is None else None for r in readings])
    for r, a, f in zip(readings, first, second):
        if f is not None and a is None:
            raise ReadoutError(f"foil={foil!r} is given without an answer to set against it; give answer too.")
        if f is not None and a == f:
            raise ReadoutError(
                f"foil: the first token of foil and answer of {r.text!r} is the same, {token_strings(model, [a])[0]!r};"
                " the readout compares first tokens: give answers that part there."
            )
    return list(zip(first, second))


def labels(model: Any, ids: Any) -> np.ndarray:
    """Readable labels of token ids, in the shape of ``ids``; numbers where the model has no tokenizer."""
    ids = np.asarray(ids)
    unique, back = np.unique(ids, return_inverse=True)
    try:
        names = token_strings(model, unique)
    except PromptError:
        names = tuple(f"[id {i}]" for i in unique)
    return np.array(names, dtype=str)[back.reshape(ids.shape)]


def one_token(model: Any, decoder: Model, token: Any, argument: str) -> int:
    """The id of a token given as text or number.

    Raises: PromptError, ReadoutError: not one token of this vocabulary.
    """
    if isinstance(token, str):
        try:
            return token_id(model, token)
        except PromptError as error:
            raise PromptError(f"{argument}: {error}") from None
    if isinstance(token, bool) or not hasattr(token, "__index__"):
        raise ReadoutError(f"{argument}={token!r} is a {type(token).__name__}; expected a token as text or as an id.")
    if not 0 <= int(token) < decoder.d_vocab:
        raise ReadoutError(f"{argument}={int(token)} is not a token; this model has ids 0 to {decoder.d_vocab - 1}.")
    return int(token)


def ordinary_tokens(model: Any, decoder: Model) -> np.ndarray:
    """All ids that stand for text: no special tokens, no padding of the embedding beyond the tokenizer."""
    tokenizer = getattr(model, "tokenizer", None)
    size = decoder.d_vocab if tokenizer is None else min(decoder.d_vocab, len(tokenizer))
    special = [] if tokenizer is None else list(tokenizer.all_special_ids)
    special += [
        i for i in np.ravel([getattr(decoder.config, f"{n}_token_id", None) for n in ("bos", "pad")]) if i is not None
    ]
    return np.setdiff1d(np.arange(size), special)


def recorded(
    decoder: Model,
    ids: Sequence[Tensor],
    keep: Sequence[str],
    label: str,
    *,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[list[int], Runs]]:
    """Runs of the prompts, a few at a time to bound memory: the prompts' numbers and their run.

    Raises: Stopped: ``stop``, asked before each batch, said so.
    """
    batches: list[list[int]] = [[]]
    used = 0
    for i, t in enumerate(ids):
        size = run_bytes(decoder, len(t), keep)
        if batches[-1] and used + size > RECORD_BYTES:
            batches.append([])
            used = 0
        batches[-1].append(i)
        used += size
    with tqdm(total=len(ids), desc=label, unit="prompt", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        for batch in batches:
            if says_stop(stop):
                raise Stopped(f"{label}: stopped after {batch[0]} of {len(ids)} prompts")
            yield batch, Runs.record(decoder, [ids[i] for i in batch], keep)
            bar.update(len(batch))


def selected(spec: Any, size: int, argument: str) -> list[int]:
    """``indices`` that select something.

    Raises: SiteError: out of range; ReadoutError: an empty choice.
    """
    numbers = indices(spec, size, argument)
    if not numbers:
        raise ReadoutError(f"{argument}s={spec!r} select nothing; use None for all {size}.")
    return numbers


def layers_with(decoder: Model, layers: Any, site: str = "z") -> list[int]:
    """Layers that have a site: those named, or, of None, all that have it (of a hybrid some have no attention heads).

    Raises: SiteError: one that is named has not, or none has; as `selected`.
    """
    chosen = selected(layers, decoder.n_layers, "layer")
    if layers is None:
        chosen = [l for l in chosen if decoder.has(site, l)] or chosen
    for layer in chosen:
        decoder.require(site, layer)
    return chosen


def count(value: Any, argument: str, least: int = 1) -> int:
    """A whole number of at least ``least``, or ReadoutError."""
    return Whole(least).of(value, argument, ReadoutError)


def record(
    model: Any,
    decoder: Model,
    kind: str,
    call: dict[str, Any],
    readings: Sequence[Reading] = (),
    seed: int | None = None,
) -> dict[str, Any]:
    """What it takes to compute a readout again, for ``lens.results.dataset.stamp``; ``decoder`` is the one that the
    readout began with.
    """
    entries = record_of(
        model,
        decoder,
        kind,
        call,
        [r.pair for r in readings if r.pair is not None],
        seed=seed,
        status="complete",
        state=decoder.state,
    )
    return entries | {"texts": [r.text for r in readings]} if readings else entries
