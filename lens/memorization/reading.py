"""Reading rows once for two things: the log-probability of each token and the k most likely tokens in its place; and
writing on greedily from many prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from ..engine.memory import budget
from ..engine.steps import Steps, newest
from ..models.placement import device_of
from ..progress import hidden
from ..scoring.likelihood import Likelihood, plain
from .errors import MemorizationError


class Reader(Likelihood):
    """A model that reads and recites. `k`: how many of the most likely tokens are kept at each place."""

    def __init__(self, model: Any, k: int = 1):
        super().__init__(plain(model))
        self.k = k
        self._top_tokens: list[Tensor] = []
        config = getattr(self.model.config, "get_text_config", lambda: self.model.config)()
        self.context = getattr(config, "max_position_embeddings", None)

    def _read(self, logits, targets, out) -> None:
        super()._read(logits, targets, out)
        self._top_tokens.append(logits.topk(self.k).indices)

    def _batch(self, rows, start, first):
        self._top_tokens = []
        values = super()._batch(rows, start, first)
        top = torch.cat(self._top_tokens).cpu().numpy()
        ends = np.cumsum([len(v[0]) for v in values])[:-1]
        return [(v[0], t) for v, t in zip(values, np.split(top, ends))]

    def check(self, rows: Sequence[np.ndarray], what: str = "sequences") -> None:
        """Refuse tokens that the model does not have and rows beyond its context. Raises MemorizationError."""
        if len(rows) and (least := min((int(r.min()) for r in rows if len(r)), default=0)) < 0:
            raise MemorizationError(f"{what}: token {least} is none; expected ids of at least 0.")
        if len(rows) and (most := max((int(r.max()) for r in rows if len(r)), default=0)) >= self.vocabulary:
            raise MemorizationError(
                f"{what}: token {most} is none of the model's {self.vocabulary}; encode them with the model's own"
                " tokenizer."
            )
        if self.context and len(rows) and (longest := max(map(len, rows))) > self.context:
            raise MemorizationError(
                f"{what}: {longest} tokens in a row, and the model reads at most {self.context}; cut them."
            )

    def read(
        self,
        rows: Sequence[np.ndarray],
        counted: Sequence[int],
        *,
        batch_tokens: int | None = None,
        label: str = "reading",
        progress: bool | None = None,
    ) -> list[tuple[Float[np.ndarray, " counted"], Int[np.ndarray, "counted k"]]]:
        """For each row the log-probability (nats) of its last `counted` tokens, and the k most likely tokens in the
        place of each.
        """
        most = batch_tokens or budget(self.model).batch_tokens
        out: list[Any] = [None] * len(rows)
        # alike in what is read and what is not counted, so that little is padded and little unembedded in vain
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), len(rows[i]) - counted[i]))
        with tqdm(total=len(rows), desc=label, unit="row", delay=2.0, leave=False, disable=hidden(progress)) as bar:
            for some in _batches(order, [len(r) for r in rows], most):
                first = min(len(rows[i]) - counted[i] for i in some)
                for i, (logprob, top) in zip(some, self.batch([rows[i] for i in some], None, first)):
                    out[i] = (logprob[len(logprob) - counted[i] :], top[len(top) - counted[i] :])
                bar.update(len(some))
        return out

    @torch.no_grad()
    def write(self, prompts: Int[np.ndarray, "n length"], count: int) -> Int[np.ndarray, "n count"]:
        """The `count` most likely tokens one after another, from prompts of one length; an end token ends nothing. See
        `Steps`.
        """
        feed, out = torch.from_numpy(prompts).to(device_of(self.model)), []
        steps = Steps(self.model if self.way == "whole" else self.body, self.model)
        for _ in range(count):
            last = newest(steps(feed))
            feed = (last if self.way == "whole" else self.logits(last)).argmax(-1, keepdim=True)
            out.append(feed)
        return torch.cat(out, 1).cpu().numpy()

    def recite(
        self,
        prompts: Sequence[np.ndarray],
        gold: Int[np.ndarray, "n count"],
        *,
        batch: int = 64,
        progress: bool | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Greedy continuations of prompts of any lengths, each as long as its line of `gold`: (generated [n, count],
        log-probability of `gold` [n, count], its hits [n, count]).

        Each prompt is read with its gold continuation first: up to the first place where the most likely token is
        another one, greedy decoding can only have gone the same way, so writing starts there, and a recitation without
        a fault is never written.
        """
        count = gold.shape[1]
        rows = [np.concatenate([p, g]) for p, g in zip(prompts, gold)]
        self.check(rows)
        read = self.read(rows, [count] * len(rows), progress=progress)
        logprob, best = np.stack([r[0] for r in read]), np.stack([r[1][:, 0] for r in read])
        hits = best == gold
        generated, agreed = gold.copy(), np.cumprod(hits, 1).sum(1)
        if self.lengths is not None:
            # read with its continuation, a prompt may have had other rotary frequencies than it has when it is written
            # on from
            agreed[[self.lengths.key(len(p) + 1) != self.lengths.key(len(r)) for p, r in zip(prompts, rows)]] = 0
        # one length a batch; those whose first faults are near each other together
        pending: dict[int, list[int]] = {}
        for i in np.flatnonzero(agreed < count).tolist():
            pending.setdefault(len(prompts[i]), []).append(i)
        groups = [some for group in pending.values() for some in _chunks(sorted(group, key=lambda i: agreed[i]), batch)]
        with tqdm(
            total=sum(map(len, groups)),
            desc="reciting",
            unit="sequence",
            delay=2.0,
            leave=False,
            disable=hidden(progress),
        ) as bar:
            for some in groups:
                shared = int(agreed[some].min())
                ids = np.stack([rows[i][: len(prompts[i]) + shared] for i in some])
                generated[some, shared:] = self.write(ids, count - shared)
                bar.update(len(some))
        return generated, logprob, hits


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    for a in range(0, len(items), size):
        yield items[a : a + size]


def _batches(order: list[int], sizes: list[int], budget: int) -> Iterator[list[int]]:
    """Consecutive numbers, so many that the longest of them times their count stays in the budget; `order` goes from
    short to long.
    """
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * sizes[i] > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
