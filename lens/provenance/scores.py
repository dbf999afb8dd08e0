"""The test itself, on scores that are at hand: an order-blind statistic of suspect and references, against the
positions of the shuffle.

Scores are negative log-likelihoods (NLL, nats a token). The effect that is looked for: later rows are remembered
better, so the suspect's NLL minus the reference's falls with position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lens.reading import said

from ..arguments import Count, Draws, Seed, Share, door, unfit
from .arguments import Alternative, Asked, Enough, _Asked, array
from .errors import ProvenanceError
from .ledger import Ledger
from .order import mixed
from .transcripts import Transcript

Statistic = Literal["difference", "linear", "poly4", "none"]
#: Of positions: by name, or weights as a function of rank / (n + 1).
Trend = Literal["spearman", "pearson"] | Callable[[Any], Any]
_ASKED = _Asked()
BATCH = 256  # rows between two looks at the e-value
PARTIAL_DRAWS = 999  # permutations of a partial result


@door(ProvenanceError)
@dataclass(frozen=True, eq=False)
class Reference:
    """A model (or its scores) to compare with, and whether it was trained in the transcript's order.

    A reference that shares the order makes an innocent suspect look guilty: it is refused. `shares_order=None`: nobody
    said; the result warns.
    """

    model: Asked
    shares_order: bool | None = None
    name: str = ""


def as_references(reference: Any, shares_order: bool | None = None) -> list[Reference]:
    """None, one or several (a list or tuple; an array [references, rows]) as references; refuses any that shares the
    order.
    """
    if reference is None:
        return []
    several = (
        isinstance(reference, (list, tuple))
        and (not reference or not isinstance(reference[0], (int, float, np.number)))
    ) or (isinstance(reference, np.ndarray) and reference.ndim == 2)
    references = []
    for number, one in enumerate(reference if several else [reference]):
        one = (
            one
            if isinstance(one, Reference)
            else Reference(
                _ASKED.of(one, f"reference[{number}]" if several else "reference", ProvenanceError), shares_order
            )
        )
        one = (
            one
            if one.name
            else replace(one, name=name_of(one.model, f"reference {number + 1}" if several else "reference"))
        )
        if one.shares_order:
            raise ProvenanceError(
                f"reference {one.name!r} is declared to share the transcript's order (shares_order=True): refused. Its"
                " own NLL falls with position, so suspect minus reference rises or falls with the order even where the"
                " suspect never saw it, and an innocent suspect is flagged. Use a model of the same size trained on"
                " the same data in another order, any model trained elsewhere, or statistic='none' without a reference"
            )
        references.append(one)
    return references


def name_of(model: Any, default: str) -> str:
    """A name to print: of a path, a scored table, a model's configuration."""
    from ..models import name_of as known

    if isinstance(model, str):
        return model
    table = getattr(model, "model", None)
    for value in (
        getattr(model, "name", None),
        known(model, ""),
        table.get("name") if isinstance(table, dict) else None,
    ):
        if isinstance(value, str) and value:
            return value
    return default


def order_blind(
    suspect: np.ndarray, references: np.ndarray, statistic: str = "difference", weights: str | None = None
) -> np.ndarray:
    """The score of each row, made without looking at positions: float64 [n].

    Args:
        suspect: NLL [n]; references: NLL [references, n].
        statistic: "difference" (minus the references' mean), "linear" (residual of least squares on all references),
            "poly4" (on powers 1 to 4 of each), "none".
        weights: "noise" divides each residual (less their mean) by its standard deviation as the references' mean NLL
            predicts it.
    """
    if statistic == "none" or not len(references):
        score = suspect.astype(np.float64)
    elif statistic == "difference":
        score = suspect - references.mean(axis=0)
    else:
        standard = (references - references.mean(axis=1, keepdims=True)) / np.maximum(
            references.std(axis=1, keepdims=True), 1e-300
        )
        powers = range(1, 5 if statistic == "poly4" else 2)
        design = np.vstack([np.ones_like(suspect), *(line**k for line in standard for k in powers)]).T
        if len(suspect) <= design.shape[1] + 2:
            raise ProvenanceError(
                f"statistic={statistic!r} fits {design.shape[1]} numbers to {len(suspect)} rows; give more rows, or use"
                " statistic='difference'"
            )
        score = suspect - design @ np.linalg.lstsq(design, suspect, rcond=None)[0]
    if weights == "noise":
        score = score - score.mean()
        score = score / predicted_deviation(score, references.mean(axis=0))
    return score


