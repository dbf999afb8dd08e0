"""What the frozen model says of a fixed set of rows, computed once before any step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..engine.places import evaluating
from ..prompts.start import vocabulary
from ..scoring.causal import inner
from ..scoring.likelihood import Likelihood
from ..training import Rows, Teacher
from ..training.wrapped import core
from .errors import UnlearningError

#: Tokens of one forward.
TOKENS_AT_ONCE = 4096


def require_same_vocabulary(model: Any, other: Any, name: str) -> None:
    """Raises UnlearningError: `other` has another number of tokens, or writes them otherwise."""
    ours, theirs = vocabulary(core(model, UnlearningError)), vocabulary(core(other, UnlearningError))
    if ours != theirs:
        raise UnlearningError(
            f"{name} has a vocabulary of {theirs} tokens and the model one of {ours}; give a model with the"
            " same tokens."
        )
    words: list[dict[str, int]] = [
        getattr(getattr(one, "tokenizer", None), "get_vocab", dict)() for one in (model, other)
    ]
    if all(words) and words[0] != words[1]:
        odd = next(w for w in [*words[0], *words[1]] if words[0].get(w) != words[1].get(w))
        numbers = [of.get(odd, "none") for of in words]
        raise UnlearningError(
            f"{name} has another vocabulary: {odd!r} is token {numbers[0]} of the model and token {numbers[1]} of"
            f" {name}; give a model with the same tokens."
        )


def rows_by_length(lengths: np.ndarray) -> list[np.ndarray]:
    """Row numbers in batches of like lengths."""
    order, batches, begin = np.argsort(lengths, kind="stable"), [], 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * int(lengths[order[end]]) <= TOKENS_AT_ONCE:
            end += 1
        batches.append(order[begin:end])
        begin = end
    return batches


@torch.no_grad()
def token_log_probs(model: Any, rows: Rows) -> list[Float[Tensor, " tokens"]]:
    """Each row's log-probabilities (nats, float32) of its tokens that count, in their order."""
    lengths, out = rows.lengths.cpu().numpy(), [torch.empty(0)] * len(rows)
    with evaluating(model):
        likelihood = Likelihood(inner(model))
        for batch in rows_by_length(lengths):
            texts = [rows.ids[i, : lengths[i]].cpu().numpy() for i in batch]
            for i, (found,) in zip(batch, likelihood.batch(texts, None, 1)):
                out[i] = torch.from_numpy(found.copy())[rows.targets[i, 1 : lengths[i]].cpu()]
    return out


class Reference:
    """The frozen model's log-probabilities of the tokens that count in a fixed set of rows; with `whole`, of every
    token of the vocabulary there, kept as last hidden states where the output layer turns them back.

    Attributes:
        nbytes: memory of what is kept.
    """

    def __init__(self, model: Any, rows: Rows, *, whole: bool = False, memory_mb: float = 2000):
        self._tokens = [] if whole else token_log_probs(model, rows)
        self._rows = rows
        self._teacher = Teacher.of(model, rows, everywhere=True, memory_mb=memory_mb) if whole else None

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        own = sum(t.numel() * t.element_size() for t in self._tokens)
        return own + (0 if self._teacher is None else self._teacher.nbytes)

    def tokens(self, index: Int[Tensor, " b"]) -> Float[Tensor, " m"]:
        """Of the tokens that count in these rows, row after row."""
        return torch.cat([self._tokens[i] for i in index.tolist()])

    def distributions(self, index: Int[Tensor, " b"]) -> Float[Tensor, "m d_vocab"]:
        """Log-probabilities of the whole vocabulary where a token that counts is predicted, row after row."""
        if self._teacher is None:
            raise UnlearningError("reference kept no distributions; make it with whole=True.")
        part = [self._rows.targets[i, 1 : int(self._rows.lengths[i])] for i in index.tolist()]
        counted = torch.cat([torch.cat([p, p.new_zeros(1)]) for p in part])
        return self._teacher.log_probs(index, where=counted)
