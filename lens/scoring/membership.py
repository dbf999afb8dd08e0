"""Membership scores of rows from their token log-probabilities: higher means more likely a member of the training data.

Every score is one number a row, computed without a look at any label; `lens.stats.labels` says how well it separates
members from others. Sources: the ratio to zlib and to a reference model, Carlini et al. 2021, Extracting Training Data
from Large Language Models; Min-K%, Shi et al. 2024, Detecting Pretraining Data from Large Language Models; Min-K%++,
Zhang et al. 2024, Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from lens.scoring.causal import ScoringError
from lens.scoring.scores import Scores
from lens.stats.assumptions import DOUBT, goes_with
from lens.stats.labels import auc
from lens.stats.multiplicity import holm
from lens.stats.randomization import group_numbers

__all__ = ["evaluate", "features", "loss", "min_k", "min_k_plus", "reference_ratio", "told_apart", "zlib_ratio"]


def loss(scores: Scores) -> np.ndarray:
    """The mean log-probability of each row's tokens (minus its loss), float64 [n], nats a token. NaN for a row without
    a usable score.
    """
    return -scores.nll()


def zlib_ratio(scores: Scores, texts: Sequence[str | bytes]) -> np.ndarray:
    """Minus the ratio of each row's total negative log-likelihood (nats) to the size of its text after zlib (bytes),
    float64 [n]. Carlini et al. 2021.

    `texts`: the text of each row, in the order of `scores`.
    """
    if isinstance(texts, (str, bytes)) or len(texts) != len(scores):
        raise ScoringError(
            f"texts has {len(texts)} entries; expected one text for each of the {len(scores)} scored rows, in their"
            " order."
        )
    size = np.array([len(zlib.compress(t.encode() if isinstance(t, str) else bytes(t))) for t in texts], float)
    return -scores.nll(reduce="sum") / size


def min_k(scores: Scores, k: float = 0.2) -> np.ndarray:
    """The mean log-probability of the share `k` of each row's tokens that are the least likely, float64 [n]; at least
    one token. Shi et al. 2024.
    """
    return _lowest(scores, scores.logprob.astype(float), k)


def min_k_plus(scores: Scores, k: float = 0.2) -> np.ndarray:
    """As `min_k`, of the log-probabilities standardised by their mean and standard deviation under the model's own
    distribution. Zhang et al. 2024.

    Needs `score(..., extra=("mean", "variance"))`. A place where the model is certain (variance 0) has z = 0, as its
    only likely token is neither.
    """
    if scores.mean is None or scores.variance is None:
        raise ScoringError("scores has no mean and variance; score the rows with extra=('mean', 'variance').")
    deviation = np.sqrt(scores.variance.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (scores.logprob.astype(float) - scores.mean) / deviation
    # a token that the model holds impossible stays so; one where it is certain is neither likely nor unlikely
    z = np.where(
        (deviation == 0) & np.isfinite(scores.logprob), np.where(scores.logprob - scores.mean < -1e-3, -np.inf, 0.0), z
    )
    return _lowest(scores, z, k)


def reference_ratio(scores: Scores, reference: Scores) -> np.ndarray:
    """Each row's mean log-probability under the model less that under a reference model, float64 [n], nats a token.
    Carlini et al. 2021.

    The log of the ratio of the two likelihoods, by token; `reference` must have the same rows in the same order, and
    the same scored tokens where both share a tokenizer (another tokenizer's scores may be used, with the unit said).
    """
    if len(scores) != len(reference) or (scores.row_id != reference.row_id).any():
        raise ScoringError(
            "reference has other rows than scores; use reference.take(scores.row_id), or score the same rows under both"
            " models."
        )
    return reference.nll() - scores.nll()


def features(scores: Scores, *, texts: Sequence[str | bytes] | None = None) -> dict[str, np.ndarray]:
    """What is known of each row without any model, by name, float64 [n] each: tokens; with texts their length, how far
    zlib presses them, digits, capitals and the length of words.

    A reference's loss is none of them: it may have read the members too, in another order.
    """
    columns = {"number of tokens": np.asarray(scores.tokens(), float)}
    if texts is not None:
        plain = [t if isinstance(t, str) else bytes(t).decode("utf-8", "replace") for t in texts]
        size = np.array([max(1, len(t.encode())) for t in plain], float)
        share = lambda test: np.array([sum(map(test, t)) / max(1, len(t)) for t in plain])  # noqa: E731
        columns |= {
            "length of the text": size,
            "compression by zlib": np.array([len(zlib.compress(t.encode())) for t in plain], float) / size,
            "share of digits": share(str.isdigit),
            "share of capitals": share(str.isupper),
            "length of words": np.array([len(t) / max(1, len(t.split())) for t in plain], float),
        }
    return columns


def told_apart(cheap: Mapping[str, np.ndarray], member, groups=None) -> str:
    """Which cheap feature tells members from others, "" where none does: rank association within groups, two-sided, all
    features together at level 0.001.

    If a coin decided who is a member, none does but once in a thousand; members and others of different sources are
    told apart by what they are.
    """
    labels = np.asarray(member, float)
    best, name = 1.0, ""
    for feature, value in cheap.items():
        there = np.isfinite(value)
        if there.sum() < 8 or np.ptp(value[there]) == 0 or np.ptp(labels[there]) == 0:
            continue
        z = goes_with(
            value[there],
            labels[there],
            None if groups is None else np.asarray(group_numbers(groups, len(labels)))[there],
        )
        p = min(1.0, len(cheap) * 2 * float(stats.norm.sf(abs(z))))
        if p < best:
            best, name = p, f"{feature} (z = {z:.1f})"
    return f"members are told from others by {name} alone, without the model" if best < DOUBT else ""


def evaluate(
    scores: Scores,
    member,
    *,
    texts: Sequence[str | bytes] | None = None,
    reference: Scores | None = None,
    k: float = 0.2,
    groups=None,
    resamples: int = 100_000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """How well each score tells members from others: one line a score, with `auc`, its interval, `tpr` at 1 % FPR with
    its interval, `p`, `p_kind`, what it is worth (`worth`), `holm` over the scores, n.

    `member`: [n] of 0/1 or booleans. p is guaranteed if a coin decided who is a member (within `groups`); members and
    others from different sources differ without any memory. Where a cheap feature tells them apart (`told_apart`:
    tokens, and with `texts` more), p is approximate, `worth` names the feature, and the line has no `holm`. `texts`,
    `reference` and `extra=("mean", "variance")` in `scores` bring in the scores that need them. Raises StatisticsError
    and ScoringError.
    """
    values = {"loss": loss(scores), f"min-{100 * k:g}%": min_k(scores, k)}
    if scores.mean is not None and scores.variance is not None:
        values[f"min-{100 * k:g}%++"] = min_k_plus(scores, k)
    if texts is not None:
        values["zlib ratio"] = zlib_ratio(scores, texts)
    if reference is not None:
        values["reference ratio"] = reference_ratio(scores, reference)
    lines, doubt = [], ""
    for name, value in values.items():
        area = auc(value, member, groups=groups, resamples=resamples, seed=seed, level=level)
        doubt = doubt or told_apart(features(scores, texts=texts), member, groups) or "none"
        p = area.p if doubt == "none" else area.p.doubted(doubt)
        rate = area.tpr_at[0.01]
        lines.append(
            {
                "score": name,
                "auc": area.auc,
                "low": area.interval.low,
                "high": area.interval.high,
                "tpr": rate.estimate,
                "tpr_low": rate.low,
                "tpr_high": rate.high,
                "p": float(p),
                "p_kind": p.kind,
                "worth": p.worth,
                "members": area.members,
                "n": int(np.isfinite(value).sum()),
            }
        )
    table = pd.DataFrame(lines)
    return table.assign(holm=holm(table.p.to_numpy()) if doubt == "none" else np.nan)


def _lowest(scores: Scores, value: np.ndarray, k: float) -> np.ndarray:
    """The mean of each row's lowest values, a share k of them; NaN where the row has none or one is NaN or infinite."""
    if isinstance(k, bool) or not isinstance(k, (int, float)) or not 0 < k <= 1:
        raise ScoringError(f"k={k!r}; expected a share of the tokens above 0 and at most 1, such as 0.2.")
    row, size = scores._row, scores.tokens()
    order = np.lexsort((value, row))
    rank = np.arange(len(value)) - scores.offsets[row]
    taken = np.maximum(1, np.floor(k * size + 1e-9)).astype(int)
    chosen = rank < taken[row]
    with np.errstate(invalid="ignore"):
        total = np.bincount(row[chosen], value[order][chosen], len(scores)) / np.maximum(np.minimum(taken, size), 1)
    bad = np.zeros(len(scores), bool)
    bad[np.unique(row[~np.isfinite(value)])] = True
    total[bad | (size == 0)] = np.nan
    return total
