"""Tests that need only text: do its n-grams match late rows more (partition), and does the model of the true order fit
it best (shuffle-retrain)?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..arguments import Draws, Name, Number, Seed, Share, door, unfit
from ..stats.samples import Interval, PValue, StatisticsError, short
from .arguments import Alternative, array, documents_of, gram_sizes
from .errors import ProvenanceError
from .ledger import Ledger
from .ngrams import Matches, join
from .scores import Running, Trend
from .tokenizers import tokenizer_of
from .transcripts import Transcript

if TYPE_CHECKING:
    from ..stats.retrain import RetrainTest
    from .result import QueryResult


@door(ProvenanceError)
def match(text: str | Sequence[Any], transcript: Transcript, *, k: Any = (4, 8), **options) -> Matches:
    """n-gram matches of a text with the transcript's rows: `ngrams.join`, whose options pass through.

    `text`: one document or several, as text or as token ids of the transcript's tokenizer. With `across=True` an n-gram
    may run into the next row of the file; where the file is in training order a row's number then hangs on which row
    came next, so it is not strictly blind to the order as the tests need. Raises ProvenanceError for a text that is
    empty or shorter than the shortest n-gram.
    """
    shortest = gram_sizes(k)[0]
    documents: list[Any] = (
        [text]
        if isinstance(text, str)
        else list(text)
        if any(isinstance(one, str) for one in text)
        else documents_of(text)
    )
    if transcript.is_text:
        raise ProvenanceError(
            "the transcript holds texts; n-grams are matched by token: give its rows as token ids, with their tokenizer"
        )
    if any(isinstance(document, str) for document in documents):
        tokenizer = tokenizer_of(transcript.tokenizer)
        if tokenizer is None:
            raise ProvenanceError(
                "text is given as text and the transcript names no tokenizer; give Transcript(..., tokenizer=...), or"
                " the text as token ids"
            )
        if odd := [document for document in documents if not isinstance(document, str)]:
            raise ProvenanceError(unfit("text", odd[0], "all documents as text, or all as token ids"))
        tokens = [
            np.asarray(tokenizer.encode(document, add_special_tokens=False), dtype=np.int64)
            for document in documents
            if document.strip()
        ]
    else:
        tokens = list(documents)
    if not tokens or max(map(len, tokens)) < shortest:
        raise ProvenanceError(
            f"text is empty or shorter than {shortest} tokens in every document; expected at least one n-gram. Several"
            " hundred thousand tokens are needed at the scale of a published model"
        )
    return join(tokens, _corpus(transcript, tokens), k=k, **options)


def _corpus(transcript: Transcript, documents: Sequence[np.ndarray]) -> np.ndarray:
    """The rows as one array; shorter ones are filled with an id that no document has, so that no match can touch the
    filling.
    """
    rows = transcript.rows(np.arange(len(transcript)))
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return rows
    longest = max(map(len, rows))
    filling = 1 + max(
        max(int(np.max(row)) for row in rows), max(int(np.max(document)) for document in documents if len(document))
    )
    table = np.full((len(rows), longest), filling, dtype=np.uint32)
    for line, row in zip(table, rows):
        line[: len(row)] = row
    return table


@door(ProvenanceError)
def partition(
    matches: Any,
    transcript: Transcript,
    *,
    unit: Literal["row", "step"] = "row",
    counts: bool = False,
    alternative: Alternative = "greater",
    level: Share = 0.95,
    resamples: Draws = 100_000,
    seed: Seed = 0,
    trend: Trend = "spearman",
    name: Name = "text",
    ledger: Ledger | Literal[False] | None = None,
) -> QueryResult:
    """Partition test: does a text match rows the better, the later they were trained on? A model remembers late rows
    better and copies them more.

    Args:
        matches: a `Matches` of `match` (or of `ngrams.join` over the transcript's rows), a number for each row [n], or
            a mapping from row id to number (others 0). NaN: unknown, left out.
        unit: "row" (rows are what was shuffled), or "step": sums over the rows of a step; refused where steps hold
            different numbers of rows.
        counts: of a `Matches`, plain counts instead of 1 / (occurrences of the n-gram).
        ledger: what counts the looks, see `query_scores`.

    The unit that is permuted is the row or the step, never a single match: all matches of a row move together. Raises
    ProvenanceError.
    Source: Kuditipudi et al. 2025 (their p-value, from Student's t, is the one printed as approximate).
    """
    n, about = len(transcript), {}
    if isinstance(matches, Matches):
        values, about = np.asarray(matches.dense(1, counts=counts), dtype=np.float64), dict(matches.about)
    elif isinstance(matches, Mapping):
        where = {int(row): i for i, row in enumerate(transcript.row_id)}
        ids = list(matches)
        if unknown := [
            row
            for row in ids
            if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or int(row) not in where
        ]:
            raise ProvenanceError(
                f"matches names row id {unknown[0]}, which the transcript has not ({len(unknown)} such); give counts of"
                " its own rows"
            )
        values = np.zeros(n)
        for row, value in matches.items():
            values[where[int(row)]] = Number().of(value, f"matches[{row}]", ProvenanceError)
    else:
        values = array(
            matches,
            "matches",
            f"a Matches, a number for each of the transcript's {n} rows, or a dict from row id to number",
            dtype=np.float64,
        )
    if values.shape != (n,):
        raise ProvenanceError(
            f"matches has shape {values.shape}; expected one number for each of the transcript's {n} rows"
        )
    used = transcript
    if unit == "step":
        used, values = _by_step(transcript, values)
    if not (np.nan_to_num(values) != 0).any():
        raise ProvenanceError(
            f"matches is 0 in all {n} rows: the text shares no n-gram with them; give more text, shorter n-grams or"
            " more rows"
        )
    run = Running(
        used,
        [],
        trend=trend,
        alternative=alternative,
        level=level,
        resamples=resamples,
        seed=seed,
        names={"suspect": name},
        title="partition test",
        ledger=transcript.ledger if ledger is None else ledger,
    )
    index = np.concatenate(list(run.batches(len(used))))
    run.add(index, values[index], np.empty((0, len(index))))
    result = run.result()
    if isinstance(matches, Matches):
        result.record["matches"] = about
    result.record["rows"]["with a match"] = int((np.nan_to_num(values) != 0).sum())
    return result


def _by_step(transcript: Transcript, values: np.ndarray) -> tuple[Transcript, np.ndarray]:
    if transcript.kind != "step" or transcript.epochs > 1:
        raise ProvenanceError(
            f"unit='step' with positions by {transcript.kind} and {transcript.epochs} epoch(s); expected one epoch of"
            " steps. Use unit='row'"
        )
    pair = np.stack([transcript.group, transcript.position], axis=1)
    steps, where, sizes = np.unique(pair, axis=0, return_inverse=True, return_counts=True)
    if len(np.unique(sizes)) > 1:
        raise ProvenanceError(
            f"unit='step': steps hold {sizes.min()} to {sizes.max()} rows; sums over different numbers of rows are not"
            " exchangeable. Use unit='row'"
        )
    where = where.ravel()
    sums = np.bincount(where, values)  # a lost row makes its step unknown
    return (
        Transcript(
            None,
            steps[:, 1],
            "step",
            group=steps[:, 0].astype(np.int64),
            name=transcript.name,
            shuffled_as=transcript.shuffled_as,
            about=dict(transcript.about) | {"file_order": "training"},
        ),
        sums,
    )


@dataclass(frozen=True, eq=False)
class ShuffleResult:
    """The outcome of `shuffle_retrain`: one test a checkpoint and the pooled guaranteed p.

    `T` [checkpoints, 1 + m]: mean log-probability of a text, the true order first.
    """

    tests: tuple[RetrainTest, ...]
    p: PValue
    T: np.ndarray
    intervals: tuple[Interval, ...]
    n: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"shuffle-retrain: {self.T.shape[1] - 1} shuffles, {self.n} texts; {self.p}: {self.p.worth}"]
        for test, interval in zip(self.tests, self.intervals):
            lines.append(
                f"  true order minus shuffles {short(interval.estimate)} [{short(interval.low)},"
                f" {short(interval.high)}] nats a text (approximate); {test}"
            )
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])


@door(ProvenanceError)
def shuffle_retrain(
    observed: Any,
    shuffled: Any,
    *,
    same_runs: bool | None = None,
    alternative: Alternative = "greater",
    level: Share = 0.95,
) -> ShuffleResult:
    """Shuffle-retrain test: do texts fit the model of the true order better than models retrained on fresh shuffles of
    the last rows?

    Args:
        observed: log-probability of each text under the model of the true order, [texts] or [checkpoints, texts].
        shuffled: under each of m retrained models, [m, texts] or [checkpoints, m, texts]. All in nats, completions
            only.
        same_runs: with several checkpoints, whether model j of every checkpoint comes from one shuffled run (all runs
            leave the true one at one point, and are looked at several times). Then the largest standardised statistic
            is compared as a whole (max-T), exactly. Else each checkpoint has its own retrainings, the j-th ones do not
            belong together, and the smallest p is multiplied by the number of checkpoints (Bonferroni).

    p is the rank of the true order among m + 1, never below 1 / (m + 1); Student's and the published plug-in p-values
    stand beside it as approximations. A text without a finite value under some model is left out. Two models with equal
    values for all texts are one model handed in twice: refused. Raises ProvenanceError. Source: Kuditipudi et al. 2025.
    """
    from scipy import stats

    from ..stats.retrain import one_of_many, pool_checkpoints

    a = array(observed, "observed", "log-probabilities [texts] or [checkpoints, texts]", dtype=np.float64)
    b = array(shuffled, "shuffled", "log-probabilities [m, texts] or [checkpoints, m, texts]", dtype=np.float64)
    if a.ndim == 1:
        a, b = a[None], b[None]
    if a.ndim != 2 or b.ndim != 3 or b.shape[0] != a.shape[0] or b.shape[2] != a.shape[1] or not a.size:
        raise ProvenanceError(
            f"observed has shape {np.shape(a)} and shuffled {b.shape}; expected [texts] with [m, texts], or"
            " [checkpoints, texts] with [checkpoints, m, texts]"
        )
    m = b.shape[1]
    if m < 2:
        raise ProvenanceError(
            f"shuffled holds m = {m} retrained model; expected at least 2, and 1 / (m + 1) is the smallest p:"
            f" {int(np.ceil(1 / (1 - level) - 1 - 1e-9))} for level={level:g}"
        )
    every = np.concatenate([a[:, None], b], axis=1)  # [checkpoints, 1 + m, texts]
    good = np.isfinite(every).all(axis=(0, 1))
    if not good.any():
        raise ProvenanceError("no text has a finite log-probability under every model; check the scorer")
    T = every[:, :, good].mean(axis=2)
    _refuse_twins(every[:, :, good])
    if len(T) > 1 and same_runs is None:
        raise ProvenanceError(
            f"{len(T)} checkpoints: say same_runs=True (model j of each is one shuffled run, looked at several times)"
            " or same_runs=False (retrained anew at each)"
        )
    warnings = (
        []
        if good.all()
        else [f"{int((~good).sum())} of {len(good)} texts have no finite value under some model and are left out"]
    )
    try:
        tests = tuple(one_of_many(line[0], line[1:], alternative=alternative) for line in T)
        if len(T) == 1:
            p = tests[0].rank
        elif same_runs:
            pooled = one_of_many(
                *pool_checkpoints(T[:, 0], T[:, 1:].T, alternative=alternative), alternative="greater"
            ).rank
            method = f"{pooled.method}, largest over {len(T)} checkpoints"
            p = replace(pooled, method=method, alternative=alternative).given(
                "model j of every checkpoint comes from one run (declared: same_runs=True)"
            )
        else:
            best = min(tests, key=lambda test: float(test.rank)).rank
            method = f"{best.method}, smallest of {len(T)} checkpoints, Bonferroni"
            floor = min(1.0, len(T) * best.floor)
            p = replace(
                best,
                p=min(1.0, len(T) * float(best)),
                kind="bound" if best.guaranteed else best.kind,
                method=method,
                floor=floor,
            )
            if shaky := [test.rank.reason for test in tests if not test.rank.guaranteed]:
                p = p.doubted(shaky[0])
    except StatisticsError as error:
        raise ProvenanceError(str(error)) from error
    if p.floor > 1 - level:
        # the smallest p is (1 or 2 sides) x (1 or all checkpoints) / (m + 1)
        warnings.append(
            f"with {m} shuffles p cannot fall below {p.floor:.3g}: level {level:g} cannot be reached, {1 - p.floor:.3g}"
            f" at most. {int(np.ceil(p.floor * (m + 1) / (1 - level) - 1e-9)) - 1} shuffles would do. More text cannot"
            " help"
        )
    half = stats.t.ppf((1 + level) / 2, m - 1) * T[:, 1:].std(axis=1, ddof=1) * np.sqrt(1 + 1 / m)
    gap = T[:, 0] - T[:, 1:].mean(axis=1)
    intervals = tuple(
        Interval(float(g), float(g - h), float(g + h), level, m + 1, f"t with {m - 1} df, approximate", "difference")
        for g, h in zip(gap, half)
    )
    return ShuffleResult(tests, p, T, intervals, int(good.sum()), tuple(warnings))


def _refuse_twins(values: np.ndarray) -> None:
    """Refuse models that say exactly the same of all texts, [checkpoints, 1 + m, texts]: one that was handed in twice
    is no second draw.
    """
    for number, table in enumerate(values):
        _, _first, where, count = np.unique(table, axis=0, return_index=True, return_inverse=True, return_counts=True)
        if (count > 1).any():
            same = np.flatnonzero(where.ravel() == np.flatnonzero(count > 1)[0])
            names = ", ".join("the true order's" if i == 0 else f"shuffled {i - 1}" for i in same[:6].tolist())
            raise ProvenanceError(
                f"{names} have the same values for all {table.shape[1]} texts"
                + (f" at checkpoint {number}" if len(values) > 1 else "")
                + ": one retraining was handed in several times, which would make p small without any effect. Give each"
                " retraining once"
            )
