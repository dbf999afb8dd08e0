"""Questions whose answers fall into classes: right, planted, another value, anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import HFModel, Size, door
from ..training import Rows, Teacher
from .errors import UnlearningError

#: What an answer can be: the true one, the false one that was planted, another value of the relation, anything else.
CLASSES = ("right", "planted", "other", "else")
RIGHT, PLANTED, OTHER, ELSE = range(4)
#: Rows whose distributions over the vocabulary are held at a time.
ROWS_AT_ONCE = 256


@door(UnlearningError)
@dataclass(frozen=True, eq=False)
class Questions:
    """Prompts, and the token that each answer begins with: an answer of several tokens counts by its first.

    Attributes:
        prompts: token ids. right: the true answer's token; planted: the false one's. others: tokens of the relation's
            other values.
        units: what counts as one (a person): a label a question; each its own where none are given. attacked: whether
            its fact was attacked; True for all where not given.
    """

    prompts: Sequence[Sequence[Size]]
    right: Sequence[Size]
    planted: Sequence[Size]
    others: Sequence[Sequence[Size]] = ()
    units: Sequence[str] = ()
    attacked: Sequence[bool] = ()

    def __post_init__(self) -> None:
        n = len(self.prompts)
        if not n:
            raise UnlearningError("prompts is empty; give at least one question.")
        for name, given in (("right", self.right), ("planted", self.planted)):
            if len(given) != n:
                raise UnlearningError(f"{name} has {len(given)} entries for {n} prompts; give one for each.")
        for name in ("others", "units", "attacked"):
            if len(getattr(self, name)) not in (0, n):
                raise UnlearningError(
                    f"{name} has {len(getattr(self, name))} entries for {n} prompts; give one for each, or none."
                )
        for i in range(n):
            if not len(self.prompts[i]):
                raise UnlearningError(f"question {i} has an empty prompt; give at least one token.")
            if self.right[i] == self.planted[i]:
                raise UnlearningError(
                    f"question {i}: the planted answer begins with the token of the right one ({self.right[i]}), so"
                    " that they cannot be told apart; plant another value, or give tokens in which they differ."
                )
            if self.others and {self.right[i], self.planted[i]} & set(self.others[i]):
                raise UnlearningError(
                    f"question {i}: others holds the right or the planted token; give the relation's other"
                    " values alone."
                )

    def __len__(self) -> int:
        return len(self.prompts)

    def unit_labels(self) -> list[str]:
        """What each question counts as."""
        return list(self.units) if self.units else [f"question {i}" for i in range(len(self))]

    def is_attacked(self) -> np.ndarray:
        """Whether each question's fact was attacked, [n]."""
        return np.asarray(self.attacked, bool) if len(self.attacked) else np.ones(len(self), bool)

    def rows(self) -> Rows:
        """Each prompt with its right answer, which counts."""
        return Rows.of([(tuple(p), (r,)) for p, r in zip(self.prompts, self.right)])


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers. `outcome` [n]: a number of `CLASSES`; `right`, `planted` [n]: probabilities; `rank` [n]: of
    the right token, from 0; `log_odds` [n]: of the right token, nats; `kl` [n]: KL(twin || model) in nats, NaN without
    a twin.
    """

    outcome: Int[np.ndarray, " n"]
    right: Float[np.ndarray, " n"]
    planted: Float[np.ndarray, " n"]
    rank: Int[np.ndarray, " n"]
    log_odds: Float[np.ndarray, " n"]
    kl: Float[np.ndarray, " n"]


@door(UnlearningError)
@torch.no_grad()
def answers(model: HFModel, questions: Questions, *, twin: Teacher | None = None) -> Answers:
    """What a model answers to each question: the likeliest next token's class, and how sure it is.

    `twin`: `lens.training.Teacher.of(twin, questions.rows())`, read once for many looks.

    Raises: UnlearningError, TrainingError: a token that the model has not.
    """
    read = Teacher.of(model, questions.rows())
    outcome, right, planted, rank, odds, kl = ([] for _ in range(6))
    for begin in range(0, len(questions), ROWS_AT_ONCE):
        index = torch.arange(begin, min(begin + ROWS_AT_ONCE, len(questions)))
        logp = read.last_log_probs(index).cpu()
        if max(*questions.right, *questions.planted) >= logp.shape[1]:
            raise UnlearningError(
                f"questions hold the token {max(*questions.right, *questions.planted)} and this model has"
                f" {logp.shape[1]}; tokenise them with this model's tokenizer."
            )
        r, p = (torch.tensor([of[i] for i in index.tolist()]) for of in (questions.right, questions.planted))
        at = torch.arange(len(index))
        best, own = logp.argmax(-1), logp[at, r]
        outcome.append(_classes(questions, index, best, r, p))
        right.append(own.exp())
        planted.append(logp[at, p].exp())
        rank.append((logp > own[:, None]).sum(-1))
        odds.append(own - torch.log1p(-own.double().exp().clamp(max=1 - 1e-12)).float())
        theirs = None if twin is None else twin.last_log_probs(index).cpu()
        kl.append(torch.full((len(index),), torch.nan) if theirs is None else _divergence(theirs, logp))
    of = [torch.cat(v).numpy() for v in (outcome, right, planted, rank, odds, kl)]
    return Answers(*of)


def _classes(questions: Questions, index: Tensor, best: Tensor, right: Tensor, planted: Tensor) -> Tensor:
    out = torch.full((len(index),), ELSE, dtype=torch.int8)
    if questions.others:
        out[torch.tensor([int(b) in set(questions.others[i]) for i, b in zip(index.tolist(), best)])] = OTHER
    out[best == planted] = PLANTED
    out[best == right] = RIGHT
    return out


def _divergence(twin: Tensor, model: Tensor) -> Tensor:
    """KL(twin || model) of log-probabilities, nats."""
    return torch.where(twin.exp() > 0, twin.exp() * (twin - model), 0.0).sum(-1)
