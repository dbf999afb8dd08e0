"""The query test with models: rows are scored under suspect and references, all at once or until the e-value is
convinced.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..arguments import Count, Draws, FilePath, Name, Seed, Share, door, unfit
from ..engine.stopping import says_stop
from .arguments import Alternative, Asked, Enough
from .errors import ProvenanceError
from .ledger import Ledger
from .scores import BATCH, PARTIAL_DRAWS, Reference, Running, Statistic, Trend, as_references, name_of, query_scores
from .transcripts import Transcript

if TYPE_CHECKING:
    from pandas import DataFrame

    from .result import QueryResult

LEAST = 4  # rows before an interrupted query has a result

__all__ = ["Reference", "compare", "query", "query_scores"]


@door(ProvenanceError)
def query(
    suspect: Asked,
    transcript: Transcript,
    *,
    reference: Any = None,
    rows: Count | None = None,
    statistic: Statistic = "difference",
    weights: Literal["noise"] | None = None,
    trend: Trend = "spearman",
    alternative: Alternative = "less",
    level: Share = 0.95,
    resamples: Draws = 100_000,
    seed: Seed = 0,
    shares_order: bool | None = None,
    stop_at: Enough | None = None,
    batch: Count | None = None,
    on_part: Callable[[Any], Any] | None = None,
    progress: Callable[[int, int], Any] | None = None,
    stop: Callable[[], bool] | None = None,
    store: FilePath | None = None,
    score_options: Mapping[str, Any] | None = None,
    ledger: Ledger | Literal[False] | None = None,
) -> QueryResult:
    """Was `suspect` trained in the order that `transcript` records (itself, or what it was made from)?

    Args:
        suspect: a model (a bridge, a Hugging Face model, or a name that `lens.load` takes), a `lens.scoring.Served` or
            the address of a server, a `Scores` table, NLL of each row [n], or an interface of `suspects`;
            `Reference(..., name=...)` around it gives it a name.
        reference: the same kinds, or `Reference(model, shares_order=False, name)`, or a list of them. The best one is
            of the same size, on the same data in another order.
        rows: how many rows to ask for, chosen by a hash of row id and seed; None: all.
        statistic, weights, trend, alternative, level, resamples: as in `query_scores`.
        shares_order: declared for references given without `Reference`; True is refused, None makes the result warn.
        stop_at: ask in batches, in an order-blind random sequence, and stop once the e-value is this large; then only e
            and its p are guaranteed.
        batch: rows between two looks. on_part: called with a partial `QueryResult` after each. progress: called with
            rows done and rows in all.
        stop: asked between batches; True (and Ctrl-C) ends with the rows so far, status "interrupted".
        store: a folder in which scores are kept, so that no model scores a row twice. score_options: for
            `lens.scoring.rows.score` (prefix, window, start, dtype, backend ...) and `reduce`.
        ledger: what counts the looks at this suspect and order, see `query_scores`.

    Rows that were tokenised by another tokenizer than a model's are decoded and tokenised anew; the result says so.
    Raises ProvenanceError.
    Source: Kuditipudi et al. 2025, Blackbox Model Provenance via Palimpsestic Membership Inference.
    """
    references, score_options = as_references(reference, shares_order), _known_options(score_options)
    if progress is not None or on_part is not None:
        score_options = {"progress": False} | dict(score_options or {})
    scorers = _scorers(suspect, references, transcript, store, score_options)
    return _query(
        scorers,
        references,
        transcript,
        rows,
        dict(
            statistic=statistic,
            weights=weights,
            trend=trend,
            alternative=alternative,
            level=level,
            resamples=resamples,
            seed=seed,
            stop_at=stop_at,
        ),
        batch,
        on_part,
        progress,
        stop,
        dict(score_options or {}),
        ledger,
    )


def _known_options(options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The options of scoring. Raises ProvenanceError for a name that is none."""
    import inspect

    from ..scoring.rows import score

    known = [
        *(name for name in inspect.signature(score).parameters if name not in ("model", "rows", "row_ids", "store")),
        "reduce",
        "draws",
        "places",
    ]
    if unknown := [name for name in options or () if name not in known]:
        raise ProvenanceError(
            unfit("score_options", unknown[0], f"options of lens.scoring.rows.score by name ({', '.join(known)})")
        )
    return options


