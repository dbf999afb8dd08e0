"""What one run says of an answer of any number of tokens: its log-probability, the rank of its first token, and whether
greedy decoding would say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.metrics import Metric, next_token
from ..engine.model import Model
from .reading import recorded

#: What is read of every run, and its unit.
SCORES = {
    "logprob": "nats",  # ln p(answer | prompt), all its tokens
    "first": "nats",  # ln p of the answer's first token
    "rank": "rank (0 = top)",  # of the answer's first token
    "exact": "1",  # 1 where every token of the answer is the model's first choice in turn: greedy decoding would say it
    "top": "token id",  # the most likely next token
}


def _read(decoder: Model, resid: Sequence[Tensor], encoded: Any, clean: Any = None) -> Float[Tensor, "rows 5"]:
    return answer_scores(decoder, resid[0].flatten(0, 1), [encoded] * len(resid[0]))


def answer_scores(
    decoder: Model, resid: Float[Tensor, "n_reads d_model"], encoded: Sequence[Any]
) -> Float[Tensor, "rows 5"]:
    """The scores of each row's answer, in the order of ``SCORES``; `resid`: the reads of row after row."""
    if not len(encoded):
        return resid.new_zeros(0, len(SCORES), dtype=torch.float32)
    answers = [e.answer_ids for e in encoded]
    size = np.array([len(a) for a in answers])
    first = np.cumsum(size) - size

    def put(a):
        return torch.as_tensor(a, device=resid.device)

    # a tie counts as the first choice: the two are equally likely
    each, rank, chosen, top = next_token(decoder, resid, put(np.concatenate(answers)))
    row, slot = put(np.repeat(np.arange(len(size)), size)), put(np.arange(size.sum()) - np.repeat(first, size))
    by_token = torch.zeros(2, len(size), int(size.max()), device=resid.device)
    by_token[:, row, slot] = torch.stack([each, 1 - chosen.float()])
    logprob, missed = by_token.sum(-1)
    first = put(first)
    return torch.stack([logprob, each[first], rank[first], (missed == 0).float(), top[first].float()], -1)


#: All scores of one walk, in the order of ``SCORES``.
ANSWER = Metric("answer", "nats", lambda e: [tuple(e.answer_ids)], _read, scores=(len(SCORES),), many=answer_scores)


@dataclass(frozen=True)
class _Answered:
    answer_ids: tuple[int, ...]


@torch.no_grad()
def read_answers(
    decoder: Model, ids: Sequence[Tensor], answers: Sequence[Sequence[int]]
) -> Float[np.ndarray, "prompt 5"]:
    """The `SCORES` of unedited prompts; each is followed by its answer, read by teacher forcing. Cost: one pass over
    each.
    """
    out = np.empty((len(ids), len(SCORES)))
    whole = [torch.cat([t, torch.tensor(a[:-1], dtype=torch.long)]) for t, a in zip(ids, answers)]
    for batch, runs in recorded(decoder, whole, (), "prompts"):
        at = [runs.starts[k] + len(ids[i]) - 1 + t for k, i in enumerate(batch) for t in range(len(answers[i]))]
        resid = runs.final[torch.tensor(at, device=decoder.device)]
        out[batch] = answer_scores(decoder, resid, [_Answered(tuple(answers[i])) for i in batch]).cpu().numpy()
    return out
