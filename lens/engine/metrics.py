"""Metrics: one number a run, read from the final residual stream where the answer is predicted.

======================  =====================================================  ======  =========================
name                    value                                                  unit    answers
======================  =====================================================  ======  =========================
``logit_diff``          logit(answer) - logit(foil)                            logits  one token each
``logit``               logit(answer)                                          logits  one token
``prob``                p(answer | prompt)                                     1       any number of tokens
``logprob``             ln p(answer | prompt)                                  nats    any number of tokens
``logprob_diff``        ln p(answer | prompt) - ln p(foil | prompt)            nats    any number of tokens each
``rank``                tokens more likely than the answer's first (0 = top)   tokens  first token counts
``kl``                  KL(clean run || this run) of the next token            nats    none needed
a function              ``f(logits [rows, d_vocab], encoded) -> [rows]``       yours   none needed
======================  =====================================================  ======  =========================

Answers of several tokens are appended to the prompt and read by teacher forcing: the sum of their log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import Error
from ..models.identity import Unidentified, digest
from .memory import logit_bytes

if TYPE_CHECKING:
    from .model import Model

#: Tokens of the vocabulary that are read while they are in the processor's cache.
_BLOCK = 2048


class MetricError(Error, ValueError):
    """A metric that the pair or the user's function does not allow; the message says which and why."""


class Encoded(Protocol):
    """What a metric needs of a prompt pair."""

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """The tokens of the answer."""
        ...

    @property
    def foil_ids(self) -> tuple[int, ...] | None:
        """Those of what is compared with it, if anything is."""
        ...


Resid = Float[Tensor, "rows reads d_model"]


@dataclass(frozen=True)
class Metric:
    """A metric: what is appended to the prompt, and how the reads become a number.

    Attributes:
        name, unit: for labels.
        continuations: per sequence that is run, the answer whose tokens are read (empty: only the next token is read).
        score: ``(decoder, [resid of each sequence], encoded, [resid of each sequence in the clean run]) -> [rows]``.
        higher_is_answer: whether a larger value means more of the answer (for wording).
        digest: tells metrics of one name apart, where whoever makes them knows what does; else ``identity`` reads their
            functions.
        function: the person's function that it was made of.
        scores: shape of what ``score`` returns for a row: () for one number; a family may ask for several at once.
        many: the same for rows of several prompts at once, of a metric that reads one sequence and no clean run:
            ``(decoder, reads row after row [n_reads, d_model], encoded of each row) -> [rows]``; one product over the
            vocabulary serves them all.
    """

    name: str
    unit: str
    continuations: Callable[[Any], Sequence[tuple[int, ...]]]
    score: Callable[[Model, Sequence[Resid], Any, Sequence[Resid]], Float[Tensor, " rows"]]
    higher_is_answer: bool = True
    digest: str = ""
    scores: tuple[int, ...] = ()
    many: Callable[[Model, Tensor, Sequence[Any]], Float[Tensor, " rows"]] | None = None
    function: Callable[..., Any] | None = None

    def sequences(self, encoded: Encoded) -> list[tuple[int, ...]]:
        """Per sequence, the answer it reads.

        Raises:
            MetricError: the pair has no foil, or an answer of several tokens where one is needed.
        """
        return list(self.continuations(encoded))


def _shown(encoded: Any, ids: Sequence[int] | None) -> str:
    pair = getattr(encoded, "pair", None)
    text = None if pair is None else pair.answer if ids == encoded.answer_ids else pair.foil
    return f"{text!r} ({len(ids or ())} tokens: {list(ids or ())})"


def _single(metric: str, encoded: Any, *names: str) -> list[int]:
    out = []
    for name in names:
        ids = getattr(encoded, f"{name}_ids")
        if not ids:
            raise MetricError(f"metric={metric!r} needs a {name}; give the pair one, or use metric='logprob'.")
        if len(ids) != 1:
            raise MetricError(
                f"metric={metric!r} needs {name}s of one token, got {_shown(encoded, ids)}; use metric='logprob_diff'"
                " or 'logprob'."
            )
        out.append(ids[0])
    return out


def _one_token(metric: str, *names: str) -> Callable[[Any], list[tuple[int, ...]]]:
    """Nothing is appended to the prompt, where the pair has what the metric reads, one token each."""

    def continuations(encoded: Any) -> list[tuple[int, ...]]:
        _single(metric, encoded, *names)
        return [()]

    return continuations


