"""What the readouts share: prompts and places to read, norms as linear maps, labels, and the record of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..arguments import Whole
from ..engine.effective import linear_bias, norm_map
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sites import indices
from ..engine.stopping import Stopped, says_stop
from ..errors import Error
from ..progress import hidden
from ..prompts import Pair, encode, resolve_positions
from ..results.record import record_of
from ..tokens import PromptError, require_known, token_id, token_strings, tokenize, tokenizer_of

#: Memory of the runs that are recorded at once; bounds the working memory, not the result.
RECORD_BYTES = 256 << 20
#: The token between documents in many vocabularies.
_BETWEEN = "<|endoftext|>"


class ReadoutError(Error, ValueError):
    """An argument of a readout that does not fit; the message names it, its value and what was expected."""


# -- prompts ----------------------------------------------------------------------------------------------------------


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


def read_prompt(model: Any, prompt: str | Pair, which: str = "clean", argument: str = "prompt") -> Reading:
    """The prompt of a text, or one of the two of a pair.

    Raises:
        ReadoutError: neither text nor Pair, an unknown ``which``, an empty text. PromptError: see
            ``lens.prompts.encode``.
    """
    if which not in ("clean", "corrupted"):
        raise ReadoutError(f"which={which!r} is not a prompt of a pair; expected 'clean' or 'corrupted'.")
    if isinstance(prompt, Pair):
        e = encode(model, prompt, aligned=False)

        def first(ids):
            return None if ids is None else ids[0]

        if which == "clean":
            return Reading(
                prompt,
                prompt.start + prompt.clean,
                e.clean_ids,
                e.clean_tokens,
                e.positions,
                first(e.answer_ids),
                first(e.foil_ids),
            )
        n = len(e.corrupted_ids)
        named = e.positions if n == len(e.clean_ids) else {"last": (n - 1,), "all": tuple(range(n))}
        return Reading(
            prompt,
            prompt.start + prompt.corrupted,
            e.corrupted_ids,
            e.corrupted_tokens,
            named,
            first(e.answer_ids),
            first(e.foil_ids),
        )
    if not isinstance(prompt, str):
        raise ReadoutError(f"{argument}={prompt!r} is a {type(prompt).__name__}; expected text or a lens.Pair.")
    if which != "clean":
        raise ReadoutError(
            f"which={which!r} chooses between the prompts of a pair, but {argument} is plain text; leave it out."
        )
    tokenizer = tokenizer_of(model)
    ids = tokenize(tokenizer, prompt)
    if not ids:
        raise ReadoutError(f"{argument}={prompt!r} has no token; give text that the tokenizer keeps.")
    require_known(tokenizer, prompt, ids, argument)
    named = {"last": (len(ids) - 1,), "all": tuple(range(len(ids)))}
    return Reading(None, prompt, torch.tensor(ids), token_strings(tokenizer, ids), named, None, None)


def read_prompts(
    model: Any, prompts: Any, which: str = "clean", argument: str = "prompts"
) -> tuple[bool, list[Reading]]:
    """Whether a single prompt was given, and the prompts.

    Raises: as ``read_prompt``; ReadoutError where the list is empty.
    """
    single = isinstance(prompts, str | Pair)
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


def start_token(model: Any, decoder: Model, start: Any) -> int | None:
    """The id of a start token: ``"bos"`` is the model's own (None where it has none), else one token as text or id.

    ``"auto"`` is the token that stands between documents, ``<|endoftext|>``, where the vocabulary has it (a chat
    model's own start token opens a turn instead), else as ``"bos"``.

    Raises:
        PromptError: not exactly one token of the vocabulary.
    """
    if start is None:
        return None
    if isinstance(start, str) and start == "auto":
        tokenizer: Any = getattr(model, "tokenizer", None)
        found = None if tokenizer is None else tokenizer.convert_tokens_to_ids(_BETWEEN)
        # a word that is not in the vocabulary has the id of the unknown token
        found = found if found is not None and tokenizer.convert_ids_to_tokens(found) == _BETWEEN else None
        start = "bos" if found is None else found
    if isinstance(start, str) and start == "bos":
        own = getattr(getattr(model, "tokenizer", None), "bos_token_id", None)
        return own if own is not None else getattr(decoder.config, "bos_token_id", None)
    return one_token(model, decoder, start, "start")


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


# -- places -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """The tokens to read of every prompt, and what they are called.

    Attributes:
        at: per prompt, token indexes.
        position: labels along the axis: names, or token indexes where these agree over prompts, else 0, 1, ...
        scalar: one token a prompt, asked for by itself: the result has no position axis.
    """

    at: list[list[int]]
    position: np.ndarray
    scalar: bool

    @property
    def width(self) -> int:
        """How many positions are read of each row."""
        return len(self.position)

    def padded(self, rows: Sequence[Sequence[Any]], fill: Any) -> np.ndarray:
        """Per-prompt lists as one array ``[prompt, position]``."""
        return np.array([[*row, *[fill] * (self.width - len(row))] for row in rows])

    def coords(self, readings: Sequence[Reading]) -> dict[str, Any]:
        """``position``, the token there, and its index in the prompt (-1: the prompt has no such place)."""
        tokens = self.padded([[r.tokens[p] for p in at] for r, at in zip(readings, self.at)], "").astype(str)
        return {
            "position": self.position,
            "token": (("prompt", "position"), tokens),
            "token_index": (("prompt", "position"), self.padded(self.at, -1)),
        }


def places(readings: Sequence[Reading], spec: Any) -> Places:
    """Resolves positions in every prompt: None for all tokens, names, ints, slices or lists of them; groups are read
    token by token.

    Raises:
        PromptError: see ``lens.prompts.resolve_positions``. ReadoutError: names that mean another number of tokens in
            another prompt.
    """
    spec = None if isinstance(spec, str) and spec == "all" else spec
    at, names = [], []
    for r in readings:
        found = resolve_positions(r, spec)
        at.append([p for _, group in found for p in group])
        names.append([name if len(g) == 1 else f"{name}[{j}]" for name, g in found for j in range(len(g))])
    scalar = spec is not None and not isinstance(spec, slice | list | tuple | range) and all(len(a) == 1 for a in at)
    width = max(map(len, at))
    if any(not n.lstrip("-").isdigit() for n in names[0]):
        if any(n != names[0] for n in names):
            raise ReadoutError(
                f"positions={spec!r} mean {names[0]} in one prompt and {next(n for n in names if n != names[0])} in"
                " another; use names that are as long in every prompt, such as 'last' or '<span>_last'."
            )
        return Places(at, np.array(names[0], dtype=str), scalar)
    same = all(a == at[0] for a in at)
    if scalar and not same:
        return Places(at, np.array([int(spec)]), scalar)
    return Places(at, np.array(at[0]) if same else np.arange(width), scalar)


def one_position(readings: Sequence[Reading], position: Any, argument: str = "position") -> list[int]:
    """The token index of one position in every prompt.

    Raises: as ``places``; ReadoutError where it is several tokens.
    """
    found = places(readings, position if position is not None else "last")
    if not found.scalar:
        raise ReadoutError(
            f"{argument}={position!r} is {len(found.at[0])} tokens; expected one: an int, 'last', or the name of one"
            " token."
        )
    return [a[0] for a in found.at]


# -- weights ----------------------------------------------------------------------------------------------------------


def value_weight(block: Any) -> Float[Tensor, "n_kv_heads d_model d_head"]:
    """``W_V`` by key/value head, in the TransformerLens layout, as it is applied now (with adapters, where there are
    some).
    """
    return block.value_weight().unflatten(0, (-1, block.d_head)).transpose(1, 2)


def kv_heads(decoder: Model, heads: Sequence[int] | np.ndarray) -> np.ndarray:
    """The key/value head that each query head reads; -1 where keys and values were not found by head."""
    at = np.asarray(heads, dtype=int)
    return at // (decoder.n_heads // decoder.n_kv_heads) if decoder.n_kv_heads else np.full_like(at, -1)


def norm_parts(norm: Any) -> tuple[bool, Tensor | None, float]:
    """Whether a norm subtracts the mean, its weight in float32 (None: there is no norm here) and its epsilon."""
    module = getattr(norm, "module", None)
    if module is None:
        return False, None, 0.0
    centre, weight, _, epsilon = norm_map(module)
    factor = getattr(norm, "factor", 1.0)
    return centre, weight if factor == 1.0 else weight * factor, epsilon


def _centred(x: Tensor, wanted: bool) -> Tensor:
    return x - x.mean(-1, keepdim=True) if wanted else x


def norm_scale(norm: Any, whole: Float[Tensor, "... d_model"]) -> Float[Tensor, "... 1"]:
    """1 / root mean square (or standard deviation), as the norm divides ``whole`` by it; 1 where there is no norm."""
    centre, weight, epsilon = norm_parts(norm)
    if weight is None:
        return torch.ones(*whole.shape[:-1], 1, device=whole.device)
    return (_centred(whole.float(), centre).square().mean(-1, keepdim=True) + epsilon).rsqrt()


def through_norm(norm: Any, part: Float[Tensor, "... d_model"], scale: Any = 1.0) -> Float[Tensor, "... d_model"]:
    """What a norm with a frozen scale makes of one addend of its input: linear, without the norm's bias."""
    centre, weight, _ = norm_parts(norm)
    return part.float() if weight is None else _centred(part.float(), centre) * scale * weight


def back_through_norm(
    norm: Any, direction: Float[Tensor, "... d_model"], scale: Any = 1.0
) -> Float[Tensor, "... d_model"]:
    """The transpose of ``through_norm``: the direction before the norm whose product with an addend is ``direction``'s
    after it.
    """
    centre, weight, _ = norm_parts(norm)
    return direction if weight is None else _centred(direction * weight * scale, centre)


def module_bias(module: Any) -> Tensor | None:
    """The bias that a linear layer or norm applies now, in float32, or None."""
    if module is None:
        return None
    if not isinstance(module, nn.Module):
        inner = getattr(module, "module", None)
        bias = None if inner is None else norm_map(inner)[2]
        return None if bias is None else bias * getattr(module, "factor", 1.0)
    bias = linear_bias(module)
    return None if bias is None else bias.float()


# -- arguments and the record -----------------------------------------------------------------------------------------


def selected(spec: Any, size: int, argument: str) -> list[int]:
    """``indices`` that select something.

    Raises: SiteError: out of range; ReadoutError: an empty choice.
    """
    found = indices(spec, size, argument)
    if not found:
        raise ReadoutError(f"{argument}s={spec!r} select nothing; use None for all {size}.")
    return found


def layers_with(decoder: Model, layers: Any, site: str = "z") -> list[int]:
    """Layers that have a site: those named, or, of None, all that have it (of a hybrid some have no attention heads).

    Raises: SiteError: one that is named has not, or none has; as `selected`.
    """
    found = selected(layers, decoder.n_layers, "layer")
    if layers is None:
        found = [l for l in found if decoder.has(site, l)] or found
    for layer in found:
        decoder.require(site, layer)
    return found


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
    made = record_of(
        model,
        decoder,
        kind,
        call,
        [r.pair for r in readings if r.pair is not None],
        seed=seed,
        status="complete",
        state=decoder.state,
    )
    return made | {"texts": [r.text for r in readings]} if readings else made
