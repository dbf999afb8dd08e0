"""How the likelihood of a row is asked for: one scorer for each kind of suspect or reference."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arguments import Count, HFModel, door, unfit
from ..scoring.served import Served, is_address
from .arguments import can, kind_of
from .errors import ProvenanceError
from .suspects import hit_shares, informative
from .tokenizers import rows_for
from .transcripts import Transcript


class _Scorer(ABC):
    """NLL of rows by their number in the transcript; remembers what it has scored. `topics` gathers warnings, `tokens`
    counts those scored.
    """

    def __init__(self, transcript: Transcript, name: str):
        self.transcript, self.name, self.tokens = transcript, name, 0
        self.topics: dict[Any, Any] = {}
        self.scored, self.losses = np.zeros(len(transcript), bool), np.full(len(transcript), np.nan)

    @abstractmethod
    def _nll(self, index: np.ndarray) -> np.ndarray:
        """The NLL of rows that were not scored yet."""

    def nll(self, index: np.ndarray) -> np.ndarray:
        """The NLL of rows, each scored once."""
        new = index[~self.scored[index]]
        if len(new):
            self.losses[new], self.scored[new] = self._nll(new), True
        return self.losses[index]

    @property
    def notes(self) -> list[str]:
        return [text for topic, text in self.topics.items() if not topic.startswith("_")]

    def rows(self, model: Any, index: np.ndarray) -> list[np.ndarray]:
        return rows_for(model, self.transcript, index, self.name, self.topics)

    def partner(self, number: int, values: np.ndarray, index: np.ndarray) -> np.ndarray:
        """What reference `number` is to be compared by; as a rule its own NLL."""
        return values

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}


class _Values(_Scorer):
    """NLL of all rows given as numbers."""

    def __init__(self, values, transcript, name):
        super().__init__(transcript, name)
        from .scores import _line

        self.values = _line(values, name, len(transcript))

    def _nll(self, index):
        return self.values[index]

    def identity(self):
        return {
            "name": self.name,
            "what": "NLL of each row, as given",
            "sha256": hashlib.sha256(self.values.astype("<f8").tobytes()).hexdigest(),
        }


class _Stored(_Scorer):
    """A `lens.scoring.rows.Scores` table, matched by row id."""

    def __init__(self, scores, transcript, name, options):
        super().__init__(transcript, name)
        self.scores = scores
        values = np.asarray(
            scores.nll(**{k: options[k] for k in ("prefix", "window", "reduce") if k in options}), dtype=np.float64
        )
        order = np.argsort(scores.row_id, kind="stable")
        at = np.minimum(np.searchsorted(scores.row_id[order], transcript.row_id), len(order) - 1)
        self.present = scores.row_id[order][at] == transcript.row_id
        self.values = np.where(self.present, values[order][at], np.nan)
        self.lengths = np.where(self.present, np.diff(scores.offsets)[order][at], 0)

    def _nll(self, index):
        if missing := int((~self.present[index]).sum()):
            raise ProvenanceError(
                f"{self.name}: {missing} of {len(index)} rows asked for have no scores (first row id"
                f" {self.transcript.row_id[index[~self.present[index]][0]]}); score them first"
            )
        self.tokens += int(self.lengths[index].sum())
        return self.values[index]

    def identity(self):
        return {"name": self.name, "what": "stored log-probabilities", **dict(self.scores.model)}


class _Model(_Scorer):
    """A model at hand, scored by `lens.scoring.rows.score`."""

    def __init__(self, model, transcript, name, store, options, role="reference"):
        super().__init__(transcript, name)
        self.role, self.model, self.store, self.options, self.tables = role, model, store, options, []

    def _nll(self, index):
        ids, options = self.transcript.row_id[index], {k: v for k, v in self.options.items() if k != "reduce"}
        table = self._scored(self.rows(self.model, index), row_ids=ids, store=self.store, **options).take(ids)
        self.tokens += len(table.logprob)
        if cut := int(table.about.get("cut", 0)):
            self.topics["_long"] = self.topics.get("_long", 0) + cut
            self.topics["long"] = (
                f"{self.name}: {self.topics['_long']} rows are longer than its context and were cut there"
            )
        return table.nll(**{k: v for k, v in self.options.items() if k == "reduce"})

    def _scored(self, rows, **options):
        from .. import scoring

        try:
            return scoring.score(self.model, rows, **options)
        except scoring.ScoringError as error:
            kind = scoring.ServedError if isinstance(error, scoring.ServedError) else scoring.ScoringError
            raise kind(f"{self.role}: {error}") from error

    def logprobs(self, index) -> list[np.ndarray]:
        """Log-probabilities of each row's tokens after the first."""
        table = self._scored(self.rows(self.model, index), start=None)
        return [table.logprob[a:b] for a, b in zip(table.offsets[:-1], table.offsets[1:])]

    def identity(self):
        from ..models import weight_hash

        core = getattr(self.model, "original_model", self.model)
        return {
            "name": self.name,
            "what": type(core).__name__,
            "sha256": weight_hash(self.model),
            "dtype": str(next(core.parameters()).dtype).removeprefix("torch."),
        }


class _Served(_Model):
    """A model behind a server, scored by `lens.scoring.rows.score` and kept in its store like a model at hand."""

    def identity(self):
        return {"name": self.name, **self.model.about()}


