"""The statistics against SciPy, against brute force over all draws, against closed forms, and by simulated coverage and
size.

Simulation bounds are four binomial standard errors at a fixed seed, so a right implementation fails none and one that
is off by a few per cent does.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lens import stats as S
from tests.variants import few

NAN = float("nan")


def rng(seed=0):
    return np.random.default_rng(seed)


def near_rate(found, expected, trials, sigmas=4):
    assert abs(found - expected) <= sigmas * math.sqrt(expected * (1 - expected) / trials), (
        f"rate {found:.4f}, expected {expected:.4f}"
    )


SKEWED = rng(3).lognormal(0, 1, 30)


# ---- bootstrap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("method, theirs", [("percentile", "percentile"), ("bca", "BCa")])
def test_bootstrap_equals_scipy(statistic, method, theirs):
    ours = S.bootstrap(SKEWED, statistic=statistic, method=method, resamples=20_000, level=0.9)
    reference = stats.bootstrap(
        (SKEWED,), getattr(np, statistic), n_resamples=20_000, confidence_level=0.9, method=theirs, rng=rng(1)
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.estimate == pytest.approx(getattr(np, statistic)(SKEWED))
    assert abs(ours.low - reference.low) < 0.03 * width and abs(ours.high - reference.high) < 0.03 * width


def test_bca_moves_the_interval_by_more_than_the_comparison_with_scipy_allows():
    percentile, bca = (S.bootstrap(SKEWED, method=m, resamples=20_000, level=0.9) for m in ("percentile", "bca"))
    assert bca.high - percentile.high > 0.06 * (percentile.high - percentile.low)


def test_percentile_bounds_are_quantiles_over_all_resamples():
    x = np.array([0.3, 1.1, 4.0, 4.2, 9.0])
    every = np.array(list(itertools.product(x, repeat=5))).mean(axis=1)
    ours = S.bootstrap(x, level=0.8, resamples=40_000, method="percentile")
    for bound, share in ((ours.low, 0.1), (ours.high, 0.9)):
        assert (every <= bound + 1e-9).mean() >= share - 0.01 and (every < bound - 1e-9).mean() <= share + 0.01


def test_studentized_bounds_equal_a_plain_loop():
    x, resamples = SKEWED[:12], 4000
    t = []
    draw = np.random.Generator(np.random.PCG64(5))
    for _ in range(resamples):
        again = x[draw.integers(12, size=12)]
        t.append((again.mean() - x.mean()) / again.std())
    low, high = x.mean() - np.quantile(t, 0.975) * x.std(), x.mean() - np.quantile(t, 0.025) * x.std()
    ours = S.bootstrap(x, method="studentized", resamples=resamples, seed=5)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)


def test_mean_by_weights_equals_a_callable_on_gathered_values():
    x = rng(1).normal(size=(15, 7))
    for method in ("percentile", "bca"):
        a = S.bootstrap(x, method=method, resamples=500)
        b = S.bootstrap(x, statistic=np.mean, method=method, resamples=500)
        np.testing.assert_allclose([a.low, a.high], [b.low, b.high], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["percentile", "bca", "studentized"])
def test_coverage_of_a_normal_mean(method):
    n, trials = 20, 4000
    interval = S.bootstrap(rng(7).normal(1.0, 2.0, (n, trials)), method=method, resamples=1000)
    covered = np.mean((interval.low <= 1) & (interval.high >= 1))
    # the percentile interval is nearly mean +- z * sd(ddof=0) / sqrt(n), whose coverage Student's t gives; BCa tends to
    # it for symmetric data
    short = 2 * stats.t.cdf(stats.norm.isf(0.025) * math.sqrt((n - 1) / n), n - 1) - 1
    near_rate(covered, 0.95 if method == "studentized" else short, trials)


def test_studentized_covers_a_skewed_mean_better_than_percentile():
    x = rng(8).exponential(size=(15, 3000))
    covered = {}
    for method in ("percentile", "bca", "studentized"):
        interval = S.bootstrap(x, method=method, resamples=800)
        covered[method] = np.mean((interval.low <= 1) & (interval.high >= 1))
    assert covered["percentile"] < covered["bca"] < covered["studentized"]
    assert covered["studentized"] > 0.93


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("method, theirs", [("percentile", "percentile"), ("bca", "BCa")])
def test_ratio_equals_scipy(paired, method, theirs):
    x = rng(2).gamma(2, 1, 25)
    y = x * 0.5 + rng(3).gamma(4, 0.5, 25)

    def ratio(a, b, axis=-1):
        return a.mean(axis=axis) / b.mean(axis=axis)

    y = y if paired else y[:18]
    ours = S.bootstrap_comparison(x, y, paired=paired, method=method, resamples=20_000)
    reference = stats.bootstrap(
        (x, y), ratio, paired=paired, method=theirs, n_resamples=20_000, rng=rng(1)
    ).confidence_interval
    width = reference.high - reference.low
    assert ours.estimate == pytest.approx(x.mean() / y.mean())
    assert abs(ours.low - reference.low) < 0.04 * width and abs(ours.high - reference.high) < 0.04 * width


def test_pairing_shortens_the_interval_and_a_paired_difference_is_the_bootstrap_of_differences():
    x = rng(4).normal(5, 1, 30)
    y = x + rng(5).normal(0, 0.1, 30)
    paired, apart = (S.bootstrap_comparison(x, y, statistic="difference", paired=p) for p in (True, False))
    assert (paired.high - paired.low) < 0.25 * (apart.high - apart.low)
    direct = S.bootstrap(x - y)
    assert (paired.low, paired.high) == pytest.approx((direct.low, direct.high), abs=1e-9)


def test_a_ratio_with_a_denominator_around_zero_is_unbounded():
    x, y = rng(1).normal(3, 1, (30, 2)), rng(2).normal(0, 1, (30, 2))
    y[:, 1] += 5
    interval = S.bootstrap_comparison(x, y)
    assert interval.low[0] == -np.inf and interval.high[0] == np.inf
    assert np.isfinite([interval.low[1], interval.high[1]]).all()
    both_zero = S.bootstrap_comparison([0.0] * 5, [0.0] * 5)
    assert math.isnan(both_zero.estimate) and both_zero.low == -np.inf and both_zero.high == np.inf


def test_constant_data_has_a_point_interval():
    for method in ("percentile", "bca", "studentized"):
        interval = S.bootstrap([0.1] * 7, method=method)
        assert interval.low == pytest.approx(0.1) and interval.high == pytest.approx(0.1)


@pytest.mark.parametrize(
    "function",
    [S.bootstrap, functools.partial(S.bootstrap, method="bca"), functools.partial(S.bootstrap, statistic="median")],
)
def test_missing_values_other_cells_and_memory_do_not_change_a_cell(function):
    x = rng(9).normal(size=(12, 5, 4))
    x[8:, 1], x[[0, 5], 2, 3], x[:, 4, 0], x[1:, 4, 1] = np.nan, np.nan, np.nan, np.nan
    everything = function(x, resamples=200)
    small = function(x, resamples=200, memory_mb=0.02)
    np.testing.assert_allclose(small.low, everything.low, rtol=1e-10, atol=1e-12)
    for cell in np.ndindex(4, 4):
        alone = function(x[(slice(None), *cell)], resamples=200)
        compressed = function(x[(slice(None), *cell)][~np.isnan(x[(slice(None), *cell)])], resamples=200)
        for one in (alone, compressed):
            for field in ("estimate", "low", "high", "n"):
                assert getattr(one, field) == pytest.approx(getattr(everything, field)[cell], rel=1e-10)
    assert np.isnan(everything.estimate[4, 0]) and everything.n[4, 0] == 0
    assert everything.estimate[4, 1] == x[0, 4, 1] and np.isnan(everything.low[4, 1]) and everything.n[4, 1] == 1


def test_axis_and_input_types():
    torch = pytest.importorskip("torch")
    x = rng(1).normal(size=(3, 20)).astype(np.float32)
    expected = S.bootstrap(x.T).low
    for given_x in (x, torch.tensor(x, requires_grad=True), xarray.DataArray(x, dims=("layer", "prompt")), x.tolist()):
        np.testing.assert_allclose(S.bootstrap(given_x, axis=-1).low, expected, rtol=1e-6)
    assert S.bootstrap(torch.tensor(x[0]).bfloat16()).n == 20
    assert S.bootstrap(np.array([True, False, True])).estimate == pytest.approx(2 / 3)


def test_same_seed_same_numbers_and_another_seed_others():
    for function in (S.bootstrap, S.sign_flip, S.sign_flip_max):

        def fields(seed, function=function):
            return [v for v in dataclasses.astuple(function(SKEWED - 1, seed=seed)) if isinstance(v, float)]

        assert fields(1) == fields(1) != fields(2)


# ---- proportions and counts --------------------------------------------------------------------------------------


def test_proportion_equals_scipy_on_a_grid():
    k, n = np.array([0, 1, 3, 10, 10, 77]), np.array([10, 10, 10, 10, 12, 200])
    for method, theirs in (("exact", "exact"), ("wilson", "wilson")):
        ours = S.proportion(k, n, 0.9, method)
        reference = [stats.binomtest(int(a), int(b)).proportion_ci(0.9, theirs) for a, b in zip(k, n)]
        np.testing.assert_allclose(np.stack([ours.low, ours.high], 1), np.array(reference), atol=1e-12)


def test_exact_proportion_never_covers_less_than_its_level():
    n = 23
    interval = S.proportion(np.arange(n + 1), n)
    for truth in np.linspace(0.01, 0.99, 99):
        inside = (interval.low <= truth) & (truth <= interval.high)
        assert stats.binom.pmf(np.arange(n + 1), n, truth)[inside].sum() >= 0.95


def test_binomial_test_equals_scipy_and_passes_missing_counts():
    for alternative in ("two-sided", "greater", "less"):
        ours = S.binomial_test([2, 9, NAN], 12, 0.3, alternative)
        assert ours.p[:2] == pytest.approx([stats.binomtest(k, 12, 0.3, alternative).pvalue for k in (2, 9)])
        assert math.isnan(ours.p[2]) and ours.kind == "exact"


def test_fisher_exact_on_two_by_two_equals_the_hypergeometric_sum():
    table = np.array([[3, 1], [2, 9]])
    law = stats.hypergeom(15, 4, 5)
    assert S.fisher_exact(table, "greater").p == pytest.approx(law.sf(2))
    assert S.fisher_exact(table).p == pytest.approx(
        sum(law.pmf(k) for k in range(5) if law.pmf(k) <= law.pmf(3) * (1 + 1e-9))
    )


def test_fisher_exact_on_a_larger_table_agrees_with_listing_all_tables():
    table = np.array([[4, 1, 0], [1, 2, 4]])
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    law = stats.multivariate_hypergeom(columns, rows[0])
    tops = [top for top in itertools.product(*(range(c + 1) for c in columns)) if sum(top) == rows[0]]
    chances = law.pmf(tops)
    exact = chances[chances <= law.pmf(table[0]) * (1 + 1e-9)].sum()
    ours = S.fisher_exact(table, resamples=20_000)
    assert ours.kind == "monte carlo" and ours.floor == 1 / 20_001
    near_rate(ours.p, exact, 20_000)


# ---- sign flips --------------------------------------------------------------------------------------------------


def flipped_means(x):
    return np.array([np.mean(x * np.array(signs)) for signs in itertools.product((1, -1), repeat=len(x))])


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_sign_flip_equals_listing_and_scipy(alternative):
    for x in (
        rng(1).normal(0.5, 1, 10),
        np.array([1, 1, 1, -1, 2, 2, -2, 0.0]),
        np.array([0.1, 0.2, 0.3, -0.1, -0.2, 0.3]),
    ):
        means, seen = flipped_means(x), x.mean()
        hits = {
            "two-sided": np.abs(means) >= abs(seen) - 1e-12,
            "greater": means >= seen - 1e-12,
            "less": means <= seen + 1e-12,
        }[alternative]
        ours = S.sign_flip(x, alternative=alternative)
        reference = stats.permutation_test(
            (x,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
        )
        skewed = len(x) >= 8 and stats.skewtest(x).pvalue <= 0.05
        assert (
            ours.kind == ("approximate" if skewed else "exact")
            and bool(ours.reason) == skewed
            and ("symmetric" in ours.condition) != skewed
        )
        assert ours.p == pytest.approx(hits.mean()) and ours.p == pytest.approx(reference.pvalue)


def test_monte_carlo_sign_flip_agrees_with_exact_and_is_never_zero():
    x = rng(2).normal(0.35, 1, 14)
    exact, sampled = S.sign_flip(x, resamples=2**14), S.sign_flip(x, resamples=2**14 - 1, seed=3)
    assert (exact.kind, sampled.kind) == ("exact", "monte carlo")
    near_rate(sampled.p, exact.p, 2**14)
    sure = S.sign_flip(np.ones(50), resamples=999)
    assert sure.p == sure.floor == 1 / 1000


def test_sign_flip_of_many_cells_is_the_sign_flip_of_each_with_shared_flips():
    x = rng(3).normal(0.2, 1, (25, 4, 3))
    x[20:, 1], x[:, 3, 2] = np.nan, np.nan
    many = S.sign_flip(x, resamples=500, seed=1)
    blocked = S.sign_flip(x, resamples=500, seed=1, memory_mb=0.02)
    np.testing.assert_array_equal(many.p, blocked.p)
    signs = np.where(np.random.Generator(np.random.PCG64(1)).random((500, 25)) < 0.5, -1, 1)
    for cell in np.ndindex(4, 3):
        values = np.nan_to_num(x[(slice(None), *cell)])
        expected = NAN if cell == (3, 2) else (1 + np.sum(np.abs(signs @ values) >= abs(values.sum()) - 1e-12)) / 501
        assert many.p[cell] == pytest.approx(expected, nan_ok=True)
    assert many.n[1, 0] == 20 and many.n[3, 2] == 0


def test_sign_flip_size_is_its_level_for_exact_and_monte_carlo():
    noise = rng(4).standard_t(2, (10, 4000))
    near_rate(
        np.mean(S.sign_flip(noise, resamples=1024).p <= 0.05), 51 // 2 * 2 / 1024, 4000
    )  # two-sided p is a multiple of 2/1024
    p = [S.sign_flip(rng(i).normal(size=(15, 5)), resamples=99, seed=i).p for i in range(600)]
    near_rate(np.mean(np.array(p) <= 0.05), 0.05, 3000)
    report = S.calibration(np.array(p)[:, 0])
    assert report.valid and report.uniform.p > 0.001


def test_step_down_max_equals_a_plain_loop_over_all_flips():
    x = rng(5).normal(0, 1, (8, 5)) + np.array([0.0, 1.2, 0.3, -1.0, 0.1])
    z = x.sum(axis=0) / np.sqrt((x**2).sum(axis=0))
    all_z = np.array(
        [
            (x * np.array(s)[:, None]).sum(axis=0) / np.sqrt((x**2).sum(axis=0))
            for s in itertools.product((1, -1), repeat=8)
        ]
    )
    for alternative, key in (("two-sided", np.abs), ("greater", lambda v: v), ("less", lambda v: -v)):
        order = np.argsort(-key(z))
        expected, running = np.empty(5), 0.0
        for place, cell in enumerate(order):
            running = max(running, np.mean(key(all_z)[:, order[place:]].max(axis=1) >= key(z)[cell] - 1e-12))
            expected[cell] = running
        ours = S.sign_flip_max(x, alternative=alternative)
        assert ours.kind == "exact"
        np.testing.assert_allclose(ours.p, expected)
        np.testing.assert_allclose(S.sign_flip_max(x, alternative=alternative, memory_mb=0.001).p, expected)


def test_step_down_max_holds_the_family_wise_error_and_beats_holm_on_correlated_cells():
    false_alarms = 0
    for seed in range(500):
        draw = rng(seed)
        x = draw.normal(size=(12, 1)) + 0.5 * draw.normal(size=(12, 20))
        x[:, :2] += 3
        adjusted = S.sign_flip_max(x, resamples=199, seed=seed).p
        false_alarms += (adjusted[2:] <= 0.05).any()
    assert false_alarms / 500 <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 500)
    assert false_alarms > 5
    x = rng(1).normal(0.45, 1, (30, 1)) + 0.1 * rng(2).normal(size=(30, 40))
    assert np.median(S.sign_flip_max(x).p) < 0.25 * np.median(S.holm(S.sign_flip(x).p))


def test_step_down_max_with_missing_cells():
    x = rng(6).normal(0.5, 1, (20, 6))
    x[:, 2], x[10:, 3] = np.nan, np.nan
    ours = S.sign_flip_max(x, resamples=499)
    assert math.isnan(ours.p[2]) and math.isnan(ours.statistic[2]) and not np.isnan(np.delete(ours.p, 2)).any()
    np.testing.assert_array_equal(S.sign_flip_max(np.delete(x, 2, axis=1), resamples=499).p, np.delete(ours.p, 2))


# ---- two samples, ranks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_two_sample_permutation_equals_scipy(alternative):
    x, y = rng(1).normal(0.8, 1, 5), np.array([0.0, 0.5, 0.5, -1.0, 0.3, 2.0])

    def difference(a, b, axis):
        found = a.mean(axis=axis) - b.mean(axis=axis)
        return np.abs(found) if alternative == "two-sided" else found

    side = "greater" if alternative == "two-sided" else alternative
    reference = stats.permutation_test((x, y), difference, vectorized=True, n_resamples=np.inf, alternative=side)
    ours = S.permutation(x, y, alternative=alternative)
    assert ours.kind == "exact" and ours.p == pytest.approx(reference.pvalue)
    assert ours.statistic == pytest.approx(x.mean() - y.mean())


def test_welch_permutation_equals_listing_with_scipy_t():
    x, y = rng(1).normal(0.8, 2, 5), rng(2).normal(0, 0.5, 7)
    pool, seen = np.concatenate([x, y]), abs(stats.ttest_ind(x, y, equal_var=False).statistic)
    t = [
        abs(stats.ttest_ind(pool[list(c)], np.delete(pool, c), equal_var=False).statistic)
        for c in itertools.combinations(range(12), 5)
    ]
    ours = S.permutation(x, y, statistic="welch")
    assert ours.p == pytest.approx(np.mean(np.array(t) >= seen - 1e-9))
    assert abs(ours.statistic) == pytest.approx(seen)
    assert S.permutation([1, 1, 1.0], [2, 2, 2.0], statistic="welch").p == pytest.approx(2 / 20)


def test_two_sample_permutation_of_many_cells_with_missing_values():
    x, y = rng(3).normal(size=(20, 6)), rng(4).normal(0.7, 1, (15, 6))
    x[15:, 1], y[3:, 2], y[:, 3] = np.nan, np.nan, np.nan
    many = S.permutation(x, y, resamples=1500, seed=2)
    np.testing.assert_array_equal(many.p, S.permutation(x, y, resamples=1500, seed=2, memory_mb=0.02).p)
    assert many.kind == "monte carlo" and math.isnan(many.p[3])
    for cell in (0, 1, 2, 5):
        alone = S.permutation(x[~np.isnan(x[:, cell]), cell], y[~np.isnan(y[:, cell]), cell], resamples=1500, seed=2)
        assert alone.p == many.p[cell]
    few = S.permutation(x[:4, :3], y[:5, :3], resamples=125)
    assert few.kind == "mixed"


def test_two_sample_permutation_size():
    p = np.array(
        [
            S.permutation(
                rng(i).exponential(size=(7, 4)), rng(10_000 + i).exponential(size=(9, 4)), resamples=99, seed=i
            ).p
            for i in range(600)
        ]
    )
    near_rate(np.mean(p <= 0.1), 0.1, p.size)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_wilcoxon_equals_scipy_in_each_cell_and_says_which_kind(alternative):
    x = rng(5).normal(0.3, 1, (12, 4))
    x[3:5, 1], x[:, 2] = np.nan, np.round(x[:, 2])
    ours = S.wilcoxon(x, alternative=alternative)
    for cell, method in ((0, "exact"), (1, "exact"), (2, "approx"), (3, "exact")):
        values = x[:, cell][~np.isnan(x[:, cell]) & (x[:, cell] != 0)]
        assert ours.p[cell] == pytest.approx(stats.wilcoxon(values, alternative=alternative, method=method).pvalue)
    assert ours.kind == "mixed" and S.wilcoxon(x[:, 0]).kind == "exact" and S.wilcoxon(x[:, 2]).kind == "approximate"
    assert S.wilcoxon([1, -1, 2.5, 3.5]).kind == "approximate"
    assert S.wilcoxon(np.zeros(5)).p == 1.0
    assert S.wilcoxon(np.arange(1.0, 9)).p == pytest.approx(2 / 2**8) == S.wilcoxon(np.arange(1.0, 9)).floor


def test_rank_correlation_equals_scipy_and_listing():
    x, y = rng(1).normal(size=7), np.array([1, 1, 2, 3, 5, 4, 2.0])
    rho = stats.spearmanr(x, y).statistic
    every = np.array([np.corrcoef(stats.rankdata(x), p)[0, 1] for p in itertools.permutations(stats.rankdata(y))])
    for alternative, hits in (
        ("two-sided", np.abs(every) >= abs(rho) - 1e-9),
        ("greater", every >= rho - 1e-9),
        ("less", every <= rho + 1e-9),
    ):
        ours = S.rank_correlation(x, y, alternative=alternative)
        assert ours.rho == pytest.approx(rho)
        assert ours.test.kind == "exact" and ours.p == pytest.approx(hits.mean())
        approximate = S.rank_correlation(x, y, alternative=alternative, test="t")
        assert (
            approximate.p == pytest.approx(stats.spearmanr(x, y, alternative=alternative).pvalue)
            and approximate.test.kind == "approximate"
        )
    assert np.std(every) == pytest.approx(1 / math.sqrt(6), rel=1e-9)
    assert ours.z == pytest.approx(rho * math.sqrt(6))


def test_rank_correlation_of_many_cells():
    x, y = rng(2).normal(size=(30, 5)), rng(3).normal(size=30)
    x[:, 0] += y
    x[20:, 1], x[:, 2] = np.nan, 1.0
    one = S.rank_correlation(x, y, resamples=400, seed=4)
    every = S.rank_correlation(x, np.repeat(y[:, None], 5, axis=1), resamples=400, seed=4, memory_mb=0.05)
    np.testing.assert_allclose(one.p, every.p)
    np.testing.assert_allclose(one.rho, every.rho)
    np.testing.assert_array_equal(one.p, S.rank_correlation(x, y, resamples=400, seed=4, memory_mb=0.05).p)
    assert one.rho[1] == pytest.approx(stats.spearmanr(x[:20, 1], y[:20]).statistic) and one.test.n[1] == 20
    assert np.isnan([one.rho[2], one.p[2], one.interval.low[2]]).all()
    assert one.p[0] == 1 / 401


@pytest.mark.long
@pytest.mark.parametrize("r", few([0.5, 0.8], [0.8]))
def test_rank_correlation_intervals_cover(r):
    trials, n = 1500, 40
    z = rng(6).normal(size=(2, n, trials))
    x, y = z[0], r * z[0] + math.sqrt(1 - r * r) * z[1]
    truth = 6 / math.pi * math.asin(r / 2)  # Spearman's rho of a normal pair
    fisher = S.rank_correlation(x, y, test="t", interval="fisher").interval
    half = (np.arctanh(fisher.high) - np.arctanh(fisher.low)) / 2
    np.testing.assert_allclose(half, stats.norm.isf(0.025) * np.sqrt((1 + fisher.estimate**2 / 2) / 37), rtol=1e-6)
    near_rate(np.mean((fisher.low <= truth) & (truth <= fisher.high)), 0.95, trials)
    boot = S.rank_correlation(x[:, :300], y[:, :300], test="t").interval
    assert (
        (boot.low <= fisher.low[:300]).all()
        and (boot.high >= fisher.high[:300]).all()
        and np.mean((boot.low <= truth) & (truth <= boot.high)) >= 0.93
    )


# ---- many p-values -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.01, NAN])), min_size=1, max_size=12))
def test_holm_and_benjamini_hochberg_by_their_definition(values):
    p = np.array(values)
    kept = np.flatnonzero(~np.isnan(p))
    m = kept.size
    order = kept[np.argsort(p[kept])]
    down, up = np.full(p.size, np.nan), np.full(p.size, np.nan)
    for place, cell in enumerate(order):
        down[cell] = min(1.0, max((m - j) * p[order[j]] for j in range(place + 1)))
        up[cell] = min(1.0, min(m / (j + 1) * p[order[j]] for j in range(place, m)))
    np.testing.assert_allclose(S.holm(p), down)
    np.testing.assert_allclose(S.benjamini_hochberg(p), up)


def test_false_discovery_adjustment_equals_scipy_along_an_axis():
    p = rng(1).random((6, 8)) ** 2
    for dependence, theirs in (("positive", "bh"), ("any", "by")):
        np.testing.assert_allclose(
            S.benjamini_hochberg(p, axis=1, dependence=dependence),
            stats.false_discovery_control(p, axis=1, method=theirs),
        )
        np.testing.assert_allclose(
            S.benjamini_hochberg(p, dependence=dependence),
            stats.false_discovery_control(p.ravel(), method=theirs).reshape(6, 8),
        )
    np.testing.assert_allclose(S.holm(p, axis=0)[:, 3], S.holm(p[:, 3]))
    assert np.isnan(S.holm([NAN, NAN])).all()
    assert S.holm(S.sign_flip(rng(1).normal(size=(8, 3)))).shape == (3,)


def test_holm_holds_the_family_wise_error():
    p = rng(2).random((10, 4000))
    near_rate(np.mean((S.holm(p, axis=0) <= 0.05).any(axis=0)), 1 - (1 - 0.05 / 10) ** 10, 4000)


def test_combined_p_values_equal_scipy():
    p = rng(3).random((5, 4))
    w = np.array([1.0, 2, 3, 4, 5])[:, None]
    np.testing.assert_allclose(S.combine_p(p, axis=0), stats.combine_pvalues(p, axis=0).pvalue)
    np.testing.assert_allclose(S.combine_p(p, "stouffer", axis=0), stats.combine_pvalues(p, "stouffer", axis=0).pvalue)
    assert S.combine_p(p[:, 0], "stouffer", w[:, 0]) == pytest.approx(
        stats.combine_pvalues(p[:, 0], "stouffer", weights=w[:, 0]).pvalue
    )
    assert S.combine_p([0.01, NAN, 0.2]) == pytest.approx(S.combine_p([0.01, 0.2]))
    assert S.combine_p([1e-100, 1e-100], "stouffer", independent=True) == pytest.approx(
        stats.norm.sf(stats.norm.isf(1e-100) * math.sqrt(2)), rel=1e-6
    )
    assert math.isnan(S.combine_p([NAN]))


def test_copies_of_one_p_are_not_combined():
    r = np.random.default_rng(1)
    copies = [S.combine_p([one] * 5, independent=True) for one in r.random(2000)]
    assert (
        np.mean(np.array(copies) <= 0.05) > 0.12
    )  # what five copies would have been said to show, where nothing is there
    with pytest.raises(S.StatisticsError, match="p has the value 0.03 more than once.*independent=True"):
        S.combine_p([0.03, 0.2, 0.03])
    with pytest.raises(S.StatisticsError, match="e has the value 3 more than once"):
        S.combine_e([3, 3], "product")
    assert S.combine_e([3, 3], "product", independent=True) == pytest.approx(9) and S.combine_e(
        [3, 3]
    ) == pytest.approx(3)
    assert S.combine_p([1.0, 1.0, 0.2]) == pytest.approx(S.combine_p([1.0, 1.0, 0.2], independent=True))
    assert S.combine_p([[0.03, 0.03], [0.2, 0.4]], axis=0).shape == (2,)  # lines are tests by themselves


@pytest.mark.parametrize("n", few([30, 100], [30]))
def test_two_series_that_drift_are_not_called_guaranteed(n):
    r, told, guaranteed = np.random.default_rng(n), 0, 0

    def drift():
        x = r.normal(size=n + 40)
        for i in range(1, x.size):
            x[i] += 0.9 * x[i - 1]
        return x[40:]

    for _ in range(150):
        found = S.rank_correlation(drift(), drift(), resamples=199)
        told += found.p <= 0.05
        guaranteed += found.p <= 0.05 and found.test.guaranteed
    assert told > 40 and guaranteed <= stats.binom.ppf(0.9999, 150, 0.05)


def test_a_trend_with_a_sorted_series_keeps_its_guarantee():
    r, kept = np.random.default_rng(2), 0
    for _ in range(200):
        found = S.rank_correlation(np.arange(40), 0.1 * np.arange(40) + r.normal(size=40), resamples=19)
        kept += found.test.guaranteed
    assert kept >= stats.binom.ppf(1e-4, 200, 0.93)
    one = S.rank_correlation(
        np.cumsum(r.normal(size=60)), np.cumsum(r.normal(size=60)), exchangeable=True, resamples=19
    )
    assert one.test.guaranteed and "guaranteed if the values of x or of y are exchangeable" in one.test.worth


# ---- e-values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alternative, truths",
    [("greater", (0.4, 0.25, 0.05)), ("less", (0.4, 0.6, 0.9)), ("two-sided", (0.4,)), (0.7, (0.4, 0.2))],
)
def test_e_process_over_all_sequences(alternative, truths):
    sequences = np.array(list(itertools.product((0, 1), repeat=12)))
    process = S.e_process(sequences, null=0.4, alternative=alternative, axis=1)
    e, k = process.e, sequences.sum(axis=1)
    for truth in truths:
        chance = truth**k * (1 - truth) ** (12 - k)
        assert np.sum(chance * e) <= 1 + 1e-9
        for alpha in (0.5, 0.2, 0.05):
            assert np.sum(chance[process.p <= alpha]) <= alpha
            assert np.sum(chance[~np.isnan(process.stopped(alpha))]) <= alpha
    assert np.sum(0.4**k * 0.6 ** (12 - k) * e) == pytest.approx(1.0)  # at the edge of the null it is a martingale


@pytest.mark.parametrize("alternative, low, high", [("greater", 0.3, 1), ("less", 0, 0.3), ("two-sided", 0, 1)])
def test_mixture_e_process_equals_the_integral(alternative, low, high):
    x = np.array([1, 1, 0, 1, 0, 1, 1])
    prior = stats.beta(0.5, 0.5)
    ratio = integrate.quad(lambda q: (q / 0.3) ** 5 * ((1 - q) / 0.7) ** 2 * prior.pdf(q), low, high)[0] / (
        prior.cdf(high) - prior.cdf(low)
    )
    assert S.e_process(x, 0.3, alternative).e == pytest.approx(ratio, rel=1e-6)


def test_e_process_grows_stops_and_passes_over_missing_outcomes():
    x = np.array([1, 1, NAN, 1, 0, 1, 1, 1, 1, 1, 1, 1])
    with_gap, without = S.e_process(x), S.e_process(x[~np.isnan(x)])
    assert with_gap.e == pytest.approx(without.e) and with_gap.n == 11
    assert with_gap.log_e[2] == with_gap.log_e[1]
    stop = int(with_gap.stopped(0.2))
    assert with_gap.log_e[stop - 1] >= math.log(5) > with_gap.log_e[: stop - 1].max()
    assert math.isnan(with_gap.stopped(1e-9))
    lost = S.e_process([1] * 9 + [0] * 9)
    assert lost.e < 1 and lost.p == pytest.approx(1 / math.exp(lost.log_e.max())) and lost.p < 0.05
    fair = S.e_process((rng(1).random((300, 2000)) < 0.5).astype(float))
    assert np.mean(fair.p <= 0.05) <= 0.05
    assert S.e_process(np.ones(5000)).log_e[-1] > 3000


def test_p_to_e_is_a_calibrator_and_equals_its_integral():
    # with p = exp(-v) the integrand tends to 1 / v^2, so what lies beyond v = 600 is 1 / 600
    body = integrate.quad(lambda v: S.p_to_e(math.exp(-v)) * math.exp(-v), 0, 600, limit=400)[0]
    assert body + 1 / 600 == pytest.approx(1, abs=1e-6)
    assert integrate.quad(lambda q: S.p_to_e(q, 0.5), 0, 1)[0] == pytest.approx(1, abs=1e-6)
    for p in (1e-6, 0.01, 0.5, 0.99, 0.9995, 0.99999, 1.0):
        assert S.p_to_e(p) == pytest.approx(integrate.quad(lambda k: k * p ** (k - 1), 0, 1)[0], rel=1e-7)
    assert S.p_to_e(0.0) == np.inf and math.isnan(S.p_to_e(NAN))
    assert np.all(S.e_to_p(S.p_to_e(np.linspace(0.001, 1, 50))) >= np.linspace(0.001, 1, 50))


def test_combining_e_values():
    assert S.combine_e([1, 20, NAN]) == pytest.approx(10.5)
    assert S.combine_e([1, 20], weights=[3, 1]) == pytest.approx(5.75)
    assert S.combine_e([2, 3, NAN], "product") == pytest.approx(6)
    assert S.combine_e([0, 5], "product") == 0
    np.testing.assert_allclose(S.combine_e([[1, 2], [3, 4]], axis=0), [2, 3])
    np.testing.assert_allclose(S.e_to_p([20, 0.5, 0, np.inf]), [0.05, 1, 1, 0])
    assert math.isnan(S.combine_e([NAN]))


# ---- planning ----------------------------------------------------------------------------------------------------


def z_test(x):
    return stats.norm.sf(x.mean() * math.sqrt(x.size))


def normal(draw, effect):
    return draw.normal(effect, 1, 25)


def test_power_and_smallest_effect_equal_the_closed_form_of_the_z_test():
    truth = stats.norm.sf(stats.norm.isf(0.05) - 0.4 * 5)
    found = S.power(z_test, normal, 0.4, simulations=2000)
    near_rate(found.estimate, truth, 2000)
    assert found.low < truth < found.high and found.n == 2000
    smallest = S.minimum_detectable_effect(z_test, normal, 0, 1, simulations=400)
    effect = (stats.norm.isf(0.05) + stats.norm.isf(0.2)) / 5
    assert smallest.low < effect < smallest.high and abs(smallest.estimate - effect) < 0.08
    assert smallest.high - smallest.low < 0.2


def test_power_at_zero_is_the_size_and_a_random_test_gets_fresh_seeds():
    seeds = []

    def test(x, y, seed):
        seeds.append(seed)
        return S.permutation(x, y, resamples=39, seed=seed)

    found = S.power(
        test, lambda draw, effect: (draw.normal(effect, 1, 8), draw.normal(0, 1, 8)), 0.0, alpha=0.1, simulations=400
    )
    near_rate(found.estimate, 0.1, 400)
    assert len(set(seeds)) > 390


def test_calibration_finds_small_p_values_and_seldom_blames_good_ones():
    blamed = sum(not S.calibration(rng(i).random(300)).valid for i in range(300))
    assert blamed <= 300 * 0.01 + 4 * math.sqrt(300 * 0.01)
    small = S.calibration(rng(1).random(500) ** 1.5)
    assert not small.valid and small.too_small.p < 1e-6 and "TOO SMALL" in str(small)
    large = S.calibration(rng(1).random(500) ** 0.5)
    assert large.valid and large.too_small.p > 0.5 and large.uniform.p < 1e-6
    at = S.calibration([*np.linspace(0, 1, 100), NAN], alphas=[0.25])
    assert at.rate.estimate[0] == 0.25 and at.rate.level == 0.99 and at.uniform.n == 100


def test_halves_part_the_units_and_balance_the_strata():
    for n in (2, 9, 40):
        split = S.halves(n, seed=1)
        assert (
            sorted([*split.select, *split.report]) == list(range(n)) and len(split.report) - len(split.select) == n % 2
        )
    labels = np.array(list("aaaaabbbbbbbccccccccd"))
    split = S.halves(21, seed=2, strata=labels)
    assert sorted([*split.select, *split.report]) == list(range(21))
    for label in "abcd":
        assert abs(np.sum(labels[split.select] == label) - np.sum(labels[split.report] == label)) <= 1
    assert abs(len(split.select) - len(split.report)) <= 1
    assert not np.array_equal(S.halves(40, seed=1).select, S.halves(40, seed=2).select)
    counts = np.bincount(np.concatenate([S.halves(6, seed=i).select for i in range(1000)]), minlength=6) / 1000
    for share in counts:
        near_rate(share, 0.5, 1000)


def test_selection_bias_of_noise_is_the_expected_maximum_and_vanishes_held_out():
    x = rng(1).normal(size=(40, 20, 15))
    found = S.selection_bias(x, splits=300)
    grid = np.linspace(-8, 8, 20_001)
    expected = np.trapezoid(grid * 300 * stats.norm.pdf(grid) * stats.norm.cdf(grid) ** 299, grid) / math.sqrt(20)
    assert found.selected == pytest.approx(expected, rel=0.15)
    assert abs(found.reported) < 0.2 * expected and found.bias == pytest.approx(found.selected - found.reported)
    np.testing.assert_equal(dataclasses.asdict(found)["cell"], S.selection_bias(x, splits=300, memory_mb=0.05).cell)


def test_selection_bias_finds_a_planted_cell_of_either_sign():
    x = rng(2).normal(size=(60, 8, 5))
    x[:, 3, 2] -= 1.5
    x[50:, 6:] = np.nan
    report = S.halves(60, int(np.random.Generator(np.random.PCG64(0)).integers(2**31, size=200)[0])).report
    for choose, sign in (("absolute", -1), ("min", 1)):
        found = S.selection_bias(x, choose=choose)
        assert found.cell == found.commonest == (3, 2) and found.stability == 1.0
        assert found.held_out.estimate == pytest.approx(sign * x[report, 3, 2].mean())
        assert abs(found.bias) < 0.1


def test_held_out_interval_covers_the_chosen_cell():
    covered = 0
    for seed in range(300):
        found = S.selection_bias(rng(seed).normal(size=(24, 30)), splits=1, seed=seed)
        covered += not found.held_out.excludes(0.0)
    near_rate(covered / 300, 0.95, 300)


# ---- text and errors ---------------------------------------------------------------------------------------------


def test_one_line_texts():
    interval = S.bootstrap([0.2, 0.5, 0.4, 0.7, 0.1, 0.6])
    # 95 % of six values: the percentile interval [0.25, 0.583] covers 83 % of normal samples of so few
    assert (
        str(interval)
        == "mean 0.417 [0.00221, 0.741], n = 6, 95 % Student's t and studentized bootstrap, the wider of both"
    )
    assert str(S.sign_flip(np.linspace(-1, 2, 40), resamples=10_000)).endswith(
        "(Monte Carlo, 10 000 sign flips, n = 40)"
    )
    assert (
        str(S.sign_flip([1.0, 2, 3, 4, 5, 6], alternative="greater"))
        == "p = 0.016, the smallest it can be (exact, all 64 sign flips, n = 6, greater)"
    )
    x = rng(1).normal(3, 1, (20, 4, 6))
    x[5:, 0, 0] = np.nan
    assert str(S.bootstrap(x)).startswith("mean of 4 x 6 cells: ")
    assert str(S.bootstrap(x)).endswith(
        "n = 5 to 20, 95 % Student's t and studentized bootstrap, the wider of both; excludes 0 in 23"
    )
    assert str(S.sign_flip(x)).startswith("p of 4 x 6 cells: 0.0001 to ")
    others = (
        S.e_process([1, 0, 1]),
        S.e_process(np.ones((5, 2))),
        S.proportion(3, 9),
        S.wilcoxon(x),
        S.selection_bias(x),
    )
    for result in (*others, S.rank_correlation(x[:, 0, 1], x[:, 1, 1])):
        assert "\n" not in str(result) and "n = " in str(result)
    with pytest.raises(dataclasses.FrozenInstanceError):
        interval.low = 0


X = [0.1, 0.4, 0.3, 0.8]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: S.bootstrap([]), ["x is empty", "Check"]),
        (lambda: S.bootstrap(3.0), ["x = 3.0", "sample"]),
        (lambda: S.bootstrap([1.0]), ["n = 1", "at least 2", "Add units"]),
        (lambda: S.bootstrap([[1.0, NAN], [NAN, 2.0]]), ["n = 1", "at least 2"]),
        (lambda: S.bootstrap([NAN, NAN]), ["NaN throughout"]),
        (lambda: S.bootstrap([1.0, np.inf, 2.0]), ["infinite", "(1,)"]),
        (lambda: S.bootstrap(["a", "b"]), ["x = ['a', 'b']", "real numbers"]),
        (lambda: S.bootstrap([1j, 2]), ["real numbers"]),
        (lambda: S.bootstrap(X, axis=1), ["axis = 1", "(4,)"]),
        (lambda: S.bootstrap(X, level=95), ["level=95", "between 0 and 1", "0.95"]),
        (lambda: S.bootstrap(X, level=0), ["level=0"]),
        (lambda: S.bootstrap(X, resamples=39), ["resamples=39", "at least 40"]),
        (lambda: S.bootstrap(X, seed=None), ["seed=None"]),
        (lambda: S.bootstrap(X, seed=-1), ["seed=-1"]),
        (lambda: S.bootstrap(X, method="best"), ["method = 'best'", "'bca'"]),
        (lambda: S.bootstrap(X, statistic="mode"), ["statistic = 'mode'", "'median'"]),
        (lambda: S.bootstrap(X, statistic="median", method="studentized"), ["studentized", "bca"]),
        (lambda: S.bootstrap(X, statistic=lambda v, axis: v.sum()), ["statistic returned shape"]),
        (lambda: S.bootstrap(X, memory_mb=0), ["memory_mb=0"]),
        (lambda: S.bootstrap_comparison(X, X[:3]), ["(4,)", "(3,)", "paired=False"]),
        (lambda: S.bootstrap_comparison([1.0, NAN], [NAN, 1.0]), ["share no unit"]),
        (lambda: S.bootstrap_comparison(X, [1.0], paired=False), ["at least 2"]),
        (lambda: S.proportion(5, 3), ["successes = 5", "n = 3"]),
        (lambda: S.proportion(0, 0), ["n = 0", "at least one trial"]),
        (lambda: S.sign_flip(X, resamples=5), ["resamples=5", "at least 19"]),
        (lambda: S.sign_flip(X, alternative="both"), ["alternative = 'both'", "'two-sided'"]),
        (lambda: S.sign_flip_max([NAN]), ["NaN throughout"]),
        (lambda: S.permutation(np.ones((3, 2)), np.ones((3, 4))), ["cells (2,)", "(4,)"]),
        (lambda: S.permutation([[1.0, NAN]], [[NAN, 1.0]]), ["no cell"]),
        (lambda: S.permutation([1.0], X, statistic="welch"), ["at least 2 present values", "'welch'"]),
        (lambda: S.binomial_test(1.5, 3), ["successes = 1.5"]),
        (lambda: S.fisher_exact([[1, 2]]), ["table", "2 rows"]),
        (lambda: S.fisher_exact(np.ones((3, 3)), "greater"), ["alternative = 'greater'", "3 x 3"]),
        (lambda: S.rank_correlation(X, X[:3]), ["(4,)", "(3,)"]),
        (lambda: S.rank_correlation(X[:3], X[:3]), ["n = 3", "at least 4"]),
        (lambda: S.rank_correlation(X, [1.0] * 4), ["constant"]),
        (lambda: S.holm([0.5, 1.5]), ["p has the value 1.5"]),
        (lambda: S.holm([]), ["p is empty"]),
        (lambda: S.holm([0.5], axis=2), ["axis = 2"]),
        (lambda: S.combine_p([0.5], weights=[1]), ["weights", "stouffer"]),
        (lambda: S.combine_p([0.5, 0.1], "stouffer", weights=[1, 2, 3]), ["weights has shape (3,)"]),
        (lambda: S.combine_p([0.5], axis=1), ["axis = 1"]),
        (lambda: S.combine_e([0.5], axis=1), ["axis = 1"]),
        (lambda: S.combine_e(["a"]), ["e = ['a']", "real numbers"]),
        (lambda: S.combine_e([-1.0]), ["e has the value -1"]),
        (lambda: S.combine_e([1.0, 2.0], weights=[1, 2, 3]), ["weights has shape (3,)"]),
        (lambda: S.e_process([0.5]), ["x has the value 0.5", "0 or 1"]),
        (lambda: S.e_process([1], null=1), ["null=1"]),
        (lambda: S.e_process([1], null=0.5, alternative=0.5), ["never pays"]),
        (lambda: S.power(z_test, normal, 0, alpha=5), ["alpha=5", "0.05"]),
        (lambda: S.power(lambda x: NAN, normal, 0), ["test returned p = nan"]),
        (lambda: S.minimum_detectable_effect(z_test, normal, 0, 0.01, simulations=50), ["high = 0.01", "raise high"]),
        (lambda: S.minimum_detectable_effect(z_test, normal, 1, 0), ["low = 1", "high = 0"]),
        (lambda: S.calibration([0.1] * 5), ["n = 5", "at least 20"]),
        (lambda: S.halves(1), ["n=1", "at least 2"]),
        (lambda: S.halves(4, strata=["a"]), ["strata has shape (1,)", "n = 4"]),
        (lambda: S.selection_bias(np.ones(8)), ["one cell"]),
        (lambda: S.selection_bias(np.ones((3, 2))), ["n = 3", "at least 4"]),
    ],
)
def test_errors_name_the_argument_its_value_and_the_next_step(call, words):
    with pytest.raises(S.StatisticsError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_everything_public_is_documented():
    for name in S.__all__:
        assert (getattr(S, name).__doc__ or "").strip(), name
