"""From scores and positions to a result: the statistics of the shared engine, the doubts, and what was assumed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..stats.samples import Interval, PValue, StatisticsError, whole
from . import doubts as doubt
from .errors import ProvenanceError
from .result import QueryResult

if TYPE_CHECKING:
    import pandas as pd

    from .scores import Running

SHARE_BAD = 0.1  # of rows without a score, from which on the warning is a strong one


def result_of(run, status: str, draws: int | None = None) -> QueryResult:
    """The result of a `scores.Running` so far; `draws` permutations instead of what it was set to (for partial
    results).
    """
    transcript, n = run.transcript, len(run.index)
    alpha = 1 - run.level
    if n < 4:
        lost = f" ({run.bad} of {run.done} rows have no finite score)" if run.bad else ""
        if status == "partial":
            return _empty(run)
        raise ProvenanceError(
            f"n = {n} rows with scores{lost}; expected at least 4. With n rows in any order no p is below 1/n!: at most"
            f" level {1 - 1 / math.factorial(max(n, 1)):.3g} can be reached"
        )
    if np.ptp(run.suspect) == 0 and status != "partial":
        raise ProvenanceError(
            f"{run.names['suspect']} has the same score, {run.suspect[0]:.6g}, in all {n} rows: the score is constant;"
            " expected values that differ. Is it the right column, and the right model?"
        )
    score = run.score()
    if np.ptp(score) <= 1e-12 * max(np.abs(run.suspect).max(), 1.0):
        if status == "partial":
            return _empty(run)
        raise ProvenanceError(
            f"the score is constant ({score[0]:.6g} in all {n} rows); expected values that differ. Is the suspect its"
            " own reference, or the file's column the wrong one?"
        )
    position, group = transcript.position[run.index], transcript.group[run.index]
    try:
        test = _permute(
            run,
            score,
            position,
            group,
            draws or run.resamples,
            None if status == "partial" or run.stop_at is not None else alpha,
        )
    except StatisticsError as error:
        if status == "partial":
            return _empty(run)
        raise ProvenanceError(
            f"{error} At n = {n} and {draws or run.resamples} permutations, with level={run.level:g} asked"
        ) from error
    sequential = run.stop_at is not None or status in ("interrupted", "partial")
    doubts = [] if status == "partial" else [*run.transcript.doubts(), *doubt.of_scores(run, score, float(test.z))]
    doubt.refuse(doubts)
    p_permutation, p_key = test.p, None if transcript.kind != "key" else _key(run, score, position, group)
    if sequential:
        why = "the number of rows was decided on the way, and it holds for one that was fixed beforehand"
        p_permutation, p_key = p_permutation.doubted(why), None if p_key is None else p_key.doubted(why)
    log_e = run.log_e
    peak = float(max(log_e.max(initial=0.0), 0.0))
    side = "less" if run.alternative == "less" else run.alternative
    p_e = PValue(math.exp(-peak), "e-value", n, "1 / largest e on the way", math.exp(min(peak, 700.0)), side)
    condition = "; ".join(doubt.conditions(run))

    def worth(name: str, p: PValue) -> PValue:
        return _worth(p, condition, [one.reason for one in doubts if name in one.spoils])

    p_permutation, p_e = worth("permutation", p_permutation), worth("e", p_e)
    p_key = None if p_key is None else worth("key", p_key)
    look = None if status == "partial" or run.ledger is False else _look(run)
    frame = _frame(run, score, position, group)
    record = {
        "kind": run.title,
        "names": run.names,
        "assumed": _assumed(run),
        "status": status,
        "seed": run.seed,
        "level": run.level,
        "alternative": run.alternative,
        "statistic": run.statistic,
        "weights": run.weights,
        "trend": run.trend if isinstance(run.trend, str) else getattr(run.trend, "__name__", "function"),
        "resamples": run.resamples,
        "stop_at": run.stop_at,
        "rows": {"offered": len(transcript), "asked": run.done, "left out": run.bad, "used": n},
        "groups": len(np.unique(group)),
        "epochs": transcript.epochs,
        "position": transcript.kind,
        "conditions": doubt.conditions(run),
        "looks": None if look is None else {"number": look.number, "planned": look.planned, "factor": look.factor},
    }
    return QueryResult(
        float(test.statistic),
        _interval(test, n, run.level, transcript.epochs),
        float(test.z),
        p_permutation,
        p_key,
        float(np.exp(min(log_e[-1], 700.0))) if len(log_e) else 1.0,
        p_e,
        _published(score, position),
        n,
        run.tokens,
        tuple(_warnings(run, status, group, doubts, look)),
        np.asarray(test.null),
        log_e,
        frame,
        status,
        run.level,
        record,
    )


def _worth(p: PValue, condition: str, reasons: list[str]) -> PValue:
    """P with what it rests on, or approximate for the reasons there are."""
    for reason in reasons:
        p = p.doubted(reason)
    return replace(p, condition=condition) if p.guaranteed else p


def _look(run):
    """This question in the ledger of looks at the suspect and the order."""
    from .ledger import question_of

    ledger = run.transcript.ledger if run.ledger is None else run.ledger
    trend = run.trend if isinstance(run.trend, str) else getattr(run.trend, "__qualname__", repr(run.trend))
    choices = (run.title, run.statistic, run.weights, trend, run.alternative, run.seed, run.resamples, run.stop_at)
    at = run.transcript.position[run.index]
    question = question_of(
        *choices, run.transcript.row_id[run.index], at, run.transcript.group[run.index], run.suspect, run.others
    )
    return ledger.look(run.names["suspect"], run.transcript.row_id[run.index], run.suspect, question)


def _permute(run, score, position, group, draws: int, alpha: float | None):
    from ..stats.randomization import permutation_correlation

    quick = (
        "cyclic" if draws < run.resamples and len(score) > 2000 else "auto"
    )  # a partial result must not keep rows waiting
    return permutation_correlation(
        score,
        position,
        groups=None if len(np.unique(group)) == 1 else group,
        statistic=run.trend,
        alternative=run.alternative,
        resamples=draws,
        seed=run.seed,
        alpha=alpha,
        draws=quick,
    )


def _key(run, score, position, group) -> PValue:
    """The guaranteed tail for keys: ranks of the score, centred in each group, against every epoch's keys."""
    from scipy import stats

    from ..stats.keys import key_test

    ranks = stats.rankdata(score) if run.trend != "pearson" else score
    weights = ranks - (np.bincount(group, ranks) / np.maximum(np.bincount(group), 1))[group]
    try:
        return key_test(np.repeat(weights, run.transcript.epochs), position.reshape(-1), alternative=run.alternative).p
    except StatisticsError as error:
        raise ProvenanceError(str(error)) from error


