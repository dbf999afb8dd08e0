"""Calibration, level 1: scores are held fixed, positions are drawn again and again as an honest trainer draws them, and
every test is asked each time.

This checks the code of each p-value against the null that it is made for; it says nothing of models. The conditions are
those in which approximations
are known to fail: few rows, ties, a few non-zero counts, heavy tails, exchange groups, several epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from ...provenance import ProvenanceError, QueryResult, Transcript, query_scores
from ...provenance.observation import partition
from ...stats import rank_correlation
from ...stats.evidence import EProcess
from ...stats.keys import key_e_process, key_test, rank_e_process
from ...stats.labels import auc, paired_trap_test
from ...stats.randomization import permutation_correlation
from ...stats.randomness import runs_test
from ...stats.retrain import one_of_many
from ...stats.samples import PValue, StatisticsError
from .sizes import APPROXIMATE, GUARANTEED, PUBLISHED, Checked, two_sided_t

SHUFFLES, CYCLIC = "permutation, shuffles", "permutation, cyclic shifts"
KEY, KEY_E, RANK_E = "key bound", "key e-value", "sequential-rank e-value"
RANK, PREDICTION, PLUG_IN, THREE = (
    "rank among m + 1",
    "t with m - 1 df",
    "plug-in normal, as published",
    "plug-in normal of three models, as published",
)
T, NORMAL, T_TWO = "t distribution", "normal of the exact z", "t, two-sided, as published"


@dataclass(frozen=True, eq=False)
class Condition:
    """One null: `draw(rng)` gives labels as the trainer draws them; `ask(labels, seed)` the p-values of one draw by
    name; `ask_all(labels [draws,
    ...])` of all at once; `wraps`: the engine's p-values as a user meets them.
    """

    text: str
    draw: Callable[[np.random.Generator], np.ndarray]
    ask: Callable[[np.ndarray, int], Mapping[str, Any]]
    ask_all: Callable[[np.ndarray], Mapping[str, tuple[np.ndarray, str]]] = lambda labels: {}
    wraps: bool = False

    def draws(self, full: int) -> int:
        """How many draws of `full`: all where the engine itself is asked, a quarter where what is asked only wraps it
        and takes longer.
        """
        return max(min(full, 40), full // 4) if self.wraps else full


def redrawn(
    conditions: list[Condition], draws: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> list[Checked]:
    """All p-values of all conditions over `draws` draws of the labels (see `Condition.draws`); a condition's numbers do
    not depend on the others.
    """
    cells, full = [], draws
    for condition in conditions:
        draws = condition.draws(full)
        rng = np.random.default_rng([seed, 1, *condition.text.encode()])
        labels = np.stack([condition.draw(rng) for _ in range(draws)])
        found: dict[str, list] = {}
        for label, one in zip(labels, rng.integers(2**31, size=draws).tolist()):
            for name, p in _asked(condition, label, one).items():
                found.setdefault(name, []).append(p)
        read_of = {name: read(name, ps, draws) for name, ps in found.items()}
        cells += [Checked(name, kind, 1, condition.text, p) for name, (kind, p) in read_of.items()]
        cells += [Checked(name, kind, 1, condition.text, p) for name, (p, kind) in condition.ask_all(labels).items()]
        say(f"level 1: {condition.text}, {draws} draws")
    return cells


def _asked(condition: Condition, label: np.ndarray, seed: int) -> Mapping[str, PValue]:
    """The p-values of one draw; none where a check of the assumptions refused it, which no honest draw does but once in
    a million.
    """
    try:
        return condition.ask(label, seed)
    except (StatisticsError, ProvenanceError) as error:
        if "refused" not in str(error):
            raise
        return {}


def read(name: str, ps: list[PValue], draws: int) -> tuple[str, np.ndarray]:
    """What a test says of itself and its p-values: where it is guaranteed as a rule, a draw that was refused or called
    approximate is no rejection (1).
    """
    kind = PUBLISHED if "as published" in name else GUARANTEED if any(p.guaranteed for p in ps) else APPROXIMATE
    values = [1.0 if kind == GUARANTEED and not p.guaranteed else float(p) for p in ps]
    return kind, np.array(values + [1.0] * (draws - len(values)))


def kind_of(name: str, p: PValue) -> str:
    """What a p-value says of itself; the published formulas bear it in their name."""
    return PUBLISHED if "as published" in name else GUARANTEED if p.guaranteed else APPROXIMATE


# -- the conditions ----------------------------------------------------------------------------------------------------


def _normal(count: int, r: np.random.Generator) -> np.ndarray:
    return r.normal(size=count)


def all_conditions(difference: np.ndarray, resamples: int, seed: int) -> list[Condition]:
    """The conditions of level 1. `difference`: [rows], a real score, such as one micro-model's NLL minus another's; at
    least 400 rows are wanted.
    """
    rng = np.random.default_rng([seed, 0xA1])
    heavy, skewed = rng.standard_t(1.5, 64), rng.exponential(size=20)
    sparse = np.zeros(150)
    sparse[:6] = np.ceil(rng.pareto(1.0, 6))
    groups = np.repeat(np.arange(8), rng.permutation([3, 4, 5, 7, 8, 10, 12, 15]))
    grouped = groups + rng.normal(size=len(groups))
    small, large = difference[:64], difference[:400]
    return [
        Condition("difference of two micro-models, n = 64", _keys(64), _every(small, resamples), _approximate(small)),
        Condition(
            "difference of two micro-models, n = 400",
            _keys(400),
            _every(large, resamples, shuffles=False, ranks=False),
            _approximate(large),
        ),
        Condition("n = 20, skewed scores", _keys(20), _every(skewed, resamples), _approximate(skewed)),
        Condition(
            "heavy ties: scores 0, 1, 2; 8 steps of 8 rows",
            _steps(8, 8),
            _every(_thirds(64, rng), resamples, keys=False),
            _approximate(_thirds(64, rng)),
        ),
        Condition(
            "heavy tails: t(1.5) scores and weights, Pearson, n = 64",
            _keys(64),
            _every(heavy, resamples, statistic="pearson"),
            _pearson(heavy),
        ),
        Condition(
            "sparse counts: 6 of 150 steps are not 0, Pareto",
            _order(150),
            _every(sparse, resamples, keys=False),
            _approximate(sparse),
        ),
        Condition(
            "8 exchange groups with different levels, n = 64",
            _within(groups),
            _every(grouped, resamples, groups=groups, keys=False),
        ),
        Condition(
            "three epochs, n = 64",
            lambda r: np.stack([r.permutation(np.arange(64.0)) for _ in range(3)], 1),
            _every(small, resamples, keys=False, ranks=False, cyclic=False),
        ),
        Condition(
            "recency weights fixed beforehand, n = 64",
            _keys(64),
            _every(small, resamples, statistic=_recent, keys=False, ranks=False, cyclic=False),
        ),
        Condition(
            "runs test of a shuffled file, n = 64", _order(64), lambda label, seed: {"runs test": runs_test(label)}
        ),
        Condition(
            "members drawn by coin: 20 of 60, 3 groups",
            _members,
            _membership(np.round(rng.normal(size=60) + np.repeat([0, 1, 2], 20), 1), resamples),
            wraps=True,
        ),
        Condition(
            "copyright traps: 30 pairs, a coin each",
            lambda r: r.integers(2, size=30),
            _traps(rng.normal(size=(30, 2)) + rng.normal(size=(30, 1)), resamples),
            wraps=True,
        ),
        Condition(
            "query as a user calls it: micro-models with a reference, n = 64",
            _keys(64),
            _query(small, resamples),
            wraps=True,
        ),
        Condition(
            "query stopped at e = 20, residual of a line, a look every 16 rows, n = 128",
            _keys(128),
            _stopped(difference[:128]),
            wraps=True,
        ),
        *(Condition(f"normal shuffles, m = {m}", partial(_normal, m + 1), _retrained, wraps=True) for m in (2, 9, 19)),
        Condition(
            "partition as a user calls it: n-gram counts of 100 documents",
            _order(100),
            _partition(rng, resamples),
            wraps=True,
        ),
        Condition(
            "query as a user calls it: 8 groups, two steps each, scores that rise as they are asked",
            lambda r: np.concatenate([r.permutation(np.repeat([0.0, 1.0], [9, 1])) for _ in range(8)]),
            _stepped(difference[:80], np.repeat(np.arange(8), 10), resamples),
            wraps=True,
        ),
    ]


def _keys(n):
    return lambda rng: rng.random(n)


def _order(n):
    return lambda rng: rng.permutation(np.arange(float(n)))


def _steps(steps, batch):
    return lambda rng: rng.permutation(np.repeat(np.arange(float(steps)), batch))


def _within(groups):
    """Positions of sources that were read one after the other, each shuffled by itself."""

    def draw(rng):
        return np.concatenate([start + rng.permutation(size) for start, size in zip(*_runs(groups))]).astype(float)

    return draw


def _runs(groups):
    size = np.bincount(groups)
    return np.cumsum(size) - size, size


def _members(rng):
    return np.concatenate([rng.permutation(np.repeat([1.0, 0.0], part)) for part in ((10, 10), (5, 15), (5, 15))])


def _thirds(n, rng):
    return np.tile([0.0, 0.0, 1.0, 2.0], n // 4)


def _recent(u):
    return -np.log1p(-u)


# -- what is asked -----------------------------------------------------------------------------------------------------


def _every(score, resamples, *, statistic="spearman", groups=None, shuffles=True, cyclic=True, keys=True, ranks=True):
    """Every p-value that the engine offers for these labels; one-sided "less"."""

    def ask(label, seed):
        made = {}
        for name, draws, wanted in ((SHUFFLES, "shuffle", shuffles), (CYCLIC, "cyclic", cyclic)):
            if wanted:
                made[name] = permutation_correlation(
                    score, label, groups=groups, statistic=statistic, resamples=resamples, draws=draws, seed=seed
                ).p
        if keys:
            made |= {KEY: key_test(score, label).p} | _evidence(KEY_E, key_e_process(score, label))
        if ranks:
            made |= _evidence(RANK_E, rank_e_process(score, label, groups=groups, seed=seed))
        return made

    return ask


def _evidence(name: str, process: EProcess) -> dict[str, PValue]:
    kind = "e-value"
    return {
        f"{name}, 1/E at the end": PValue(min(1.0, float(np.exp(-process.log_e[-1]))), kind, process.n, name),
        f"{name}, any stop": PValue(process.p, kind, process.n, name),
    }


def _approximate(score):
    """Student's and the normal approximation of the rank correlation, all draws at once."""

    def ask(labels):
        n = len(score)
        found = rank_correlation(labels.T, score, alternative="less", test="t", interval="fisher")
        return {
            T: (found.p, APPROXIMATE),
            NORMAL: (stats.norm.cdf(found.z), APPROXIMATE),
            T_TWO: (two_sided_t(found.rho, n), PUBLISHED),
        }

    return ask