def predicted_deviation(residual: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The standard deviation of residuals as a smooth positive function of the reference's NLL: least squares of log
    squares on a quadratic.
    """
    x = (reference - reference.mean()) / max(float(reference.std()), 1e-300)
    x = np.clip(x, -3, 3)  # no wild extrapolation at the ends
    squares = np.maximum(residual**2, 1e-6 * np.mean(residual**2))
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    return np.exp(0.5 * design @ np.linalg.lstsq(design, np.log(squares), rcond=None)[0])


@door(ProvenanceError)
def query_scores(
    suspect: Any,
    reference: Any,
    transcript: Transcript,
    *,
    statistic: Statistic = "difference",
    weights: Literal["noise"] | None = None,
    trend: Trend = "spearman",
    alternative: Alternative = "less",
    level: Share = 0.95,
    resamples: Draws = 100_000,
    seed: Seed = 0,
    shares_order: bool | None = None,
    stop_at: Enough | None = None,
    batch: Count = BATCH,
    on_part: Callable[[Any], Any] | None = None,
    tokens: Any = None,
    names: Mapping[str, Any] | None = None,
    ledger: Ledger | Literal[False] | None = None,
):
    """Was the suspect trained in the transcript's order? The pure part of `query`: NLL of each row in, a `QueryResult`
    out.

    Args:
        suspect: NLL of the transcript's rows, [n]; NaN and infinite ones are left out and counted.
        reference: NLL of a model that did not see the order: [n], [references, n], a `Reference` or several; None for
            none (little power).
        statistic, weights: how suspect and references make a score; see `order_blind`.
        trend: "spearman", "pearson", or weights as a function of rank / (n + 1) of the position, fixed before scores
            are seen.
        alternative: "less" (later rows have lower NLL: the effect of training), "greater", "two-sided".
        level: of the interval; a design that cannot reach 1 - level is refused and the error says what it can reach.
        stop_at: stop asking once the e-value is this large, looking after every `batch` rows. Then only e and its p are
            guaranteed.
        on_part: called with a partial `QueryResult` after each batch.
        ledger: what counts the looks at this suspect and order: None for the process's own, a `Ledger` of yours, False
            to count nothing.

    What the data show against an assumption makes p-values approximate, with the reason, or is refused (see `doubts`);
    what only you can know stands in the result as "guaranteed if ...". Raises ProvenanceError. Sources: Kuditipudi et
    al. 2025 for the statistic; Hoeffding 1952 and Ville 1939 for the guarantees.
    """
    references = as_references(reference, shares_order)
    run = Running(
        transcript,
        references,
        statistic=statistic,
        weights=weights,
        trend=trend,
        alternative=alternative,
        level=level,
        resamples=resamples,
        seed=seed,
        stop_at=stop_at,
        names=names,
        ledger=ledger,
    )
    n = len(transcript)
    values = [_line(suspect, "suspect", n), *(_line(one.model, f"reference {one.name!r}", n) for one in references)]
    if tokens is not None and (
        tokens := array(tokens, "tokens", f"how many tokens each of {n} rows has", "iu")
    ).shape != (n,):
        raise ProvenanceError(unfit("tokens", tokens, f"how many tokens each of {n} rows has"))
    for part in run.batches(batch if stop_at is not None or on_part else n):
        run.add(
            part,
            values[0][part],
            np.array([line[part] for line in values[1:]]).reshape(len(references), len(part)),
            0 if tokens is None else int(tokens[part].sum()),
        )
        if on_part:
            on_part(run.result("partial", draws=PARTIAL_DRAWS))
        if run.reached:
            break
    return run.result("stopped" if run.reached and run.done < n else "complete")


class Running:
    """Rows of one query as they arrive: what was asked so far, the e-value, and the result at any moment.

    The e-value after more rows continues the one before: the score that a row got when it arrived is kept for its bets,
    whatever later rows change in a fit.
    """

    def __init__(
        self,
        transcript: Transcript,
        references: Sequence[Reference],
        *,
        statistic="difference",
        weights=None,
        trend="spearman",
        alternative="less",
        level=0.95,
        resamples=100_000,
        seed=0,
        stop_at=None,
        names=None,
        title="provenance query",
        ledger=None,
    ):
        if weights == "noise" and not references:
            raise ProvenanceError(
                "weights='noise' needs a reference, whose NLL predicts the noise; give one, or leave weights out"
            )
        if not isinstance(trend, str):
            _require_weights(trend)
        self.transcript, self.references, self.statistic, self.weights = (
            transcript,
            list(references),
            statistic if references else "none",
            weights,
        )
        self.trend, self.alternative, self.level, self.resamples, self.seed, self.stop_at = (
            trend,
            alternative,
            level,
            resamples,
            seed,
            stop_at,
        )
        self.title, self.ledger = title, ledger
        self.names = (
            {"suspect": "suspect", "references": [one.name for one in references], "transcript": transcript.name}
            | {k: v for k, v in (names or {}).items() if v is not None}
            | {"title": title}
        )
        self.order = transcript.arrival(seed)
        self.index, self.suspect, self.others, self.bets = (
            np.empty(0, int),
            np.empty(0),
            np.empty((len(references), 0)),
            np.empty(0),
        )
        self.lost, self.lost_others = (
            np.empty(0, int),
            np.empty((len(references), 0)),
        )  # rows without a finite score, for the check of why
        self.done = self.tokens = self.bad = 0
        self.log_e = np.empty(0)
        self.notes: list[str] = []

    def batches(self, size: int):
        """Index arrays of rows in the sequence of asking."""
        for start in range(0, len(self.order), size):
            yield self.order[start : start + size]

    @property
    def reached(self) -> bool:
        """Whether the e-value is at least `stop_at`."""
        return self.stop_at is not None and self.log_e.size > 0 and self.log_e[-1] >= np.log(self.stop_at)

    def add(self, index: np.ndarray, suspect: np.ndarray, others: np.ndarray, tokens: int = 0) -> None:
        """More rows, in the sequence of `batches`."""
        good = np.isfinite(suspect) & np.isfinite(others).all(axis=0)
        self.done += len(index)
        self.tokens += tokens
        self.bad += int((~good).sum())
        self.index = np.concatenate([self.index, index[good]])
        self.lost = np.concatenate([self.lost, index[~good]])
        self.lost_others = np.concatenate([self.lost_others, others[:, ~good]], axis=1)
        self.suspect, self.others = (
            np.concatenate([self.suspect, suspect[good]]),
            np.concatenate([self.others, others[:, good]], axis=1),
        )
        least = 4 + (4 if self.statistic == "poly4" else 1) * len(self.references)
        if len(self.suspect) < least:
            return  # the rows wait for the next batch before a bet is placed on them
        score, past = self.score(), len(self.bets)
        self.bets = np.concatenate([self.bets, _rank_share(score)[past:]])
        if np.ptp(self.bets) > 0:
            self.log_e = self._log_e()

    def score(self) -> np.ndarray:
        """The score of each row so far, for which the order is not looked at."""
        return order_blind(self.suspect, self.others, self.statistic, self.weights)

    def _log_e(self) -> np.ndarray:
        """Log of the e-process after each row; over several groups the product of theirs, since they were shuffled
        independently and each group breaks its ties by lots of its own.
        """
        from ..stats.keys import key_e_process, rank_e_process

        position, group = self.transcript.position[self.index], self.transcript.group[self.index]
        steps = np.zeros(len(self.index))
        labels = np.zeros(1) if self.transcript.kind == "key" else np.unique(group)
        for label in labels:
            mine = np.arange(len(group)) if self.transcript.kind == "key" else np.flatnonzero(group == label)
            if len(mine) < 3 or np.ptp(self.bets[mine]) == 0:
                continue
            at = position[mine]
            try:
                if self.transcript.kind == "key":
                    epochs = self.transcript.epochs
                    log_e = key_e_process(
                        np.repeat(self.bets[mine], epochs), at.reshape(-1), alternative=self.alternative
                    ).log_e[epochs - 1 :: epochs]
                else:
                    lots = int(
                        mixed(np.array([int(label)]), self.seed)[0] >> np.uint64(1)
                    )  # shared lots would make the groups' e-values depend on each other
                    log_e = rank_e_process(
                        self.bets[mine],
                        at if at.ndim == 1 else at.mean(axis=1),
                        alternative=self.alternative,
                        seed=lots,
                    ).log_e
            except ValueError as error:
                if "is constant over" in str(error):
                    continue  # nothing to bet on yet
                raise ProvenanceError(str(error)) from error
            steps[mine] += np.diff(log_e, prepend=0.0)
        return np.cumsum(steps)

    def result(self, status: str = "complete", draws: int | None = None):
        """The `QueryResult` of the rows so far."""
        from .evidence import result_of

        return result_of(self, status, draws)


def _line(values, name: str, n: int) -> np.ndarray:
    losses = array(values, name, f"numbers, the NLL of each row [{n}]; for a model use query()", dtype=np.float64)
    if losses.shape != (n,):
        raise ProvenanceError(
            f"{name} has shape {losses.shape}; expected one NLL for each of the transcript's {n} rows"
        )
    return losses


def _require_weights(trend: Callable[[Any], Any]) -> None:
    """Raises ProvenanceError unless the function gives a finite weight for each of some shares of the order."""
    try:
        weights = np.asarray(trend(np.linspace(0.1, 0.9, 9)), dtype=np.float64)
        fits = weights.shape == (9,) and bool(np.isfinite(weights).all())
    except Exception as error:  # it is somebody else's function
        raise ProvenanceError(
            unfit("trend", trend, f"a function of rank / (n + 1) that takes an array; it fails: {said(error)}")
        ) from error
    if not fits:
        raise ProvenanceError(
            unfit("trend", trend, "a function that gives a finite weight for each number of the array rank / (n + 1)")
        )


def _rank_share(values: np.ndarray) -> np.ndarray:
    """Average ranks from -1/2 to 1/2: bets that a wild score cannot dominate."""
    from scipy import stats

    return (stats.rankdata(values) - 0.5) / len(values) - 0.5
