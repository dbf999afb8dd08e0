"""Intervals against SciPy, plain loops and counting over all outcomes; their coverage at a small preset (`python -m
tests.calibration` has the full one).
"""

import numpy as np
import pytest
from scipy import stats

from lens import stats as S
from lens.stats import means, units
from lens.stats.crossings import crossing_difference, reached
from lens.stats.means import clopper_pearson, difference_bounds, mean_interval, over_runs
from tests.calibration import SIZES, coverage, figures, required


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- one mean ----------------------------------------------------------------------------------------------------


def test_numbers_that_happen_to_be_zeros_and_ones_are_no_truth_values():
    """Layers of 0 and 1 among thirty: what they cannot leave says that they are numbers."""
    layers = np.repeat([0.0, 1, 1, 0, 1, 1, 0, 1], 5)
    found, n = S.bootstrap(layers, bounds=(0, 30)), len(layers)
    half = stats.t.ppf(0.975, n - 1) * layers.std(ddof=1) / n**0.5
    assert found.high - found.estimate >= half - 1e-12 and "Student" in found.kind
    assert "Clopper" in S.bootstrap(layers).kind and "Clopper" in S.bootstrap(layers, bounds=(0, 1)).kind
    assert np.isnan(S.bootstrap(np.ones(8), bounds=(0, np.inf)).low)
    within = units.nested(layers, np.zeros(n), bounds=(-30, 30)).interval
    assert "Student" in str(within.kind) and within.high - within.low >= 2 * half - 1e-12


def test_areas_that_are_all_one_are_bounded_as_coins_are():
    """Whatever else areas can be: where their mean is the bound, all of six are 1 in at most .025 of cases."""
    low = float(S.bootstrap(np.ones(6)).low)
    assert low == pytest.approx(0.025 ** (1 / 6))
    for other in (0.0, 0.2, 0.5):
        share = (low - other) / (1 - other)
        assert share * 1 + (1 - share) * other == pytest.approx(low) and share**6 <= 0.025 + 1e-12


