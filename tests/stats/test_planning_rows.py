"""Planning against the published table and a simulation; reachable levels against enumeration; the tests of a shuffle
against all orders.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lens import stats as S
from lens.stats import randomness
from tests.variants import few

SPREAD = 4


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rho, rows, within",
    [
        (0.165, (303, 655, 1654), 1.0),
        (0.091, (1000, 2200, 5500), 50.0),
        (0.063, (2100, 4600, 11_500), 50.0),
        (0.03, (9200, 20_000, 51_000), 500.0),
        (0.015, (37_000, 80_000, 203_000), 500.0),
    ],
)
def test_rows_needed_equal_the_table_to_its_digits(rho, rows, within):
    for alpha, expected in zip((0.05, 1e-3, 1e-8), rows):
        assert abs(S.rows_needed(rho, alpha=alpha) - expected) <= within
        assert S.rows_needed(-rho, alpha=alpha) == S.rows_needed(rho, alpha=alpha)


@pytest.mark.parametrize("test", ["permutation", "key"])
@pytest.mark.parametrize("alternative", ["less", "two-sided"])
def test_rows_power_and_effect_are_inverses(test, alternative):
    options = {"alternative": alternative, "test": test}
    n = S.rows_needed(0.05, alpha=1e-3, power=0.9, **options)
    assert S.power_of(0.05, n, 1e-3, **options) >= 0.9 > S.power_of(0.05, n - 1, 1e-3, **options)
    assert S.power_of(S.detectable_rho(n, 1e-3, 0.9, **options), n, 1e-3, **options) == pytest.approx(0.9)
    assert S.power_of(0.05, n, 1e-3, **options) == S.power_of(-0.05, n, 1e-3, **options)


def test_the_guaranteed_tail_asks_for_more_rows():
    assert 1.2 < S.rows_needed(0.05, alpha=1e-3, test="key") / S.rows_needed(0.05, alpha=1e-3) < 1.6
    n = S.rows_needed(0.1, alpha=0.01, alternative="less", test="key")
    r, trials = rng(3), 800
    hits = 0
    for _ in range(trials):
        u = r.random(n)
        w = r.normal(size=n) - 0.1 * math.sqrt(12) * (u - 0.5)
        hits += S.key_test(w, u).p.p <= 0.01
    assert abs(hits / trials - 0.8) < SPREAD * math.sqrt(0.16 / trials) + 0.02  # Fisher's z is an approximation


def test_power_of_the_permutation_test_by_simulation():
    r, trials, n = rng(2), 1500, 303
    rho = 0.165
    slope = 2 * math.sin(math.pi * rho / 6)  # Pearson's r of a normal pair with this Spearman's rho (Pearson 1907)
    hits = 0
    for _ in range(trials):
        x = r.normal(size=n)
        y = slope * x + math.sqrt(1 - slope**2) * r.normal(size=n)
        hits += stats.spearmanr(x, y).pvalue <= 0.05
    assert abs(hits / trials - S.power_of(rho, n, 0.05)) < SPREAD * math.sqrt(0.16 / trials)


# ---- what can be reached -----------------------------------------------------------------------------------------


def test_reachable_levels_equal_what_the_tests_give_at_best():
    assert S.reachable_level(5) == pytest.approx(1 / 120)
    best = S.permutation_correlation([1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1], resamples=1000).p
    assert best.p == best.floor == pytest.approx(S.reachable_level(5))
    grouped = S.permutation_correlation([1.0, 2, 3, 4, 5], [3.0, 2, 1, 9, 8], groups=[0, 0, 0, 1, 1], resamples=1000).p
    assert grouped.p == pytest.approx(S.reachable_level([3, 2])) == pytest.approx(1 / 12)
    members = S.auc([5.0, 4, 3, 2, 1], [1, 1, 0, 0, 0], resamples=1000).p
    assert members.p == pytest.approx(S.reachable_level(5, "labels", ones=2)) == pytest.approx(0.1)
    assert (
        S.paired_trap_test([1.0, 2, 3], [2.0, 4, 5]).p.p
        == pytest.approx(S.reachable_level(3, "pairs"))
        == pytest.approx(1 / 8)
    )
    assert (
        S.one_of_many(9.0, np.arange(9.0)).rank.p
        == pytest.approx(S.reachable_level(9, "retrain"))
        == pytest.approx(0.1)
    )
    assert S.reachable_level(10, "keys") == pytest.approx(math.exp(-15))


def test_reachable_level_of_random_draws():
    assert S.reachable_level(5, resamples=99) == pytest.approx(0.01)
    assert S.reachable_level(4, resamples=99) == pytest.approx(1 / 24)
    assert S.reachable_level(100_000, resamples=100_000) == pytest.approx(1 / 100_001)
    assert S.reachable_level(100_000) == 0.0


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: S.rows_needed(0.0), "rho = 0.0"),
        (lambda: S.rows_needed(1), "rho = 1"),
        (lambda: S.rows_needed(0.1, power=80), "power=80"),
        (lambda: S.rows_needed(0.1, alpha=5), "alpha=5"),
        (lambda: S.rows_needed(0.1, test="t"), "test = 't'"),
        (lambda: S.power_of(0.1, 3), "n=3"),
        (lambda: S.detectable_rho(2), "n=2"),
        (lambda: S.reachable_level(5, "bets"), "design = 'bets'"),
        (lambda: S.reachable_level(5, "labels", ones=6), "ones = 6 with n = 5"),
        (lambda: S.reachable_level(5, "labels"), "ones=None"),
        (lambda: S.reachable_level(0), "n=0"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(S.StatisticsError, match=word):
        call()


def test_an_effect_that_no_number_of_rows_shows_is_refused():
    with pytest.raises(S.StatisticsError, match=r"^rho=2.3e-16 is so near to 0"):
        S.rows_needed(2.3e-16)
    assert S.rows_needed(1e-7) > 1e14


# ---- is it a shuffle? --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [range(7), [0, 0, 1, 1, 2, 3, 3], range(6)])
def test_runs_p_equals_that_over_all_orders(values):
    values = np.array(values, dtype=float)

    def runs(order):
        above = (order > np.median(values))[order != np.median(values)]
        return 1 + (above[1:] != above[:-1]).sum()

    listed = [np.array(order) for order in itertools.permutations(values)]
    every = np.array([runs(order) for order in listed])
    for order in listed[::97]:
        expected = min(1, 2 * min((every <= runs(order)).mean(), (every >= runs(order)).mean()))
        found = randomness.runs_about_median(order)
        assert found.p == pytest.approx(expected, rel=1e-9)
        assert found.statistic == pytest.approx((runs(order) - every.mean()) / every.std(), rel=1e-9)


@pytest.mark.parametrize("values", [range(6), [0, 0, 1, 1, 2, 3, 3]])
def test_serial_correlation_is_exactly_standardised(values):
    every = set(itertools.permutations(values))  # those of tied values are met equally often
    z = [randomness.serial_correlation(order).statistic for order in every]
    assert (np.mean(z), np.var(z)) == pytest.approx((0, 1), abs=1e-9)


@pytest.mark.parametrize(("ties", "trials"), few([(1, 600), (16, 600), (1, 3000), (16, 3000)], [(1, 600), (16, 600)]))
def test_a_shuffle_passes_at_its_level(ties, trials):
    p = np.array([S.runs_test(rng(s).permutation(400) // ties).p for s in range(trials)])
    for level in (0.05, 0.01):
        assert (p <= level).sum() <= stats.binom.isf(stats.norm.sf(SPREAD), trials, level)
    assert (p <= 0.05).mean() > 0.02


@pytest.mark.parametrize(
    "order",
    [
        np.arange(400),
        np.arange(400)[::-1],
        np.concatenate([rng(1).permutation(200), 200 + rng(2).permutation(200)]),  # a curriculum of two parts
        (np.arange(400).reshape(40, 10)[rng(3).permutation(40)]).ravel(),  # documents shuffled, their pieces not
        np.column_stack([rng(4).permutation(200), 200 + rng(5).permutation(200)]).ravel(),  # two sources in turn
    ],
)
def test_an_order_that_is_no_shuffle_is_caught(order):
    found = S.runs_test(order)
    assert found.p < 1e-6 and not found.guaranteed and "approximate" in str(found)


@pytest.mark.parametrize(
    "positions, word",
    [
        ([1.0, 2, 3], "positions has shape"),
        ([1.0] * 9, "positions is 1"),
        ([1.0, 2, 3, 4, np.nan], "positions has 1 NaN"),
    ],
)
def test_bad_positions_are_named(positions, word):
    with pytest.raises(S.StatisticsError, match=word):
        S.runs_test(positions)