def _answer(metric: str, encoded: Any, name: str = "answer") -> tuple[int, ...]:
    ids = getattr(encoded, f"{name}_ids")
    if not ids:
        raise MetricError(f"metric={metric!r} needs a{'n' if name == 'answer' else ''} {name}; give the pair one.")
    return tuple(ids)


def _logit_diff(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    columns = torch.tensor(_single("logit_diff", encoded, "answer", "foil"), device=resid[0].device)
    logits = decoder.unembed(resid[0][:, 0], columns).float()
    return logits[:, 0] - logits[:, 1]


def _logit(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    columns = torch.tensor(_single("logit", encoded, "answer"), device=resid[0].device)
    return decoder.unembed(resid[0][:, 0], columns).float()[:, 0]


def _chunks(decoder: Model, resid: Resid) -> Sequence[Resid]:
    size = max(1, logit_bytes(resid.device) // (4 * decoder.d_vocab * resid.shape[1]))
    parts: Sequence[Resid] = resid.split(size) if len(resid) else ()
    return parts


def by_chunk(decoder: Model, resid: Resid, read: Callable[[Tensor], Tensor]) -> Tensor:
    """``read`` on float32 logits ``[rows, reads, d_vocab]``, a few rows at a time."""
    return (
        torch.cat([read(decoder.unembed(part).float()) for part in _chunks(decoder, resid)])
        if len(resid)
        else resid.new_zeros(0)
    )


@torch.no_grad()
def next_token(
    decoder: Model, resid: Float[Tensor, "n d_model"], target: Int[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What each final residual stream says of a token: its log-probability (nats), its rank (0 = top), whether no other
    is likelier, and the likeliest.

    All float32 but the token ids and the truth values, ``[n]``. The logits lie in one buffer that is read block by
    block, without a copy; no gradients.
    """
    n_vocab, linear = decoder.d_vocab, decoder.linear_head()
    own = linear is not None
    weight: Any = None
    bias: Any = None
    if linear is not None:
        weight, bias = linear[1].weight, linear[1].bias
        resid = linear[0](resid)
    size = max(1, 2 * logit_bytes(resid.device) // (4 * n_vocab))
    buffer = torch.empty(min(size, len(resid)), n_vocab, dtype=torch.float32, device=resid.device)
    spans = [(a, min(a + _BLOCK, n_vocab)) for a in range(0, n_vocab, _BLOCK)]
    parts = []
    for x, wanted_id in zip(resid.split(size), target.split(size)) if len(resid) else ():
        logits, peaks = buffer[: len(x)], buffer.new_empty(len(x), len(spans))
        if not own:
            logits.copy_(decoder.unembed(x))
        for i, (a, b) in enumerate(spans):
            if not own:
                pass
            elif x.dtype == torch.float32 and bias is None:
                torch.mm(x, weight[a:b].T, out=logits[:, a:b])
            elif x.dtype == torch.float32:
                torch.addmm(bias[a:b], x, weight[a:b].T, out=logits[:, a:b])
            else:
                logits[:, a:b] = F.linear(x, weight[a:b], None if bias is None else bias[a:b])
            if own and decoder.cap is not None:
                logits[:, a:b] = decoder.capped(logits[:, a:b])
            peaks[:, i] = logits[:, a:b].amax(-1)
        wanted = logits.gather(1, wanted_id[:, None])
        best, block = peaks.max(-1, keepdim=True)
        at = (block * _BLOCK + torch.arange(_BLOCK, device=x.device)).clamp(max=n_vocab - 1)
        top = at.gather(1, logits.gather(1, at).argmax(-1, keepdim=True))[:, 0]
        above, total, truth = (
            torch.zeros_like(best[:, 0]),
            torch.zeros_like(best[:, 0]),
            torch.empty_like(logits[:, :_BLOCK]),
        )
        for a, b in spans:
            above += torch.gt(logits[:, a:b], wanted, out=truth[:, : b - a]).sum(-1)
            total += logits[:, a:b].sub_(best).exp_().sum(-1)
        parts.append(((wanted - best)[:, 0] - total.log(), above, (wanted == best)[:, 0], top))
    empty = resid.new_zeros(0, dtype=torch.float32)
    if not parts:
        return empty, empty, empty.bool(), empty.long()
    logprob, rank, first, top = map(torch.cat, zip(*parts))
    return logprob, rank, first, top


def sequence_logprob(decoder: Model, resid: Resid, answer: Sequence[int]) -> Float[Tensor, " rows"]:
    """Sum over the answer's tokens of their log-probability (nats), each read at the position before it."""
    target = torch.tensor(answer, device=resid.device)

    def read(logits: Tensor) -> Tensor:
        picked = logits.gather(-1, target.expand(len(logits), -1)[..., None])[..., 0]
        return (picked - logits.logsumexp(-1)).sum(-1)

    return by_chunk(decoder, resid, read)


def _logprob(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    return sequence_logprob(decoder, resid[0], _answer("logprob", encoded))


def _logprob_diff(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    return sequence_logprob(decoder, resid[0], encoded.answer_ids) - sequence_logprob(
        decoder, resid[1], encoded.foil_ids or ()
    )


def _rank(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    first = _answer("rank", encoded)[0]
    return by_chunk(decoder, resid[0][:, :1], lambda x: (x[:, 0] > x[:, 0, first : first + 1]).sum(-1).float())


def _kl(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
    target = decoder.unembed(clean[0][0, 0]).float().log_softmax(-1)
    return by_chunk(decoder, resid[0][:, :1], lambda x: (target.exp() * (target - x[:, 0].log_softmax(-1))).sum(-1))


def _next(encoded: Encoded) -> list[tuple[int, ...]]:
    return [()]


METRICS = {
    m.name: m
    for m in (
        Metric("logit_diff", "logits", _one_token("logit_diff", "answer", "foil"), _logit_diff),
        Metric("logit", "logits", _one_token("logit", "answer"), _logit),
        Metric("prob", "probability", lambda e: [_answer("prob", e)], lambda *a: _logprob(*a).exp()),
        Metric("logprob", "nats", lambda e: [_answer("logprob", e)], _logprob),
        Metric(
            "logprob_diff",
            "nats",
            lambda e: [_answer("logprob_diff", e), _answer("logprob_diff", e, "foil")],
            _logprob_diff,
        ),
        Metric("rank", "rank (0 = top)", lambda e: [_answer("rank", e) and ()], _rank, higher_is_answer=False),
        Metric("kl", "nats", _next, _kl, higher_is_answer=False),
    )
}


def resolve(metric: "str | Metric | Callable[..., Any]") -> Metric:
    """A metric by name, as it is, or made of a function ``f(logits [rows, d_vocab], encoded) -> [rows]``.

    Raises:
        MetricError: an unknown name; later, a function that fails or returns another shape or NaN.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric not in METRICS:
            raise MetricError(f"metric={metric!r} is not known; expected one of {', '.join(METRICS)}, or a function.")
        return METRICS[metric]
    if not callable(metric):
        raise MetricError(f"metric={metric!r} is neither a name nor a function; expected one of {', '.join(METRICS)}.")
    name, function = getattr(metric, "__name__", type(metric).__name__), metric

    def score(decoder: Model, resid: Sequence[Resid], encoded: Encoded, clean: Sequence[Resid]) -> Tensor:
        def read(logits: Tensor) -> Tensor:
            try:
                value = function(logits[:, 0], encoded)
            except Exception as error:
                raise MetricError(f"metric={name}: your function raised {type(error).__name__}: {error}") from error
            if not isinstance(value, Tensor) or value.shape != (len(logits),):
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise MetricError(
                    f"metric={name}: your function returned {got}; expected a tensor of shape ({len(logits)},), one"
                    " number a row."
                )
            if value.isnan().any():
                raise MetricError(
                    f"metric={name}: your function returned NaN for {int(value.isnan().sum())} of {len(logits)} runs;"
                    " expected numbers."
                )
            return value.float()

        return by_chunk(decoder, resid[0][:, :1], read)

    return Metric(name, "", _next, score, function=metric)


def identity(metric: Metric) -> dict[str, str]:
    """What tells a metric from another of its name, for a record: nothing where the name says all;
    ``metric_unidentified`` where it cannot be told.

    A function counts with its code, the globals that it names, what it closes over, and the state that it is bound to.
    """
    if METRICS.get(metric.name) is metric:
        return {}
    if metric.digest:
        return {"metric_digest": metric.digest}
    asked = (
        metric.function
        if metric.function is not None
        else (metric.name, metric.unit, metric.continuations, metric.score, metric.many, metric.scores)
    )
    try:
        return {"metric_digest": digest(asked)}
    except Unidentified as error:
        return {"metric_unidentified": f"{metric.name} depends on {error}"}