class _Logprobs(_Scorer):
    """A suspect that tells prompt log-probabilities."""

    def __init__(self, client, transcript, name, options):
        super().__init__(transcript, name)
        self.client, self.prefix, self.window = client, int(options.get("prefix", 0) or 0), options.get("window")

    def _nll(self, index):
        rows = self.rows(self.client, index)
        answers = list(self.client.prompt_logprobs(rows))
        if len(answers) != len(rows):
            raise ProvenanceError(
                f"{self.name}: prompt_logprobs returned {len(answers)} answers for {len(rows)} rows; expected one for"
                " each"
            )
        return np.array(
            [self._mean(np.asarray(answer, dtype=np.float64).ravel(), row) for answer, row in zip(answers, rows)]
        )

    def _mean(self, logprob, row):
        if len(logprob) == len(row):  # the first token has no prefix: hosted models return null for it
            logprob = logprob[1:]
        if len(logprob) != len(row) - 1:
            return np.nan
        # `logprob[i]` is of the token at position i + 1
        part = logprob[max(self.prefix - 1, 0) : None if self.window is None else max(self.prefix + self.window - 1, 0)]
        self.tokens += len(part)
        return -part.mean() if len(part) else np.nan

    def identity(self):
        return {"name": self.name, "what": "hosted: prompt log-probabilities (no hash of its weights can be had)"}


class _Draws(_Scorer):
    """A suspect that only draws next tokens: the share of draws that hit the true token, at places that the reference
    finds informative.
    """

    def __init__(self, client, transcript, name, partners, options):
        super().__init__(transcript, name)
        self.client, self.k, self.places = client, int(options.get("draws", 32)), int(options.get("places", 4))
        self.guides = [one for one in partners if isinstance(one, _Model)]
        if partners and len(self.guides) != len(partners):
            raise ProvenanceError(
                f"{name} only draws tokens, and reference"
                f" {next(p.name for p in partners if not isinstance(p, _Model))!r} has no log-probability of single"
                " tokens at hand; give the reference as a model"
            )
        self.expected = np.full((len(partners), len(transcript)), np.nan)

    def _nll(self, index):
        rows = self.rows(self.client, index)
        self.topics["draws"] = (
            f"{self.name} only draws tokens: the score is minus the share of {self.k} draws that hit the true token, at"
            f" {self.places} places a row; valid, but noisier than log-probabilities"
        )
        if any(
            not np.array_equal(np.asarray(row), np.asarray(other))
            for guide in self.guides
            for row, other in zip(rows, guide.rows(guide.model, index))
        ):
            raise ProvenanceError(
                f"{self.name} only draws tokens, and its tokenizer differs from a reference's: places cannot be"
                " matched. Use a reference of the same tokenizer, or none"
            )
        guides = [guide.logprobs(index) for guide in self.guides]
        places = [
            informative(
                np.mean([np.exp(g[i]) for g in guides], axis=0) if guides else None,
                len(row),
                self.places,
                int(self.transcript.row_id[index[i]]),
            )
            for i, row in enumerate(rows)
        ]
        hits = hit_shares(self.client, rows, places, self.k)
        self.tokens += sum(len(p) for p in places)
        for number, lines in enumerate(guides):
            self.expected[number, index] = [
                -np.exp(line[p - 1]).mean() if len(p) else np.nan for line, p in zip(lines, places)
            ]
        return -hits

    def partner(self, number, values, index):
        return self.expected[number, index]

    def identity(self):
        return {
            "name": self.name,
            "what": (
                f"hosted: {self.k} next tokens drawn at {self.places} places a row (no hash of its weights can be had)"
            ),
        }


@door(ProvenanceError)
def sampled_scores(
    client: Any, transcript: Transcript, reference: HFModel | None = None, *, places: Count = 4, k: Count = 32
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores of a suspect that only draws tokens and those of a reference model, [n] each, for `query_scores`: minus
    hit shares, minus expected shares.

    The reference's probabilities choose `places` a row, where p (1 - p) is largest; a shift of the suspect's log-odds
    moves the hit share most there.
    """
    if not can(client, "sample_next"):
        raise ProvenanceError(unfit("client", client, "an object with sample_next(prefixes, k)"))
    partners = [] if reference is None else [_Model(reference, transcript, "reference", None, {})]
    scorer = _Draws(client, transcript, "suspect", partners, {"draws": k, "places": places})
    index = np.arange(len(transcript))
    return scorer.nll(index), None if reference is None else scorer.expected[0]


def scorer_of(
    subject: Any,
    transcript: Transcript,
    store: Any,
    options: Mapping[str, Any] | None,
    name: str,
    partners: Sequence[_Scorer] = (),
    role: str = "suspect",
) -> _Scorer:
    """The scorer for whatever was given as suspect or reference."""
    options = dict(options or {})
    if is_address(subject):
        subject = Served(subject)
    elif isinstance(subject, str):
        from ..models import LoadError, load

        try:
            # in the dtype that it is scored in, so that it fits where that does
            subject = load(subject, dtype=options.get("dtype") or "float32", device=options.get("device") or "auto")
        except LoadError as error:
            raise LoadError(f"{role}: {error}") from error
    kind = kind_of(subject)
    if kind == "table":
        return _Stored(subject, transcript, name, options)
    if kind == "values":
        return _Values(subject, transcript, name)
    options_of_models = {k: v for k, v in options.items() if k not in ("draws", "places")}
    if kind == "logprobs":
        return _Logprobs(subject, transcript, name, options)
    if kind == "draws":
        return _Draws(subject, transcript, name, partners, options)
    if kind in ("model", "served"):
        return (_Model if kind == "model" else _Served)(subject, transcript, name, store, options_of_models, role)
    raise ProvenanceError(
        f"{name}: {type(subject).__name__} cannot be scored; expected a model, the name of one, lens.scoring.Served, a"
        " Scores table, NLL of each row, or an object with prompt_logprobs or sample_next"
    )
