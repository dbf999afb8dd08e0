"""How far a recitation is from the text, and a ranking from another: pure functions of arrays, many rows at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..arguments import door, unfit
from ..stats.bounds import AT_LEAST_0, SHARE
from .errors import MemorizationError

#: What each measure of a sequence cannot leave. Truth values of units that do not agree are a share of the unit.
BOUNDS = dict.fromkeys(("strict", "loose", "lev", "rouge_l"), SHARE) | {"exact_prefix": AT_LEAST_0, "nll": AT_LEAST_0}


@door(MemorizationError)
def levenshtein(a: Int[np.ndarray, "n la"], b: Int[np.ndarray, "n lb"]) -> Int[np.ndarray, " n"]:
    """Insertions, deletions and substitutions of tokens that turn each row of `a` into that of `b`. Levenshtein 1966.

    >>> levenshtein(np.array([[1, 2, 3]]), np.array([[2, 3, 4]])).tolist()
    [2]
    """
    _paired(a, b, "b")
    places = np.arange(b.shape[1] + 1)
    line = np.repeat(places[None], len(a), 0)
    for i in range(a.shape[1]):
        # without the insertions first; an insertion costs one a place, so a running minimum of cost - place adds them
        # all
        best = np.minimum(line[:, 1:] + 1, line[:, :-1] + (b != a[:, i, None]))
        best = np.concatenate([np.full((len(a), 1), i + 1), best], 1)
        line = np.minimum.accumulate(best - places, 1) + places
    return line[:, -1]


def _paired(a: np.ndarray, b: np.ndarray, name: str) -> None:
    if len(a) != len(b):
        raise MemorizationError(unfit(name, b, f"a row for each of the {len(a)}"))


def leading(a: Int[np.ndarray, "n l"], b: Int[np.ndarray, "n l"]) -> Int[np.ndarray, " n"]:
    """Tokens from the start of each row up to the first that differs."""
    return np.cumprod(a == b, axis=1).sum(1).astype(np.int64)


@door(MemorizationError)
def rouge_l(a: Int[np.ndarray, "n la"], b: Int[np.ndarray, "n lb"]) -> Float[np.ndarray, " n"]:
    """F1 of the longest common subsequence of tokens. Lin 2004, ROUGE (ROUGE-L, with precision and recall weighted
    alike).
    """
    _paired(a, b, "b")
    line = np.zeros((len(a), b.shape[1] + 1), np.int64)
    for i in range(a.shape[1]):
        best = np.maximum(line[:, 1:], line[:, :-1] + (b == a[:, i, None]))
        line = np.concatenate([line[:, :1], np.maximum.accumulate(best, 1)], 1)
    return 2.0 * line[:, -1] / (a.shape[1] + b.shape[1])


@door(MemorizationError)
def ndcg(base: Int[np.ndarray, "n k"], other: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """nDCG@k of the `other` model's k most likely tokens, best first, where the relevance of a token is its place in
    the `base` model's: k for the first, 1 for the k-th, 0 beyond; discounted by 1 / log2(place + 1), over that of the
    base ranking itself. Merullo et al. 2025 (as their code computes it).
    """
    _paired(base, other, "other")
    k = base.shape[1]
    if not k or other.shape[1] != k:
        raise MemorizationError(
            f"base has rows of {k} tokens and other of {other.shape[1]}; expected as many in both, at least one."
        )
    relevance = np.arange(k, 0, -1)
    discount = 1 / np.log2(np.arange(k) + 2)
    gained = ((other[:, :, None] == base[:, None, :]) * relevance).sum(2) @ discount
    return gained / (relevance @ discount)
