"""What one run says of an answer of any number of tokens: its log-probability, the rank of its first token, and whether greedy decoding would say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.decoder import Decoder
from ..engine.metrics import Metric, by_chunk
from .reading import recorded

#: What is read of every run, and its unit.
SCORES = {
    "logprob": "nats",                  # ln p(answer | prompt), all its tokens
    "first": "nats",                    # ln p of the answer's first token
    "rank": "rank (0 = top)",           # of the answer's first token
    "exact": "1",                       # 1 where every token of the answer is the model's first choice in turn: greedy decoding would say it
    "top": "token id",                  # the most likely next token
}


def _read(decoder: Decoder, resid: Sequence[Tensor], encoded: Any, clean: Any = None) -> Float[Tensor, "rows 5"]:
    target = torch.tensor(encoded.answer_ids, device=resid[0].device)

    def read(logits: Tensor) -> Tensor:
        wanted = logits.gather(-1, target.expand(len(logits), -1)[..., None])[..., 0]
        each = wanted - logits.logsumexp(-1)
        best, top = logits.max(-1)
        # a tie counts as the first choice: the two are equally likely
        return torch.stack([each.sum(-1), each[:, 0], (logits[:, 0] > wanted[:, :1]).sum(-1).float(), (wanted == best).all(-1).float(), top[:, 0].float()], -1)

    return by_chunk(decoder, resid[0], read)


#: All scores of one walk, in the order of ``SCORES``.
ANSWER = Metric("answer", "nats", lambda e: [tuple(e.answer_ids)], _read, scores=(len(SCORES),))


@dataclass(frozen=True)
class _Answered:
    answer_ids: tuple[int, ...]


@torch.no_grad()
def read_answers(decoder: Decoder, ids: Sequence[Tensor], answers: Sequence[Sequence[int]]) -> Float[np.ndarray, "prompt 5"]:
    """The `SCORES` of unedited prompts; each is followed by its answer, read by teacher forcing. Cost: one pass over each."""
    out = np.empty((len(ids), len(SCORES)))
    whole = [torch.cat([t, torch.tensor(a[:-1], dtype=torch.long)]) for t, a in zip(ids, answers)]
    for batch, runs in recorded(decoder, whole, (), "prompts"):
        for k, i in enumerate(batch):
            at = runs.starts[k] + len(ids[i]) - 1 + torch.arange(len(answers[i]), device=decoder.device)
            out[i] = _read(decoder, [runs.resid[-1][at][None]], _Answered(tuple(answers[i])))[0].cpu().numpy()
    return out
