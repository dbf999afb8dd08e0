"""One model among its shuffles: exchangeability by listing every choice, the t test against SciPy, and the published
size in closed form and by simulation.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from lens import stats as S
from tests.variants import few

SPREAD = 4


def rng(seed=0):
    return np.random.default_rng(seed)


def near_rate(found, expected, trials):
    least, most = (ends(stats.norm.sf(SPREAD), trials, expected) for ends in (stats.binom.ppf, stats.binom.isf))
    assert least - 1e-9 <= found * trials <= most + 1e-9, f"rate {found:.4f}, expected {expected:.4f}"


OTHERS = np.array([0.1, -0.4, 0.9, 0.2, 0.1])


@pytest.mark.parametrize("alternative, p", [("greater", 2 / 6), ("less", 6 / 6), ("two-sided", 4 / 6)])
def test_rank_counts_ties_as_reached(alternative, p):
    found = S.one_of_many(9.0, 10 * OTHERS, alternative=alternative)  # counts, which tie by themselves
    assert found.rank.p == pytest.approx(p) and found.p is found.rank and found.rank.guaranteed
    assert found.rank.floor == pytest.approx((2 if alternative == "two-sided" else 1) / 6)


def test_one_retraining_handed_in_many_times_is_refused_and_a_few_copies_are_doubted():
    r = rng(3)
    below = np.array([r.normal(size=2) for _ in range(400)])
    assert (below[:, 0] > below[:, 1]).mean() > 0.4  # what p = 1 / 20 would have been said of
    with pytest.raises(S.StatisticsError, match="one retraining handed in 19 times"):
        S.one_of_many(below[0, 0], np.full(19, below[0, 1]))
    some = S.one_of_many(0.95, OTHERS)
    assert (
        not some.rank.guaranteed
        and "1 of 5 retrainings have the value of another" in some.rank.worth
        and "approximate" in str(some)
    )
    assert "guaranteed if every retraining drew its own order" in str(S.one_of_many(1.7, OTHERS[:4]))


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
@pytest.mark.parametrize("values", [[3.0, 1.0, 4.0, 1.5, 9.0], [1.0, 1.0, 2.0, 2.0, 2.0]])
def test_rank_p_is_super_uniform_over_every_choice_of_the_true_order(alternative, values):
    p = np.array(
        [S.one_of_many(v, values[:i] + values[i + 1 :], alternative=alternative).rank.p for i, v in enumerate(values)]
    )
    for level in np.unique(p):
        assert (p <= level + 1e-12).mean() <= level + 1e-12


def test_t_is_the_two_sample_test_with_one_value_on_one_side():
    found = S.one_of_many(1.7, OTHERS)
    theirs = stats.ttest_ind([1.7], OTHERS, alternative="greater")
    assert (found.t.statistic, found.t.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    assert not found.t.guaranteed


def test_published_value_by_its_formula_and_never_called_a_p_value():
    found = S.one_of_many(1.7, OTHERS)
    z = (1.7 - OTHERS.mean()) / (OTHERS.std() + 1e-6)
    assert (found.z, found.published.p) == pytest.approx((z, stats.norm.sf(z)), rel=1e-12)
    assert not found.published.guaranteed
    two = S.one_of_many(1.7, [0.2, 0.6], spread="difference")
    assert two.z == pytest.approx((1.7 - 0.4) / 0.4)
    text = str(S.one_of_many(1.7, rng().normal(size=9)))
    assert (
        "\n" not in text
        and "guaranteed" in text
        and "approximate" in text
        and "is not a p-value (size 0.0897 at 0.05)" in text
    )


@pytest.mark.parametrize(
    "m, alpha, size",
    [
        *[
            (9, 0.05, 0.090),
            (9, 0.01, 0.036),
            (9, 1e-3, 0.0123),
            (9, 1e-6, 1.4e-3),
            (9, 1e-10, 2.3e-4),
            (9, 1e-25, 7e-6),
        ],
        *[(19, 0.05, 0.068), (19, 1e-3, 0.0045), (99, 1e-3, 0.0014)],
    ],
)
def test_true_size_of_the_published_value(m, alpha, size):
    assert S.published_size(alpha, m) == pytest.approx(size, rel=0.045)


def test_true_size_with_two_shuffles_is_that_of_a_cauchy():
    assert S.published_size(0.05, 2, spread="difference") == pytest.approx(0.154, abs=5e-4)
    assert S.published_size(1e-3, 2, spread="difference") == pytest.approx(0.087, abs=5e-4)
    assert S.published_size([1e-6], 2, spread="difference")[0] == pytest.approx(0.057, abs=8e-4)


@pytest.mark.parametrize("m, spread", [(9, "deviation"), (2, "difference")])
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
@pytest.mark.parametrize("trials", few([2000, 6000], [2000]))
def test_sizes_by_simulation(m, spread, alternative, trials):
    r = rng(4)
    tests = [
        S.one_of_many(x[0], x[1:], spread=spread, alternative=alternative) for x in 50 * r.normal(size=(trials, m + 1))
    ]
    for level in (0.05, 0.01):
        near_rate(
            np.mean([t.published.p <= level for t in tests]),
            S.published_size(level, m, spread=spread, alternative=alternative),
            trials,
        )
        near_rate(np.mean([t.t.p <= level for t in tests]), level, trials)
    floor = tests[0].rank.floor
    near_rate(np.mean([t.rank.p <= floor + 1e-12 for t in tests]), floor, trials)


@pytest.mark.parametrize("trials", few([2000, 6000], [2000]))
def test_rank_keeps_its_size_where_t_does_not(trials):
    r = rng(5)
    tests = [S.one_of_many(x[0], x[1:]) for x in r.lognormal(0, 2, size=(trials, 10))]
    near_rate(np.mean([t.rank.p <= 0.1 + 1e-12 for t in tests]), 0.1, trials)
    assert np.mean([t.t.p <= 0.01 for t in tests]) > 0.05


def test_pooled_checkpoints_treat_every_model_alike():
    every = rng(6).normal(size=(5, 3)) * [1, 10, 100]
    p = []
    for i in range(5):
        value, others = S.pool_checkpoints(every[i], np.delete(every, i, axis=0))
        p.append(S.one_of_many(value, others).rank.p)
    assert sorted(p) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    standard = (every - every.mean(axis=0)) / every.std(axis=0)
    assert S.pool_checkpoints(every[0], every[1:])[0] == pytest.approx(standard[0].max())
    low = S.pool_checkpoints(every[0], every[1:], alternative="less")
    assert (low[0], *low[1]) == pytest.approx(tuple((-standard).max(axis=1)))
    shifted = S.pool_checkpoints(every[0] + 5e3, every[1:] + 5e3)
    assert shifted[0] == pytest.approx(standard[0].max())


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: S.one_of_many(1.0, [0.5]), "shuffled has shape \\(1,\\); expected the statistics of m >= 2"),
        (lambda: S.one_of_many(1.0, [0.5, np.nan]), "shuffled is NaN at \\[1\\]"),
        (lambda: S.one_of_many([1.0, 2.0], [0.5, 0.1]), "observed = "),
        (lambda: S.one_of_many(np.nan, [0.5, 0.1]), "observed = nan"),
        (lambda: S.one_of_many(1.0, OTHERS, alternative="up"), "alternative = 'up'"),
        (lambda: S.one_of_many(1.0, OTHERS, spread="difference"), "spread = 'difference' with m = 5"),
        (
            lambda: S.one_of_many(1.0, OTHERS, alpha=0.01),
            "alpha = 0.01 cannot be reached: the smallest p of 5 shuffles is 0.17. Retrain on at least 99",
        ),
        (lambda: S.published_size(0.05, 1), "m=1"),
        (lambda: S.published_size(5, 9), "alpha=5"),
        (lambda: S.pool_checkpoints([1.0], [[1.0, 2.0]]), "observed has shape"),
        (lambda: S.pool_checkpoints([1.0], [[1.0], [np.nan]]), "NaN"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(S.StatisticsError, match=word):
        call()


def test_the_shuffles_asked_for_reach_the_level():
    for m, alpha in itertools.product((19, 99), (0.05, 0.01)):
        if 1 / (m + 1) <= alpha:
            assert S.one_of_many(9.0, rng().normal(size=m), alpha=alpha).rank.p == pytest.approx(1 / (m + 1))
