"""What is read of a model at each look: log-probabilities of every set, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.lengths import require_readable
from ..scoring.causal import inner
from ..training import Rows, Teacher
from ..training.recipe import step_seed
from .errors import UnlearningError
from .items import Items
from .labels import random_labels
from .questions import Questions, answers
from .reference import token_log_probs
from .written import Writer

#: Share of a row's tokens that Min-K% reads, as OpenUnlearning does.
MIN_K = 0.4
#: TOFU's sets of what any model may know, by the names that OpenUnlearning gives their measures: real authors and world
#: facts. Their answers are told from wrong ones.
CHOSEN = ("ra", "wf")
#: Sets whose prompts a model writes answers to.
ANSWERED = ("forget", "retain", *CHOSEN)


@dataclass(frozen=True, eq=False)
class Sets:
    """What is looked at. `foils`: the forget set's prompts with answers of others, which no model has read. `rouge`:
    tokens that are written in answer to each prompt at most.
    """

    forget: Items
    retain: Items
    foils: Items | None = None
    heldout: Items | None = None
    holdout: Items | None = None
    questions: Questions | None = None
    real_authors: Items | None = None
    world_facts: Items | None = None
    rouge: int = 0

    def items(self) -> dict[str, Items]:
        """The sets that are there, by name."""
        every = {
            "forget": self.forget,
            "retain": self.retain,
            "foil": self.foils,
            "heldout": self.heldout,
            "holdout": self.holdout,
            "ra": self.real_authors,
            "wf": self.world_facts,
        }
        return {name: items for name, items in every.items() if items is not None}


def require_chosen(items: Items | None, name: str) -> None:
    """Raises UnlearningError: a set whose answers are to be told from wrong ones, without these."""
    if items is not None and not items.perturbed:
        raise UnlearningError(
            f"{name} has no wrong answers; its rows need perturbed_answer, which its answers are told from."
        )


def foils_of(forget: Items, seed: int) -> Items | None:
    """The forget set's prompts with answers drawn from its other rows: what is known of answers without their prompts.
    None where all rows have one answer.
    """
    try:
        # by another seed than the wrong labels that an arm trains on
        labels = random_labels(forget.pairs(), "wrong", step_seed(seed, 0))
    except UnlearningError:
        return None
    rows = labels.rows
    assert isinstance(rows, Rows)
    drawn = [tuple(rows.ids[i][rows.targets[i]].tolist()) for i in range(len(rows))]
    return Items(forget.prompts, drawn, units=forget.unit_labels())


@dataclass(eq=False)
class Looker:
    """Reads models, one look after another. `twin`: a model that `answers` are compared with, read once. `model`: whose
    tokenizer says what is written.
    """

    sets: Sets
    twin: Any = None
    model: Any = None
    _twin: Teacher | None = field(default=None, init=False)
    _writer: Writer | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.twin is not None and self.sets.questions is not None:
            self._twin = Teacher.of(inner(self.twin), self.sets.questions.rows())
        if self.sets.rouge:
            answered = {name: items for name, items in self.sets.items().items() if name in ANSWERED}
            self._writer = Writer(self.model, answered, self.sets.rouge)

    def look(self, model: Any) -> dict[str, np.ndarray]:
        """Values by name: `<set>_logprob` and `<set>_min_k` [n], `<set>_truth_ratio` where perturbed answers are there
        (and of the sets of `CHOSEN` `<set>_wrong`, the sum of their probabilities), `<set>_rouge` where texts are
        written, and of questions `outcome`, `p_right`, `p_planted`, `rank`, `log_odds`, `kl_twin`.
        """
        given, model, values = model, inner(model), dict[str, np.ndarray]()
        read = _read(model, self.sets.items())
        for name, items in self.sets.items().items():
            own = read[name, "answers"]
            values[f"{name}_logprob"] = np.array([float(t.double().mean()) for t in own])
            if name in ("forget", "holdout"):
                values[f"{name}_min_k"] = np.array([_lowest(t.double().numpy(), MIN_K) for t in own])
            if items.perturbed:
                each = iter(read[name, "perturbed"])
                wrong = [[float(next(each).double().mean()) for _ in of] for of in items.perturbed]
                # where wrong answers are told from the answer itself, that is what they are told from
                true = own if name in CHOSEN else read.get((name, "paraphrases"), own)
                mean = np.array([np.mean(of) for of in wrong])
                values[f"{name}_truth_ratio"] = np.exp(mean - np.array([float(t.double().mean()) for t in true]))
                if name in CHOSEN:
                    values[f"{name}_wrong"] = np.array([np.exp(of).sum() for of in wrong])
        if self._writer is not None:
            values |= self._writer.look(given)
        if self.sets.questions is not None:
            found = answers(model, self.sets.questions, twin=self._twin)
            values |= {
                "outcome": found.outcome,
                "p_right": found.right,
                "p_planted": found.planted,
                "rank": found.rank,
                "log_odds": found.log_odds,
                "kl_twin": found.kl,
            }
        return values


def _read(model: Any, sets: Mapping[str, Items]) -> dict[tuple[str, str], list[Any]]:
    """Each answer's token log-probabilities, by set and kind of answer; one pass over all rows."""
    keys, pairs = [], []
    for name, items in sets.items():
        for kind, prompt, answer in _answers(items):
            keys.append((name, kind))
            pairs.append((tuple(prompt), tuple(answer)))
    out: dict[tuple[str, str], list[Any]] = {}
    for key, values in zip(keys, token_log_probs(model, Rows.of(pairs))):
        out.setdefault(key, []).append(values)
    return out


def require_fitting(model: Any, sets: Mapping[str, Items]) -> None:
    """Raises UnlearningError: a token that the model has not, or a row that is longer than it reads."""
    for name, items in sets.items():
        rows = Rows.of([(tuple(prompt), tuple(answer)) for _, prompt, answer in _answers(items)])
        require_readable(inner(model), int(rows.ids.max()), rows.ids.shape[1], UnlearningError, name)


def _answers(items: Items) -> Iterator[tuple[str, Any, Any]]:
    for i, prompt in enumerate(items.prompts):
        yield "answers", prompt, items.answers[i]
        if items.paraphrases:
            yield "paraphrases", prompt, items.paraphrases[i]
        for wrong in items.perturbed[i] if items.perturbed else ():
            yield "perturbed", prompt, wrong


def _lowest(logp: np.ndarray, share: float) -> float:
    """The mean of the least likely share of a row's tokens, at least one."""
    return float(np.sort(logp)[: max(1, int(len(logp) * share))].mean())
