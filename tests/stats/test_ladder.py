"""A loss as a size: a straight line, an interval against its definition and its coverage, both sides of the ladder."""

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from lens import stats

SIZES = np.array([30e3, 60e3, 120e3, 240e3])


def rungs(spread=0.0, runs=3, seed=0, slope=-0.1):
    rng = np.random.default_rng(seed)
    return 3 + slope * np.log2(SIZES / SIZES[0])[:, None] + spread * rng.standard_normal((4, runs))


def test_without_noise_the_size_is_that_of_the_line_either_way():
    for slope in (-0.1, 0.1):
        ladder = rungs(slope=slope)
        for steps in (0.5, 1.25, 3.0):
            found = stats.effective_size([3 + slope * steps] * 2, SIZES, ladder)
            assert found.estimate == pytest.approx(30e3 * 2**steps, rel=1e-9)
            assert found.low <= found.estimate * (1 + 1e-6) and found.high >= found.estimate * (1 - 1e-2)


def test_the_bounds_are_where_students_t_begins_to_tell():
    ladder, value = rungs(0.02, seed=1), np.array([2.83, 2.86, 2.85])
    found = stats.effective_size(value, SIZES, ladder)
    freedom = 4 * 2 + 2
    pooled = (((ladder - ladder.mean(1, keepdims=True)) ** 2).sum() + value.var() * 3) / freedom

    def t(log, i):
        share = (log - np.log(SIZES[i])) / np.log(2)
        mean = (1 - share) * ladder[i].mean() + share * ladder[i + 1].mean()
        error = pooled * (1 / 3 + ((1 - share) ** 2 + share**2) / 3)
        return abs(value.mean() - mean) / error**0.5 - scipy_stats.t.ppf(0.975, freedom)

    for bound, inner in ((found.low, 1), (found.high, -1)):
        i = int(np.searchsorted(SIZES, bound)) - 1
        near = optimize.brentq(t, np.log(bound) - 0.01, np.log(bound) + 0.01, args=(i,))
        assert np.exp(near) == pytest.approx(bound, rel=1e-4)
        assert t(np.log(bound) + inner * 0.02, i) < 0
    assert found.low < found.estimate < found.high and found.n == 3


def test_outside_the_ladder_is_named_with_a_bound_or_refused():
    below = stats.effective_size([3.4, 3.41], SIZES, rungs(0.01))
    assert np.isnan(below.estimate) and below.low == 0 and below.high == SIZES[0]
    assert below.kind == "below the ladder: smaller than 30000"
    above = stats.effective_size([2.2, 2.21], SIZES, rungs(0.01))
    assert np.isnan(above.estimate) and above.high == np.inf and above.low == SIZES[-1] and "larger" in above.kind
    # a mean just outside, which could as well be inside, is bounded by what it can be
    near = stats.effective_size([3.01, 3.02], SIZES, rungs(0.02, seed=2))
    assert np.isnan(near.estimate) and near.low == 0 and SIZES[0] < near.high < SIZES[1]
    # and one just inside reaches beyond the end
    inside = stats.effective_size([2.98, 2.99], SIZES, rungs(0.02, seed=2))
    assert SIZES[0] < inside.estimate < SIZES[1] and inside.low == 0
    with pytest.raises(stats.StatisticsError, match="beyond that of size 30000, the ladder's smallest"):
        stats.effective_size([3.4, 3.41], SIZES, rungs(0.01), outside="refuse")


def test_one_run_a_size_has_an_estimate_and_no_bounds():
    found = stats.effective_size([2.85], SIZES, rungs(runs=1))
    assert found.estimate == pytest.approx(30e3 * 2**1.5) and np.isnan(found.low) and "two runs" in found.kind


def coverage(draws, seed=0):
    rng, hits = np.random.default_rng(seed), 0
    true = 30e3 * 2**1.3
    for _ in range(draws):
        ladder = rungs() + 0.02 * rng.standard_normal((4, 3))
        value = 3 - 0.13 + 0.02 * rng.standard_normal(3)
        try:
            found = stats.effective_size(value, SIZES, ladder)
        except stats.StatisticsError:
            hits += 1
            continue
        hits += found.low <= true <= found.high
    return hits / draws


def test_the_interval_covers_what_it_says():
    assert coverage(300) >= 0.95 - 3 * (0.95 * 0.05 / 300) ** 0.5


@pytest.mark.long
def test_the_interval_covers_what_it_says_over_many_draws():
    assert 0.935 <= coverage(5000, seed=1) <= 0.985


@pytest.mark.parametrize(
    ("given", "said"),
    (
        (dict(sizes=SIZES[::-1]), "from small to large"),
        (dict(sizes=[30e3], ladder=[[3.0]]), "at least two positive sizes"),
        (dict(ladder=np.ones((3, 2))), r"ladder has shape \(3, 2\)"),
        (dict(values=[[3.0]]), r"values has shape"),
        (dict(values=[np.nan]), "at least one that is not missing"),
        (dict(ladder=np.array([[3.0], [np.nan], [2.8], [2.7]])), "no run of size 60000"),
        (dict(ladder=[[3.0], [3.1], [2.9], [2.8]]), "means do not rise or fall.*60000: 3.1"),
    ),
)
def test_bad_input_is_refused_by_name(given, said):
    asked = dict(values=[2.9, 2.9], sizes=SIZES, ladder=rungs()) | given
    with pytest.raises(stats.StatisticsError, match=said):
        stats.effective_size(**asked)