def _pearson(score):
    """The normal approximation where the scores themselves are correlated, not their ranks."""

    def ask(labels):
        ranks = stats.zscore(labels, axis=1)
        z = ranks @ stats.zscore(score) / len(score) * np.sqrt(len(score) - 1)
        return {NORMAL: (stats.norm.cdf(z), APPROXIMATE)}

    return ask


def _membership(score, resamples):
    groups = np.repeat([0, 1, 2], 20)
    return lambda label, seed: {"AUC, permutation": auc(score, label, groups=groups, resamples=resamples, seed=seed).p}


def _traps(pairs, resamples):
    def ask(coin, seed):
        at = np.arange(len(pairs))
        found = paired_trap_test(pairs[at, coin], pairs[at, 1 - coin], resamples=resamples, seed=seed)
        return {"paired traps, sign flips": found.p, "paired traps, sign test": found.sign}

    return ask


#: where the p-values of a query stand in its result
P_VALUES = {
    "permutation": "p_permutation",
    "key bound": "p_key",
    "e-value, any stop": "p_e",
    "combined": "p",
    "t, two-sided, as published": "p_t",
}


def asked_of(found: QueryResult, *without: str, by: str = "query") -> dict[str, PValue]:
    """The p-values of a query, or of a `partition`, by name, some left out."""
    return {f"{by}: {name}": getattr(found, p) for name, p in P_VALUES.items() if name not in without}


