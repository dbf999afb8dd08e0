"""One prompt under an injection, at once: the next token before and after, and text generated with and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import Count, Draws, HFModel, Layers, Token, door, shown, unfit
from ..engine.edits import Edit
from ..engine.generation import Generated, write
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..prompts import PromptError, continuation, span_tokens, start_token
from ..tokens import offsets, require_known, token_strings, tokenize, tokenizer_of
from .items import InjectionError
from .memories import Memory, Where, different_layers, edits, relative_factors, stream_rms, warn_overflow


@dataclass(frozen=True, eq=False)
class Distribution:
    """The next token of a prompt without and with an injection.

    `before` and `after` are the k most likely tokens, `(token, probability)`; `logprobs_before`, `logprobs_after` the
    log-probabilities of the whole vocabulary, `[d_vocab]` in nats; `answer_before`, `answer_after` the log-probability
    of the whole answer (nats), where one was given; `answer_tokens` how many tokens that is; `runs` is the unedited
    run, to pass to the next call on the same prompt and answer.
    """

    before: list[tuple[str, float]]
    after: list[tuple[str, float]]
    logprobs_before: Float[Tensor, " d_vocab"]
    logprobs_after: Float[Tensor, " d_vocab"]
    runs: Runs
    answer_before: float | None = None
    answer_after: float | None = None
    answer_tokens: int = 0

    @property
    def answer_change(self) -> float | None:
        """Log-ratio of the whole answer's probability with and without the injection, nats; None without an answer."""
        return (
            None if self.answer_before is None or self.answer_after is None else self.answer_after - self.answer_before
        )

    @property
    def kl(self) -> float:
        """KL(before || after), nats."""
        return float((self.logprobs_before.exp() * (self.logprobs_before - self.logprobs_after)).sum())


@door(InjectionError)
def places(
    model: HFModel, prompt: str, positions: Where, *, subject: str | None = None, start: Token | None = "auto"
) -> tuple[int, ...]:
    """Token positions of a prompt (with its start token) by name; ``subject`` needs the words.

    Raises: InjectionError: an unknown name, or a subject that is not in the prompt.
    """
    ids, lead = _tokens(model, prompt, start)
    return _places(model, prompt, ids, lead, positions, subject)


def _tokens(model: Any, prompt: str, start: Any) -> tuple[Tensor, int]:
    """The prompt's tokens with the start token, `[length]`, and how many of them are start tokens (0 or 1).

    Raises: InjectionError: no text.
    """
    if not prompt.strip():
        raise InjectionError(unfit("prompt", prompt, "text that is more than spaces"))
    tokenizer, first = tokenizer_of(model), start_token(model, start)
    ids = tokenize(tokenizer, prompt)
    try:
        require_known(tokenizer, prompt, ids, "prompt")
    except PromptError as error:
        raise InjectionError(str(error)) from None
    return torch.tensor(([] if first is None else [first]) + ids), int(first is not None)


def _places(model: Any, prompt: str, ids: Tensor, lead: int, positions: str, subject: str | None) -> tuple[int, ...]:
    if positions == "subject":
        if not subject or (at := prompt.find(subject)) < 0:
            raise InjectionError(
                f"subject={shown(subject)} is not in the prompt {prompt!r}; give the words as they stand there, or"
                " other positions."
            )
        tokenizer = tokenizer_of(model)
        covered = span_tokens(prompt, (at, at + len(subject)), offsets(tokenizer, prompt, ids[lead:].tolist()))
        return tuple(p + lead for p in covered)
    n = len(ids)
    return {"all": tuple(range(n)), "last": (n - 1,), "not_first": tuple(range(min(lead, n - 1), n))}[positions]