def _interval(test, n: int, level: float, epochs: int) -> Interval:
    """Fisher's z around rho, on the scale of the exact permutation spread (rho / z), widened as Bonett & Wright 2000 do
    away from 0.
    """
    from scipy import stats

    rho = float(np.clip(test.statistic, -1 + 1e-12, 1 - 1e-12))
    spread = abs(rho / test.z) if test.z and rho else 1 / math.sqrt(max(n - 1, 1))
    half = stats.norm.isf((1 - level) / 2) * spread * math.sqrt((n - 1) / (n - 3) * (1 + rho**2 / 2))
    centre = math.atanh(rho)
    note = "Fisher z, approximate" + ("" if epochs == 1 else ", epochs as if independent")
    return Interval(float(test.statistic), math.tanh(centre - half), math.tanh(centre + half), level, n, note, "rho")


def _published(score, position) -> PValue:
    """Spearman's two-sided Student approximation, exchange groups and epochs unheeded: what the paper prints."""
    from scipy import stats

    test = stats.spearmanr(score, position if position.ndim == 1 else position.mean(axis=1))
    p = float(test.pvalue)
    return PValue(
        p if math.isfinite(p) else 1.0,
        "approximate",
        len(score),
        "two-sided t of Spearman's rho as published",
        float(test.statistic),
        "two-sided",
    )


