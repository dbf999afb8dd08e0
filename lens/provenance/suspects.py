"""Whatever can be asked for the likelihood of a row: a model at hand, a table of scores, or a suspect behind an
interface.

A suspect behind an OpenAI-compatible server is `lens.scoring.Served`. Any other hosted one is one of two small classes
that the user writes: `PromptLogprobs` (log-probabilities of a prompt's own tokens) or `SampledTokens` (next tokens
drawn at given prefixes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lens.reading import said

from ..arguments import Count, Name, Seed, door, unfit
from .arguments import array
from .errors import ProvenanceError
from .order import mixed


@runtime_checkable
class PromptLogprobs(Protocol):
    """A suspect that tells the log-probabilities (nats) of a prompt's own tokens. Optional: `name`, `tokenizer`."""

    def prompt_logprobs(self, rows: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """For each row of token ids, one log-probability for each token after the first, given those before it."""
        ...


@runtime_checkable
class SampledTokens(Protocol):
    """A suspect that only draws next tokens. Optional: `name`, `tokenizer`."""

    def sample_next(self, prefixes: Sequence[np.ndarray], k: int) -> Sequence[Mapping[int, int]]:
        """For each prefix, how often each token id came in k draws at temperature 1."""
        ...


@door(ProvenanceError)
class LocalSuspect:
    """A causal model at hand (or anything that gives `.logits` of token ids) as a hosted suspect of both kinds: for
    tests, and to see what an interface costs in power.

    Raises: ScoringError: a Hugging Face model that is not causal, hooks or edits on it, a wrapper that computes
        something else than the model inside (virtual tokens).
    """

    def __init__(self, model: Any, seed: Seed = 0, name: Name = "local"):
        from ..scoring.causal import plain
        from ..scoring.look_ahead import require_causal

        if not callable(model) or isinstance(model, type):
            raise ProvenanceError(
                unfit("model", model, "a causal model, or anything that is called with token ids and gives .logits")
            )
        self.model, self.name, self.seed, self.asked = model, name, seed, 0
        if hasattr(getattr(model, "original_model", model), "get_output_embeddings"):
            self.model = plain(model)
            require_causal(self.model)
        self.tokenizer = getattr(model, "tokenizer", None)

    @door(ProvenanceError)
    def prompt_logprobs(self, rows: Sequence[Any]):
        """For each row, the natural-log probability of each token after the first, given those before it."""
        rows, answers = [self._ids(row, f"rows[{i}]") for i, row in enumerate(rows)], [None] * len(rows)
        for same in _by_length(rows):
            # the last token too: with some rotary frequencies the length of the text counts
            logprob = self._logprobs(np.stack([rows[i] for i in same]))
            for i, line in zip(same, logprob):
                answers[i] = line[np.arange(len(rows[i]) - 1), rows[i][1:]]
        return answers

    @door(ProvenanceError)
    def sample_next(self, prefixes: Sequence[Any], k: Count):
        """For each prefix, how often each token came in `k` draws of the next one at temperature 1."""
        answers = []
        for prefix in [self._ids(prefix, f"prefixes[{i}]") for i, prefix in enumerate(prefixes)]:
            p = np.exp(self._logprobs(prefix[None])[0, -1].astype(np.float64))
            counts = np.random.Generator(np.random.PCG64([self.seed, self.asked])).multinomial(k, p / p.sum())
            self.asked += 1
            answers.append({int(i): int(counts[i]) for i in np.flatnonzero(counts)})
        return answers

    def _ids(self, row: Any, name: str) -> np.ndarray:
        known = getattr(getattr(self.model, "config", None), "vocab_size", None) or 2**31
        expected = f"a line of at least one token id, each from 0 to {known - 1}"
        ids = array(row, name, expected, "iu")
        if ids.ndim != 1 or not ids.size or ids.min() < 0 or ids.max() >= known:
            raise ProvenanceError(unfit(name, row, expected))
        return ids.astype(np.int64)

    def _logprobs(self, ids: np.ndarray) -> np.ndarray:
        """Log-probabilities of every next token after each token, [rows, length, vocabulary]."""
        import torch

        from ..engine.lengths import Lengths

        if isinstance(self.model, torch.nn.Module) and (lengths := Lengths.of(self.model)) is not None:
            lengths.forget()
        with torch.no_grad():
            if hasattr(self.model, "get_output_embeddings"):
                return torch.log_softmax(self.model(torch.as_tensor(ids)).logits.float(), -1).numpy()
            try:
                output = self.model(torch.as_tensor(ids))
            except Exception as error:  # it is somebody else's function
                raise ProvenanceError(
                    unfit(
                        "model",
                        self.model,
                        f"a causal model, or anything that gives .logits of token ids; it fails: {said(error)}",
                    )
                ) from error
            logits = getattr(output, "logits", None)
            if not isinstance(logits, torch.Tensor) or tuple(logits.shape[:2]) != ids.shape or logits.ndim != 3:
                raise ProvenanceError(
                    unfit(
                        "model",
                        self.model,
                        "a causal model, or anything that gives .logits of token ids, [rows, length, vocabulary]",
                    )
                )
            return torch.log_softmax(logits.float(), -1).numpy()


def _by_length(rows: Sequence[np.ndarray], most: int = 16) -> Iterator[list[int]]:
    """Numbers of rows of equal length, at most `most` together."""
    lengths = np.array([len(row) for row in rows])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length).tolist()
        yield from (same[at : at + most] for at in range(0, len(same), most))


def informative(probability: np.ndarray | None, length: int, count: int, row_id: int) -> np.ndarray:
    """The places (1 to length - 1) of a row whose token is worth sampling: largest p (1 - p) under the references, else
    by a hash.
    """
    if length < 2:
        return np.empty(0, int)
    worth = mixed(np.arange(length - 1), row_id) if probability is None else -(probability * (1 - probability))
    return np.sort(np.argsort(worth, kind="stable")[:count] + 1)


def hit_shares(client: SampledTokens, rows: Sequence[np.ndarray], places: Sequence[np.ndarray], k: int) -> np.ndarray:
    """For each row, the share of k draws a place that were the true token; NaN where a row has no place."""
    asked = [(i, int(at)) for i, where in enumerate(places) for at in where]
    answers = list(client.sample_next([np.asarray(rows[i])[:at] for i, at in asked], k))
    if len(answers) != len(asked):
        raise ProvenanceError(
            f"sample_next returned {len(answers)} answers for {len(asked)} prefixes; expected one for each"
        )
    total, number = np.zeros(len(rows)), np.zeros(len(rows))
    for (i, at), counts in zip(asked, answers):
        if sum(counts.values()) != k:
            raise ProvenanceError(
                f"sample_next counted {sum(counts.values())} draws where {k} were asked; expected counts that sum to k"
            )
        total[i] += counts.get(int(rows[i][at]), 0) / k
        number[i] += 1
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
