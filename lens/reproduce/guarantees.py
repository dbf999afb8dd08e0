"""The size of every p-value that is called exact or guaranteed: how often it is at most .05, .01 and .001 where
nothing is there.

Each null draws data as the test's own condition says (labels shuffled, keys uniform, a coin, effects symmetric about
0), asks the test as a user does, and takes its p. A data set that the test refuses, or whose p it calls approximate,
counts as no rejection: that is what "guaranteed" claims. A p-value is at fault where even the lower end of the 99 %
Clopper-Pearson interval of its size lies above the level; `size_max_over_nominal` is the largest such end in units of
its level, and at most 1 where none is.

`python -m lens.reproduce.guarantees --draws 4000` prints the table, and the figure as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from .. import files
from ..memorization import recognition_summary
from ..provenance import (
    Ledger,
    ProvenanceError,
    QueryResult,
    Reference,
    Transcript,
    partition,
    query_scores,
    shuffle_retrain,
)
from ..stats import (
    auc,
    binomial_test,
    combine_p,
    e_process,
    fisher_exact,
    holm,
    key_e_process,
    key_test,
    one_of_many,
    paired_trap_test,
    permutation,
    permutation_correlation,
    rank_correlation,
    rank_e_process,
    sign_flip,
    sign_flip_max,
    wilcoxon,
)
from ..stats.samples import PValue, StatisticsError

NOMINAL = (0.05, 0.01, 0.001)
LEVEL = 0.99
DRAWS = 4000
RESAMPLES = 199  # so that .05 and .01 are levels that a Monte Carlo p can reach exactly


@dataclass(frozen=True)
class Null:
    """One way in which nothing is there: `ask(rng, seed)` draws a data set and gives p-values by name."""

    text: str
    ask: Callable[[np.random.Generator, int], Mapping[str, Any]]


def sizes(
    draws: int = DRAWS, seed: int = 0, only: str = "", say: Callable[[str], None] = lambda line: None
) -> pd.DataFrame:
    """One line a p-value and nominal level: `p`, `null`, `n` data sets, `nominal`, `size`, the 99 % interval `low` and
    `high`, `over` = low / nominal.

    `only`: nulls whose text holds this. A null's numbers do not depend on the others.
    """
    lines = []
    for null in nulls():
        if only not in null.text:
            continue
        began = time.perf_counter()
        rng = np.random.default_rng([seed, *null.text.encode()])
        by_name: dict[str, list[float]] = {}
        for one in rng.integers(2**31, size=draws).tolist():
            for name, p in _asked(null, rng, one).items():
                by_name.setdefault(name, []).append(p)
        for name, ps in by_name.items():
            lines += [_line(name, null.text, np.array(ps), draws, nominal) for nominal in NOMINAL]
        say(f"{null.text}: {', '.join(by_name)}; {time.perf_counter() - began:.0f} s")
    return pd.DataFrame(lines)


def figure(table: pd.DataFrame) -> dict[str, Any]:
    """The figure of a table of `sizes`: the largest lower end over its level, where it is, and over how many p-values
    and data sets it is taken.
    """
    worst = table.loc[table.over.idxmax()]
    return {
        "size_max_over_nominal": round(float(worst.over), 4),
        "size_worst": (
            f"{worst.p}, {worst.null}, at {worst.nominal:g}: {worst['size']:.4f} [{worst.low:.4f}, {worst.high:.4f}]"
        ),
        "size_p_values": int(table.groupby(["p", "null"]).ngroups),
        "size_data_sets": int(table.n.min()),
    }


def _asked(null: Null, rng: np.random.Generator, seed: int) -> dict[str, float]:
    """The p-values of one data set; 1 where p is not called guaranteed, nothing where the data set is refused (which
    `_line` counts as 1).
    """
    try:
        result = null.ask(rng, seed)
    except (StatisticsError, ProvenanceError) as error:
        if not str(error).startswith("refused"):
            raise
        return {}
    return {name: float(p) if not isinstance(p, PValue) or p.guaranteed else 1.0 for name, p in result.items()}


def _line(name: str, null: str, p: np.ndarray, draws: int, nominal: float) -> dict[str, Any]:
    hits = int((p <= nominal * (1 + 1e-12)).sum())
    low, high = stats.binomtest(hits, draws).proportion_ci(LEVEL)
    size = {"n": draws, "nominal": nominal, "size": hits / draws, "low": float(low), "high": float(high)}
    return {"p": name, "null": null, **size, "over": float(low) / nominal}


# -- the nulls ---------------------------------------------------------------------------------------------------------


def nulls() -> list[Null]:
    """Every p-value of the package that is called exact or guaranteed, under its own condition."""
    return [
        Null("labels shuffled, n = 20, skewed scores", _labels),
        Null("labels shuffled in 4 groups, ties and steps, n = 40", _grouped),
        Null("uniform keys, heavy weights, n = 40", _keys),
        Null("shuffled ranks, n = 40", _ranks),
        Null("fresh retrainings, m = 99", _retrained),
        Null("three checkpoints, m = 19", _checkpoints),
        Null("members drawn by coin in 3 groups, n = 45", _members),
        Null("one of each pair inserted by coin, n = 25", _traps),
        Null("effects symmetric about 0, n = 9 and 20", _symmetric),
        Null("two samples of one distribution, 6 and 7", _two_samples),
        Null("coins, n = 60", _coins),
        Null("two series in random order, n = 6 and 25", _series),
        Null("independent tests", _independent),
        Null("query by key with a reference, n = 64", _query_keys),
        Null("query by step in 3 groups, no reference, n = 60", _query_steps),
        Null("query of 2 epochs of keys, two-sided, n = 50", _query_epochs),
        Null("query that stops at e = 20, a look every 16 rows, n = 96", _query_stops),
        Null("three looks at one suspect, adjusted", _query_looks),
        Null("partition of sparse counts, n = 80", _partition),
        Null("recognition, a coin for each of 20 pairs", _recognition),
    ]


def _labels(rng, seed):
    score, label = rng.exponential(size=20), rng.permutation(20)
    many = dict(resamples=RESAMPLES, seed=seed)
    recent = lambda u: -np.log1p(-u)  # noqa: E731
    return {
        "permutation_correlation, shuffle": permutation_correlation(score, label, draws="shuffle", **many).p,
        "permutation_correlation, two-sided": permutation_correlation(score, label, alternative="two-sided", **many).p,
        "permutation_correlation, cyclic": permutation_correlation(score, label, draws="cyclic", **many).p,
        "permutation_correlation, Pearson": permutation_correlation(score, label, statistic="pearson", **many).p,
        "permutation_correlation, weights of ranks": permutation_correlation(score, label, statistic=recent, **many).p,
    }


def _grouped(rng, seed):
    groups = np.repeat(np.arange(4), 10)
    score = groups + rng.integers(0, 3, 40)
    steps = np.concatenate([rng.permutation(np.repeat(np.arange(5.0), 2)) + 5 * g for g in range(4)])
    epochs = np.stack([steps, np.concatenate([rng.permutation(10) for _ in range(4)])], axis=1)
    many = dict(groups=groups, resamples=RESAMPLES, seed=seed)
    return {
        "permutation_correlation in groups, shuffle": permutation_correlation(score, steps, **many).p,
        "permutation_correlation in groups, cyclic": permutation_correlation(score, steps, draws="cyclic", **many).p,
        "permutation_correlation in groups, two epochs": permutation_correlation(score, epochs, **many).p,
        "rank_e_process in groups, its peak": rank_e_process(score, steps, groups=groups, seed=seed).p,
    }


def _keys(rng, seed):
    weights, keys = rng.standard_t(1.5, 40), rng.random(40)
    process = key_e_process(weights, keys)
    return {
        "key_test": key_test(weights, keys).p,
        "key_test, two-sided": key_test(weights, keys, alternative="two-sided").p,
        "key_e_process, 1 / e at the end": 1.0 if process.doubt else min(1.0, float(np.exp(-process.log_e[-1]))),
        "key_e_process, its peak": 1.0 if process.doubt else process.p,
    }


def _ranks(rng, seed):
    process = rank_e_process(rng.standard_t(1.5, 40), rng.permutation(40), alternative="two-sided", seed=seed)
    at_the_end = min(1.0, float(np.exp(-process.log_e[-1])))
    return {"rank_e_process, 1 / e at the end": at_the_end, "rank_e_process, its peak": process.p}


def _retrained(rng, seed):
    values = rng.standard_t(2, 100)
    sides = ("greater", "two-sided")
    return {f"one_of_many, rank, {side}": one_of_many(values[0], values[1:], alternative=side).rank for side in sides}


def _checkpoints(rng, seed):
    run = np.cumsum(rng.normal(size=(3, 20, 4)), axis=0)
    return {
        "shuffle_retrain, one checkpoint": shuffle_retrain(run[0, 0], run[0, 1:]).p,
        "shuffle_retrain, same runs": shuffle_retrain(run[:, 0], run[:, 1:], same_runs=True).p,
        "shuffle_retrain, Bonferroni": shuffle_retrain(run[:, 0], run[:, 1:], same_runs=False).p,
    }


def _members(rng, seed):
    groups = np.repeat(np.arange(3), 15)
    score = groups + rng.normal(size=45)
    label = np.concatenate([rng.permutation(np.repeat([1, 0], [5, 10])) for _ in range(3)])
    return {"auc": auc(score, label, groups=groups, resamples=RESAMPLES, seed=seed).p}


def _traps(rng, seed):
    pairs = rng.exponential(size=(25, 2)) + rng.exponential(size=(25, 1))
    coin, at = rng.integers(2, size=25), np.arange(25)
    found = paired_trap_test(pairs[at, coin], pairs[at, 1 - coin], resamples=RESAMPLES, seed=seed)
    return {"paired_trap_test, sign flips": found.p, "paired_trap_test, sign test": found.sign}


def _symmetric(rng, seed):
    few, more = rng.standard_t(3, (9, 4)), rng.standard_t(3, 20)
    return {
        "sign_flip, all flips": sign_flip(few[:, 0]),
        "sign_flip, Monte Carlo": sign_flip(more, resamples=RESAMPLES, seed=seed),
        "sign_flip_max, smallest of 4": replace_p(sign_flip_max(few), np.min),
        "wilcoxon, exact": wilcoxon(few[:, 1]),
    }


def _two_samples(rng, seed):
    x, y = rng.exponential(size=6), rng.exponential(size=7)
    return {
        "permutation, all splits": permutation(x, y),
        "permutation, welch, Monte Carlo": permutation(x, y, statistic="welch", resamples=RESAMPLES, seed=seed),
    }


def _coins(rng, seed):
    wins = rng.random(60) < 0.5
    halves = [[int(half.sum()), 30 - int(half.sum())] for half in (wins[:30], wins[30:])]
    table = np.array([rng.multinomial(20, [0.5, 0.3, 0.2]) for _ in range(2)])
    return {
        "binomial_test": binomial_test(int(wins.sum()), 60, alternative="greater"),
        "binomial_test, two-sided": binomial_test(int(wins.sum()), 60),
        "fisher_exact, 2 x 2": fisher_exact(halves),
        "fisher_exact, 2 x 3": fisher_exact(table[:, table.sum(axis=0) > 0], resamples=RESAMPLES, seed=seed),
        "e_process of coins, any stop": e_process(wins).p,
    }


def _series(rng, seed):
    ties = rng.integers(0, 6, 25)
    return {
        "rank_correlation, all orders": rank_correlation(np.arange(6.0), rng.exponential(size=6)).test,
        "rank_correlation, Monte Carlo": (
            rank_correlation(np.arange(25.0), ties, resamples=RESAMPLES, interval="fisher", seed=seed).test
        ),
    }


def _independent(rng, seed):
    p = rng.random(6)
    return {
        "combine_p, Fisher": combine_p(p),
        "combine_p, Stouffer": combine_p(p, "stouffer"),
        "holm, smallest of 6": float(holm(p).min()),
    }


def _query_keys(rng, seed):
    t = Transcript(None, rng.random(64), "key", shuffled_as="keys")
    hard = rng.normal(size=64)
    suspect, reference = hard + rng.normal(size=64), Reference(hard + rng.normal(size=64), False)
    return _parts("query", query_scores(suspect, reference, t, resamples=RESAMPLES, seed=seed, ledger=False))


def _query_steps(rng, seed):
    group = np.repeat(np.arange(3), 20)
    step = np.concatenate([rng.permutation(20) // 2 + 10 * g for g in range(3)])
    t = Transcript(None, step, "step", group=group, shuffled_as="each source by itself")
    suspect = group + rng.exponential(size=60)
    return _parts("query in groups", query_scores(suspect, None, t, resamples=RESAMPLES, seed=seed, ledger=False))


def _query_epochs(rng, seed):
    t = Transcript(None, rng.random((50, 2)), "key", shuffled_as="keys drawn anew in each epoch")
    reference = Reference(rng.normal(size=50), False)
    many = dict(alternative="two-sided", resamples=RESAMPLES, seed=seed, ledger=False)
    return _parts("query of epochs", query_scores(rng.normal(size=50), reference, t, **many))


def _query_stops(rng, seed):
    t = Transcript(None, rng.permutation(96), "rank", shuffled_as="shuffled")
    reference, how = Reference(rng.normal(size=96), False), dict(stop_at=20, batch=16, resamples=19, level=0.9)
    found = query_scores(rng.normal(size=96), reference, t, seed=seed, ledger=False, **how)
    return {"query, p at the stop of e": found.p}


def _query_looks(rng, seed):
    position, score, ledger, found = rng.permutation(60), rng.normal(size=60), Ledger(), []
    for n in (20, 40, 60):
        t = Transcript(None, position[:n], "rank", shuffled_as="shuffled")
        look = query_scores(score[:n], None, t, resamples=RESAMPLES, seed=seed, level=0.9, ledger=ledger)
        found.append(float(look.p_adjusted) if look.p_adjusted.guaranteed else 1.0)
    return {"query, smallest p adjusted for looks": min(found)}


def _partition(rng, seed):
    counts = np.where(rng.random(80) < 0.3, np.ceil(rng.pareto(1.2, 80)), 0.0)
    counts[0] += 1
    t = Transcript(None, rng.permutation(80), "rank", shuffled_as="documents in random order")
    found = partition(counts, t, resamples=RESAMPLES, seed=seed, ledger=False)
    return _parts("partition", found)


def _recognition(rng, seed):
    right = rng.random((1, 20)) < 0.5
    table = recognition_summary(xr.Dataset({"recognised": (("foil", "sequence"), right)}, {"foil": ["foil"]}))
    return {"recognition_summary": float(table.p[0])}


def _parts(name: str, of: QueryResult) -> dict[str, PValue]:
    """Every p-value of a result that may be called guaranteed."""
    parts = {"permutation": of.p_permutation, "key bound": of.p_key, "e-value": of.p_e, "combined": of.p}
    return {f"{name}, {part}": p for part, p in parts.items() if p is not None}


def replace_p(p: PValue, of: Callable[[np.ndarray], float]) -> PValue:
    """One p of many cells."""
    return PValue(float(of(np.asarray(p.p))), p.kind, p.n, p.method)


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table and the figure."""
    parser = argparse.ArgumentParser(description="Simulate the size of every p-value called exact or guaranteed.")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"data sets a null (default: {DRAWS})")
    parser.add_argument("--seed", type=int, default=0, help="of the data sets, not chosen by its result (default: 0)")
    parser.add_argument("--only", default="", help="nulls whose text holds this")
    parser.add_argument("--out", help="write the table as .csv")
    options = parser.parse_args(None if arguments is None else list(arguments))
    table = sizes(options.draws, options.seed, options.only, lambda line: print(line, flush=True))
    if options.out:
        files.write(options.out, table.to_csv(index=False))
    print(table.to_string(index=False, float_format="{:.4g}".format))
    print(json.dumps(figure(table)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
