"""The losses of unlearning, each a function of log-probabilities or states alone; all are minimised.

Log-probabilities are those of the tokens that count, in nats, flat over a batch: ``logp`` [m], with the batch row that
each token is of in ``row`` [m]. ``reference``: the same tokens under the frozen model that unlearning starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..training.divergence import divergence, precise
from .errors import UnlearningError

Over = Literal["batch", "token", "sequence"]
#: What the released code of RESTOR adds to a probability before its logarithm.
TINY = 1e-12


def sums_by_row(values: Float[Tensor, " m"], row: Int[Tensor, " m"]) -> Float[Tensor, " n"]:
    """The sum of each row's values, for the rows that have any, in order of their numbers."""
    own, place = torch.unique(row, return_inverse=True)
    return values.new_zeros(len(own)).index_add(0, place, values)


def means_by_row(values: Float[Tensor, " m"], row: Int[Tensor, " m"]) -> Float[Tensor, " n"]:
    """The mean of each row's values, for the rows that have any."""
    _, place, count = torch.unique(row, return_inverse=True, return_counts=True)
    return values.new_zeros(len(count)).index_add(0, place, values) / count


def gradient_ascent(logp: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Mean log-probability: minimised, the loss on these tokens rises without bound.

    Source: Jang et al. 2023, Knowledge Unlearning for Mitigating Privacy Risks in Language Models.
    """
    return logp.mean()


def gradient_difference(
    logp: Float[Tensor, " m"], retained: Float[Tensor, " k"], weight: float = 1.0
) -> Float[Tensor, ""]:
    """Gradient ascent on what is to go and descent on what is to stay: mean ``logp`` - ``weight`` mean ``retained``.

    Source: Liu et al. 2022, Continual Learning and Private Unlearning; Maini et al. 2024, TOFU.
    """
    return gradient_ascent(logp) - weight * retained.mean()


def negative_preference(
    logp: Float[Tensor, " m"],
    reference: Float[Tensor, " m"],
    row: Int[Tensor, " m"],
    *,
    beta: float = 0.1,
    over: Over = "sequence",
) -> Float[Tensor, ""]:
    """NPO: (2 / beta) mean log(1 + (p / p_reference) ** beta), where p is the probability of a unit.

    ``over`` says what the unit is. "sequence": a whole row, the product of its tokens, as Zhang et al. 2024 define it
    (Negative Preference Optimization, section 3). "token": each token, as the README of RESTOR states it. "batch": the
    geometric mean of all tokens of the batch, one number, as RESTOR's released code computes it: with beta .1 its brake
    does not act before a loss of many nats a token, so that it is gradient ascent till then.

    Raises: UnlearningError: beta that is not above 0, an unknown unit.
    """
    _require_positive(beta, "beta")
    gap = logp - reference
    if over == "batch":
        gap = gap.mean()[None]
    elif over == "sequence":
        gap = sums_by_row(gap, row)
    elif over != "token":
        raise UnlearningError(f"over={over!r} is not known; expected 'batch', 'token' or 'sequence'.")
    return -2 / beta * F.logsigmoid(-beta * gap).mean()


def simple_negative_preference(
    logp: Float[Tensor, " m"], row: Int[Tensor, " m"], *, beta: float = 2.5, gamma: float = 0.0
) -> Float[Tensor, ""]:
    """SimNPO: -(2 / beta) mean log sigmoid(-(beta / tokens) log p - gamma) over rows; no reference.

    Source: Fan et al. 2024, Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning.

    Raises: UnlearningError: beta that is not above 0.
    """
    _require_positive(beta, "beta")
    return -2 / beta * F.logsigmoid(-beta * means_by_row(logp, row) - gamma).mean()


def divergence_as_stated(
    logits: Float[Tensor, "m d_vocab"],
    reference: Float[Tensor, "m d_vocab"],
    direction: Literal["reverse", "forward"] = "reverse",
) -> Float[Tensor, ""]:
    """Minus the mean KL between the model and the reference (its log-probabilities), so that minimising drives them
    apart: "reverse" is KL(model || reference), "forward" KL(reference || model).

    Source: RESTOR (Rezaei et al. 2024), README: maximise the KL between the corrupted and the current model.
    """
    return -divergence(logits, reference, direction=direction).mean()


def divergence_as_published(
    logits: Float[Tensor, "m d_vocab"], reference: Float[Tensor, "m d_vocab"]
) -> Float[Tensor, ""]:
    """Mean of sum p log(p_reference + 1e-12): minus a cross-entropy, which is KL(model || reference) plus the model's
    own entropy, so that flat answers are rewarded too; at least log 1e-12 = -27.6 nats.

    Source: RESTOR's released code, unlearning/unlearn/KL.py.
    """
    return (precise(logits).softmax(-1) * (reference.exp() + TINY).log()).sum(-1).mean()


def steer_away(
    states: Float[Tensor, "m d_model"],
    direction: Float[Tensor, " d_model"],
    row: Int[Tensor, " m"],
    *,
    coefficient: float = 20.0,
) -> Float[Tensor, ""]:
    """RMU's forget term: squared distance a number of each token's state from ``coefficient`` times a fixed direction
    of length 1; mean over a row's tokens, then over rows.

    Source: Li et al. 2024, The WMDP Benchmark, section 4.
    """
    return means_by_row((precise(states) - coefficient * direction).square().mean(-1), row).mean()


def stay_near(
    states: Float[Tensor, "m d_model"], reference: Float[Tensor, "m d_model"], row: Int[Tensor, " m"]
) -> Float[Tensor, ""]:
    """RMU's retain term: squared distance a number of each token's state from the frozen model's.

    Source: Li et al. 2024, section 4.
    """
    return means_by_row((precise(states) - reference).square().mean(-1), row).mean()


def uniform_label(log_probs: Float[Tensor, "n d_vocab"], answers: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """Random labels in expectation: cross-entropy against the uniform distribution over the answers that a task has.

    Raises: UnlearningError: one answer, which is no choice.
    """
    if len(set(answers.tolist())) < 2:
        raise UnlearningError("answers are all one token; a uniform label needs at least two different ones.")
    return -log_probs[:, answers].mean()


def task_vector(weights: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Weights with what further training on the forget set changed taken off: w - alpha (w_tuned - w).

    Source: Ilharco et al. 2023, Editing Models with Task Arithmetic, section 3.

    Raises: UnlearningError: other names or shapes.
    """
    _require_alike(weights, tuned)
    return {name: value - alpha * (tuned[name] - value) for name, value in weights.items()}


def _require_positive(value: float, name: str) -> None:
    if not value > 0:
        raise UnlearningError(f"{name}={value!r}; expected a number above 0.")


def _require_alike(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    unlike: Sequence[str] = [n for n in {*a, *b} if n not in a or n not in b or a[n].shape != b[n].shape]
    if unlike:
        raise UnlearningError(f"tuned: the weight {sorted(unlike)[0]!r} is not that of weights; give two of one model.")