def keyed(label):
    """A transcript whose rows were sorted by these keys."""
    return Transcript(tokens=None, position=label, kind="key", shuffled_as="rows sorted by independent keys")


def _query(difference, resamples):
    """The whole of `query_scores`, whose suspect is the reference plus the score."""
    reference = np.random.default_rng(0xEF).normal(2.4, 0.2, len(difference))

    def ask(label, seed):
        how = {"resamples": resamples, "seed": seed, "ledger": False}
        return asked_of(query_scores(reference + difference, reference, keyed(label), **how))

    return ask


def _stopped(difference):
    """A query that stops by itself once the e-value is 20: rejects at 0.05 if it ever gets there."""
    reference = np.random.default_rng(0xEF).normal(2.4, 0.2, len(difference))
    how = {"statistic": "linear", "stop_at": 20, "batch": 16, "level": 0.9}

    def ask(label, seed):
        found = query_scores(
            reference + difference, reference, keyed(label), resamples=99, seed=seed, ledger=False, **how
        )
        return {"query: e-value at its stop": found.p}

    return ask


def _stepped(difference, groups, resamples):
    """A query by steps in exchange groups, of a suspect that drifts while it is asked: rows come in the same pattern in
    every group, and most are tied, so that e-values whose groups shared their lots would rise together.
    """

    def ask(label, seed):
        transcript = Transcript(
            tokens=None, position=label, kind="step", group=groups, shuffled_as="each source by itself"
        )
        asked = np.argsort(transcript.arrival(seed)) / len(label)  # when a row is asked does not depend on its step
        found = query_scores(
            difference + 30 * difference.std() * asked, None, transcript, resamples=resamples, seed=seed, ledger=False
        )
        return asked_of(found, "key bound", "t, two-sided, as published")

    return ask


def _retrained(values, seed):
    """The true order's value first, then m shuffles'."""
    found = one_of_many(values[0], values[1:], spread="difference" if len(values) == 3 else "deviation")
    return {RANK: found.rank, PREDICTION: found.t, THREE if len(values) == 3 else PLUG_IN: found.published}


def _partition(rng, resamples):
    counts = np.where(rng.random(100) < 0.3, np.ceil(rng.pareto(1.2, 100)), 0.0)

    def ask(label, seed):
        transcript = Transcript(tokens=None, position=label, kind="rank", shuffled_as="documents in random order")
        found = partition(counts, transcript, resamples=resamples, seed=seed, ledger=False)
        return asked_of(found, "key bound", "combined", by="partition")

    return ask