@pytest.mark.parametrize("n, tail", [(5, 0.01), (12, 0.0125), (20, 0.015), (40, 0.02), (100, 0.025)])
def test_numbers_get_the_wider_of_scipys_t_interval_and_a_plain_loop_of_the_studentized_bootstrap(n, tail):
    x = np.exp(rng(n).normal(size=n))
    again = rng(1).choice(x, (200_000, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num((again.mean(1) - x.mean()) / again.std(1), nan=0.0)
    low, high = (x.mean() - np.quantile(t, q, method="inverted_cdf") * x.std() for q in (1 - tail, tail))
    student = stats.t.interval(0.95, n - 1, x.mean(), stats.sem(x))
    low, high = min(low, student[0]), max(high, student[1])
    found = mean_interval(x, resamples=50_000)
    assert (found.low, found.high) == pytest.approx(
        (low, high), rel=0.06 if n > 5 else 0.3
    ) and found.kind == means.HULL
    assert found.low <= student[0] + 1e-12 and found.high >= student[1] - 1e-12


def test_truth_values_get_scipys_exact_bounds_at_every_n():
    x = (rng(3).random((7, 40)) < 0.1).astype(float)
    found = mean_interval(x)
    for cell in range(40):
        exact = stats.binomtest(int(x[:, cell].sum()), 7).proportion_ci(0.95, "exact")
        assert (found.low[cell], found.high[cell]) == pytest.approx((exact.low, exact.high))
    assert set(found.kind) == {means.EXACT} and mean_interval(np.array([True])).low == pytest.approx(0.025)


def test_what_cannot_have_an_interval_says_why():
    for x, kind in (([1.0, 2, 4, 3], means.FEW), ([2.5] * 9, means.EQUAL), ([0.0] * 9 + [0.5], means.TIES)):
        found = mean_interval(x)
        assert np.isnan([found.low, found.high]).all() and found.kind == kind and found.estimate == np.mean(x)
    many = mean_interval(
        np.column_stack([np.arange(6.0), np.full(6, 2.0), [1, 2, np.nan, np.nan, np.nan, np.nan], [np.nan] * 6])
    )
    assert many.kind.tolist() == [means.HULL, means.EQUAL, means.FEW, means.MISSING] and many.method == means.SEVERAL
    for x, options, word in (
        ([0.5, 1.0], {"values": "share"}, "0.5"),
        ([1.0, 2.0], {"values": "rates"}, "values = 'rates'"),
        ([1.5], {}, "at least 2"),
    ):
        with pytest.raises(S.StatisticsError, match=word):
            mean_interval(x, **options)


def test_zeros_alone_get_bounds_that_hold_for_shares_and_for_differences():
    found = mean_interval(np.zeros(12))
    upper = stats.binomtest(0, 12).proportion_ci(0.95, "exact").high
    assert (found.low, found.high) == pytest.approx((-upper, upper)) and mean_interval(np.zeros(12, bool)).low == 0


@pytest.mark.parametrize("n, other", [(5, 5), (12, 12), (30, 30), (60, 60), (12, 30)])
def test_bounds_of_a_difference_are_missed_as_rarely_as_they_say_counted_over_all_outcomes(n, other):
    grid = [0, 0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 1.0]
    b, c = (v.ravel() for v in np.meshgrid(np.arange(n + 1), np.arange(other + 1), indexing="ij"))
    low, high = difference_bounds(b, c, n, other)

    def law(size, p):
        return stats.binom.pmf(np.arange(size + 1), size, p)

    for p in grid:
        for q in grid:
            mass = np.outer(law(n, p), law(other, q)).ravel()
            assert max(mass[high < p - q - 1e-12].sum(), mass[low > p - q + 1e-12].sum()) <= 0.025
    if n == other:
        inside = b + c <= n
        b, c, low, high = (v[inside] for v in (b, c, low, high))
        for p, q in ((p, q) for p in grid for q in grid if p + q <= 1):
            mass = stats.multinomial.pmf(np.stack([b, c, n - b - c], 1), n, [p, q, max(0.0, 1 - p - q)])
            assert max(mass[high < p - q - 1e-12].sum(), mass[low > p - q + 1e-12].sum()) <= 0.025
    assert (np.diff(difference_bounds(np.arange(n + 1), 0, n)[1]) >= 0).all()  # more gains, a higher bound


def test_coverage_is_at_least_what_it_says_in_every_cell():
    """A small preset: 93 % lies below the upper end of the 99 % interval of the coverage seen, and every required cell
    has an interval.
    """
    found = coverage(draws=600, seed=1)
    assert len(found) == 6 * len(SIZES) and (required(found).available == 1).all() and (found.high >= 0.93).all()
    assert figures(found)["coverage_cells_available"] == figures(found)["coverage_cells"] == 26


def test_the_calibration_sees_an_interval_that_is_too_short():
    """The table is no rubber stamp: BCa at n = 5 covers 83 % of normal samples and 41 % of rare truth values."""
    bca = coverage(
        draws=1000,
        cells=("normal", "0/1, share 0.1"),
        sizes=(5,),
        interval=lambda x, seed: S.bootstrap(x, method="bca", seed=seed),
    )
    assert (bca.high < 0.93).all() and bca.coverage.iloc[1] < 0.5


# ---- medians, functions, comparisons -----------------------------------------------------------------------------


def test_the_median_has_order_statistics():
    x = np.sort(rng(4).normal(size=12))
    found = S.bootstrap(x, statistic="median")
    assert (found.low, found.high) == (
        x[2],
        x[9],
    ) and found.method == "order statistics"  # P(fewer than 3 of 12 heads) = .0193
    assert np.isnan(S.bootstrap(x[:5], statistic="median").low) and not np.isnan(
        S.bootstrap(x[:6], statistic="median").low
    )


def test_a_function_of_the_units_has_an_interval_from_12_on():
    x = rng(5).normal(3, 1, 40)
    found = S.bootstrap(x, statistic=lambda v, axis: v.mean(axis))
    student = stats.t.interval(0.95, 39, x.mean(), stats.sem(x))
    assert (found.low, found.high) == pytest.approx(student, abs=0.12) and found.low <= student[0] + 0.02
    few = S.bootstrap(x[:11], statistic=lambda v, axis: v.mean(axis))
    assert np.isnan(few.low) and "fewer than 12" in few.kind


def test_ratios_are_at_least_fiellers_and_differences_at_least_welchs():
    x, y = rng(6).normal(5, 1, 20), rng(7).normal(4, 1, 25)
    found = S.bootstrap_comparison(x, y, statistic="difference", paired=False)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (
        found.low <= welch.low + 1e-9
        and found.high >= welch.high - 1e-9
        and found.high - found.low < 1.5 * (welch.high - welch.low)
    )
    ratio = S.bootstrap_comparison(x, y[:20])
    # Fieller: the ratios r at which Student's t of x - r y does not reject
    for r, inside in ((ratio.estimate, True), (ratio.low - 1e-9, False), (ratio.high + 1e-9, False)):
        assert (stats.ttest_1samp(x - r * y[:20], 0).pvalue > 0.05) == inside
    shares = S.bootstrap_comparison(
        np.array([1.0, 0, 1, 1]), np.array([0.0, 0, 0, 1, 0]), statistic="difference", paired=False
    )
    a, b = (stats.binomtest(*k).proportion_ci(0.95, "exact") for k in ((3, 4), (1, 5)))
    assert (shares.low, shares.high) == pytest.approx((a.low - b.high, a.high - b.low))


# ---- runs, crossings ---------------------------------------------------------------------------------------------


def test_runs_that_tie_have_no_interval():
    found = over_runs([0.2, 0.5, 0.3])
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 2, 1 / 3, stats.sem([0.2, 0.5, 0.3])))
    for x in ([0.5, 0.5, 0.5], [0.5], []):
        assert np.isnan([over_runs(x).low, over_runs(x).high]).all() and over_runs(x).kind.startswith("none")


def test_a_crossing_is_bounded_by_the_intervals_of_the_looks():
    steps = np.array([0, 10, 20, 40])
    assert reached(np.array([[0, 0.8], [0.4, 0.9], [0.8, 1], [1, 1]]), steps, 0.6).tolist() == [15, 0]
    counts = (0, 3, 12, 20)
    values = np.array([np.arange(20) < k for k in counts]).astype(float)
    low, high = clopper_pearson(np.array(counts), 20, 0.025)
    found = crossing_difference(values, np.zeros((4, 20)), steps, 0.5)
    early, late = (float(np.interp(0.5, v, steps)) for v in (high, low))
    assert (found["edited"], found["twin"]) == (pytest.approx(10 + 10 * 7 / 9), 40)
    assert found["low"] == pytest.approx(40 - late) and found["high"] == pytest.approx(40 - early)


def test_a_text_without_bounds_says_why():
    alike = S.mean_interval([29.0] * 13)
    assert str(alike) == "mean 29 (no interval: all values are equal), n = 13" and np.isnan(alike.low)
    bare = S.Interval(1.5, np.nan, np.nan, 0.95, 1, "no interval")
    assert str(bare) == "mean 1.5 (no interval), n = 1"
    half = S.Interval(1.5, np.nan, 2.0, 0.95, 9, "one-sided")
    assert str(half) == "mean 1.5 [nan, 2], n = 9, 95 % one-sided"