def _frame(run: Running, score: np.ndarray, position: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {
        "row_id": run.transcript.row_id[run.index],
        "position": position if position.ndim == 1 else position.mean(axis=1),
        "group": group,
        "suspect": run.suspect,
    }
    columns |= {f"reference_{i}" if len(run.others) > 1 else "reference": line for i, line in enumerate(run.others)}
    columns["score"] = score
    if position.ndim == 2:
        columns |= {f"position_{epoch}": position[:, epoch] for epoch in range(position.shape[1])}
    return pd.DataFrame(columns)


def _assumed(run) -> list[str]:
    first, *others = doubt.conditions(run)
    out = [
        f"{first} (declared: {run.transcript.shuffled_as or 'nothing'})",
        (
            f"null hypothesis: {run.names['suspect']} does not depend on that order, whatever data it saw"
            if run.title != "partition test"
            else "null hypothesis: the text does not depend on that order"
        ),
    ]
    if (groups := len(np.unique(run.transcript.group))) > 1:
        out.append(f"rows were shuffled within each of {groups} exchange groups and not between them")
    if run.transcript.epochs > 1:
        out.append(f"the vectors of a row's {run.transcript.epochs} positions are exchangeable between rows")
    out += [
        f"reference {one.name} "
        + (
            "was not trained in that order (declared)"
            if one.shares_order is False
            else "was not trained in that order (nobody declared it)"
        )
        for one in run.references
    ]
    out += [text for text in others if "not trained in this order" not in text]
    out.append(
        "a small p means dependence on this order: the suspect, or a model that it was made from, was trained in it."
        " Two models trained in one order both show it"
    )
    return out


def _warnings(run, status: str, group, doubts, look) -> list[str]:
    warnings = list(run.notes)
    if not run.references and run.title == "provenance query":
        warnings.append(
            "no reference: how hard a row is swamps what training left, so power is small. Give a model that did not"
            " see this order"
        )
    warnings += [
        f"reference {one.name}: nobody declared whether it shares the transcript's order (shares_order=None). If it"
        " does, an innocent suspect is flagged and p means nothing"
        for one in run.references
        if one.shares_order is None
    ]
    if run.bad:
        share = run.bad / run.done
        warnings.append(
            f"{run.bad} of {run.done} rows have a NaN or infinite score and are left out"
            + (". So many: look at the scorer" if share > SHARE_BAD else "")
        )
    if look is not None and look.number > 1:
        warnings.append(
            f"look {look.number} at this suspect in this order"
            + (f" of {look.planned} planned: p times {look.planned} holds for all of them" if look.planned else "")
            + (
                ""
                if look.planned
                else (
                    f": each p holds only if it was chosen before the others were seen; p times {look.factor:g}"
                    " (p_adjusted) holds for all looks so far"
                )
            )
        )
    if status == "stopped":
        warnings.append(
            f"stopped when e reached {run.stop_at:g}: only e and its p are guaranteed; permutation and key p hold for a"
            " number of rows fixed beforehand"
        )
    elif status == "interrupted":
        warnings.append("stopped by hand: only e and its p are guaranteed at such a stop")
    sizes = np.unique(group, return_counts=True)[1]
    if len(sizes) > 1 and (alone := int((sizes == 1).sum())):
        warnings.append(f"{alone} rows are alone in their exchange group and carry no evidence")
    if len(sizes) > 20 and run.transcript.kind != "key":
        warnings.append(
            f"{whole(len(sizes))} exchange groups: the e-value bets in each by itself and is weak; the permutation p"
            " is not"
        )
    return warnings + [one.text for one in doubts]


def _empty(run) -> QueryResult:
    """A partial result before there is anything to test."""
    import pandas as pd

    n, nothing = (
        len(run.index),
        PValue(1.0, "approximate", len(run.index), "too few rows yet", math.nan, run.alternative),
    )
    return QueryResult(
        math.nan,
        Interval(math.nan, -1.0, 1.0, run.level, n, "none", "rho"),
        0.0,
        nothing,
        None,
        1.0,
        PValue(1.0, "e-value", n, "no bet yet", 1.0, run.alternative),
        nothing,
        n,
        run.tokens,
        (),
        np.empty(0),
        run.log_e,
        pd.DataFrame({"row_id": [], "position": [], "score": []}),
        "partial",
        run.level,
        {"names": run.names, "status": "partial", "position": run.transcript.kind},
    )