@door(InjectionError)
@of_one_model(reads=False)
@torch.no_grad()
def next_tokens(
    model: HFModel,
    prompt: str,
    memory: Memory | None = None,
    *,
    layers: Layers = (),
    strength: float = 1.0,
    positions: Where = "all",
    subject: str | None = None,
    relative: bool = False,
    answer: str | None = None,
    k: Count = 10,
    start: Token | None = "auto",
    runs: Runs | None = None,
) -> Distribution:
    """The next token's distribution before and after an injection.

    Args:
        memory: what `encode` returned; None injects nothing.
        layers: one or several. strength, relative: as in `sweep`. positions: as in `sweep`; ``subject`` needs the words
            in ``subject``.
        answer: what may follow the prompt, with its leading space, of any number of tokens: its log-probability is read
            too. Its own tokens are not edited.
        runs: the ``runs`` of an earlier call on the same prompt, answer and start: the unedited run is then not made
            again.

    Cost: one pass over the prompt, and the part of one above the first injected layer; with ``runs`` only the latter.

    Raises: InjectionError: see `places`, `encode`.
    """
    decoder, value = Model.of(model), float(strength)
    ids, lead = _tokens(model, prompt, start)
    tail = () if answer is None else answer_ids(model, prompt, answer)
    whole = torch.cat([ids, torch.tensor(tail[:-1], dtype=torch.long)])
    if runs is None or len(runs) != 1 or runs.lengths[0] != len(whole) or not torch.equal(runs.ids[0].cpu(), whole):
        runs = Runs.record(decoder, [whole], keep=())
    reads = list(range(len(ids) - 1, len(whole)))
    before = after = runs.final[reads]
    if memory is not None:
        at = _places(model, prompt, ids, lead, positions, subject)
        injection = _edits(decoder, memory, layers, value, relative, runs, at, len(ids))
        if injection:
            after = decoder.run(runs, [(0, injection)], [reads]).resid
    # one product for all reads: the unembedding is by far the largest matrix
    both = decoder.unembed(torch.cat([before, after]) if after is not before else before).float().log_softmax(-1)
    logprobs_before, logprobs_after = both[0], both[-len(reads)]

    def of_answer(x: Tensor) -> float | None:
        """The log-probability of the whole answer."""
        return float(x[: len(tail)].gather(-1, torch.tensor(tail, device=x.device)[:, None]).sum()) if tail else None

    return Distribution(
        _top(model, logprobs_before, k),
        _top(model, logprobs_after, k),
        logprobs_before,
        logprobs_after,
        runs,
        of_answer(both[: len(reads)]),
        of_answer(both[-len(reads) :]),
        len(tail),
    )


def answer_ids(model: Any, prompt: str, answer: str) -> tuple[int, ...]:
    """The tokens that an answer adds to a prompt.

    Raises: InjectionError: it merges with the prompt, or adds none.
    """
    tokenizer = tokenizer_of(model)
    try:
        return continuation(tokenizer, prompt, tokenize(tokenizer, prompt), answer, "answer", "prompt")
    except PromptError as error:
        raise InjectionError(str(error)) from None


def _edits(
    decoder: Model,
    memory: Memory,
    layers: Any,
    strength: float,
    relative: bool,
    runs: Runs,
    position: Any,
    length: int | None = None,
) -> tuple[Edit, ...]:
    """The edits of one injection; warns where they overflow the model's number format."""
    chosen = different_layers(layers, decoder)
    factors = (
        relative_factors(memory.vectors, stream_rms(runs, 0, length)) if relative else torch.ones(decoder.n_layers)
    )
    if torch.finfo(decoder.dtype).max < 1e6:
        warn_overflow(
            decoder,
            memory.vectors.float().cpu() * factors[:, None],
            chosen,
            strength,
            [float(x.abs().max()) for x in runs.resid],
        )
    return tuple(
        e for layer in chosen for e in edits(memory, layer, strength * float(factors[layer]), position=position)
    )


def _top(model: Any, logprobs: Tensor, k: int) -> list[tuple[str, float]]:
    value, token = logprobs.topk(min(k, len(logprobs)))
    return list(zip(token_strings(tokenizer_of(model), token.tolist()), value.exp().tolist()))


@door(InjectionError)
@of_one_model(reads=False)
@torch.no_grad()
def generate(
    model: HFModel,
    prompt: str,
    memory: Memory | None = None,
    *,
    layers: Layers = (),
    strength: float = 1.0,
    positions: Where = "all",
    subject: str | None = None,
    max_new_tokens: Draws = 20,
    start: Token | None = "auto",
    relative: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Generated:
    """Greedy continuation of a prompt, with a memory injected while it is written.

    ``positions="all"`` edits every prompt token and every new one; ``not_first`` the same without the start token;
    ``last`` and ``subject`` edit prompt tokens only (the last one, the subject's). Equal to running the model with
    `lens.edited` and the same edits.

    Args:
        stop: asked before every token; True returns the text so far, whose ``complete`` is then False. Ctrl-C does the
            same.

    Returns: the new text only, a str with ``ids``, ``reason`` and ``complete``.

    Raises: InjectionError: see `places`; max_new_tokens below 1.
    """
    decoder, value = Model.of(model), float(strength)
    ids, lead = _tokens(model, prompt, start)
    injection: tuple[Edit, ...] = ()
    grows = positions in ("all", "not_first")
    if memory is not None:
        at = _places(model, prompt, ids, lead, positions, subject)
        where = None if positions == "all" else slice(at[0], None) if grows else at
        injection = _edits(decoder, memory, layers, value, relative, Runs.record(decoder, [ids], keep=()), where)
    # edits of prompt tokens have no place in the steps that read new ones
    written = write(
        model, ids, lambda step: injection if not step or grows else (), max_new_tokens=max_new_tokens, stop=stop
    )
    text = Generated(tokenizer_of(model).decode(list(written.ids), skip_special_tokens=True))
    text.ids, text.reason = written.ids, written.reason
    return text