def _scorers(suspect, references, transcript, store, options) -> list:
    """The suspect's scorer and those of the references."""
    partners = _partners(references, transcript, store, options)
    return [_suspected(suspect, partners, transcript, store, options), *partners]


def _partners(references, transcript, store, options) -> list:
    from .scorers import scorer_of

    return [scorer_of(one.model, transcript, store, options, one.name, role="reference") for one in references]


def _suspected(suspect, partners, transcript, store, options, name: str = ""):
    """The suspect's scorer; a `Reference` around it only gives it its name."""
    from .scorers import scorer_of

    model, own = (suspect.model, suspect.name) if isinstance(suspect, Reference) else (suspect, "")
    return scorer_of(model, transcript, store, options, name or own or name_of(model, "suspect"), partners)


def _query(
    scorers, references, transcript, rows, choices, batch, on_part, progress, stop, options, ledger=None
) -> QueryResult:
    began, started = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    part = transcript if rows is None else transcript.sample(rows, choices["seed"])
    where = _places(transcript, part)
    run = Running(part, references, **choices, names={"suspect": scorers[0].name}, ledger=ledger)
    stream = choices["stop_at"] is not None or on_part is not None or stop is not None
    status = "complete"
    for index in run.batches(batch or (BATCH if stream else len(part))):
        if run.done and says_stop(stop):
            status = "interrupted"
            break
        tokens_before = scorers[0].tokens
        try:
            rest = [
                scorer.nll(where[index]) for scorer in scorers[1:]
            ]  # references first: an interface that samples tokens asks them where to look
            values = scorers[0].nll(where[index])
        except KeyboardInterrupt:
            if run.done < LEAST:
                raise
            status = "interrupted"
            break
        others = np.array([scorers[0].partner(i, line, where[index]) for i, line in enumerate(rest)]).reshape(
            len(rest), len(index)
        )
        run.add(index, values, others, scorers[0].tokens - tokens_before)
        run.notes = list(dict.fromkeys(note for scorer in scorers for note in scorer.notes))
        if progress is not None:
            progress(run.done, len(part))
        if on_part is not None:
            on_part(run.result("partial", draws=PARTIAL_DRAWS))
        if run.reached:
            status = "stopped" if run.done < len(part) else "complete"
            break
    result = run.result(status)
    result.record.update(
        _provenance(
            scorers,
            references,
            part,
            choices | {"rows": rows, "batch": batch},
            options,
            started,
            time.perf_counter() - began,
        )
    )
    return result


def _places(whole: Transcript, part: Transcript) -> np.ndarray:
    """Where each row of a part stands in the whole."""
    if part is whole:
        return np.arange(len(whole))
    order = np.argsort(whole.row_id, kind="stable")
    return order[np.searchsorted(whole.row_id[order], part.row_id)]


