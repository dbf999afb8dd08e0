"""The key bound and the e-processes against quadrature, closed forms, enumeration of all orders, and simulated optional
stopping.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from lens import stats as S
from lens.stats import keys as K
from tests.variants import few

SPREAD = 4


def rng(seed=0):
    return np.random.default_rng(seed)


def rate_at_most(found, level, trials):
    most = stats.binom.isf(stats.norm.sf(SPREAD), trials, level)
    assert found * trials <= most + 1e-9, f"rate {found:.5f} above {level}"


# ---- the bound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [1e-5, 0.01, 0.019, 0.021, 0.5, -3.0, 40.0, 3000.0])
def test_mean_of_the_exponential_of_a_key(x):
    mean = integrate.quad(
        lambda u: math.exp(x * (u - 0.5) - abs(x) / 2), 0, 1, points=[0.5], limit=500, epsabs=0, epsrel=1e-12
    )[0]
    assert float(K._log_mean_uniform(np.array(x))) == pytest.approx(math.log(mean) + abs(x) / 2, rel=1e-8, abs=1e-15)
    assert float(K._log_mean_uniform(np.array(x))) <= x**2 / 24


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_key_test_by_its_formulas(alternative):
    w, u = rng(1).standard_t(2, 40), rng(2).random(40)
    found = S.key_test(w, u, alternative=alternative)
    centred = w - w.mean()
    total = (centred * (u - 0.5)).sum()
    z = total / math.sqrt((centred**2).sum() / 12)
    forward = {"less": -z, "greater": z, "two-sided": abs(z)}[alternative]
    expected = (
        min(1, (2 if alternative == "two-sided" else 1) * math.exp(-forward * abs(forward) / 2)) if forward > 0 else 1
    )
    assert (found.statistic, found.z, found.p.p) == pytest.approx((total, z, expected), rel=1e-12)
    assert found.p.kind == "bound" and found.p.guaranteed and found.p.floor <= found.p.p
    scaled = S.key_test(w * 1e180, u, alternative=alternative)
    assert (scaled.z, scaled.p.p) == pytest.approx((found.z, found.p.p), rel=1e-9)


def test_the_side_that_was_not_claimed_gives_p_1():
    w, u = np.arange(50.0), np.sort(rng(1).random(50))
    assert S.key_test(w, u, alternative="less").p.p == 1
    assert S.key_test(w, u, alternative="greater").p.p < 1e-9


@pytest.mark.long
@pytest.mark.parametrize(
    ("alternative", "trials"), few([("less", 2_000), ("less", 8_000), ("two-sided", 8_000)], [("less", 2_000)])
)
def test_the_bound_holds_for_thirty_heavy_weights(alternative, trials):
    r = rng(11)
    p = np.array([S.key_test(r.standard_t(1.5, 30), r.random(30), alternative=alternative).p.p for _ in range(trials)])
    for level in (0.5, 0.2, 0.05, 0.01, 0.001):
        rate_at_most((p <= level).mean(), level, trials)
    assert (p <= 0.2).mean() > 0.01  # it is a bound, not idle


def test_the_bound_lies_above_the_true_tail_in_closed_form():
    for t in np.linspace(0.01, 0.99, 50):  # two weights +1 and -1: a triangular sum
        high = 0.5 + t / 2
        found = S.key_test([1.0, -1.0], [high, 1 - high], alternative="greater")
        assert found.statistic == pytest.approx(t)
        assert found.p.p >= (1 - t) ** 2 / 2 and found.p.p == pytest.approx(math.exp(-3 * t**2))
    one = S.key_test([1.0, 0.0], [0.9, 0.5], alternative="greater", centre=False)
    assert one.p.p == pytest.approx(math.exp(-6 * 0.4**2)) and one.p.p >= 0.1


def test_for_many_rows_the_bound_costs_a_factor_z_root_2_pi_against_the_normal_tail():
    z = 5.0
    n = 10_000
    w = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    u = np.clip(0.5 + w * z * math.sqrt(n / 12) / n, 0.01, 0.99)
    found = S.key_test(w, u + rng(0).normal(size=n) * 1e-9, alternative="greater")
    assert found.z == pytest.approx(z, rel=1e-4)
    assert found.p.p / stats.norm.sf(found.z) == pytest.approx(z * math.sqrt(2 * math.pi), rel=0.05)


def test_floor_is_the_bound_at_the_end_of_the_keys_range():
    w = np.array([3.0, -1.0, -2.0])
    found = S.key_test(w, np.where(w > 0, 1e-12, 1 - 1e-12))
    assert found.p.p == pytest.approx(found.p.floor, rel=1e-9)
    assert S.key_test(np.tile([1.0, -1.0], 5), rng(0).random(10)).p.floor == pytest.approx(
        S.reachable_level(10, "keys")
    )


# ---- the e-process of keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_key_e_process_has_mean_exactly_1_after_every_row(alternative):
    w = np.array([0.3, 2.0, -9.0, 1.0])
    points, share = np.polynomial.legendre.leggauss(12)  # exact to 1e-14 for exp(4 x) over (-1, 1)
    u, share = (points + 1) / 2, share / 2
    mean = np.zeros(4)
    for index in itertools.product(range(12), repeat=3):  # the first row places no bet
        e = np.exp(S.key_e_process(w, np.r_[0.5, u[list(index)]], alternative=alternative, bets=[0.3, 2.0]).log_e)
        mean += share[list(index)].prod() * e
    np.testing.assert_allclose(mean, 1, rtol=1e-10)


def test_key_e_process_equals_a_plain_loop():
    w, u = rng(1).standard_t(2, 60), rng(2).random(60)
    w[[0, 9]] = np.nan
    total = {bet: 0.0 for bet in (-0.2, -1.0)}
    seen, deviations, expected = [], [], []
    for x, key in zip(w, u):
        if not np.isnan(x):
            v = x - np.mean(seen) if seen else 0.0
            scaled = np.clip(v / np.sqrt(np.mean(np.square(deviations))), -4, 4) if deviations else 0.0
            for bet in total:
                s = bet * scaled
                total[bet] += s * (key - 0.5) - (math.log(math.sinh(s / 2) / (s / 2)) if s else 0.0)
            if seen:
                deviations.append(v)
            seen.append(x)
        expected.append(np.log(np.mean(np.exp(list(total.values())))))
    found = S.key_e_process(w, u, alternative="less", bets=[0.2, 1.0])
    np.testing.assert_allclose(found.log_e, expected, rtol=1e-9, atol=1e-12)
    assert found.n == 58 and "guaranteed" in str(found) and "\n" not in str(found)


def test_bets_look_at_the_past_only():
    w, u = rng(1).standard_t(1.5, 200), rng(2).random(200)
    whole = S.key_e_process(w, u).log_e
    for k in (1, 2, 50, 133):
        np.testing.assert_allclose(S.key_e_process(w[:k], u[:k]).log_e, whole[:k], rtol=1e-9, atol=1e-12)
    w[150:], u[150:] = 1e6, 0.001
    np.testing.assert_allclose(S.key_e_process(w, u).log_e[:150], whole[:150], rtol=1e-6, atol=1e-9)


def test_exact_means_give_at_least_what_the_quadratic_bound_gives():
    w, u = rng(1).standard_t(1.5, 300), rng(2).random(300)
    scaled = K._predictable(w, True, 4.0)
    quadratic = np.cumsum(-0.5 * scaled * (u - 0.5) - (0.5 * scaled) ** 2 / 24)
    assert (S.key_e_process(w, u, bets=[0.5]).log_e >= quadratic - 1e-12).all()


STOPPED = [
    ("heavy tails", "less", 500),
    ("chosen by earlier keys", "two-sided", 500),
    ("uncut and uncentred", "less", 500),
]
WEIGHTS = [weights for weights, _, _ in STOPPED]


@pytest.mark.parametrize(
    ("weights", "alternative", "trials"),
    few([*STOPPED, *itertools.product(WEIGHTS, ("less", "two-sided"), (1500,))], STOPPED),
)
def test_stopping_when_convinced_keeps_the_level(weights, alternative, trials):
    r, n = rng(7), 200
    crossed = 0
    for _ in range(trials):
        u, w = r.random(n), r.standard_t(1.5, n)
        if weights == "chosen by earlier keys":  # a gambler who raises the stakes when behind
            w = np.concatenate([[1.0], np.exp(np.abs(np.cumsum(u - 0.5)[:-1])) * np.sign(np.cumsum(u - 0.5)[:-1])])
        options = {"centre": False, "clip": None} if weights == "uncut and uncentred" else {}
        crossed += S.key_e_process(
            w, u, alternative=alternative, bets=[0.1, 0.5, 2.0], **options
        ).log_e.max() >= math.log(20)
    rate_at_most(crossed / trials, 0.05, trials)
    assert crossed > 0.004 * trials


def test_key_e_process_finds_an_effect_and_only_on_its_side():
    u = rng(3).random(4000)
    w = rng(4).normal(size=4000) - 0.15 * (u - 0.5) * math.sqrt(12)
    found = S.key_e_process(w, u, alternative="less")
    assert found.e > 1e6 and found.stopped(0.05) < 2500
    assert S.key_e_process(w, u, alternative="greater").e < 1
    assert S.key_e_process(w, u, alternative="two-sided").e > 1e6


# ---- the e-process of ranks --------------------------------------------------------------------------------------


def test_sequential_ranks_equal_brute_force():
    for n in (1, 2, 3, 7, 64, 65, 200):
        t = rng(n).permutation(n)
        np.testing.assert_array_equal(
            K.sequential_ranks(t, rng().random(n)), [1 + (t[:k] < t[k]).sum() for k in range(n)]
        )


def test_sequential_ranks_of_equal_positions_are_uniform():
    ranks = np.array([K.sequential_ranks(np.zeros(4), rng(s).random(4)) for s in range(6000)])
    for k in range(4):
        share = np.bincount(ranks[:, k] - 1, minlength=k + 1) / 6000
        assert share.size == k + 1
        assert np.abs(share - 1 / (k + 1)).max() < SPREAD * math.sqrt(0.25 / 6000)


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
@pytest.mark.parametrize("weights", [[0.3, 2.0, -9.0, 1.0, 0.2, 1e3], [1.0, np.nan, 2.0, 5.0, np.nan, -1.0]])
def test_rank_e_process_has_mean_exactly_1_over_all_orders_after_every_row(alternative, weights):
    e = [
        np.exp(S.rank_e_process(weights, order, alternative=alternative, bets=[0.3, 2.0]).log_e)
        for order in itertools.permutations(range(6))
    ]
    np.testing.assert_allclose(np.mean(e, axis=0), 1, rtol=1e-12)
    assert np.std(e, axis=0)[-1] > 0.01


def test_rank_e_process_is_a_martingale_given_the_ranks_so_far():
    weights = np.array([0.3, 2.0, -9.0, 1.0, 0.2])
    e = {
        order: np.exp(S.rank_e_process(weights, order, bets=[1.0]).log_e) for order in itertools.permutations(range(5))
    }
    for k in range(1, 5):
        after = {}
        for order, path in e.items():
            after.setdefault(tuple(np.argsort(np.argsort(order[:k]))), []).append((path[k - 1], path[k]))
        for pairs in after.values():
            now, then = np.array(pairs).T
            np.testing.assert_allclose(now, now[0], rtol=1e-12)
            assert then.mean() == pytest.approx(now[0], rel=1e-12)


def test_rank_e_process_within_groups_has_mean_1_over_orders_within_them():
    groups, weights, e = np.array([0, 1, 0, 1, 1, 0]), [0.3, 2.0, -9.0, 1.0, 0.2, 7.0], []
    for one, two in itertools.product(itertools.permutations([1, 2, 3]), itertools.permutations([10, 20, 30])):
        order = np.empty(6)
        order[groups == 0], order[groups == 1] = one, two
        e.append(np.exp(S.rank_e_process(weights, order, groups=groups, bets=[0.3, 2.0]).log_e))
    np.testing.assert_allclose(np.mean(e, axis=0), 1, rtol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("positions", ["shuffle", "steps of eight rows"])
def test_rank_e_process_keeps_the_level_under_stopping(positions):
    r, trials, n = rng(7), 2000, 120
    crossed = 0
    for i in range(trials):
        t = r.permutation(n) // (8 if positions == "steps of eight rows" else 1)
        crossed += S.rank_e_process(r.standard_t(1.5, n), t, bets=[0.5, 2.0], seed=i).log_e.max() >= math.log(20)
    rate_at_most(crossed / trials, 0.05, trials)
    assert crossed > 0.004 * trials


def test_more_rows_do_not_change_what_was_seen_of_ranks():
    w, t, groups = rng(1).normal(size=300), rng(2).integers(9, size=300), rng(3).integers(3, size=300)
    whole = S.rank_e_process(w, t, groups=groups, seed=4).log_e
    for k in (1, 2, 50, 133):
        np.testing.assert_allclose(
            S.rank_e_process(w[:k], t[:k], groups=groups[:k], seed=4).log_e, whole[:k], rtol=1e-9, atol=1e-12
        )


def test_rank_e_process_comes_close_to_the_one_of_keys():
    u = rng(3).random(4000)
    w = rng(4).normal(size=4000) - 0.15 * (u - 0.5) * math.sqrt(12)
    by_key, by_rank = S.key_e_process(w, u), S.rank_e_process(w, u.argsort().argsort())
    assert by_rank.log_e[-1] == pytest.approx(by_key.log_e[-1], rel=0.15)
    assert "guaranteed" in str(by_rank)


# ---- input -------------------------------------------------------------------------------------------------------


def test_rows_without_a_weight_are_left_out_and_counted():
    w, u = rng(1).normal(size=50), rng(2).random(50)
    w[[3, 9]] = np.nan
    found = S.key_test(w, u)
    kept = ~np.isnan(w)
    assert (found.left_out, found.n) == (2, 48)
    assert found.p.p == S.key_test(w[kept], u[kept]).p.p
    assert "guaranteed" in str(found) and "2 rows" in str(found) and "\n" not in str(found)


W, U = rng(1).normal(size=30), rng(2).random(30)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: S.key_test(np.ones(30), U), "weights is constant"),
        (lambda: S.key_test(np.full(30, np.nan), U), "weights is constant over all n = 0"),
        (lambda: S.key_test(W, np.arange(30)), "keys has the value 0"),
        (lambda: S.key_test(W, (rng().permutation(30) + 1) / 31), "keys are evenly spaced"),
        (lambda: S.key_test(W, U[:9]), "keys has shape"),
        (lambda: S.key_test(W, np.r_[U[:29], np.nan]), "keys has 1 NaN"),
        (lambda: S.key_test(W, U, alternative="up"), "alternative = 'up'"),
        (lambda: S.key_test([1.0, -1.0], [0.2, 0.7], alpha=0.01), "alpha = 0.01 cannot be reached: .* 0.05"),
        (lambda: S.key_e_process(np.ones(30), U), "weights is constant"),
        (lambda: S.key_e_process([], []), "weights has shape"),
        (lambda: S.key_e_process(W, U, bets=[0.1, -1]), "bets ="),
        (lambda: S.key_e_process(W, U, clip=0), "clip=0"),
        (lambda: S.rank_e_process(W, U[:9]), "positions has shape"),
        (lambda: S.rank_e_process(W, U, groups=[1]), "groups has shape"),
        (lambda: S.rank_e_process(np.ones(30), U), "weights is constant"),
        (lambda: S.rank_e_process(W, U, seed=-1), "seed=-1"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(S.StatisticsError, match=word):
        call()


@pytest.mark.parametrize("sets", few([500, 2000], [500]))
def test_independent_keys_are_hardly_ever_taken_for_ranks(sets):
    for seed in range(sets):
        S.key_test(rng(seed).normal(size=20), rng(seed + 10_000).random(20))
