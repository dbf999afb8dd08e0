"""Calibration, levels 2 and 3, on models that were really trained: micro-models in their own orders, and last legs
retrained in fresh shuffles.

Level 2: is model i flagged against the order of model j, with model k as reference? With i, j, k distinct it is
innocent. Disjoint triples share nothing and give independent nulls; all cells off the diagonal give many more, which
share models. On the diagonal stands power. Level 3: a text of an innocent model, against one leg in the "true" order
and m legs in fresh shuffles, a fresh set for every replicate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from ...organisms.micro import BigramPlan, MicroModels, bigram_legs, bigram_logprob, bigram_text, corpus
from ...provenance import query_scores
from ...stats.retrain import one_of_many, pool_checkpoints
from .redrawn import KEY, NORMAL, PLUG_IN, PREDICTION, RANK, T_TWO, THREE, T, asked_of, keyed, kind_of
from .sizes import APPROXIMATE, GUARANTEED, NOMINAL, PUBLISHED, Checked, one_sided_t, rate_of, two_sided_t

STATISTICS = ("difference", "linear", "none")
GROUPS = 8
PLAN = BigramPlan()
MATRIX_PERMUTATION = "permutation, shuffles shared by all cells"


@dataclass(frozen=True, eq=False)
class Scored:
    """The NLL of all rows under R models, `nll` [R, rows], and the order each was trained in, `keys` [R, rows]."""

    nll: np.ndarray
    keys: np.ndarray

    @classmethod
    def of(cls, models: MicroModels, rows: np.ndarray) -> "Scored":
        """The losses of some models on every row, and the keys that ordered their training."""
        return cls(models.nll(rows), models.keys)

    @property
    def models(self) -> int:
        """How many models there are."""
        return len(self.nll)


# -- level 2 -----------------------------------------------------------------------------------------------------------


def reference_of(models: int) -> np.ndarray:
    """The reference of each suspect in the R x R picture: the next model."""
    return (np.arange(models) + 1) % models


def residuals(scored: Scored, statistic: str, reference: np.ndarray | None = None) -> np.ndarray:
    """Order-blind scores [R, rows] of all suspects: NLL alone ("none"), minus the reference's ("difference"), or the
    residual of a line in it ("linear").
    """
    if statistic == "none":
        return scored.nll
    other = scored.nll[reference_of(scored.models) if reference is None else reference]
    if statistic == "difference":
        return scored.nll - other
    x = other - other.mean(1, keepdims=True)
    y = scored.nll - scored.nll.mean(1, keepdims=True)
    return y - (x * y).sum(1, keepdims=True) / (x * x).sum(1, keepdims=True) * x


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(values, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return ranks / np.sqrt((ranks**2).sum(1, keepdims=True))


def matrix_cells(scored: Scored, statistic: str, resamples: int, seed: int) -> tuple[np.ndarray, list[Checked]]:
    """Z [R, R] and the p-values of all innocent cells: i is neither the order's owner nor is its reference.

    Cells share suspects and orders, and both count as clusters. Orders matter most: without a reference all suspects
    find the same rows hard, so a column is little more than one test; orders are what was drawn at random.
    """
    models, n = scored.nll.shape
    score = _unit_ranks(residuals(scored, statistic))
    rho = score @ _unit_ranks(scored.keys).T
    z = rho * np.sqrt(n - 1)
    rng = np.random.default_rng([seed, 2])
    ranks = _unit_ranks(np.arange(n, dtype=float)[None])[0]
    null = np.concatenate(
        [
            score @ rng.permuted(np.broadcast_to(ranks, (min(500, resamples - first), n)).copy(), axis=1).T
            for first in range(0, resamples, 500)
        ],
        1,
    )
    null.sort(axis=1)
    permuted = np.stack(
        [(1 + np.searchsorted(line, r + 1e-12, side="right")) / (1 + resamples) for line, r in zip(null, rho)]
    )
    z_key = score @ (scored.keys - 0.5).T * np.sqrt(12)  # ranks of the score as weights of length one
    bound = np.exp(-(np.minimum(z_key, 0) ** 2) / 2)
    innocent = ~np.eye(models, dtype=bool)
    if statistic != "none":
        innocent[np.arange(models), reference_of(models)] = False
    shared = np.nonzero(innocent)
    found = {
        MATRIX_PERMUTATION: (permuted, GUARANTEED),
        KEY: (bound, GUARANTEED),
        T: (one_sided_t(rho, n), APPROXIMATE),
        NORMAL: (stats.norm.cdf(z), APPROXIMATE),
        T_TWO: (two_sided_t(rho, n), PUBLISHED),
    }
    text = f"all innocent cells, {_named(statistic)}, {n} rows"
    return z, [Checked(name, kind, 2, text, p[innocent], shared) for name, (p, kind) in found.items()]


def triple_cells(scored: Scored, statistic: str, resamples: int, seed: int, batch: int | None = None) -> list[Checked]:
    """`query_scores` on disjoint triples: suspect 3t against the order of 3t + 1 with the scores of 3t + 2. Independent
    nulls.

    `batch`: rows a step; the transcript then tells steps in place of keys, and `GROUPS` exchange groups of rows that
    lie side by side in the corpus.
    """
    found: dict[str, list] = {}
    for first in range(0, scored.models - 2, 3):
        result = _query(scored, first, first + 1, first + 2, statistic, resamples, seed + first, batch)
        for name, p in asked_of(result, "key bound" if batch else "").items():
            found.setdefault(name, []).append(p)
    text = f"disjoint triples, {_named(statistic)}, {scored.nll.shape[1]} rows" + (
        f", steps of {batch} in {GROUPS} groups" if batch else ""
    )
    return [Checked.of(name, kind_of(name, ps[0]), 2, text, ps) for name, ps in found.items()]


def power_table(scored: Scored, rows: tuple[int, ...], resamples: int, seed: int) -> pd.DataFrame:
    """Share of models found in their own order, by statistic, rows and p-value, at the nominal levels: disjoint pairs
    of suspect and reference, 99 % Clopper-Pearson.
    """
    made = []
    for statistic in STATISTICS:
        for n in rows:
            cut = Scored(scored.nll[:, :n], scored.keys[:, :n])
            results = [_query(cut, i, i, i + 1, statistic, resamples, seed + i) for i in range(0, scored.models - 1, 2)]
            asked = [asked_of(r, "combined", "t, two-sided, as published") for r in results]
            rho = float(np.mean([r.rho for r in results]))
            for name in asked[0]:
                for alpha in NOMINAL:
                    rates = rate_of(np.array([float(p[name]) for p in asked]), alpha)
                    made.append((statistic, n, name, alpha, *rates, rho))
    columns = ["statistic", "rows", "p-value", "nominal", "power", "low", "high", "models", "mean rho"]
    return pd.DataFrame(made, columns=columns)


def _query(
    scored: Scored,
    suspect: int,
    order: int,
    reference: int,
    statistic: str,
    resamples: int,
    seed: int,
    batch: int | None = None,
):
    transcript, n = keyed(scored.keys[order]), scored.nll.shape[1]
    if batch:
        steps = np.argsort(np.argsort(scored.keys[order])) // batch
        transcript = replace(transcript, position=steps, kind="step", group=np.arange(n) * GROUPS // n)
    return query_scores(
        scored.nll[suspect],
        None if statistic == "none" else scored.nll[reference],
        transcript,
        statistic=statistic,
        resamples=resamples,
        seed=seed,
        shares_order=False,
        ledger=False,
    )


def _named(statistic: str) -> str:
    return {"difference": "minus a reference", "linear": "residual of a line in a reference", "none": "no reference"}[
        statistic
    ]


# -- level 3 -----------------------------------------------------------------------------------------------------------

POOLED = "rank, largest z of two checkpoints"


@dataclass(frozen=True, eq=False)
class Retrained:
    """Mean log-probability of texts under the legs: `innocent` and `derived` [replicates, m + 1], `early` the innocent
    text at a first checkpoint; column 0 is the true order.

    `derived` is the text that the model of the true order wrote itself.
    """

    innocent: np.ndarray
    early: np.ndarray
    derived: np.ndarray


def retrain(
    replicates: int,
    m: int,
    texts: int,
    seed: int,
    *,
    corpora: int = 10,
    plan: BigramPlan = PLAN,
    say: Callable[[str], None] = lambda line: None,
) -> Retrained:
    """Replicates spread over corpora, each with one common checkpoint; every replicate draws its own true order, m
    fresh shuffles, an innocent model and texts.

    The innocent model learned the same rows as a whole in its own order, from the same empty table. The early
    checkpoint lies half way through the leg.
    """
    made = {name: np.empty((replicates, m + 1)) for name in ("innocent", "early", "derived")}
    legs, half = m + 1, plan.last // 2
    for number, part in enumerate(np.array_split(np.arange(replicates), corpora)):
        rng = np.random.default_rng([seed, 3, number])
        rows = corpus(plan.rows, plan.length, plan.vocab, words=60, seed=int(rng.integers(2**31)))
        empty, first, last = np.zeros((plan.vocab, plan.vocab)), rows[: -plan.last], rows[-plan.last :]
        start = bigram_legs(empty, first, rng.permutation(len(first))[None], plan)[0]
        innocents = bigram_legs(empty, rows, rng.permuted(np.tile(np.arange(plan.rows), (len(part), 1)), axis=1), plan)
        for at in range(0, len(part), max(1, 2000 // legs)):
            some = part[at : at + max(1, 2000 // legs)]
            orders = rng.permuted(np.tile(np.arange(plan.last), (len(some) * legs, 1)), axis=1)
            early = bigram_legs(start, last, orders[:, :half], plan)
            late = bigram_legs(early, last, orders[:, half:], plan)
            for place, replicate in enumerate(some):
                mine = slice(place * legs, (place + 1) * legs)
                text = bigram_text(innocents[at + place], texts, plan.length, rng)
                own = bigram_text(late[mine][0], texts, plan.length, rng)
                made["innocent"][replicate] = bigram_logprob(late[mine], text)
                made["early"][replicate] = bigram_logprob(early[mine], text)
                made["derived"][replicate] = bigram_logprob(late[mine], own)
        say(f"level 3: {(part[-1] + 1) * legs} legs retrained")
    return Retrained(**made)


def retrain_cells(
    scored: np.ndarray, sizes: tuple[int, ...], whose: str, early: np.ndarray | None = None
) -> list[Checked]:
    """The p-values of `one_of_many` on [replicates, m + 1] with the first m columns of shuffles, for each m; and the
    published statistic of three models.

    With `early`, also the rank p of the larger standardised value of two checkpoints.
    """
    cells = []
    for m in (m for m in sizes if m < scored.shape[1]):
        tests = [one_of_many(line[0], line[1 : m + 1]) for line in scored]
        text = f"{whose}, m = {m}"
        cells += [
            Checked.of(RANK, kind_of(RANK, tests[0].rank), 3, text, (t.rank for t in tests)),
            Checked.of(PREDICTION, APPROXIMATE, 3, text, (t.t for t in tests)),
            Checked.of(PLUG_IN, PUBLISHED, 3, text, (t.published for t in tests)),
        ]
        if early is not None:
            pooled = [
                one_of_many(*pool_checkpoints(np.array([a[0], b[0]]), np.stack([a[1 : m + 1], b[1 : m + 1]], 1)))
                for a, b in zip(early, scored)
            ]
            cells.append(Checked.of(POOLED, GUARANTEED, 3, text, (t.rank for t in pooled)))
    three = [one_of_many(line[0], line[1:3], spread="difference") for line in scored]
    text = f"{whose}, m = 2"
    return [
        *cells,
        Checked.of(RANK, GUARANTEED, 3, text, (t.rank for t in three)),
        Checked.of(THREE, PUBLISHED, 3, text, (t.published for t in three)),
    ]
