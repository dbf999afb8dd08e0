"""The table that scoring gives: token log-likelihoods of rows under one model."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lens.arguments import Count, Size, Whole, door, tried, unfit
from lens.scoring.likelihood import ScoringError


@dataclass(frozen=True, eq=False)
class Scores:
    """Log-probabilities (nats) of the tokens of `n` rows under one model.

    `row_id`: int64 [n]. `offsets`: int64 [n + 1]; row i has `logprob[offsets[i]:offsets[i + 1]]`, float32, of its
    tokens from position `first` on. `mean`, `variance`: of the log-probability under the model's own next-token
    distribution at each place, where asked for. `model`: name, hash, dtype. `about`: the options; `status`; and how
    many rows are `bad` (a log-probability that is NaN or infinite), `short` (no token to score), `cut` (longer than the
    model's context) or came from the store (`cached`).
    """

    row_id: np.ndarray
    offsets: np.ndarray
    logprob: np.ndarray
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None
    model: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_id)

    @property
    def first(self) -> int:
        """The position in its row of the first scored token: 0 only where a start token came before it."""
        return int(self.about.get("first", 0))

    @cached_property
    def _row(self) -> np.ndarray:
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @door(ScoringError)
    def nll(self, prefix: Size = 0, window: Count | None = None, reduce: str = "mean") -> np.ndarray:
        """Negative log-likelihood of each row, float64 [n]: nats a token, or of the whole row with `reduce="sum"`.

        Only tokens at positions `prefix` to `prefix + window - 1` of the row count. NaN for a row without such a token,
        or where one is NaN or infinite.
        """
        if reduce not in ("mean", "sum"):
            raise ScoringError(f"reduce={reduce!r} is not known; expected 'mean' or 'sum'.")
        prefix = whole_number(prefix, "prefix", 0)
        window = None if window is None else whole_number(window, "window", 1)
        position = np.arange(len(self.logprob)) - self.offsets[self._row] + self.first
        chosen = position >= prefix
        if window is not None:
            chosen &= position < prefix + window
        row, value = self._row[chosen], self.logprob[chosen].astype(np.float64)
        count = np.bincount(row, minlength=len(self))
        with np.errstate(invalid="ignore"):
            total = -np.bincount(row, value, len(self))
        total[(count == 0) | ~np.isfinite(total)] = np.nan
        return total / np.maximum(count, 1) if reduce == "mean" else total

    def tokens(self) -> np.ndarray:
        """Scored tokens of each row, int64 [n]."""
        return np.diff(self.offsets)

    @door(ScoringError)
    def take(self, row_ids: Any) -> Scores:
        """The scores of these rows, in this order: their ids, or a truth value for each row. Raises ScoringError for an
        id that is not there.
        """
        wanted = self._wanted(row_ids)
        order = np.argsort(self.row_id, kind="stable")
        at = np.searchsorted(self.row_id, wanted, sorter=order)
        at[at == len(order)] = 0
        if len(wanted) and (not len(order) or (self.row_id[order[at]] != wanted).any()):
            missing = wanted[self.row_id[order[at]] != wanted] if len(order) else wanted
            raise ScoringError(
                f"row_ids: {missing[:5].tolist()} are not among the {len(self)} scored rows; score them first."
            )
        at = order[at] if len(wanted) else np.empty(0, np.int64)
        sizes = self.tokens()[at]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[at], sizes)
        mean, variance = (None if a is None else a[index] for a in (self.mean, self.variance))
        scores = Scores(self.row_id[at], offsets, self.logprob[index], mean, variance, self.model, dict(self.about))
        scores.about.update(counts_of(scores))
        return scores

    def _wanted(self, row_ids: Any) -> np.ndarray:
        """Row ids as int64; truth values mark the rows that are wanted."""
        asked = tried(
            lambda given: np.asarray(given.detach().cpu() if hasattr(given, "detach") else given).reshape(-1), row_ids
        )
        if asked is None:
            raise ScoringError(unfit("row_ids", row_ids, "the ids of rows, or a truth value for each row"))
        if asked.dtype.kind == "b":
            if len(asked) != len(self):
                raise ScoringError(
                    unfit("row_ids", row_ids, f"{len(self)} truth values, one for each row, or the ids of rows")
                )
            return self.row_id[asked]
        if len(asked) and (
            asked.dtype.kind not in "iu"
            or any(isinstance(one, bool) for one in (row_ids if isinstance(row_ids, (list, tuple)) else ()))
        ):
            raise ScoringError(
                unfit("row_ids", row_ids, "whole numbers, the ids of rows, or a truth value for each row")
            )
        if len(asked) and int(asked.max()) > 2**63 - 1:
            raise ScoringError(unfit("row_ids", row_ids, "ids of at most 64 bits"))
        return asked.astype(np.int64)

    def __str__(self) -> str:
        said = {"bad": "with NaN or infinity", "short": "without a token to score"}
        bad = "".join(f", {self.about[n]} {what}" for n, what in said.items() if self.about.get(n))
        nll = self.nll()
        if not np.isfinite(nll).any():
            return f"{len(self)} rows without a usable score{bad}"
        name, mean = self.model.get("name", "a model"), float(np.nanmean(nll))
        return f"{len(self)} rows, {len(self.logprob)} tokens under {name}: {mean:.4f} nats a token{bad}"


def counts_of(scores: Scores) -> dict:
    """How many rows and tokens there are, and how many rows are not finite or have no scored token."""
    bad = np.unique(scores._row[~np.isfinite(scores.logprob)])
    return {
        "rows": len(scores),
        "tokens": len(scores.logprob),
        "bad": len(bad),
        "short": int((scores.tokens() == 0).sum()),
    }


def whole_number(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`, or a `ScoringError` that names the argument."""
    return Whole(least).of(value, name, ScoringError)