def _provenance(
    scorers, references, part: Transcript, call: dict, options: dict, started, seconds: float
) -> dict[str, Any]:
    from .report import file_hashes, versions

    inputs = {
        "suspect": scorers[0].identity(),
        "references": [
            scorer.identity() | {"shares_order": one.shares_order} for scorer, one in zip(scorers[1:], references)
        ],
        "transcript": {
            "name": part.name,
            "rows": len(part),
            "sha256": part.sha256(),
            "files": file_hashes(part.about.get("files", ())),
            "shuffled_as": part.shuffled_as,
            "lost": part.about.get("lost"),
        },
    }
    call = {
        k: v if isinstance(v, (int, float, str, bool, type(None))) else getattr(v, "__name__", str(v))
        for k, v in call.items()
    }
    return {
        "inputs": inputs,
        "call": (
            call
            | {
                "score_options": {
                    k: str(v) if not isinstance(v, (int, float, str, bool, type(None))) else v
                    for k, v in options.items()
                }
            }
        ),
        "versions": versions(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }


@door(ProvenanceError)
def compare(
    suspects: Mapping[Name, Any],
    transcript: Transcript,
    *,
    reference: Any = None,
    shares_order: bool | None = None,
    rows: Count | None = None,
    store: FilePath | None = None,
    score_options: Mapping[str, Any] | None = None,
    level: Share = 0.95,
    on_suspect: Callable[[str, Any], Any] | None = None,
    stop: Callable[[], bool] | None = None,
    ledger: Ledger | Literal[False] | None = None,
    **options,
) -> DataFrame:
    """Several suspects on the same rows, each reference scored once; Holm's correction over the guaranteed p-values.

    `suspects`: by name, what `query` takes, or a `QueryResult` of it. Other arguments are `query`'s. One line a
    suspect: rho with its interval, z, n, `p`, how it was made and its `worth` ("guaranteed if ..." or why it is an
    approximation), `holm`, `rejected` at 1 - `level`, e, the published approximation and `looks`. A suspect that cannot
    be tested keeps its line, with the reason in `note` and p NaN, and one whose p is only approximate keeps p without
    `holm`: both count in the correction, and neither is rejected. From the second look at a suspect on, p is the one
    adjusted for looks. Raises ProvenanceError.
    """
    import pandas as pd

    from ..stats.multiplicity import holm
    from .result import QueryResult

    if not suspects:
        raise ProvenanceError("suspects is empty; give at least one model by name")
    references, score_options = as_references(reference, shares_order), _known_options(score_options)
    shared = _partners(references, transcript, store, score_options)
    choices = dict(
        statistic="difference",
        weights=None,
        trend="spearman",
        alternative="less",
        level=level,
        resamples=100_000,
        seed=0,
        stop_at=None,
    )
    if unknown := set(options) - set(choices) - {"batch"}:
        raise ProvenanceError(
            f"{sorted(unknown)[0]!r} is no option of compare; it takes {', '.join([*choices, 'batch'])}"
        )
    batch = options.pop("batch", None)
    lines = []
    for name, suspect in suspects.items():
        try:
            result = (
                suspect
                if isinstance(suspect, QueryResult)
                else _query(
                    [_suspected(suspect, shared, transcript, store, score_options, name), *shared],
                    references,
                    transcript,
                    rows,
                    choices | options,
                    batch,
                    None,
                    None,
                    stop,
                    dict(score_options or {}),
                    ledger,
                )
            )
        except ValueError as error:
            lines.append({"suspect": name, "p": np.nan, "note": str(error), "sound": False})
            continue
        if on_suspect is not None:
            on_suspect(name, result)
        p = result.p_adjusted if result.looks > 1 else result.p
        lines.append(
            {
                "suspect": name,
                "rho": result.rho,
                "low": result.interval.low,
                "high": result.interval.high,
                "z": result.z,
                "n": result.n,
                "p": float(p),
                "how": p.method,
                "worth": p.worth,
                "sound": p.guaranteed,
                "looks": result.looks,
                "e": result.e,
                "p_published": float(result.p_t),
                "note": "; ".join(result.warnings),
            }
        )
    columns = [
        "suspect",
        "rho",
        "low",
        "high",
        "z",
        "n",
        "p",
        "how",
        "worth",
        "holm",
        "rejected",
        "e",
        "p_published",
        "looks",
        "note",
    ]
    sound = np.array([line["sound"] for line in lines])
    table = pd.DataFrame(lines).reindex(columns=columns)
    # a suspect that could not be tested, or whose p is only approximate, was still meant to be: it counts in the family
    # as a p of 1
    table["holm"] = np.where(sound, holm(np.where(sound, table.p.to_numpy(float), 1.0)), np.nan)
    table["rejected"] = table.holm <= 1 - level
    return table
